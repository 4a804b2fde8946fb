"""The service over real HTTP messages, with a pipeline whose answers name their questions."""

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_helpers.__main__ import main
from rag_helpers.deployment import (
    BackgroundServer,
    OverloadError,
    UnavailableError,
    Worker,
    create_app,
    load_settings,
)
from rag_helpers.deployment.app import router
from rag_helpers.deployment.page import PAGE, PAGE_POLICY
from rag_helpers.deployment.rate import RateLimit
from rag_helpers.deployment.server import load_for
from rag_helpers.errors import InvalidInputError, ModelNotFoundError
from rag_helpers.generator import ExtractiveGenerator
from rag_helpers.index import ChunkIndex
from rag_helpers.models import resolve
from rag_helpers.pipeline import RagPipeline
from rag_helpers.records import Answer, Chunk, Citation, Hit, Prompt
from rag_helpers.retriever import KeywordRetriever

KEY = "a-key-of-enough-characters"
TEXT = "Tea is hot. Ice melts at 0 degrees."
CHUNK = Chunk(TEXT, "facts.txt", 100, 135, title="Facts", metadata={"page": 2})


class FakePipeline:
    """Answers each question with the question, and can be held, slowed and made to fail."""

    def __init__(self):
        self.batches, self.styles = [], []
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.pieces_given = 0
        self.piece_s = self.batch_s = 0.0
        self.retriever = self

    def hold(self):
        """Keep the next batch inside the model until `go_on` is set."""
        self.entered.clear()
        self.go_on.clear()

    def _answer(self, question):
        hit = Hit(CHUNK, 0.5, 1)
        citation = Citation(hit, "Ice melts at 0 degrees.", 112, 135, 0.75)
        timings = {"total": 1.0}
        return Answer(question, f"re: {question}", (citation,), (hit,), Prompt(question, ""), 0.5,
                      False, timings, "fake", "fake")  # fmt: skip

    def answer_many(self, questions, *, k=None, where=None, style=None):
        self.batches.append((list(questions), k, where))
        self.styles.append(style)
        self.entered.set()
        assert self.go_on.wait(20)
        time.sleep(self.batch_s)
        for question in questions:
            self._fail_for(question)
        return [self._answer(question) for question in questions]

    def search(self, question, k=5, *, where=None):
        self._fail_for(question)
        return [Hit(CHUNK, 0.5, 1)][:k]

    def stream(self, question, *, k=None, where=None, style=None):
        self._fail_for(question)
        self.styles.append(style)
        self.pieces_given = 0
        for word in f"re: {question}".split():
            if word == "break":
                raise ValueError("secret words of the model")
            self.entered.set()
            assert self.go_on.wait(20)
            self.pieces_given += 1
            time.sleep(self.piece_s)
            yield word + " "
        yield self._answer(question)

    @staticmethod
    def _fail_for(question):
        if "too long" in question:
            raise InvalidInputError("The question has 9 tokens and the limit is 8: shorten it.")
        if "missing" in question:
            raise ModelNotFoundError("There is no model 'x': give a folder.")
        if "boom" in question:
            raise ValueError(f"secret words of {question}")


@pytest.fixture
def pipeline():
    return FakePipeline()


@pytest.fixture
def serve(pipeline):
    """Return a function that opens a client for a service with the given settings."""
    clients = []

    def start(load=None, *, wait=True, **given):
        app = create_app(load or (lambda: pipeline), load_settings(**given))
        client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
        clients.append(client.__enter__())
        if wait:
            wait_until(lambda: app.state.worker.state != "loading")
        client.worker = app.state.worker
        return client

    yield start
    pipeline.go_on.set()
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serve):
    return serve()


def wait_until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def post(client, question, **options):
    return client.post("/v1/answers", json={"question": question, **options})


def events_of(text):
    """Read server-sent events: blocks of `event:` and `data:` lines, a blank line between."""
    blocks = [dict(line.split(": ", 1) for line in block.split("\n"))
              for block in text.strip().split("\n\n")]  # fmt: skip
    return [(block["event"], json.loads(block["data"])) for block in blocks]


# What the routes answer


def test_the_recipes_route_answers_with_the_recipes_key(client):
    reply = client.get("/rag", params={"query": "When does ice melt?"})
    assert (reply.status_code, reply.json()) == (200, {"response": "re: When does ice melt?"})


def test_an_answer_comes_with_citations_that_point_into_the_passage(client):
    message = post(client, "ice?").json()
    assert message["text"] == "re: ice?"
    assert (message["confidence"], message["abstained"]) == (0.5, False)
    assert message["timings_ms"] == {"total": 1.0}
    [citation] = message["citations"]
    # The chunk begins at 100 in its document, so the sentence begins 12 characters into it.
    offset = citation["start"] - citation["passage_start"]
    assert citation["passage"][offset : offset + 23] == citation["text"] == TEXT[12:]


