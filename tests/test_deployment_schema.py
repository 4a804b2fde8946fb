"""The service against its own OpenAPI description: what it promises to take, and what it promises.

Schemathesis draws requests that fit the schema, and such as do not, and checks status, headers and
body of every reply against what is declared.
"""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from rag_helpers.deployment import BackgroundServer, load_settings
from rag_helpers.generator import ExtractiveGenerator
from rag_helpers.pipeline import RagPipeline
from rag_helpers.prompting import SENTENCES
from rag_helpers.records import Chunk
from rag_helpers.retriever import KeywordRetriever

KEY = "a-key-of-enough-characters"
TEXTS = ["Ice melts at 0 degrees.", "Tea is brewed hot.", "<script>alert(1)</script> & more"]


@pytest.fixture(scope="module")
def service():
    chunks = [Chunk(text, f"{i}.txt", 0, len(text), metadata={"page": i})
              for i, text in enumerate(TEXTS)]  # fmt: skip
    pipeline = RagPipeline(KeywordRetriever(chunks), ExtractiveGenerator(), explain=SENTENCES)
    with BackgroundServer(pipeline, load_settings(api_key=KEY)) as api:
        yield api


@pytest.fixture(scope="module")
def schema(service):
    return schemathesis.openapi.from_url(
        f"{service.url}/openapi.json", headers={"Authorization": f"Bearer {KEY}"}
    )


ROUTES = [
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /rag",
    "POST /v1/answers",
    "POST /v1/search",
]


@pytest.fixture(scope="module")
def operations(schema):
    return {found.ok().label: found.ok() for found in schema.get_all_operations()}


def test_no_route_is_left_out(operations):
    assert sorted(operations) == sorted(ROUTES)


@pytest.mark.seconds
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_reply_is_as_described(operations, route, mode):
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operations[route].as_strategy(generation_mode=mode))
    def ask(case):
        reply = case.call(headers={"Authorization": f"Bearer {KEY}"})
        assert reply.status_code < 500
        # A schema cannot say that a question must not be blank, that no list is streamed, or which
        # metadata there is: 422 is right for these.
        case.validate_response(reply, excluded_checks=[positive_data_acceptance])

    ask()
