"""Folders of models: checked before anything loads them, and made whole or not at all.

Knows files and checksums; does not know where a model comes from.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rag_helpers.environment import file_sha256
from rag_helpers.errors import ModelIntegrityError, ModelNotFoundError

__all__ = ["build_once", "check_folder", "check_locked", "compare", "digest_folder"]

_LOCK = "checksums.json"
_DRAFT_PREFIX = ".unfinished-"
_DAY_S = 86_400.0
# What a model is computed from: weights, settings, vocabulary.
_READ_SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".model"})
# Checksums this process has computed, by path, bytes and modification time.
_checksums: dict[tuple[str, int, int], str] = {}


def check_folder(folder: Path) -> Path:
    """Check that the folder holds a whole model, reading no more than headers."""
    from safetensors import SafetensorError, safe_open

    if not (folder / "config.json").is_file():
        raise ModelIntegrityError(
            f"{folder} has no config.json; give a folder that save_pretrained wrote."
        )
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelIntegrityError(
            f"{folder} has no safetensors; save the model with save_pretrained to get them."
        )
    for file in weights:
        try:
            with safe_open(file, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelIntegrityError(
                f"{file} is damaged or incomplete ({error}); copy or download it again."
            ) from error
    return folder


def check_locked(folder: Path) -> Path:
    """Compare every file with the lock; a folder that somebody put there is locked as it is."""
    lock = folder / _LOCK
    check_folder(folder)
    if not lock.exists():
        with suppress(OSError):  # a cache that several people share may be read-only
            _write_lock(folder)
        return folder
    cure = f"delete the folder {folder}, and it is made again when it is next needed"
    try:
        expected: dict[str, str] = json.loads(lock.read_text(encoding="utf-8"))["sha256"]
        for name, digest in expected.items():
            compare(folder / name, digest, cure=cure)
    except (ValueError, KeyError, AttributeError) as error:
        raise ModelIntegrityError(f"{lock} is damaged ({error}); {cure}.") from error
    return folder


def compare(file: Path, sha256: str, *, cure: str) -> None:
    """Refuse a file whose checksum is not the expected one.

    Parameters
    ----------
    file : Path
        What to read; read once per process, as long as its size and time stay the same.
    sha256 : str
        The expected checksum.
    cure : str
        What the reader can do about another one.

    Raises
    ------
    ModelIntegrityError
        If the file cannot be read or is another.
    """
    try:
        found = _digest(file)
    except OSError as error:
        raise ModelIntegrityError(f"{file} cannot be read ({error.strerror}); {cure}.") from error
    if found != sha256:
        raise ModelIntegrityError(
            f"{file} has sha256 {found[:12]}…, but {sha256[:12]}… was expected; {cure}."
        )


def digest_folder(folder: Path) -> str:
    """Return one checksum for all that a model is computed from.

    Parameters
    ----------
    folder : Path
        Of a model or an adapter. Each file is read once per process, as long as its size and time
        stay the same.

    Returns
    -------
    str
        SHA-256 over the names and checksums of weights, settings and vocabulary.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as name:
    ...     empty = digest_folder(Path(name))
    ...     _ = (Path(name) / "config.json").write_text("{}")
    ...     digest_folder(Path(name)) == empty
    False
    """
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        # Locking a folder changes nothing in it.
        if file.suffix in _READ_SUFFIXES and file.name != _LOCK and file.is_file():
            digest.update(f"{file.relative_to(folder).as_posix()} {_digest(file)}\n".encode())
    return digest.hexdigest()


def _digest(file: Path) -> str:
    status = file.stat()
    key = (str(file), status.st_size, status.st_mtime_ns)
    if key not in _checksums:
        _checksums[key] = file_sha256(file)
    return _checksums[key]


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Let `build` fill a folder beside the wanted one, and move it there whole.

    Of several processes that build the same folder, the first one's stays.
    """
    from safetensors import SafetensorError

    if folder.exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        with tempfile.TemporaryDirectory(
            dir=folder.parent, prefix=_DRAFT_PREFIX, ignore_cleanup_errors=True
        ) as scratch:
            draft = Path(scratch) / folder.name
            draft.mkdir()
            build(draft)
            _write_lock(draft)
            for file in filter(Path.is_file, draft.rglob("*")):
                with file.open("r+b") as stream:
                    os.fsync(stream.fileno())
            draft.replace(folder)
    except (OSError, SafetensorError) as error:
        if folder.exists():  # another process was faster, and its folder is as good
            return folder
        raise ModelNotFoundError(
            f"{folder} cannot be written ({error}); free some space there, or set RAG_CACHE to "
            "a folder on another disk."
        ) from error
    return folder


def _write_lock(folder: Path) -> None:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    digests = {file.relative_to(folder).as_posix(): file_sha256(file) for file in files}
    draft = folder / f"{_LOCK}.{os.getpid()}"
    with draft.open("w", encoding="utf-8") as stream:
        json.dump({"sha256": digests}, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(folder / _LOCK)


def _sweep(folder: Path) -> None:
    """Delete drafts that a killed process left behind at least a day ago."""
    for draft in folder.glob(f"{_DRAFT_PREFIX}*"):
        if time.time() - draft.stat().st_mtime > _DAY_S:
            shutil.rmtree(draft, ignore_errors=True)