def test_a_list_is_answered_in_its_order_and_in_one_batch(client, pipeline):
    reply = post(client, ["b", "a", "c"], k=3, where={"page": 2})
    assert [one["text"] for one in reply.json()["answers"]] == ["re: b", "re: a", "re: c"]
    assert pipeline.batches == [(["b", "a", "c"], 3, {"page": 2})]


def test_search_returns_passages(client):
    reply = client.post("/v1/search", json={"question": "ice", "k": 1})
    [hit] = reply.json()["hits"]
    assert (hit["source"], hit["text"], hit["rank"]) == ("facts.txt", TEXT, 1)


def test_the_schema_shows_examples_and_every_route(client):
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {
        "/rag", "/v1/answers", "/v1/search", "/healthz", "/readyz", "/metrics",
    }  # fmt: skip
    assert schema["components"]["schemas"]["AnswerRequest"]["examples"]


# Counters, and who asks too often


def test_metrics_count_routes_and_statuses_and_hold_no_question(client):
    post(client, "a secret question")
    post(client, "missing")
    client.get("/nowhere/secret")
    reply = client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    lines = reply.text.splitlines()
    for route, status in (("/v1/answers", 200), ("/v1/answers", 503), ("(none)", 404)):
        assert f'rag_requests_total{{route="{route}",status="{status}"}} 1.0' in lines
    assert {"rag_ready 1.0", "rag_waiting 0.0"} <= set(lines)
    assert 'rag_request_seconds_count{route="/v1/answers"} 2.0' in lines
    assert "secret" not in reply.text


def test_metrics_of_two_services_in_a_process_are_apart(pipeline):
    for asked in (1, 2):
        with TestClient(
            create_app(pipeline, load_settings()), base_url="http://127.0.0.1"
        ) as client:
            wait_until(lambda client=client: client.get("/readyz").status_code == 200)
            for _ in range(asked):
                post(client, "Why?")
            counted = f'{{route="/v1/answers",status="200"}} {asked}.0'
            assert counted in client.get("/metrics").text


def test_who_asks_too_often_is_told_when_to_come_back(pipeline):
    settings = load_settings(rate_per_minute=3)
    with TestClient(create_app(pipeline, settings), base_url="http://127.0.0.1") as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        # A list counts as its questions.
        assert post(client, ["Why?", "How?"]).status_code == 200
        assert client.get("/rag", params={"query": "Who?"}).status_code == 200
        for reply in (
            post(client, "Where?"),
            client.get("/rag", params={"query": "Who?"}),
            client.post("/v1/search", json={"question": "What?"}),
            post(client, "Where?", stream=True),
        ):
            assert reply.status_code == 429 and "asks too often" in reply.json()["error"]
            assert 1 <= int(reply.headers["retry-after"]) <= 20
        # Whether the service is well may be asked as often as need be.
        assert client.get("/healthz").status_code == 200


def test_leave_to_ask_flows_back_and_is_bounded():
    now = [0.0]
    limit = RateLimit(60, clock=lambda: now[0])
    assert [limit.take("a", 60), limit.take("a")] == [0, 1]
    now[0] = 10.0
    assert [limit.take("a", 10), limit.take("a", 2)] == [0, 2]
    now[0] = 1e6  # a long pause gives no more than a minute's worth
    assert [limit.take("a", 61), limit.take("a")] == [0, 1]
    # The table does not grow with strangers.
    for number in range(10_050):
        limit.take(f"stranger {number}")
    assert len(limit._left) == 10_000


# Streams


def test_the_style_reaches_the_pipeline_and_unknown_ones_are_refused(client, pipeline):
    for options in ({}, {"style": "sentences"}, {"style": "short", "stream": True}):
        assert post(client, "Why?", **options).status_code == 200
    assert pipeline.styles == [None, "sentences", "short"]
    reply = post(client, "Why?", style="long")
    assert reply.status_code == 422 and "body.style" in reply.json()["error"]


def test_a_stream_sends_pieces_and_then_the_answer(client):
    reply = post(client, "tea and ice", stream=True)
    assert reply.headers["content-type"].startswith("text/event-stream")
    *pieces, (last, answer) = events_of(reply.text)
    assert "".join(data["text"] for name, data in pieces) == "re: tea and ice "
    assert {name for name, _ in pieces} == {"piece"}
    assert (last, answer["text"]) == ("answer", "re: tea and ice")


