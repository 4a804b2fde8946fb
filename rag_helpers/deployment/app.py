"""The FastAPI application: routes in front of the worker.

The module does not know how questions are answered, nor which process or port
serves it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.security import (
    HTTPAuthorizationCredentials,
    HTTPBasic,
    HTTPBasicCredentials,
    HTTPBearer,
)
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from rag_helpers.deployment.guard import Guard, log_failure
from rag_helpers.deployment.messages import (
    AnswerList,
    AnswerMessage,
    AnswerRequest,
    Fault,
    HitMessage,
    Question,
    RecipeResponse,
    SearchRequest,
    SearchResponse,
    State,
)
from rag_helpers.deployment.metrics import METRICS_TYPE, Metrics
from rag_helpers.deployment.page import PAGE, PAGE_POLICY
from rag_helpers.deployment.rate import RateError, RateLimit
from rag_helpers.deployment.settings import ServiceSettings, load_settings
from rag_helpers.deployment.worker import OverloadError, UnavailableError, Worker
from rag_helpers.errors import InvalidInputError, RagError
from rag_helpers.pipeline import RagPipeline

__all__ = ["create_app"]

T = TypeVar("T")

_FAULTS: dict[int | str, dict[str, Any]] = {
    400: {"model": Fault, "description": "The body cannot be parsed"},
    401: {"model": Fault, "description": "The key is missing or wrong"},
    413: {"model": Fault, "description": "The body is too long"},
    422: {"model": Fault, "description": "The request is not one that can be answered"},
    429: {"model": Fault, "description": "The queue is full, or this client asks too often"},
    503: {"model": Fault, "description": "Loading, too slow, or stopping; see Retry-After"},
}
_EVENT = {
    "type": "object",
    "description": "One event of the stream; its data is JSON.",
    "properties": {
        "event": {"enum": ["piece", "answer", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
router = APIRouter(responses=_FAULTS)
_bearer = HTTPBearer(auto_error=False)
_basic = HTTPBasic(auto_error=False)


def _take_leave(request: Request, questions: int = 1) -> None:
    """Refuse a client that asks more often than it may."""
    rate: RateLimit | None = request.app.state.rate
    client = request.client.host if request.client else ""
    if rate is not None and (retry_after_s := rate.take(client, questions)):
        raise RateError(retry_after_s)


def _worker(request: Request) -> Worker:
    worker: Worker = request.app.state.worker
    return worker


_Worker = Annotated[Worker, Depends(_worker)]


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
def show_page() -> HTMLResponse:
    """Show the web page."""
    return HTMLResponse(PAGE, headers={"content-security-policy": PAGE_POLICY})


@router.get("/openapi.json", include_in_schema=False)
def show_schema(request: Request) -> JSONResponse:
    """Return the OpenAPI description."""
    return JSONResponse(request.app.openapi())


@router.get("/healthz")
def report_health(worker: _Worker, response: Response) -> State:
    """Say whether the process is well; 503 means that a restart would help."""
    response.status_code = 503 if worker.state in {"failed", "stalled"} else 200
    return State(status=worker.state)


@router.get("/readyz")
def report_readiness(worker: _Worker, response: Response) -> State:
    """Say whether questions are taken now."""
    response.status_code = 200 if worker.state == "ready" else 503
    return State(status=worker.state)


@router.get("/metrics", response_class=PlainTextResponse)
def report_metrics(request: Request) -> Response:
    """Return counters in Prometheus' text format; no question is in them."""
    metrics: Metrics = request.app.state.metrics
    return Response(metrics.render(), media_type=METRICS_TYPE)


@router.get("/rag")
async def answer_briefly(
    request: Request, worker: _Worker, query: Annotated[Question, Query()]
) -> RecipeResponse:
    """Answer one question with its text alone."""
    _take_leave(request)
    future = worker.answer([query])[0]
    return RecipeResponse(response=(await _result(request, asyncio.wrap_future(future))).text)


