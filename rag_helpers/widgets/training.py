"""A chart that grows while something trains: loss on the left scale, score on the right.

The module does not know what is trained; it is told of steps.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import Protocol

import ipywidgets as ipw

from rag_helpers.widgets.rendering import render_status

__all__ = ["TrainingChart", "render_training"]

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 560, 230, 56, 56, 14, 40
_PAUSE_S = 0.3  # a browser need not draw more often
_LOSS, _SCORE = "#3b82c4", "#d9730d"  # told apart on light and dark, and by shape as well

Points = Sequence[tuple[int, float]]


class _Step(Protocol):
    """What a trainer tells of a step; see `rag_helpers.fine_tuning.TrainingStep`."""

    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def loss(self) -> float | None: ...
    @property
    def score(self) -> float | None: ...


class TrainingChart(ipw.VBox):
    """Show loss and score while training goes on.

    Hand it over as ``on_step``, after displaying it.

    Parameters
    ----------
    score : str, default "score"
        What the evaluation measures.
    title : str, default ""
        Shown above.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> chart = TrainingChart("recall@5")
    >>> chart(SimpleNamespace(step=1, steps=1, loss=2.5, score=None))
    >>> "step 1 of 1: loss 2.50" in chart.status.value
    True
    """

    def __init__(self, score: str = "score", *, title: str = "") -> None:
        self.status = ipw.HTML(render_status("Waiting for the first step …"))
        self.chart = ipw.HTML()
        self._score, self._title = score, title
        self._losses: list[tuple[int, float]] = []
        self._scores: list[tuple[int, float]] = []
        self._drawn = 0.0
        super().__init__([self.chart, self.status])

    def __call__(self, step: _Step) -> None:
        """Take note of a step, and draw if it is time to.

        Parameters
        ----------
        step : TrainingStep
            With a loss, a score or both.
        """
        if step.loss is not None:
            self._losses.append((step.step, step.loss))
        if step.score is not None:
            self._scores.append((step.step, step.score))
        last = step.step >= step.steps or step.score is not None
        if not last and time.monotonic() - self._drawn < _PAUSE_S:
            return
        self._drawn = time.monotonic()
        self.chart.value = render_training(
            self._losses, self._scores, steps=step.steps, score=self._score, title=self._title
        )
        words = [f"loss {self._losses[-1][1]:.2f}"] if self._losses else []
        if self._scores:
            words.append(f"{self._score} {self._scores[-1][1]:.3f}")
        self.status.value = render_status(f"step {step.step} of {step.steps}: {', '.join(words)}")


def render_training(
    losses: Points, scores: Points, *, steps: int, score: str = "score", title: str = ""
) -> str:
    """Return a training chart as SVG.

    Parameters
    ----------
    losses, scores : sequence of (int, float)
        Steps with their values, in order; either may be empty.
    steps : int
        Where the axis ends.
    score : str
        What the evaluation measures; escaped.
    title : str
        Shown above; escaped.

    Returns
    -------
    str
        With a text for screen readers.

    Examples
    --------
    >>> "<polyline" in render_training([(1, 2.0), (2, 1.0)], [], steps=4)
    True
    """
    said = ", ".join(
        f"{name} from {points[0][1]:.3g} to {points[-1][1]:.3g}"
        for name, points in (("loss", losses), (score, scores))
        if points
    )
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" style="width:{_WIDTH}px;max-width:100%" role="img" '
        f'aria-label="{escape(f"{title} {said}".strip())}" font-size="12" fill="currentColor" '
        'font-family="sans-serif">'
    ]
    low, high = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    frame = f"M{_LEFT},{_TOP} V{low} H{high} V{_TOP}"
    parts.append(f'<path d="{frame}" fill="none" stroke="currentColor" stroke-opacity="0.4"/>')
    parts += _curve(losses, steps, _LOSS, _LEFT - 6, "end", dots=False)
    parts += _curve(scores, steps, _SCORE, high + 6, "start", dots=True)
    middle = (_LEFT + high) // 2
    parts.append(_text(middle, low + 16, "middle", f"step, of {steps}"))
    # The signs are coloured, the words are not: no such colour can be read on light and on dark.
    if losses:
        parts.append(f'<path d="M{_LEFT},{low + 30} h14" stroke="{_LOSS}" stroke-width="2"/>')
        parts.append(_text(_LEFT + 18, low + 34, "start", "loss"))
    if scores:
        dot = f'd="M{high - 4},{low + 30} h0" stroke-linecap="round"'
        parts.append(f'<path {dot} stroke="{_SCORE}" stroke-width="8"/>')
        parts.append(_text(high - 12, low + 34, "end", score))
    parts.append(_text(middle, 11, "middle", title))
    return "".join([*parts, "</svg>"])


def _curve(
    points: Points, steps: int, colour: str, label_x: int, anchor: str, *, dots: bool
) -> list[str]:
    """Return a line with its own scale, whose ends are written beside it."""
    if not points:
        return []
    values = [value for _, value in points]
    lowest, highest = min(values), max(values)
    room = (highest - lowest) or 1.0
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    places = [
        (
            round(_LEFT + width * min(step / max(steps, 1), 1.0), 1),
            round(_TOP + 6 + (height - 12) * (highest - value) / room, 1),
        )
        for step, value in points
    ]
    line = " ".join(f"{x},{y}" for x, y in places)
    parts = [f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>']
    if dots:
        parts += [f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>' for x, y in places]
    ends = {_TOP + 10: highest, _HEIGHT - _BOTTOM - 2: lowest}
    parts += [_text(label_x, y, anchor, f"{value:.3g}") for y, value in ends.items()]
    return parts


def _text(x: int, y: int, anchor: str, text: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
