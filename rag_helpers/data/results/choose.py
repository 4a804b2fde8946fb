"""Measures the choices behind the default retriever, on train and dev questions, untuned.

Run it before a default changes: ``python rag_helpers/data/results/choose.py`` writes
``choices.json``. No test question is read.
"""

import json
from pathlib import Path

from rag_helpers.chunking import split_by_structure, split_by_words
from rag_helpers.corpus import load_help_topics
from rag_helpers.embedding import load_embedders
from rag_helpers.environment import versions
from rag_helpers.evaluation import Judge, bootstrap_interval, load_gold_split
from rag_helpers.pipeline import WINDOW_WORDS, load_index
from rag_helpers.retriever import DenseRetriever, HybridRetriever, KeywordRetriever

WEIGHTS = (0.25, 0.5, 0.75)


def choose():
    """Return recall and MRR of every combination."""
    topics = load_help_topics()
    _, embedder = load_embedders("all-MiniLM-L6-v2")
    gold = [q for split in ("train", "dev") for q in load_gold_split(split) if q.answers]
    judge = Judge(topics, gold)
    gold = [question for question in gold if question.id in judge.spans]
    rows = {}

    def measure(name, retriever):
        ranks = [judge.first_right(q.id, retriever.search(q.question, 10)) for q in gold]
        at_5 = bootstrap_interval([float(bool(rank) and rank <= 5) for rank in ranks])
        mrr = bootstrap_interval([1 / rank if rank else 0.0 for rank in ranks])
        rows[name] = {"recall@5": at_5.to_json(), "mrr@10": mrr.to_json()}
        print(f"{name:<50} recall@5 {at_5}  MRR@10 {mrr}", flush=True)

    cuts = {"150 words": split_by_words(topics, size=150), "structure": split_by_structure(topics)}
    for cut, chunks in cuts.items():
        for embedded, words in {"whole": None, f"windows of {WINDOW_WORDS}": WINDOW_WORDS}.items():
            index = load_index(topics, chunks=chunks, window_words=words)
            dense = DenseRetriever(index, embedder, collapse=False)
            keyword = KeywordRetriever.following(index, collapse=False)
            measure(f"{cut}, {embedded}: dense", DenseRetriever(index, embedder))
            for weight in WEIGHTS:
                hybrid = HybridRetriever([dense, keyword], weights=[1.0, weight], fusion="scores")
                measure(f"{cut}, {embedded}: keywords at {weight}", hybrid)
            ranks = HybridRetriever([dense, keyword])
            measure(f"{cut}, {embedded}: ranks fused", ranks)
    return {"n": len(gold), "rows": rows, "versions": versions()}


if __name__ == "__main__":
    target = Path(__file__).with_name("choices.json")
    target.write_text(json.dumps(choose(), indent=1) + "\n", encoding="utf-8")
