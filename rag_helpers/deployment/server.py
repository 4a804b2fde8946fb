"""Runs the application: until stopped in the foreground, or beside a notebook.

The module knows uvicorn, sockets and log lines; it does not know the routes.
"""

from __future__ import annotations

import json
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

import uvicorn
from fastapi import FastAPI

from rag_helpers.deployment.app import create_app
from rag_helpers.deployment.settings import ServiceSettings, load_settings
from rag_helpers.deployment.worker import UnavailableError
from rag_helpers.environment import cache_folder
from rag_helpers.generator import ReadAhead
from rag_helpers.pipeline import RagPipeline, load_pipeline

__all__ = ["BackgroundServer", "serve"]


class _JsonLines(logging.Formatter):
    """One JSON object a line: time, level, event, and the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        return json.dumps(line)


def serve(settings: ServiceSettings | None = None) -> None:
    """Serve the pipeline that the settings describe, until a signal stops it.

    SIGTERM and Ctrl-C let running and waiting questions end first; whoever asks
    meanwhile gets 503. A second signal does not wait. After SIGTERM the process
    ends with 0.

    Parameters
    ----------
    settings : ServiceSettings, optional
        By default those of the environment.

    Raises
    ------
    InvalidInputError
        When the settings are wrong.
    """
    settings = settings or load_settings()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    for name in ("rag_helpers.deployment", "uvicorn"):
        logging.getLogger(name).handlers = [handler]
        logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger(name).propagate = False
    _server(create_app(lambda: load_for(settings), settings), settings).run()


def load_for(settings: ServiceSettings) -> RagPipeline:
    """Return the pipeline that the settings describe."""
    names = ("corpus", "index", "retriever", "generator", "k")
    chosen: dict[str, Any] = {name: getattr(settings, name) for name in names}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if settings.index is not None:
        from rag_helpers.index import ChunkIndex

        chosen["model"] = ChunkIndex.info(settings.index)["model"]
    if settings.read_ahead_mb:
        folder = cache_folder() / "read_ahead"
        chosen["read_ahead"] = ReadAhead(folder, max_mb=settings.read_ahead_mb)
    return load_pipeline(**chosen)


class _DrainingServer(uvicorn.Server):
    """Answers what was taken before it closes the port, so that new questions get 503 till then.

    Uvicorn by itself closes the port first: clients then cannot tell a service that is about to
    stop from one that never was.
    """

    _is_draining = False

    def drain(self) -> None:
        """Finish what waits, then stop; returns when the questions are answered or given up."""
        state = self.config.app.state
        worker = getattr(state, "worker", None)
        if worker is not None and not worker.close(timeout_s=state.settings.drain_s):
            self.config.timeout_graceful_shutdown = 1  # all that is left to send is the apology
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal, in a thread, since answers are sent by this one."""
        if self._is_draining:
            super().handle_exit(sig, frame)
            self.force_exit = True
            return
        self._is_draining = True
        # Uvicorn raises these again once it has stopped: Ctrl-C is to end the program as usual.
        if sig == signal.SIGINT:
            self._captured_signals.append(sig)
        threading.Thread(target=self.drain, name="rag drain", daemon=True).start()


def _server(app: FastAPI, settings: ServiceSettings) -> _DrainingServer:
    return _DrainingServer(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,  # it would hold the question; the application logs without it
            server_header=False,
            timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        )
    )


class BackgroundServer:
    """A service in a thread of this process, on a free port of this machine.

    Parameters
    ----------
    pipeline : RagPipeline or callable
        As for `create_app`.
    settings : ServiceSettings, optional
        Host and port are overruled.

    Examples
    --------
    >>> import urllib.request
    >>> from rag_helpers.generator import ExtractiveGenerator
    >>> from rag_helpers.records import Chunk
    >>> from rag_helpers.retriever import KeywordRetriever
    >>> chunks = [Chunk("Ice melts at 0 degrees.", "ice", 0, 23)]
    >>> with BackgroundServer(RagPipeline(KeywordRetriever(chunks), ExtractiveGenerator())) as api:
    ...     reply = urllib.request.urlopen(api.url + "/rag?query=ice").read()
    >>> reply
    b'{"response":"Ice melts at 0 degrees."}'
    """

    def __init__(
        self,
        pipeline: RagPipeline | Callable[[], RagPipeline],
        settings: ServiceSettings | None = None,
    ) -> None:
        settings = (settings or load_settings(host="127.0.0.1")).model_copy(
            update={"host": "127.0.0.1", "port": 0}
        )
        # Bound here and now, so that no other program can take the port in between.
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.app = create_app(pipeline, settings)
        self._server = _server(self.app, settings)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="rag server"
        )
        self._thread.daemon = True

    def start(self, *, timeout_s: float = 120.0) -> Self:
        """Start, and return when the pipeline is loaded.

        Raises
        ------
        UnavailableError
            When it is not ready in time, or failed.
        """
        self._thread.start()
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self._thread.is_alive():
            worker = getattr(self.app.state, "worker", None)
            if self._server.started and worker is not None and worker.state != "loading":
                break
            time.sleep(0.02)
        worker = getattr(self.app.state, "worker", None)
        state = "not started" if worker is None else worker.state
        if state != "ready":
            self.stop()
            raise UnavailableError(
                f"The service is {state} after at most {timeout_s:g} seconds: load the pipeline "
                "without it to see why."
            )
        return self

    def stop(self) -> None:
        """Let what runs and waits end, then stop; calling it again does nothing."""
        if self._thread.is_alive():
            self._server.drain()
            self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
