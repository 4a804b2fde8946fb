"""The list of checksums of a folder, in the form that ``sha256sum --check`` reads.

The module does not know what the files are.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from rag_helpers.installation import InstallationError

__all__ = ["SUMS_NAME", "find_changes", "write_sums"]

SUMS_NAME = "SHA256SUMS"


def _files(folder: Path) -> dict[str, Path]:
    """Return every file below a folder but the list itself, by its name with forward slashes."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / SUMS_NAME
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(folder: Path) -> int:
    """Write the list of all files of a folder.

    Parameters
    ----------
    folder : Path
        Its list is replaced if there is one.

    Returns
    -------
    int
        How many files it names.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     _ = Path(name, "a.txt").write_text("a")
    ...     write_sums(Path(name))
    1
    """
    files = _files(folder)
    lines = [f"{_sha256(path)}  {name}\n" for name, path in files.items()]
    draft = folder / f"{SUMS_NAME}.new"
    with draft.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / SUMS_NAME)
    return len(files)


def find_changes(folder: Path) -> list[str]:
    """Compare a folder with its list.

    Parameters
    ----------
    folder : Path
        A folder that `write_sums` has seen.

    Returns
    -------
    list of str
        What is missing, changed or not in the list, a sentence each; empty when all is well.

    Raises
    ------
    InstallationError
        If there is no list, or a line of it is none.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     _ = Path(name, "a.txt").write_text("a")
    ...     _ = write_sums(Path(name))
    ...     _ = Path(name, "a.txt").write_text("b")
    ...     find_changes(Path(name))
    ['a.txt is not what it was.']
    """
    try:
        text = (folder / SUMS_NAME).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InstallationError(
            f"{folder} has no {SUMS_NAME} that can be read; build the folder anew."
        ) from error
    wanted = {}
    for line in text.splitlines():
        digest, gap, name = line[:64], line[64:66], line[66:]
        if gap != "  " or not name:
            raise InstallationError(
                f"{SUMS_NAME} holds {line[:80]!r}, which is no checksum; build the folder anew."
            )
        wanted[name] = digest
    files = _files(folder)
    changes = [f"{name} is missing." for name in wanted if name not in files]
    changes += [f"{name} is not in the list." for name in files if name not in wanted]
    changes += [
        f"{name} is not what it was."
        for name, path in files.items()
        if name in wanted and _sha256(path) != wanted[name]
    ]
    return changes