def test_a_stream_that_fails_before_its_first_piece_has_its_own_status(client):
    assert post(client, "too long", stream=True).status_code == 422
    assert post(client, ["a"], stream=True).status_code == 422
    assert post(client, "boom", stream=True).status_code == 500


def test_a_stream_that_fails_later_ends_with_an_error_event(client):
    reply = post(client, "one break two", stream=True)
    names = [name for name, _ in events_of(reply.text)]
    assert names == ["piece", "piece", "error"]  # "re:" and "one" came before the failure
    assert "secret" not in reply.text


def test_a_client_that_leaves_stops_the_model(pipeline):
    with BackgroundServer(lambda: pipeline) as server:
        pipeline.piece_s = 0.01
        body = json.dumps({"question": "word " * 300, "stream": True}).encode()
        request = urllib.request.Request(
            server.url + "/v1/answers", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            assert reply.readline() == b"event: piece\n"
        assert ask(server.url, "next") == "re: next"
    # All 301 words would take three seconds; the server notices within a fraction of one.
    assert 1 <= pipeline.pieces_given < 150


# Order, batches, and failures that concern others


def test_questions_that_wait_together_are_generated_together(client, pipeline):
    pipeline.hold()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(post, client, "first")
        pipeline.entered.wait(10)
        rest = [pool.submit(post, client, question) for question in ("a", "b")]
        other = pool.submit(post, client, "c", k=9)
        wait_until(lambda: client.worker.waiting == 3)
        pipeline.go_on.set()
        texts = [reply.result().json()["text"] for reply in (first, *rest, other)]
    assert texts == ["re: first", "re: a", "re: b", "re: c"]
    # Other options cannot share a batch.
    assert sorted(sorted(batch[0]) for batch in pipeline.batches) == [["a", "b"], ["c"], ["first"]]


def test_a_batch_is_no_larger_than_allowed(serve, pipeline):
    post(serve(batch_size=2), ["a", "b", "c", "d", "e"])
    assert [len(questions) for questions, _, _ in pipeline.batches] == [2, 2, 1]


@pytest.mark.parametrize(("bad", "status"), [("too long", 422), ("boom", 500), ("missing", 503)])
def test_a_question_that_fails_does_not_fail_its_neighbours(client, pipeline, bad, status):
    pipeline.hold()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(post, client, "first")
        pipeline.entered.wait(10)
        good, failing = pool.submit(post, client, "good"), pool.submit(post, client, bad)
        wait_until(lambda: client.worker.waiting == 2)
        pipeline.go_on.set()
        assert first.result().status_code == 200
        assert good.result().json()["text"] == "re: good"
        assert failing.result().status_code == status


@pytest.mark.seconds
def test_no_answer_is_mixed_up_among_sixteen_clients(serve):
    client = serve(queue_size=64)

    def ask_many(number):
        replies = [post(client, f"question {number}.{i}") for i in range(10)]
        return [reply.json()["text"] == f"re: question {number}.{i}"
                for i, reply in enumerate(replies)]  # fmt: skip

    with ThreadPoolExecutor(16) as pool:
        rights = [right for result in pool.map(ask_many, range(16)) for right in result]
    assert rights == [True] * 160


# Overload, loading, hanging, stopping


def test_a_full_queue_is_answered_by_429_and_a_time_to_come_back(serve, pipeline):
    client = serve(queue_size=2)
    pipeline.hold()
    with ThreadPoolExecutor(3) as pool:
        held = pool.submit(post, client, "held")
        pipeline.entered.wait(10)
        waiting = [pool.submit(post, client, name) for name in ("a", "b")]
        wait_until(lambda: client.worker.waiting == 2)
        refused = post(client, "one too many")
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.json() == {
            "error": "2 questions wait and the queue holds 2: try again later."
        }
        pipeline.go_on.set()
        assert [job.result().status_code for job in (held, *waiting)] == [200, 200, 200]


def test_a_list_finds_room_as_a_whole_or_not_at_all(serve, pipeline):
    client = serve(queue_size=3)
    assert post(client, ["a", "b", "c", "d"]).status_code == 422  # would never fit
    pipeline.hold()
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(post, client, "held")]
        pipeline.entered.wait(10)
        jobs.append(pool.submit(post, client, "a"))
        wait_until(lambda: client.worker.waiting == 1)
        assert post(client, ["b", "c", "d"]).status_code == 429
        assert client.worker.waiting == 1
        pipeline.go_on.set()
        assert [job.result().status_code for job in jobs] == [200, 200]


