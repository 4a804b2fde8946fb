"""The rating box: people judge answers without knowing who wrote them.

The module does not know what a good answer is, nor how ratings are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

import ipywidgets as ipw

from rag_helpers.errors import InvalidInputError, RagError
from rag_helpers.evaluation import (
    CRITERIA,
    BlindItem,
    Rating,
    append_rating,
    kappa_between,
    load_ratings,
    win_rates,
)
from rag_helpers.widgets.rendering import render_status

__all__ = ["RatingBox"]

_QUESTIONS = {
    "correct": "Is it right?",
    "grounded": "Does the passage say so?",
    "fluent": "Is it good English?",
}


class RatingBox(ipw.VBox):
    """Show the answers to one question at a time, and ask three things of each.

    Every click is saved at once; a rater who comes back goes on at the first
    question that is not finished.

    Parameters
    ----------
    items : sequence of BlindItem
        As `rag_helpers.evaluation.blind_items` makes them.
    questions : Mapping of str to str
        Text of each question, by its id.
    file : str or Path
        Where ratings are kept; several raters may share it.
    rater : str
        Who rates.
    passages : Mapping of str to str, optional
        What the answers should rest on, by the question's id.

    Raises
    ------
    InvalidInputError
        If there is nothing to rate, the rater has no name, or a question's text
        is missing.
    EvaluationError
        If `file` holds something else.
    """

    def __init__(
        self,
        items: Sequence[BlindItem],
        questions: Mapping[str, str],
        *,
        file: str | Path,
        rater: str,
        passages: Mapping[str, str] | None = None,
    ) -> None:
        if not items or not rater.strip():
            raise InvalidInputError(
                f"There are {len(items)} questions to rate, by {rater!r}; give at least one "
                "question, and a name."
            )
        missing = [item.question_id for item in items if item.question_id not in questions]
        if missing:
            raise InvalidInputError(
                f"The text of question {missing[0]!r} is missing; give every question's by its id."
            )
        self._items, self._questions = list(items), dict(questions)
        self._passages = dict(passages or {})
        self._file, self._rater = Path(file), rater
        self._scores: dict[tuple[str, str], dict[str, int]] = {}
        for rating in load_ratings(file):
            if rating.rater == rater:
                self._scores[rating.question_id, rating.system] = dict(rating.scores)
        self.status, self.heading, self.answers = ipw.HTML(), ipw.HTML(), ipw.VBox()
        self.back = ipw.Button(description="Back", tooltip="To the question before")
        self.next = ipw.Button(description="Next", tooltip="To the next question")
        self.back.on_click(lambda _: self.show(self.position - 1))
        self.next.on_click(lambda _: self.show(self.position + 1))
        super().__init__(
            [self.heading, self.answers, ipw.HBox([self.back, self.next]), self.status]
        )
        unfinished = [place for place in range(len(items)) if not self._is_finished(place)]
        self.show(unfinished[0] if unfinished else len(items) - 1)

    @property
    def finished(self) -> int:
        """How many questions this rater has finished."""
        return sum(map(self._is_finished, range(len(self._items))))

    def show(self, position: int) -> None:
        """Show the question at a position, from 0; beyond the ends nothing happens.

        Parameters
        ----------
        position : int
            Place among the items.
        """
        if not 0 <= position < len(self._items):
            return
        self.position = position
        item = self._items[position]
        self.back.disabled = position == 0
        self.next.disabled = position == len(self._items) - 1
        passage = self._passages.get(item.question_id, "")
        shown = f"<details><summary>Passage</summary>{escape(passage)}</details>" if passage else ""
        self.heading.value = (
            f"<p>Question {position + 1} of {len(self._items)}: "
            f"<b>{escape(self._questions[item.question_id])}</b></p>{shown}"
        )
        self.answers.children = [
            self._answer(item, place, chr(ord("A") + place)) for place in range(len(item.texts))
        ]
        self._tell("Nothing is saved yet." if not self._scores else "All clicks are saved.")

    def summary(self) -> str:
        """Return win rates, and how far this rater agrees with the others, as text.

        Returns
        -------
        str
            A line per pair of systems, and per other rater and criterion.
        """
        ratings = load_ratings(self._file)
        lines = [
            f"{rate.first} against {rate.second}: won {rate.wins}, tied {rate.ties}, lost "
            f"{rate.losses}; rate {rate.rate}"
            for rate in win_rates(ratings)
        ]
        rated: dict[tuple[str, str], set[tuple[str, str]]] = {}
        for rating in ratings:
            for criterion in rating.scores:
                item = (rating.question_id, rating.system)
                rated.setdefault((rating.rater, criterion), set()).add(item)
        for other in sorted({rating.rater for rating in ratings} - {self._rater}):
            for criterion in CRITERIA:
                both = [rated.get((rater, criterion), set()) for rater in (self._rater, other)]
                if both[0].isdisjoint(both[1]):
                    continue
                kappa = kappa_between(ratings, self._rater, other, criterion)
                value = "undefined: one label throughout" if kappa is None else f"{kappa:.2f}"
                lines.append(f"Cohen's kappa with {other}, {criterion}: {value}")
        return "\n".join(lines) or "Nothing is rated yet."

    def _is_finished(self, place: int) -> bool:
        item = self._items[place]
        return all(
            self._scores.get((item.question_id, system), {}).keys() >= set(CRITERIA)
            for system in item.systems
        )

    def _answer(self, item: BlindItem, place: int, letter: str) -> ipw.VBox:
        given = self._scores.get((item.question_id, item.systems[place]), {})
        buttons = []
        for criterion in CRITERIA:
            choice = ipw.ToggleButtons(
                options=[("yes", 1), ("no", 0)],
                value=given.get(criterion),
                description=_QUESTIONS[criterion],
                style={"description_width": "180px", "button_width": "60px"},
            )
            choice.observe(self._saver(item, item.systems[place], criterion), names="value")
            buttons.append(choice)
        text = f"<p>Answer {letter}: <b>{escape(item.texts[place])}</b></p>"
        return ipw.VBox([ipw.HTML(text), *buttons])

    def _saver(
        self, item: BlindItem, system: str, criterion: str
    ) -> Callable[[Mapping[str, int]], None]:
        def save(change: Mapping[str, int]) -> None:
            scores = {
                **self._scores.get((item.question_id, system), {}),
                criterion: change["new"],
            }
            try:
                append_rating(self._file, Rating(item.question_id, system, self._rater, scores))
            except RagError as error:
                self.status.value = render_status(str(error), failed=True)
                return
            self._scores[item.question_id, system] = scores
            self._tell("Saved.")

        return save

    def _tell(self, what: str) -> None:
        total = len(self._items)
        done = f"{what} {self._rater} has finished {self.finished} of {total} questions."
        self.status.value = render_status(done)
