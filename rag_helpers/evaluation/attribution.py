"""Say which step lost an answer: the retriever, the prompt or the reader.

The module knows nothing of how the steps work: it looks at what each one
handed on, which an `Answer` carries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal, TypeAlias, get_args

from rag_helpers.evaluation.evidence import Judge
from rag_helpers.evaluation.metrics import contains_answer
from rag_helpers.records import Answer, GoldQuestion

__all__ = ["Outcome", "attribute", "count_outcomes"]

Outcome: TypeAlias = Literal[
    "right",
    "reader missed",
    "prompt dropped it",
    "retrieval missed",
    "abstained",
    "answered anyway",
]


def attribute(question: GoldQuestion, answer: Answer, judge: Judge) -> Outcome:
    """Say how a question ended, and which step lost it.

    An answerable question is ``"right"`` when an accepted answer stands in
    what the system wrote (`contains_answer`), wherever it found it. Otherwise
    the first step that lost the evidence is named: no hit holds it
    (``"retrieval missed"``), a hit holds it but no passage of the prompt does
    (``"prompt dropped it"``), or it was there to be read
    (``"reader missed"``, also when the system read it and abstained).

    An unanswerable question ends as ``"abstained"`` or ``"answered anyway"``.

    Parameters
    ----------
    question : GoldQuestion
        With its accepted answers.
    answer : Answer
        What the system wrote, with its hits and its prompt.
    judge : Judge
        Knows the evidence of the question.

    Returns
    -------
    Outcome
        One of the six.

    Raises
    ------
    EvaluationError
        If a wrong answer's question has no resolved evidence.

    Examples
    --------
    >>> from rag_helpers.records import Chunk, Document, Hit, Prompt
    >>> sky = Document("The sky is blue on most days.", "sky")
    >>> question = GoldQuestion("q1", "What colour is the sky?", ("blue",), sky.text, "sky", "fact")
    >>> hit = Hit(Chunk(sky.text, "sky", 0, len(sky.text)), 0.9, 1)
    >>> def answer(text, *, hits, passages):
    ...     prompt = Prompt(question.question, "…", passages=passages)
    ...     return Answer(question.question, text, (), hits, prompt, 0.9, False, {}, "", "")
    >>> judge = Judge([sky], [question])
    >>> attribute(question, answer("It is blue.", hits=(), passages=()), judge)
    'right'
    >>> attribute(question, answer("green", hits=(), passages=()), judge)
    'retrieval missed'
    >>> attribute(question, answer("green", hits=(hit,), passages=("The sky",)), judge)
    'prompt dropped it'
    >>> attribute(question, answer("green", hits=(hit,), passages=(sky.text,)), judge)
    'reader missed'
    """
    if not question.answers:
        return "abstained" if answer.abstained else "answered anyway"
    if not answer.abstained and contains_answer(answer.text, question.answers):
        return "right"
    if any(judge.holds(question.id, passage) for passage in answer.prompt.passages):
        return "reader missed"
    if judge.first_right(question.id, answer.hits) is not None:
        return "prompt dropped it"
    return "retrieval missed"


def count_outcomes(outcomes: Iterable[Outcome]) -> dict[Outcome, int]:
    """Count outcomes, naming each of the six even when it never happened.

    Parameters
    ----------
    outcomes : iterable of Outcome
        One a question.

    Returns
    -------
    dict of Outcome to int
        In a fixed order.

    Examples
    --------
    >>> count_outcomes(["right", "right", "abstained"])["right"]
    2
    """
    counts = Counter(outcomes)
    return {outcome: counts[outcome] for outcome in get_args(Outcome)}
