"""Small choices with an explanation for every option: what the notebooks ask to think about.

The questions are data, in ``rag_helpers/data/choices.json``. Nothing that is
chosen is recorded. The module does not know what a notebook teaches.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

import ipywidgets as ipw

from rag_helpers.errors import InvalidInputError
from rag_helpers.widgets.rendering import render_status

__all__ = ["Choice", "ChoiceBox", "Option", "build_choice_box", "load_choices"]


@dataclass(frozen=True)
class Option:
    """One option.

    Parameters
    ----------
    text : str
        A few words.
    right : bool
        Whether it is the right one.
    why : str
        What is right or wrong about it.
    """

    text: str
    right: bool
    why: str


@dataclass(frozen=True)
class Choice:
    """A question with options, of which one is right.

    Parameters
    ----------
    question : str
        The question.
    options : tuple of Option
        In the order in which they are shown.
    """

    question: str
    options: tuple[Option, ...]


class ChoiceBox(ipw.VBox):
    """Show questions one below the other; a button checks each and says why.

    Parameters
    ----------
    choices : sequence of Choice
        The questions.

    Raises
    ------
    InvalidInputError
        If there is no question, or one has no single right option.

    Examples
    --------
    >>> tea = Choice("What is tea?", (Option("A drink", True, "Yes."), Option("A tool", False, "")))
    >>> box = ChoiceBox([tea])
    >>> box.radios[0].index = 0
    >>> box.buttons[0].click()
    >>> "Right. Yes." in box.explanations[0].value
    True
    """

    def __init__(self, choices: Sequence[Choice]) -> None:
        if not choices:
            raise InvalidInputError("There are 0 questions to choose an answer to; give one.")
        for choice in choices:
            right = sum(option.right for option in choice.options)
            if right != 1:
                raise InvalidInputError(
                    f"The question {choice.question[:60]!r} has {right} right options; "
                    "give it exactly 1."
                )
        self._choices = list(choices)
        self.radios: list[ipw.RadioButtons] = []
        self.buttons: list[ipw.Button] = []
        self.explanations: list[ipw.HTML] = []
        super().__init__([self._row(place) for place in range(len(choices))])

    def _row(self, place: int) -> ipw.VBox:
        choice = self._choices[place]
        several = len(self._choices) > 1
        number = f"{place + 1}. " if several else ""
        question = ipw.HTML(
            "<p style='line-height:1.4;margin:8px 0 0'>"
            f"<b>{number}{escape(choice.question)}</b></p>"
        )
        radio = ipw.RadioButtons(
            options=[(option.text, n) for n, option in enumerate(choice.options)],
            value=None,
            layout={"width": "98%"},
        )
        button = ipw.Button(
            # Told apart by a screen reader, which reads buttons without what stands above them.
            description=f"Check {place + 1}" if several else "Check",
            tooltip="Say whether this is right, and why",
        )
        explanation = ipw.HTML(render_status(""))
        button.on_click(lambda _: self.check(place))
        # An explanation beside another choice misleads.
        radio.observe(lambda _: self._clear(place), names="value")
        self.radios.append(radio)
        self.buttons.append(button)
        self.explanations.append(explanation)
        return ipw.VBox([question, radio, button, explanation])

    def check(self, place: int) -> None:
        """Explain what is chosen.

        Parameters
        ----------
        place : int
            Which question, from 0.
        """
        chosen = self.radios[place].value
        if chosen is None:
            said = "Nothing is chosen yet; choose one."
        else:
            option = self._choices[place].options[chosen]
            said = f"{'Right.' if option.right else 'Not quite.'} {option.why}"
        self.explanations[place].value = render_status(said)

    def _clear(self, place: int) -> None:
        self.explanations[place].value = render_status("")


def load_choices(notebook: str) -> list[Choice]:
    """Return the questions of a notebook.

    Parameters
    ----------
    notebook : str
        Its stem, such as ``"02_chunking"``.

    Returns
    -------
    list of Choice

    Raises
    ------
    InvalidInputError
        If there are none for it.

    Examples
    --------
    >>> len(load_choices("02_chunking")[0].options)
    3
    """
    text = files("rag_helpers").joinpath("data/choices.json").read_text(encoding="utf-8")
    every = json.loads(text)
    if notebook not in every:
        raise InvalidInputError(
            f"There are no questions for {notebook!r}; there are some for {', '.join(every)}."
        )
    return [
        Choice(row["question"], tuple(Option(**option) for option in row["options"]))
        for row in every[notebook]
    ]


def build_choice_box(notebook: str) -> ChoiceBox:
    """Return a notebook's questions as a widget.

    Parameters
    ----------
    notebook : str
        Its stem.

    Returns
    -------
    ChoiceBox

    Raises
    ------
    InvalidInputError
        If there are none for it.
    """
    return ChoiceBox(load_choices(notebook))
