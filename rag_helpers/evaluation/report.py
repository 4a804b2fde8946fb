"""What an evaluation found: means with intervals, outcomes and times.

The module knows results alone; how questions were asked is for
`rag_helpers.evaluation.run`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rag_helpers.errors import EvaluationError
from rag_helpers.evaluation.abstention import RiskCoverage, auroc_interval, risk_coverage
from rag_helpers.evaluation.attribution import count_outcomes
from rag_helpers.evaluation.intervals import (
    Interval,
    PairedTest,
    bootstrap_interval,
    paired_test,
)
from rag_helpers.evaluation.results import QuestionResult, Setting

__all__ = [
    "ANSWER_METRICS",
    "DEPTH",
    "RECALL_DEPTHS",
    "RETRIEVAL_METRICS",
    "Report",
    "compare",
    "summarize",
]

RECALL_DEPTHS = (1, 3, 5, 10)
DEPTH = 10
RETRIEVAL_METRICS = (*(f"recall@{k}" for k in RECALL_DEPTHS), f"mrr@{DEPTH}", f"ndcg@{DEPTH}")
ANSWER_METRICS = (
    "exact_match",
    "f1",
    "rougeL",
    "bleu",
    "contains_answer",
    "answer_in_context",
    "supported_by_citation",
)


@dataclass(frozen=True)
class Report:
    """What an evaluation found.

    Parameters
    ----------
    results : tuple of QuestionResult
        One a question, in the order of the gold questions.
    metrics : Mapping of str to Interval or None
        Means with their 95 % intervals; None for what was not measured.
    words_per_hit : float
        Mean words a hit.
    attribution : Mapping of str to int
        Questions per outcome; empty when only retrieval was measured.
    latency_ms : Mapping
        ``{"stage": {"p50": …, "p95": …}}`` in milliseconds.
    unresolved : tuple of str
        Ids of questions that were left out, because their evidence stands
        nowhere in the corpus.
    settings : Mapping
        As given to `evaluate`.
    versions : Mapping of str to str
        As given to `evaluate`.
    """

    results: tuple[QuestionResult, ...]
    metrics: Mapping[str, Interval | None]
    words_per_hit: float
    attribution: Mapping[str, int]
    latency_ms: Mapping[str, Mapping[str, float]]
    unresolved: tuple[str, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """How many questions were scored, unanswerable ones included."""
        return len(self.results)

    @property
    def n_answerable(self) -> int:
        """How many of them the corpus answers: what all means are over."""
        return sum(result.answerable for result in self.results)

    def values(self, metric: str) -> dict[str, float]:
        """Return one value per answerable question, by id.

        Parameters
        ----------
        metric : str
            One of `RETRIEVAL_METRICS` and `ANSWER_METRICS`.

        Returns
        -------
        dict of str to float
            Empty when the metric was not measured.
        """
        return {r.id: r.scores[metric] for r in self.results if metric in r.scores}

    def risk_coverage(self) -> RiskCoverage:
        """Return what answering only the surest questions would cost and save.

        Returns
        -------
        RiskCoverage
            Over all questions; an answer is correct when its outcome is
            ``"right"``. Evaluate with a threshold of 0: an answer withheld
            counts as wrong.

        Raises
        ------
        EvaluationError
            If only retrieval was measured.
        """
        asked = [result for result in self.results if result.confidence is not None]
        return risk_coverage(
            [result.confidence for result in asked if result.confidence is not None],
            [result.outcome == "right" for result in asked],
        )

    def to_json(self) -> dict[str, object]:
        """Return the report as a dictionary that `json.dumps` takes.

        Returns
        -------
        dict
            ``n``, ``n_answerable``, ``n_unanswerable``, every metric and
            ``abstention_auroc`` as ``{"value", "low", "high"}`` or null when
            not measured, ``words_per_hit``, ``attribution``, ``latency_ms``,
            ``unresolved``, ``settings`` and ``versions``.
        """
        return {
            "n": self.n,
            "n_answerable": self.n_answerable,
            "n_unanswerable": self.n - self.n_answerable,
            **{name: value and value.to_json() for name, value in self.metrics.items()},
            "words_per_hit": self.words_per_hit,
            "attribution": dict(self.attribution),
            "latency_ms": {stage: dict(times) for stage, times in self.latency_ms.items()},
            "unresolved": list(self.unresolved),
            "settings": dict(self.settings),
            "versions": dict(self.versions),
        }

    def __str__(self) -> str:
        lines = [f"{self.n_answerable} answerable and {self.n - self.n_answerable} unanswerable"]
        if self.unresolved:
            lines[0] += f"; {len(self.unresolved)} left out, whose evidence is not in the corpus"
        lines += [f"{name:<22} {value}" for name, value in self.metrics.items() if value]
        lines.append(f"{'words_per_hit':<22} {self.words_per_hit:.1f}")
        lines += [f"{name:<22} {count}" for name, count in self.attribution.items()]
        for stage, times in self.latency_ms.items():
            lines.append(f"{stage + ' (ms)':<22} p50 {times['p50']:.1f}, p95 {times['p95']:.1f}")
        return "\n".join(lines)


def summarize(
    results: Sequence[QuestionResult],
    *,
    unresolved: Sequence[str] = (),
    settings: Mapping[str, Setting] | None = None,
    versions: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Report:
    """Turn results of single questions into a report.

    Parameters
    ----------
    results : sequence of QuestionResult
        At least one.
    unresolved : sequence of str
        Ids of questions that were left out.
    settings, versions : Mapping, optional
        For the report.
    seed : int
        Makes the bootstrap repeatable.

    Returns
    -------
    Report
        Means over answerable questions, with intervals.

    Raises
    ------
    EvaluationError
        If there is no result.

    Examples
    --------
    >>> report = summarize([QuestionResult("q1", True, {"f1": 0.5}, words_per_hit=120.0)])
    >>> print(report)
    1 answerable and 0 unanswerable
    f1                     0.500 [0.500, 0.500]
    words_per_hit          120.0
    """
    if not results:
        raise EvaluationError("there are 0 results to report; score at least one question")
    return Report(
        results=tuple(results),
        metrics=_metrics(results, seed),
        words_per_hit=float(np.mean([result.words_per_hit for result in results])),
        attribution=_attribution(results),
        latency_ms=_latencies(results),
        unresolved=tuple(unresolved),
        settings=dict(settings or {}),
        versions=dict(versions or {}),
    )


def compare(first: Report, second: Report, metric: str, *, seed: int = 0) -> PairedTest:
    """Compare two reports on the questions that both answered.

    Parameters
    ----------
    first, second : Report
        Of two systems on the same gold questions.
    metric : str
        One of `RETRIEVAL_METRICS` and `ANSWER_METRICS`.
    seed : int
        Makes the test repeatable.

    Returns
    -------
    PairedTest
        Difference, first minus second.

    Raises
    ------
    EvaluationError
        If they share no question with that metric.
    """
    ours, theirs = first.values(metric), second.values(metric)
    both = [name for name in ours if name in theirs]
    if not both:
        raise EvaluationError(
            f"the reports share no question with the metric {metric!r}; "
            "give two reports on the same questions that both measured it"
        )
    return paired_test([ours[name] for name in both], [theirs[name] for name in both], seed=seed)


def _metrics(results: Sequence[QuestionResult], seed: int) -> dict[str, Interval | None]:
    metrics: dict[str, Interval | None] = {}
    for name in (*RETRIEVAL_METRICS, *ANSWER_METRICS):
        values = [result.scores[name] for result in results if name in result.scores]
        metrics[name] = bootstrap_interval(values, seed=seed) if values else None
    asked = [(r.confidence, r.answerable) for r in results if r.confidence is not None]
    labels = [answerable for _, answerable in asked]
    metrics["abstention_auroc"] = (
        auroc_interval([confidence for confidence, _ in asked], labels, seed=seed)
        if len(set(labels)) == 2
        else None
    )
    return metrics


def _attribution(results: Sequence[QuestionResult]) -> dict[str, int]:
    outcomes = [result.outcome for result in results if result.outcome is not None]
    return {str(name): count for name, count in count_outcomes(outcomes).items() if outcomes}


def _latencies(results: Sequence[QuestionResult]) -> dict[str, dict[str, float]]:
    stages: dict[str, list[float]] = {}
    for result in results:
        for stage, time_ms in result.timings_ms.items():
            stages.setdefault(stage, []).append(time_ms)
    return {
        stage: {"p50": float(np.percentile(times, 50)), "p95": float(np.percentile(times, 95))}
        for stage, times in stages.items()
    }
