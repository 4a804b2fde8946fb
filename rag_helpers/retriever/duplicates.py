"""Copies of one passage in a list of hits, and what every retriever asks of its question.

The same passage often stands in several documents; its copies would take
places that other passages need. The module knows hits and text, not how they
were found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from rag_helpers.corpus import containment
from rag_helpers.errors import InvalidInputError
from rag_helpers.index import checked_k
from rag_helpers.records import Hit

__all__ = ["checked_question", "collapse_duplicates", "find_distinct"]


def collapse_duplicates(hits: Sequence[Hit], *, threshold: float = 0.8) -> list[Hit]:
    """Drop hits that a better one has said already.

    A hit is a copy when most of its runs of five words stand in a better hit
    (containment of shingles: Broder, 1997). A longer text around a better hit
    is no copy of it: it says more.

    Parameters
    ----------
    hits : sequence of Hit
        Best first.
    threshold : float
        Share of a hit's runs, above 0 and at most 1, from which on it is a copy.

    Returns
    -------
    list of Hit
        With ranks counted anew; scores are unchanged.

    Raises
    ------
    InvalidInputError
        If the threshold is not above 0 and at most 1.

    Examples
    --------
    >>> from rag_helpers.records import Chunk
    >>> text = "the same seven words stand in both"
    >>> hits = [Hit(Chunk(text, "if", 0, 34), 0.9, 1), Hit(Chunk(text, "else", 0, 34), 0.8, 2)]
    >>> [hit.chunk.source for hit in collapse_duplicates(hits)]
    ['if']
    """
    if not 0 < threshold <= 1:
        raise InvalidInputError(
            f"threshold is {threshold}, but must be above 0 and at most 1; 0.8 is usual."
        )
    return list(_distinct(hits, threshold))


def find_distinct(fetch: Callable[[int], list[Hit]], k: int) -> list[Hit]:
    """Fetch deeper until `k` distinct hits remain or there are no more.

    Parameters
    ----------
    fetch : callable
        ``fetch(depth)`` returns at least `depth` hits, or fewer if there are
        no more, best first.
    k : int

    Returns
    -------
    list of Hit
    """
    depth = 2 * checked_k(k)
    while True:
        hits = fetch(depth)
        distinct = list(islice(_distinct(hits), k))
        if len(distinct) == k or len(hits) < depth:
            return distinct
        depth *= 2


def _distinct(hits: Iterable[Hit], threshold: float = 0.8) -> Iterator[Hit]:
    """Yield hits that are no copies; comparing is slow, so nothing is compared in advance."""
    kept: list[Hit] = []
    for hit in hits:
        if not any(containment(hit.chunk.text, k.chunk.text) >= threshold for k in kept):
            kept.append(replace(hit, rank=len(kept) + 1))
            yield kept[-1]


def checked_question(question: str) -> str:
    """Return the question, or raise `InvalidInputError` when it is blank or no text."""
    if not isinstance(question, str) or not question.strip():
        raise InvalidInputError(
            f"The question is {question!r}: ask with at least one word, such as "
            "'What happens when I divide by zero?'."
        )
    return question
