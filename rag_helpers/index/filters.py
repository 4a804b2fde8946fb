"""Which chunks a search may return, and how many.

The module knows records alone: neither vectors nor words.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from rag_helpers.errors import InvalidInputError
from rag_helpers.records import Chunk

__all__ = ["Where", "checked_k", "select_chunks"]

Where: TypeAlias = Mapping[str, str | int | float | bool | Collection[str | int | float | bool]]


def select_chunks(chunks: Sequence[Chunk], where: Where | None) -> list[int]:
    """Return the positions of the chunks that a filter allows.

    Parameters
    ----------
    chunks : sequence of Chunk
    where : mapping or None
        Required values of ``source``, ``title``, ``heading`` or metadata keys;
        a list, tuple, set or frozenset allows any of its members. None or an
        empty mapping allows all.

    Returns
    -------
    list of int

    Raises
    ------
    InvalidInputError
        If a key occurs in no chunk.

    Examples
    --------
    >>> pages = [Chunk("one", "a.pdf", 0, 3, metadata={"page": 1}), Chunk("two", "a.pdf", 4, 7)]
    >>> select_chunks(pages, {"source": "a.pdf", "page": [1, 2]})
    [0]
    """
    if not where:
        return list(range(len(chunks)))
    own = ("source", "title", "heading")
    keys = {*own, *(key for chunk in chunks for key in chunk.metadata)}
    unknown = [key for key in where if key not in keys]
    if unknown and chunks:
        raise InvalidInputError(
            f"where names {unknown[0]!r}, which no chunk has: filter on one of "
            f"{', '.join(sorted(keys))}."
        )
    allowed = {
        key: tuple(value) if isinstance(value, (list, tuple, set, frozenset)) else (value,)
        for key, value in where.items()
    }

    def fits(chunk: Chunk, key: str, values: tuple[object, ...]) -> bool:
        if key in own:
            return getattr(chunk, key) in values
        return key in chunk.metadata and chunk.metadata[key] in values

    return [
        place
        for place, chunk in enumerate(chunks)
        if all(fits(chunk, key, values) for key, values in allowed.items())
    ]


def checked_k(k: int) -> int:
    """Return `k` as a plain number of hits.

    Parameters
    ----------
    k : int
        Python's or numpy's.

    Returns
    -------
    int

    Raises
    ------
    InvalidInputError
        If it is no whole number or below 1.

    Examples
    --------
    >>> checked_k(5)
    5
    """
    try:
        number = operator.index(k)
    except TypeError as error:
        raise InvalidInputError(f"k is {k!r}, but must be a whole number from 1 up.") from error
    if number < 1:
        raise InvalidInputError(f"k is {number}, but at least 1 hit must be asked for.")
    return number
