"""The dashboard: which exercises are done, as a widget and as plain text.

The module does not know what an exercise asks, nor where progress is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from html import escape
from itertools import groupby
from pathlib import Path

import ipywidgets as ipw

from rag_helpers.exercises.checking import EXERCISES, Exercise
from rag_helpers.exercises.progress import Done, Progress, load_progress
from rag_helpers.widgets import render_status

__all__ = ["ProgressBoard", "progress_text", "render_progress"]

# Ground and ink are both named, so that they are readable in light and dark; a sign and a word say
# the same as the colour.
_LOOKS = {
    "done": ("✓", "#c9ecd9"),
    "tried": ("…", "#fde3bd"),
    "open": ("○", "#ececec"),
}
_INK = "#1a1a1a"


class ProgressBoard(ipw.VBox):
    """A table of all exercises: done, tried or open.

    Parameters
    ----------
    path : Path, optional
        File of the records; by default `exercises.progress.progress_file`.

    Examples
    --------
    >>> "Exercises done" in ProgressBoard(Path("nothing recorded.json")).table.value
    True
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.table, self.status = ipw.HTML(), ipw.HTML()
        self.button = ipw.Button(
            description="Look again", tooltip="Read the records again, after another exercise"
        )
        self.button.on_click(lambda _: self.refresh())
        super().__init__([self.table, self.button, self.status])
        self.refresh()

    def refresh(self) -> None:
        """Read the records again."""
        progress = load_progress(self._path)
        self.table.value = render_progress(progress)
        done, total = _count(progress)
        said = f"{done} of {total} exercises are done. {_next(progress)}"
        self.status.value = render_status(f"{said} {progress.note}".strip())


def progress_text(path: Path | None = None) -> str:
    """Return the dashboard as plain text, a line per notebook.

    Parameters
    ----------
    path : Path, optional
        File of the records; by default `exercises.progress.progress_file`.

    Returns
    -------
    str

    Examples
    --------
    >>> progress_text(Path("nothing recorded.json")).splitlines()[1]
    'Notebook 1: 1.1 open, 1.2 open, 1.3 open, 1.4 open'
    """
    progress = load_progress(path)
    done, total = _count(progress)
    lines = [f"{done} of {total} exercises are done. {_next(progress)}"]
    for step, exercises in _by_step().items():
        words = [f"{one.id} {_state(progress.exercises.get(one.id, Done()))}" for one in exercises]
        lines.append(f"Notebook {step}: {', '.join(words)}")
    return "\n".join([*lines, progress.note]).strip()


def render_progress(progress: Progress) -> str:
    """Return the table as HTML; titles are escaped.

    Parameters
    ----------
    progress : Progress
        What was recorded.

    Returns
    -------
    str
        A table with a caption and headers that a screen reader reads out.
    """
    done, total = _count(progress)
    rows = []
    for step, exercises in _by_step().items():
        cells = "".join(_cell(one, progress.exercises.get(one.id, Done())) for one in exercises)
        head = f"<th scope='row' style='text-align:left;line-height:1.3'>Notebook {step}</th>"
        rows.append(f"<tr>{head}{cells}</tr>")
    return (
        # In a narrow window it scrolls, and the keyboard must reach it for that. Without the
        # two widths, JupyterLab would make it as wide as the table, and cut it off.
        "<div tabindex='0' role='region' aria-label='Exercises' "
        "style='overflow-x:auto;width:0;min-width:100%'>"
        "<table style='font:inherit;border-spacing:4px;border-collapse:separate'>"
        f"<caption style='text-align:left'>Exercises done: {done} of {total}</caption>"
        f"{''.join(rows)}</table></div>"
    )


def _cell(exercise: Exercise, done: Done) -> str:
    state = _state(done)
    sign, ground = _LOOKS[state]
    tries = f", {done.tries} {'try' if done.tries == 1 else 'tries'}" if done.tries else ""
    when = f", on {datetime.fromisoformat(done.first_passed):%d %B %Y}" if done.first_passed else ""
    return (
        f"<td style='background:{ground};color:{_INK};padding:3px 8px;line-height:1.3;"
        "max-width:150px;white-space:normal;text-align:left;vertical-align:top'>"
        f"{sign} <b>{escape(exercise.id)}</b> {escape(exercise.title)}"
        f"<br><i>{escape(exercise.kind)}: {state}{tries}{when}</i></td>"
    )


def _state(done: Done) -> str:
    return "done" if done.first_passed else "tried" if done.tries else "open"


def _count(progress: Progress) -> tuple[int, int]:
    done = sum(progress.exercises.get(name, Done()).first_passed is not None for name in EXERCISES)
    return done, len(EXERCISES)


def _next(progress: Progress) -> str:
    """Return which exercise to turn to."""
    for name, one in EXERCISES.items():
        if progress.exercises.get(name, Done()).first_passed is None:
            return f"Next: {name}, {one.title}."
    return "All of them: well done."


def _by_step() -> Mapping[str, list[Exercise]]:
    steps = groupby(EXERCISES.values(), key=lambda one: one.id.partition(".")[0])
    return {step: list(exercises) for step, exercises in steps}
