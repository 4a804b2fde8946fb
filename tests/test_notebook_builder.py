"""The builder, on sources of a few lines in a folder of their own."""

import asyncio
import base64
import io
import json
import os
import queue
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from browser import chromium_or_skip

from rag_helpers import notebook_builder, notebook_execution
from rag_helpers.errors import InvalidInputError
from rag_helpers.notebook_builder import (
    WIDGET_STATE,
    WIDGET_VIEW,
    NotebookError,
    build,
    check,
    freeze_widgets,
    main,
    read_source,
)
from rag_helpers.notebook_execution import _look_each_second
from rag_helpers.notebook_sources import list_sources

WHOLE = """\
# %% [markdown]
# # A title

# %%
import os
import queue
from pathlib import Path

print("in", Path.cwd().name)
print("one", flush=True)
print("two", flush=True)

# %%
import ipywidgets as ipw

print(os.environ["IPYTHONDIR"])
ipw.VBox([ipw.Label("shown <b>"), ipw.IntSlider(3, description="k")])

# %%
ipw.Label("hidden", layout={"display": "none"})

# %%
import sys

sys.stderr.write("a warning is no error")
1 + 1
"""

# Each of these leaves nbclient green: the cell's own reply is "ok".
QUIET = """\
# %%
import ipywidgets as ipw

button = ipw.Button()
button.on_click(lambda _: 1 / 0)
button.click()

# %%
output = ipw.Output()
with output:
    {}["inside an output"]
output

# %%
import threading

thread = threading.Thread(target=lambda: int("in a thread"))
thread.start()
thread.join()

# %%
from rag_helpers.widgets import SearchBox


class Broken:
    def search(self, question, k):
        raise RuntimeError("inside a <widget>")


box = SearchBox({"broken": Broken()}, examples=["why?"])
box.run()
box
"""


@pytest.fixture
def folder(tmp_path):
    """A repository's notebooks folder; what Jupyter writes goes beside it."""
    notebooks = tmp_path / "notebooks"
    (notebooks / "source").mkdir(parents=True)
    return notebooks


def put(folder, text, name="01_toy"):
    (folder / "source" / f"{name}.py").write_text(text, encoding="utf-8")
    return name


def read(folder, name="01_toy"):
    return nbformat.read(folder / f"{name}.ipynb", as_version=4)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """One notebook, built as `make notebooks` would; shared, since a kernel takes seconds."""
    folder = tmp_path_factory.mktemp("repository") / "notebooks"
    (folder / "source").mkdir(parents=True)
    before = dict(os.environ)
    seconds = build(put(folder, WHOLE), folder=folder)
    return folder, seconds, {name for name in os.environ if before.get(name) != os.environ[name]}


# Reading sources -----------------------------------------------------------------------------


def test_source_becomes_cells_with_ids_that_never_change(folder):
    name = put(folder, WHOLE)
    first, second = (read_source(folder / "source" / f"{name}.py") for _ in range(2))
    assert first == second
    # The title, what Colab alone needs, and the cells of the source.
    assert [cell.cell_type for cell in first.cells] == ["markdown", *["code"] * 5]
    assert [cell.id for cell in first.cells] == [f"cell-{n:03d}" for n in range(6)]
    assert first.cells[0].source == "# A title"
    nbformat.validate(first)


def test_a_source_that_is_not_there_is_named(folder):
    with pytest.raises(InvalidInputError, match=r"02_none\.py is not there"):
        read_source(folder / "source" / "02_none.py")


# Building ------------------------------------------------------------------------------------


@pytest.mark.seconds
def test_built_notebook_holds_what_its_cells_printed(built):
    folder, seconds, _ = built
    notebook = read(folder)
    nbformat.validate(notebook)
    # Cells run in the notebooks' folder, so that relative paths in them work; printing twice
    # leaves one output.
    (printed,) = notebook.cells[2].outputs
    assert printed.text == "in notebooks\none\ntwo\n"
    warning, result = notebook.cells[5].outputs
    assert warning.text == "a warning is no error" and result.data["text/plain"] == "2"
    assert 0 < seconds < 300


def test_built_notebook_is_in_step_with_its_source(built):
    folder, _, _ = built
    assert check("01_toy", folder=folder) == []


def test_a_rebuild_would_change_outputs_alone(built):
    folder, _, _ = built
    notebook, source = read(folder), read_source(folder / "source" / "01_toy.py")
    for cell in notebook.cells:
        cell.pop("outputs", None), cell.pop("execution_count", None)
    for cell in source.cells:
        cell.pop("outputs", None), cell.pop("execution_count", None)
    assert notebook == source  # ids and metadata too: no times, no version of Python


