"""Before and after, on the same questions: a retriever's ranks, a generator's answers.

The module does not know what was trained, or on what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rag_helpers.errors import TrainingError
from rag_helpers.evaluation import (
    Interval,
    Judge,
    PairedTest,
    bootstrap_interval,
    exact_match,
    paired_test,
    token_f1,
)
from rag_helpers.fine_tuning.pairs import NOT_IN_CONTEXT, GeneratorPair
from rag_helpers.records import Chunk, Document, Embedder, FloatArray, GoldQuestion
from rag_helpers.retriever.passages import headed_text

__all__ = ["Gain", "answer_scores", "compare_scores", "retrieval_scores"]

_DEPTH = 10


@dataclass(frozen=True, slots=True)
class Gain:
    """One metric before and after.

    Parameters
    ----------
    metric : str
        Its name.
    before, after : Interval
        Means with their intervals.
    test : PairedTest
        After minus before, question by question.
    """

    metric: str
    before: Interval
    after: Interval
    test: PairedTest

    def __str__(self) -> str:
        """Return one sentence or two; they say so when the interval includes 0."""
        text = (
            f"{self.metric}: {self.before} before, {self.after} after, "
            f"gain {self.test.difference} (n = {self.test.n})."
        )
        if self.test.difference.low <= 0 <= self.test.difference.high:
            text += " The interval includes 0: neither better nor worse can be told."
        return text


def retrieval_scores(
    embedder: Embedder,
    gold: Sequence[GoldQuestion],
    documents: Sequence[Document],
    chunks: Sequence[Chunk],
) -> dict[str, list[float]]:
    """Rank all chunks for every answerable question by the inner product of vectors.

    Chunks are embedded behind their title and heading, as `build_index` does.

    Parameters
    ----------
    embedder : Embedder
        Gives vectors of length 1.
    gold : sequence of GoldQuestion
        Those whose evidence stands in no chunk count as missed.
    documents, chunks : sequence
        The corpus, and how it is cut.

    Returns
    -------
    dict of str to list of float
        ``"recall@1"``, ``"recall@5"`` and ``"MRR@10"``, one value a question.
    """
    judge = Judge(documents, gold)
    asked = [question for question in gold if question.id in judge.spans]
    ranks = _ranks(
        embedder.embed([question.question for question in asked]),
        embedder.embed([headed_text(chunk) for chunk in chunks]),
        [[judge.holds(question.id, chunk.text) for chunk in chunks] for question in asked],
    )
    return rank_scores(ranks)


def rank_scores(ranks: Sequence[float]) -> dict[str, list[float]]:
    """Score retrieval by the rank of each question's first right chunk.

    Parameters
    ----------
    ranks : sequence of float
        From 1; infinite where none was found.

    Returns
    -------
    dict of str to list of float
        ``"recall@1"``, ``"recall@5"`` and ``"MRR@10"``, one value a question.

    Examples
    --------
    >>> rank_scores([1, 4, 12])["MRR@10"]
    [1.0, 0.25, 0.0]
    """
    return {
        "recall@1": [float(rank <= 1) for rank in ranks],
        "recall@5": [float(rank <= 5) for rank in ranks],
        "MRR@10": [1 / rank if rank <= _DEPTH else 0.0 for rank in ranks],
    }


def _ranks(
    questions: FloatArray, passages: FloatArray, right: Sequence[Sequence[bool]]
) -> list[float]:
    """Return the place of the first right passage, infinite when there is none."""
    order = np.argsort(-(questions @ passages.T), axis=1, kind="stable")
    found = np.take_along_axis(np.array(right, dtype=bool), order, axis=1)
    return [float(row.argmax() + 1) if row.any() else float("inf") for row in found]


def answer_scores(
    generator: Any,  # noqa: ANN401 (a Generator)
    pairs: Sequence[GeneratorPair],
    known: Mapping[str, Sequence[str]],
) -> dict[str, list[float]]:
    """Let a generator answer prompts, and score it against what is known.

    Parameters
    ----------
    generator : Generator
        What is measured.
    pairs : sequence of GeneratorPair
        Prompts that were not trained on.
    known : Mapping of str to sequence of str
        Accepted answers by pair id; a pair without any is to be declined.

    Returns
    -------
    dict of str to list of float
        ``"exact match"`` and ``"F1"``, one value a pair with an answer;
        ``"declined rightly"``, one a pair without.
    """
    texts = [generation.text for generation in generator.generate([p.prompt for p in pairs])]
    scores: dict[str, list[float]] = {"exact match": [], "F1": [], "declined rightly": []}
    for pair, text in zip(pairs, texts, strict=True):
        if pair.answer == NOT_IN_CONTEXT:
            scores["declined rightly"].append(float(NOT_IN_CONTEXT in text.casefold()))
        else:
            scores["exact match"].append(exact_match(text, known[pair.id]))
            scores["F1"].append(token_f1(text, known[pair.id]))
    return {name: values for name, values in scores.items() if values}


def compare_scores(
    before: Mapping[str, Sequence[float]], after: Mapping[str, Sequence[float]]
) -> list[Gain]:
    """Compare two systems metric by metric, question by question.

    Parameters
    ----------
    before, after : Mapping of str to sequence of float
        One value a question, in the same order.

    Returns
    -------
    list of Gain
        One per metric.

    Raises
    ------
    TrainingError
        If the metrics differ.

    Examples
    --------
    >>> print(compare_scores({"F1": [0, 0, 0, 1]}, {"F1": [1, 1, 0, 1]})[0].test.difference.value)
    0.5
    """
    if before.keys() != after.keys():
        raise TrainingError(
            f"One system has {sorted(before)} and the other {sorted(after)}; measure the same."
        )
    return [
        Gain(
            name,
            bootstrap_interval(before[name]),
            bootstrap_interval(after[name]),
            paired_test(after[name], before[name]),
        )
        for name in before
    ]
