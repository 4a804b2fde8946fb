"""What needs no package, on every Python at hand: corpus, chunks, prompts, codes, the installer.

The gold questions are resolved on each of them in `test_gold_questions.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from pythons import find_python

from rag_helpers.environment import decode

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = [f"python3.{minor}" for minor in range(11, 19)]

CODE = """
import json, sys
from rag_helpers.chunking import (
    split_by_sentences, split_by_structure, split_by_tokens, split_by_words, supporting_sentences,
)
from rag_helpers.corpus import find_near_duplicates, load_help_topics
from rag_helpers.environment import check_environment, describe_machine, encode
from rag_helpers.prompting import RECIPE, build_prompt
from rag_helpers.records import Document, Hit
from rag_helpers.workshop import this_target

def split_by_40_tokens(documents):
    return split_by_tokens(documents, count_tokens=lambda text: len(text.split()), max_tokens=40)

topics = load_help_topics()
text_of = {document.source: document.text for document in topics}
counts = {}
for split in (split_by_words, split_by_sentences, split_by_structure, split_by_40_tokens):
    chunks = split(topics)
    counts[split.__name__] = len(chunks)
    assert all(text_of[c.source][c.start : c.end] == c.text for c in chunks)
    kept = sum(len("".join(chunk.text.split())) for chunk in chunks)
    assert kept == sum(len("".join(text.split())) for text in text_of.values())
hits = [Hit(chunk, 1.0, rank, "any") for rank, chunk in enumerate(chunks[:5], start=1)]
count = lambda text: len(text.split())
prompt = build_prompt("Why?", hits, template=RECIPE, count_tokens=count, token_budget=90)
assert count(prompt.text) <= 90 and "Why?" in prompt.text
print(json.dumps({
    "version": sys.version_info[:2], "topics": len(topics), "chunks": counts,
    "code": encode(describe_machine(check_environment())), "target": this_target().name,
}))
"""


@pytest.mark.seconds
@pytest.mark.parametrize("python", PYTHONS)
def test_steps_without_packages_run_on_each_python_at_hand(python, tmp_path, capsys):
    program = find_python(python)
    if program is None:
        pytest.skip(f"{python} is not installed here")
    variables = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    # -S leaves out site-packages: nothing but the standard library is there.
    command = [program, "-S", "-c", CODE]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={**variables, "PYTHONPATH": str(ROOT), "RAG_CACHE": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    minor = int(python.partition(".")[2])
    assert found["version"] == [3, minor] and found["topics"] == 79
    assert decode(found["code"]).python_minor == minor
    assert found["target"].endswith(f"-py3.{minor}")
    with capsys.disabled():
        print(f"\n{python}: {found['topics']} topics, chunks {found['chunks']}", end=" ")
