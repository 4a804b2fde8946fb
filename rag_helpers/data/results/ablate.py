"""Measures what each part of the default retriever is worth: the reason for each default.

``python rag_helpers/data/results/ablate.py`` writes ``ablation.json`` beside this file, in about a
quarter of an hour on two cores; `make results` then brings README in step. It asks the train and
dev questions, by which defaults may be chosen. The adapter was trained on the train questions, so
its row is of the dev questions alone, and beside it stands the same retriever without it.
"""

import json
import random
import time
from pathlib import Path
from statistics import median

from rag_helpers.chunking import split_by_words
from rag_helpers.corpus import load_help_topics
from rag_helpers.embedding import load_embedders
from rag_helpers.environment import versions
from rag_helpers.evaluation import evaluate, load_gold_split
from rag_helpers.generator import ExtractiveGenerator, load_generator
from rag_helpers.pipeline import (
    READER,
    TURNS,
    WINDOW_WORDS,
    QuestionLikelihood,
    RagPipeline,
    build_index,
    load_index,
)
from rag_helpers.retriever import (
    DenseRetriever,
    ExpandedRetriever,
    HybridRetriever,
    KeywordRetriever,
    RerankedRetriever,
    build_retriever,
)

FILE = Path(__file__).with_name("ablation.json")
METRICS = ("recall@1", "recall@5", "recall@10", "mrr@10", "words_per_hit")
ANSWERS = ("exact_match", "f1", "contains_answer", "words_per_hit")


def measure(retriever, gold, documents):
    """Return the metrics of one retriever, and its median milliseconds a question."""
    seconds = []

    def search(question, k):
        began = time.perf_counter()
        hits = retriever.search(question, k)
        seconds.append(time.perf_counter() - began)
        return hits

    found = evaluate(None, gold, documents, search=search).to_json()
    row = {metric: found[metric] for metric in METRICS}
    return {**row, "ms": round(median(seconds) * 1000, 1)}


def measure_reader(pipeline, gold, documents):
    """Return how well one reader answers over the same retriever, and its median milliseconds."""
    found = evaluate(pipeline, gold, documents, search=pipeline.retriever.search).to_json()
    row = {metric: found[metric] for metric in ANSWERS}
    return {**row, "ms": found["latency_ms"]["total"]["p50"]}


def main():
    """Measure one part after the other, and write the file."""
    documents = load_help_topics()
    dev = [question for question in load_gold_split("dev") if question.answers]
    both = [*(question for question in load_gold_split("train") if question.answers), *dev]
    _, questions = load_embedders("all-MiniLM-L6-v2")
    _, tuned = load_embedders("all-MiniLM-L6-v2", adapter="auto")

    def by_words(size):
        chunks = split_by_words(documents, size=size)
        index = build_index(documents, chunks=chunks, with_heading=False)
        return DenseRetriever(index, questions, collapse=False), index

    whole = load_index(documents)
    windows = load_index(documents, window_words=WINDOW_WORDS)
    recipe, recipe_index = by_words(150)
    bare = build_index(documents, with_heading=False)
    keywords = KeywordRetriever.following(windows, collapse=False)
    dense = DenseRetriever(windows, questions, collapse=False)
    parts = {
        "recipe: 150 words, dense": recipe,
        "copies collapsed": DenseRetriever(recipe_index, questions),
        "cut by structure": DenseRetriever(bare, questions),
        "title and heading embedded": DenseRetriever(whole, questions),
        "windows of 40 words": DenseRetriever(windows, questions),
        "with keywords, ranks fused": HybridRetriever([dense, keywords]),
        "with keywords, scores fused (default)": build_retriever("hybrid", windows, questions),
    }
    beside = {
        "keywords alone": KeywordRetriever.following(windows),
        "default, symbols spelt out (glossary)": ExpandedRetriever(
            parts["with keywords, scores fused (default)"]
        ),
        "default without windows": build_retriever("hybrid", whole, questions),
        "recipe with 100 words": by_words(100)[0],
        "recipe with 200 words": by_words(200)[0],
    }
    adapters = {
        "default, adapter off": parts["with keywords, scores fused (default)"],
        "default": build_retriever("hybrid", windows, tuned),
    }
    default = adapters["default"]
    published_reader, tuned_reader = (load_generator(READER, adapter=a) for a in (None, "auto"))
    readers = {
        "best sentence": RagPipeline(default, ExtractiveGenerator()),
        "SmolLM2 as published, five passages": RagPipeline(default, published_reader),
        "tuned, five passages in one prompt": RagPipeline(default, tuned_reader),
        "tuned, three passages in turn (default)": RagPipeline(default, tuned_reader, turns=TURNS),
    }
    untuned = parts["with keywords, scores fused (default)"]
    likelihood = QuestionLikelihood(published_reader)
    reranked = {
        "default, adapter off": untuned,
        "12 best reranked by the question's likelihood": RerankedRetriever(untuned, likelihood),
    }
    some = random.Random(0).sample(dev, 40)  # noqa: S311 (a sample)
    tables: dict[str, object] = {}
    for title, ask, systems, gold in (
        ("retriever: parts, each on top of the one before", measure, parts, both),
        ("retriever: beside them", measure, beside, both),
        ("retriever: the adapter, on questions it was not trained on", measure, adapters, dev),
        ("retriever: reranked", measure, reranked, some),
        ("reader, over the default retriever", measure_reader, readers, some),
    ):
        rows = {}
        for name, system in systems.items():
            rows[name] = ask(system, gold, documents)
            print(name, rows[name], flush=True)
        tables[title] = {"n": len(gold), "rows": rows}
        text = json.dumps({"tables": tables, "versions": versions()}, indent=1)
        draft = FILE.with_suffix(".json.new")
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(FILE)


if __name__ == "__main__":
    main()
