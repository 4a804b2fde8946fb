"""Keep each question's result on disk, so that a stopped evaluation goes on.

The file has one JSON object a line: first the settings under which the
results were made, then one result a question. Lines are flushed as they are
written; a line that a kill cut in half is dropped and its question asked
again. The module does not know what the settings mean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from rag_helpers.errors import EvaluationError
from rag_helpers.evaluation.attribution import Outcome

__all__ = ["QuestionResult", "ResultsFile", "Setting"]

Setting = str | int | float | bool | None

_FORMAT = "rag-helpers results 1"
_START = f'{{"format": "{_FORMAT}", "settings": '.encode()


@dataclass(frozen=True, slots=True)
class QuestionResult:
    """What one question gave.

    Parameters
    ----------
    id : str
        Id of the question.
    answerable : bool
        Whether the corpus holds an answer.
    scores : Mapping of str to float
        By metric; empty for unanswerable questions.
    first_right : int or None
        Place of the first right hit, from 1; None when there is none.
    words_per_hit : float
        Mean words of the hits.
    text : str or None
        What the system wrote; None when only retrieval was measured.
    confidence : float or None
        From 0 to 1; None when only retrieval was measured.
    abstained : bool
        Whether the system said that the corpus does not hold the answer.
    outcome : Outcome or None
        How the question ended; None when only retrieval was measured.
    timings_ms : Mapping of str to float
        Milliseconds per stage.
    """

    id: str
    answerable: bool
    scores: Mapping[str, float] = field(default_factory=dict)
    first_right: int | None = None
    words_per_hit: float = 0.0
    text: str | None = None
    confidence: float | None = None
    abstained: bool = False
    outcome: Outcome | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)


class ResultsFile:
    """A file of results that grows by one line a question.

    Parameters
    ----------
    path : str or Path
        Where the results are kept. A new file is begun, or a file with the
        same settings is continued.
    settings : Mapping of str to str, int, float, bool or None
        Everything that changes a result.

    Attributes
    ----------
    done : dict of str to QuestionResult
        By question id, in the order of the file.

    Raises
    ------
    EvaluationError
        If the file cannot be read or written, is something else, is damaged
        before its last line, or was made with other settings. The file is
        then left as it was.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "results.jsonl"
    ...     with ResultsFile(path, {"k": 5}) as results:
    ...         results.append(QuestionResult("q1", answerable=True))
    ...     with ResultsFile(path, {"k": 5}) as results:
    ...         list(results.done)
    ['q1']
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Setting]) -> None:
        self.path = Path(path)
        self.done: dict[str, QuestionResult] = {}
        header = _START + json.dumps(dict(settings), sort_keys=True).encode() + b"}\n"
        try:
            raw = self.path.read_bytes() if self.path.exists() else b""
            complete = raw[: raw.rfind(b"\n") + 1]
            if complete:
                self._read(complete, settings)
            elif not header.startswith(raw[: len(_START)]):
                self._refuse_foreign()
            self._file = self.path.open("r+b" if raw else "wb")
            self._file.truncate(len(complete))
            self._file.seek(len(complete))
            if not complete:
                self._write(header)
        except OSError as error:
            raise EvaluationError(
                f"{self.path}: results cannot be kept there ({error.strerror or error}); "
                "give a file in a folder that exists and can be written"
            ) from error

    def append(self, result: QuestionResult) -> None:
        """Keep one more result.

        Parameters
        ----------
        result : QuestionResult
            Of a question that is not in `done`.

        Raises
        ------
        EvaluationError
            If a number in the result is not finite.
        """
        try:
            line = json.dumps(asdict(result), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise EvaluationError(
                f"the result of question {result.id!r} cannot be kept ({error}); "
                "scores, confidence and times must be finite numbers"
            ) from error
        self._write(line.encode() + b"\n")
        self.done[result.id] = result

    def close(self) -> None:
        """Close the file; what was appended stays."""
        self._file.close()

    def __enter__(self) -> ResultsFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()

    def _read(self, complete: bytes, settings: Mapping[str, Setting]) -> None:
        first, *lines = complete.splitlines()
        if not first.startswith(_START):
            self._refuse_foreign()
        self._compare(self._parse(1, first).get("settings"), dict(settings))
        for number, line in enumerate(lines, start=2):
            row = self._parse(number, line)
            try:
                result = QuestionResult(**row)
            except TypeError as error:
                raise self._damaged(number, str(error)) from error
            if not (isinstance(result.id, str) and isinstance(result.scores, dict)):
                raise self._damaged(number, "not the result of a question")
            self.done[result.id] = result

    def _compare(self, kept: object, given: dict[str, Setting]) -> None:
        if not isinstance(kept, dict):
            raise self._damaged(1, "no settings")
        changed = [
            f"{name} was {kept.get(name)!r} and is now {given.get(name)!r}"
            for name in sorted({*kept, *given})
            if kept.get(name) != given.get(name) or (name in kept) != (name in given)
        ]
        if changed:
            raise EvaluationError(
                f"{self.path} holds results of other settings ({'; '.join(changed)}); give another "
                "results file, delete this one, or use the settings it was made with"
            )

    def _parse(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self._damaged(number, str(error)) from error
        if not isinstance(row, dict):
            raise self._damaged(number, "not an object")
        return row

    def _damaged(self, number: int, reason: str) -> EvaluationError:
        return EvaluationError(
            f"{self.path}, line {number}: is damaged ({reason}); "
            "delete that line to ask its question again, or give another results file"
        )

    def _refuse_foreign(self) -> None:
        raise EvaluationError(
            f"{self.path} exists and holds no results of this package; "
            "give another results file, so that nothing is overwritten"
        )
