"""One thread that owns the pipeline, and a bounded queue in front of it.

Models are not made for many threads, and two cores gain nothing from them. So
requests wait in line; questions that wait together are generated together.

The module does not know that questions come over HTTP.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from rag_helpers.errors import InvalidInputError, RagError
from rag_helpers.pipeline import AnswerStyle
from rag_helpers.records import Answer, Hit, Metadata

__all__ = ["OverloadError", "UnavailableError", "Worker", "WorkerState"]

WorkerState: TypeAlias = Literal["loading", "ready", "stalled", "draining", "failed"]
logger = logging.getLogger("rag_helpers.deployment")

_LONGEST_RETRY_S = 60


class OverloadError(RagError):
    """The queue is full."""


class UnavailableError(RagError):
    """The service cannot answer now: it is loading, too slow, or stopping."""


@dataclass(eq=False)
class _Job:
    kind: Literal["answer", "search", "stream"]
    question: str
    options: dict[str, Any]
    deadline: float
    emit: Callable[[str], bool] | None = None
    future: Future[Any] = field(default_factory=Future)


class Worker:
    """Answers in one thread, in the order of arrival.

    Parameters
    ----------
    load : callable
        Returns the pipeline; called once, in the thread.
    queue_size : int
        Questions that may wait.
    batch_size : int
        Most questions generated together.
    timeout_s : float
        Seconds after which nobody waits for an answer any more.

    Examples
    --------
    >>> from rag_helpers.generator import ExtractiveGenerator
    >>> from rag_helpers.pipeline import RagPipeline
    >>> from rag_helpers.records import Chunk
    >>> from rag_helpers.retriever import KeywordRetriever
    >>> chunks = [Chunk("Ice melts at 0 degrees.", "ice", 0, 23)]
    >>> worker = Worker(lambda: RagPipeline(KeywordRetriever(chunks), ExtractiveGenerator()))
    >>> worker.start()
    >>> while worker.state == "loading":
    ...     time.sleep(0.01)
    >>> worker.answer(["When does ice melt?"])[0].result().text
    'Ice melts at 0 degrees.'
    >>> worker.close(timeout_s=5)
    True
    """

    def __init__(
        self,
        load: Callable[[], Any],
        *,
        queue_size: int = 32,
        batch_size: int = 8,
        timeout_s: float = 60.0,
    ) -> None:
        self._load = load
        self._queue_size, self._batch_size, self._timeout_s = queue_size, batch_size, timeout_s
        self._jobs: deque[_Job] = deque()
        self._running: list[_Job] = []
        self._changed = threading.Condition()
        self._state: Literal["loading", "ready", "failed"] = "loading"
        self._closing = False
        self._busy_since: float | None = None
        self._seconds_per_job = 1.0
        self._thread = threading.Thread(target=self._run, name="rag worker", daemon=True)

    def start(self) -> None:
        """Begin to load the pipeline, and return at once."""
        self._thread.start()

    def close(self, *, timeout_s: float) -> bool:
        """Take no more work and finish what waits.

        Parameters
        ----------
        timeout_s : float
            Seconds to wait; what is still undone then fails with
            `UnavailableError`.

        Returns
        -------
        bool
            Whether everything was finished.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        with self._changed:
            left, self._jobs = list(self._jobs), deque()
        for job in left:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(_stopping())
        for job in self._running:  # a model that hangs: whoever asked it is not left waiting
            _settle(job, error=_stopping())
        return not self._thread.is_alive()

    @property
    def state(self) -> WorkerState:
        """What the worker does: only when ``"ready"`` does it take questions."""
        if self._closing:
            return "draining"
        busy_since = self._busy_since
        if busy_since is not None and time.monotonic() - busy_since > self._timeout_s:
            return "stalled"
        return self._state

    @property
    def waiting(self) -> int:
        """How many questions wait."""
        return len(self._jobs)

    @property
    def retry_after_s(self) -> int:
        """Seconds after which the queue should have moved, from 1 to 60."""
        expected = (self.waiting + 1) * self._seconds_per_job
        return max(1, min(_LONGEST_RETRY_S, math.ceil(expected)))

    def answer(
        self,
        questions: Sequence[str],
        *,
        k: int | None = None,
        where: Metadata | None = None,
        style: AnswerStyle | None = None,
    ) -> list[Future[Answer]]:
        """Queue questions, all of them or none.

        Parameters
        ----------
        questions : sequence of str
            What to answer.
        k : int, optional
            Passages to retrieve.
        where : Mapping, optional
            Metadata that every passage must match.
        style : {"auto", "short", "sentences"}, optional
            Overrides the pipeline's.

        Returns
        -------
        list of Future
            One per question, in order. A future that is cancelled before its
            turn costs nothing.

        Raises
        ------
        OverloadError
            If they do not all fit into the queue now.
        UnavailableError
            If the pipeline is loading, hangs or stops.
        InvalidInputError
            If they would never fit.
        """
        options = {"k": k, "where": where, "style": style}
        return self._submit([self._job("answer", question, options) for question in questions])

    def search(self, question: str, *, k: int, where: Metadata | None = None) -> Future[list[Hit]]:
        """Queue a search; parameters and errors as in `answer`."""
        return self._submit([self._job("search", question, {"k": k, "where": where})])[0]

    def stream(
        self,
        question: str,
        emit: Callable[[str], bool],
        *,
        k: int | None = None,
        where: Metadata | None = None,
        style: AnswerStyle | None = None,
    ) -> Future[Answer]:
        """Queue a question whose text is handed on piece by piece.

        Parameters
        ----------
        question : str
            What to answer.
        emit : callable
            Called in the worker's thread with each piece; when it returns
            False nobody listens any more and the model is stopped.
        k, where, style
            As in `answer`.

        Returns
        -------
        Future
            The whole answer.
        """
        job = self._job("stream", question, {"k": k, "where": where, "style": style})
        job.emit = emit
        return self._submit([job])[0]

    def _job(
        self, kind: Literal["answer", "search", "stream"], question: str, options: dict[str, Any]
    ) -> _Job:
        return _Job(kind, question, options, time.monotonic() + self._timeout_s)

    def _submit(self, jobs: list[_Job]) -> list[Future[Any]]:
        if len(jobs) > self._queue_size:
            raise InvalidInputError(
                f"{len(jobs)} questions were sent at once, and the queue holds {self._queue_size}: "
                "send fewer at a time."
            )
        with self._changed:
            state = self.state
            if state != "ready":
                raise _stopping() if state == "draining" else UnavailableError(_UNAVAILABLE[state])
            # Whose client left or timed out takes no place from those who still wait.
            self._jobs = deque(job for job in self._jobs if not job.future.cancelled())
            if len(self._jobs) + len(jobs) > self._queue_size:
                raise OverloadError(
                    f"{len(self._jobs)} questions wait and the queue holds {self._queue_size}: "
                    "try again later."
                )
            self._jobs.extend(jobs)
            self._changed.notify_all()
        return [job.future for job in jobs]

    def _run(self) -> None:
        try:
            pipeline = self._load()
        except Exception as error:
            # The sentence names what is wrong with the service's own settings, for its owner.
            sentence = str(error) if isinstance(error, RagError) else type(error).__name__
            logger.error("load failed", extra={"fields": {"error": sentence}})
            self._state = "failed"
            return
        self._state = "ready"
        logger.info("ready", extra={"fields": {}})
        while (batch := self._take()) is not None:
            began, self._running = time.monotonic(), batch
            self._work(pipeline, batch)
            self._busy_since, self._running = None, []
            if batch:
                mean = (time.monotonic() - began) / len(batch)
                self._seconds_per_job += 0.2 * (mean - self._seconds_per_job)

    def _take(self) -> list[_Job] | None:
        """Wait for the next job, and take along what can be generated with it."""
        with self._changed:
            while not self._jobs:
                if self._closing:
                    return None
                self._changed.wait()
            first = self._jobs.popleft()
            batch, others = [first], deque[_Job]()
            for job in self._jobs:
                alike = job.kind == first.kind == "answer" and job.options == first.options
                (batch if alike and len(batch) < self._batch_size else others).append(job)
            self._jobs = others
            self._busy_since = time.monotonic()
        return [job for job in batch if self._is_wanted(job)]

    @staticmethod
    def _is_wanted(job: _Job) -> bool:
        if not job.future.set_running_or_notify_cancel():
            return False
        if time.monotonic() > job.deadline:
            job.future.set_exception(UnavailableError(_UNAVAILABLE["stalled"]))
            return False
        return True

    def _work(self, pipeline: Any, batch: list[_Job]) -> None:  # noqa: ANN401 (a RagPipeline)
        if not batch:
            return
        job = batch[0]
        try:
            if job.kind == "search":
                _settle(job, pipeline.retriever.search(job.question, **job.options))
            elif job.kind == "stream":
                _settle(job, _stream(pipeline, job))
            else:
                answers = pipeline.answer_many([one.question for one in batch], **job.options)
                for one, answer in zip(batch, answers, strict=True):
                    _settle(one, answer)
        except Exception as error:
            if len(batch) == 1:
                _settle(job, error=error)
                return
            # One question that cannot be answered must not fail its neighbours.
            for one in batch:
                if not one.future.done():
                    self._work(pipeline, [one])


def _settle(job: _Job, result: Any = None, *, error: Exception | None = None) -> None:  # noqa: ANN401
    """Give a job its end; the first one counts, as `Worker.close` may have given it up."""
    with contextlib.suppress(InvalidStateError):
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)


def _stream(pipeline: Any, job: _Job) -> Answer:  # noqa: ANN401 (a RagPipeline)
    pieces = pipeline.stream(job.question, **job.options)
    try:
        for piece in pieces:
            if isinstance(piece, Answer):
                return piece
            if time.monotonic() > job.deadline or (job.emit and not job.emit(piece)):
                break
    finally:
        pieces.close()
    raise UnavailableError(_UNAVAILABLE["stalled"])


def _stopping() -> UnavailableError:
    return UnavailableError("The service is stopping: try again later.")


_UNAVAILABLE = {
    "loading": "The models are being loaded: try again in a few seconds.",
    "stalled": "The answer took too long: try again later, or ask for fewer passages.",
    "failed": "The service could not load its models: its log says why.",
}
