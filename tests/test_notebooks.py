"""Every notebook, executed from its source as `make notebooks` does; nothing is written."""

import pytest

from rag_helpers.notebook_builder import NOTEBOOKS, build
from rag_helpers.notebook_sources import list_sources

# Two processes get one half each, and who is done first steals from the end of the other's. So the
# one that trains begins, long ones begin the second half, and short ones are left to be stolen: a
# long one at the end would keep one process idle for minutes.
EARLY = ("06", "03", "07", "04", "05")
NAMES = sorted(
    list_sources(NOTEBOOKS),
    key=lambda name: EARLY.index(name[:2]) if name[:2] in EARLY else len(EARLY),
)


def test_every_step_has_a_notebook():
    steps = {name[:2] for name in NAMES if name[0].isdigit()}
    assert {"01", "02", "03", "04", "05", "06", "07"} <= steps


@pytest.mark.notebooks
# A notebook that takes a minute on idle cores takes many on busy ones: only hanging is an error.
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs_without_an_error_in_any_cell_or_widget(name, capsys):
    seconds = build(name, timeout=900, write=False)
    with capsys.disabled():
        print(f"\n{name}: {seconds:.0f} s ", end="", flush=True)
