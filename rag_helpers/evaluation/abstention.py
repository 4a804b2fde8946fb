"""Know when not to answer: confidence, its calibration, and what it costs.

The module does not know where confidence comes from: it takes numbers for it,
and tells how well they separate questions that can be answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag_helpers.errors import EvaluationError
from rag_helpers.evaluation.intervals import Interval, checked, percentile_interval

__all__ = [
    "Calibration",
    "RiskCoverage",
    "auroc",
    "auroc_interval",
    "fit_calibration",
    "risk_coverage",
]

_Array = npt.NDArray[np.float64]
_NEWTON_STEPS = 100


def auroc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Return how often a positive scores above a negative, ties counting half.

    That probability is the area under the ROC curve (Hanley and McNeil, "The
    meaning and use of the area under a receiver operating characteristic
    curve", 1982): the Mann–Whitney statistic divided by the number of pairs.

    Parameters
    ----------
    scores : sequence of float
        Confidence, higher for positives, shape ``(questions,)``.
    labels : sequence of bool
        Which questions are positive (answerable, or answered right).

    Returns
    -------
    float
        From 0 to 1; 0.5 is chance.

    Raises
    ------
    EvaluationError
        If the lengths differ, a score is not finite, or one class is empty.

    Examples
    --------
    >>> auroc([0.9, 0.4, 0.4, 0.1], [True, True, False, False])
    0.875
    """
    positives, negatives = _classes(scores, labels)
    return _mann_whitney(positives, negatives)


def auroc_interval(
    scores: Sequence[float], labels: Sequence[bool], *, n: int = 2000, seed: int = 0
) -> Interval:
    """Return `auroc` with its 95 % percentile bootstrap interval.

    Positives and negatives are resampled separately, so no resample is
    without one of them (Efron, 1979, for two samples).

    Parameters
    ----------
    scores : sequence of float
        Confidence, shape ``(questions,)``.
    labels : sequence of bool
        Which questions are positive.
    n : int
        How many resamples.
    seed : int
        Makes the interval repeatable.

    Returns
    -------
    Interval
        Area and the ends of its interval.

    Raises
    ------
    EvaluationError
        As `auroc`, or if `n` is below 1.

    Examples
    --------
    >>> auroc_interval([0.9, 0.8, 0.2, 0.1], [True, True, False, False])
    Interval(value=1.0, low=1.0, high=1.0)
    """
    if n < 1:
        raise EvaluationError(f"n is {n} resamples; give at least 1, better 2000")
    positives, negatives = _classes(scores, labels)
    generator = np.random.default_rng(seed)
    areas = [
        _mann_whitney(
            generator.choice(positives, len(positives)), generator.choice(negatives, len(negatives))
        )
        for _ in range(n)
    ]
    return percentile_interval(_mann_whitney(positives, negatives), np.asarray(areas))


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """What answering only the surest questions costs and saves.

    Parameters
    ----------
    coverage : tuple of float
        Share of questions answered, rising to 1.
    risk : tuple of float
        Share of those answers that are wrong.
    threshold : tuple of float
        Least confidence that is answered at that coverage.
    area : float
        Mean risk over all coverages; lower is better.
    """

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    threshold: tuple[float, ...]
    area: float

    def threshold_for(self, risk: float) -> float | None:
        """Return the lowest threshold whose risk is at most `risk`, or None."""
        fitting = [t for t, r in zip(self.threshold, self.risk, strict=True) if r <= risk]
        return min(fitting, default=None)