def test_jupyter_writes_beside_the_notebooks_and_the_caller_keeps_its_variables(built):
    folder, _, changed = built
    assert changed == set()
    inside = folder.parent / ".jupyter"
    assert read(folder).cells[3].outputs[0].text.strip() == str(inside / "ipython")
    assert (inside / "ipython" / "profile_default").is_dir()
    assert not list(folder.glob("*.new"))


def test_live_widget_becomes_a_picture_and_a_hidden_one_nothing(built):
    folder, _, _ = built
    notebook = read(folder)
    assert "widgets" not in notebook.metadata
    picture = notebook.cells[3].outputs[1]
    assert picture.output_type == "display_data" and WIDGET_VIEW not in picture.data
    assert "run the cell" in picture.data["text/plain"]
    assert notebook.cells[4].outputs == []
    chromium_or_skip()
    pixels = plt.imread(io.BytesIO(base64.b64decode(picture.data["image/png"])))
    assert pixels.shape[1] == 860 and pixels[..., :3].min() < 0.4


@pytest.mark.seconds
def test_errors_that_leave_cells_green_fail_the_build(folder):
    with pytest.raises(NotebookError) as caught:
        build(put(folder, QUIET), folder=folder)
    message = str(caught.value)
    assert "cell 0: ZeroDivisionError: division by zero" in message
    assert "KeyError: 'inside an output'" in message
    assert "ValueError: invalid literal for int() with base 10: 'in a thread'" in message
    assert "RuntimeError: inside a <widget>" in message
    # The box stands in the output too, but its alert is one error.
    assert message.count("; ") == 3
    assert list(folder.glob("*.ipynb*")) == [], "a notebook with errors is never written"


def test_a_reply_that_was_slept_through_is_found():
    asked = []

    async def get_msg(timeout):
        asked.append(timeout)
        if len(asked) < 3:
            raise queue.Empty
        return {"content": "reply"}

    assert asyncio.run(_look_each_second(get_msg)) == {"content": "reply"}
    assert asked == [1.0, 1.0, 1.0]
    with pytest.raises(queue.Empty):
        asked.clear()
        asyncio.run(_look_each_second(get_msg, timeout=0.5))
    assert len(asked) == 1 and asked[0] <= 0.5


@pytest.mark.seconds
def test_both_channels_of_a_kernel_are_looked_at_again(folder, monkeypatch):
    channels = set()

    def look(get_msg, timeout=None):
        channels.add(get_msg.__self__)
        return _look_each_second(get_msg, timeout)

    monkeypatch.setattr(notebook_execution, "_look_each_second", look)
    build(put(folder, "# %%\n1 + 1\n"), folder=folder)
    assert len(channels) == 2


@pytest.mark.notebooks
def test_error_in_a_cell_fails_the_build_and_the_old_notebook_stays(folder):
    old = folder / "01_toy.ipynb"
    old.write_text("old", encoding="utf-8")
    with pytest.raises(NotebookError, match="A cell failed") as caught:
        build(put(folder, "# %%\nraise ValueError('odd')\n"), folder=folder)
    assert "ValueError" in str(caught.value) and "odd" in str(caught.value)
    assert old.read_text(encoding="utf-8") == "old"


@pytest.mark.notebooks
@pytest.mark.parametrize(
    ("code", "message"),
    [("import time; time.sleep(60)", "over 2 s"), ("import os; os._exit(1)", "kernel died")],
)
def test_a_cell_that_never_ends_or_kills_the_kernel_is_one_sentence(folder, code, message):
    with pytest.raises(NotebookError, match=message):
        build(put(folder, f"# %%\n{code}\n"), folder=folder, timeout=2)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("text", ["é" * 300_000, "9%| " * 75_000, "ipykernel_" * 30_000])
def test_a_long_line_is_tidied_in_linear_time(text):
    assert notebook_builder._tidy_line(text) == text


@pytest.mark.parametrize(
    ("line", "tidied"),
    [
        ("old\rnew", "new"),
        ("loss 3  50%|███   | 1/2 [00:01<00:01] loss 2", " loss 2"),
        ("at /tmp/ipykernel_12/34.py:5", "at <cell>:5"),
        (f"in {Path.home()}/x", "in ~/x"),
    ],
)
def test_bars_and_folders_leave_a_line(line, tidied):
    assert notebook_builder._tidy_line(line) == tidied