def test_while_loading_the_service_is_alive_but_not_ready(serve, pipeline):
    loaded = threading.Event()

    def load():
        assert loaded.wait(10)
        return pipeline

    client = serve(load, wait=False)
    assert (client.get("/healthz").status_code, client.get("/readyz").status_code) == (200, 503)
    reply = post(client, "early")
    assert reply.status_code == 503
    assert int(reply.headers["retry-after"]) >= 1
    loaded.set()
    wait_until(lambda: client.get("/readyz").status_code == 200)
    assert post(client, "later").status_code == 200


def test_a_pipeline_that_cannot_be_loaded_is_logged_and_not_told_to_clients(serve, caplog):
    def load():
        raise ModelNotFoundError("There is no model in /secret/folder: give another.")

    with caplog.at_level(logging.INFO, "rag_helpers.deployment"):
        client = serve(load)
    assert [client.get(path).status_code for path in ("/healthz", "/readyz")] == [503, 503]
    reply = post(client, "any")
    assert (reply.status_code, "secret" in reply.text) == (503, False)
    assert "/secret/folder" in caplog.records[0].fields["error"]


def test_a_hanging_model_times_out_and_the_service_recovers(serve, pipeline):
    client = serve(timeout_s=0.2)
    pipeline.hold()
    reply = post(client, "hangs")
    assert (reply.status_code, "0.2 seconds" in reply.json()["error"]) == (503, True)
    wait_until(lambda: client.get("/healthz").status_code == 503)
    assert post(client, "next").status_code == 503  # at once, rather than after the timeout
    pipeline.go_on.set()
    wait_until(lambda: client.get("/readyz").status_code == 200)
    assert post(client, "after").json()["text"] == "re: after"


def test_questions_whose_clients_gave_up_are_not_worked_out(serve, pipeline):
    client = serve(timeout_s=0.3, queue_size=1)
    pipeline.hold()
    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(post, client, "held")
        pipeline.entered.wait(10)
        given_up = pool.submit(post, client, "given up")
        assert [held.result().status_code, given_up.result().status_code] == [503, 503]
    pipeline.go_on.set()
    wait_until(lambda: client.worker.state == "ready")
    assert post(client, "new").status_code == 200
    assert [questions for questions, _, _ in pipeline.batches] == [["held"], ["new"]]


def test_a_list_of_which_one_fails_is_not_worked_out_to_its_end(serve, pipeline):
    client = serve(batch_size=1)
    pipeline.batch_s = 0.05
    assert post(client, ["too long", *"abcdefgh"]).status_code == 422
    assert post(client, "next").status_code == 200
    # The first, the next, and at most a few that began before the list was given up.
    assert len(pipeline.batches) < 6


def test_closing_finishes_what_waits_and_takes_nothing_new(pipeline):
    worker = Worker(lambda: pipeline, batch_size=1)
    worker.start()
    wait_until(lambda: worker.state == "ready")
    pipeline.hold()
    futures = worker.answer(["a", "b", "c"])
    pipeline.entered.wait(10)
    closing = threading.Thread(target=worker.close, kwargs={"timeout_s": 10})
    closing.start()
    wait_until(lambda: worker.state == "draining")
    with pytest.raises(UnavailableError, match="stopping"):
        worker.answer(["late"])
    pipeline.go_on.set()
    assert [future.result(10).text for future in futures] == ["re: a", "re: b", "re: c"]
    closing.join(10)


def test_closing_does_not_wait_for_ever(pipeline):
    worker = Worker(lambda: pipeline, batch_size=1)
    worker.start()
    wait_until(lambda: worker.state == "ready")
    pipeline.hold()
    running, waiting = worker.answer(["a", "b"])
    pipeline.entered.wait(10)
    assert not worker.close(timeout_s=0.05)
    for future in (running, waiting):
        with pytest.raises(UnavailableError, match="stopping"):
            future.result(1)
    # The model may come back from where it hung; it is too late, and does no harm.
    pipeline.go_on.set()
    assert worker.close(timeout_s=10)


def test_the_queue_counts_questions(pipeline):
    worker = Worker(lambda: pipeline, queue_size=2)
    worker.start()
    wait_until(lambda: worker.state == "ready")
    pipeline.hold()
    worker.answer(["a"])
    pipeline.entered.wait(10)
    waiting = worker.answer(["b", "c"])
    with pytest.raises(OverloadError, match="2 questions wait"):
        worker.search("d", k=1)
    # A client that left makes room.
    assert waiting[0].cancel()
    assert worker.search("d", k=1) is not None
    pipeline.go_on.set()
    assert worker.close(timeout_s=10)


