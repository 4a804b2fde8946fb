"""How many questions a client may ask in a minute.

The module knows names of clients and a clock; it does not know who they are.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from rag_helpers.deployment.worker import OverloadError

__all__ = ["RateError", "RateLimit"]

_MOST_CLIENTS = 10_000  # whoever has not asked for longest is forgotten first


class RateError(OverloadError):
    """A client asked too much; the queue may still have room for others."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"This client asks too often: try again in {retry_after_s} seconds.")
        self.retry_after_s = retry_after_s


class RateLimit:
    """A token bucket per client: as many at once as per minute, then as they flow back.

    Parameters
    ----------
    per_minute : int
        Questions per client and minute.
    clock : callable
        Returns seconds that never go back.

    Examples
    --------
    >>> limit = RateLimit(2, clock=lambda: 0.0)
    >>> [limit.take("a"), limit.take("a"), limit.take("a"), limit.take("b")]
    [0, 0, 30, 0]
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, count: int = 1) -> int:
        """Take leave to ask.

        Parameters
        ----------
        client : str
            Who asks.
        count : int
            Questions. More than a minute's worth take a full bucket.

        Returns
        -------
        int
            0, or whole seconds after which to try again; then nothing was taken.
        """
        now, flow = self._clock(), self._per_minute / 60
        left, since = self._left.pop(client, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + (now - since) * flow)
        needed = min(count, self._per_minute)
        granted = left >= needed
        self._left[client] = (left - needed if granted else left, now)
        if len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)
        return 0 if granted else max(1, math.ceil((needed - left) / flow))