@router.post(
    "/v1/answers",
    response_model=AnswerMessage | AnswerList,
    responses={200: {"content": {"text/event-stream": {"schema": _EVENT}}}},
)
async def answer(request: Request, worker: _Worker, body: AnswerRequest) -> Any:  # noqa: ANN401
    """Answer one question, or several in one batch, with citations.

    With ``"stream": true`` the answer comes as server-sent events: ``piece``
    (some text) again and again, then ``answer`` (the whole), or ``error``.
    """
    _take_leave(request, 1 if isinstance(body.question, str) else len(body.question))
    if body.stream:
        if not isinstance(body.question, str):
            raise InvalidInputError("stream is true and question is a list: stream one at a time.")
        return await _open_stream(request, worker, body.question, body)
    questions = [body.question] if isinstance(body.question, str) else body.question
    futures = worker.answer(questions, k=body.k, where=body.where, style=body.style)
    try:
        answers = await _result(request, asyncio.gather(*map(asyncio.wrap_future, futures)))
    finally:
        # When one failed, or nobody waits any more, the others need not be worked out.
        for future in futures:
            future.cancel()
    messages = [AnswerMessage.of(one) for one in answers]
    return messages[0] if isinstance(body.question, str) else AnswerList(answers=messages)


@router.post("/v1/search")
async def search(request: Request, worker: _Worker, body: SearchRequest) -> SearchResponse:
    """Find passages without generating anything."""
    _take_leave(request)
    future = worker.search(body.question, k=body.k, where=body.where)
    hits = await _result(request, asyncio.wrap_future(future))
    return SearchResponse(hits=[HitMessage.of(hit) for hit in hits])


async def _result(request: Request, waiting: asyncio.Future[T]) -> T:
    try:
        return await asyncio.wait_for(waiting, request.app.state.settings.timeout_s)
    except TimeoutError:
        raise UnavailableError(
            f"No answer came within {request.app.state.settings.timeout_s:g} seconds: try again "
            "later, or ask for fewer passages."
        ) from None


async def _open_stream(
    request: Request, worker: Worker, question: str, body: AnswerRequest
) -> EventSourceResponse:
    """Wait for the first piece, so that a failure before it still has its own status."""
    loop, left = asyncio.get_running_loop(), threading.Event()
    pieces: asyncio.Queue[str | None] = asyncio.Queue()

    def pass_on(piece: str | None) -> bool:
        with contextlib.suppress(RuntimeError):  # the loop may have ended before the model did
            loop.call_soon_threadsafe(pieces.put_nowait, piece)
        return not left.is_set()

    future = worker.stream(question, pass_on, k=body.k, where=body.where, style=body.style)
    future.add_done_callback(lambda _: pass_on(None))
    try:
        first = await _result(request, asyncio.ensure_future(pieces.get()))
    except BaseException:
        left.set()
        future.cancel()
        raise
    if first is None and (error := future.exception()) is not None:
        raise error

    async def events() -> AsyncIterator[bytes]:
        piece = first
        try:
            while piece is not None:
                yield _event("piece", {"text": piece})
                piece = await _result(request, asyncio.ensure_future(pieces.get()))
            yield _event("answer", AnswerMessage.of(future.result()).model_dump())
        except RagError as fault:
            yield _event("error", {"error": str(fault)})
        except Exception as error:  # the status is sent: what is left to say goes into the stream
            yield _event("error", {"error": log_failure(request.scope, error)})
        finally:
            left.set()
            future.cancel()

    return EventSourceResponse(events())


def _event(name: str, data: dict[str, Any]) -> bytes:
    return format_sse_event(event=name, data_str=json.dumps(data, ensure_ascii=False))


def _answer_fault(request: Request, fault: Exception) -> JSONResponse:
    """Turn an error of this package into a status and a sentence."""
    status, headers = 503, {}
    if isinstance(fault, InvalidInputError):
        status = 422
    elif isinstance(fault, OverloadError):
        status = 429
    if status != 422:
        own = request.app.state.worker.retry_after_s
        headers["Retry-After"] = str(getattr(fault, "retry_after_s", own))
    return JSONResponse({"error": str(fault)}, status, headers)