# Limits, keys, and what must not leak


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"question": ""},
        {"question": " \n\t"},
        {"question": "x" * 2001},
        {"question": []},
        {"question": ["x"] * 17},
        {"question": ["fine", " "]},
        {"question": 5},
        {"question": "x", "k": 0},
        {"question": "x", "k": 21},
        {"question": "x", "K": 3},
        {"question": "x", "where": {"page": [1]}},
        {"question": "x", "where": {str(i): i for i in range(9)}},
        {"question": "x", "where": {"page": 10**400}},
        ["x"],
        "x",
    ],
)
def test_fields_out_of_range_are_named_and_not_echoed(client, pipeline, body):
    reply = client.post("/v1/answers", json=body)
    assert reply.status_code == 422
    assert re.match(r"body[.:]", reply.json()["error"])
    assert not re.search("function-after|Value error", reply.text)
    assert "xxxx" not in reply.text
    assert pipeline.batches == []


def test_the_longest_allowed_question_is_answered(client):
    assert post(client, "x" * 2000, k=20).status_code == 200


def send_raw(client, content):
    return client.post("/v1/answers", content=content, headers={"Content-Type": "application/json"})


def test_bodies_that_are_too_long_are_refused(serve):
    client = serve(max_body_bytes=2048)
    too_long = json.dumps({"question": "x"}).encode() + b" " * 2048
    assert send_raw(client, too_long).status_code == 413
    # In pieces nothing announces the length.
    assert send_raw(client, iter([too_long[:1500], too_long[1500:]])).status_code == 413
    assert send_raw(client, iter([b'{"question"', b': "x"}'])).status_code == 200


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"\xc3\x28", 400),
        (b"[" * 60_000, 400),
        (b'{"question": "\\ud800"}', 422),
        (b'{"question": "x", "where": {"a": NaN}}', 422),
        (b'{"question": "x", "where": {"a": 1e999}}', 422),
    ],
)
def test_bodies_that_are_no_message_are_refused(client, content, status):
    reply = send_raw(client, content)
    assert (reply.status_code, list(reply.json())) == (status, ["error"])


def paths_and_methods():
    return [(route.path, method) for route in router.routes for method in route.methods]


@pytest.mark.seconds
def test_every_route_asks_for_the_key(serve):
    client = serve(api_key=KEY)
    basic = base64.b64encode(f"any:{KEY}".encode()).decode()
    assert len(paths_and_methods()) == 8
    for path, method in paths_and_methods():
        for wrong in ("", "Bearer wrong", "Bearer é", "Basic !", f"Bearer {KEY}x", KEY):
            headers = {"Authorization": wrong.encode("latin-1")} if wrong else {}
            reply = client.request(method, path, headers=headers)
            assert reply.status_code == 401, (path, wrong)
            assert reply.headers["www-authenticate"].startswith("Basic")
        for right in (f"Bearer {KEY}", f"Basic {basic}"):
            reply = client.request(method, path, headers={"Authorization": right})
            assert reply.status_code in {200, 422}, (path, right)


def test_every_key_is_compared_in_constant_time(serve, monkeypatch):
    compared = []

    def compare(given, key):
        compared.append((given, key))
        return hmac.compare_digest(given, key)

    monkeypatch.setattr("rag_helpers.deployment.app.hmac", SimpleNamespace(compare_digest=compare))
    client = serve(api_key=KEY)
    compared.clear()
    sent = ("", KEY[:-1], KEY, f"{KEY}x")
    for one in sent:
        client.get("/healthz", headers={"Authorization": f"Bearer {one}"} if one else {})
    assert compared == [(one.encode(), KEY.encode()) for one in sent]


def test_the_application_has_no_routes_but_these(serve):
    client = serve()
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect", "/static/x"):
        assert client.get(path).status_code == 404


def test_without_a_key_only_this_machines_names_are_served(client):
    assert client.get("/healthz", headers={"Host": "rebound.example"}).status_code == 400
    assert client.get("/healthz", headers={"Host": "localhost:8000"}).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_other_machines_are_not_served_without_a_key(host, monkeypatch):
    monkeypatch.delenv("RAG_API_KEY", raising=False)
    with pytest.raises(InvalidInputError, match=r"RAG_API_KEY|listen on"):
        load_settings(host=host)
    assert load_settings(host=host, api_key=KEY).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_is_served_without_a_key(host):
    assert load_settings(host=host).is_local


def test_settings_come_from_the_environment_and_arguments_win(monkeypatch):
    monkeypatch.setenv("RAG_PORT", "9001")
    monkeypatch.setenv("RAG_API_KEY", KEY)
    monkeypatch.setenv("RAG_TIMEOUT_S", "")
    chosen = load_settings(queue_size=7)
    assert (chosen.port, chosen.queue_size, chosen.timeout_s) == (9001, 7, 60.0)
    assert KEY not in repr(chosen)
    assert load_settings(port=9002).port == 9002


