"""A connection to Milvus whose failures are sentences.

The module does not know what is stored there.
"""

from __future__ import annotations

from typing import Any

from rag_helpers.errors import ScalingError
from rag_helpers.scaling.engines import import_pymilvus, refuse_unreachable

__all__ = ["Connection"]

# The client's own ping every 10 seconds is more than a gRPC server allows (one in 5 minutes, none
# while nothing is asked): Milvus Lite then hangs up on the first call after some 80 idle seconds.
_PINGS = {"grpc.keepalive_time_ms": 310_000, "grpc.keepalive_permit_without_calls": 0}


class Connection:
    """A client of Milvus Lite in a file, or of a server.

    Parameters
    ----------
    uri : str
        A path, or an address with ``://``.
    token : str
        ``"user:password"`` or an API key; may be empty.
    timeout_s : float
        Longest wait for one call, in seconds.

    Raises
    ------
    MissingExtraError
        If the Milvus client is not installed.
    ScalingError
        If nothing can be opened there.
    """

    def __init__(self, uri: str, *, token: str, timeout_s: float) -> None:
        self.library = import_pymilvus()
        self.uri = uri
        self._timeout_s = timeout_s
        if "://" in uri:
            refuse_unreachable(uri, "Milvus")
        try:
            self.client = self.library.MilvusClient(
                uri, token=token, timeout=timeout_s, grpc_options=_PINGS
            )
        except Exception as error:  # of many kinds: a lock, a folder, a password
            raise ScalingError(
                f"Milvus at {uri} cannot be opened ({_reason(error)}): close other processes "
                "that hold the file, or correct path, address and token."
            ) from error

    def call(self, method: str, *given: Any, **named: Any) -> Any:  # noqa: ANN401 (untyped)
        """Call a method of the client.

        Parameters
        ----------
        method : str
            Its name.
        *given, **named
            Its arguments, the first one the collection.

        Returns
        -------
        object

        Raises
        ------
        ScalingError
            If Milvus fails.
        """
        try:
            return getattr(self.client, method)(*given, timeout=self._timeout_s, **named)
        except self.library.MilvusException as error:
            raise ScalingError(
                f"Milvus at {self.uri} failed in {method} of {given[0]!r} ({_reason(error)}): "
                "see whether it runs and has room, then do the same again; nothing is written "
                "twice."
            ) from error

    def count(self, collection: str) -> int:
        """Return how many rows a loaded collection has, those just written included."""
        rows = self.call(
            "query", collection, filter="", output_fields=["count(*)"], consistency_level="Strong"
        )
        return int(rows[0]["count(*)"])

    def close(self) -> None:
        """Give the connection back; a file is then free for another process."""
        self.client.close()


def _reason(error: Exception) -> str:
    """Return the first line of an error, and of what gRPC said behind it, which tells more."""
    details = getattr(error.__cause__, "details", None)
    said = [str(error), str(details() if callable(details) else "")]
    lines = [text.strip().splitlines()[0] for text in said if text.strip()]
    return ": ".join(lines)[:300].rstrip(".") or type(error).__name__
