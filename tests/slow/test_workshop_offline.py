"""The course itself, installed from a workshop folder in a network namespace without a route."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from rag_helpers.environment import decode
from rag_helpers.workshop import Target, build_workshop, find_changes, this_target

ROOT = Path(__file__).resolve().parents[2]

OTHERS = [Target("windows", "3.11"), Target("macos-arm64", "3.11")]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500), pytest.mark.xdist_group("workshop")]
has_namespaces = pytest.mark.skipif(
    platform.system() != "Linux" or os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="a network namespace needs Linux, root and unshare",
)


@pytest.fixture(scope="module")
def stick(tmp_path_factory):
    """One folder for a room with machines of three systems, and how long it took to build."""
    out, seconds = tmp_path_factory.mktemp("room") / "the stick", {}
    build = partial(
        build_workshop, ROOT, out, [this_target(), *OTHERS], python=Path(sys.executable)
    )
    timed(seconds, "built", build)
    report = timed(seconds, "built again", build)
    assert find_changes(out) == []
    return out, report, seconds


def timed(seconds, name, action):
    began = time.perf_counter()
    result = action()
    seconds[name] = round(time.perf_counter() - began)
    return result


def without_network(command, *, home, cwd, timeout):
    """Run a command where not even the loopback interface is up."""
    variables = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    variables |= {"HOME": str(home), "HF_HUB_OFFLINE": "0", "TORCH": "cpu"}
    return subprocess.run(
        ["unshare", "--net", *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=variables,
        timeout=timeout,
    )


@has_namespaces
def test_a_namespace_has_no_route(tmp_path):
    code = "import socket; socket.create_connection(('127.0.0.1', 9), 2)"
    done = without_network([sys.executable, "-c", code], home=tmp_path, cwd=tmp_path, timeout=60)
    assert "Network is unreachable" in done.stderr


@has_namespaces
def test_a_room_installs_and_asks_without_a_network(stick, tmp_path, capsys):
    out, report, seconds = stick
    home = tmp_path / "home"
    home.mkdir()
    command = [sys._base_executable, out / "install.py"]
    install = partial(without_network, command, home=home, cwd=tmp_path, timeout=900)
    done = timed(seconds, "installed", install)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    course = home / "rag-course"
    inside = course / ".venv" / "bin" / "python"

    done = without_network(
        [inside, "-m", "rag_helpers", "check"], home=home, cwd=course, timeout=200
    )
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[0]) == (0, "READY: the course runs on this machine.")
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    assert decode(lines[-1].rpartition(" ")[2]).is_ready

    command = [inside, "-m", "rag_helpers", "ask", "--json", "What happens when I divide by zero?"]
    first = partial(without_network, command, home=home, cwd=course, timeout=400)
    done = timed(seconds, "first answer", first)
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout)
    assert "ZeroDivisionError" in json.dumps(answer)
    with capsys.disabled():
        print(f"\n{report}; seconds: {seconds}", end=" ")


@pytest.mark.parametrize(
    ("target", "fits", "of_its_own"),
    [
        (OTHERS[0], ("win_amd64", "none-any"), {"colorama", "pywinpty", "torch"}),
        (OTHERS[1], ("arm64", "universal2", "none-any"), {"appnope", "torch"}),
    ],
    ids=lambda given: getattr(given, "platform", None),
)
def test_the_wheels_for_another_system_are_its_own_alone(stick, target, fits, of_its_own):
    wheels = [path.stem for path in (stick[0] / "wheels" / target.name).glob("*.whl")]
    assert [name for name in wheels if not name.endswith(fits)] == []
    names = {name.partition("-")[0].lower() for name in wheels}
    # What only that system needs is there, and what CUDA needs is not.
    assert of_its_own <= names
    assert not {name for name in names if name.startswith("nvidia")}
