"""The exercises: solutions pass, stubs are not done, and typical mistakes get the right hint."""

import ast
import inspect
import json
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pytest
from exercise_mistakes import MISTAKES
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_helpers import exercises
from rag_helpers.errors import InvalidInputError
from rag_helpers.exercises import EXERCISES, ProgressBoard, Verdict, load_progress, progress_text
from rag_helpers.exercises.checking import KINDS, LONGEST_CALL_S
from rag_helpers.exercises.dashboard import render_progress
from rag_helpers.exercises.progress import Done, Progress, progress_file, record
from rag_helpers.notebook_builder import NOTEBOOKS
from rag_helpers.notebook_sources import cut_exercises, exercise_notebooks, read_source

SOURCES = sorted((NOTEBOOKS / "source").glob("*_solutions.py"))
STEPS = [source.name[:2] for source in SOURCES]
every_source = pytest.mark.parametrize("source", SOURCES, ids=STEPS)


def label_of(answer):
    """Return a name that is the same in every process: functions by name, not by address."""
    parts = answer if isinstance(answer, tuple) else (answer,)
    return " ".join(str(getattr(part, "__name__", part)) for part in parts)


every_exercise = pytest.mark.parametrize("exercise", EXERCISES)


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    """Where progress goes, instead of the home folder."""
    path = tmp_path / "learner" / "progress.json"
    monkeypatch.setenv("RAG_PROGRESS", str(path))
    return path


def check_of(exercise):
    return getattr(exercises, f"check_{exercise.replace('.', '_')}")


def try_out(exercise, answer):
    answers = answer if isinstance(answer, tuple) else (answer,)
    return check_of(exercise)(*answers)


def notebooks_of(source):
    """Return the exercises and the solutions notebook of a source."""
    import nbformat

    return [nbformat.reads(text, as_version=4) for _, text in exercise_notebooks(source)]


