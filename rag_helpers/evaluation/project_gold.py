"""The gold questions that come with the project, by split.

Train is for training, dev for choosing, test for the last look. How the
questions were made stands in ``rag_helpers/data/gold/README.md``.
"""

from __future__ import annotations

import json
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path

from rag_helpers.errors import EvaluationError
from rag_helpers.evaluation.gold import load_gold
from rag_helpers.records import GoldQuestion

__all__ = [
    "GOLD_FILE",
    "PRACTICE_FILE",
    "example_questions",
    "load_gold_split",
    "load_practice_questions",
]

_FOLDER = Path(str(files("rag_helpers") / "data" / "gold"))
GOLD_FILE = _FOLDER / "python_help_topics.jsonl"
PRACTICE_FILE = _FOLDER / "python_help_topics.practice.jsonl"
_SPLITS_FILE = _FOLDER / "python_help_topics.splits.json"


def load_gold_split(split: str) -> list[GoldQuestion]:
    """Return the project's questions over the Python help topics of one split.

    Parameters
    ----------
    split : {"train", "dev", "test"}
        About 50, 20 and 30 % of the questions. No evidence passage, nor a near
        duplicate of it, stands in two splits.

    Returns
    -------
    list of GoldQuestion
        In a fixed, mixed order, unanswerable ones among them.

    Raises
    ------
    EvaluationError
        If there is no such split.

    Examples
    --------
    >>> train, test = load_gold_split("train"), load_gold_split("test")
    >>> {q.id for q in train} & {q.id for q in test}
    set()
    """
    splits = json.loads(_SPLITS_FILE.read_text(encoding="utf-8"))
    if split not in splits:
        raise EvaluationError(f"there is no split {split!r}; choose one of {sorted(splits)}")
    by_id = {question.id: question for question in load_gold(GOLD_FILE)}
    return [by_id[name] for name in splits[split]]


def load_practice_questions() -> list[GoldQuestion]:
    """Return further questions over the Python help topics, for training alone.

    They were written after the splits were made, and without a look at dev and
    test questions: none asks about a passage that those ask about, nor about a
    near duplicate. Nothing is measured on them.

    Returns
    -------
    list of GoldQuestion
        All answerable.

    Examples
    --------
    >>> practice, test = load_practice_questions(), load_gold_split("test")
    >>> {q.id for q in practice} & {q.id for q in test}
    set()
    """
    return load_gold(PRACTICE_FILE)


def example_questions(count: int = 20) -> list[GoldQuestion]:
    """Return answerable train questions to try, the kinds taking turns.

    Parameters
    ----------
    count : int, default 20
        How many; fewer come back when there are fewer.

    Returns
    -------
    list of GoldQuestion
        Their evidence is checked to stand in the corpus.

    Examples
    --------
    >>> len(example_questions(6)), len({q.kind for q in example_questions(5)})
    (6, 5)
    """
    by_kind: dict[str, list[GoldQuestion]] = {}
    for question in load_gold_split("train"):
        if question.answers:
            by_kind.setdefault(question.kind, []).append(question)
    turns = zip_longest(*by_kind.values())
    return [question for turn in turns for question in turn if question is not None][:count]
