"""Checks of the exercises to notebook 03: ranks, fusion, cosines and a search of your own.

They need no model. The module does not know the solutions.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from rag_helpers.chunking import split_by_structure
from rag_helpers.corpus import load_help_topics
from rag_helpers.evaluation import Judge, load_gold_split
from rag_helpers.exercises.checking import Attempt, Hint, exercise, require, show

__all__ = ["check_3_1", "check_3_2", "check_3_3", "check_3_4"]


@exercise("3.1", "Recall and reciprocal rank", "recall")
def check_3_1(score_ranks: Attempt) -> None:
    """Check recall@k and MRR@k of ranks, of which some are None."""
    recall, mrr = score_ranks([1, 2, None, 4], 10)
    require(
        not math.isclose(recall, 1.0),
        "For the ranks [1, 2, None, 4] the recall is 1.0: was the question that found nothing left "
        "out? It counts, as a miss.",
    )
    require(
        math.isclose(recall, 0.75),
        f"For the ranks [1, 2, None, 4] and k = 10 your recall is {recall}; three of four "
        "questions found their passage.",
    )
    require(
        not math.isclose(mrr, (1 + 1 / 2 + 1 / 4) / 3),
        "The mean of the reciprocal ranks was taken over the questions that found something; take "
        "it over all.",
    )
    require(
        math.isclose(mrr, (1 + 1 / 2 + 1 / 4) / 4),
        f"For the ranks [1, 2, None, 4] your MRR is {mrr}: the question with rank 1 gives 1, that "
        "with rank 2 a half.",
    )
    recall, mrr = score_ranks([3, 11, 40], 10)
    require(
        math.isclose(recall, 1 / 3) and math.isclose(mrr, 1 / 9),
        f"For the ranks [3, 11, 40] and k = 10 it returned {recall, mrr}; a rank beyond k counts "
        "as not found.",
    )
    recall, mrr = score_ranks([10], 10)
    require(
        math.isclose(recall, 1.0) and math.isclose(mrr, 0.1),
        "A rank of exactly k is found.",
    )
    require(tuple(score_ranks([None, None], 5)) == (0, 0), "Where nothing was found, both are 0.")


@exercise("3.2", "Reciprocal rank fusion", "apply")
def check_3_2(fuse: Attempt) -> None:
    """Check the fused order of several rankings."""
    require(list(fuse([["a", "b", "c"]])) == ["a", "b", "c"], "One list alone keeps its order.")
    got = list(fuse([["a", "b", "c"], ["d", "b", "e"]]))
    require(
        set(got) == set("abcde"),
        f"[['a', 'b', 'c'], ['d', 'b', 'e']] gave {show(got)}; every name of every list belongs in "
        "the result, and once.",
    )
    require(
        got[0] == "b",
        f"'b' is second in both lists, which beats being first in one; yours begins with "
        f"{got[0]!r}. Is it the sum of 1 / (60 + rank)?",
    )
    lists = [["x", *(f"u{n}" for n in range(40)), "y"], ["y", "z"]]
    got = list(fuse(lists))
    require(
        got[0] == "y" and got.index("z") < got.index("u3"),
        "A name that one list lacks loses nothing there but the share it would have brought; a "
        "missing name must not count as a rank.",
    )
    require(
        list(fuse([["p", "q"], ["q", "p"]])) == ["p", "q"],
        "[['p', 'q'], ['q', 'p']]: equal scores keep the order in which the names were met.",
    )
    # Rank 1 of one list against ranks 3 and 3: only ranks counted from 1 and the constant 0 tell.
    require(
        next(iter(fuse([["a", "x", "b"], ["c", "y", "b"]], 0))) == "a",
        "With the constant 0, rank 1 gives 1 / 1 and rank 3 gives 1 / 3. Do your ranks begin at 1, "
        "and does the second argument count?",
    )
    require(list(fuse([])) == [] and list(fuse([[], ["a"]])) == ["a"], "Empty lists are lists too.")


@exercise("3.3", "Long vectors win", "break and mend")
def check_3_3(search: Attempt) -> None:
    """Check that a search by cosine does not see how long vectors are."""
    generator = np.random.default_rng(2)
    vectors = generator.normal(size=(20, 4))
    question = generator.normal(size=4)
    plain = _found(search, vectors, question, 5)
    cosines = vectors @ question / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(question))
    best = int(np.argmax(cosines))
    require(len(plain) == 5, f"Asked for 5 of 20 rows it returned {len(plain)}.")
    scores = [score for _, score in plain]
    require(
        int(np.argmin(cosines)) != plain[0][0],
        "The row that points away from the question comes first: higher is better.",
    )
    longer = vectors.copy()
    longer[[row for row in range(20) if row != best][:10]] *= 50
    require(
        [row for row, _ in _found(search, longer, question, 5)] == [row for row, _ in plain],
        "Ten rows were made 50 times as long, in the same direction, and the order changed. A "
        "cosine does not depend on length.",
    )
    doubled = _found(search, vectors, 2 * question, 5)
    require(
        np.allclose([score for _, score in doubled], scores),
        "The question's vector was doubled, in the same direction, and the scores changed.",
    )
    require(
        np.allclose(scores, sorted(cosines, reverse=True)[:5]),
        f"The scores should be cosines, from -1 to 1; they begin with {show(scores[:2])}.",
    )
    with_zero = np.vstack([np.zeros(4), vectors])
    found = _found(search, with_zero, question, 21)
    require(
        all(math.isfinite(score) for _, score in found),
        "A row of zeros (an empty passage) got a score that is not a number. It has no direction; "
        "let its score be 0.",
    )
    require(
        dict(found)[0] == 0 and found[0][0] != 0, "A row of zeros should get exactly the score 0."
    )


def _found(search: Attempt, vectors: object, question: object, k: int) -> list[tuple[int, float]]:
    with np.errstate(all="ignore"):
        return [(int(row), float(score)) for row, score in search(vectors, question, k)]


@lru_cache(maxsize=1)
def _corner() -> tuple[list[str], list[tuple[str, set[int]]]]:
    """Return passages of four topics, and 20 train questions with the passages that are right."""
    topics = {"debugger", "string-methods", "formatstrings", "types"}
    documents = [document for document in load_help_topics() if document.source in topics]
    chunks = split_by_structure(documents, max_words=150)
    gold = [q for q in load_gold_split("train") if q.answers and q.source in topics]
    judge = Judge(documents, gold)
    asked = []
    for question in gold:
        if question.id in judge.spans:
            right = {n for n, chunk in enumerate(chunks) if judge.holds(question.id, chunk.text)}
            if right:
                asked.append((question.question, right))
    return [chunk.text for chunk in chunks], asked[:20]


def _mrr(search: Attempt, count: int, asked: list[tuple[str, set[int]]]) -> float:
    total = 0.0
    for question, right in asked:
        found = list(search(question))
        if not all(isinstance(place, (int, np.integer)) for place in found):
            raise Hint(
                f"The search returns {show(found[:2])} …; return the numbers of the passages, from "
                f"0 to {count - 1}."
            )
        require(len(found) == len(set(found)), "The search returns a passage twice.")
        require(
            all(0 <= place < count for place in found),
            f"The search returns a number outside of 0 to {count - 1}.",
        )
        total += next((1 / n for n, place in enumerate(found[:10], start=1) if place in right), 0.0)
    return total / len(asked)


def _shared_words(passages: list[str], question: str) -> list[int]:
    words = set(question.lower().split())
    counts = [len(words & set(passage.lower().split())) for passage in passages]
    return sorted(range(len(passages)), key=lambda place: -counts[place])


@exercise("3.4", "A search of your own", "open-ended")
def check_3_4(build_search: Attempt) -> None:
    """Check that a search finds more than counting shared words does, on 20 train questions."""
    passages, asked = _corner()
    search = build_search(passages)
    require(callable(search), f"build_search should return a function; this is {show(search)}.")
    found = _mrr(Attempt(search, "your search"), len(passages), asked)
    baseline = _mrr(
        Attempt(lambda question: _shared_words(passages, question), "baseline"),
        len(passages),
        asked,
    )
    require(
        found > baseline + 0.05,
        f"MRR@10 on {len(asked)} train questions over {len(passages)} passages: yours "
        f"{found:.3f}, counting shared words {baseline:.3f}. Beat it by more than 0.05. Which "
        "words tell passages apart, and what clings to a word when you split at spaces?",
    )
