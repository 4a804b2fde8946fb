"""Runs hidden cases against what a learner wrote, and says what came of it in a sentence.

A check is a function that raises `Hint` at the first property that fails. It
gets the learner's functions wrapped in `Attempt`, so that whatever they do,
raise or return, ends in a verdict and never in a stack trace from in here.
The module does not know any exercise.
"""

from __future__ import annotations

import copy
import functools
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType, MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np

from rag_helpers.exercises.progress import record

__all__ = [
    "EXERCISES",
    "KINDS",
    "Attempt",
    "Exercise",
    "Hint",
    "Kind",
    "Verdict",
    "exercise",
    "require",
    "show",
]

Kind: TypeAlias = Literal["recall", "apply", "break and mend", "open-ended"]
KINDS: tuple[Kind, ...] = ("recall", "apply", "break and mend", "open-ended")
LONGEST_CALL_S = 5.0  # the slowest solution takes a tenth of it
_SHOWN = 160  # characters of an input or a result in a hint


class Hint(Exception):  # noqa: N818 (it is advice, not an error)
    """What is wrong with a learner's answer, in a sentence or two."""


class _NotDone(Exception):  # noqa: N818 (a signal, not an error)
    """The stub is still there."""


class _TooLong(BaseException):
    """A call passed its time. Not an `Exception`, so that no learner's `except` swallows it."""


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Parameters
    ----------
    id : str
        Such as ``"2.1"``: notebook and number.
    title : str
        A few words.
    kind : str
        One of `KINDS`.
    """

    id: str
    title: str
    kind: Kind


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Parameters
    ----------
    exercise : str
        The exercise's id.
    status : {"passed", "not yet", "not done"}
        ``"not done"`` while the stub is there.
    hint : str
        What is wrong; empty when passed.
    note : str
        What became of recording it; empty when it was recorded.

    Examples
    --------
    >>> Verdict("2.1", "not yet", "The last piece is missing.")
    Exercise 2.1: not yet. The last piece is missing.
    """

    exercise: str
    status: Literal["passed", "not yet", "not done"]
    hint: str = ""
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether every hidden case passed."""
        return self.status == "passed"

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        said = {"not done": "not done yet"}.get(self.status, self.status)
        parts = [f"Exercise {self.exercise}: {said}.", self.hint, self.note]
        return " ".join(part for part in parts if part)


_EXERCISES: dict[str, Exercise] = {}
EXERCISES: Mapping[str, Exercise] = MappingProxyType(_EXERCISES)
"""Every exercise by its id, in the course's order."""


def require(holds: object, hint: str) -> None:
    """Raise `Hint` unless something holds.

    Examples
    --------
    >>> require(1 + 1 == 2, "count again")
    """
    if not holds:
        raise Hint(hint)


def show(value: object) -> str:
    """Return a value as it stands in a hint: its repr, shortened in the middle.

    Examples
    --------
    >>> show("tea")
    "'tea'"
    """
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a learner's own __repr__
        text = f"<{type(value).__name__}>"
    half = _SHOWN // 2
    return text if len(text) <= _SHOWN else f"{text[:half]} … {text[-half:]}"


class Attempt:
    """A learner's function, called as it would be, with its failures turned into hints.

    Lists, dictionaries and arrays are handed over as copies. A call may take
    `LONGEST_CALL_S` seconds in the learner's own lines.

    Parameters
    ----------
    function : callable
        What the learner wrote.
    name : str
        What hints call it.

    Examples
    --------
    >>> Attempt(len, "len")([1, 2])
    2
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function, self.name = function, name

    def __call__(self, *values: object, **named: object) -> Any:  # noqa: ANN401 (a learner's own)
        """Call the function; whatever it raises becomes a `Hint`."""
        given = ", ".join([*map(show, values), *(f"{k}={show(v)}" for k, v in named.items())])
        given = f" for the input {given}" if given else ""
        copies = [_copied(value) for value in values]
        try:
            with _Deadline(self.function, LONGEST_CALL_S):
                return self.function(*copies, **{k: _copied(v) for k, v in named.items()})
        except (Hint, _NotDone):
            raise
        except NotImplementedError as error:
            raise _NotDone from error
        except _TooLong as error:
            raise Hint(
                f"{self.name} did not come back within {LONGEST_CALL_S:g} s{given}: "
                "does a loop in it never end?"
            ) from error
        except (Exception, SystemExit) as error:
            said = " ".join(str(error).split()) or "no message"
            raise Hint(f"Your function raised {type(error).__name__}: {said}{given}.") from error


def _copied(value: object) -> object:
    return copy.deepcopy(value) if isinstance(value, (list, dict, set, np.ndarray)) else value


class _Deadline:
    """Stops the lines of one file, those of a learner's cell, when their time is over."""

    def __init__(self, function: Callable[..., Any], seconds: float) -> None:
        code = getattr(function, "__code__", None)
        self._file = code.co_filename if code is not None else None
        self._until = time.monotonic() + seconds

    def __enter__(self) -> None:
        self._before = sys.gettrace()
        # A debugger or a coverage tool that traces already is left alone.
        self._on = self._file is not None and self._before is None
        if self._on:
            sys.settrace(self._enter_frame)

    def __exit__(self, *error: object) -> None:
        if self._on:
            sys.settrace(self._before)

    def _enter_frame(self, frame: FrameType, event: str, argument: object) -> Any:  # noqa: ANN401
        return self._line if frame.f_code.co_filename == self._file else None

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:  # noqa: ANN401
        if time.monotonic() > self._until:
            raise _TooLong
        return self._line


Check: TypeAlias = Callable[..., None]


def exercise(number: str, title: str, kind: Kind) -> Callable[[Check], Callable[..., Verdict]]:
    """Turn a function that raises `Hint` into a check that returns a `Verdict`.

    The check takes the learner's functions, records the try and never raises
    for what they do. It is entered into `EXERCISES`.

    Parameters
    ----------
    number : str
        The exercise's id.
    title : str
        A few words.
    kind : str
        One of `KINDS`.

    Returns
    -------
    callable
        A decorator.
    """
    _EXERCISES[number] = Exercise(number, title, kind)

    def decorate(check: Check) -> Callable[..., Verdict]:
        @functools.wraps(check)
        def checked(*answers: Callable[..., Any]) -> Verdict:
            verdict = _verdict(number, check, answers)
            if verdict.status == "not done":
                return verdict
            note = record(number, passed=verdict.passed)
            return Verdict(number, verdict.status, verdict.hint, note)

        return checked

    return decorate


def _verdict(number: str, check: Check, answers: tuple[Callable[..., Any], ...]) -> Verdict:
    wanted = check.__code__.co_argcount
    if len(answers) != wanted or not all(callable(answer) for answer in answers):
        what = "the function itself" if wanted == 1 else f"{wanted} functions"
        return Verdict(
            number,
            "not yet",
            f"Give the check {what}, without brackets after the name; it got "
            f"{', '.join(map(show, answers)) or 'nothing'}.",
        )
    attempts = [Attempt(answer, getattr(answer, "__name__", "your answer")) for answer in answers]
    try:
        check(*attempts)
    except _NotDone:
        return Verdict(number, "not done")
    except Hint as hint:
        return Verdict(number, "not yet", str(hint))
    except Exception as error:  # what came back had a form that the check could not even read
        said = " ".join(str(error).split())
        return Verdict(
            number,
            "not yet",
            "What came back has another form than the task asks for "
            f"({type(error).__name__}: {said}); compare its type with the example's.",
        )
    return Verdict(number, "passed")
