"""Checks of the exercises to notebook 07: eight bits, lists, a queue, and a format of your own.

They need no model. The module does not know the solutions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rag_helpers.exercises.checking import Attempt, Hint, exercise, require, show

__all__ = ["check_7_1", "check_7_2", "check_7_3", "check_7_4"]

_Matrix = npt.NDArray[np.float64]


@exercise("7.1", "Eight bits by hand", "recall")
def check_7_1(quantize: Attempt) -> None:
    """Check whole numbers from -127 to 127 and the scale that takes them back."""
    cases = [
        np.array([[0.12, -0.50, 0.33], [0.08, 0.91, -0.27]]),
        np.array([[-2.0, 1.0], [0.5, 0.1]]),
        np.array([[1e-6, -3e-6]]),
        np.random.default_rng(5).normal(size=(20, 20)),
    ]
    for weights in cases:
        whole, scale = quantize(weights)
        whole, scale = np.asarray(whole, dtype=float), float(scale)
        require(np.array_equal(whole, np.round(whole)), "The first result holds fractions.")
        require(whole.shape == weights.shape, f"The shape became {whole.shape}.")
        require(
            np.abs(whole).max() <= 127,
            f"For {show(weights.tolist())} a whole number of {np.abs(whole).max():.0f} came out; "
            "127 is the largest. Is the most negative weight larger than the most positive?",
        )
        require(
            np.abs(whole).max() == 127,
            f"The largest weight became {np.abs(whole).max():.0f}; with 127 the steps are finest.",
        )
        error = np.abs(whole * scale - weights).max()
        require(
            error <= scale / 2 * (1 + 1e-6),
            f"The largest error is {error / scale:.2f} steps. Rounding to the nearest whole number "
            "errs by half a step at most; cutting off errs by one.",
        )
    with np.errstate(all="ignore"):
        whole, scale = quantize(np.zeros((2, 2)))
    require(
        np.all(np.asarray(whole) == 0) and np.isfinite(scale),
        f"A matrix of zeros became {show(np.asarray(whole).tolist())} with the scale {scale}; it "
        "has no largest weight to divide by.",
    )


@exercise("7.2", "Looking into a few lists", "apply")
def check_7_2(ivf_search: Attempt) -> None:
    """Check a search that looks into the lists nearest to the question, and nowhere else."""
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    vectors = np.array(
        [
            [1.0, 0.0],
            [4.9, 0.0],
            [9.0, 0.0],
            [5.2, 0.0],
            [0.0, 9.0],
            [0.5, 0.5],
            [11.0, 1.0],
            [4.0, 4.0],
        ]
    )
    question = np.array([3.0, 0.0])
    got = [int(place) for place in ivf_search(vectors, centres, question, 1, 3)]
    require(
        3 not in got,
        "Vector 3, [5.2, 0], is nearer than vector 5, but lives in another list than the one that "
        "is nearest. With one probe it must not be looked at.",
    )
    require(
        got == [1, 0, 5],
        f"With one probe the list of centre 0 holds vectors 0, 1, 5 and 7; nearest first that is "
        f"[1, 0, 5], and yours is {got}.",
    )
    two = [int(place) for place in ivf_search(vectors, centres, question, 2, 3)]
    require(
        two == [1, 0, 3],
        f"With two probes vector 3 comes into sight: [1, 0, 3] was expected, and yours is {two}. "
        "Does the number of probes count?",
    )
    few = [int(place) for place in ivf_search(vectors, centres, np.array([0.0, 12.0]), 1, 5)]
    require(few == [4], f"A list of one vector gives one hit, also for k = 5; yours is {few}.")
    generator = np.random.default_rng(6)
    many, homes = generator.normal(size=(200, 8)), generator.normal(size=(8, 8))
    for _ in range(10):
        asked = generator.normal(size=8)
        places = [int(place) for place in ivf_search(many, homes, asked, 8, 10)]
        exact = ((many - asked) ** 2).sum(axis=1).argsort(kind="stable")[:10]
        require(
            places == exact.tolist(),
            "With as many probes as lists it is an exact search by squared distance; on random "
            "vectors yours differs.",
        )


@exercise("7.3", "A queue without an end", "break and mend")
def check_7_3(serve: Attempt) -> None:
    """Check who is let in, who is turned away, and how long those wait who are let in."""
    cases: list[tuple[list[float], float, int, list[object], str]] = [
        ([0.0], 1.0, 2, [1.0], "A lone request is served at once."),
        ([0.0, 5.0], 1.0, 2, [1.0, 6.0], "Who comes later than the work ends does not wait."),
        ([0.0, 0.0, 0.0], 1.0, 2, [1.0, 2.0, 3.0], "One is served and two wait: all are let in."),
        (
            [0.0, 0.0, 0.0, 0.0],
            1.0,
            2,
            [1.0, 2.0, 3.0, 429],
            "One is served, two wait, and the fourth finds the queue full.",
        ),
        (
            [0.0, 0.0, 0.0, 0.0, 1.5],
            1.0,
            2,
            [1.0, 2.0, 3.0, 429, 4.0],
            "When one begins to be served its place in the queue is free again.",
        ),
        ([0.0, 0.1, 0.2], 1.0, 0, [1.0, 429, 429], "A queue of 0: whoever would wait is refused."),
        (
            [0.0, 1.0],
            1.0,
            0,
            [1.0, 2.0],
            "Who comes at the very moment when the work ends is served.",
        ),
        ([], 1.0, 2, [], "Nobody comes."),
    ]
    for arrivals, seconds, size, wanted, why in cases:
        got = list(serve(arrivals, seconds, size))
        same = len(got) == len(wanted) and all(
            (a == b) if b == 429 else (a != 429 and abs(a - b) < 1e-9)
            for a, b in zip(got, wanted, strict=True)
        )
        require(
            same,
            f"Arrivals {arrivals}, {seconds:g} s of work each, a queue of {size}: it returned "
            f"{show(got)}. {why}",
        )


@exercise("7.4", "A smaller file of your own", "open-ended")
def check_7_4(pack: Attempt, unpack: Attempt) -> None:
    """Check that weights with outliers become few bytes and come back nearly the same."""
    generator = np.random.default_rng(7)
    plain = generator.normal(size=(64, 256)) * 0.02
    outliers = plain.copy()
    outliers[generator.integers(0, 64, 6), generator.integers(0, 256, 6)] = 2.5
    odd = generator.normal(size=(3, 7))
    for name, weights in {"plain": plain, "with outliers": outliers, "3 × 7": odd}.items():
        data = pack(weights.astype(np.float32))
        if not isinstance(data, bytes):
            raise Hint(f"pack should return bytes; this is {show(type(data).__name__)}.")
        bits = 8 * len(data) / weights.size
        if name != "3 × 7":  # scales weigh much in a matrix so small
            require(
                bits <= 9,
                f"{name}: {bits:.1f} bits a weight; at most 9 are allowed, scales included.",
            )
        back = np.asarray(unpack(data, weights.shape), dtype=float)
        require(
            back.shape == weights.shape,
            f"{name}: the shape {weights.shape} came back as {back.shape}.",
        )
        require(np.isfinite(back).all(), f"{name}: what came back is no finite number.")
        error = float(np.abs(back - weights).mean())
        one = float(np.abs(_one_scale(weights) - weights).mean())
        allowed = 0.5 * one if name == "with outliers" else 1.1 * one
        require(
            error <= allowed,
            f"{name}: the mean error is {error / one:.2f} times that of int8 with one scale for "
            f"the matrix; {allowed / one:.1f} times is allowed. How many weights have to share "
            "a scale with an outlier?",
        )
    require(
        not np.asarray(unpack(pack(np.zeros((4, 256), dtype=np.float32)), (4, 256))).any(),
        "A matrix of zeros should come back as zeros.",
    )


def _one_scale(weights: _Matrix) -> _Matrix:
    step = np.abs(weights).max() / 127
    return np.asarray(np.round(weights / step) * step)
