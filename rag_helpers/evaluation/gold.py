"""Read gold questions: this project's JSON lines and SQuAD 1.1.

Either every question of a file is good or none is returned: the error names
the line, the field and the cure. The module knows nothing of corpora: whether
a quote stands in one is for `rag_helpers.evaluation.evidence` to say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, get_args

from rag_helpers.errors import EvaluationError
from rag_helpers.evaluation.evidence import (
    ELISION,
    MIN_WORDS_BESIDE_ELISION,
    normalize_quote,
    split_elision,
)
from rag_helpers.records import GoldQuestion, QuestionKind

__all__ = ["gold_from_rows", "load_gold", "load_squad_gold"]

_KINDS = get_args(QuestionKind)
_FIELDS = ("id", "question", "answers", "evidence", "source", "kind")
_UNANSWERABLE = "unanswerable"


def load_gold(path: str | Path) -> list[GoldQuestion]:
    """Read gold questions from a file with one JSON object a line.

    Each object has exactly the fields ``id``, ``question``, ``answers``,
    ``evidence``, ``source`` and ``kind``. The evidence may be elided once, as
    ``"opening words … closing words"`` with at least three words on each side.
    Unanswerable questions have ``answers: []``, ``evidence: null``,
    ``source: null`` and the kind ``"unanswerable"``. Blank lines are skipped.

    Parameters
    ----------
    path : str or Path
        A UTF-8 file.

    Returns
    -------
    list of GoldQuestion
        The questions in the order of the file.

    Raises
    ------
    EvaluationError
        If the file cannot be read, a line is malformed, an id or a question
        stands twice, or there is no question at all.

    Examples
    --------
    >>> import json, tempfile
    >>> row = {"id": "q1", "question": "Which error?", "answers": ["ZeroDivisionError"],
    ...        "evidence": "a ZeroDivisionError is raised", "source": "numbers", "kind": "error"}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "gold.jsonl"
    ...     _ = path.write_text(json.dumps(row), encoding="utf-8")
    ...     load_gold(path)[0].answers
    ('ZeroDivisionError',)
    """
    path = Path(path)
    questions: list[GoldQuestion] = []
    seen: dict[tuple[str, str], int] = {}
    for number, line in enumerate(_read(path).split(b"\n"), start=1):
        if not line.strip():
            continue
        question = _gold_question(_Place(f"{path.name}, line {number}"), line)
        for field, value in (("id", question.id), ("question", _folded(question.question))):
            first = seen.setdefault((field, value), number)
            if first != number:
                _Place(f"{path.name}, line {number}").refuse(
                    field, f"{value!r} stands in line {first} already", "remove one of the two"
                )
        questions.append(question)
    return _not_empty(questions, path)


def load_squad_gold(path: str | Path) -> list[GoldQuestion]:
    """Read gold questions from a file in the format of SQuAD 1.1.

    The evidence of a question is its whole paragraph, and its source is
    ``"Title#n"``, where n counts the article's paragraphs from 1. So a hit is
    right when it holds the paragraph, and whole paragraphs are the chunks to
    search. The format is that of Rajpurkar et al., "SQuAD: 100,000+ Questions
    for Machine Comprehension of Text", 2016; XQuAD shares it.

    Parameters
    ----------
    path : str or Path
        A UTF-8 JSON file.

    Returns
    -------
    list of GoldQuestion
        The questions in the order of the file, all of kind ``"fact"``.

    Raises
    ------
    EvaluationError
        If the file cannot be read, is not of that format, an id stands twice,
        an answer does not stand in its paragraph, or there is no question.

    Examples
    --------
    >>> import json, tempfile
    >>> squad = {"data": [{"title": "Sky", "paragraphs": [{"context": "The sky is blue.", "qas": [
    ...     {"id": "1", "question": "What colour?", "answers": [{"text": "blue"}]}]}]}]}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "squad.json"
    ...     _ = path.write_text(json.dumps(squad), encoding="utf-8")
    ...     load_squad_gold(path)[0].source
    'Sky#1'
    """
    path = Path(path)
    root = _parse(_Place(path.name), _read(path))
    questions: list[GoldQuestion] = []
    seen: set[str] = set()
    for place, question in _squad_questions(_Place(path.name), root):
        if question.id in seen:
            place.refuse("id", f"{question.id!r} stands twice", "give each question its own id")
        seen.add(question.id)
        questions.append(question)
    return _not_empty(questions, path)


def gold_from_rows(rows: Iterable[Mapping[str, Any]]) -> list[GoldQuestion]:
    """Take gold questions from a data set with SQuAD's columns.

    Such are ``squad`` and ``xquad`` as the `datasets` library gives them. As
    in `load_squad_gold` the whole paragraph is the evidence; no source is
    named, so a `Judge` finds it wherever it stands.

    Parameters
    ----------
    rows : iterable of Mapping
        With ``id``, ``question``, ``context`` and ``answers``, which holds a
        list under ``text``.

    Returns
    -------
    list of GoldQuestion
        One a row, all of kind ``"fact"``.

    Raises
    ------
    EvaluationError
        If a column is missing or malformed, an id stands twice, an answer does
        not stand in its paragraph, or there is no row.

    Examples
    --------
    >>> row = {"id": "1", "question": "What colour?", "context": "The sky is blue.",
    ...        "answers": {"text": ["blue"], "answer_start": [11]}}
    >>> gold_from_rows([row])[0].evidence
    'The sky is blue.'
    """
    questions: dict[str, GoldQuestion] = {}
    for number, mapping in enumerate(rows, start=1):
        place, row = _Place(f"row {number}"), dict(mapping)
        held = row.get("answers")
        answers = held.get("text") if isinstance(held, dict) else None
        paired = {**row, "answers": [{"text": text} for text in answers or ()]}
        question = _squad_question(place, paired, place.text(row, "context"), None)
        if question.id in questions:
            place.refuse("id", f"{question.id!r} stands twice", "give each question its own id")
        questions[question.id] = question
    return _not_empty(list(questions.values()), Path("the data set"))


class _Place:
    """A place in a file, which errors name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def refuse(self, field: str, wrong: str, cure: str) -> NoReturn:
        raise EvaluationError(f"{self.name}, field {field!r}: {wrong}; {cure}")

    def inside(self, name: str) -> _Place:
        return _Place(f"{self.name}, {name}")

    def text(self, row: dict[str, Any], field: str) -> str:
        """Return a field that must be a string with something in it."""
        return self._text(field, row.get(field))

    def texts(self, field: str, values: list[Any]) -> tuple[str, ...]:
        """Return distinct strings, in order, of a list that must hold nothing else."""
        return tuple(dict.fromkeys(self._text(field, value) for value in values))

    def rows(self, row: dict[str, Any], field: str) -> Iterator[tuple[_Place, dict[str, Any]]]:
        """Yield the objects of a field that must be a list of objects."""
        for number, item in enumerate(self.items(row, field), start=1):
            place = self.inside(f"{field} {number}")
            if not isinstance(item, dict):
                place.refuse(field, f"{_short(item)} is not an object", "give {…} objects")
            yield place, item

    def items(self, row: dict[str, Any], field: str) -> list[Any]:
        """Return a field that must be a list."""
        value = row.get(field)
        if not isinstance(value, list):
            self.refuse(field, f"{_short(value)} is not a list", "give a list in square brackets")
        return value

    def _text(self, field: str, value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            self.refuse(field, f"{_short(value)} is not a text with a word in it", "give a string")
        if any("\ud800" <= character <= "\udfff" for character in value):
            self.refuse(field, f"{_short(value)} holds half a character", "write it as UTF-8")
        return value


def _gold_question(place: _Place, line: bytes) -> GoldQuestion:
    row = _parse(place, line)
    for field in row:
        if field not in _FIELDS:
            place.refuse(field, "is not a field of a gold question", f"use {', '.join(_FIELDS)}")
    for field in _FIELDS:
        if field not in row:
            place.refuse(field, "is missing", "add it (null where there is no evidence or source)")
    kind = row["kind"]
    if kind not in _KINDS:
        place.refuse("kind", f"{_short(kind)} is unknown", f"give one of {', '.join(_KINDS)}")
    answers = place.texts("answers", place.items(row, "answers"))
    if kind == _UNANSWERABLE:
        _check_unanswerable(place, row)
    elif not answers:
        place.refuse("answers", "is empty", f"give an answer, or the kind {_UNANSWERABLE!r}")
    return GoldQuestion(
        id=place.text(row, "id"),
        question=place.text(row, "question"),
        answers=answers,
        evidence=None if kind == _UNANSWERABLE else _evidence(place, row),
        source=None if kind == _UNANSWERABLE else place.text(row, "source"),
        kind=kind,
    )


def _check_unanswerable(place: _Place, row: dict[str, Any]) -> None:
    for field, wanted in (("answers", []), ("evidence", None), ("source", None)):
        if row[field] != wanted:
            place.refuse(
                field,
                f"{_short(row[field])} does not fit an unanswerable question",
                f"give {json.dumps(wanted)}, or another kind",
            )


def _evidence(place: _Place, row: dict[str, Any]) -> str:
    evidence = place.text(row, "evidence")
    if ELISION in evidence and split_elision(evidence) is None:
        place.refuse(
            "evidence",
            f"{_short(evidence)} is not elided as agreed",
            f"elide once, with at least {MIN_WORDS_BESIDE_ELISION} words on each side of {ELISION}",
        )
    return evidence


def _squad_questions(file: _Place, root: dict[str, Any]) -> Iterator[tuple[_Place, GoldQuestion]]:
    for article_place, article in file.rows(root, "data"):
        title = article_place.text(article, "title")
        paragraphs = article_place.rows(article, "paragraphs")
        for number, (paragraph_place, paragraph) in enumerate(paragraphs, start=1):
            context = paragraph_place.text(paragraph, "context")
            for place, row in paragraph_place.rows(paragraph, "qas"):
                yield place, _squad_question(place, row, context, f"{title}#{number}")


def _squad_question(
    place: _Place, row: dict[str, Any], context: str, source: str | None
) -> GoldQuestion:
    return GoldQuestion(
        id=place.text(row, "id"),
        question=place.text(row, "question").strip(),
        answers=_squad_answers(place, row, context),
        evidence=context,
        source=source,
        kind="fact",
    )


def _squad_answers(place: _Place, row: dict[str, Any], context: str) -> tuple[str, ...]:
    rows = list(place.rows(row, "answers"))
    if not rows:
        place.refuse("answers", "is empty", "give SQuAD 1.1, where each question has an answer")
    answers = place.texts("text", [answer.get("text") for _, answer in rows])
    for answer in answers:
        if normalize_quote(answer) not in normalize_quote(context):
            place.refuse(
                "text", f"{_short(answer)} does not stand in the paragraph", "correct the answer"
            )
    return answers


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise EvaluationError(
            f"{path}: cannot be read ({error.strerror or error}); give the path of a file"
        ) from error


def _parse(place: _Place, raw: bytes) -> dict[str, Any]:
    try:
        row = json.loads(raw.decode("utf-8"), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise EvaluationError(
            f"{place.name}: not JSON in UTF-8 ({error}); "
            "write one JSON object, without trailing commas"
        ) from error
    if not isinstance(row, dict):
        raise EvaluationError(f"{place.name}: {_short(row)} is not an object; write {{…}}")
    return row


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a field stands twice in one object")
    return row


def _not_empty(questions: list[GoldQuestion], path: Path) -> list[GoldQuestion]:
    if not questions:
        raise EvaluationError(f"{path.name}: holds no question; give a file with at least one")
    return questions


def _folded(question: str) -> str:
    return " ".join(question.casefold().split())


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
