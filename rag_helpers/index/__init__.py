"""Vectors and their chunks in one FAISS index, saved so that no kill can halve it.

The index is exact: a flat scan compares the question with every vector. The
module does not know how vectors are made, what a question is, or which models
exist beyond the name it is given; it imports neither torch nor a tokenizer.

A saved index is a folder of three files: the vectors, the chunks and
``manifest.json``, which names the other two with their size and SHA-256.
Checksums tell damage, not forgery: load folders only from people you trust.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from rag_helpers.errors import IndexIntegrityError, InvalidInputError
from rag_helpers.index.faiss_parts import import_faiss, new_flat_index
from rag_helpers.index.filters import Where, checked_k, select_chunks
from rag_helpers.index.folder import read_folder, read_manifest, write_folder
from rag_helpers.index.lines import check_chunks, to_lines
from rag_helpers.index.proving import check_manifest, prove_contents
from rag_helpers.records import Chunk, FloatArray, Hit

__all__ = ["ChunkIndex", "Metric", "Where", "checked_k", "select_chunks"]

Metric: TypeAlias = Literal["l2", "ip"]

MAX_DIMENSION = 65_536
# Squared distances of larger values leave float32, and FAISS then drops the vector in silence.
MAX_VALUE = 1e15


class ChunkIndex:
    """Chunks and their vectors, searched exactly and changed without rebuilding.

    Searches may run in parallel with each other, but not beside `add` or
    `remove`.

    Parameters
    ----------
    dimension : int
        Length of every vector.
    metric : {"l2", "ip"}
        ``"l2"`` for squared Euclidean distance, ``"ip"`` for inner product. On
        unit vectors both rank alike.
    model : str
        Name of the model that made the vectors; compared when loading.

    Raises
    ------
    InvalidInputError
        If the dimension is outside 1 to 65,536 or the metric is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> words = ("north", "south")
    >>> chunks = [Chunk(text=word, source=f"{word}.txt", start=0, end=5) for word in words]
    >>> index = ChunkIndex(2)
    >>> index.add(chunks, np.array([[0.0, 1.0], [0.0, -1.0]]))
    >>> [hit.chunk.text for hit in index.search([0.6, 0.8], k=2)[0]]
    ['north', 'south']
    >>> index.remove(["north.txt"])
    1
    >>> len(index)
    1
    """

    def __init__(self, dimension: int, *, metric: Metric = "l2", model: str = "") -> None:
        if not 1 <= dimension <= MAX_DIMENSION:
            raise InvalidInputError(
                f"dimension {dimension} is outside 1 to {MAX_DIMENSION}: give the length of the "
                "embedder's vectors, embedder.dimension."
            )
        self.dimension = int(dimension)
        self.metric: Metric = metric
        self.model = model
        self.corpus = ""
        """Fingerprint of the corpus, as given to `save` or found by `load`."""
        self.version = 0
        """Grows with every change, so that what was derived from the chunks can follow."""
        self.mapped_from = ""
        """Folder whose vectors are mapped instead of held; such an index does not change."""
        self._index = new_flat_index(self.dimension, metric)
        self._chunks: dict[str, Chunk] = {}
        # FAISS id → chunk id. FAISS ids only grow, so that this order is also the order in FAISS.
        self._owners: dict[int, str] = {}
        self._next_id = 0

    def __len__(self) -> int:
        return len(self._chunks)

    @property
    def chunks(self) -> list[Chunk]:
        """The chunks in the order in which they were added."""
        return list(self._chunks.values())

    @property
    def counts(self) -> list[int]:
        """How many vectors each chunk has, in the order of `chunks`."""
        counted = Counter(self._owners.values())
        return [counted[chunk_id] for chunk_id in self._chunks]

    def vectors(self, chunk_ids: Sequence[str] | None = None) -> FloatArray:
        """Return a copy of the vectors, those of a chunk one below the other.

        Parameters
        ----------
        chunk_ids : sequence of str, optional
            ``Chunk.id`` of the wanted chunks; all of them in the order of
            `chunks` when left out.

        Returns
        -------
        ndarray of float32, shape (sum of the chunks' counts, dimension)

        Raises
        ------
        InvalidInputError
            If a chunk id is not in the index.
        """
        ids = list(self._owners)
        if chunk_ids is not None:
            unknown = [chunk_id for chunk_id in chunk_ids if chunk_id not in self._chunks]
            if unknown:
                raise InvalidInputError(
                    f"Chunk {unknown[0]!r} is not among the {len(self)} chunks of the index: "
                    "give ids that index.chunks holds."
                )
            rows_of: dict[str, list[int]] = {}
            for number, owner in self._owners.items():
                rows_of.setdefault(owner, []).append(number)
            ids = [number for chunk_id in chunk_ids for number in rows_of[chunk_id]]
        if not ids:
            return np.empty((0, self.dimension), dtype=np.float32)
        vectors: FloatArray = self._index.reconstruct_batch(np.array(ids, dtype=np.int64))
        return vectors

    def add(
        self,
        chunks: Sequence[Chunk],
        vectors: npt.ArrayLike,
        *,
        counts: Sequence[int] | None = None,
        replace: bool = False,
    ) -> None:
        """Add all chunks of one or more new documents; nothing changes when one is refused.

        Parameters
        ----------
        chunks : sequence of Chunk
        vectors : array_like, shape (len(chunks) or sum(counts), dimension)
            Finite values; converted to float32.
        counts : sequence of int, optional
            How many of the vectors belong to each chunk, at least 1; one each
            when left out. A chunk with several is as near to a question as the
            nearest of them.
        replace : bool
            Whether documents that the index already holds are replaced. Their
            chunks then move to the end of the order.

        Raises
        ------
        InvalidInputError
            If shapes disagree, a value is not finite, a chunk id comes twice,
            a metadata value is not flat, a document is there already, or the
            vectors are mapped.
        """
        self._check_changeable()
        if not chunks and np.size(vectors) == 0:
            return
        rows = self._checked(vectors, f"add for {len(chunks)} chunks")
        held = [1] * len(chunks) if counts is None else [int(count) for count in counts]
        if len(held) != len(chunks) or min(held, default=1) < 1 or sum(held) != len(rows):
            raise InvalidInputError(
                f"{len(chunks)} chunks came with {len(rows)} vectors"
                + (f" and counts that sum to {sum(held)}" if counts is not None else "")
                + ": give one row per chunk, in the same order, or the rows of each chunk one "
                "below the other and their numbers as counts."
            )
        check_chunks(chunks)
        known = {chunk.source for chunk in self._chunks.values()} & {c.source for c in chunks}
        if known and not replace:
            raise InvalidInputError(
                f"Document {min(known)!r} is in the index already ({len(known)} such): "
                "pass replace=True to put the new version in its place."
            )
        if known:
            self.remove(known)
        ids = np.arange(self._next_id, self._next_id + len(rows), dtype=np.int64)
        self._index.add_with_ids(rows, ids)
        self._take(ids.tolist(), chunks, held)
        self.version += 1

    def _take(self, ids: Sequence[int], chunks: Sequence[Chunk], counts: Sequence[int]) -> None:
        """Note which FAISS ids belong to which chunk."""
        owners = (c.id for c, count in zip(chunks, counts, strict=True) for _ in range(count))
        self._owners.update(zip(ids, owners, strict=True))
        self._chunks.update((chunk.id, chunk) for chunk in chunks)
        self._next_id = ids[-1] + 1 if ids else 0

    def remove(self, sources: Iterable[str]) -> int:
        """Remove documents with all their chunks.

        Parameters
        ----------
        sources : iterable of str
            ``Document.source`` of each document to remove.

        Returns
        -------
        int
            How many chunks were removed.

        Raises
        ------
        InvalidInputError
            If a document is not in the index, or the vectors are mapped; nothing
            is removed then.
        """
        self._check_changeable()
        if isinstance(sources, str):
            raise InvalidInputError(
                f"sources is the text {sources!r}, but a list of names is needed: "
                f"write remove([{sources!r}])."
            )
        wanted = set(sources)
        held = {chunk.source for chunk in self._chunks.values()}
        if wanted - held:
            raise InvalidInputError(
                f"Document {min(wanted - held)!r} is not among the {len(held)} documents of the "
                "index: give sources that index.chunks holds."
            )
        gone = {chunk.id for chunk in self._chunks.values() if chunk.source in wanted}
        ids = [number for number, owner in self._owners.items() if owner in gone]
        if ids:
            self._index.remove_ids(np.array(ids, dtype=np.int64))
            self._owners = {n: owner for n, owner in self._owners.items() if owner not in gone}
            self._chunks = {key: chunk for key, chunk in self._chunks.items() if key not in gone}
            self.version += 1
        return len(gone)

    def _check_changeable(self) -> None:
        if self.mapped_from:
            raise InvalidInputError(
                f"The {len(self)} chunks are mapped from {self.mapped_from!r} and do not change: "
                "load the folder without memory_map, change that index and save it."
            )

    def search(
        self, vectors: npt.ArrayLike, k: int = 5, where: Where | None = None
    ) -> list[list[Hit]]:
        """Find the nearest chunks of each question vector.

        Parameters
        ----------
        vectors : array_like, shape (questions, dimension) or (dimension,)
        k : int
            Hits per question, at least 1; when it exceeds the number of
            chunks, all of them are returned.
        where : mapping, optional
            Only chunks whose ``source``, ``title``, ``heading`` or metadata
            equal these values are searched; a list, tuple or set means any of
            its members. A key must occur in at least one chunk.

        Returns
        -------
        list of list of Hit
            One list per question, best first; equal scores stand in the order
            of `chunks`. All lists are empty when nothing is indexed or allowed.
            The score is ``1 - d²/2`` for ``"l2"``, which on unit vectors is the
            cosine (-1 to 1) and has no lower bound otherwise, or the inner
            product for ``"ip"``, which has no bounds; that of the nearest
            vector where a chunk has several.

        Raises
        ------
        InvalidInputError
            If a shape or value is wrong, ``k < 1``, or a key of `where` occurs
            in no chunk.
        """
        rows = self._checked(vectors, "search")
        k = checked_k(k)
        if not self._chunks:
            return [[] for _ in rows]
        parameters, allowed = None, len(self._owners)
        faiss = import_faiss()
        if where:
            chunk_ids = list(self._chunks)
            fitting = {chunk_ids[place] for place in select_chunks(self.chunks, where)}
            ids = np.array([n for n, owner in self._owners.items() if owner in fitting], np.int64)
            allowed = len(ids)
            if not allowed:
                return [[] for _ in rows]
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBatch(ids))
        # One at a time: FAISS changes to a matrix product for many questions at once, which rounds
        # differently, so that a question's scores would depend on the company it is asked in.
        return [self._nearest(row[None], k, allowed, parameters) for row in rows]

    def _nearest(self, row: FloatArray, k: int, allowed: int, parameters: object) -> list[Hit]:
        depth = min(k + 1, allowed)
        # Which of the equals at the end FAISS returns is left to chance, so all are fetched; and
        # more where several vectors of one chunk are near.
        while True:
            values, numbers = (
                found[0] for found in self._index.search(row, depth, params=parameters)
            )
            exact = values.astype(float)
            scores = 1.0 - exact / 2.0 if self.metric == "l2" else exact
            best: dict[str, float] = {}
            for place in np.lexsort((numbers, -scores)):
                best.setdefault(self._owners[int(numbers[place])], float(scores[place]))
            kept = list(best.items())[:k]
            if depth == allowed or (len(kept) == k and kept[-1][1] != scores.min()):
                break
            depth = min(2 * depth, allowed)
        return [
            Hit(chunk=self._chunks[owner], score=score, rank=rank)
            for rank, (owner, score) in enumerate(kept, start=1)
        ]

    def _checked(self, vectors: npt.ArrayLike, purpose: str) -> FloatArray:
        try:
            with np.errstate(over="ignore"):
                rows = np.ascontiguousarray(np.atleast_2d(np.asarray(vectors)), dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                f"vectors to {purpose} are not numbers in rows of equal length ({error}): "
                f"give an array of shape (n, {self.dimension})."
            ) from error
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            raise InvalidInputError(
                f"vectors to {purpose} have shape {np.shape(vectors)}, but the index holds vectors "
                f"of dimension {self.dimension}{self._of_model()}: embed with the model the index "
                "was built with, or build it again."
            )
        if not (np.abs(rows) <= MAX_VALUE).all():
            raise InvalidInputError(
                f"vectors to {purpose} hold NaN, infinity or a value beyond ±{MAX_VALUE:g}: "
                "check the texts and the embedder that made them."
            )
        return rows

    def _of_model(self) -> str:
        return f" from {self.model!r}" if self.model else ""

    def save(self, folder: str | Path, *, corpus: str | None = None) -> None:
        """Write the index to a folder; a kill at any moment leaves the old or the new index.

        New files get new names, and replacing the manifest is the one step
        that makes them current; the files it named before are then removed. Of
        two writers at once the last to replace the manifest wins, whole. The
        index is held in memory twice while it is written.

        Parameters
        ----------
        folder : str or Path
            Made when missing. Files that are not of an index are left alone.
        corpus : str, optional
            Fingerprint of the corpus, to notice later that it has changed;
            `self.corpus` when left out.

        Raises
        ------
        InvalidInputError
            If `folder` is a file.
        """
        self.corpus = self.corpus if corpus is None else corpus
        contents = {
            "vectors": import_faiss().serialize_index(self._index).tobytes(),
            "chunks": to_lines(self.chunks, self.counts),
        }
        facts = {
            "count": len(self),
            "vectors": len(self._owners),
            "dimension": self.dimension,
            "metric": self.metric,
            "model": self.model,
            "corpus": self.corpus,
        }
        write_folder(Path(folder), contents, facts)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        model: str | None = None,
        *,
        corpus: str | None = None,
        memory_map: bool = False,
    ) -> ChunkIndex:
        """Read an index that `save` wrote, once every byte of it is accounted for.

        Parameters
        ----------
        folder : str or Path
        model : str, optional
            Name of the model that will embed the questions; the manifest must
            name the same.
        corpus : str, optional
            Fingerprint that the indexed corpus must have had.
        memory_map : bool, default False
            Whether the vectors stay in their file and are read where they lie, so
            that all processes of a machine share one copy of them; the chunks are
            held in memory either way. The index then refuses `add` and `remove`.
            Saving another index into the folder does not disturb it: POSIX keeps
            the old file until it is let go, and Windows keeps it in the folder
            until a later save. Editing the file in place would disturb it; nothing
            here does. Loading again gives the new index.

        Returns
        -------
        ChunkIndex

        Raises
        ------
        IndexIntegrityError
            If there is no index, a file is missing or changed, the manifest
            disagrees with the files, or model or corpus are others.
        """
        folder = Path(folder)
        manifest, contents = read_folder(folder, map_vectors=memory_map)
        check_manifest(folder, manifest, model=model, corpus=corpus)
        try:
            index = cls(manifest["dimension"], metric=manifest["metric"], model=manifest["model"])
        except InvalidInputError as error:
            raise IndexIntegrityError(
                f"The index in {str(folder)!r} is damaged: {error}"
            ) from error
        index.corpus = manifest["corpus"]
        index._index, ids, chunks, counts = prove_contents(
            folder, manifest, contents, index._index, in_place=memory_map
        )
        index._take(ids, chunks, counts)
        index.mapped_from = str(folder) if memory_map else ""
        return index

    @staticmethod
    def info(folder: str | Path) -> dict[str, Any]:
        """Return what the manifest of a saved index says, without reading the index.

        Parameters
        ----------
        folder : str or Path

        Returns
        -------
        dict
            ``model``, ``dimension``, ``metric``, ``count`` (of chunks),
            ``vectors`` (their number), ``corpus``,
            ``format``, ``sha256``, and in ``files`` the ``name``, ``bytes``
            and ``sha256`` of ``vectors`` and ``chunks``.

        Raises
        ------
        IndexIntegrityError
            If there is no manifest or it is damaged.
        """
        return read_manifest(Path(folder))
