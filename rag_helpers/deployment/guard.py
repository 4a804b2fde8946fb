"""What every request passes: its size, its log line, and the net under all errors.

The module knows HTTP messages; it does not know what they ask for.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from uuid import uuid4

__all__ = ["Guard", "log_failure"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]
Observe: TypeAlias = Callable[[str, int, float], None]

logger = logging.getLogger("rag_helpers.deployment")

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


_REQUEST_ID = "rag_helpers.request_id"


def log_failure(scope: Message, error: Exception) -> str:
    """Log where an unexpected error arose, without its message.

    Parameters
    ----------
    scope : mapping
        Of the request, as the `Guard` passed it on.
    error : Exception
        What was raised.

    Returns
    -------
    str
        A sentence for the client, which names the log's entry.
    """
    fields = {
        "request": scope[_REQUEST_ID],
        "error": type(error).__name__,
        "frames": [line.strip() for line in traceback.format_tb(error.__traceback__)],
    }
    logger.error("request failed", extra={"fields": fields})
    return f"The service failed; its log has more under {scope[_REQUEST_ID]}."


class Guard:
    """ASGI middleware: limits bodies, sets headers, logs, and lets no error out.

    A log line holds neither the question, nor the query string, nor an error's
    message, since all of them may hold what somebody asked.

    Parameters
    ----------
    app : callable
        The ASGI application inside.
    max_body_bytes : int
        Longest request body.
    observe : callable, optional
        ``observe(route, status, seconds)`` is told of every request.
    """

    def __init__(self, app: App, *, max_body_bytes: int, observe: Observe | None = None) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.observe = observe

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one connection, as ASGI 3 asks."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, request_id, status = time.perf_counter(), uuid4().hex, 0
        scope[_REQUEST_ID] = request_id

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", []))
                names = {name.lower() for name, _ in headers}
                headers += [header for header in _HEADERS if header[0] not in names]
                message["headers"] = [*headers, (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            body = await self._read(scope, receive)
            if body is None:
                limit = f"The body is longer than {self.max_body_bytes:,} bytes: send less."
                await _refuse(send_on, 413, limit)
            else:
                await self.app(scope, _replay(body, receive), send_on)
        except Exception as error:
            sentence = log_failure(scope, error)
            if status == 0:
                await _refuse(send_on, 500, sentence)
        finally:
            seconds = time.perf_counter() - began
            # The route as it is declared: a path that matches none may hold anything.
            route = getattr(scope.get("route"), "path", "(none)")
            fields = {
                "request": request_id,
                "method": scope["method"],
                "path": route,
                "status": status,
                "ms": round(seconds * 1000, 1),
            }
            if self.observe is not None:
                self.observe(route, status, seconds)
            logger.info("request", extra={"fields": fields})

    async def _read(self, scope: Message, receive: Receive) -> bytes | None:
        """Return the whole body, or None when it is too long."""
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced[:20]) > self.max_body_bytes:
            return None
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self.max_body_bytes:
                return None
            if not message.get("more_body", False):
                return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    first = True

    async def receive_again() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return receive_again


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    # What is left of the body is not read, so the connection cannot serve another request.
    if status == 413:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
