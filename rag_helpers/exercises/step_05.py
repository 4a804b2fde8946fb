"""Checks of the exercises to notebook 05: metrics, attribution, pairing, gold questions.

They need no model. The module does not know the solutions.
"""

from __future__ import annotations

import math

import numpy as np

from rag_helpers.corpus import load_help_topics
from rag_helpers.evaluation import contains_answer, resolve_evidence, token_f1
from rag_helpers.exercises.checking import Attempt, Hint, exercise, require, show
from rag_helpers.records import GoldQuestion

__all__ = ["check_5_1", "check_5_2", "check_5_3", "check_5_4"]


@exercise("5.1", "Token F1 by hand", "recall")
def check_5_1(f1: Attempt) -> None:
    """Check F1 over words, after lower-casing and dropping punctuation and articles."""
    cases = [
        ("tea", "tea", "Equal answers score 1."),
        ("Tea", "tea", "Capitals do not count."),
        ("the answer", "answer", "The articles a, an and the do not count."),
        ("It raises a ZeroDivisionError.", "ZeroDivisionError", "Punctuation does not count."),
        ("yes yes yes", "yes", "A word counts as shared as often as it stands in *both* texts."),
        ("no no", "no no no maybe", "A repeated word is shared as often as the rarer side has it."),
        ("one two three four", "one", "Precision and recall both count: long answers pay."),
        ("one", "one two three four", "Precision and recall both count: short answers pay too."),
        ("milk", "tea", "Without a shared word the score is 0."),
        ("", "tea", "An empty answer scores 0."),
        ("the", "tea", "An answer of nothing but articles is empty."),
    ]
    for text, gold, why in cases:
        got, wanted = f1(text, gold), token_f1(text, [gold])
        require(
            isinstance(got, (int, float)) and math.isclose(got, wanted, abs_tol=1e-9),
            f"f1({text!r}, {gold!r}) gave {show(got)}. {why}",
        )


@exercise("5.2", "Which step failed?", "apply")
def check_5_2(which_step: Attempt) -> None:
    """Check the first step that lost the evidence."""
    evidence = "tea is grown in Assam"
    holds = "They say that tea is grown\n   in Assam, and elsewhere."
    other = "Coffee is grown in Brazil."
    cut = "They say that tea is grown"
    cases: list[tuple[list[str], list[str], bool, str, str]] = [
        ([other, holds], [other, holds], True, "right", "a right answer needs no culprit"),
        ([other], [other], False, "retrieval", "no hit holds the evidence"),
        (
            [other, holds],
            [other, cut],
            False,
            "prompt",
            "a hit holds the evidence, and the prompt lost it",
        ),
        ([other, holds], [other, holds], False, "reader", "the evidence was there to be read"),
        ([], [], False, "retrieval", "nothing was found at all"),
        ([other], [other], True, "right", "the answer is right, wherever it came from"),
    ]
    for hits, passages, is_right, wanted, why in cases:
        got = which_step(evidence, hits, passages, is_right)
        require(
            got in ("right", "retrieval", "prompt", "reader"),
            f"Return one of the four words; this is {show(got)}.",
        )
        spaces = (
            " Line breaks and double spaces must not matter." if got == "retrieval" and hits else ""
        )
        require(
            got == wanted,
            f"Hits {show(hits)}, prompt {show(passages)}, right answer: {is_right}. You said "
            f"{got!r}, but {why}.{spaces}",
        )


@exercise("5.3", "An interval of a difference", "break and mend")
def check_5_3(gain: Attempt) -> None:
    """Check a bootstrap that keeps the two scores of a question together."""
    generator = np.random.default_rng(3)
    hard = generator.random(60)
    before = [float(x) for x in hard]
    after = [float(x + 0.1) for x in hard]
    value, low, high = gain(before, after)
    require(
        not math.isclose(value, -0.1),
        "The gain has the wrong sign: it is after minus before.",
    )
    require(
        math.isclose(value, 0.1, abs_tol=1e-9),
        f"Every question gained 0.1, and your mean gain is {value:.3f}.",
    )
    require(
        high - low < 1e-6,
        f"Every single question gained exactly 0.1, so no resample can say otherwise; your "
        f"interval goes from {low:.3f} to {high:.3f}. Draw questions, not scores: the two scores "
        "of a question stay together.",
    )
    noise = generator.normal(0.05, 0.2, size=60)
    after = [float(x + d) for x, d in zip(hard, noise, strict=True)]
    first, second = gain(before, after), gain(before, after)
    require(
        tuple(first) == tuple(second), "The same scores gave two intervals: fix the seed inside."
    )
    value, low, high = first
    require(low <= value <= high, f"The gain {value:.3f} lies outside of [{low:.3f}, {high:.3f}].")
    draws = np.random.default_rng(4).integers(0, 60, size=(20_000, 60))
    wanted = np.percentile(noise[draws].mean(axis=1), [2.5, 97.5])
    ratio = (high - low) / float(wanted[1] - wanted[0])
    require(
        0.92 < ratio < 1.08,
        f"The interval is {ratio:.2f} times as wide as a 95 % interval: which percentiles end it?",
    )
    require(tuple(gain([0.0] * 5, [0.0] * 5)) == (0, 0, 0), "Where nothing changed, all is 0.")


@exercise("5.4", "Gold questions of your own", "open-ended")
def check_5_4(my_gold: Attempt) -> None:
    """Check three questions, of which one cannot be answered."""
    given = my_gold()
    if not isinstance(given, list) or not all(isinstance(g, GoldQuestion) for g in given):
        raise Hint(f"Return a list of GoldQuestion; this is {show(given)}.")
    require(len(given) >= 3, f"There are {len(given)} questions; write at least three.")
    require(len({q.id for q in given}) == len(given), "Two questions share an id.")
    texts = {document.source: document.text for document in load_help_topics()}
    answerable = [question for question in given if question.answers]
    for question in answerable:
        require(
            question.source in texts,
            f"{question.id}: there is no help topic {question.source!r}.",
        )
        text = texts[str(question.source)]
        span = resolve_evidence(question.evidence, text) if question.evidence else None
        if span is None:
            raise Hint(
                f"{question.id}: the evidence {show(question.evidence)} does not stand in "
                f"{question.source!r}. Copy it, or elide it as 'opening words … closing words'."
            )
        quote = text[slice(*span)]
        require(
            contains_answer(quote, question.answers),
            f"{question.id}: none of the answers {show(question.answers)} stands in its evidence, "
            "so nobody who reads it could give them.",
        )
        longest = max(len(answer.split()) for answer in question.answers)
        require(
            longest <= 12,
            f"{question.id}: an answer of {longest} words is a passage; take at most twelve.",
        )
    require(
        len({q.source for q in answerable}) >= 2,
        "All questions are about one topic; ask about at least two.",
    )
    nowhere = [question for question in given if not question.answers]
    require(
        nowhere,
        "Every question has an answer. Add one that the corpus cannot answer: a system that never "
        "declines would pass unnoticed.",
    )
    for question in nowhere:
        require(
            question.evidence is None and question.kind == "unanswerable",
            f"{question.id}: a question without answers has no evidence, and the kind "
            "'unanswerable'.",
        )
