"""The workshop folder, built and installed from, on a toy repository; pip is real and offline.

`tests/slow/test_workshop_offline.py` does it with the course itself.
"""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_helpers.__main__ import main
from rag_helpers.installation import InstallationError
from rag_helpers.workshop import (
    SUMS_NAME,
    Target,
    build_workshop,
    find_changes,
    folder,
    this_target,
    wheels,
    write_sums,
)

ROOT = Path(__file__).resolve().parents[1]
INSTALL = ROOT / "rag_helpers" / "data" / "workshop" / "install.py"
BACKEND = """
import pathlib, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name, info = "toy-1.0-py3-none-any.whl", "toy-1.0.dist-info"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        wheel.writestr("toy.py", "VALUE = 1")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: toy\\nVersion: 1.0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name

build_editable = build_wheel
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "toy"
version = "1.0"
dependencies = []
"""


def load_install():
    spec = importlib.util.spec_from_file_location("workshop_install", INSTALL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


install = load_install()
HERE = this_target()


def make_wheel(where, name):
    info = f"{name}-1.0.dist-info"
    wheel = where / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", "VALUE = 1\n")
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        archive.writestr(f"{info}/METADATA", text)
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        record = "".join(f"{file},,\n" for file in archive.namelist())
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return wheel


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """The only place that pip may look in."""
    index = tmp_path / "index"
    index.mkdir()
    for name in [name for name in os.environ if name.startswith(("PIP_", "TORCH"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", index.as_uri())
    return index


@pytest.fixture
def repository(tmp_path, offline):
    """A toy of this repository: the real installer, a library and a model of one line each."""
    root = tmp_path / "a clone"
    inside = root / "rag_helpers"
    package = ROOT / "rag_helpers"
    for name in ("installation", "commands", "environment", "publishing", "workshop"):
        shutil.copytree(package / name, inside / name, ignore=lambda *_: ["__pycache__"])
    for name in ("__init__.py", "__main__.py", "errors.py"):
        shutil.copy(package / name, inside)
    make_wheel(offline, "library")
    weights = make_wheel(offline, "weights")
    (root / "requirements.txt").write_text("library==1.0  # all\n")
    digest = install.sha256(weights)
    (root / "requirements-models.txt").write_text(f"weights==1.0 --hash=sha256:{digest}\n")
    (root / "pyproject.toml").write_text(PYPROJECT)
    (root / "backend.py").write_text(BACKEND)
    for name in ("notebooks/01.ipynb", "notebooks/my_notes/x.md", ".git/config", "tests/t.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")
    return root


def build(repository, out, **more):
    return build_workshop(repository, out, [HERE], python=Path(sys.executable), **more)


def names(where):
    return {path.relative_to(where).as_posix() for path in where.rglob("*") if path.is_file()}


# Targets -------------------------------------------------------------------------------------


def test_an_unknown_platform_or_python_is_refused_with_the_known_ones():
    with pytest.raises(InstallationError, match="'beos'; choose from linux, windows, macos-arm64"):
        Target("beos", "3.11")
    for python in ("3.10", "3", "2.7", "3.x", "3.11.2"):
        with pytest.raises(InstallationError, match=r"name 3\.11 or a newer one"):
            Target("linux", python)


def test_this_machine_is_a_target_unless_it_is_none(monkeypatch):
    assert this_target() == Target(HERE.platform, "{}.{}".format(*sys.version_info[:2]))
    monkeypatch.setattr(platform, "machine", lambda: "s390x")
    with pytest.raises(InstallationError, match=r"s390x.*--platform"):
        this_target()
    assert this_target(platform_name="windows", python="3.13").name == "windows-py3.13"


def test_another_system_is_asked_for_by_its_own_tags():
    options = Target("macos-arm64", "3.12").pip_options
    assert options[options.index("--platform") + 1] == "macosx_14_0_arm64"
    assert {"--only-binary=:all:", "--no-deps"} <= set(options)
    assert wheels._foreign(HERE) == []
    assert wheels._foreign(Target("windows", "3.12")) == Target("windows", "3.12").pip_options


# Checksums -----------------------------------------------------------------------------------


def test_every_kind_of_change_is_named(tmp_path):
    for name in ("same", "changed", "lost"):
        (tmp_path / name).write_text(name)
    assert write_sums(tmp_path) == 3
    assert find_changes(tmp_path) == []
    (tmp_path / "changed").write_text("x")
    (tmp_path / "lost").unlink()
    (tmp_path / "new").write_text("x")
    assert find_changes(tmp_path) == [
        "lost is missing.",
        "new is not in the list.",
        "changed is not what it was.",
    ]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_sha256sum_reads_the_list(tmp_path):
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "c.txt").write_text("text")
    write_sums(tmp_path)
    command = ["sha256sum", "--check", "--strict", SUMS_NAME]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)


def test_a_list_that_is_none_is_an_error_with_its_cure(tmp_path):
    with pytest.raises(InstallationError, match=f"has no {SUMS_NAME}"):
        find_changes(tmp_path)
    (tmp_path / SUMS_NAME).write_text("hello\n")
    with pytest.raises(InstallationError, match="'hello', which is no checksum"):
        find_changes(tmp_path)


# Building ------------------------------------------------------------------------------------


@pytest.mark.seconds
def test_the_folder_holds_wheels_models_course_and_their_checksums(repository, tmp_path):
    out = tmp_path / "out"
    slides = []
    report = build(repository, out, draw_slides=slides.append, example_code="ABCD-EFGH-JKMN")
    found = names(out)
    assert f"wheels/{HERE.name}/library-1.0-py3-none-any.whl" in found
    assert "wheels/models/weights-1.0-py3-none-any.whl" in found
    assert {"README.md", "install.py", SUMS_NAME, "workshop.json"} <= found
    assert {"course/notebooks/01.ipynb", "course/tests/t.py", "course/pyproject.toml"} <= found
    # A clone's leftovers and what learners wrote are not the course.
    assert not {name for name in found if "my_notes" in name or ".git/" in name or "pyc" in name}
    assert find_changes(out) == []
    assert report.n_files == len(found) - 1
    assert slides == [tmp_path / "out.part" / "slides"]
    readme = (out / "README.md").read_text()
    assert HERE.platform in readme and "ABCD-EFGH-JKMN" in readme and "{" not in readme
    assert main(["workshop", "--verify", "--out", str(out)]) == 0
    assert not list(tmp_path.glob("out.*"))


@pytest.mark.seconds
def test_a_second_run_fetches_nothing_and_follows_the_repository(repository, tmp_path, offline):
    out = tmp_path / "out"
    build(repository, out)
    for wheel in offline.iterdir():
        wheel.unlink()
    (repository / "notebooks" / "01.ipynb").write_text("new")
    build(repository, out)
    assert (out / "course" / "notebooks" / "01.ipynb").read_text() == "new"
    assert find_changes(out) == []
    # Other requirements: what is there does not do, and what is wanted is not to be had.
    (repository / "requirements.txt").write_text("library==2.0\n")
    with pytest.raises(
        InstallationError, match=r"No matching distribution found for library==2\.0"
    ):
        build(repository, out)
    assert find_changes(out) == []  # the old folder stays whole


@pytest.mark.seconds
def test_a_run_that_was_stopped_goes_on(repository, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(repository, out, draw_slides=stop)
    assert not out.exists()
    monkeypatch.setattr(wheels, "_pip", lambda *_: pytest.fail("fetched again"))
    build(repository, out)
    assert find_changes(out) == []
    # Stopped between the two renamings.
    out.replace(tmp_path / "out.old")
    build(repository, out)
    assert find_changes(out) == [] and not (tmp_path / "out.old").exists()


@pytest.mark.seconds
def test_a_source_is_built_into_a_wheel(repository, tmp_path, offline, monkeypatch):
    # Its backend lies beside it, so that building it needs nothing else.
    with zipfile.ZipFile(offline / "toy-1.0.zip", "w") as archive:
        archive.writestr("toy-1.0/pyproject.toml", PYPROJECT)
        archive.writestr("toy-1.0/backend.py", BACKEND)
        text = "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n"
        archive.writestr("toy-1.0/PKG-INFO", text)
    (repository / "requirements.txt").write_text("toy==1.0\n")
    build(repository, tmp_path / "out")
    fetched = names(tmp_path / "out" / "wheels" / HERE.name)
    assert fetched == {"toy-1.0-py3-none-any.whl", "made_from.txt"}


def test_the_pip_that_installs_is_in_the_folder(tmp_path):
    build = '[build-system]\nrequires = ["setuptools>=77"]\n'
    (tmp_path / "pyproject.toml").write_text(f'{build}[tool.rag-helpers]\npip = "26.3"\n')
    assert wheels._build_needs(tmp_path) == ["setuptools>=77", "pip==26.3"]
    (tmp_path / "pyproject.toml").write_text(build)
    assert wheels._build_needs(tmp_path) == ["setuptools>=77"]


def test_the_package_without_a_wheel_is_read_from_what_pip_says():
    said = "(ERROR: No matching distribution found for rouge-score==0.1.2); once that is mended"
    assert wheels._ABSENT.search(said)[1] == "rouge-score==0.1.2"


def test_a_folder_with_something_else_in_it_is_left_alone(repository, tmp_path):
    out = tmp_path / "photos"
    out.mkdir()
    (out / "cat.jpg").write_text("meow")
    with pytest.raises(InstallationError, match="is no workshop folder; name another place"):
        build(repository, out)
    with pytest.raises(InstallationError, match="name at least one with --platform"):
        build_workshop(repository, out, [], python=Path(sys.executable))
    assert names(out) == {"cat.jpg"}


# Installing from it --------------------------------------------------------------------------


@pytest.fixture
def built(repository, tmp_path):
    out = tmp_path / "a stick"
    build(repository, out)
    return out


def run_install(where, *arguments):
    """Start it as a participant does: nothing of these tests' settings for pip remains."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys._base_executable, str(where / "install.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**variables, "PIP_INDEX_URL": "http://127.0.0.1:9/nothing", "TORCH": "cpu"},
    )


@pytest.mark.seconds
def test_it_installs_and_a_second_time_keeps_what_a_participant_changed(built, tmp_path):
    target = tmp_path / "a home" / "rag-course"
    done = run_install(built, "--to", str(target))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Code for the teacher:" in done.stdout, done.stderr
    assert "rag_helpers lab" in done.stdout
    python = target / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([str(python), "-c", "import library, weights"], check=True)
    (target / "notebooks" / "01.ipynb").write_text("mine")
    (target / "tests" / "t.py").unlink()
    done = run_install(built, "--to", str(target))
    assert done.returncode == 0
    assert "1 files in" in done.stdout and "is in step with the requirements" in done.stdout
    assert (target / "notebooks" / "01.ipynb").read_text() == "mine"
    assert (target / "tests" / "t.py").exists()
    assert find_changes(built) == []  # nothing was written onto the stick


@pytest.mark.seconds
def test_a_damaged_or_missing_wheel_stops_it_before_anything_is_installed(built, tmp_path):
    target = tmp_path / "home"
    wheel = built / "wheels" / HERE.name / "library-1.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes()[:-1])
    done = run_install(built, "--to", str(target))
    assert done.returncode == 2 and "is damaged; copy the whole folder anew" in done.stderr
    assert run_install(built, "--check").returncode == 2
    wheel.unlink()
    done = run_install(built, "--to", str(target))
    assert done.returncode == 2 and "is missing; copy the whole folder anew" in done.stderr
    assert not target.exists()


@pytest.mark.seconds
def test_a_participant_with_another_python_is_told_which_there_are(built, monkeypatch, tmp_path):
    monkeypatch.setattr(install, "HERE", built)
    monkeypatch.setattr(install.platform, "system", lambda: "Windows")
    monkeypatch.setattr(install.platform, "machine", lambda: "AMD64")
    with pytest.raises(install.WorkshopError, match=f"holds wheels for {HERE.name}; start it"):
        install.choose_wheels(built)


@pytest.mark.seconds
def test_it_is_fetched_from_the_teachers_machine_and_goes_on_after_a_break(built, tmp_path):
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, _, *details):
            asked.append(details[0].split()[1])

    handler = functools.partial(Handler, directory=str(built))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    try:
        files = tmp_path / "files"
        wheels_name = install.fetch(address, files)
        assert wheels_name == HERE.name
        fetched = {name for name in names(files) if name.startswith(("course/", "wheels/"))}
        assert fetched == {n for n in names(built) if n.startswith(("course/", "wheels/"))}
        (files / "course" / "pyproject.toml").write_text("half")
        asked.clear()
        install.fetch(address, files)
        assert asked == [f"/{SUMS_NAME}", "/workshop.json", "/course/pyproject.toml"]
        assert (files / "course" / "pyproject.toml").read_text() == PYPROJECT
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(install.WorkshopError, match=r"cannot be fetched.*goes on where it stopped"):
        install.fetch(address, files)
    with pytest.raises(install.WorkshopError, match="is no address; it begins with http://"):
        install.fetch("file:///etc", files)


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "course/../../x", "C:/x", "course\\..\\..\\x", "a|b"],
)
def test_a_list_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    (tmp_path / SUMS_NAME).write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(install.WorkshopError, match="is no checksum"):
        install.read_sums(tmp_path)


@given(st.text(max_size=200))
def test_any_list_is_read_or_refused_in_a_sentence(tmp_path_factory, text):
    where = tmp_path_factory.mktemp("list")
    (where / SUMS_NAME).write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        found = install.read_sums(where)
    except install.WorkshopError:
        return
    assert all(".." not in name.split("/") for name in found)


def test_the_installer_and_the_builder_agree_on_names():
    assert install.SUMS == SUMS_NAME and install.NOTE == folder.NOTE
    assert set(install.PLATFORMS.values()) == {"linux", "windows", "macos-arm64"}
    from rag_helpers.workshop import targets

    assert install.PLATFORMS == targets._HERE


def test_the_installer_needs_the_standard_library_alone():
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(INSTALL), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--from http://ADDRESS:8000" in done.stdout


def test_the_note_names_the_targets(tmp_path):
    folder._write_notes(tmp_path, [Target("linux", "3.11"), Target("windows", "3.12")], "X")
    note = json.loads((tmp_path / "workshop.json").read_text())
    assert note["targets"] == ["linux-py3.11", "windows-py3.12"]
    assert "try windows-py3.12 on one machine beforehand" in (tmp_path / "README.md").read_text()