def risk_coverage(confidences: Sequence[float], correct: Sequence[bool]) -> RiskCoverage:
    """Return the risk–coverage curve and the area under it.

    Questions are answered from the surest on; risk is the share of wrong
    answers among those given (El-Yaniv and Wiener, "On the foundations of
    noise-free selective classification", 2010; the area is that of Geifman,
    Uziel and El-Yaniv, "Bias-reduced uncertainty estimation for deep neural
    classifiers", 2019). Equal confidences are answered together: the curve
    has one point a distinct confidence, and the area takes their mean over
    all orders. An answer to an unanswerable question is wrong.

    Parameters
    ----------
    confidences : sequence of float
        Shape ``(questions,)``.
    correct : sequence of bool
        Whether the answer would be right.

    Returns
    -------
    RiskCoverage
        The curve, from low to full coverage.

    Raises
    ------
    EvaluationError
        If the lengths differ, a value is not finite, or there is none.

    Examples
    --------
    >>> curve = risk_coverage([0.9, 0.7, 0.7, 0.2], [True, True, False, False])
    >>> curve.coverage, curve.risk[-1]
    ((0.25, 0.75, 1.0), 0.5)
    >>> curve.threshold_for(risk=0.0)
    0.9
    """
    scores, labels = _scores_and_labels(confidences, correct)
    order = np.argsort(-scores, kind="stable")
    scores, wrong = scores[order], 1 - labels[order]
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    answered, errors = ends + 1, np.cumsum(wrong)[ends]
    steps = np.arange(1, len(scores) + 1)
    expected = np.interp(steps, np.append(0, answered), np.append(0, errors))
    return RiskCoverage(
        coverage=tuple((answered / len(scores)).tolist()),
        risk=tuple((errors / answered).tolist()),
        threshold=tuple(scores[ends].tolist()),
        area=float((expected / steps).mean()),
    )


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns named features into a probability, by logistic regression.

    Parameters
    ----------
    names : tuple of str
        Names of the features, in the order of the weights.
    weights : tuple of float
        Weight of each feature, on the feature's own scale.
    bias : float
        What is added.

    Examples
    --------
    >>> calibration = Calibration(("top score",), (2.0,), -1.0)
    >>> calibration.confidence({"top score": 0.5})
    0.5
    >>> Calibration.from_json(calibration.to_json()) == calibration
    True
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    bias: float

    def confidence(self, features: Mapping[str, float]) -> float:
        """Return the probability for the features of one question.

        Parameters
        ----------
        features : Mapping of str to float
            One finite value for each of `names`.

        Returns
        -------
        float
            From 0 to 1.

        Raises
        ------
        EvaluationError
            If a feature is missing, unknown or not finite.
        """
        if set(features) != set(self.names):
            raise EvaluationError(
                f"the features are {sorted(features)}, but the calibration was fitted on "
                f"{sorted(self.names)}; give exactly those, or fit it again"
            )
        row = checked([features[name] for name in self.names], "features")
        return float(_sigmoid(row @ np.asarray(self.weights) + self.bias))

    def to_json(self) -> str:
        """Return the calibration as JSON text."""
        return json.dumps(
            {"names": list(self.names), "weights": list(self.weights), "bias": self.bias}
        )

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Read what `to_json` wrote.

        Parameters
        ----------
        text : str
            JSON text.

        Returns
        -------
        Calibration
            Equal to the one that was written.

        Raises
        ------
        EvaluationError
            If the text is not a calibration.
        """
        try:
            row = json.loads(text)
            names = tuple(str(name) for name in row["names"])
            numbers = checked([*row["weights"], row["bias"]], "weights").tolist()
        except (ValueError, KeyError, TypeError, RecursionError, EvaluationError) as error:
            raise EvaluationError(
                f"this is not a calibration ({error}); give the text that Calibration.to_json wrote"
            ) from error
        if len(names) != len(numbers) - 1:
            raise EvaluationError(
                f"the calibration has {len(names)} names for {len(numbers) - 1} weights; "
                "give the text that Calibration.to_json wrote"
            )
        return cls(names, tuple(numbers[:-1]), numbers[-1])


def fit_calibration(
    features: Mapping[str, Sequence[float]], labels: Sequence[bool], *, penalty: float = 1.0
) -> Calibration:
    """Fit a small logistic regression that turns features into a confidence.

    With one feature it is Platt's scaling ("Probabilistic outputs for support
    vector machines", 1999). Features are standardized for the fit, so that
    the ridge penalty treats them alike; the weights returned are on their own
    scale. Newton's method, from zero; nothing is random.

    Parameters
    ----------
    features : Mapping of str to sequence of float
        By name, one value a question, each of shape ``(questions,)``.
    labels : sequence of bool
        What the confidence should predict, such as "answerable".
    penalty : float
        Strength of the ridge penalty on standardized weights, above 0 (which
        keeps weights finite when a feature separates the classes).

    Returns
    -------
    Calibration
        Fitted on all questions given: keep others to judge it.

    Raises
    ------
    EvaluationError
        If there is no feature, lengths differ, a value is not finite, one
        class is empty, `penalty` is not above 0, or the fit does not settle.

    Examples
    --------
    >>> fitted = fit_calibration({"top score": [0.2, 0.3, 0.6, 0.7]}, [False, False, True, True])
    >>> fitted.confidence({"top score": 0.7}) > 0.7 > fitted.confidence({"top score": 0.2})
    True
    """
    if not features or not 0 < penalty < np.inf:
        raise EvaluationError(
            f"there are {len(features)} features and the penalty is {penalty}; "
            "give at least one feature and a penalty above 0"
        )
    columns = []
    for name, values in features.items():
        column, target = _scores_and_labels(values, labels, name=name)
        columns.append(column)
    _both_classes(target)
    rows = np.stack(columns, axis=1)
    centre, scale = rows.mean(axis=0), rows.std(axis=0)
    scale[scale == 0] = 1.0  # a constant feature tells nothing and gets weight 0
    solved = _newton(
        np.column_stack([(rows - centre) / scale, np.ones(len(rows))]), target, penalty
    )
    weights = solved[:-1] / scale
    return Calibration(
        tuple(features), tuple(weights.tolist()), float(solved[-1] - weights @ centre)
    )


def _newton(rows: _Array, target: _Array, penalty: float) -> _Array:
    ridge = np.full(rows.shape[1], penalty)
    ridge[-1] = 0.0  # the bias is free
    weights = np.zeros(rows.shape[1])
    for _ in range(_NEWTON_STEPS):
        chance = _sigmoid(rows @ weights)
        gradient = rows.T @ (chance - target) + ridge * weights
        curvature = (rows * (chance * (1 - chance))[:, None]).T @ rows + np.diag(ridge)
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        weights = weights - step
        if np.abs(step).max() <= 1e-8 * (1 + np.abs(weights).max()):
            return weights
    raise EvaluationError(
        f"the fit with penalty {penalty:g} has not settled after {_NEWTON_STEPS} steps, "
        "as happens when a feature separates the classes; give a larger penalty, such as 1"
    )


def _sigmoid(logits: _Array) -> _Array:
    return np.exp(-np.logaddexp(0, -logits))


def _mann_whitney(positives: _Array, negatives: _Array) -> float:
    negatives = np.sort(negatives)
    below = np.searchsorted(negatives, positives, side="left")
    not_above = np.searchsorted(negatives, positives, side="right")
    return float((below + not_above).mean() / 2 / len(negatives))


def _classes(scores: Sequence[float], labels: Sequence[bool]) -> tuple[_Array, _Array]:
    values, target = _scores_and_labels(scores, labels)
    _both_classes(target)
    return values[target == 1], values[target == 0]


def _both_classes(target: _Array) -> None:
    if target.min() == target.max():
        raise EvaluationError(
            f"all {len(target)} labels are {bool(target[0])}; give questions of both classes, "
            "answerable and unanswerable"
        )


def _scores_and_labels(
    scores: Sequence[float], labels: Sequence[bool], *, name: str = "scores"
) -> tuple[_Array, _Array]:
    values, target = checked(scores, name), checked(labels, "labels")
    if len(values) != len(target) or not np.isin(target, (0, 1)).all():
        raise EvaluationError(
            f"{len(values)} values of {name!r} stand against {len(target)} labels; "
            "give one label, true or false, for each value"
        )
    return values, target
