"""Vectors kept on disk under the hash of what they were made from.

One SQLite file in the cache folder, which several processes may use at once and which a kill at
any moment leaves whole. It holds hashes and numbers, no text. Nothing depends on it: an entry that
is damaged or was dropped is made anew, and where the file cannot be used, nothing is kept.

The module does not know how a vector or its key is made.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import numpy as np

from rag_helpers.environment import cache_folder, note
from rag_helpers.errors import InvalidInputError
from rag_helpers.records import FloatArray

__all__ = ["DEFAULT_MB", "EmbeddingStore"]

T = TypeVar("T")

_FILE = "embeddings-1.sqlite3"  # another number where the columns change
DEFAULT_MB = 500.0
"""Enough for 290,000 vectors of 384 numbers."""

_PATIENCE_S = 30.0
_DAY_S = 86_400
_AT_ONCE = 500  # SQLite takes 999 values a statement in its oldest builds
_KEPT_SHARE = 0.9  # what is left when the limit is passed, so that it is not passed at once again
# Codes of SQLite: no such table or column, damaged, no database at all.
_UNUSABLE = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_TABLE = """
CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB, checksum BLOB,
  used INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS by_use ON vectors (used);
"""
_reported: set[Path] = set()


class EmbeddingStore:
    """A dictionary on disk from 32-byte keys to vectors, of bounded size.

    Parameters
    ----------
    folder : Path, optional
        Where its file is; by default `rag_helpers.environment.cache_folder`. Made when first used.
    max_mb : float
        Most size of the file, in 10⁶ bytes, give or take the vectors of one call. Beyond it, the
        vectors whose last use is longest ago are dropped; uses are noted once a day.

    Raises
    ------
    InvalidInputError
        If `max_mb` is not above 0.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = EmbeddingStore(Path(folder))
    ...     store.keep({bytes(32): np.array([1, 2], dtype=np.float32)})
    ...     store.find([bytes(32)])[bytes(32)].tolist()
    [1.0, 2.0]
    """

    def __init__(self, folder: Path | None = None, *, max_mb: float = DEFAULT_MB) -> None:
        if not max_mb > 0:
            raise InvalidInputError(f"max_mb is {max_mb}: give a size above 0, such as 500.")
        # A name of our own: a damaged file is deleted.
        self.file = (cache_folder() if folder is None else Path(folder)) / _FILE
        self.max_mb = max_mb

    def find(self, keys: Collection[bytes]) -> dict[bytes, FloatArray]:
        """Return the vectors that are kept whole under these keys.

        Parameters
        ----------
        keys : collection of bytes

        Returns
        -------
        dict of bytes to ndarray of float32
            Without the keys that are unknown or whose entry is damaged.
        """
        if not self.file.exists():
            return {}
        return self._try(lambda connection: dict(_read(connection, list(keys))), {})

    def keep(self, vectors: Mapping[bytes, FloatArray]) -> None:
        """Add vectors, all of them or, after a kill, none.

        Parameters
        ----------
        vectors : mapping of bytes to ndarray of float32
        """
        if vectors:
            self._try(lambda connection: self._write(connection, vectors), None)

    def _write(self, connection: sqlite3.Connection, vectors: Mapping[bytes, FloatArray]) -> None:
        now = int(time.time())
        data = {key: np.asarray(vector, dtype="<f4").tobytes() for key, vector in vectors.items()}
        rows = [(key, value, _checksum(key, value), now) for key, value in data.items()]
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)
            size = self._size(connection)
            if size > self.max_mb * 1e6:
                (count,) = connection.execute("SELECT count(*) FROM vectors").fetchone()
                surplus = 1 - _KEPT_SHARE * self.max_mb * 1e6 / size
                connection.execute(
                    "DELETE FROM vectors WHERE key IN "
                    "(SELECT key FROM vectors ORDER BY used, rowid LIMIT ?)",
                    (int(np.ceil(count * surplus)),),
                )

    @staticmethod
    def _size(connection: sqlite3.Connection) -> int:
        pages, free, size = (
            connection.execute(f"PRAGMA {what}").fetchone()[0]
            for what in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _try(self, use: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Use the file; make it anew where it is damaged, and do without where that fails."""
        for attempt in (1, 2):
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                with closing(sqlite3.connect(self.file, timeout=_PATIENCE_S)) as connection:
                    connection.executescript(_TABLE)
                    return use(connection)
            except (sqlite3.Error, OSError) as error:
                if attempt == 1 and getattr(error, "sqlite_errorcode", None) in _UNUSABLE:
                    self._remove()
                else:
                    self._report(error)
                    break
        return otherwise

    def _remove(self) -> None:
        # The journal first: a new file must not be rolled back by the old one's.
        for name in (f"{self.file.name}-journal", self.file.name):
            with suppress(OSError):
                self.file.with_name(name).unlink()

    def _report(self, error: Exception) -> None:
        if self.file not in _reported:
            _reported.add(self.file)
            note(
                f"Vectors are not kept: {self.file} cannot be used ({error}); free some space "
                "there, set RAG_CACHE to another folder, or set RAG_EMBEDDING_CACHE_MB=0."
            )


def _read(
    connection: sqlite3.Connection, keys: Sequence[bytes]
) -> Iterator[tuple[bytes, FloatArray]]:
    now = int(time.time())
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        question = f"SELECT key, vector, checksum, used FROM vectors WHERE key IN ({marks})"  # noqa: S608
        rows = connection.execute(question, some).fetchall()
        for key, data, checksum, _ in rows:
            if isinstance(data, bytes) and checksum == _checksum(key, data):
                yield key, np.frombuffer(data, dtype="<f4").astype(np.float32)
        old = [(now, row[0]) for row in rows if row[3] < now - _DAY_S]
        # A cache that several people share may be read-only: uses are then not noted.
        with suppress(sqlite3.OperationalError), connection:
            connection.executemany("UPDATE vectors SET used = ? WHERE key = ?", old)


def _checksum(key: bytes, data: bytes) -> bytes:
    return sha256(key + data).digest()[:8]
