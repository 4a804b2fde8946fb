"""The rating box and its file: nobody sees who wrote what, and no click is lost."""

import pytest

from rag_helpers.errors import EvaluationError, InvalidInputError
from rag_helpers.evaluation import Rating, append_rating, blind_items, load_ratings
from rag_helpers.widgets import RatingBox

ANSWERS = {
    "tuned": {"q1": "zero degrees", "q2": "<b>hot</b>"},
    "plain": {"q1": "Ice melts.", "q2": "Tea is hot."},
}
QUESTIONS = {"q1": "When does ice melt?", "q2": "How is tea?"}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "ratings" / "ours.jsonl"


def make_box(file, rater="Ada"):
    return RatingBox(
        blind_items(ANSWERS), QUESTIONS, file=file, rater=rater, passages={"q1": "<i>Ice</i>"}
    )


def choices(box):
    """The buttons of the question shown: a list of three per answer."""
    return [answer.children[1:] for answer in box.answers.children]


def rate_all(box, value):
    for position in range(2):
        box.show(position)
        for of_answer in choices(box):
            for choice in of_answer:
                choice.value = value


def text_of(box):
    shown = [box.heading.value, *(answer.children[0].value for answer in box.answers.children)]
    return " ".join(shown)


def test_the_systems_names_are_never_shown_and_texts_are_escaped(file):
    box = make_box(file)
    assert "tuned" not in text_of(box) and "plain" not in text_of(box)
    assert "When does ice melt?" in text_of(box) and "&lt;i&gt;Ice&lt;/i&gt;" in text_of(box)
    box.next.click()
    assert "How is tea?" in text_of(box) and "<b>hot</b>" not in text_of(box)
    assert "Answer A" in text_of(box) and "Answer B" in text_of(box)


def test_every_click_is_on_the_disk_at_once(file):
    box = make_box(file)
    choices(box)[0][0].value = 1
    (rating,) = load_ratings(file)
    assert (rating.question_id, rating.rater, rating.scores) == ("q1", "Ada", {"correct": 1})
    # Which of the two it is follows from the order that hides them.
    assert rating.system == blind_items(ANSWERS)[0].systems[0]
    choices(box)[0][2].value = 0
    assert load_ratings(file)[-1].scores == {"correct": 1, "fluent": 0}
    assert "Saved." in box.status.value


def test_a_rater_goes_on_at_the_first_unfinished_question(file):
    box = make_box(file)
    for of_answer in choices(box):
        for choice in of_answer:
            choice.value = 1
    again = make_box(file)
    assert (again.position, again.finished) == (1, 1)
    again.back.click()
    assert [choice.value for choice in choices(again)[0]] == [1, 1, 1]
    # Another rater begins at the beginning.
    assert make_box(file, "Bob").position == 0


def test_buttons_end_at_the_ends(file):
    box = make_box(file)
    assert box.back.disabled and not box.next.disabled
    box.show(-1)
    assert box.position == 0
    box.next.click()
    assert box.next.disabled and not box.back.disabled
    box.show(7)
    assert box.position == 1


def test_the_summary_counts_wins_and_agreement(file):
    box = make_box(file)
    assert box.summary() == "Nothing is rated yet."
    rate_all(box, 1)
    for question in QUESTIONS:
        append_rating(file, Rating(question, "plain", "Ada", {"correct": 0}))
        append_rating(file, Rating(question, "tuned", "Bob", {"correct": 1}))
        append_rating(file, Rating(question, "plain", "Bob", {"correct": 0}))
    # Tuned is above plain in both questions, for both raters, in whichever order they are named.
    summary = box.summary()
    assert "won 4, tied 0, lost 0" in summary or "won 0, tied 0, lost 4" in summary
    assert "Cohen's kappa with Bob, correct: 1.00" in summary


def test_a_full_disk_is_one_sentence_and_no_rating(file, monkeypatch):
    box = make_box(file)
    file.parent.write_text("a file where the folder should be")
    choices(box)[0][0].value = 1
    assert "was not saved" in box.status.value and "role='alert'" in box.status.value
    assert box.finished == 0


def test_a_line_cut_off_by_a_kill_is_passed_over_and_then_removed(file):
    append_rating(file, Rating("q1", "tuned", "Ada", {"correct": 1}))
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:20])
    assert len(load_ratings(file)) == 1
    append_rating(file, Rating("q2", "tuned", "Ada", {"correct": 0}))
    assert [rating.question_id for rating in load_ratings(file)] == ["q1", "q2"]


@pytest.mark.parametrize("line", ["{}", "[]", "no JSON", '{"question_id": 1}'])
def test_what_is_no_rating_is_refused_with_its_line(file, line):
    append_rating(file, Rating("q1", "tuned", "Ada", {"correct": 1}))
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(EvaluationError, match=r"line 2 of .*ours.jsonl is no rating"):
        make_box(file)


def test_nothing_to_rate_is_refused(file):
    with pytest.raises(InvalidInputError, match="0 questions"):
        RatingBox([], QUESTIONS, file=file, rater="Ada")
    with pytest.raises(InvalidInputError, match="name"):
        make_box(file, " ")
    with pytest.raises(InvalidInputError, match="text of question 'q1'"):
        RatingBox(blind_items(ANSWERS), {}, file=file, rater="Ada")
