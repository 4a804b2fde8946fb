"""Measures what README's results table shows; `make results` then writes the table.

Run it after a default changes: ``python rag_helpers/data/results/measure.py [XQUAD_FILE]``. The
test splits are for the last look: choose nothing by what this prints. XQuAD's English file is not
part of the project; without it those rows stay as they are.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rag_helpers.chunking import split_by_words
from rag_helpers.corpus import load_help_topics, load_squad
from rag_helpers.embedding import load_embedders
from rag_helpers.environment import describe_processor, versions
from rag_helpers.evaluation import evaluate, load_gold_split, load_squad_gold
from rag_helpers.generator import ExtractiveGenerator
from rag_helpers.pipeline import (
    WINDOW_WORDS,
    RagPipeline,
    build_index,
    load_index,
    pipeline_over,
    whole_documents,
)
from rag_helpers.retriever import DenseRetriever

HERE = Path(__file__).parent
RETRIEVAL = ("recall@1", "recall@5", "recall@10", "mrr@10", "abstention_auroc")
ANSWERS = ("exact_match", "f1", "contains_answer")
# Of XQuAD's articles these are for the last look.
LAST_LOOK = {
    "1973_oil_crisis",
    "Harvard_University",
    "Imperialism",
    "Rhine",
    "Teacher",
    "Victoria_(Australia)",
}
QUESTION = "What happens when I divide by zero?"


def measure(gold, documents, recipe_chunks, chunks, answers):
    """Return one row of metrics per system; answers are asked of a random part of the questions."""
    _, published = load_embedders("all-MiniLM-L6-v2")
    recipe = build_index(documents, chunks=recipe_chunks, with_heading=False)
    index = load_index(documents, chunks=chunks, window_words=WINDOW_WORDS)
    dense = DenseRetriever(recipe, published, collapse=False)
    found = evaluate(None, gold, documents, search=dense.search).to_json()
    rows = {"recipe": {name: found[name] for name in (*RETRIEVAL, *ANSWERS, "words_per_hit")}}
    part = random.Random(0).sample(gold, min(answers, len(gold)))  # noqa: S311 (a sample)
    for name, adapters in (("default, adapters off", False), ("default", True)):
        pipeline = pipeline_over(index, adapters=adapters, style="short")
        # Retrieval and confidence do not depend on the reader, so the quickest one serves.
        quick = RagPipeline(
            pipeline.retriever, ExtractiveGenerator(), confidence=pipeline.confidence
        )
        found = evaluate(quick, gold, documents, search=pipeline.retriever.search).to_json()
        read = evaluate(pipeline, part, documents).to_json()
        rows[f"{name}: {pipeline.generator.name}"] = {
            **{metric: found[metric] for metric in (*RETRIEVAL, "words_per_hit")},
            **{metric: read[metric] for metric in (*ANSWERS, "attribution", "latency_ms")},
        }
        print(json.dumps(rows, indent=1), flush=True)
    return {
        "n": len(gold),
        "answerable": sum(bool(question.answers) for question in gold),
        "asked": sum(bool(question.answers) for question in part),
        "rows": rows,
        "versions": versions(),
    }


def measure_costs():
    """Return what a learner waits for: the first answer and the next ones, in new processes."""
    costs = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in ("first answer, nothing cached", "first answer of a new process"):
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "rag_helpers", "ask", QUESTION, "--json"],
                env={**os.environ, "RAG_CACHE": cache},
                check=True,
                capture_output=True,
            )
            costs[f"{name}, s"] = round(time.perf_counter() - began, 1)
    peak_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    costs["peak memory of these, MB"] = round(peak_kb / 1024)
    venv = Path(sys.prefix)
    if shutil.which("du"):
        size = subprocess.run(["du", "-sm", venv], check=True, capture_output=True, text=True)
        costs["environment with test tools on disk, MB"] = int(size.stdout.split()[0])
    return costs


def keep(name, found):
    """Write one file of results."""
    (HERE / name).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def main():
    """Measure, and write the files; the test questions are for a last look only."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("xquad", nargs="?", help="XQuAD's English file, SQuAD 1.1 JSON")
    parser.add_argument("--costs-only", action="store_true", help="measure times and sizes alone")
    options = parser.parse_args()
    costs = measure_costs()
    keep(
        "costs.json",
        {"costs": costs, "processor": describe_processor(), "versions": versions()},
    )
    if options.costs_only:
        return
    topics, test = load_help_topics(), load_gold_split("test")
    recipe_chunks = split_by_words(topics, size=150)
    keep("help_topics_test.json", measure(test, topics, recipe_chunks, None, 120))
    if file := options.xquad:
        texts = [t for t in load_squad(file) if t.source.rpartition("#")[0] in LAST_LOOK]
        asked = [q for q in load_squad_gold(file) if q.source.rpartition("#")[0] in LAST_LOOK]
        keep("xquad_test.json", measure(asked, texts, *[whole_documents(texts)] * 2, 80))


if __name__ == "__main__":
    main()