@pytest.mark.models
def test_the_pipeline_is_the_one_that_the_settings_describe(tmp_path):
    (tmp_path / "ice.txt").write_text("Ice melts at zero degrees.", encoding="utf-8")
    chosen = load_settings(corpus=str(tmp_path), retriever="keyword", generator="extractive", k=2)
    pipeline = load_for(chosen)
    assert (pipeline.retriever.name, pipeline.generator.name, pipeline.k) == (
        "keyword", "extractive", 2,
    )  # fmt: skip
    assert pipeline.answer("When does ice melt?").text == "Ice melts at zero degrees."


@pytest.mark.models
def test_a_service_keeps_what_it_reads_only_where_it_may(monkeypatch, tmp_path):
    converted = resolve("SmolLM2-135M-Instruct")
    (tmp_path / "cache" / "models").mkdir(parents=True)
    (tmp_path / "cache" / "models" / converted.name).symlink_to(converted)
    monkeypatch.setenv("RAG_CACHE", str(tmp_path / "cache"))
    (tmp_path / "ice.txt").write_text("Ice melts at zero degrees.", encoding="utf-8")
    assert load_for(load_settings(corpus=str(tmp_path / "ice.txt"))).generator.read_ahead is None
    monkeypatch.setenv("RAG_READ_AHEAD_MB", "50")
    kept = load_for(load_settings(corpus=str(tmp_path / "ice.txt"))).generator.read_ahead
    assert (kept.folder, kept.max_mb) == (tmp_path / "cache" / "read_ahead", 50)


def test_wrong_settings_are_named_without_the_key(monkeypatch):
    monkeypatch.setenv("RAG_API_KEY", "short-secret")
    with pytest.raises(InvalidInputError, match="api_key") as caught:
        load_settings()
    assert "short-secret" not in str(caught.value)
    monkeypatch.delenv("RAG_API_KEY")
    with pytest.raises(InvalidInputError, match="port"):
        load_settings(port=70_000)
    with pytest.raises(InvalidInputError, match="only one"):
        load_settings(corpus="a", index="b")


def test_logs_hold_no_questions(client, caplog):
    with caplog.at_level(logging.DEBUG, "rag_helpers.deployment"):
        client.get("/rag", params={"query": "private matter"})
        post(client, "private matter boom")
        post(client, "private matter too long")
        client.get("/private matter")
    lines = [json.dumps(record.fields) for record in caplog.records]
    assert len(lines) == 5  # one a request, and one for the failure
    assert [record.fields.get("path") for record in caplog.records] == [
        "/rag", None, "/v1/answers", "/v1/answers", "(none)",
    ]  # fmt: skip
    assert "private" not in "".join(lines)
    assert "ValueError" in lines[1]


def test_an_unexpected_error_reaches_the_client_as_a_sentence(client, caplog):
    reply = post(client, "boom")
    assert reply.status_code == 500
    assert reply.json()["error"].endswith(reply.headers["x-request-id"] + ".")
    assert not re.search(r"secret|Traceback|ValueError|\.py", reply.text)
    assert reply.headers["x-request-id"] in [
        record.fields["request"] for record in caplog.records if record.levelname == "ERROR"
    ]


def test_every_reply_forbids_browsers_to_guess_and_to_run(client):
    for path in ("/", "/rag", "/nowhere", "/healthz"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]


