"""People rate answers without knowing which system wrote them.

The module knows nothing of widgets or files: it hides systems behind places,
and turns ratings into agreement and win rates.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from rag_helpers.errors import EvaluationError
from rag_helpers.evaluation.intervals import Interval, bootstrap_interval

__all__ = [
    "CRITERIA",
    "BlindItem",
    "Rating",
    "WinRate",
    "blind_items",
    "cohen_kappa",
    "kappa_between",
    "win_rates",
]

CRITERIA = ("correct", "grounded", "fluent")


@dataclass(frozen=True, slots=True)
class BlindItem:
    """The answers of all systems to one question, in an order that hides them.

    Parameters
    ----------
    question_id : str
        The question.
    systems : tuple of str
        Who wrote what; never shown to the rater.
    texts : tuple of str
        The answers, in the same order.
    """

    question_id: str
    systems: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rating:
    """What one person thinks of one answer.

    Parameters
    ----------
    question_id, system, rater : str
        What was rated, and by whom.
    scores : Mapping of str to int
        By criterion, higher is better; the course uses 0 and 1 for each of
        `CRITERIA`.
    """

    question_id: str
    system: str
    rater: str
    scores: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class WinRate:
    """How often one system is rated above another.

    Parameters
    ----------
    first, second : str
        Names of the systems.
    wins, ties, losses : int
        Of the first, counted over questions and raters.
    rate : Interval
        Mean over questions of 1 for a win, ½ for a tie and 0 for a loss.
    """

    first: str
    second: str
    wins: int
    ties: int
    losses: int
    rate: Interval


def blind_items(answers: Mapping[str, Mapping[str, str]], *, seed: int = 0) -> list[BlindItem]:
    """Put the systems' answers to each question in an order that hides them.

    The order depends on the seed, the question and the systems alone, so a
    rater who comes back sees the same one, whatever was added meanwhile.

    Parameters
    ----------
    answers : Mapping
        ``answers[system][question_id]`` is a text.
    seed : int
        Gives another order.

    Returns
    -------
    list of BlindItem
        One for each question that every system answered, in the order of the
        first system.

    Raises
    ------
    EvaluationError
        If no question was answered by every system.

    Examples
    --------
    >>> [item] = blind_items({"tuned": {"q1": "blue"}, "plain": {"q1": "It is blue."}})
    >>> dict(zip(item.systems, item.texts, strict=True))["plain"]
    'It is blue.'
    """

    def key(name: str, system: str) -> bytes:
        return hashlib.sha256(f"{seed}\0{name}\0{system}".encode()).digest()

    items = []
    for name in next(iter(answers.values()), {}):
        if all(name in texts for texts in answers.values()):
            systems = tuple(sorted(answers, key=lambda system: key(name, system)))
            items.append(BlindItem(name, systems, tuple(answers[s][name] for s in systems)))
    if not items:
        raise EvaluationError(
            f"no question was answered by all of the {len(answers)} systems; "
            "give every system's answers to the same questions"
        )
    return items


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """Return how far two raters agree beyond chance.

    Cohen, "A coefficient of agreement for nominal scales", 1960.

    Parameters
    ----------
    first, second : sequence
        Labels that two raters gave to the same items, in the same order.

    Returns
    -------
    float or None
        1 for full agreement, 0 for what chance gives, below 0 for less; None
        when both gave one and the same label throughout, where chance agrees
        fully too.

    Raises
    ------
    EvaluationError
        If the lengths differ or there is no item.

    Examples
    --------
    >>> cohen_kappa([1, 1, 0, 0], [1, 0, 0, 0])
    0.5
    """
    if not first or len(first) != len(second):
        raise EvaluationError(
            f"the raters gave {len(first)} and {len(second)} labels; "
            "give one label each for the same items, at least one"
        )
    n = len(first)
    agreed = sum(a == b for a, b in zip(first, second, strict=True))
    ours, theirs = Counter(first), Counter(second)
    by_chance = sum(ours[label] * theirs[label] for label in ours)  # times n²
    if by_chance == n * n:
        return None
    return (agreed * n - by_chance) / (n * n - by_chance)


def kappa_between(
    ratings: Iterable[Rating], first: str, second: str, criterion: str
) -> float | None:
    """Return `cohen_kappa` of two raters on the answers that both rated.

    Parameters
    ----------
    ratings : iterable of Rating
        Of any raters; a later rating of the same answer replaces an earlier.
    first, second : str
        Names of the raters.
    criterion : str
        One of the scores.

    Returns
    -------
    float or None
        See `cohen_kappa`.

    Raises
    ------
    EvaluationError
        If the two have no rated answer in common.

    Examples
    --------
    >>> ratings = [Rating(q, "tuned", who, {"correct": int(q != "q2" or who == "Ada")})
    ...            for q in ("q1", "q2") for who in ("Ada", "Bob")]
    >>> kappa_between(ratings, "Ada", "Bob", "correct")
    0.0
    """
    by_rater: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    for rating in ratings:
        if criterion in rating.scores:
            item = rating.question_id, rating.system
            by_rater[rating.rater][item] = rating.scores[criterion]
    one, other = by_rater[first], by_rater[second]
    both = [item for item in one if item in other]
    return cohen_kappa([one[item] for item in both], [other[item] for item in both])


def win_rates(
    ratings: Iterable[Rating], criterion: str | None = None, *, seed: int = 0
) -> list[WinRate]:
    """Compare every two systems on the questions that a rater rated for both.

    Parameters
    ----------
    ratings : iterable of Rating
        A later rating of the same answer by the same rater replaces an
        earlier.
    criterion : str, optional
        The score to compare; by default the sum of all.
    seed : int
        Makes the intervals repeatable.

    Returns
    -------
    list of WinRate
        One for each pair that has a question in common. Intervals resample
        questions; several raters of one question count as one value.

    Examples
    --------
    >>> ratings = [Rating("q1", "tuned", "Ada", {"correct": 1}),
    ...            Rating("q1", "plain", "Ada", {"correct": 0})]
    >>> [(rate.first, rate.second, rate.wins, rate.rate.value) for rate in win_rates(ratings)]
    [('tuned', 'plain', 1, 1.0)]
    """
    scores: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    systems: dict[str, None] = {}
    for rating in ratings:
        if criterion is None or criterion in rating.scores:
            systems[rating.system] = None
            scores[rating.question_id, rating.rater][rating.system] = (
                sum(rating.scores.values()) if criterion is None else rating.scores[criterion]
            )
    found = []
    for first, second in combinations(systems, 2):
        points: dict[str, list[float]] = defaultdict(list)
        for (question, _), given in scores.items():
            if first in given and second in given:
                gap = given[first] - given[second]
                points[question].append(0.5 if gap == 0 else float(gap > 0))
        if points:
            counts = Counter(point for of_one in points.values() for point in of_one)
            rate = bootstrap_interval([fmean(of_one) for of_one in points.values()], seed=seed)
            found.append(WinRate(first, second, counts[1.0], counts[0.5], counts[0.0], rate))
    return found
