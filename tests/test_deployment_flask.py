"""The notebook's lines for Flask, taken from its source and asked through Flask's own client."""

import logging
import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from rag_helpers.errors import InvalidInputError
from rag_helpers.generator import ExtractiveGenerator
from rag_helpers.notebook_builder import NOTEBOOKS
from rag_helpers.pipeline import RagPipeline
from rag_helpers.records import Chunk
from rag_helpers.retriever import KeywordRetriever

SOURCE = NOTEBOOKS / "source" / "07_deployment.py"


@pytest.fixture
def pipeline():
    texts = ["Ice melts at 0 degrees.", "Tea is brewed <b>hot</b> & strong."]
    chunks = [Chunk(text, f"{n}.txt", 0, len(text)) for n, text in enumerate(texts)]
    return RagPipeline(KeywordRetriever(chunks), ExtractiveGenerator())


@pytest.fixture
def client(pipeline):
    """Run the block as a reader would who pastes it below a pipeline."""
    text = SOURCE.read_text(encoding="utf-8")
    blocks = re.findall(r"(?ms)^# ```python\n(.*?)^# ```$", text)
    [block] = [re.sub(r"(?m)^# ?", "", one) for one in blocks if "flask" in one]
    names = {"pipeline": pipeline, "__name__": "my_service"}
    exec(compile(block, SOURCE.name, "exec"), names)  # our own file
    return names["app"].test_client()


def test_flask_answers_with_the_recipes_key(client):
    reply = client.get("/rag", query_string={"query": "When does ice melt?"})
    assert (reply.status_code, reply.json) == (200, {"response": "Ice melts at 0 degrees."})


def test_flask_sends_hostile_text_as_json(client):
    reply = client.get("/rag", query_string={"query": "How is tea?"})
    assert reply.content_type == "application/json"
    assert reply.json == {"response": "Tea is brewed <b>hot</b> & strong."}


def test_flask_answers_a_missing_argument_with_400_and_html(client):
    reply = client.get("/rag")
    assert (reply.status_code, reply.mimetype) == (400, "text/html")
    assert client.post("/rag").status_code == 405


def test_a_blank_question_ends_flask_and_the_recipes_fastapi_in_500(client, pipeline, caplog):
    """What the notebook says of both; the course's own service answers 422 (test_deployment)."""
    with pytest.raises(InvalidInputError):
        pipeline.answer(" ")
    with caplog.at_level(logging.CRITICAL):
        assert client.get("/rag?query=%20").status_code == 500
    app = FastAPI()

    @app.get("/rag")
    def get_response(query: str):
        return {"response": pipeline.answer(query).text}

    fast = TestClient(app, raise_server_exceptions=False)
    assert fast.get("/rag?query=%20").status_code == 500
    assert fast.get("/rag").status_code == 422
