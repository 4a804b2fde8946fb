"""Counters of the service in Prometheus' text format.

They hold routes, statuses and times; no question, answer or client is in them.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

__all__ = ["METRICS_TYPE", "Metrics"]

METRICS_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """What a service counts, apart from every other service in the process.

    Parameters
    ----------
    waiting : callable
        Returns how many questions wait now.
    is_ready : callable
        Returns whether questions are taken now.

    Examples
    --------
    >>> metrics = Metrics(waiting=lambda: 2, is_ready=lambda: True)
    >>> metrics.observe("/rag", 200, 0.3)
    >>> 'rag_requests_total{route="/rag",status="200"} 1.0' in metrics.render().decode()
    True
    """

    def __init__(self, *, waiting: Callable[[], int], is_ready: Callable[[], bool]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "rag_requests", "Requests answered.", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "rag_request_seconds",
            "Seconds from a request's beginning to its answer's end.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        Gauge("rag_waiting", "Questions that wait.", registry=self._registry).set_function(waiting)
        Gauge("rag_ready", "1 when questions are taken.", registry=self._registry).set_function(
            is_ready
        )

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one request.

        Parameters
        ----------
        route : str
            As it is declared, so that a stranger's paths do not make new counters.
        status : int
            HTTP status.
        seconds : float
            Its duration.
        """
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def render(self) -> bytes:
        """Return all of them as Prometheus reads them."""
        return generate_latest(self._registry)
