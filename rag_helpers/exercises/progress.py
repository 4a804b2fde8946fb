"""What a learner has done: a small file on this machine, and nothing else.

It holds facts alone: an exercise's id, how often it was tried, when it was
first passed. A damaged file is set aside and a full disk is told in a sentence;
neither stops an exercise. Two notebooks that record in the same instant may
lose a try. The module does not know what the exercises are.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["Done", "Progress", "load_progress", "progress_file", "record"]

VERSION = 1


@dataclass(frozen=True)
class Done:
    """What happened to one exercise.

    Parameters
    ----------
    tries : int
        How often an answer was checked; a stub is no try.
    first_passed : str or None
        When it was first passed, ISO 8601 in UTC.
    """

    tries: int = 0
    first_passed: str | None = None


@dataclass(frozen=True)
class Progress:
    """All that was recorded.

    Parameters
    ----------
    exercises : Mapping of str to Done
        By the exercise's id; what was never tried is missing.
    note : str
        What was wrong with the file, in a sentence; empty when nothing was.
    """

    exercises: Mapping[str, Done] = field(default_factory=dict)
    note: str = ""


class _Newer(Exception):  # noqa: N818 (a signal, not an error)
    """The file was written by a later version of the course."""


def progress_file() -> Path:
    """Return where progress is kept; the file need not exist yet.

    Returns
    -------
    Path
        ``$RAG_PROGRESS`` where that is set; else ``rag_helpers/progress.json`` in the user's data
        folder, which is ``%LOCALAPPDATA%`` on Windows, ``~/Library/Application Support`` on macOS,
        and ``$XDG_DATA_HOME`` or ``~/.local/share`` elsewhere. It is not the cache folder, because
        what lies there can be made again.

    Examples
    --------
    >>> progress_file().suffix
    '.json'
    """
    if chosen := os.environ.get("RAG_PROGRESS"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser().absolute() / "rag_helpers" / "progress.json"


def load_progress(path: Path | None = None) -> Progress:
    """Read what was recorded.

    Parameters
    ----------
    path : Path, optional
        By default `progress_file`.

    Returns
    -------
    Progress
        Empty where nothing was recorded. A file that is damaged is renamed, and the note says
        what it is called now.
    """
    file = progress_file() if path is None else path
    try:
        return Progress(_read(file))
    except FileNotFoundError:
        return Progress()
    except _Newer:
        return Progress(
            note=f"{file} is of a newer version of the course; it is left as it is, and nothing is "
            "recorded. Get the newer course, or set RAG_PROGRESS to another file."
        )
    except OSError as error:
        return Progress(note=f"Progress cannot be read from {file} ({error.strerror}).")
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return Progress(note=_set_aside(file))


def record(exercise: str, *, passed: bool, path: Path | None = None) -> str:
    """Count a try, and note when it was the first to pass.

    Parameters
    ----------
    exercise : str
        Its id.
    passed : bool
        Whether the check passed.
    path : Path, optional
        By default `progress_file`.

    Returns
    -------
    str
        Empty when it is on the disk; else a sentence that says why not, or what became of a
        damaged file.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "progress.json")
    ...     record("2.1", passed=False, path=file), record("2.1", passed=True, path=file)
    ...     load_progress(file).exercises["2.1"].tries
    ('', '')
    2
    """
    file = progress_file() if path is None else path
    before = load_progress(file)
    if before.note and file.exists():
        return before.note
    old = before.exercises.get(exercise, Done())
    now = datetime.now(UTC).isoformat(timespec="seconds")
    new = Done(old.tries + 1, old.first_passed or (now if passed else None))
    rows = {name: vars(done) for name, done in {**before.exercises, exercise: new}.items()}
    content = json.dumps({"version": VERSION, "exercises": rows}, indent=1, sort_keys=True)
    try:
        _write(file, content + "\n")
    except OSError as error:
        return f"Not recorded: {file} cannot be written ({error.strerror}); RAG_PROGRESS moves it."
    return before.note


def _read(file: Path) -> dict[str, Done]:
    data: Any = json.loads(file.read_text(encoding="utf-8"))
    if int(data["version"]) > VERSION:
        raise _Newer
    found = {}
    for name, row in data["exercises"].items():
        tries, first = row["tries"], row["first_passed"]
        if not isinstance(tries, int) or not (first is None or isinstance(first, str)):
            raise TypeError("no record")
        if first is not None:
            datetime.fromisoformat(first)
        found[str(name)] = Done(tries, first)
    return found


def _set_aside(file: Path) -> str:
    """Rename a damaged file, and say so."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    aside = file.with_name(f"{file.name}.damaged-{stamp}")
    try:
        file.rename(aside)
    except OSError as error:
        return f"{file} is damaged and cannot be renamed ({error.strerror}); delete it."
    return f"{file} was damaged; it is now called {aside.name}, and a new one was begun."


def _write(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
