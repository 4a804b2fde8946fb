"""Ratings on disk: a line each, appended after every click, read again to go on.

The module does not know who rates, nor what the ratings say.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from rag_helpers.errors import EvaluationError
from rag_helpers.evaluation.rating import Rating

__all__ = ["append_rating", "load_ratings"]


def append_rating(path: str | Path, rating: Rating) -> None:
    """Add a rating to a file, and return when it is on the disk.

    Parameters
    ----------
    path : str or Path
        Made when missing, with its folder. A line that an earlier process left
        unfinished is cut off first.
    rating : Rating
        A later one of the same answer by the same rater replaces it when read.

    Raises
    ------
    EvaluationError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     append_rating(Path(folder, "mine.jsonl"), Rating("q1", "tuned", "Ada", {"correct": 1}))
    ...     load_ratings(Path(folder, "mine.jsonl"))[0].scores
    {'correct': 1}
    """
    file = Path(path)
    line = json.dumps({**asdict(rating), "scores": dict(rating.scores)}) + "\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a+b") as stream:
            stream.seek(0)
            whole = stream.read()
            stream.truncate(whole.rfind(b"\n") + 1)
            stream.write(line.encode())
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise EvaluationError(
            f"the rating was not saved, because {file} cannot be written ({error}); "
            "free some space or give another file"
        ) from error


def load_ratings(path: str | Path) -> list[Rating]:
    """Read the ratings of a file, in the order in which they were given.

    Parameters
    ----------
    path : str or Path
        A file that `append_rating` wrote; a missing one holds no rating.

    Returns
    -------
    list of Rating
        The last line is left out if it was cut off.

    Raises
    ------
    EvaluationError
        If a line is no rating; the message gives its number.
    """
    file = Path(path)
    try:
        content = file.read_bytes() if file.exists() else b""
    except OSError as error:
        raise EvaluationError(f"{file} cannot be read ({error}); give another file") from error
    ratings = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line)
            scores = {str(key): int(value) for key, value in row["scores"].items()}
            rating = Rating(row["question_id"], row["system"], row["rater"], scores)
            names = (rating.question_id, rating.system, rating.rater)
            if not all(isinstance(name, str) for name in names):
                raise TypeError("a name is no text")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise EvaluationError(
                f"line {number} of {file} is no rating ({error}); correct it or give a new file"
            ) from error
        ratings.append(rating)
    return ratings