def test_the_page_is_allowed_its_own_script_and_style_and_nothing_else(client):
    reply = client.get("/")
    assert reply.headers["content-security-policy"] == PAGE_POLICY
    for tag in ("script", "style"):
        [inside] = re.findall(f"<{tag}>(.*?)</{tag}>", reply.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in PAGE_POLICY
    # No part comes from elsewhere, and nothing that arrives can become HTML.
    assert not re.search(r"https?:|//[a-z]|innerHTML|outerHTML|insertAdjacent|\bon\w+=", PAGE)


# Any input at all


@pytest.fixture(scope="module")
def real_client():
    """Return a client of a real pipeline without models."""
    texts = ["Ice melts at 0 degrees.", "Tea is brewed hot.", "<script>alert(1)</script> & more"]
    chunks = [Chunk(text, f"{i}.txt", 0, len(text), metadata={"page": i}) for i, text in
              enumerate(texts)]  # fmt: skip
    app = create_app(RagPipeline(KeywordRetriever(chunks), ExtractiveGenerator()), load_settings())
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
questions = st.text(st.characters(), max_size=60) | st.sampled_from(["ice", "tea", "script"])
requests = st.fixed_dictionaries(
    {"question": questions | st.lists(questions, max_size=4) | any_json},
    optional={
        "k": st.integers(-2, 25) | any_json,
        "where": st.dictionaries(
            st.sampled_from(["source", "page", "title"]) | st.text(max_size=5),
            st.text(max_size=5) | st.integers() | st.floats() | st.booleans(),
            max_size=3,
        )
        | any_json,
        "stream": st.booleans(),
    },
)
anything = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.seconds
@anything
@given(body=requests | any_json, path=st.sampled_from(["/v1/answers", "/v1/search"]))
def test_no_json_makes_the_service_fail(real_client, body, path):
    reply = send_to(real_client, path, json.dumps(body).encode())
    assert reply.status_code in {200, 422}
    if reply.headers["content-type"] == "application/json":
        reply.json()


@pytest.mark.seconds
@anything
@given(content=st.binary(max_size=200), path=st.sampled_from(["/v1/answers", "/v1/search"]))
def test_no_bytes_make_the_service_fail(real_client, content, path):
    assert send_to(real_client, path, content).status_code in {400, 422}


@pytest.mark.seconds
@anything
@given(query=st.text(max_size=100))
def test_no_query_makes_the_service_fail(real_client, query):
    encoded = query.encode("utf-8", "surrogatepass")
    quoted = "".join(f"%{byte:02x}" for byte in encoded)
    assert real_client.get("/rag?query=" + quoted).status_code in {200, 422}


def send_to(client, path, content):
    return client.post(path, content=content, headers={"Content-Type": "application/json"})


# The index on the disk, while the service runs


def swap(folder, other):
    for path in folder.iterdir():
        path.unlink()
    other.save(folder)


def damage(folder, other):
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"x")


def cut(folder, other):
    for path in folder.iterdir():
        path.write_bytes(b"")


def delete(folder, other):
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize("change", [swap, damage, cut, delete])
def test_a_running_service_keeps_its_index_whatever_happens_on_the_disk(
    tmp_path, monkeypatch, toy_embedder, serve, caplog, change
):
    """The index is in memory: the next start, and no earlier, sees what the disk holds."""
    monkeypatch.setattr(
        "rag_helpers.pipeline.loading.load_embedders", lambda *_, **__: (toy_embedder,) * 2
    )

    def index_of(*texts):
        index = ChunkIndex(toy_embedder.dimension, model=toy_embedder.name)
        chunks = [Chunk(text, f"{n}.txt", 0, len(text)) for n, text in enumerate(texts)]
        index.add(chunks, toy_embedder.embed(texts))
        return index

    index_of("Ice melts at zero degrees.", "Tea is brewed hot.").save(tmp_path)
    chosen = load_settings(index=str(tmp_path), retriever="hybrid", generator="extractive")
    first = serve(lambda: load_for(chosen))
    before = post(first, "When does ice melt?").json()
    assert before["text"] == "Ice melts at zero degrees."
    change(tmp_path, index_of("Ice melts in the sun.", "Tea is brewed hot."))
    after = post(first, "When does ice melt?").json()
    assert {**after, "timings_ms": 0} == {**before, "timings_ms": 0}
    with caplog.at_level(logging.INFO, "rag_helpers.deployment"):
        second = serve(lambda: load_for(chosen))
    if change is swap:
        assert post(second, "When does ice melt?").json()["text"] == "Ice melts in the sun."
    else:
        # Refused with its reason in the log, and not mistaken for an empty index.
        assert second.get("/healthz").status_code == 503
        assert post(second, "When does ice melt?").status_code == 503
        [fault] = [one.fields["error"] for one in caplog.records if one.msg == "load failed"]
        assert "build the index again" in fault


# A real server


def ask(url, question):
    query = urllib.parse.urlencode({"query": question})
    with urllib.request.urlopen(f"{url}/rag?{query}", timeout=20) as reply:
        return json.load(reply)["response"]


def status_of(url, question):
    """Ask and return the status, or "refused" where nobody listens."""
    try:
        ask(url, question)
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, ConnectionError):
        return "refused"
    return 200


def test_a_server_that_stops_finishes_what_was_asked(pipeline):
    server = BackgroundServer(lambda: pipeline, load_settings(batch_size=1)).start()
    pipeline.hold()
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(ask, server.url, f"question {i}") for i in range(4)]
        pipeline.entered.wait(10)
        wait_until(lambda: server.app.state.worker.waiting == 3)
        stopped = pool.submit(server.stop)
        wait_until(lambda: server.app.state.worker.state == "draining")
        # Until the four have their answers the port is open, and says what is going on.
        assert status_of(server.url, "late") == 503
        assert not stopped.done()
        pipeline.go_on.set()
        assert [one.result() for one in asked] == [f"re: question {i}" for i in range(4)]
        stopped.result(10)
    with pytest.raises(urllib.error.URLError):
        ask(server.url, "late")


