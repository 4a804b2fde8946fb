"""Gold files are read whole or refused with line, field and cure."""

from __future__ import annotations

import json

import pytest

from rag_helpers.errors import EvaluationError
from rag_helpers.evaluation import Judge, gold_from_rows, load_gold, load_squad_gold
from rag_helpers.records import Document

GOOD = {
    "id": "q1",
    "question": "What does division by zero raise?",
    "answers": ["ZeroDivisionError", "ZeroDivisionError", "a ZeroDivisionError"],
    "evidence": "Division by zero … raises the ZeroDivisionError exception",
    "source": "binary",
    "kind": "error",
}
NONE = {
    "id": "q2",
    "question": "What is the walrus?",
    "answers": [],
    "evidence": None,
    "source": None,
    "kind": "unanswerable",
}


def _write(tmp_path, *lines):
    path = tmp_path / "gold.jsonl"
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(raw))
    return path


def test_good_lines_become_records_in_order(tmp_path):
    first, second = load_gold(_write(tmp_path, GOOD, b"  ", NONE, b""))
    # The answer that stands twice is kept once.
    assert first.answers == ("ZeroDivisionError", "a ZeroDivisionError")
    assert (first.id, first.kind, first.source) == ("q1", "error", "binary")
    assert (second.answers, second.evidence, second.source) == ((), None, None)


def test_a_byte_order_mark_carriage_returns_and_line_separators_are_no_trouble(tmp_path):
    row = json.dumps({**GOOD, "question": "a\u2028b"}, ensure_ascii=False).encode()
    path = tmp_path / "gold.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + row + b"\r\n" + json.dumps(NONE).encode() + b"\r\n")
    assert [question.question for question in load_gold(path)] == ["a\u2028b", NONE["question"]]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"{", r"line 2: not JSON"),
        (b'{"id": "\xff"}', r"line 2: not JSON in UTF-8"),
        (b"[" * 100_000, r"line 2: not JSON"),
        (b"[1]", r"line 2: \[1\] is not an object"),
        (b'{"id": "a", "id": "b"}', r"line 2: .*stands twice in one object"),
        ({**GOOD, "answer": "x"}, r"line 2, field 'answer': is not a field .* use id, question"),
        ({k: v for k, v in NONE.items() if k != "source"}, r"line 2, field 'source': is missing"),
        ({**GOOD, "id": 7}, r"line 2, field 'id': 7 is not a text"),
        ({**GOOD, "id": " "}, r"line 2, field 'id'"),
        ({**GOOD, "question": "half \ud800"}, r"line 2, field 'question': .*half a character"),
        ({**GOOD, "answers": "ZeroDivisionError"}, r"field 'answers': .* is not a list"),
        ({**GOOD, "answers": ["x", ""]}, r"line 2, field 'answers': '' is not a text"),
        ({**GOOD, "answers": []}, r"field 'answers': is empty; give an answer, or the kind"),
        ({**GOOD, "kind": "opinion"}, r"field 'kind': 'opinion' is unknown; give one of fact,"),
        ({**GOOD, "kind": ["fact"]}, r"field 'kind'"),
        ({**GOOD, "evidence": None}, r"field 'evidence': None is not a text"),
        ({**GOOD, "source": None}, r"field 'source': None is not a text"),
        ({**GOOD, "evidence": "a b c … d e"}, r"field 'evidence': .*at least 3 words"),
        ({**GOOD, "evidence": "a b c … d e f … g h i"}, r"field 'evidence': .*elide once"),
        ({**NONE, "answers": ["x"]}, r"field 'answers': .*unanswerable question; give \[\]"),
        ({**NONE, "evidence": "x"}, r"field 'evidence': .*unanswerable question; give null"),
        ({**NONE, "source": "x"}, r"field 'source': .*unanswerable question; give null"),
        ({**GOOD, "question": "Another?"}, r"line 2, field 'id': 'q1' stands in line 1 already"),
        ({**GOOD, "id": "q9"}, r"line 2, field 'question': .* stands in line 1 already"),
        (
            {**GOOD, "id": "q9", "question": "what does  Division by zero raise?"},
            r"line 2, field 'question'",
        ),
    ],
)
def test_a_bad_line_is_refused_by_number_field_and_cure(tmp_path, line, told):
    with pytest.raises(EvaluationError, match=told):
        load_gold(_write(tmp_path, GOOD, line))


def test_files_that_are_absent_folders_or_empty_are_refused(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(EvaluationError, match="cannot be read"):
            load_gold(path)
    with pytest.raises(EvaluationError, match="holds no question"):
        load_gold(_write(tmp_path, b"\n"))


def _squad(*qas, context="The  sky\nis blue.", title="Sky"):
    return {"data": [{"title": title, "paragraphs": [{"context": context, "qas": list(qas)}]}]}


QA = {"id": "1", "question": " Colour? ", "answers": [{"text": "blue", "answer_start": 12}]}


def _write_squad(tmp_path, data):
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_squad_paragraphs_are_the_evidence_and_are_counted_from_one(tmp_path):
    data = _squad(QA)
    data["data"][0]["paragraphs"].append(
        {"context": "Grass is green.", "qas": [{**QA, "id": "2", "answers": [{"text": "green"}]}]}
    )
    first, second = load_squad_gold(_write_squad(tmp_path, data))
    assert (first.source, second.source) == ("Sky#1", "Sky#2")
    assert (first.question, first.answers, first.kind) == ("Colour?", ("blue",), "fact")
    judge = Judge([Document("Grass is green.", "b"), Document("The sky is blue.", "a")], [first])
    assert judge.spans["1"].source == "a"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([], r"squad.json: \[\] is not an object"),
        ({"version": "1.1"}, r"squad.json, field 'data': None is not a list"),
        ({"data": [1]}, r"squad.json, data 1, field 'data': 1 is not an object"),
        (_squad(QA, title=None), r"data 1, field 'title'"),
        (_squad(QA, context=3), r"data 1, paragraphs 1, field 'context': 3"),
        (_squad(QA, {**QA, "id": "2", "answers": []}), r"qas 2, field 'answers': is empty"),
        (_squad({**QA, "answers": [{"text": "red"}]}), r"field 'text': 'red' does not stand"),
        (_squad(QA, QA), r"qas 2, field 'id': '1' stands twice"),
        ({"data": []}, r"squad.json: holds no question"),
    ],
)
def test_malformed_squad_is_refused_by_place_field_and_cure(tmp_path, data, told):
    with pytest.raises(EvaluationError, match=told):
        load_squad_gold(_write_squad(tmp_path, data))


ROW = {
    "id": "1",
    "question": "Colour?",
    "context": "The sky is blue.",
    "answers": {"text": ["blue"]},
}


def test_rows_of_a_data_set_become_questions_whose_paragraph_is_found_anywhere():
    [question] = gold_from_rows([ROW])
    assert (question.evidence, question.source) == ("The sky is blue.", None)
    assert Judge([Document("The sky is blue.", "any")], [question]).spans["1"].source == "any"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([ROW, ROW], r"row 2, field 'id': '1' stands twice"),
        ([{**ROW, "answers": None}], r"row 1, field 'answers': is empty"),
        ([{**ROW, "answers": {"text": ["red"]}}], r"row 1, field 'text': 'red' does not stand"),
        ([{"id": "1"}], r"row 1, field 'context': None"),
        ([], r"the data set: holds no question"),
    ],
)
def test_malformed_rows_are_refused_by_number_and_field(rows, told):
    with pytest.raises(EvaluationError, match=told):
        gold_from_rows(rows)