def verdicts_of(notebook):
    """Run a notebook's cells as a kernel would, and return what its checks said."""
    names, found = {"__name__": "__main__"}, {}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        tree = ast.parse(cell.source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "<cell>", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
            if isinstance(value, Verdict):
                found[value.exercise] = value
    return found


# The course's promise ------------------------------------------------------------------------


def test_every_notebook_has_four_exercises_of_four_kinds():
    assert STEPS == ["01", "02", "03", "04", "05", "06", "07"]
    for step in range(1, 8):
        kinds = [one.kind for one in EXERCISES.values() if one.id.startswith(f"{step}.")]
        assert len(kinds) >= 4 and set(kinds) == set(KINDS)


@pytest.mark.seconds
@every_source
def test_solutions_pass_and_are_recorded(source, file):
    _, solutions = notebooks_of(source)
    verdicts = verdicts_of(solutions)
    assert [repr(v) for v in verdicts.values() if not v.passed] == []
    step = str(int(source.name[:2]))
    assert set(verdicts) == {name for name in EXERCISES if name.split(".")[0] == step}
    done = load_progress(file).exercises
    assert set(done) == set(verdicts) and all(one.first_passed for one in done.values())


@pytest.mark.seconds
@every_source
def test_stubs_are_not_done_and_no_try(source, file):
    stubs, _ = notebooks_of(source)
    verdicts = verdicts_of(stubs)
    assert {verdict.status for verdict in verdicts.values()} == {"not done"}
    assert len(verdicts) >= 4
    assert all(re.fullmatch(r"Exercise \d\.\d: not done yet\.", repr(v)) for v in verdicts.values())
    assert not file.exists()


@every_exercise
def test_every_exercise_has_three_typical_mistakes(exercise):
    rows = MISTAKES.get(exercise, [])
    assert len(rows) >= 3
    assert len({answer for answer, _ in rows}) == len(rows)
    assert len({phrase for _, phrase in rows}) >= 3, "three mistakes, three hints"


def test_no_mistake_is_left_of_an_exercise_that_is_gone():
    assert set(MISTAKES) == set(EXERCISES)


@pytest.mark.parametrize(
    ("exercise", "answer", "phrase"),
    [
        pytest.param(name, answer, phrase, id=f"{name} {label_of(answer)}")
        for name, rows in MISTAKES.items()
        for answer, phrase in rows
    ],
)
def test_a_typical_mistake_gets_the_hint_that_fits_it(exercise, answer, phrase, file):
    verdict = try_out(exercise, answer)
    assert verdict.status == "not yet" and not verdict
    assert phrase in verdict.hint
    assert load_progress(file).exercises[exercise] == Done(tries=1)


def solution_lines(exercise):
    source = next(s for s in SOURCES if s.name.startswith(f"{int(exercise.split('.')[0]):02d}"))
    text = source.read_text(encoding="utf-8")
    blocks = re.findall(
        rf"# solution {re.escape(exercise)}: .+\n((?:.*\n)*?) *# end of solution", text
    )
    assert blocks
    return [line.strip() for block in blocks for line in block.splitlines()]


@pytest.mark.seconds
@every_exercise
def test_hints_do_not_give_the_solution_away(exercise):
    lines = [line for line in solution_lines(exercise) if len(line) > 12]
    hints = [try_out(exercise, answer).hint for answer, _ in MISTAKES[exercise]]
    code = inspect.getsource(inspect.unwrap(check_of(exercise)))
    said = " ".join(
        node.value
        for node in ast.walk(ast.parse(textwrap.dedent(code)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    assert [line for line in lines for text in [*hints, said] if line in text] == []


@pytest.mark.seconds
@every_source
def test_tasks_name_an_aim_and_point_to_a_heading_that_exists(source):
    lesson = source.with_name(source.name.replace("_solutions", "")).read_text(encoding="utf-8")
    headings = set(re.findall(r"(?m)^# #+ (.+)$", lesson))
    for cell in read_source(source).cells:
        if found := re.match(r"## Exercise (\d\.\d) · (.+) \((.+)\)\n", cell.source):
            one = EXERCISES[found[1]]
            assert (found[2], found[3]) == (one.title, one.kind)
            assert "**Aim:**" in cell.source
            (pointed,) = re.findall(r"\*\*Look back at:\*\*\s\*(.+?)\*\.(?:\n|$)", cell.source)
            assert pointed in headings


@pytest.mark.seconds
@every_source
def test_committed_exercises_are_in_step_and_hold_no_solution(source):
    for path, text in exercise_notebooks(source):
        assert path.read_text(encoding="utf-8") == text, "run: make notebooks"
        assert "end of solution" not in text
    stubs = next(text for path, text in exercise_notebooks(source) if "exercises" in path.name)
    for name in EXERCISES:
        if name.split(".")[0] == str(int(source.name[:2])):
            assert f'NotImplementedError(\\"Exercise {name}: ' in stubs
            long = [line for line in solution_lines(name) if len(line) > 25]
            assert [line for line in long if json.dumps(line)[1:-1] in stubs] == []


# What learners do to checks ------------------------------------------------------------------


class Hostile:
    """Raises whatever is done with it."""

    def __getattr__(self, name):
        raise RuntimeError("no")

    __eq__ = __len__ = __iter__ = __bool__ = __repr__ = __hash__ = None


def raises(error):
    def answer(*values, **named):
        raise error

    return answer


ODD = {
    "None": lambda *v, **n: None,
    "a number": lambda *v, **n: 7,
    "a text": lambda *v, **n: "tea",
    "an empty list": lambda *v, **n: [],
    "a list of None": lambda *v, **n: [None] * 3,
    "nan": lambda *v, **n: float("nan"),
    "an array": lambda *v, **n: np.zeros((3, 3)),
    "a dictionary": lambda *v, **n: {},
    "a generator": lambda *v, **n: (x for x in "ab"),
    "bytes": lambda *v, **n: b"abc",
    "a function": lambda *v, **n: lambda *w: None,
    "its input": lambda *v, **n: v[0] if v else v,
    "an object": lambda *v, **n: object(),
    "a hostile object": lambda *v, **n: Hostile(),
    "an exit": raises(SystemExit(3)),
    "a failed assertion": raises(AssertionError()),
    "an end of iteration": raises(StopIteration()),
    "a message with lines": raises(ValueError("one\ntwo")),
    "recursion": raises(RecursionError("too deep")),
}


@every_exercise
def test_whatever_an_answer_does_ends_in_a_verdict(exercise):
    count = inspect.unwrap(check_of(exercise)).__code__.co_argcount
    for odd, answer in ODD.items():
        verdict = check_of(exercise)(*[answer] * count)
        assert verdict.status == "not yet" and verdict.hint, odd
        assert "\n" not in repr(verdict), odd


def test_an_error_in_an_answer_is_told_with_the_input():
    verdict = exercises.check_2_1(lambda words, size, overlap: {}[size])
    assert verdict.hint == "Your function raised KeyError: 4 for the input 10, 4, 1."


def test_a_call_instead_of_a_function_is_explained():
    assert "without brackets" in exercises.check_2_1([0, 3, 6]).hint
    assert "2 functions" in exercises.check_7_4(lambda weights: b"").hint


def test_a_pause_by_the_learner_is_passed_on():
    with pytest.raises(KeyboardInterrupt):
        exercises.check_2_1(raises(KeyboardInterrupt()))


def test_an_answer_may_change_what_it_was_given():
    def nearest(vectors, question, k):
        order = ((vectors - question) ** 2).sum(axis=1).argsort(kind="stable")[:k]
        vectors[:] = 0
        return order

    assert exercises.check_1_2(nearest).passed


@pytest.mark.seconds
def test_a_loop_that_never_ends_is_stopped():
    # In a process of its own: tools that trace, such as coverage, are left alone.
    code = (
        "from rag_helpers.exercises import check_2_1\n"
        "def starts(words, size, overlap):\n    while True:\n        pass\n"
        "print(check_2_1(starts))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert f"did not come back within {LONGEST_CALL_S:g} s for the input 10, 4, 1" in done.stdout


# Progress ------------------------------------------------------------------------------------


def test_tries_are_counted_and_the_first_pass_stays(file):
    def wrong(words, size, overlap):
        return [0]

    exercises.check_2_1(wrong)
    record("2.1", passed=True)
    first = load_progress().exercises["2.1"].first_passed
    record("2.1", passed=True)
    exercises.check_2_1(wrong)
    assert load_progress().exercises["2.1"] == Done(4, first)
    assert first.endswith("+00:00")
    assert set(json.loads(file.read_text())) == {"version", "exercises"}
    assert [path.name for path in file.parent.iterdir()] == ["progress.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"version": 1}',
        b'{"version": "x", "exercises": {}}',
        b'{"version": 1, "exercises": []}',
        b'{"version": 1, "exercises": {"2.1": {}}}',
        b'{"version": 1, "exercises": {"2.1": {"tries": "1", "first_passed": null}}}',
        b'{"version": 1, "exercises": {"2.1": {"tries": 1, "first_passed": "never"}}}',
        b"[" * 100_000,
        b'{"version": Infinity, "exercises": {}}',
    ],
)
def test_a_damaged_file_is_set_aside_with_a_sentence(file, content):
    file.parent.mkdir()
    file.write_bytes(content)
    note = record("2.1", passed=True)
    assert "was damaged; it is now called progress.json.damaged-" in note
    (aside,) = file.parent.glob("*.damaged-*")
    assert aside.read_bytes() == content
    assert load_progress().exercises["2.1"].tries == 1
    assert record("2.1", passed=True) == ""


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["1.1", "tries", "first_passed", "exercises", "version", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["version", "exercises"]), VALUES) | VALUES)
def test_whatever_the_file_holds_reading_it_never_raises(value):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "progress.json")
        path.write_text(json.dumps(value))
        render_progress(load_progress(path))
        path.write_text(json.dumps({"version": 1, "exercises": value}))
        assert progress_text(path).startswith(("0 of 28", "1 of 28"))


def test_a_folder_in_place_of_the_file_is_one_sentence(file):
    file.mkdir(parents=True)
    assert "cannot be read" in record("2.1", passed=True)
    assert "cannot be read" in ProgressBoard().status.value


def test_a_newer_file_is_left_as_it_is(file):
    file.parent.mkdir()
    file.write_text('{"version": 2, "exercises": {"2.1": "done"}}')
    before = file.read_bytes()
    assert "newer version" in record("2.1", passed=True)
    assert file.read_bytes() == before
    assert "newer version" in progress_text()


def test_a_place_that_cannot_be_written_is_told_in_the_verdict(file):
    file.parent.parent.joinpath("learner").write_text("a file where the folder should be")
    verdict = exercises.check_2_1(lambda words, size, overlap: [0])
    assert verdict.status == "not yet" and "Not recorded: " in repr(verdict)
    assert "RAG_PROGRESS moves it" in repr(verdict)


def test_progress_lies_in_the_data_folder_unless_told_otherwise(file, monkeypatch, tmp_path):
    assert progress_file() == file
    monkeypatch.delenv("RAG_PROGRESS")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert progress_file() == tmp_path / "rag_helpers" / "progress.json"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert progress_file() == tmp_path / "local" / "rag_helpers" / "progress.json"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Application Support" in str(progress_file())


# The dashboard -------------------------------------------------------------------------------


def test_the_board_shows_what_is_done_tried_and_open():
    record("1.1", passed=True)
    record("1.2", passed=False)
    record("1.2", passed=False)
    board = ProgressBoard()
    assert f"Exercises done: 1 of {len(EXERCISES)}" in board.table.value
    assert "recall: done, 1 try, on " in board.table.value
    assert "apply: tried, 2 tries" in board.table.value
    assert "break and mend: open" in board.table.value
    assert "Next: 1.2, The nearest vectors." in board.status.value
    record("1.2", passed=True)
    board.button.click()
    assert f"2 of {len(EXERCISES)} exercises are done. Next: 1.3" in board.status.value
    assert progress_text().splitlines()[1] == "Notebook 1: 1.1 done, 1.2 done, 1.3 open, 1.4 open"


def test_the_board_says_when_all_is_done_and_when_the_file_was_damaged(file):
    for name in EXERCISES:
        record(name, passed=True)
    assert "All of them: well done." in ProgressBoard().status.value
    file.write_text("{")
    assert "was damaged" in ProgressBoard().status.value


def test_what_a_hostile_file_holds_is_escaped_or_ignored(file):
    file.parent.mkdir()
    bad = "<img src=x onerror=alert(1)>"
    row = {"tries": 1, "first_passed": None}
    file.write_text(json.dumps({"version": 1, "exercises": {bad: row}}))
    board = ProgressBoard()
    assert "<img" not in board.table.value + board.status.value
    file.write_text(json.dumps({"version": 1, "exercises": {"1.1": {**row, "first_passed": bad}}}))
    board.refresh()
    assert "<img" not in board.table.value + board.status.value
    hostile = Progress({"1.1": Done(10**30, "2026-01-01T00:00:00+00:00")})
    assert str(10**30) in render_progress(hostile)


def test_the_keyboard_can_scroll_a_table_that_is_wider_than_the_window(tmp_path):
    table = render_progress(load_progress(tmp_path / "nothing recorded.json"))
    scrolls = table.split(">")[0]
    assert "overflow-x:auto" in scrolls and "tabindex='0'" in scrolls and "aria-label" in scrolls
    assert "width:0;min-width:100%" in scrolls  # as wide as its cell, and not as the table


# Cutting exercises from solutions -------------------------------------------------------------


CELL = '''\
def f(x):
    """Doc."""
    # solution 2.1: return "x" twice
    def inner():
        return x

    return inner() * 2
    # end of solution


# solution 2.1: and so on
y = f(1)
# end of solution
'''


def test_a_solution_becomes_a_stub_at_its_own_depth():
    stub = cut_exercises(CELL, "exercises")
    assert stub == (
        'def f(x):\n    """Doc."""\n'
        '    raise NotImplementedError("Exercise 2.1: return \\"x\\" twice")\n\n\n'
        'raise NotImplementedError("Exercise 2.1: and so on")\n'
    )
    compile(stub, "stub", "exec")
    solved = cut_exercises(CELL, "solutions")
    assert "solution" not in solved and "return inner() * 2" in solved


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("# solution 1.1: a\nx = 1", "never ends"),
        ("# end of solution", "never began"),
        ("# solution 1.1: a\n# solution 1.2: b\n# end of solution", "inside of another"),
    ],
)
def test_marks_that_do_not_pair_are_refused(code, fault):
    with pytest.raises(InvalidInputError, match=fault):
        cut_exercises(code, "exercises")


@pytest.mark.seconds
def test_a_solution_without_a_check_is_refused(tmp_path):
    (tmp_path / "source").mkdir()
    source = tmp_path / "source" / "01_toy_solutions.py"
    source.write_text("# %%\n# solution 1.1: a\nx = 1\n# end of solution\n")
    with pytest.raises(InvalidInputError, match=r"\['1.1'\] have a solution or a check"):
        list(exercise_notebooks(source))
