"""Many clients at once: that a sound service passes, and that each fault would be seen."""

import http.server
import json
import shutil
import threading

import pytest

from rag_helpers.__main__ import main
from rag_helpers.commands.load import faults
from rag_helpers.commands.results import RESULTS, render_details
from rag_helpers.corpus import load_help_topics
from rag_helpers.deployment import BackgroundServer, load_settings
from rag_helpers.deployment.load import LoadReport, ask_alone, ask_at_once
from rag_helpers.errors import InvalidInputError
from rag_helpers.generator import ExtractiveGenerator
from rag_helpers.pipeline import RagPipeline
from rag_helpers.records import Chunk
from rag_helpers.retriever import KeywordRetriever

# Each asks a server for a while.
pytestmark = pytest.mark.seconds

THINGS = ["ice", "tea", "bread", "rivers", "bridges", "moons", "stars", "clocks"]
QUESTIONS = [f"What of {thing}?" for thing in THINGS]


def test_sixty_four_clients_get_their_own_answers_or_429():
    texts = [f"Much is known of {thing}, and {thing} are number {n}." for n, thing in
             enumerate(THINGS)]  # fmt: skip
    chunks = [Chunk(text, f"{n}.txt", 0, len(text)) for n, text in enumerate(texts)]
    pipeline = RagPipeline(KeywordRetriever(chunks), ExtractiveGenerator(), k=2)
    with BackgroundServer(pipeline, load_settings(queue_size=8)) as api:
        alone = ask_alone(api.url, QUESTIONS)
        report = ask_at_once(api.url, alone, clients=64, seconds=5)
    assert len({message["text"] for message in alone.values()}) == len(QUESTIONS)
    assert set(report.statuses) == {200, 429}
    assert (report.lost, report.mixed_up, report.reworded) == ([], [], [])
    assert report.statuses[200] == len(report.waits_s) > 100
    assert 0 < report.quantile_s(0.5) <= report.quantile_s(0.95) < 20


class Faulty(http.server.BaseHTTPRequestHandler):
    """A service with the fault that its server names; well until something was asked of it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["question"]
        message, status = self.message(question), 200
        other = self.message(QUESTIONS[question == QUESTIONS[0]])
        if self.server.fault == "another's answer":
            message = other
        if self.server.fault == "another's text under the right name":
            message |= {"citations": other["citations"], "text": "known"}
        if self.server.fault == "other words":
            message["text"] = "the same in other words"
        if self.server.fault == "status":
            status, message = 500, {"error": "no"}
        body = json.dumps(message).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.fault == "half a reply":
            self.close_connection, body = True, body[:-3]
        self.wfile.write(body)

    @staticmethod
    def message(question):
        citation = {"source": question, "passage_start": 0, "text": "known"}
        return {"question": question, "text": question, "citations": [citation]}

    def log_message(self, *_):
        pass


@pytest.fixture
def faulty():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    server.fault, server.url = None, f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("fault", "where"),
    [
        (None, None),
        ("another's answer", "mixed_up"),
        ("another's text under the right name", "mixed_up"),
        ("other words", "reworded"),
        ("half a reply", "lost"),
    ],
)
def test_every_fault_of_a_reply_is_counted_where_it_belongs(faulty, fault, where):
    alone = ask_alone(faulty.url, QUESTIONS)
    faulty.fault = fault
    report = ask_at_once(faulty.url, alone, clients=2, seconds=0.3)
    counted = {name for name in ("lost", "mixed_up", "reworded") if getattr(report, name)}
    assert counted == ({where} if where else set())


def test_other_statuses_are_counted_and_stop_the_first_round(faulty):
    alone = ask_alone(faulty.url, QUESTIONS)
    faulty.fault = "status"
    assert set(ask_at_once(faulty.url, alone, clients=2, seconds=0.2).statuses) == {500}
    with pytest.raises(InvalidInputError, match=r"'What of ice\?' with status 500 \(no\)"):
        ask_alone(faulty.url, QUESTIONS)


def test_who_got_no_answer_has_no_quantile():
    assert str(LoadReport().quantile_s(0.5)) == "nan"


WELL = {
    "statuses": {"200": 5, "429": 9},
    "lost": 0,
    "mixed up": 0,
    "memory MB": {"end": 1000, "growth, third to last quarter": 40.0},
    "exit code after SIGTERM": 0,
}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, None),
        ({"statuses": {"200": 5, "429": 9, "500": 1}}, "replies other than 200 and 429: 500"),
        ({"statuses": {"429": 9}}, "nothing was answered"),
        ({"lost": 1}, "1 questions got no reply"),
        ({"mixed up": 1}, "1 replies belong to another question"),
        (
            {"memory MB": {"end": 1000, "growth, third to last quarter": 60.0}},
            "memory grew by 60.0 MB between the third and the last quarter",
        ),
        ({"exit code after SIGTERM": 1}, "the service ended with 1 after SIGTERM"),
    ],
)
def test_each_fault_of_a_run_is_named(change, fault):
    assert faults({**WELL, **change}) == ([fault] if fault else [])


def test_the_committed_run_is_without_fault_and_of_full_length():
    found = json.loads((RESULTS / "load.json").read_text(encoding="utf-8"))
    assert faults(found) == []
    assert (found["clients"], found["seconds"]) == (64, 60)
    assert found["replies"] == sum(found["statuses"].values())


def test_the_page_of_results_shows_the_load(tmp_path):
    for name in RESULTS.glob("*.json"):
        shutil.copy(name, tmp_path)
    found = json.loads((tmp_path / "load.json").read_text(encoding="utf-8"))
    found["lost"], found["statuses"] = 17, {"200": 1234, "429": 5}
    (tmp_path / "load.json").write_text(json.dumps(found))
    text = render_details(tmp_path)
    assert "| lost | 17 |" in text and "| replies with 200 | 1,234 |" in text


@pytest.mark.models
def test_the_command_starts_a_service_loads_it_and_writes_what_it_found(
    tmp_path, capsys, monkeypatch
):
    # On a machine that is busy with other things a question may wait for more than a minute.
    monkeypatch.setenv("RAG_TIMEOUT_S", "500")
    (tmp_path / "topics").mkdir()
    for document in load_help_topics()[:3]:
        (tmp_path / "topics" / f"{document.source}.txt").write_text(document.text, encoding="utf-8")
    out = tmp_path / "load.json"
    options = ["--seconds", "4", "--clients", "64", "--questions", "12", "--output", str(out)]
    service = ["--corpus", str(tmp_path / "topics"), "--generator", "extractive"]
    assert main(["load", *options, *service]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out) == found
    assert set(found["statuses"]) == {"200", "429"} and found["reworded"] == 0
    assert found["exit code after SIGTERM"] == 0 and found["memory MB"]["peak"] > 100
    assert not list(tmp_path.glob("*.new"))


def test_the_command_says_why_a_service_does_not_start(tmp_path, capsys):
    missing = ["--corpus", str(tmp_path / "nowhere"), "--generator", "extractive"]
    assert main(["load", "--seconds", "1", "--output", str(tmp_path / "x.json"), *missing]) == 2
    assert "neither a file nor a folder" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()
