"""Choices: one right option each, an explanation for every one, and facts that hold."""

import re

import pytest

from rag_helpers.errors import InvalidInputError
from rag_helpers.evaluation import bootstrap_interval
from rag_helpers.notebook_builder import NOTEBOOKS
from rag_helpers.notebook_sources import list_sources
from rag_helpers.widgets import Choice, ChoiceBox, Option, build_choice_box, load_choices

HOSTILE = "<img src=x onerror=alert(1)>"
LESSONS = [name for name in list_sources(NOTEBOOKS) if re.match(r"0[1-8]_", name)]
TEA = Choice(
    "What is tea?", (Option("A tool", False, "You drink it."), Option("A drink", True, "It is."))
)


@pytest.fixture(autouse=True)
def no_callback_fails(caplog):
    yield
    assert "Exception in callback" not in caplog.text


@pytest.mark.parametrize("name", LESSONS)
def test_every_notebook_has_choices_and_shows_them(name):
    choices = load_choices(name)
    assert len(choices) >= 2
    for choice in choices:
        assert choice.question.strip().endswith("?")
        assert 2 <= len(choice.options) <= 4
        assert sum(option.right for option in choice.options) == 1
        assert len({option.text for option in choice.options}) == len(choice.options)
        # Radio buttons do not break lines; this is what fits at 800 pixels.
        assert max(len(option.text) for option in choice.options) <= 60
        assert all(option.why.endswith(".") and len(option.why) > 30 for option in choice.options)
    source = (NOTEBOOKS / "source" / f"{name}.py").read_text(encoding="utf-8")
    assert f'build_choice_box("{name}")' in source
    # The appendix has no exercises.
    assert (f"exercises/{name}_exercises.ipynb" in source) == (name != "08_scaling")
    assert "**Think about it.**" in source


def test_the_right_option_is_not_always_at_the_same_place():
    places = [
        [option.right for option in choice.options].index(True)
        for name in LESSONS
        for choice in load_choices(name)
    ]
    assert {places.count(place) >= len(places) // 6 for place in range(3)} == {True}


def test_numbers_in_the_explanations_are_true():
    said = " ".join(
        option.why for name in LESSONS for c in load_choices(name) for option in c.options
    )
    assert str(bootstrap_interval([1.0] * 9 + [0.0])) == "0.900 [0.700, 1.000]"
    assert "nine of ten has a 95 % bootstrap interval from 0.7 to 1.0" in said
    assert (round(1 / 61, 3), round(2 / 70, 3)) == (0.016, 0.029)
    assert "1/61, about 0.016" in said and "2/70, about 0.029" in said
    # Windows of 120 words that begin every 20 and hold a sentence of 5 or of 30 words whole.
    for words, held in ((5, {5, 6}), (30, {4, 5})):
        counts = {
            sum(at <= place and place + words <= at + 120 for at in range(0, 2000, 20))
            for place in range(500, 600)
        }
        assert counts == held


def test_choosing_and_checking_explains_right_and_wrong():
    box = ChoiceBox([TEA, TEA])
    radio, button, explanation = box.radios[1], box.buttons[1], box.explanations[1]
    button.click()
    assert "Nothing is chosen yet" in explanation.value
    radio.index = 0
    assert "Nothing is chosen" not in explanation.value
    button.click()
    assert "Not quite. You drink it." in explanation.value
    assert "role='status'" in explanation.value and "role='alert'" not in explanation.value
    radio.index = 1
    assert "You drink it." not in explanation.value
    button.click()
    assert "Right. It is." in explanation.value
    assert "Right" not in box.explanations[0].value


def test_texts_are_escaped():
    hostile = Choice(HOSTILE, (Option(HOSTILE, True, HOSTILE), Option("b", False, "")))
    box = ChoiceBox([hostile])
    box.radios[0].index = 0
    box.buttons[0].click()
    question = box.children[0].children[0].value
    assert "<img" not in question + box.explanations[0].value
    assert "&lt;img" in question and "&lt;img" in box.explanations[0].value


def test_choices_without_a_single_right_option_are_refused():
    with pytest.raises(InvalidInputError, match="0 questions"):
        ChoiceBox([])
    for right in (False, True):
        options = (Option("a", right, ""), Option("b", right, ""))
        with pytest.raises(InvalidInputError, match=f"has {2 * right} right options"):
            ChoiceBox([Choice("What?", options)])
    with pytest.raises(InvalidInputError, match="no questions for '99_none'"):
        build_choice_box("99_none")
