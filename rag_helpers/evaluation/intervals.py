"""Say how sure a mean is, and whether two systems differ.

The module knows nothing of what was measured: it takes one number a question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag_helpers.errors import EvaluationError

__all__ = ["Interval", "PairedTest", "bootstrap_interval", "paired_test"]

_Values = npt.NDArray[np.float64]
# Resamples are drawn in blocks of about this many numbers: 32 MB.
_BLOCK = 4_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the ends of its 95 % interval.

    Parameters
    ----------
    value : float
        What was measured.
    low, high : float
        The 2.5th and 97.5th percentiles of its bootstrap distribution.

    Examples
    --------
    >>> str(Interval(0.5, 0.41, 0.6))
    '0.500 [0.410, 0.600]'
    """

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Return ``{"value", "low", "high"}``."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class PairedTest:
    """How two systems differ on the same questions.

    Parameters
    ----------
    difference : Interval
        Mean of the first minus mean of the second, with its 95 % interval.
    p : float
        How often chance alone would give a difference at least as large,
        were the systems equal (two-sided).
    n : int
        How many questions.
    """

    difference: Interval
    p: float
    n: int


def bootstrap_interval(values: Sequence[float], *, n: int = 2000, seed: int = 0) -> Interval:
    """Return the mean with its 95 % percentile bootstrap interval.

    Questions are drawn with replacement `n` times (Efron, "Bootstrap methods:
    another look at the jackknife", 1979). Few questions make such intervals
    too narrow; when all values are equal the interval has no width at all,
    which does not mean that the next question cannot differ.

    Parameters
    ----------
    values : sequence of float
        One value a question, shape ``(questions,)``.
    n : int
        How many resamples.
    seed : int
        Makes the interval repeatable.

    Returns
    -------
    Interval
        Mean and the ends of the interval.

    Raises
    ------
    EvaluationError
        If there is no value, a value is not finite, or `n` is below 1.

    Examples
    --------
    >>> str(bootstrap_interval([1, 1, 1, 0] * 25))
    '0.750 [0.660, 0.830]'
    """
    data = checked(values, "values")
    return _interval(data, resample(len(data), n, seed, lambda rows: data[rows].mean(axis=1)))


def paired_test(
    first: Sequence[float], second: Sequence[float], *, n: int = 10_000, seed: int = 0
) -> PairedTest:
    """Compare two systems on the same questions.

    The interval resamples questions, keeping both systems' values together;
    p flips the sign of each question's difference at random (Fisher's
    randomization test; Smucker, Allan and Carterette, "A comparison of
    statistical significance tests for information retrieval evaluation",
    2007). The observed signs count as one of the flips, so p is never 0
    (Phipson and Smyth, 2010).

    Parameters
    ----------
    first, second : sequence of float
        One value a question, in the same order, shape ``(questions,)``.
    n : int
        How many resamples and how many flips.
    seed : int
        Makes the result repeatable.

    Returns
    -------
    PairedTest
        Difference, first minus second, and p.

    Raises
    ------
    EvaluationError
        If the lengths differ, there is no value, a value is not finite, or
        `n` is below 1.

    Examples
    --------
    >>> test = paired_test([1, 1, 1, 1, 0, 1, 1, 1], [0, 1, 0, 1, 0, 0, 0, 0])
    >>> str(test.difference), round(test.p, 2)
    ('0.625 [0.250, 0.875]', 0.06)
    """
    a, b = checked(first, "first"), checked(second, "second")
    if len(a) != len(b):
        raise EvaluationError(
            f"the systems have {len(a)} and {len(b)} values; "
            "give one value a question, for the same questions in the same order"
        )
    gaps = a - b
    difference = _interval(gaps, resample(len(gaps), n, seed, lambda rows: gaps[rows].mean(axis=1)))
    generator = np.random.default_rng([seed, 1])
    as_large = 0
    for size in _blocks(len(gaps), n):
        signs = generator.integers(0, 2, (size, len(gaps)), dtype=np.int8) * 2 - 1
        # Sums that differ by rounding alone are as large.
        as_large += int((np.abs(signs @ gaps) >= abs(gaps.sum()) - 1e-9).sum())
    return PairedTest(difference, p=(as_large + 1) / (n + 1), n=len(gaps))


def resample(
    size: int, n: int, seed: int, statistic: Callable[[npt.NDArray[np.int64]], _Values]
) -> _Values:
    """Return a statistic of `n` resamples of `size` questions.

    Parameters
    ----------
    size : int
        How many questions, at least 1.
    n : int
        How many resamples.
    seed : int
        Makes them repeatable.
    statistic : callable
        Takes row numbers of shape ``(resamples, size)`` and returns shape
        ``(resamples,)``.

    Returns
    -------
    array
        Shape ``(n,)``.

    Raises
    ------
    EvaluationError
        If `n` is below 1.

    Examples
    --------
    >>> resample(3, 4, 0, lambda rows: rows.max(axis=1).astype(float)).shape
    (4,)
    """
    generator = np.random.default_rng(seed)
    return np.concatenate(
        [statistic(generator.integers(0, size, (rows, size))) for rows in _blocks(size, n)]
    )


def checked(values: Sequence[float], name: str) -> _Values:
    """Return values as a one-dimensional array of finite numbers, or refuse them.

    Parameters
    ----------
    values : sequence of float
        What was measured, one number a question.
    name : str
        How an error calls them.

    Returns
    -------
    array
        Shape ``(questions,)``.

    Raises
    ------
    EvaluationError
        If there is none, or one is not a finite number.

    Examples
    --------
    >>> checked([1, True], "values")
    array([1., 1.])
    """
    try:
        data = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        data = np.full(1, np.nan)
    if data.ndim != 1 or not len(data) or not np.isfinite(data).all():
        raise EvaluationError(
            f"{name!r} holds {'no number' if not data.size else 'something else than numbers'}; "
            "give one finite number a question, for at least one question"
        )
    return data


def percentile_interval(value: float, statistics: _Values) -> Interval:
    """Return a value with the 2.5th and 97.5th percentile of its resamples.

    Parameters
    ----------
    value : float
        What was measured on all questions.
    statistics : array
        The same on resamples, shape ``(n,)``.

    Returns
    -------
    Interval
        Value and percentiles.

    Examples
    --------
    >>> percentile_interval(20.0, np.arange(41.0))
    Interval(value=20.0, low=1.0, high=39.0)
    """
    low, high = np.percentile(statistics, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def _interval(data: _Values, means: _Values) -> Interval:
    return percentile_interval(float(data.mean()), means)


def _blocks(size: int, n: int) -> list[int]:
    if n < 1:
        raise EvaluationError(f"n is {n} resamples; give at least 1, better 2000")
    block = max(1, _BLOCK // size)
    return [min(block, n - done) for done in range(0, n, block)]