def test_a_server_whose_pipeline_fails_says_so():
    def load():
        raise ModelNotFoundError("There is no model.")

    with pytest.raises(UnavailableError, match="failed"):
        BackgroundServer(load).start(timeout_s=10)


def test_the_command_hands_its_options_on(monkeypatch, capsys):
    served = []
    monkeypatch.delenv("RAG_API_KEY", raising=False)
    monkeypatch.setenv("RAG_QUEUE_SIZE", "9")
    monkeypatch.setattr("rag_helpers.deployment.serve", served.append)
    assert main(["serve", "--host", "::1", "--port", "8080", "--k", "3"]) == 0
    [chosen] = served
    assert (chosen.host, chosen.port, chosen.k, chosen.queue_size) == ("::1", 8080, 3, 9)
    assert "http://[::1]:8080" in capsys.readouterr().err
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    assert "RAG_API_KEY" in capsys.readouterr().err
    assert len(served) == 1


SERVED = """
import sys; sys.path.insert(0, {tests!r})
from test_deployment import FakePipeline
from rag_helpers.deployment import server
pipeline = FakePipeline()
pipeline.answer_many_at_once = pipeline.answer_many
def slowly(questions, **options):
    import time; time.sleep(1000 if "hang" in questions else 0.5)
    return pipeline.answer_many_at_once(questions, **options)
pipeline.answer_many = slowly
server.load_for = lambda settings: pipeline
server.serve()
"""


@contextlib.contextmanager
def served(log, **environment):
    """Run the service in a process of its own; yield it and its address when it is ready."""
    code = SERVED.format(tests=str(Path(__file__).parent))
    # Into a file: a pipe that nobody empties would hold the service up.
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "RAG_PORT": "0", **environment},
            stderr=file,
        )
    try:
        wait_until(lambda: '"ready"' in log.read_text() and "running on" in log.read_text(), 60)
        yield process, re.search(r"running on (http://[0-9.:]+)", log.read_text())[1]
    finally:
        process.kill()
        process.wait()


signals = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that can be handled")


@signals
@pytest.mark.seconds
def test_sigterm_under_load_answers_what_was_taken_and_refuses_what_comes(tmp_path):
    """Sixteen clients ask on and on; nobody who was let in is left without an answer."""
    replies, told, log = [], threading.Event(), tmp_path / "log.jsonl"

    def ask_until_refused(number):
        for turn in range(1000):
            after = told.is_set()
            question = f"private {number}.{turn}"
            try:
                right = ask(url, question) == f"re: {question}"
                replies.append((200 if right else "mixed up", after))
            except urllib.error.HTTPError as error:
                replies.append((error.code, after))
                assert int(error.headers["Retry-After"]) >= 1
                time.sleep(0.02)
            except (urllib.error.URLError, ConnectionError, http.client.HTTPException):
                # Cut off or refused as the port closed: had it been taken, the log would know it.
                assert told.is_set()
                return "nobody listens"
        return "never stopped"

    with served(log, RAG_QUEUE_SIZE="4", RAG_BATCH_SIZE="2") as (process, url):
        with ThreadPoolExecutor(16) as pool:
            clients = [pool.submit(ask_until_refused, number) for number in range(16)]
            time.sleep(1.2)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)  # the signal has arrived
            told.set()
            assert {client.result() for client in clients} == {"nobody listens"}
        assert process.wait(20) == 0
    statuses = Counter(status for status, _ in replies)
    assert set(statuses) <= {200, 429, 503}, statuses
    assert statuses[200] >= 4 and statuses[429] >= 1, statuses
    # Whoever came after the signal was turned away with a reason, as long as the port was open.
    assert 503 in {status for status, after in replies if after}
    assert not {status for status, after in replies if after} & {200, 429}
    assert "private" not in log.read_text()
    logged = Counter(json.loads(line).get("status") for line in log.read_text().splitlines())
    assert logged[200] == statuses[200]
    assert not set(logged) - {None, 200, 429, 503}


@signals
@pytest.mark.seconds
def test_a_hanging_model_does_not_keep_the_service_from_stopping(tmp_path):
    log = tmp_path / "log.jsonl"
    with served(log, RAG_DRAIN_S="0.5") as (process, url), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(status_of, url, "hang")
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert asked.result(20) == 503
        assert process.wait(20) == 0


@signals
@pytest.mark.seconds
def test_a_second_signal_does_not_wait(tmp_path):
    log = tmp_path / "log.jsonl"
    with served(log, RAG_DRAIN_S="60") as (process, url), ThreadPoolExecutor(1) as pool:
        pool.submit(status_of, url, "hang")
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM
