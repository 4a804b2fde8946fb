"""Chunks and vectors as Parquet files, and a note for each file that is wholly done.

A shard holds one part of a corpus. Its name is the digest of the part and of the
settings, so that the same work has the same name on any node and in any run:
doing it twice writes the same file. The note is written last; what has no note
is done again. The module does not know Ray or Milvus.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from rag_helpers.errors import IndexIntegrityError, InvalidInputError
from rag_helpers.index.lines import from_lines, to_lines
from rag_helpers.records import Chunk, FloatArray

__all__ = ["Shard", "ShardFolder", "chunk_key", "pack_shard", "unpack_shard"]

_SETTINGS = "manifest.json"


@dataclass(frozen=True, slots=True)
class Shard:
    """What one Parquet file holds.

    Parameters
    ----------
    keys : list of str
        Content hash of each chunk.
    chunks : list of Chunk
    vectors : ndarray of float32, shape (sum(counts), dimension)
        Those of a chunk one below the other.
    counts : list of int
        How many vectors each chunk has.
    """

    keys: list[str]
    chunks: list[Chunk]
    vectors: FloatArray
    counts: list[int]


def chunk_key(chunk: Chunk) -> str:
    """Return the content hash of a chunk: 32 hexadecimal digits of SHA-256 over all its fields.

    Examples
    --------
    >>> one = Chunk("tea", "a.txt", 0, 3)
    >>> len(chunk_key(one)), chunk_key(one) == chunk_key(Chunk("tea", "b.txt", 0, 3))
    (32, False)
    """
    return sha256(to_lines([chunk], [1])).hexdigest()[:32]


def pack_shard(chunks: Sequence[Chunk], vectors: FloatArray, counts: Sequence[int]) -> bytes:
    """Return a shard as the bytes of a Parquet file, equal for equal input.

    Parameters
    ----------
    chunks : sequence of Chunk
    vectors : ndarray of float32, shape (sum(counts), dimension)
    counts : sequence of int

    Returns
    -------
    bytes

    Examples
    --------
    >>> data = pack_shard([Chunk("tea", "a.txt", 0, 3)], np.ones((2, 4), np.float32), [2])
    >>> unpack_shard(data).counts
    [2]
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    width = vectors.shape[1]
    rows = np.split(vectors, np.cumsum(counts)[:-1]) if len(counts) else []
    table = pa.table(
        {
            "key": pa.array([chunk_key(chunk) for chunk in chunks], pa.string()),
            "chunk": pa.array(
                [to_lines([chunk], [count]) for chunk, count in zip(chunks, counts, strict=True)],
                pa.binary(),
            ),
            "vectors": pa.array([row.astype("<f4").tobytes() for row in rows], pa.binary()),
        },
        metadata={"dimension": str(width)},
    )
    sink = BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def unpack_shard(data: bytes) -> Shard:
    """Read what `pack_shard` wrote.

    Raises
    ------
    IndexIntegrityError
        If the bytes are no shard.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
        width = int(table.schema.metadata[b"dimension"])
        chunks, counts = from_lines(b"".join(table["chunk"].to_pylist()))
        vectors = np.frombuffer(b"".join(table["vectors"].to_pylist()), "<f4").reshape(-1, width)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise IndexIntegrityError(
            f"A shard cannot be read ({error}): delete it, and ingest its documents again."
        ) from error
    return Shard(table["key"].to_pylist(), chunks, vectors, counts)


class ShardFolder:
    """A folder of shards made with one kind of settings.

    Parameters
    ----------
    folder : str or Path
        On a disk that every node reaches by the same path. Made when missing.
    settings : mapping
        What decides the shards' content beside the documents: names and numbers.

    Raises
    ------
    InvalidInputError
        If the folder holds shards made with other settings.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.settings = dict(settings)
        self.folder.mkdir(parents=True, exist_ok=True)
        manifest = self.folder / _SETTINGS
        if manifest.exists():
            held = json.loads(manifest.read_text(encoding="utf-8"))
            if held != self.settings:
                differing = sorted(
                    name
                    for name in {*held, *self.settings}
                    if held.get(name) != self.settings.get(name)
                )
                raise InvalidInputError(
                    f"{self.folder} holds shards made with {differing[0]} "
                    f"{held.get(differing[0])!r}, and {self.settings.get(differing[0])!r} is asked "
                    "for: use another folder, or the former setting."
                )
        else:
            write_atomically(manifest, json.dumps(self.settings, indent=1).encode())

    def name_of(self, digest: str) -> str:
        """Return the name of the shard for a part with this digest."""
        settings = json.dumps(self.settings, sort_keys=True)
        return sha256(f"{digest}\n{settings}".encode()).hexdigest()[:32]

    def path_of(self, name: str) -> Path:
        """Return the path of a shard's Parquet file."""
        return self.folder / f"{name}.parquet"

    def write(self, name: str, data: bytes) -> dict[str, Any]:
        """Write a shard atomically; return what `read` will check: ``bytes`` and ``sha256``."""
        write_atomically(self.path_of(name), data)
        return {"bytes": len(data), "sha256": sha256(data).hexdigest()}

    def read(self, name: str, facts: Mapping[str, Any]) -> Shard:
        """Read a shard once its checksum is right.

        Raises
        ------
        IndexIntegrityError
            If the file is missing or is not the file that was written.
        """
        path = self.path_of(name)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise IndexIntegrityError(
                f"The shard {path} cannot be read ({error.strerror}): delete {name}.json beside "
                "it, and ingest its documents again."
            ) from error
        if sha256(data).hexdigest() != facts["sha256"]:
            raise IndexIntegrityError(
                f"The shard {path} has changed since it was written: delete it and {name}.json, "
                "and ingest its documents again."
            )
        return unpack_shard(data)

    def note(self, name: str, facts: Mapping[str, Any]) -> None:
        """Note that everything about a shard is done."""
        write_atomically(self.folder / f"{name}.json", json.dumps(dict(facts)).encode())

    def done(self) -> dict[str, dict[str, Any]]:
        """Return the notes of all shards that are wholly done, by name."""
        notes = {}
        for path in sorted(self.folder.glob("*.json")):
            if path.name != _SETTINGS and self.path_of(path.stem).is_file():
                notes[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        return notes

    def forget(self, name: str) -> None:
        """Remove a shard and its note, the note first: a kill between leaves an unfinished one."""
        (self.folder / f"{name}.json").unlink(missing_ok=True)
        self.path_of(name).unlink(missing_ok=True)

    def shards(self) -> Iterator[Shard]:
        """Yield every shard that is done, one at a time in memory."""
        for name, facts in self.done().items():
            yield self.read(name, facts)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, whoever else writes the same one."""
    draft = path.parent / f".{path.name}.{secrets.token_hex(6)}.tmp"
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
