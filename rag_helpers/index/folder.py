"""A saved index as files: a folder that is either the old index or the new one, never half.

The module knows names, sizes, checksums and the order in which files are
written. It does not know what is in them, and neither FAISS nor numpy.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

from rag_helpers.errors import IndexIntegrityError, InvalidInputError

__all__ = ["REBUILD", "read_folder", "read_manifest", "require", "write_folder"]

MANIFEST = "manifest.json"
FORMAT = 2
MAX_MANIFEST_BYTES = 64 * 1024
# Files that no manifest names may belong to a writer that is still at work.
ORPHAN_SECONDS = 3600.0
REBUILD = "build the index again from its documents"

_SUFFIXES = {"vectors": "faiss", "chunks": "jsonl"}
_DATA_NAME = re.compile(
    r"vectors-[0-9a-f]{12}-[0-9a-f]{8}\.faiss|chunks-[0-9a-f]{12}-[0-9a-f]{8}\.jsonl"
)
_TEMPORARY_NAME = re.compile(r"\.rag-index-[0-9a-f]{16}\.tmp")


def write_folder(folder: Path, contents: Mapping[str, bytes], facts: Mapping[str, Any]) -> None:
    """Make `contents` the index of a folder, in one step that a kill cannot halve.

    Parameters
    ----------
    folder : Path
        Made when missing.
    contents : mapping of str to bytes
        The bytes of ``"vectors"`` and ``"chunks"``.
    facts : mapping
        What the manifest says beside the files' names, sizes and checksums.

    Raises
    ------
    InvalidInputError
        If `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"{str(folder)!r} is a file: name a folder for the index.")
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for kind, data in contents.items():
        digest = _sha256(data)
        # The random part keeps one writer from removing a file that another has just written.
        name = f"{kind}-{digest[:12]}-{secrets.token_hex(4)}.{_SUFFIXES[kind]}"
        files[kind] = {"bytes": len(data), "name": name, "sha256": digest}
        _write_atomically(folder / name, data)
    replaced = _names_in_manifest(folder)
    manifest = {**facts, "format": FORMAT, "files": files}
    _write_atomically(folder / MANIFEST, _manifest_bytes(manifest))
    _remove_stale(folder, replaced)


def read_folder(
    folder: Path, *, map_vectors: bool = False
) -> tuple[dict[str, Any], dict[str, bytes | mmap.mmap]]:
    """Read the manifest and the bytes it vouches for.

    Parameters
    ----------
    folder : Path
    map_vectors : bool, default False
        Whether ``"vectors"`` is a read-only map of its file. It is hashed block by
        block through the very handle that is then mapped, so that no other file can
        take its name in between.

    Returns
    -------
    tuple of (dict, dict of str to bytes or mmap)
        The manifest, and the contents of ``"vectors"`` and ``"chunks"``.

    Raises
    ------
    IndexIntegrityError
        If a file is missing, no regular file, or not what the manifest says.
    """
    while True:
        manifest = read_manifest(folder)
        try:
            contents: dict[str, bytes | mmap.mmap] = {}
            for kind, entry in manifest["files"].items():
                with _open_regular(folder / entry["name"], entry["bytes"]) as file:
                    in_place = map_vectors and kind == "vectors"
                    data, digest = (_map_whole if in_place else _read_whole)(file, entry["bytes"])
                same = len(data) == entry["bytes"] and digest == entry["sha256"]
                require(same, folder, f"{entry['name']} does not match its size or SHA-256")
                contents[kind] = data
            return manifest, contents
        except IndexIntegrityError:
            # A writer may have finished meanwhile and removed what the old manifest named.
            if read_manifest(folder) == manifest:
                raise


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check the manifest alone.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict

    Raises
    ------
    IndexIntegrityError
        If it is missing, too large, changed, of another format or incomplete.
    """
    with _open_regular(folder / MANIFEST, MAX_MANIFEST_BYTES) as file:
        raw = file.read(MAX_MANIFEST_BYTES + 1)
    try:
        manifest = json.loads(raw)
        # Compared byte for byte, an edit has nowhere to hide, not even in white space.
        intact = isinstance(manifest, dict) and _manifest_bytes(manifest) == raw
    except (ValueError, RecursionError):
        intact = False
    require(intact, folder, f"{MANIFEST} does not match its own checksum")
    if manifest.get("format") != FORMAT:
        raise IndexIntegrityError(
            f"The index in {str(folder)!r} has format {manifest.get('format')!r}, but this version "
            f"reads format {FORMAT}: install the version that wrote it, or {REBUILD}."
        )
    require(_lists_files(manifest.get("files")), folder, f"{MANIFEST} names wrong files")
    return dict(manifest)


def require(condition: bool, folder: Path, finding: str) -> None:
    """Raise `IndexIntegrityError` with the finding unless the condition holds."""
    if not condition:
        raise IndexIntegrityError(f"The index in {str(folder)!r} is damaged: {finding}; {REBUILD}.")


def _lists_files(files: object) -> bool:
    return (
        isinstance(files, dict)
        and files.keys() == _SUFFIXES.keys()
        and all(
            isinstance(entry, dict)
            and isinstance(entry.get("name"), str)
            # Only plain names of our own making: nothing that leaves the folder.
            and _DATA_NAME.fullmatch(entry["name"]) is not None
            and entry["name"].startswith(kind)
            and type(entry.get("bytes")) is int
            and isinstance(entry.get("sha256"), str)
            for kind, entry in files.items()
        )
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    """Serialize the manifest together with its own checksum."""
    body = {key: value for key, value in manifest.items() if key != "sha256"}
    digest = _sha256(json.dumps(body, sort_keys=True).encode())
    return (json.dumps({**body, "sha256": digest}, sort_keys=True, indent=2) + "\n").encode()


@contextlib.contextmanager
def _open_regular(path: Path, limit: int) -> Iterator[BufferedReader]:
    """Open a file of at most `limit` bytes that is no link, pipe or device."""
    folder = path.parent
    try:
        status = path.lstat()
        require(stat.S_ISREG(status.st_mode), folder, f"{path.name} is not a regular file")
        within = status.st_size <= limit
        require(within, folder, f"{path.name} has {status.st_size} bytes where {limit} are allowed")
        with path.open("rb") as file:
            yield file
    except (FileNotFoundError, NotADirectoryError) as error:
        raise IndexIntegrityError(
            f"There is no {path.name} in {str(folder)!r}: save an index there first, or {REBUILD}."
        ) from error
    except OSError as error:
        raise IndexIntegrityError(
            f"{path.name} in {str(folder)!r} cannot be read ({error}): check the folder's rights."
        ) from error


def _read_whole(file: BufferedReader, limit: int) -> tuple[bytes, str]:
    """Return the content, one byte beyond the limit at most, and its checksum."""
    data = file.read(limit + 1)
    return data, _sha256(data)


def _map_whole(file: BufferedReader, limit: int) -> tuple[bytes | mmap.mmap, str]:
    """Return the content where it lies, and its checksum, read block by block."""
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = min(os.fstat(file.fileno()).st_size, limit + 1)
    # No system maps a file of no bytes.
    data = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b""
    return data, digest


def _write_atomically(path: Path, data: bytes) -> None:
    temporary = path.parent / f".rag-index-{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        for patience in (0.05, 0.1, 0.2, 0.4, 0.8):
            # Windows refuses while a reader has the old file open.
            with contextlib.suppress(PermissionError):
                temporary.replace(path)
                return
            time.sleep(patience)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _names_in_manifest(folder: Path) -> set[str]:
    try:
        return {entry["name"] for entry in read_manifest(folder)["files"].values()}
    except IndexIntegrityError:
        return set()


def _remove_stale(folder: Path, replaced: set[str]) -> None:
    """Remove what the manifest before this one named, and what dead writers left."""
    keep = _names_in_manifest(folder)
    for path in folder.iterdir():
        ours = _DATA_NAME.fullmatch(path.name) or _TEMPORARY_NAME.fullmatch(path.name)
        # What cannot be removed now, such as a file that a reader holds open on Windows,
        # goes with a later save.
        with contextlib.suppress(OSError):
            orphan = ours and time.time() - path.lstat().st_mtime > ORPHAN_SECONDS
            if (path.name in replaced or orphan) and path.name not in keep:
                path.unlink()
