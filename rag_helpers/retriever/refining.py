"""What improves a list of hits: reranking, diversity, neighbouring chunks.

The module takes scorers and vectors as given; it knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rag_helpers.errors import InvalidInputError
from rag_helpers.index import checked_k
from rag_helpers.records import Chunk, Hit, Metadata, Retriever
from rag_helpers.retriever.fusion import standardize

__all__ = ["RerankedRetriever", "ScoreFunction", "diversify", "merge_neighbours", "rerank"]

ScoreFunction: TypeAlias = Callable[[str, Sequence[str]], Sequence[float]]


class RerankedRetriever:
    """Let a slow, careful scorer reorder what a fast retriever found.

    Parameters
    ----------
    retriever : Retriever
        Finds the candidates.
    score : callable
        ``score(question, passages)`` returns one number per passage, higher is
        better: a cross-encoder (Nogueira and Cho, 2019), or the question's mean
        log-likelihood under a language model (UPR: Sachan et al., 2022).
    weight : float
        Share of the scorer, from 0 to 1; the rest is the retriever's own score.
    depth : int
        Candidates to score; more when more hits are asked for.
    name : str
        Name of the scorer, appended to that of the retriever.

    Raises
    ------
    InvalidInputError
        If `weight` or `depth` is out of range.

    Examples
    --------
    >>> from rag_helpers.retriever import KeywordRetriever
    >>> chunks = [Chunk("ice ice", "a", 0, 7), Chunk("ice melts slowly", "b", 0, 16)]
    >>> def longest(question, passages):
    ...     return [len(passage) for passage in passages]
    >>> keyword = KeywordRetriever(chunks)
    >>> [hit.chunk.source for hit in keyword.search("ice")]
    ['a', 'b']
    >>> [hit.chunk.source for hit in RerankedRetriever(keyword, longest, weight=1.0).search("ice")]
    ['b', 'a']
    """

    def __init__(
        self,
        retriever: Retriever,
        score: ScoreFunction,
        *,
        weight: float = 0.5,
        depth: int = 12,
        name: str = "reranked",
    ) -> None:
        self.retriever = retriever
        self.score = score
        self.weight = _checked_share("weight", weight)
        self.depth = checked_k(depth)
        self.name = f"{getattr(retriever, 'name', type(retriever).__name__)}+{name}"

    def search(self, question: str, k: int = 5, *, where: Metadata | None = None) -> list[Hit]:
        """Return at most `k` hits, best first.

        Parameters
        ----------
        question : str
        k : int
            At least 1.
        where : mapping, optional
            Handed to the retriever.

        Returns
        -------
        list of Hit
            With the scores of `rerank`.

        Raises
        ------
        InvalidInputError
            As the retriever does, or if the scorer's numbers do not fit.
        """
        limit = checked_k(k)
        found = self.retriever.search(question, max(limit, self.depth), where=where)
        hits = rerank(question, found, self.score, weight=self.weight)
        return [replace(hit, retriever=self.name) for hit in hits[:limit]]


def rerank(
    question: str, hits: Sequence[Hit], score: ScoreFunction, *, weight: float = 0.5
) -> list[Hit]:
    """Reorder hits by a blend of a scorer's numbers and their own scores.

    Both are standardized over the hits, since their units differ.

    Parameters
    ----------
    question : str
    hits : sequence of Hit
    score : callable
        ``score(question, passages)`` returns one number per passage.
    weight : float
        Share of the scorer, from 0 to 1.

    Returns
    -------
    list of Hit
        With blended scores and new ranks; equal hits keep their order.

    Raises
    ------
    InvalidInputError
        If `weight` is out of range, or the scorer returns another number of
        values than passages, or one that is not finite.
    """
    _checked_share("weight", weight)
    if not hits:
        return []
    values = [float(value) for value in score(question, [hit.chunk.text for hit in hits])]
    if len(values) != len(hits) or not all(map(math.isfinite, values)):
        raise InvalidInputError(
            f"The scorer returned {len(values)} values for {len(hits)} passages, or one that is "
            "not finite: it must return one finite number per passage."
        )
    own = standardize([hit.score for hit in hits])
    blend = [
        weight * new + (1 - weight) * old for new, old in zip(standardize(values), own, strict=True)
    ]
    return _renumbered(hits, sorted(range(len(hits)), key=lambda place: -blend[place]), blend)


def diversify(
    hits: Sequence[Hit], vectors: npt.ArrayLike, *, k: int = 5, relevance: float = 0.7
) -> list[Hit]:
    """Choose hits that are relevant and unlike each other.

    Maximal marginal relevance (Carbonell and Goldstein, 1998): each next hit
    maximizes ``relevance * score - (1 - relevance) * similarity``, where the
    score is scaled to 0–1 over the hits and the similarity is the highest
    cosine with a hit already chosen.

    Parameters
    ----------
    hits : sequence of Hit
        Candidates, best first; two to ten times `k`.
    vectors : array_like, shape (len(hits), dimension)
        Such as ``index.vectors([hit.chunk.id for hit in hits])``.
    k : int
        Hits to choose, at least 1.
    relevance : float
        From 0 (unlike at any price) to 1 (the order of the scores).

    Returns
    -------
    list of Hit
        In the order chosen, with their own scores and new ranks.

    Raises
    ------
    InvalidInputError
        If a number is out of range or the vectors do not fit the hits.

    Examples
    --------
    >>> hits = [Hit(Chunk("x", name, 0, 1), score, rank)
    ...         for rank, (name, score) in enumerate([("a", 1.0), ("a2", 0.9), ("b", 0.5)], 1)]
    >>> chosen = diversify(hits, [[1, 0], [1, 0], [0, 1]], k=2, relevance=0.5)
    >>> [hit.chunk.source for hit in chosen]  # a2: 0.5 * 0.8 - 0.5 * 1; b: 0.5 * 0 - 0.5 * 0
    ['a', 'b']
    """
    limit, _ = checked_k(k), _checked_share("relevance", relevance)
    rows = np.asarray(vectors, dtype=float)
    if not hits:
        return []
    if rows.ndim != 2 or len(rows) != len(hits):
        raise InvalidInputError(
            f"vectors have shape {rows.shape} for {len(hits)} hits: give one row per hit."
        )
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(lengths == 0, 1.0, lengths)
    scores = np.array([hit.score for hit in hits])
    scaled = (scores - scores.min()) / (np.ptp(scores) or 1.0)
    chosen: list[int] = []
    nearest = np.zeros(len(hits))
    while len(chosen) < min(limit, len(hits)):
        gains = relevance * scaled - (1 - relevance) * nearest
        gains[chosen] = -np.inf
        chosen.append(int(gains.argmax()))
        similarity = rows @ rows[chosen[-1]]
        nearest = similarity if len(chosen) == 1 else np.maximum(nearest, similarity)
    return _renumbered(hits, chosen, scores.tolist())


def merge_neighbours(hits: Sequence[Hit], chunks: Sequence[Chunk], *, window: int = 1) -> list[Hit]:
    r"""Widen each hit by the chunks around it, and join hits that then touch.

    Small chunks are found more precisely, larger ones are read with more
    understanding. Offsets stay true: white space that chunking left out
    between two chunks is filled with as many line breaks.

    Parameters
    ----------
    hits : sequence of Hit
        Best first.
    chunks : sequence of Chunk
        All chunks of the corpus, such as ``index.chunks``.
    window : int
        Chunks to add on each side; 0 only joins hits that are neighbours.

    Returns
    -------
    list of Hit
        At most as many as came in, in the order of their best hit, whose
        score, heading and metadata they keep.

    Raises
    ------
    InvalidInputError
        If `window` is negative or a hit is not among the chunks.

    Examples
    --------
    >>> parts = [Chunk("one", "a", 0, 3), Chunk("two", "a", 4, 7), Chunk("three", "a", 8, 13)]
    >>> merge_neighbours([Hit(parts[2], 0.9, 1)], parts)[0].chunk.text
    'two\nthree'
    """
    if window < 0:
        raise InvalidInputError(f"window is {window}, but must be 0 or more; 1 is usual.")
    ordered = sorted(chunks, key=lambda chunk: (chunk.source, chunk.start, chunk.end))
    place_of = {chunk.id: place for place, chunk in enumerate(ordered)}
    missing = [hit.chunk.id for hit in hits if hit.chunk.id not in place_of]
    if missing:
        raise InvalidInputError(
            f"Hit {missing[0]!r} is not among the {len(chunks)} chunks: give all chunks of the "
            "corpus that was searched."
        )
    groups: list[tuple[Hit, set[int]]] = []
    for hit in hits:
        place = place_of[hit.chunk.id]
        around = range(max(place - window, 0), min(place + window, len(ordered) - 1) + 1)
        mine = {near for near in around if ordered[near].source == hit.chunk.source}
        touching = [
            group
            for group in groups
            if group[0].chunk.source == hit.chunk.source
            and min(group[1]) <= max(mine) + 1
            and min(mine) <= max(group[1]) + 1
        ]
        # The first group has the best rank; a hit may close the gap between several.
        best = touching[0][0] if touching else hit
        merged = mine.union(*(places for _, places in touching))
        groups = [group for group in groups if group not in touching[1:]]
        if touching:
            groups[groups.index(touching[0])] = (best, merged)
        else:
            groups.append((best, merged))
    return [
        replace(
            hit, chunk=_joined(hit.chunk, [ordered[place] for place in sorted(places)]), rank=rank
        )
        for rank, (hit, places) in enumerate(groups, start=1)
    ]


def _joined(best: Chunk, parts: Sequence[Chunk]) -> Chunk:
    text, end = parts[0].text, parts[0].end
    for part in parts[1:]:
        text += "\n" * (part.start - end) + part.text[max(end - part.start, 0) :]
        end = max(end, part.end)
    return replace(best, text=text, start=parts[0].start, end=end)


def _renumbered(hits: Sequence[Hit], order: Sequence[int], scores: Sequence[float]) -> list[Hit]:
    return [
        replace(hits[place], score=scores[place], rank=rank)
        for rank, place in enumerate(order, start=1)
    ]


def _checked_share(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise InvalidInputError(f"{name} is {value}, but must be from 0 to 1.")
    return float(value)
