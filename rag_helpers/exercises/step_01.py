"""Checks of the exercises to notebook 01: the parts of a RAG system, by hand.

They need no model. The module does not know the solutions.
"""

from __future__ import annotations

import re

import numpy as np

from rag_helpers.corpus import STOP_WORDS, load_help_topics
from rag_helpers.evaluation import normalize_quote
from rag_helpers.exercises.checking import Attempt, exercise, require, show

__all__ = ["check_1_1", "check_1_2", "check_1_3", "check_1_4"]

# What each step needs, and what hands it on.
_NEEDS = {
    "embed": ("cut", "needs chunks, which cutting makes"),
    "index": ("embed", "stores vectors, which embedding makes"),
    "search": ("index", "looks into the index, which must be there"),
    "fill": ("search", "puts passages into the prompt, which searching finds"),
    "generate": ("fill", "reads the prompt, which filling makes"),
}


@exercise("1.1", "The order of the steps", "recall")
def check_1_1(steps: Attempt) -> None:
    """Check that the six steps come in an order in which each has what it needs."""
    given = steps()
    require(isinstance(given, list), f"Return a list of words; this is {show(given)}.")
    wanted = {"cut", *_NEEDS}
    require(
        set(given) <= wanted, f"{show(sorted(set(given) - wanted))} is none of the words given."
    )
    require(len(given) == len(set(given)), "A word stands in your list twice.")
    missing = wanted - set(given)
    require(not missing, f"{len(missing)} of the six steps are missing from your list.")
    for later, (earlier, why) in _NEEDS.items():
        require(
            given.index(earlier) < given.index(later),
            f"In your order {later!r} comes too early: it {why}.",
        )


@exercise("1.2", "The nearest vectors", "apply")
def check_1_2(nearest: Attempt) -> None:
    """Check an exact search by squared distance."""
    vectors = np.array([[0.0, 0.0], [3.0, 4.0], [1.0, 0.0], [-9.0, -9.0]])
    question = np.array([1.0, 0.5])
    got = list(nearest(vectors, question, 2))
    require(
        all(float(place).is_integer() for place in got),
        f"Return the numbers of the rows, not distances; {show(got)} holds fractions.",
    )
    require(len(got) == 2, f"Asked for k = 2 it returned {len(got)} rows.")
    require(
        got != [3, 1],
        "The farthest rows come first: a small distance is a good one.",
    )
    require(
        got == [2, 0],
        f"For rows {vectors.tolist()} and the question {question.tolist()} it returned "
        f"{show([int(p) for p in got])}. Work out the four squared distances on paper. (An inner "
        "product prefers long vectors.)",
    )
    require(
        [int(p) for p in nearest(vectors, question, 9)] == [2, 0, 1, 3],
        "When k is larger than the number of rows, return every row once, best first.",
    )
    require(
        [int(p) for p in nearest(np.ones((3, 2)), question, 3)] == [0, 1, 2],
        "Rows that are equally near keep their order; look for a sort that is 'stable'.",
    )
    generator = np.random.default_rng(1)
    for _ in range(20):
        many, asked = generator.normal(size=(30, 5)), generator.normal(size=5)
        distances = ((many - asked) ** 2).sum(axis=1)
        places = [int(p) for p in nearest(many, asked, 7)]
        require(
            places == np.argsort(distances, kind="stable")[:7].tolist(),
            "On random vectors with negative numbers too, the order is not that of the squared "
            "distances.",
        )


@exercise("1.3", "A prompt that survives braces", "break and mend")
def check_1_3(fill: Attempt) -> None:
    """Check that a prompt keeps question and passages to the letter."""
    cases = [
        ("What is tea?", ["Tea is a drink.", "It is hot."]),
        ("What does {} mean?", ["A plain passage."]),
        ("What is a set?", ["{1, 2} is a set", "{'a': 1} is a dictionary", "{0}"]),
        ("Which is {context}?", ["{question}"]),
        ("Anything?", []),
    ]
    for question, passages in cases:
        got = fill(question, passages)
        require(isinstance(got, str), f"Return a text; this is {show(got)}.")
        for passage in passages:
            require(
                passage in got,
                f"The passage {passage!r} does not stand whole in the prompt {show(got)}.",
            )
        require(question in got, f"The question {question!r} does not stand whole in {show(got)}.")
        wanted = f"Question: {question} Context: {' '.join(passages)}"
        require(
            " ".join(got.split()) == " ".join(wanted.split()),
            f"Everything is there, but not in the form of the task; it returned {show(got)}.",
        )


@exercise("1.4", "A question of your own", "open-ended")
def check_1_4(my_question: Attempt) -> None:
    """Check a question, its topic and the words that answer it."""
    given = my_question()
    require(
        isinstance(given, tuple) and len(given) == 3 and all(isinstance(g, str) for g in given),
        f"Return three texts: question, topic, quote. This is {show(given)}.",
    )
    question, topic, quote = given
    texts = {document.source: document.text for document in load_help_topics()}
    require(question.strip().endswith("?"), f"{question!r} does not end with a question mark.")
    require(topic in texts, f"There is no help topic {topic!r}; notebook 01 lists their names.")
    words = len(quote.split())
    require(5 <= words <= 60, f"The quote has {words} words; five to sixty support an answer well.")
    require(
        normalize_quote(quote) in normalize_quote(texts[topic]),
        f"The quote does not stand in {topic!r} word for word; copy it from the topic's text.",
    )
    asked, said = _content_words(question), _content_words(quote)
    require(asked, "The question has no word that means anything by itself.")
    shared = len(asked & said) / len(asked)
    require(
        shared <= 0.6,
        f"{shared:.0%} of the question's words are copied from the quote (at most 60 %). Ask as "
        "someone would who has not read it.",
    )


def _content_words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold())) - STOP_WORDS
