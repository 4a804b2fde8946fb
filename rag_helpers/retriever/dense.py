"""Dense search: the question becomes a vector, and the index finds the nearest chunks.

The module does not know how the embedder works or how the index is scanned.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy.typing as npt

from rag_helpers.index import Where
from rag_helpers.records import Embedder, Hit
from rag_helpers.retriever.duplicates import checked_question, find_distinct

__all__ = ["DenseRetriever", "SearchableIndex"]


class SearchableIndex(Protocol):
    """Finds chunks by vectors, as `rag_helpers.index.ChunkIndex` does."""

    def search(
        self, vectors: npt.ArrayLike, k: int = 5, where: Where | None = None
    ) -> list[list[Hit]]:
        """Return at most `k` hits per vector, best first."""
        ...


class DenseRetriever:
    """Find chunks by the meaning of the question, as an embedder understands it.

    Parameters
    ----------
    index : SearchableIndex
        A `ChunkIndex`, or another with its ``search``; searched as it is at each call,
        so that added documents are found.
    questions : Embedder
        The questions' side of the embedder whose vectors the index holds.
    collapse : bool
        Whether near-duplicate hits are collapsed; see `collapse_duplicates`.

    Examples
    --------
    >>> import numpy as np
    >>> from rag_helpers.index import ChunkIndex
    >>> from rag_helpers.records import Chunk
    >>> class IceOrTea:
    ...     def embed(self, texts, *, titles=None):
    ...         return np.array([["ice" in t, "tea" in t] for t in texts], dtype=np.float32)
    >>> index = ChunkIndex(2)
    >>> index.add([Chunk("ice", "a", 0, 3), Chunk("tea", "b", 0, 3)], np.eye(2))
    >>> [hit.chunk.text for hit in DenseRetriever(index, IceOrTea()).search("Is tea hot?", k=1)]
    ['tea']
    """

    name = "dense"

    def __init__(
        self, index: SearchableIndex, questions: Embedder, *, collapse: bool = True
    ) -> None:
        self.index = index
        self.questions = questions
        self.collapse = collapse

    def search(self, question: str, k: int = 5, *, where: Where | None = None) -> list[Hit]:
        """Return at most `k` hits, best first.

        Parameters
        ----------
        question : str
            Of any length; the embedder reads as much as it can.
        k : int
            At least 1; when it exceeds the chunks at hand, all are returned.
        where : mapping, optional
            Required values of source, title, heading or metadata; see
            `rag_helpers.index.select_chunks`.

        Returns
        -------
        list of Hit
            Empty for an empty index. Scores are cosines (-1 to 1) for unit
            vectors in an index of metric ``"l2"``, and unbounded inner products
            for ``"ip"``.

        Raises
        ------
        InvalidInputError
            If the question is blank, ``k < 1``, a key of `where` is unknown, or
            the embedder's dimension is not the index's.
        """
        vector = self.questions.embed([checked_question(question)])

        def fetch(depth: int) -> list[Hit]:
            hits = self.index.search(vector, depth, where)[0]
            return [replace(hit, retriever=self.name) for hit in hits]

        return find_distinct(fetch, k) if self.collapse else fetch(k)
