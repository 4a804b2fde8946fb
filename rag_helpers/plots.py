"""Figures of the course: data in, matplotlib axes out.

Every figure names its axes and units, shows n, and uses colours that the
colour-blind can tell apart. The module does not compute what it draws, except
for the projection of vectors onto a plane.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt

from rag_helpers.errors import InvalidInputError
from rag_helpers.records import FloatArray, Hit, Prompt

__all__ = [
    "PALETTE",
    "plot_attribution",
    "plot_intervals",
    "plot_lengths",
    "plot_map",
    "plot_prompt_budget",
    "plot_scores_by_rank",
    "plot_settings",
    "plot_stages",
    "plot_token_lengths",
    "plot_tradeoff",
    "plot_training",
    "project",
]

Axes: TypeAlias = Any
Numbers: TypeAlias = npt.NDArray[np.float64]

# Okabe & Ito (2008), "Color universal design": eight colours told apart by
# readers with any of the common colour-vision deficiencies.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_ABOVE: Mapping[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1)}


def _axes(axes: Axes | None, *, size: tuple[float, float] = (6.4, 3.2)) -> Axes:
    if axes is None:
        # A white ground keeps figures readable in dark notebooks.
        _, axes = plt.subplots(figsize=size, facecolor="white", layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _look(number: int) -> dict[str, str]:
    """Return a colour and a marker; 64 curves in a row look different."""
    turn, place = divmod(number, len(PALETTE))
    return {"color": PALETTE[place], "marker": MARKERS[(place + turn) % len(MARKERS)]}


def _numbers(values: npt.ArrayLike, what: str) -> Numbers:
    """Return an array of finite numbers; refuse none at all, and what cannot be drawn."""
    try:
        table = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"The {what} are no table of numbers: {error}") from error
    if not table.size:
        raise InvalidInputError(f"There are 0 {what} to draw; pass at least one.")
    if bad := int((~np.isfinite(table)).sum()):
        raise InvalidInputError(f"{bad} of the {what} are not finite; leave them out.")
    return table


def _same_length(places: Sized, curves: Mapping[str, Sized]) -> None:
    for name, values in curves.items():
        if len(values) != len(places):
            counts = f"{len(values)} values for {len(places)} places"
            raise InvalidInputError(f"{name!r} has {counts}; pass one value for each.")


def _intervals(triples: npt.ArrayLike) -> tuple[Numbers, Numbers]:
    """Return values, shape (n,), and their distances to both ends, shape (2, n)."""
    table = _numbers(triples, "intervals")
    if table.shape[1:] != (3,):
        raise InvalidInputError(f"Intervals of shape {table.shape}; pass (value, low, high) each.")
    value, low, high = table.T
    reach = np.array([value - low, high - value])
    if (outside := (reach < -1e-9).any(axis=0)).any():
        raise InvalidInputError(f"{outside.sum()} values outside (low, high); check their order.")
    return value, np.maximum(reach, 0)


def plot_token_lengths(counts: Sequence[int], limit: int, *, axes: Axes | None = None) -> Axes:
    """Draw a histogram of chunk lengths, in tokens, against a model's limit.

    Parameters
    ----------
    counts : sequence of int
        Tokens of each chunk.
    limit : int
        Most tokens that the model reads.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> axes = plot_token_lengths([100, 200, 300], 256)
    >>> axes.get_xlabel()
    'tokens in a chunk'
    >>> plt.close(axes.figure)
    """
    tokens = _numbers(counts, "token counts")
    axes = _axes(axes)
    edges = np.linspace(0, max(tokens.max(), limit) * 1.02, 50)
    read, cut = tokens[tokens <= limit], tokens[tokens > limit]
    axes.hist(read, edges, color=PALETTE[0], label=f"read whole (n = {len(read)})")
    axes.hist(cut, edges, color=PALETTE[5], hatch="///", label=f"cut short (n = {len(cut)})")
    axes.axvline(limit, color="black", linestyle="--", linewidth=1)
    axes.annotate(f"limit {limit}", (limit, axes.get_ylim()[1]), xytext=(4, -10),
                  textcoords="offset points")  # fmt: skip
    axes.set(xlabel="tokens in a chunk", ylabel="chunks")
    axes.legend(frameon=False)
    return axes


def plot_lengths(
    lengths: Mapping[str, int], *, xlabel: str, most: int = 15, axes: Axes | None = None
) -> Axes:
    """Draw the largest of many lengths as bars, and the rest as one bar.

    Parameters
    ----------
    lengths : Mapping of str to int
        Name → length.
    xlabel : str
        What the lengths count.
    most : int, default 15
        How many get a bar of their own.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InvalidInputError
        If there is no length, or `most` is below 1.

    Examples
    --------
    >>> axes = plot_lengths({"a": 30, "b": 10, "c": 5}, xlabel="words", most=1)
    >>> [label.get_text() for label in axes.get_yticklabels()]
    ['a', 'others (2)']
    >>> plt.close(axes.figure)
    """
    if most < 1:
        raise InvalidInputError(f"most is {most}; give at least 1 name a bar of its own.")
    total = _numbers(list(lengths.values()), "lengths").sum()
    ordered = sorted(lengths.items(), key=lambda item: -item[1])
    bars, rest = dict(ordered[:most]), [length for _, length in ordered[most:]]
    axes = _axes(axes, size=(6.4, 0.9 + 0.22 * len(ordered[: most + 1])))
    axes.barh(range(len(bars)), list(bars.values()), color=PALETTE[0])
    names = list(bars)
    if rest:
        axes.barh([len(bars)], [sum(rest)], color="#999999", hatch="///")
        names.append(f"others ({len(rest)})")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel=f"{xlabel} (n = {len(lengths)}; {total:,.0f} {xlabel} in all)")
    return axes


def project(vectors: FloatArray, *more: FloatArray) -> list[FloatArray]:
    """Project vectors onto the two directions in which they vary most (PCA).

    Parameters
    ----------
    vectors : ndarray, shape (n, d)
        They define the plane.
    *more : ndarray, shape (m, d)
        Projected onto the same plane.

    Returns
    -------
    list of ndarray, shape (n, 2) each
        One for every argument.

    Examples
    --------
    >>> points = np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0]], dtype=np.float32)
    >>> project(points)[0].shape
    (3, 2)
    """
    centre = vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(vectors - centre, full_matrices=False)
    return [(group - centre) @ directions[:2].T for group in (vectors, *more)]


def plot_map(
    vectors: FloatArray,
    question: FloatArray,
    found: Sequence[int],
    *,
    right: Sequence[int] = (),
    axes: Axes | None = None,
) -> Axes:
    """Draw chunks as points on a plane, the question as a star, its hits filled.

    Parameters
    ----------
    vectors : ndarray, shape (n, d)
        One row per chunk.
    question : ndarray, shape (d,) or (1, d)
        The question's vector.
    found : sequence of int
        Rows that the retriever returned.
    right : sequence of int
        Rows that hold the answer, circled.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
    """
    _numbers(vectors, "vectors")
    points, star = project(vectors, np.atleast_2d(question))
    if outside := [row for row in [*found, *right] if not 0 <= row < len(points)]:
        raise InvalidInputError(f"There are {len(points)} chunks and none has number {outside[0]}.")
    axes = _axes(axes, size=(6.4, 4.2))
    axes.scatter(*points.T, s=10, color="#bbbbbb", label=f"chunks (n = {len(points)})")
    axes.scatter(*points[list(found)].T, s=36, color=PALETTE[0], label=f"top {len(found)}")
    if len(right):
        axes.scatter(*points[list(right)].T, s=110, facecolors="none", edgecolors=PALETTE[5],
                     linewidths=1.8, label="holds the answer")  # fmt: skip
    axes.scatter(*star.T, s=220, marker="*", color=PALETTE[1], edgecolors="black", label="question")
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.legend(frameon=False, fontsize=8, ncols=4, **_ABOVE)
    return axes


def plot_scores_by_rank(results: Mapping[str, Sequence[Hit]], *, axes: Axes | None = None) -> Axes:
    """Draw the score of each hit against its rank, a line per question or retriever."""
    _numbers([hit.score for hits in results.values() for hit in hits], "hits")
    axes = _axes(axes)
    for number, (name, hits) in enumerate(results.items()):
        ranks, scores = [hit.rank for hit in hits], [hit.score for hit in hits]
        axes.plot(ranks, scores, label=f"{name} (n = {len(hits)})", **_look(number))
    axes.set(xlabel="rank of the hit", ylabel="score")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=8, **_ABOVE)
    return axes


def plot_prompt_budget(
    prompt: Prompt, lengths: Sequence[int], budget: int, *, axes: Axes | None = None
) -> Axes:
    """Draw what fills a prompt: one bar, a part per passage, the budget as a line.

    Parameters
    ----------
    prompt : Prompt
        Its `tokens` is the bar's whole length.
    lengths : sequence of int
        Tokens of each passage in the prompt.
    budget : int
        Most tokens that the prompt may take.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
    """
    axes = _axes(axes, size=(6.4, 1.8))
    frame = max(prompt.tokens - sum(lengths), 0)
    axes.barh([0], [frame], color="#999999", label="question and instructions")
    left = frame
    for number, length in enumerate(lengths):
        axes.barh([0], [length], left=left, color=PALETTE[number % 6], edgecolor="white",
                  label=f"passage {number + 1}")  # fmt: skip
        left += length
    axes.axvline(budget, color="black", linestyle="--", linewidth=1, label=f"budget {budget}")
    axes.set(xlabel=f"tokens (n = {prompt.tokens}; {len(prompt.dropped)} passages dropped)")
    axes.set(yticks=[])
    axes.legend(frameon=False, fontsize=8, ncols=4, **_ABOVE)
    return axes


def plot_stages(
    timings: Sequence[Mapping[str, float]],
    *,
    stages: Sequence[str] = ("retrieve", "prompt", "generate", "cite"),
    axes: Axes | None = None,
) -> Axes:
    """Draw the median time of each stage; whiskers run from minimum to maximum."""
    if missing := sorted({stage for timing in timings for stage in stages if stage not in timing}):
        raise InvalidInputError(f"No time was taken for {missing}; pass other stages.")
    table = _numbers([[timing[stage] for stage in stages] for timing in timings], "timings")
    axes = _axes(axes, size=(6.4, 2.2))
    middle = np.median(table, axis=0)
    spread = np.abs(np.array([table.min(axis=0), table.max(axis=0)]) - middle)
    bars = axes.barh(list(stages), middle, xerr=spread, color=PALETTE[0], capsize=3)
    axes.bar_label(bars, fmt="{:,.0f} ms", padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set(xlabel=f"milliseconds (median of n = {len(table)}; whiskers: min to max)")
    return axes


def plot_settings(
    settings: Sequence[float],
    curves: Mapping[str, Sequence[tuple[float, float, float]]],
    *,
    xlabel: str,
    ylabel: str,
    n: int,
    axes: Axes | None = None,
) -> Axes:
    """Draw a metric against a setting, with its interval, a line per system.

    Parameters
    ----------
    settings : sequence of float
        Values on the horizontal axis.
    curves : Mapping of str to sequence of (value, low, high)
        One triple per setting.
    xlabel, ylabel : str
        Names of the axes, with units.
    n : int
        How many questions each point rests on.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
    """
    places = _numbers(settings, "settings")
    drawn = {name: _intervals(points) for name, points in curves.items()}
    _same_length(places, {name: values for name, (values, _) in drawn.items()})
    axes = _axes(axes)
    width = np.ptp(places) / 100  # side by side, so that intervals do not hide each other
    for number, (name, (values, reach)) in enumerate(drawn.items()):
        axes.errorbar(
            places + (number - (len(drawn) - 1) / 2) * width,
            values,
            yerr=reach,
            capsize=3,
            label=name,
            **_look(number),
        )
    axes.set(xlabel=xlabel, ylabel=f"{ylabel} (n = {n}, 95 % interval)", xticks=list(settings))
    axes.legend(frameon=False, fontsize=8)
    return axes


def plot_intervals(
    rows: Mapping[str, tuple[float, float, float]],
    *,
    xlabel: str,
    n: int,
    axes: Axes | None = None,
) -> Axes:
    """Draw one value with its interval per row, best for comparing systems."""
    values, reach = _intervals(list(rows.values()))
    axes = _axes(axes, size=(6.4, 0.7 + 0.36 * len(rows)))
    axes.errorbar(values, range(len(rows)), xerr=reach, fmt="o", capsize=4, color=PALETTE[0])
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel=f"{xlabel} (n = {n}, 95 % interval)")
    axes.grid(axis="x", alpha=0.3)
    return axes


def plot_attribution(counts: Mapping[str, int], *, axes: Axes | None = None) -> Axes:
    """Draw where questions are lost: each bar is what is left after a stage."""
    total = int(_numbers(list(counts.values()), "counts").sum())
    axes = _axes(axes, size=(6.4, 2.4))
    left, labels = total, []
    for number, (name, count) in enumerate(counts.items()):
        axes.barh([number], [count], left=[left - count], color=PALETTE[(5, 1, 3, 2)[number % 4]])
        axes.barh([number], [left - count], color="#dddddd")
        labels.append(f"{name} ({count})")
        left -= count
    axes.set_yticks(range(len(counts)), labels)
    axes.invert_yaxis()
    axes.set(xlabel=f"questions (n = {total})", xlim=(0, max(total, 1)))
    axes.xaxis.get_major_locator().set_params(integer=True)
    return axes


def plot_training(
    steps: Sequence[int],
    curves: Mapping[str, Sequence[float]],
    *,
    ylabel: str = "loss",
    axes: Axes | None = None,
) -> Axes:
    """Draw curves against training steps; every curve has one value for each step."""
    _numbers(steps, "steps")
    _same_length(steps, curves)
    axes = _axes(axes)
    for number, (name, values) in enumerate(curves.items()):
        every = max(1, len(steps) // 20)
        axes.plot(steps, values, label=name, markevery=every, **_look(number))
    axes.set(xlabel=f"training step (n = {len(steps)} points a curve)", ylabel=ylabel)
    axes.legend(frameon=False, fontsize=8)
    return axes


def plot_tradeoff(
    points: Mapping[str, tuple[float, float] | Sequence[tuple[float, float]]],
    *,
    xlabel: str,
    ylabel: str,
    axes: Axes | None = None,
) -> Axes:
    """Draw what is paid against what is got: a point per variant, or a line of its settings."""
    places = {name: np.atleast_2d(value) for name, value in points.items()}
    _numbers([place for several in places.values() for place in several], "variants")
    axes = _axes(axes, size=(6.4, 3.4))
    for number, (name, several) in enumerate(places.items()):
        look = _look(number)
        axes.plot(*several.T, color=look["color"], linewidth=1)
        axes.scatter(*several.T, s=64, edgecolors="black", label=name, **look)
    axes.margins(0.12)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.legend(frameon=False, fontsize=8)
    return axes