def _answer_http_fault(request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, StarletteHTTPException)  # noqa: S101 (for the type checker)
    return JSONResponse({"error": str(fault.detail)}, fault.status_code, fault.headers)


def _answer_invalid(request: Request, fault: Exception) -> JSONResponse:
    """Name the fields that are wrong; what was sent is not echoed."""
    assert isinstance(fault, RequestValidationError)  # noqa: S101 (for the type checker)
    faults = [
        f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}"
        for one in fault.errors()[:5]
    ]
    return JSONResponse({"error": "; ".join(faults)}, 422)


def _key_check(settings: ServiceSettings) -> Callable[..., None]:
    """Return the dependency that every route has: the key as a bearer token or a password."""
    if settings.api_key is None:
        return lambda: None
    key = settings.api_key.get_secret_value().encode()

    def check_key(
        token: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
        password: Annotated[HTTPBasicCredentials | None, Depends(_basic)],
    ) -> None:
        given = token.credentials if token else password.password if password else ""
        if not hmac.compare_digest(given.encode(errors="replace"), key):
            raise HTTPException(
                401,
                "The key is missing or wrong: send it as `Authorization: Bearer KEY`, or as the "
                "password when a browser asks.",
                {"WWW-Authenticate": 'Basic realm="rag", charset="UTF-8"'},
            )

    return check_key


def create_app(
    pipeline: RagPipeline | Callable[[], RagPipeline], settings: ServiceSettings | None = None
) -> FastAPI:
    """Return the application that serves a pipeline.

    Routes: ``GET /rag?query=…`` as in the recipe, ``POST /v1/answers``, ``POST
    /v1/search``, ``GET /healthz``, ``GET /readyz``, ``GET /metrics``, a web page
    at ``/``, and ``GET /openapi.json``.

    Parameters
    ----------
    pipeline : RagPipeline or callable
        What answers, or a function that returns it; the function is called
        once, in the worker's thread, when the service starts.
    settings : ServiceSettings, optional
        By default those of the environment.

    Returns
    -------
    FastAPI
        An ASGI application.

    Examples
    --------
    >>> from rag_helpers.generator import ExtractiveGenerator
    >>> from rag_helpers.retriever import KeywordRetriever
    >>> app = create_app(RagPipeline(KeywordRetriever([]), ExtractiveGenerator()), load_settings())
    >>> "/rag" in app.openapi()["paths"]
    True
    """
    chosen = settings or load_settings()
    load = pipeline if callable(pipeline) else (lambda: pipeline)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        worker = Worker(
            load,
            queue_size=chosen.queue_size,
            batch_size=chosen.batch_size,
            timeout_s=chosen.timeout_s,
        )
        worker.start()
        app.state.worker = worker
        yield
        if worker.state != "draining":  # else whoever runs the application has waited already
            await asyncio.to_thread(worker.close, timeout_s=chosen.drain_s)

    app = FastAPI(
        title="RAG service",
        description="Answers questions from a corpus, and cites the passages.",
        version="1",
        lifespan=lifespan,
        dependencies=[Depends(_key_check(chosen))],
        # The usual pages load scripts from elsewhere, and none of these three asks for the key.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    metrics = Metrics(
        waiting=lambda: app.state.worker.waiting,
        is_ready=lambda: app.state.worker.state == "ready",
    )
    app.state.settings, app.state.metrics = chosen, metrics
    per_minute = chosen.rate_per_minute
    app.state.rate = None if per_minute is None else RateLimit(per_minute)
    app.include_router(router)
    app.add_exception_handler(RagError, _answer_fault)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(StarletteHTTPException, _answer_http_fault)
    if chosen.api_key is None:
        # A web page elsewhere may point a name of its own at this machine; it is refused here.
        app.add_middleware(
            TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False
        )
    app.add_middleware(Guard, max_body_bytes=chosen.max_body_bytes, observe=metrics.observe)
    return app
