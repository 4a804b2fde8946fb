"""Every notebook, executed from its source as `make notebooks` does; nothing is written."""

import pytest

from rag_helpers.notebook_builder import NOTEBOOKS, build

NAMES = sorted(path.stem for path in (NOTEBOOKS / "source").glob("[0-9][0-9]_*.py"))


def test_every_step_has_a_notebook():
    # The appendix is optional: it runs without what it needs too, and says so.
    appendix = {"08"}
    assert {name[:2] for name in NAMES} - appendix == {f"0{step}" for step in range(1, 8)}


@pytest.mark.notebooks
# A notebook that takes a minute on idle cores takes many on busy ones: only hanging is an error.
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs_without_an_error_in_any_cell_or_widget(name, capsys):
    seconds = build(name, timeout=900, write=False)
    with capsys.disabled():
        print(f"\n{name}: {seconds:.0f} s ", end="", flush=True)
