"""Fits the confidence: train and dev questions, answerable against unanswerable.

Run it after retrieval changes: ``python rag_helpers/data/calibration/fit.py``.
"""

import json
from pathlib import Path

from rag_helpers.corpus import load_help_topics
from rag_helpers.embedding import load_embedders
from rag_helpers.evaluation import auroc_interval, fit_calibration, load_gold_split
from rag_helpers.pipeline import WINDOW_WORDS, RetrievalConfidence, load_index, pipeline_over
from rag_helpers.retriever import build_retriever

K = 5


def fit() -> None:
    """Write the calibration and say how well it tells the two kinds apart."""
    index = load_index(load_help_topics(), window_words=WINDOW_WORDS)
    # As published: a tuned encoder knows the train questions too well to be calibrated on them.
    _, questions = load_embedders("all-MiniLM-L6-v2")
    retriever = build_retriever("hybrid", index, questions)
    confidence = RetrievalConfidence(index, questions)

    def features(split):
        gold = load_gold_split(split)
        rows = [confidence.features(q.question, retriever.search(q.question, K)) for q in gold]
        return rows, [bool(q.answers) for q in gold]

    rows, labels = features("train")
    for split in ("dev",):
        held_out, truth = features(split)
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        trained = fit_calibration(columns, labels)
        scores = [trained.confidence(row) for row in held_out]
        print(f"fitted on train, {split} AUROC {auroc_interval(scores, truth)}")
        for name in rows[0]:
            alone = auroc_interval([row[name] for row in held_out], truth)
            print(f"  {name} alone {alone}")
        rows, labels = rows + held_out, labels + truth
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    final = fit_calibration(columns, labels)
    Path(__file__).with_name("retrieval.json").write_text(final.to_json() + "\n", encoding="utf-8")
    print(final)


def count_declined() -> None:
    """Write how often the shipped reader declines dev questions of either kind."""
    index = load_index(load_help_topics(), window_words=WINDOW_WORDS)
    pipeline = pipeline_over(index, style="short")
    pipeline.threshold = 0.0  # so that who abstains has declined
    gold = load_gold_split("dev")
    counts = {kind: {"asked": 0, "declined": 0} for kind in ("answerable", "unanswerable")}
    for question, answer in zip(
        gold, pipeline.answer_many([question.question for question in gold]), strict=True
    ):
        kind = counts["answerable" if question.answers else "unanswerable"]
        kind["asked"] += 1
        kind["declined"] += answer.abstained
    text = json.dumps(counts, indent=1) + "\n"
    Path(__file__).with_name("declined.json").write_text(text, encoding="utf-8")
    print(counts)


if __name__ == "__main__":
    fit()
    count_declined()
