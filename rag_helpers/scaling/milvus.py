"""Chunks and vectors in Milvus, behind the protocol that the course's retrievers use.

Milvus Lite (a path ending in ``.db``) and a cluster (a URI) take the same code.
Three collections make an index: ``NAME`` holds chunks, with their words for
Milvus' own BM25; ``NAME_vectors`` their vectors, one or several each;
``NAME_facts`` what the index was made with. The module does not know how vectors
are made, or what a question is.

Milvus: Wang et al. (2021), "Milvus: A purpose-built vector data management system".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from rag_helpers.errors import IndexIntegrityError, InvalidInputError
from rag_helpers.index import Metric, Where, checked_k
from rag_helpers.index.lines import check_chunks, from_lines, to_lines
from rag_helpers.records import Chunk, FloatArray, Hit
from rag_helpers.scaling.collections import chunk_rows, make_collections, vector_rows
from rag_helpers.scaling.connection import Connection
from rag_helpers.scaling.filters import OWN_FIELDS, among, field_of, filter_expression
from rag_helpers.scaling.shards import chunk_key

__all__ = ["MilvusIndex"]

MAX_DEPTH = 16_384  # Milvus returns no more hits at once
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,200}")
_ROWS = 1000  # rows sent at once: 384 numbers and a text each stay far below Milvus' 64 MB


class MilvusIndex:
    """Chunks and their vectors in Milvus; opened when it is there, else made.

    Unlike `ChunkIndex` it holds no corpus in memory, takes a chunk again without
    doubling it (rows are named by the content's hash), and finds chunks by words too.

    Parameters
    ----------
    uri : str
        A file for Milvus Lite, such as ``"course.db"``, which one process at a time
        may open; or a server, such as ``"http://127.0.0.1:19530"``.
    name : str
        Of the index: letters, digits and underscores.
    dimension : int, optional
        Length of every vector; needed to make an index.
    metric : {"l2", "ip"}, optional
        As for `ChunkIndex`; compared when opening, and ``"l2"`` for a new index where
        it is left out.
    model : str
        Name of the model that makes the vectors; compared when opening.
    token : str
        ``"user:password"`` or an API key, where the server wants one.
    index_type : str
        How Milvus searches vectors: ``"FLAT"`` is exact; ``"HNSW"`` and on a server
        ``"IVF_PQ"`` or ``"DISKANN"`` are not.
    build, search : mapping
        That kind's parameters, such as ``{"M": 16, "efConstruction": 200}`` and
        ``{"ef": 64}``.
    timeout_s : float
        Longest wait for one call, in seconds.

    Raises
    ------
    MissingExtraError
        If the Milvus client is not installed.
    ScalingError
        If the server cannot be reached or refuses.
    IndexIntegrityError
        If the index there was made with another dimension, metric or model, or
        collections of these names are not an index.
    InvalidInputError
        If an argument is out of range.

    Examples
    --------
    >>> import tempfile
    >>> words = ("north", "south")
    >>> chunks = [Chunk(text=word, source=f"{word}.txt", start=0, end=5) for word in words]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with MilvusIndex(f"{folder}/toy.db", dimension=2) as index:
    ...         index.add(chunks, np.array([[0.0, 1.0], [0.0, -1.0]]))
    ...         found = [hit.chunk.text for hit in index.search([0.6, 0.8], k=2)[0]]
    >>> found
    ['north', 'south']
    """

    def __init__(
        self,
        uri: str,
        name: str = "chunks",
        *,
        dimension: int | None = None,
        metric: Metric | None = None,
        model: str = "",
        token: str = "",
        index_type: str = "FLAT",
        build: Mapping[str, Any] | None = None,
        search: Mapping[str, Any] | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise InvalidInputError(
                f"The index's name is {name!r}: use a letter, then letters, digits and "
                "underscores, at most 201."
            )
        if metric not in (None, "l2", "ip"):
            raise InvalidInputError(f"metric is {metric!r}: use 'l2' or 'ip'.")
        self.uri, self.name = uri, name
        self._search_options = dict(search or {})
        self._connection = Connection(uri, token=token, timeout_s=timeout_s)
        self._call = self._connection.call
        try:
            facts = self._facts()
            if facts is None:
                if dimension is None:
                    raise IndexIntegrityError(
                        f"There is no index {name!r} in Milvus at {uri}: give dimension= to make "
                        "one, or correct the name."
                    )
                self._refuse_strangers()
                facts = {"dimension": int(dimension), "metric": metric or "l2", "model": model}
                make_collections(self._connection, name, facts, index_type, dict(build or {}))
            else:
                self._compare(facts, {"dimension": dimension, "metric": metric, "model": model})
            self._call("load_collection", name)
            self._call("load_collection", f"{name}_vectors")
        except BaseException:
            self.close()
            raise
        self.dimension = int(facts["dimension"])
        self.metric: Metric = facts["metric"]
        self.model = str(facts["model"])

    def _facts(self) -> dict[str, Any] | None:
        if not self._call("has_collection", f"{self.name}_facts"):
            return None
        self._call("load_collection", f"{self.name}_facts")
        rows = self._call(
            "query", f"{self.name}_facts", filter='id == "facts"', output_fields=["facts"]
        )
        return dict(json.loads(rows[0]["facts"])) if rows else None

    def _refuse_strangers(self) -> None:
        """Refuse collections that another program made; those of a broken-off making are empty."""
        for collection in (self.name, f"{self.name}_vectors"):
            if self._call("has_collection", collection):
                self._call("load_collection", collection)
                if self._connection.count(collection):
                    raise IndexIntegrityError(
                        f"Milvus at {self.uri} has a collection {collection!r} that is no index of "
                        "this course: choose another name."
                    )
                self._call("drop_collection", collection)

    def _compare(self, held: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        for what, value in given.items():
            if value not in (None, "") and held.get(what) != value:
                raise IndexIntegrityError(
                    f"The index {self.name!r} in Milvus at {self.uri} was made with {what} "
                    f"{held.get(what)!r}, but {value!r} is in use: use the former, or another name."
                )

    def __len__(self) -> int:
        return self._connection.count(self.name)

    @property
    def vector_count(self) -> int:
        """How many vectors the chunks have together."""
        return self._connection.count(f"{self.name}_vectors")

    def add(
        self,
        chunks: Sequence[Chunk],
        vectors: npt.ArrayLike,
        *,
        counts: Sequence[int] | None = None,
    ) -> None:
        """Add chunks, or write them again: the same chunk is there once, however often it comes.

        Parameters
        ----------
        chunks : sequence of Chunk
            Text and metadata of at most 60,000 bytes each.
        vectors : array_like, shape (len(chunks) or sum(counts), dimension)
        counts : sequence of int, optional
            How many vectors each chunk has; one when left out.

        Raises
        ------
        InvalidInputError
            If shapes disagree, a value is not finite, or a chunk is too long;
            nothing is written then.
        ScalingError
            If Milvus fails; adding the same again completes what was begun.
        """
        held = [1] * len(chunks) if counts is None else [int(count) for count in counts]
        rows = self._checked(vectors, f"add for {len(chunks)} chunks", allow_none=not chunks)
        if len(held) != len(chunks) or min(held, default=1) < 1 or sum(held) != len(rows):
            raise InvalidInputError(
                f"{len(chunks)} chunks came with {len(rows)} vectors: give one row per chunk, or "
                "the rows of each chunk one below the other and their numbers as counts."
            )
        check_chunks(chunks)
        keys = [chunk_key(chunk) for chunk in chunks]
        # Chunks first: a vector that is found then always has its chunk.
        texts = chunk_rows(chunks, keys, [to_lines([c], [n]) for c, n in zip(chunks, held)])  # noqa: B905
        self._write(self.name, texts)
        self._write(f"{self.name}_vectors", vector_rows(chunks, keys, held, rows))

    def _write(self, collection: str, rows: Sequence[Mapping[str, Any]]) -> None:
        for start in range(0, len(rows), _ROWS):
            self._call("upsert", collection, list(rows[start : start + _ROWS]))

    def remove(self, sources: Iterable[str]) -> int:
        """Remove documents with all their chunks; return how many chunks that were."""
        wanted = list(sources)
        if not wanted:
            return 0
        before = len(self)
        for collection in (f"{self.name}_vectors", self.name):
            self._call("delete", collection, filter=among("source", list(wanted)))
        return before - len(self)

    def remove_keys(self, keys: Iterable[str]) -> None:
        """Remove chunks by the hash of their content (`chunk_key`)."""
        listed = list(keys)
        for start in range(0, len(listed), _ROWS):
            some = list(listed[start : start + _ROWS])
            self._call("delete", f"{self.name}_vectors", filter=among("chunk", list(some)))
            self._call("delete", self.name, filter=among("id", list(some)))

    def flush(self) -> None:
        """Let Milvus write and index what it holds in memory; searches are slow until then."""
        for collection in (self.name, f"{self.name}_vectors"):
            self._call("flush", collection)

    def search(
        self, vectors: npt.ArrayLike, k: int = 5, where: Where | None = None
    ) -> list[list[Hit]]:
        """Find the nearest chunks of each question vector, as `ChunkIndex.search` does.

        Parameters
        ----------
        vectors : array_like, shape (questions, dimension) or (dimension,)
        k : int
            Hits per question; at most 16,384 vectors are looked through for them.
        where : mapping, optional
            As for `ChunkIndex.search`.

        Returns
        -------
        list of list of Hit
            With the scores of `ChunkIndex.search`; the order of equal scores is
            Milvus' own.

        Raises
        ------
        InvalidInputError
            As for `ChunkIndex.search`.
        ScalingError
            If Milvus fails.
        """
        rows = self._checked(vectors, "search")
        k = checked_k(k)
        expression = self._expression(where)
        return [self._nearest(row, k, expression) for row in rows]

    def _nearest(self, row: FloatArray, k: int, expression: str) -> list[Hit]:
        depth = min(2 * k, MAX_DEPTH)
        while True:
            found = self._call(
                "search",
                f"{self.name}_vectors",
                data=[row.tolist()],
                anns_field="vector",
                limit=depth,
                filter=expression,
                output_fields=["chunk"],
                search_params={"params": self._search_options},
            )[0]
            best: dict[str, float] = {}
            for one in found:
                distance = float(one["distance"])
                score = 1.0 - distance / 2.0 if self.metric == "l2" else distance
                key = one["entity"]["chunk"]
                best[key] = max(score, best.get(key, score))
            # Of a chunk with several vectors the nearest counts, so more are looked through.
            if len(best) >= k or len(found) < depth or depth == MAX_DEPTH:
                break
            depth = min(2 * depth, MAX_DEPTH)
        kept = sorted(best.items(), key=lambda item: -item[1])[:k]
        return self._hits(kept)

    def search_words(self, words: str, k: int = 5, where: Where | None = None) -> list[Hit]:
        """Find the chunks that share words with a question, by Milvus' BM25.

        Parameters
        ----------
        words : str
            As `rag_helpers.scaling.collections.searchable` writes them.
        k : int
        where : mapping, optional
            As for `search`.

        Returns
        -------
        list of Hit
            Scores are above 0. Milvus Lite counts how rare a word is in each of its
            segments by itself, a server over all.
        """
        k = min(checked_k(k), MAX_DEPTH)
        expression = self._expression(where)
        if not words.strip():
            return []
        found = self._call(
            "search",
            self.name,
            data=[words],
            anns_field="words",
            limit=k,
            filter=expression,
            output_fields=["id"],
        )[0]
        # Milvus Lite returns the score with a minus sign, a server without.
        return self._hits([(one["id"], abs(float(one["distance"]))) for one in found])

    def _hits(self, scored: Sequence[tuple[str, float]]) -> list[Hit]:
        if not scored:
            return []
        rows = self._call(
            "get", self.name, ids=[key for key, _ in scored], output_fields=["id", "record"]
        )
        chunks = {row["id"]: from_lines(row["record"].encode())[0][0] for row in rows}
        return [
            Hit(chunk=chunks[key], score=score, rank=rank)
            # One that was removed between the two calls is no hit any more.
            for rank, (key, score) in enumerate((s for s in scored if s[0] in chunks), start=1)
        ]

    def _expression(self, where: Where | None) -> str:
        for name in where or {}:
            if name in OWN_FIELDS:
                continue
            some = self._call(
                "query", self.name, filter=f"exists {field_of(name)}", limit=1, output_fields=["id"]
            )
            if not some and len(self):
                raise InvalidInputError(
                    f"where names {name!r}, which no chunk has: filter on source, title, heading "
                    "or a key of the documents' metadata."
                )
        return filter_expression(where)

    def _checked(
        self, vectors: npt.ArrayLike, purpose: str, *, allow_none: bool = False
    ) -> FloatArray:
        try:
            rows = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                f"vectors to {purpose} are not numbers in rows of equal length ({error})."
            ) from error
        if allow_none and rows.size == 0:
            return np.empty((0, self.dimension), np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.dimension or not np.isfinite(rows).all():
            raise InvalidInputError(
                f"vectors to {purpose} have shape {np.shape(vectors)}"
                + ("" if np.isfinite(rows).all() else " and hold NaN or infinity")
                + f", but the index holds finite vectors of dimension {self.dimension} from "
                f"{self.model!r}: embed with that model."
            )
        return rows

    def close(self) -> None:
        """Give the connection back; a file is then free for another process."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
