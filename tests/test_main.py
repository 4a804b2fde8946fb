"""The command line: what it prints where, its exit codes, and the way into ``.venv``."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rag_helpers import __main__ as command_line
from rag_helpers.__main__ import COMMANDS, Command, main
from rag_helpers.environment import CheckResult
from rag_helpers.errors import InvalidInputError
from rag_helpers.installation import Installation, stages

PACKAGE = Path(command_line.__file__).parent


def use_command(monkeypatch, run, **more):
    """Put a command named "trial" in the place of all others."""
    monkeypatch.setattr(command_line, "COMMANDS", (Command("trial", "try it", run, **more),))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as leaving:
        main([command.name, "--help"])
    assert leaving.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert command.summary[1:] in shown
    assert " ".join(command.more.split()) in shown


def test_without_a_command_it_says_how_to_begin(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert "To begin:" in shown
    assert all(command.name in shown for command in COMMANDS)


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["answer"])
    assert leaving.value.code == 2
    assert "invalid choice: 'answer'" in capsys.readouterr().err


def test_an_error_is_one_sentence_on_stderr(monkeypatch, capsys):
    def fail(_):
        raise InvalidInputError("k is 0; retrieve at least 1 passage.")

    use_command(monkeypatch, fail)
    assert main(["trial"]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: k is 0; retrieve at least 1 passage.\n")


def test_a_file_that_cannot_be_read_is_named(monkeypatch, tmp_path, capsys):
    use_command(monkeypatch, lambda _: (tmp_path / "absent").read_text())
    assert main(["trial"]) == 2
    assert str(tmp_path / "absent") in capsys.readouterr().err


def test_a_mistake_of_ours_still_shows_its_trace(monkeypatch):
    use_command(monkeypatch, lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        main(["trial"])


def test_ctrl_c_leaves_with_130(monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    use_command(monkeypatch, interrupt)
    assert main(["trial"]) == 130
    assert capsys.readouterr() == ("", "")


def test_an_older_python_is_told_which_one_is_needed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    assert main(["install"]) == 2
    assert "3.11 or newer is needed" in capsys.readouterr().err


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_check_reports_a_line_each_and_the_cure(monkeypatch, capsys, ok, code):
    results = [CheckResult("Python", True, "3.11.7"), CheckResult("disk", ok, "0.1 GB", "Free it.")]
    monkeypatch.setattr("rag_helpers.environment.check_environment", lambda: list(results))
    # As in conda or Colab: the packages are there, and no .venv is needed.
    monkeypatch.setattr(command_line, "_has_packages", lambda: True)
    monkeypatch.setattr(command_line, "INSTALLATION", Installation(Path("nowhere")))
    assert main(["check", "--all"]) == code
    assert capsys.readouterr().out.splitlines() == [
        "OK   Python  3.11.7",
        f"{'OK  ' if ok else 'FAIL'} disk    0.1 GB  -> Free it.",
    ]
    assert main(["check"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "READY: the course runs on this machine." if ok else "NOT READY: 1 of 2 checks failed."
    )
    assert lines[-1].startswith("Code for the teacher: ")


def test_check_names_a_missing_environment_first(monkeypatch, capsys):
    monkeypatch.setattr("rag_helpers.environment.check_environment", list)
    monkeypatch.setattr(command_line, "_has_packages", lambda: False)
    monkeypatch.setattr(command_line, "INSTALLATION", Installation(Path("nowhere")))
    assert main(["check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split(maxsplit=2)[1:] == [".venv", "there is no environment yet"]
    assert lines[3] == "  ->  Run `python -m rag_helpers install`."


@pytest.fixture
def recorded(monkeypatch):
    """Record what the set-up commands ask of the installation, and do none of it."""
    calls = []

    class Recorder(Installation):
        def install(self, *, dev=False, scale=False):
            calls.append(("install", dev, "scale") if scale else ("install", dev))

        def run(self, arguments):
            calls.append(("run", *arguments))
            return 0

        def become(self, arguments):
            calls.append(("become", *arguments))
            return 0

    monkeypatch.setattr(command_line, "INSTALLATION", Recorder(Path("toy")))
    for name in ("run_stages", "open_lab"):
        monkeypatch.setattr(
            f"rag_helpers.commands.building.{name}",
            lambda _, *given, name=name, **named: calls.append((name, *given, named)) or 0,
        )
    return calls


def test_install_and_its_tools(recorded):
    assert main(["install"]) == 0
    assert main(["install", "--dev"]) == 0
    assert recorded == [("install", False), ("install", True)]


def test_ray_and_milvus_are_installed_when_asked_for_or_needed(recorded, monkeypatch):
    assert main(["install", "--scale"]) == 0
    monkeypatch.setattr(command_line.importlib.util, "find_spec", lambda name: None)
    assert main(["scale-demo", "--topics", "3"]) == 0
    assert recorded == [
        ("install", False, "scale"),
        ("install", False, "scale"),
        ("become", "rag_helpers", "scale-demo", "--topics", "3"),
    ]


def test_lab_installs_first(recorded):
    assert main(["lab", "--no-browser", "--port", "8899"]) == 0
    assert recorded == [("install", False), ("open_lab", {"browser": False, "port": 8899})]


@pytest.mark.parametrize("kind", ["check-code", "test", "test-slow"])
def test_checks_install_their_tools_first(recorded, kind):
    assert main([kind]) == 0
    # The slow tests are those of Ray and Milvus too.
    installed = ("install", True, "scale") if kind == "test-slow" else ("install", True)
    assert recorded == [installed, ("run_stages", stages(kind), {})]


def test_notebooks_passes_names_on(recorded):
    assert main(["notebooks", "02", "03"]) == 0
    assert recorded == [("install", True), ("run", "rag_helpers.notebook_builder", "02", "03")]
    assert main(["notebooks", "02", "--exercises"]) == 0
    assert recorded[-1] == ("run", "rag_helpers.notebook_builder", "02", "--exercises")


def test_clean_says_how_much_went(monkeypatch, tmp_path, capsys):
    (tmp_path / "build").mkdir()
    (tmp_path / ".coverage").write_text("")
    monkeypatch.setattr(command_line, "INSTALLATION", Installation(tmp_path))
    assert main(["clean"]) == 0
    assert capsys.readouterr().out == "Deleted 2 files and folders.\n"


@pytest.fixture
def clone(tmp_path):
    """A clone whose command line is the real one, and whose answers are not.

    What answers is replaced, so that the test sees which Python it runs on.
    """
    inside = tmp_path / "rag_helpers"
    shutil.copytree(PACKAGE / "installation", inside / "installation")
    for name in ("__init__.py", "__main__.py", "errors.py"):
        shutil.copy(PACKAGE / name, inside)
    (inside / "commands.py").write_text(
        "import sys\n"
        "def add_ask_options(parser): parser.add_argument('question')\n"
        "def ask(options): print(sys.prefix, options.question); return 3\n"
        "def __getattr__(name): return lambda _: None\n"
    )
    return Installation(tmp_path)


def make_environment(clone, *packages):
    """Give a clone an environment in which empty packages of these names are installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(clone.venv)], check=True)
    (site,) = clone.venv.glob("[lL]ib/**/site-packages")
    for name in packages:
        (site / f"{name}.py").write_text("")


def ask_in(clone):
    """Ask with a Python that has no packages installed, as on a fresh system."""
    base = make_bare_python(clone.root / "bare")
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(base), "-m", "rag_helpers", "ask", "Why?"]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=clone.root, env=variables, check=False
    )


def make_bare_python(folder):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def test_a_bare_python_without_an_environment_says_how_to_install(clone):
    done = ask_in(clone)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "error: `ask` needs packages that are not installed; run: python -m rag_helpers install\n"
    )


def test_a_bare_python_hands_over_to_the_environment(clone):
    make_environment(clone, "numpy", "torch", "faiss", "sentence_transformers")
    done = ask_in(clone)
    # The command's own output and exit code come through.
    assert done.returncode == 3
    assert done.stdout.split() == [str(clone.venv), "Why?"]


def test_a_half_installed_environment_is_not_tried_for_ever(clone):
    make_environment(clone, "numpy")
    done = ask_in(clone)
    assert done.returncode == 2
    assert "run: python -m rag_helpers install" in done.stderr