@pytest.mark.timeout(60)
@pytest.mark.notebooks
def test_a_notebook_too_large_is_refused_and_a_dry_run_writes_nothing(folder):
    # Two bytes each in UTF-8: 300,000 characters are over the limit of 500,000 bytes.
    name = put(folder, "# %%\nprint('é' * 300_000)\n")
    with pytest.raises(NotebookError, match=r"would take 600,\d+ bytes .* limit is 500,000"):
        build(name, folder=folder)
    build(put(folder, "# %%\nprint(1)\n"), folder=folder, write=False)
    assert list(folder.glob("*.ipynb*")) == []


# Freezing widgets ----------------------------------------------------------------------------


def executed(*outputs, **states):
    cell = nbformat.v4.new_code_cell("x", execution_count=1, outputs=list(outputs))
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata.widgets = {WIDGET_STATE: {"state": states}}
    return notebook


def view(model_id):
    data = {WIDGET_VIEW: {"model_id": model_id}, "text/plain": "Label()"}
    return nbformat.v4.new_output("execute_result", data, execution_count=1)


def test_without_a_browser_widgets_become_html():
    state = {"model_name": "LabelModel", "state": {"value": "<hello>"}}
    notebook = executed(view("a"), view("gone"), a=state)
    assert freeze_widgets(notebook, chromium=None) == 1
    (output,) = notebook.cells[0].outputs
    assert "&lt;hello&gt;" in output.data["text/html"]
    assert "execution_count" not in output and WIDGET_VIEW not in output.data
    nbformat.validate(notebook)


def test_other_outputs_are_left_as_they_are():
    plain = nbformat.v4.new_output("stream", name="stdout", text="hello\n")
    notebook = executed(plain)
    assert freeze_widgets(notebook, chromium=None) == 0
    assert notebook.cells[0].outputs == [plain]


@pytest.mark.seconds
def test_progress_bars_leave_nothing_behind(folder):
    name = put(
        folder,
        "# %%\nimport sys\n\nprint('kept')\n"
        "sys.stderr.write('\\r 50%|##  |\\r100%|####|\\r          \\r')\n"
        "sys.stderr.write('\\rWork:  50%|##  | 3/6 [00:07<00:24,  1.36it/s]')\n",
    )
    build(name, folder=folder)
    (cell,) = nbformat.read(folder / f"{name}.ipynb", as_version=4).cells
    assert [output.get("text") for output in cell.outputs if output.output_type == "stream"] == [
        "kept\n"
    ]


@pytest.mark.seconds
def test_outputs_do_not_say_where_the_builder_lives(folder):
    name = put(
        folder,
        "# %%\nimport warnings\nfrom pathlib import Path\n\nprint(Path.home() / 'models')\n"
        "warnings.warn('look here')\n",
    )
    build(name, folder=folder)
    (cell,) = nbformat.read(folder / f"{name}.ipynb", as_version=4).cells
    texts = "".join(output.get("text", "") for output in cell.outputs)
    assert "models" in texts and "look here" in texts
    assert str(Path.home()) not in texts and "ipykernel" not in texts


# Checking ------------------------------------------------------------------------------------


def committed(folder, change, text="# %% [markdown]\n# A title\n\n# %%\nprint(1)\n"):
    """Write a notebook in step with its source, but for one change."""
    name = put(folder, text)
    notebook = read_source(folder / "source" / f"{name}.py")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = 1
    change(notebook)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return check(name, folder=folder)


def test_check_accepts_a_notebook_in_step(folder):
    assert committed(folder, lambda notebook: None) == []


def test_check_misses_a_notebook_that_was_never_built(folder):
    assert check(put(folder, WHOLE), folder=folder) == [
        "01_toy.ipynb is missing; run `make notebooks`."
    ]


def change_code(notebook):
    notebook.cells[1].source = "print(2)"


def change_kind(notebook):
    notebook.cells[0].cell_type = "raw"


def drop_cell(notebook):
    del notebook.cells[0]


def never_run(notebook):
    notebook.cells[1].execution_count = None


def with_error(notebook):
    notebook.cells[1].outputs = [
        nbformat.v4.new_output("error", ename="ValueError", evalue="odd", traceback=[])
    ]


def with_traceback(notebook):
    text = "Traceback (most recent call last):\n  …\nValueError: odd\n"
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", name="stderr", text=text)]


def with_state(notebook):
    notebook.metadata.widgets = {WIDGET_STATE: {"state": {}}}


