"""The container files, read as an engine would: no engine runs here, so what can be checked is."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rag_helpers.deployment import BackgroundServer, load_settings
from rag_helpers.deployment.settings import ServiceSettings
from rag_helpers.errors import InvalidInputError
from rag_helpers.generator import ExtractiveGenerator
from rag_helpers.pipeline import RagPipeline
from rag_helpers.retriever import KeywordRetriever

ROOT = Path(__file__).parents[1]
KEY = "a-key-of-enough-characters"


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions with their arguments, continued lines joined, comments left out."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n", "", kept)
    pairs = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(name, arguments.strip()) for name, arguments in pairs]


@pytest.fixture(scope="module")
def dockerfile():
    return instructions((ROOT / "Dockerfile").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["rag"]


def arguments_of(dockerfile, name):
    return [arguments for instruction, arguments in dockerfile if instruction == name]


def test_the_image_is_built_from_a_named_version_and_runs_without_root(dockerfile):
    assert dockerfile[0][0] == "FROM"
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", dockerfile[0][1])
    names = [instruction for instruction, _ in dockerfile]
    assert set(names) <= {
        "FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "EXPOSE", "HEALTHCHECK", "CMD",
    }  # fmt: skip
    users = arguments_of(dockerfile, "USER")
    assert users and users[-1] not in {"root", "0"}
    # The account exists, and nothing heavy is installed before it is taken on.
    assert any(f"useradd --create-home --uid 10001 {users[-1]}" in run for _, run in dockerfile)
    last_run = len(names) - 1 - names[::-1].index("RUN")
    assert names.index("USER") < last_run


def test_what_is_copied_exists_and_is_let_through(dockerfile):
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    let_through = {line[1:] for line in ignored if line.startswith("!")}
    copied = set()
    for arguments in arguments_of(dockerfile, "COPY"):
        *sources, _ = [part for part in shlex.split(arguments) if not part.startswith("--")]
        copied |= {source.rstrip("/") for source in sources}
    assert copied == let_through and ignored[0] == "*"
    assert all((ROOT / source).exists() for source in copied)


def test_variables_are_settings_that_the_service_knows(dockerfile, compose, monkeypatch):
    given = dict(re.findall(r"(\w+)=(\S+)", " ".join(arguments_of(dockerfile, "ENV"))))
    fields = {f"RAG_{name.upper()}" for name in ServiceSettings.model_fields}
    used = {name for name in (*given, *compose["environment"]) if name.startswith("RAG_")}
    assert used - fields == {"RAG_CACHE"}  # read by the package itself
    for name, value in {**given, "RAG_RATE_PER_MINUTE": "120"}.items():
        monkeypatch.setenv(name, value)
    # Reachable from outside the container, and so never without a key.
    monkeypatch.delenv("RAG_API_KEY", raising=False)
    with pytest.raises(InvalidInputError, match="RAG_API_KEY"):
        load_settings()
    monkeypatch.setenv("RAG_API_KEY", KEY)
    assert load_settings().rate_per_minute == 120
    assert "?" in compose["environment"]["RAG_API_KEY"]  # compose refuses to start without it


def test_compose_serves_this_machine_alone_and_waits_for_running_questions(compose):
    assert compose["ports"] == ["127.0.0.1:8000:8000"]
    assert compose["read_only"] and compose["cap_drop"] == ["ALL"]
    assert int(compose["stop_grace_period"].removesuffix("s")) > load_settings().drain_s


def test_commands_are_lists_and_start_what_exists(dockerfile):
    (command,) = arguments_of(dockerfile, "CMD")
    assert json.loads(command)[1:] == ["-m", "rag_helpers", "serve"]


@pytest.mark.parametrize("key", [KEY, "another-key-of-enough-characters"])
def test_the_health_check_passes_with_the_key_and_fails_without(dockerfile, key):
    (check,) = arguments_of(dockerfile, "HEALTHCHECK")
    _, flag, program = json.loads(check[check.index("CMD") + len("CMD") :])
    pipeline = RagPipeline(KeywordRetriever([]), ExtractiveGenerator())
    with BackgroundServer(pipeline, load_settings(api_key=KEY)) as api:
        ran = subprocess.run(
            [sys.executable, flag, program.replace("http://127.0.0.1:8000", api.url)],
            env={"RAG_API_KEY": key, "PATH": ""},
            capture_output=True,
            check=False,
        )
    assert (ran.returncode == 0) is (key == KEY), ran.stderr
