"""Puts the workshop folder together: wheels, models, the repository's files, slides, checksums.

It is built beside its final place and moved there when it is whole. A second run takes over what
has not changed. The module does not know how slides are drawn; it is told who draws them.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rag_helpers.installation import InstallationError
from rag_helpers.workshop.checksums import SUMS_NAME, write_sums
from rag_helpers.workshop.targets import Target
from rag_helpers.workshop.wheels import fetch_models, fetch_wheels

__all__ = ["WorkshopReport", "build_workshop"]

NOTE = "workshop.json"
TEMPLATES = Path(__file__).parents[1] / "data" / "workshop"
# What of a clone is the course; a clone's own leftovers are not.
COURSE = ("notebooks", "rag_helpers", "tests")
LEFT_OUT = ("__pycache__", ".ipynb_checkpoints", "executed")
OWN_PREFIX = "my_"  # what learners write
# Measured on Linux: the environment takes this much, and so does what the first answer caches.
DISK_GB = 3.5
EXAMPLE_CODE = "0000-0000-0000"


@dataclass(frozen=True, slots=True)
class WorkshopReport:
    """What a workshop folder holds.

    Parameters
    ----------
    folder : Path
        Where it is.
    n_files : int
        How many files its checksums name.
    n_bytes : int
        Their size.
    seconds : float
        How long it took to build.

    Examples
    --------
    >>> str(WorkshopReport(Path("rag-workshop"), 100, 614_000_000, 52.0))
    'rag-workshop: 100 files, 614 MB, built in 52 s'
    """

    folder: Path
    n_files: int
    n_bytes: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.folder}: {self.n_files} files, {self.n_bytes / 1e6:.0f} MB, "
            f"built in {self.seconds:.0f} s"
        )


def build_workshop(
    root: Path,
    out: Path,
    targets: Sequence[Target],
    *,
    python: Path,
    torch: str = "",
    example_code: str = EXAMPLE_CODE,
    draw_slides: Callable[[Path], None] | None = None,
) -> WorkshopReport:
    """Build the folder, or bring it into step with the repository.

    Parameters
    ----------
    root : Path
        The repository.
    out : Path
        The folder; one that is there is replaced when the new one is whole.
    targets : sequence of Target
        The systems to build for, at least one.
    python : Path
        A Python with pip, and with uv for any target but the running system.
    torch : {"", "cpu"}
        ``"cpu"`` takes PyTorch's CPU build from its own index.
    example_code : str
        A code as ``check`` prints it, for the participants' README.
    draw_slides : callable, optional
        Writes the slides into the folder that it is given.

    Returns
    -------
    WorkshopReport

    Raises
    ------
    InstallationError
        If wheels cannot be had, or `out` is a folder with something else in it.
    """
    if not targets:
        raise InstallationError("No platform is named; name at least one with --platform.")
    began = time.perf_counter()
    out = out.absolute()
    draft, old = (out.with_name(f"{out.name}.{word}") for word in ("part", "old"))
    if old.exists() and not out.exists():  # a run was stopped between the two renamings
        old.replace(out)
    if out.exists() and not (out / NOTE).is_file():
        raise InstallationError(
            f"{out} is there and is no workshop folder; name another place with --out."
        )
    wheels = draft / "wheels"
    for name in ("models", *(target.name for target in targets)):
        _take_over(out / "wheels" / name, wheels / name)
    for target in targets:
        fetch_wheels(root, target, wheels / target.name, python=python, torch=torch)
    fetch_models(root, wheels / "models", python=python)
    _keep_only(wheels, {"models", *(target.name for target in targets)})
    for name in ("course", "slides"):
        shutil.rmtree(draft / name, ignore_errors=True)
    for file in _course_files(root):
        (draft / "course" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / file, draft / "course" / file)
    if draw_slides is not None:
        draw_slides(draft / "slides")
    _write_notes(draft, targets, example_code)
    n_files = write_sums(draft)
    if out.exists():
        shutil.rmtree(old, ignore_errors=True)
        out.replace(old)
    draft.replace(out)
    shutil.rmtree(old, ignore_errors=True)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return WorkshopReport(out, n_files, size, time.perf_counter() - began)


def _take_over(source: Path, target: Path) -> None:
    """Share the files of a finished folder with its successor, or copy them where it must."""
    if not source.is_dir() or target.exists():
        return

    def link(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:  # another disk, or a file system without links
            shutil.copy2(one, other)

    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"{target.name}.taken")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(source, draft, copy_function=link)
    draft.replace(target)


def _keep_only(folder: Path, names: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in names:
            shutil.rmtree(path)


def _course_files(root: Path) -> Iterator[Path]:
    """Yield the repository's files, relative to it: as a clone has them, without its leftovers."""
    for path in sorted(root.iterdir()):
        if path.is_file() and (not path.name.startswith(".") or path.name == ".gitignore"):
            yield path.relative_to(root)
    for folder in COURSE:
        for path in sorted((root / folder).rglob("*")):
            parts = path.relative_to(root).parts
            left_out = any(part in LEFT_OUT or part.startswith(OWN_PREFIX) for part in parts)
            if path.is_file() and not path.is_symlink() and not left_out:
                yield path.relative_to(root)


def _write_notes(draft: Path, targets: Sequence[Target], example_code: str) -> None:
    names = [target.name for target in targets]
    shutil.copyfile(TEMPLATES / "install.py", draft / "install.py")
    words = ", ".join(f"{target.platform} with Python {target.python}" for target in targets)
    foreign = [name for name in names if not name.startswith("linux")]
    untested = (
        f"Installed and run on Linux only: try {', '.join(foreign)} on one machine beforehand."
        if foreign
        else "Try it on one machine with the network switched off beforehand."
    )
    text = (TEMPLATES / "README.md").read_text(encoding="utf-8")
    values = {"targets": words, "disk": f"{DISK_GB:g}", "example": example_code}
    for name, value in {**values, "untested": untested}.items():
        text = text.replace(f"{{{name}}}", value)
    (draft / "README.md").write_text(text, encoding="utf-8", newline="\n")
    note = {"version": 1, "targets": names, "checksums": SUMS_NAME}
    (draft / NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
