"""Several result lists become one.

The module knows ranks and scores. It does not know where they come from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from rag_helpers.errors import InvalidInputError
from rag_helpers.index import checked_k
from rag_helpers.records import Chunk, Hit, Metadata, Retriever
from rag_helpers.retriever.duplicates import checked_question, find_distinct

__all__ = ["HybridRetriever", "fuse_ranks", "fuse_scores", "standardize"]


class HybridRetriever:
    """Ask several retrievers and fuse what they find.

    Parameters
    ----------
    retrievers : sequence of Retriever
        Best built with ``collapse=False``, so that copies of a passage are
        collapsed after fusion and not each half keeps another copy.
    constant : float
        Of reciprocal rank fusion; see `fuse_ranks`.
    weights : sequence of float, optional
        One per retriever; equal when left out.
    depth : int
        Candidates asked of each retriever, at least.
    fusion : {"ranks", "scores"}
        Whether `fuse_ranks` or `fuse_scores` fuses.
    collapse : bool
        Whether near-duplicate hits are collapsed; see `collapse_duplicates`.

    Raises
    ------
    InvalidInputError
        If there are no retrievers, the weights do not fit them, or a number is
        out of range.

    Examples
    --------
    >>> from rag_helpers.records import Chunk
    >>> from rag_helpers.retriever import KeywordRetriever
    >>> chunks = [Chunk("ice melts", "a", 0, 9), Chunk("tea is hot", "b", 0, 10)]
    >>> both = HybridRetriever([KeywordRetriever(chunks), KeywordRetriever(chunks, stemmer=False)])
    >>> [(hit.chunk.source, round(hit.score, 4)) for hit in both.search("melts")]  # 2 / (60 + 1)
    [('a', 0.0328)]
    """

    name = "hybrid"

    def __init__(
        self,
        retrievers: Sequence[Retriever],
        constant: float = 60.0,
        weights: Sequence[float] | None = None,
        *,
        depth: int = 50,
        fusion: Literal["ranks", "scores"] = "ranks",
        collapse: bool = True,
    ) -> None:
        if not retrievers:
            raise InvalidInputError("There are 0 retrievers to fuse: give at least one.")
        if fusion not in ("ranks", "scores"):
            raise InvalidInputError(f"fusion {fusion!r} is unknown: use 'ranks' or 'scores'.")
        self.retrievers = list(retrievers)
        self.constant = _checked_constant(constant)
        self.weights = _checked_weights(weights, len(self.retrievers))
        self.depth = checked_k(depth)
        self.fusion = fusion
        self.collapse = collapse

    def search(self, question: str, k: int = 5, *, where: Metadata | None = None) -> list[Hit]:
        """Return at most `k` hits, best first.

        Parameters
        ----------
        question : str
        k : int
            At least 1.
        where : mapping, optional
            Handed to every retriever.

        Returns
        -------
        list of Hit
            Scores as `fuse_ranks` or `fuse_scores` gives them; they compare
            hits of one question, not the evidence of two questions.

        Raises
        ------
        InvalidInputError
            If the question is blank, ``k < 1`` or a key of `where` is unknown.
        """
        checked_question(question)

        def fetch(depth: int) -> list[Hit]:
            deep = max(depth, self.depth)
            found = [retriever.search(question, deep, where=where) for retriever in self.retrievers]
            if self.fusion == "ranks":
                return fuse_ranks(found, constant=self.constant, weights=self.weights)
            return fuse_scores(found, weights=self.weights)

        limit = checked_k(k)
        return find_distinct(fetch, limit) if self.collapse else fetch(limit)[:limit]


def fuse_ranks(
    results: Sequence[Sequence[Hit]],
    *,
    constant: float = 60.0,
    weights: Sequence[float] | None = None,
) -> list[Hit]:
    """Fuse result lists by reciprocal rank (Cormack, Clarke and Büttcher, 2009).

    A hit's score is the sum of ``weight / (constant + rank)`` over the lists
    that hold it.

    Parameters
    ----------
    results : sequence of sequences of Hit
        One list per retriever; ranks count from 1.
    constant : float
        At least 0; the smaller, the more the first places weigh. The paper
        uses 60.
    weights : sequence of float, optional
        One per list; equal when left out.

    Returns
    -------
    list of Hit
        Best first; of equal hits the one met first.

    Raises
    ------
    InvalidInputError
        If the constant or the weights are out of range.

    Examples
    --------
    >>> from rag_helpers.records import Chunk
    >>> a, b = Chunk("one", "a", 0, 3), Chunk("two", "b", 0, 3)
    >>> fused = fuse_ranks([[Hit(a, 0.9, 1), Hit(b, 0.8, 2)], [Hit(b, 7.0, 1)]])
    >>> [(hit.chunk.source, round(hit.score, 4)) for hit in fused]  # b: 1/62 + 1/61
    [('b', 0.0325), ('a', 0.0164)]
    """
    constant = _checked_constant(constant)
    weighted = zip(_checked_weights(weights, len(results)), results, strict=True)
    return _ranked(
        [(hit, weight / (constant + hit.rank)) for weight, hits in weighted for hit in hits]
    )


def fuse_scores(
    results: Sequence[Sequence[Hit]], *, weights: Sequence[float] | None = None
) -> list[Hit]:
    """Fuse result lists by their standardized scores.

    Each list's scores are brought to mean 0 and standard deviation 1. A hit's
    score is the weighted mean over the lists; where a list does not hold it,
    its lowest standardized score stands in.

    Parameters
    ----------
    results : sequence of sequences of Hit
        One list per retriever. Lists should be long (50), since mean and
        deviation are taken over them.
    weights : sequence of float, optional
        One per list; equal when left out.

    Returns
    -------
    list of Hit
        Best first; of equal hits the one met first.

    Raises
    ------
    InvalidInputError
        If the weights are out of range.

    Examples
    --------
    >>> from rag_helpers.records import Chunk
    >>> a, b = Chunk("one", "a", 0, 3), Chunk("two", "b", 0, 3)
    >>> fused = fuse_scores([[Hit(a, 0.9, 1), Hit(b, 0.7, 2)], [Hit(b, 9.0, 1), Hit(a, 1.0, 2)]],
    ...                     weights=[3, 1])
    >>> [(hit.chunk.source, round(hit.score, 4)) for hit in fused]  # a: (3 * 1 + 1 * -1) / 4
    [('a', 0.5), ('b', -0.5)]
    """
    weights = _checked_weights(weights, len(results))
    total = sum(weights)
    every = {hit.chunk.id: hit for hits in results for hit in hits}
    shares = []
    for weight, hits in zip(weights, results, strict=True):
        scores = dict(
            zip((h.chunk.id for h in hits), standardize([h.score for h in hits]), strict=True)
        )
        lowest = min(scores.values(), default=0.0)
        shares += [(hit, weight / total * scores.get(key, lowest)) for key, hit in every.items()]
    return _ranked(shares)


def standardize(scores: Sequence[float]) -> list[float]:
    """Bring scores to mean 0 and standard deviation 1; equal scores all become 0.

    Parameters
    ----------
    scores : sequence of float

    Returns
    -------
    list of float

    Examples
    --------
    >>> standardize([1.0, 3.0])
    [-1.0, 1.0]
    """
    values = np.asarray(scores, dtype=float)
    if len(values) == 0 or np.ptp(values) == 0:
        return [0.0] * len(values)
    standardized: list[float] = ((values - values.mean()) / values.std()).tolist()
    return standardized


def _ranked(shares: Sequence[tuple[Hit, float]]) -> list[Hit]:
    chunks: dict[str, Chunk] = {}
    sums: dict[str, float] = {}
    for hit, share in shares:
        chunks.setdefault(hit.chunk.id, hit.chunk)
        sums[hit.chunk.id] = sums.get(hit.chunk.id, 0.0) + share
    order = sorted(sums, key=lambda key: -sums[key])
    return [Hit(chunks[key], sums[key], rank, "hybrid") for rank, key in enumerate(order, start=1)]


def _checked_constant(constant: float) -> float:
    if not 0 <= constant < math.inf:
        raise InvalidInputError(f"constant is {constant}, but must be 0 or more; 60 is usual.")
    return float(constant)


def _checked_weights(weights: Sequence[float] | None, count: int) -> list[float]:
    if weights is None:
        return [1.0] * count
    fits = len(weights) == count and all(0 <= weight < math.inf for weight in weights)
    if not fits or sum(weights) == 0:
        raise InvalidInputError(
            f"weights are {list(weights)}, but {count} lists need one weight each, 0 or more and "
            "not all 0."
        )
    return [float(weight) for weight in weights]
