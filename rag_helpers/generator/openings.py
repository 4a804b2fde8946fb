"""What prompts begin with, read once: the keys and values of their first tokens.

All prompts of a template begin with the same instructions. In a causal model nothing that follows
changes what was computed for them, so it is kept and copied (prompt caching; Gim et al., 2024).

The module does not know what the tokens say.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

__all__ = ["Openings"]

# One per system message; a program has a template or two.
_MOST = 8


class Openings:
    """The openings that a model's prompts are known to have; never changed, only replaced.

    A copy of a generator thus shares what was read before the copy was made, and nothing after.

    Parameters
    ----------
    read : dict of tuple of int to object
        Ids of an opening → its keys and values, a ``transformers`` cache with one row; None
        while it has not been read.

    Examples
    --------
    >>> known = Openings().including([1, 2, 3])
    >>> known.longest([1, 2, 3, 4]), known.longest([2, 3])
    (3, 0)
    """

    def __init__(self, read: dict[tuple[int, ...], Any] | None = None) -> None:
        self._read = read or {}

    def including(self, ids: Sequence[int], cache: Any = None) -> Self:  # noqa: ANN401
        """Return these openings and one more; the oldest goes where there are too many."""
        own = tuple(ids)
        if not own or (own in self._read and cache is None):
            return self
        others = [one for one in self._read.items() if one[0] != own]
        return type(self)({**dict(others[-_MOST + 1 :]), own: cache})

    def longest(self, ids: Sequence[int]) -> int:
        """Return how many of these ids are the longest known opening; 0 when there is none."""
        found = (len(own) for own in self._read if tuple(ids[: len(own)]) == own)
        return max(found, default=0)

    def recall(self, ids: Sequence[int]) -> Any:  # noqa: ANN401 (transformers is untyped here)
        """Return a copy of what was read of exactly these ids, or None."""
        cache = self._read.get(tuple(ids))
        return None if cache is None else copy.deepcopy(cache)
