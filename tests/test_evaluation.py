"""Evaluations ask every question once, resume, report, and name the step that lost an answer."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rag_helpers.errors import EvaluationError
from rag_helpers.evaluation import (
    QuestionResult,
    ResultsFile,
    compare,
    evaluate,
    summarize,
)
from rag_helpers.records import Answer, Chunk, Citation, Document, GoldQuestion, Hit, Prompt

TEXTS = [f"Fact {n} says that thing number {n} is coloured shade{n} today." for n in range(12)]
DOCUMENTS = [Document(text, f"d{n}") for n, text in enumerate(TEXTS)]
CHUNKS = [Chunk(text, f"d{n}", 0, len(text)) for n, text in enumerate(TEXTS)]
GOLD = [
    GoldQuestion(f"q{n}", f"Colour of {n}", (f"shade{n}",), TEXTS[n], f"d{n}", "fact")
    for n in range(4)
]
NONE = GoldQuestion("u1", "Colour of 99", (), None, None, "unanswerable")
LOST = GoldQuestion("lost", "Lost?", ("x",), "words that stand nowhere", "d0", "fact")
# Place at which the search finds each question's fact; 12 is past the ten that count.
PLACE = {"Colour of 0": 1, "Colour of 1": 4, "Colour of 2": 10, "Colour of 3": 12}


def search(question, k):
    place = PLACE.get(question, 1)
    right = int(question.split()[-1]) % 12
    order = [n for n in range(12) if n != right]
    order.insert(place - 1, right)
    return [Hit(CHUNKS[n], 1 / rank, rank) for rank, n in enumerate(order[:k], start=1)]


def answer_with(texts, *, k=3, passages=None, confidence=0.8, abstained=()):
    def answer(question):
        hits = tuple(search(question, k))
        read = tuple(hit.chunk.text for hit in hits) if passages is None else passages
        return Answer(
            question=question,
            text=texts.get(question, "no idea"),
            citations=(Citation(hits[0], question + " no idea not in the corpus", 0, 1, 1.0),),
            hits=hits,
            prompt=Prompt(question, question, hits=hits, passages=read),
            confidence=0.1 if question in abstained else confidence,
            abstained=question in abstained,
            timings_ms={"generate": 10.0 * int(question.split()[-1]), "total": 12.0},
            retriever="fake",
            generator="fake",
        )

    return answer


def test_retrieval_alone_is_scored_to_ten_hits():
    report = evaluate(None, [*GOLD, NONE], DOCUMENTS, search=search).to_json()
    # Right at places 1, 4, 10 and never.
    wanted = {"recall@1": 1 / 4, "recall@3": 1 / 4, "recall@5": 2 / 4, "recall@10": 3 / 4}
    assert {name: report[name]["value"] for name in wanted} == pytest.approx(wanted)
    assert report["mrr@10"]["value"] == pytest.approx((1 + 1 / 4 + 1 / 10 + 0) / 4)
    assert report["recall@5"]["low"] < 0.5 < report["recall@5"]["high"]
    # The words of every text: "Fact n says that thing number n is coloured shade today."
    assert report["words_per_hit"] == 11
    assert (report["n"], report["n_answerable"], report["n_unanswerable"]) == (5, 4, 1)
    assert report["exact_match"] is report["abstention_auroc"] is None
    assert report["attribution"] == {}
    assert set(report["latency_ms"]) == {"search"}


@pytest.mark.seconds
def test_answers_are_scored_attributed_and_timed():
    answer = answer_with(
        {"Colour of 0": "Shade0.", "Colour of 1": "a shade9"}, abstained={"Colour of 99"}
    )
    report = evaluate(
        answer, [*GOLD, NONE], DOCUMENTS, search=search, versions={"numpy": "2"}, settings={"k": 3}
    )
    row = json.loads(json.dumps(report.to_json()))
    assert row["exact_match"]["value"] == row["f1"]["value"] == 1 / 4
    assert row["contains_answer"]["value"] == row["answer_in_context"]["value"] == 1 / 4
    # The abstaining answer has confidence 0.1, all others 0.8: perfectly apart.
    assert row["abstention_auroc"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert row["attribution"] == {
        "right": 1,
        "reader missed": 0,
        "prompt dropped it": 0,
        "retrieval missed": 3,  # places 4, 10 and 12, and the pipeline reads 3
        "abstained": 1,
        "answered anyway": 0,
    }
    # 0, 10, 20, 30 and 990 ms; the 95th percentile lies four fifths of the way to the last.
    assert row["latency_ms"]["generate"] == pytest.approx({"p50": 20.0, "p95": 30 + 0.8 * 960})
    assert row["latency_ms"]["total"] == {"p50": 12.0, "p95": 12.0}
    assert (row["versions"], row["settings"]) == ({"numpy": "2"}, {"k": 3})
    text = str(report)
    assert "4 answerable and 1 unanswerable" in text
    assert "recall@5               0.500" in text
    # Sure of all four answerable ones and right on one; withheld the unanswerable.
    assert report.risk_coverage().coverage == (0.8, 1.0)
    assert report.risk_coverage().risk == (3 / 4, 4 / 5)


def test_bleu_and_rouge_stand_in_the_report():
    report = evaluate(answer_with({"Colour of 0": "shade0"}), GOLD, DOCUMENTS)
    # One answer of four is perfect; the others share no word with theirs.
    assert report.metrics["rougeL"].value == report.metrics["bleu"].value == 1 / 4
    assert report.metrics["recall@1"] is None  # nobody searched


@pytest.mark.parametrize(
    ("place", "passages", "text", "abstained", "outcome"),
    [
        (0, None, "it is shade0", False, "right"),
        (3, None, "it is shade3", False, "right"),  # wherever it knew it from
        (3, None, "grey", False, "retrieval missed"),
        (0, ("Another text",), "grey", False, "prompt dropped it"),
        (0, (TEXTS[0][:20],), "grey", False, "prompt dropped it"),  # shortened too much
        (0, None, "grey", False, "reader missed"),
        (0, None, "not in the corpus: shade0", True, "reader missed"),
        (3, None, "not in the corpus", True, "retrieval missed"),
        (None, None, "anything", False, "answered anyway"),
        (None, None, "not in the corpus", True, "abstained"),
    ],
)
def test_each_outcome_names_the_step(place, passages, text, abstained, outcome):
    question = NONE if place is None else GOLD[place]
    answer = answer_with(
        {question.question: text},
        passages=passages,
        abstained={question.question} if abstained else (),
    )
    [result] = evaluate(answer, [question], DOCUMENTS).results
    assert result.outcome == outcome


def test_an_answer_withheld_counts_as_empty():
    answer = answer_with({"Colour of 0": "not in the corpus: shade0"}, abstained={"Colour of 0"})
    [result] = evaluate(answer, GOLD[:1], DOCUMENTS).results
    assert set(result.scores.values()) == {0.0, 1.0}
    # Only the context still holds the answer.
    assert [name for name, value in result.scores.items() if value] == ["answer_in_context"]


class Batches:
    def __init__(self, answer):
        self.answer, self.sizes = answer, []

    def answer_many(self, questions):
        self.sizes.append(len(questions))
        return [self.answer(question) for question in questions]


def test_pipelines_are_asked_in_batches_and_give_the_same_report():
    one_by_one = answer_with({"Colour of 0": "shade0"})
    batches = Batches(one_by_one)
    report = evaluate(batches, [*GOLD, NONE], DOCUMENTS, batch_size=2)
    assert batches.sizes == [2, 2, 1]
    assert report.to_json() == evaluate(one_by_one, [*GOLD, NONE], DOCUMENTS).to_json()


def test_a_batch_with_answers_missing_is_refused():
    class Lossy(Batches):
        def answer_many(self, questions):
            return super().answer_many(questions)[1:]

    with pytest.raises(EvaluationError, match="4 questions came back with 3 answers"):
        evaluate(Lossy(answer_with({})), GOLD, DOCUMENTS)


def test_questions_whose_evidence_is_not_in_the_corpus_are_left_out_and_listed():
    report = evaluate(None, [GOLD[0], LOST], DOCUMENTS, search=search)
    assert (report.n, report.unresolved) == (1, ("lost",))
    assert "1 left out" in str(report)
    with pytest.raises(EvaluationError, match="none of 1 answerable questions stands in the 12"):
        evaluate(None, [LOST, NONE], DOCUMENTS, search=search)


@pytest.mark.parametrize(
    ("gold", "options", "told"),
    [
        (GOLD, {}, "neither an answer nor a search"),
        ([], {"search": search}, "0 gold questions"),
        ([GOLD[0], GOLD[0]], {"search": search}, "share an id"),
        (GOLD, {"search": search, "batch_size": 0}, "batch size is 0"),
        (GOLD, {"search": search, "settings": {"k": [1]}}, r"setting 'k' is \[1\]"),
        (GOLD, {"search": search, "settings": {"x": float("nan")}}, "setting 'x' is nan"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_a_cure(gold, options, told):
    with pytest.raises(EvaluationError, match=told):
        evaluate(None, gold, DOCUMENTS, **options)


class Counting:
    """Answers, and stops like a kill when it has answered `limit` questions."""

    def __init__(self, limit=None):
        self.asked, self.limit = [], limit

    def __call__(self, question):
        if len(self.asked) == self.limit:
            raise KeyboardInterrupt
        self.asked.append(question)
        return answer_with({"Colour of 0": "shade0", "Colour of 2": "shade2"})(question)


def test_a_stopped_evaluation_goes_on_where_it_was(tmp_path):
    path = tmp_path / "results.jsonl"
    options = {"settings": {"k": 3}, "results_path": path}
    stopped, resumed, seen = Counting(limit=2), Counting(), []
    with pytest.raises(KeyboardInterrupt):
        evaluate(stopped, GOLD, DOCUMENTS, **options)
    report = evaluate(
        resumed, GOLD, DOCUMENTS, progress=lambda done, total: seen.append((done, total)), **options
    )
    assert stopped.asked + resumed.asked == [question.question for question in GOLD]
    assert seen == [(2, 4), (3, 4), (4, 4)]
    whole = evaluate(Counting(), GOLD, DOCUMENTS, settings={"k": 3})
    assert report.to_json() == whole.to_json()
    assert report.results == whole.results


def test_every_cut_of_the_file_resumes_to_the_same_results(tmp_path):
    path = tmp_path / "results.jsonl"
    options = {"settings": {"k": 3}, "results_path": path}
    whole = evaluate(Counting(), GOLD, DOCUMENTS, **options)
    raw = path.read_bytes()
    for length in range(0, len(raw), 29):
        path.write_bytes(raw[:length])
        again = evaluate(Counting(), GOLD, DOCUMENTS, **options)
        assert again.results == whole.results, length
        assert path.read_bytes() == raw, length


def test_a_half_line_longer_than_what_follows_leaves_nothing_behind(tmp_path):
    path = tmp_path / "results.jsonl"
    evaluate(Counting(), GOLD, DOCUMENTS, results_path=path)
    raw = path.read_bytes()
    path.write_bytes(raw[: raw.rfind(b"\n", 0, -1) + 1] + b'{"id": "q3", "text": "' + b"x" * 9999)
    evaluate(Counting(), GOLD, DOCUMENTS, results_path=path)
    assert path.read_bytes() == raw


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"settings": {"k": 5}}, r"k was 3 and is now 5.*give another results file"),
        ({"settings": {}}, "k was 3 and is now None"),
        ({"settings": {"k": 3, "new": None}}, "new was None and is now None"),
        ({"gold": GOLD[:3]}, "sha256 of the questions was"),
        ({"gold": [replace(GOLD[0], answers=("y",)), *GOLD[1:]]}, "sha256 of the questions"),
        ({"documents": DOCUMENTS[:-1]}, "sha256 of the documents was"),
        ({"search": search}, "measures retrieval was False and is now True"),
    ],
)
def test_results_of_other_settings_are_refused_and_kept(tmp_path, change, told):
    path = tmp_path / "results.jsonl"
    given = {"gold": GOLD, "documents": DOCUMENTS, "settings": {"k": 3}, "results_path": path}
    evaluate(Counting(), **given)
    raw = path.read_bytes()
    with pytest.raises(EvaluationError, match=told):
        evaluate(Counting(), **{**given, **change})
    assert path.read_bytes() == raw


@pytest.mark.parametrize("content", [b"precious notes\n", b"precious", b'{"id": "q1"}\n'])
def test_a_file_that_is_something_else_is_never_overwritten(tmp_path, content):
    path = tmp_path / "results.jsonl"
    path.write_bytes(content)
    with pytest.raises(EvaluationError, match="holds no results of this package"):
        ResultsFile(path, {})
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b'{"id": "q"}', b'{"id": 1, "answerable": true}', b'{"surprise": 1}', b""]
)
def test_damage_before_the_last_line_is_named_by_line(tmp_path, line):
    path = tmp_path / "results.jsonl"
    with ResultsFile(path, {"k": 1}) as results:
        results.append(QuestionResult("q1", True))
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(EvaluationError, match=r"line 3: is damaged .* delete that line"):
        ResultsFile(path, {"k": 1})


def test_a_header_without_settings_is_damage(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_bytes(b'{"format": "rag-helpers results 1", "settings": 3}\n')
    with pytest.raises(EvaluationError, match="line 1: is damaged"):
        ResultsFile(path, {})


def test_results_need_a_folder_and_finite_numbers(tmp_path):
    for path in (tmp_path / "none" / "r.jsonl", tmp_path):
        with pytest.raises(EvaluationError, match="results cannot be kept there"):
            ResultsFile(path, {})
    with ResultsFile(tmp_path / "r.jsonl", {}) as results:
        with pytest.raises(EvaluationError, match="'q1' cannot be kept"):
            results.append(QuestionResult("q1", True, {"f1": float("nan")}))
        assert results.done == {}


def test_half_characters_from_a_model_can_be_kept(tmp_path):
    with ResultsFile(tmp_path / "r.jsonl", {}) as results:
        results.append(QuestionResult("q1", True, text="half \ud800 \u2028"))
    with ResultsFile(tmp_path / "r.jsonl", {}) as results:
        assert results.done["q1"].text == "half \ud800 \u2028"


def test_two_reports_are_compared_on_the_questions_they_share():
    first = evaluate(
        answer_with({f"Colour of {n}": f"shade{n}" for n in range(4)}), GOLD, DOCUMENTS
    )
    second = evaluate(answer_with({"Colour of 1": "shade1"}), GOLD[:3], DOCUMENTS)
    test = compare(first, second, "exact_match")
    # Shared are 0, 1 and 2: all right against one right.
    assert (test.n, test.difference.value) == (3, pytest.approx(2 / 3))
    with pytest.raises(EvaluationError, match="share no question with the metric 'recall@1'"):
        compare(first, second, "recall@1")


def test_a_report_needs_a_result():
    with pytest.raises(EvaluationError, match="0 results"):
        summarize([])