def with_live_widget(notebook):
    notebook.cells[1].outputs = [view("a")]


def too_large(notebook):
    text = "x" * 500_000
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (change_code, "out of step"),
        (change_kind, "out of step"),
        (drop_cell, "out of step"),
        (never_run, "cell 1 was never run"),
        (with_error, "cell 1: ValueError: odd"),
        (with_traceback, "cell 1: ValueError: odd"),
        (with_state, "holds widget state"),
        (with_live_widget, "holds a live widget"),
        (too_large, "the limit is 500,000"),
    ],
)
def test_check_finds_what_is_wrong(folder, change, fault):
    (found,) = committed(folder, change)
    assert fault in found and found.startswith("01_toy.ipynb")


# The command line ----------------------------------------------------------------------------


@pytest.fixture
def course(folder, monkeypatch):
    monkeypatch.setattr(notebook_builder, "NOTEBOOKS", folder)
    monkeypatch.setattr(notebook_builder, "TIMES", folder / "times.json")
    # The default of `build` and `check` was taken when they were defined.
    for function in (build, check):
        monkeypatch.setitem(function.__kwdefaults__, "folder", folder)
    return folder


def test_check_from_the_command_line(course, capsys):
    committed(course, lambda notebook: None)
    assert main(["--check"]) == 0
    assert capsys.readouterr().out == "1 notebooks checked, 0 faults\n"
    put(course, WHOLE, "02_more")
    assert main(["--check"]) == 1
    assert "02_more.ipynb is missing" in capsys.readouterr().out
    assert main(["--check", "01"]) == 0


def test_unknown_names_are_answered_with_the_known_ones(course, capsys):
    put(course, WHOLE)
    assert main(["--check", "09"]) == 1
    assert "No notebook begins with ['09']; there are ['01_toy']." in capsys.readouterr().err


SOLUTION = """\
# %% [markdown]
# # 1 · Exercises: a toy

# %%
def two():
    # solution 1.1: return 2
    return 1 + 1
    # end of solution


# %%
check_1_1(two)
"""


def test_exercises_are_written_without_running_and_checked(course, capsys):
    committed(course, lambda notebook: None)
    put(course, SOLUTION, "01_toy_solutions")
    assert main(["--check"]) == 1
    printed = capsys.readouterr().out
    assert "01_toy_exercises.ipynb is out of step" in printed
    assert "01_toy_solutions.ipynb is out of step" in printed
    assert printed.endswith("1 notebooks checked, 2 faults\n")
    assert main(["01", "--exercises"]) == 0
    assert "01_toy_exercises: written" in capsys.readouterr().out
    assert main(["--check"]) == 0
    exercises, solutions = (
        nbformat.read(course / form / f"01_toy_{form}.ipynb", as_version=4)
        for form in ("exercises", "solutions")
    )
    assert 'raise NotImplementedError("Exercise 1.1: return 2")' in exercises.cells[1].source
    assert solutions.cells[1].source == "def two():\n    return 1 + 1"
    assert solutions.cells[0].source == "# 1 · Solutions: a toy"
    assert [cell.id for cell in exercises.cells] == ["cell-000", "cell-001", "cell-002"]
    before = (course / "exercises" / "01_toy_exercises.ipynb").stat().st_mtime_ns
    capsys.readouterr()
    assert main(["--exercises"]) == 0
    assert capsys.readouterr().out == ""
    assert (course / "exercises" / "01_toy_exercises.ipynb").stat().st_mtime_ns == before


def test_exercises_are_no_notebook_to_execute(course):
    put(course, SOLUTION, "01_toy_solutions")
    put(course, WHOLE)
    put(course, WHOLE, "capstone")
    assert list_sources(course) == ["01_toy", "capstone"]
    assert list_sources(course, ["01"]) == ["01_toy"]


@pytest.mark.notebooks
def test_build_from_the_command_line(course, capsys):
    put(course, "# %%\nprint(1)\n")
    put(course, "# %%\n1 / 0\n", "02_broken")
    assert main(["01", "--dry-run"]) == 0
    assert "01_toy: executed in" in capsys.readouterr().out
    assert not (course / "01_toy.ipynb").exists()
    assert main([]) == 1
    printed = capsys.readouterr()
    assert "01_toy: executed in" in printed.out and "ZeroDivisionError" in printed.err
    assert list(json.loads((course / "times.json").read_text(encoding="utf-8"))) == ["01_toy"]
    assert (course / "01_toy.ipynb").exists()
