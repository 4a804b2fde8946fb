"""Measures what README's results table shows: retrieval on the test split, and best sentences.

Run it after a default changes: ``python rag_helpers/data/results/measure.py``. The test split is
for the last look: choose nothing by what this prints.
"""

import json
from pathlib import Path

from rag_helpers.chunking import split_by_words
from rag_helpers.corpus import load_help_topics
from rag_helpers.embedding import load_embedders
from rag_helpers.environment import versions
from rag_helpers.evaluation import evaluate, load_gold_split
from rag_helpers.pipeline import build_index, load_index, pipeline_over
from rag_helpers.retriever import DenseRetriever

METRICS = ("recall@1", "recall@3", "recall@5", "recall@10", "mrr@10", "f1", "abstention_auroc")


def measure() -> dict[str, object]:
    """Return one row of metrics per system."""
    documents, gold = load_help_topics(), load_gold_split("test")
    _, questions = load_embedders("all-MiniLM-L6-v2")
    words = split_by_words(documents, size=150)
    recipe = build_index(documents, chunks=words, with_heading=False)
    default = pipeline_over(load_index(documents))
    reports = {
        "recipe: 150 words, dense": evaluate(
            None,
            gold,
            documents,
            search=DenseRetriever(recipe, questions, collapse=False).search,
        ),
        "default: structure, hybrid, best sentence": evaluate(
            default, gold, documents, search=default.retriever.search
        ),
    }
    rows = {}
    for name, report in reports.items():
        found = report.to_json()
        rows[name] = {metric: found[metric] for metric in METRICS}
        rows[name] |= {key: found[key] for key in ("words_per_hit", "attribution", "latency_ms")}
    n = sum(bool(question.answers) for question in gold)
    return {"split": "test", "answerable": n, "n": len(gold), "rows": rows, "versions": versions()}


if __name__ == "__main__":
    target = Path(__file__).with_name("test_split.json")
    target.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
