"""Intervals, paired tests, abstention and ratings, against other libraries and by hand."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

from rag_helpers.errors import EvaluationError
from rag_helpers.evaluation import (
    Calibration,
    Rating,
    auroc,
    auroc_interval,
    blind_items,
    bootstrap_interval,
    cohen_kappa,
    fit_calibration,
    kappa_between,
    paired_test,
    risk_coverage,
    win_rates,
)
from rag_helpers.evaluation import intervals as intervals_module


def test_the_bootstrap_interval_of_a_proportion_is_close_to_the_normal_one():
    interval = bootstrap_interval([1.0] * 300 + [0.0] * 100)
    # Standard error of 0.75 with 400 questions: sqrt(0.75 * 0.25 / 400) = 0.02165.
    assert interval.value == 0.75
    assert interval.low == pytest.approx(0.75 - 1.96 * 0.02165, abs=0.006)
    assert interval.high == pytest.approx(0.75 + 1.96 * 0.02165, abs=0.006)


def test_the_bootstrap_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(3).gamma(2.0, size=120)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=5000, method="percentile", rng=1
    ).confidence_interval
    ours = bootstrap_interval(values, n=5000)
    assert ours.low == pytest.approx(theirs.low, abs=0.02)
    assert ours.high == pytest.approx(theirs.high, abs=0.02)


def test_the_bootstrap_repeats_by_seed_and_does_not_depend_on_the_block_size(monkeypatch):
    values = [0.0, 1.0, 1.0] * 20
    first = bootstrap_interval(values, seed=1)
    assert first == bootstrap_interval(values, seed=1)
    monkeypatch.setattr(intervals_module, "_BLOCK", 60 * 7)
    assert bootstrap_interval(values, seed=1) == first


def test_one_value_has_an_interval_without_width():
    interval = bootstrap_interval([0.4])
    assert (interval.low, interval.value, interval.high) == (0.4, 0.4, 0.4)
    assert interval.to_json() == {"value": 0.4, "low": 0.4, "high": 0.4}


@pytest.mark.parametrize("values", [[], [float("nan")], [float("inf")], [[1.0]], ["x"], [None]])
def test_values_that_are_no_numbers_are_refused(values):
    with pytest.raises(EvaluationError, match="one finite number a question"):
        bootstrap_interval(values)


@pytest.mark.parametrize("call", [bootstrap_interval, lambda v, n: auroc_interval(v, [1, 0], n=n)])
def test_resamples_below_one_are_refused(call):
    with pytest.raises(EvaluationError, match="n is 0 resamples"):
        call([0.2, 0.4], n=0)


def test_p_of_the_paired_test_is_close_to_the_exact_one():
    first, second = [1, 1, 1, 0, 1, 1, 0, 1], [0, 0, 1, 1, 0, 0, 0, 0]
    gaps = np.subtract(first, second)
    flips = [abs(np.dot(signs, gaps)) for signs in itertools.product((-1, 1), repeat=8)]
    exact = np.mean([flip >= abs(gaps.sum()) for flip in flips])
    test = paired_test(first, second)
    assert 0.1 < exact < 0.3
    assert test.p == pytest.approx(exact, abs=0.015)  # 10,000 flips: standard error 0.004
    assert test.difference.value == pytest.approx(0.5)  # six right against two, of eight
    assert test.n == 8


def test_equal_systems_have_no_difference_and_p_is_never_zero():
    same = paired_test([1, 0, 1], [1, 0, 1])
    assert (same.difference.value, same.p) == (0.0, 1.0)
    clear = paired_test([1.0] * 50, [0.0] * 50, n=999)
    # The observed signs are one of the 1,000 ways: p cannot fall below 1/1000.
    assert clear.p == pytest.approx(0.001)


def test_the_paired_interval_is_narrower_than_that_of_unpaired_questions():
    chance = np.random.default_rng(0)
    hard = chance.random(300)
    first, second = hard + 0.05 + chance.normal(0, 0.01, 300), hard
    test = paired_test(first, second)
    assert test.difference.low > 0.045
    assert bootstrap_interval(first).low < bootstrap_interval(second).high


def test_systems_with_different_questions_are_refused():
    with pytest.raises(EvaluationError, match="have 2 and 1 values"):
        paired_test([1, 0], [1])


def test_auroc_agrees_with_scikit_learn_ties_included():
    from sklearn.metrics import roc_auc_score

    chance = np.random.default_rng(0)
    for _ in range(50):
        scores = chance.integers(0, 6, 40) / 5
        labels = np.append(chance.random(38) < 0.3, [True, False])
        assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


def test_the_interval_of_auroc_holds_it_and_narrows_with_more_questions():
    chance = np.random.default_rng(0)

    def width(n):
        labels = np.arange(n) % 2 == 0
        interval = auroc_interval(chance.normal(labels * 1.0, 1.0), labels, n=500)
        assert interval.low < interval.value < interval.high
        return interval.high - interval.low

    # Four times the questions halve the width; chance leaves some play.
    assert width(400) < 0.7 * width(100)


@pytest.mark.parametrize("labels", [[True, True], [False, False]])
def test_auroc_needs_both_kinds_of_questions(labels):
    with pytest.raises(EvaluationError, match="questions of both classes"):
        auroc([0.1, 0.2], labels)


def test_labels_must_match_the_scores():
    with pytest.raises(EvaluationError, match="2 values of 'scores' stand against 1 labels"):
        auroc([0.1, 0.2], [True])
    with pytest.raises(EvaluationError, match="true or false"):
        auroc([0.1, 0.2], [0, 2])


def test_risk_and_coverage_by_hand():
    curve = risk_coverage([0.2, 0.9, 0.5, 0.5], [False, True, True, False])
    assert curve.coverage == (0.25, 0.75, 1.0)
    assert curve.threshold == (0.9, 0.5, 0.2)
    assert curve.risk == pytest.approx((0, 1 / 3, 2 / 4))
    # The two in the tie are wrong once: in the mean half an error after the first of them.
    assert curve.area == pytest.approx((0 / 1 + 0.5 / 2 + 1 / 3 + 2 / 4) / 4)
    assert curve.threshold_for(0.4) == 0.5
    assert curve.threshold_for(-1) is None


def test_the_area_is_the_mean_over_all_orders_of_a_tie():
    correct = [True, False, False, True, True]
    areas = []
    for order in itertools.permutations(correct):
        errors = np.cumsum([not right for right in order])
        areas.append(np.mean(errors / np.arange(1, 6)))
    assert risk_coverage([0.5] * 5, correct).area == pytest.approx(np.mean(areas))


def test_the_calibration_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    chance = np.random.default_rng(0)
    rows = np.column_stack([chance.normal(5, 3, 200), chance.normal(-40, 0.1, 200)])
    labels = chance.random(200) < 1 / (1 + np.exp(5 - rows[:, 0]))
    ours = fit_calibration({"a": rows[:, 0], "b": rows[:, 1]}, labels, penalty=2.0)
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    theirs = LogisticRegression(C=1 / 2.0, tol=1e-10).fit(scaled, labels)
    told = theirs.predict_proba(scaled)[:, 1]
    said = [ours.confidence({"a": a, "b": b}) for a, b in rows]
    assert said == pytest.approx(told, abs=1e-5)


def test_a_feature_that_separates_or_is_constant_does_no_harm():
    fitted = fit_calibration({"a": [0, 1, 2, 3], "b": [7, 7, 7, 7]}, [0, 0, 1, 1], penalty=1e-6)
    assert all(math.isfinite(weight) for weight in fitted.weights)
    assert fitted.weights[1] == pytest.approx(0.0, abs=1e-12)
    assert fitted.confidence({"a": 0, "b": 7}) < 0.01 < 0.99 < fitted.confidence({"a": 3, "b": 7})
    # Far outside what was seen there is no overflow.
    assert fitted.confidence({"a": -1e9, "b": 7}) == 0.0


def test_a_fit_that_cannot_settle_says_so():
    with pytest.raises(EvaluationError, match=r"not settled after 100 steps.*a larger penalty"):
        fit_calibration({"a": [0, 1, 2, 3]}, [0, 0, 1, 1], penalty=1e-300)


def test_features_on_different_scales_give_the_same_confidence():
    values, labels = [0.1, 0.4, 0.35, 0.8, 0.9, 0.2], [0, 0, 1, 1, 1, 0]
    small = fit_calibration({"a": values}, labels)
    large = fit_calibration({"a": [1000 * value + 5 for value in values]}, labels)
    assert small.confidence({"a": 0.5}) == pytest.approx(large.confidence({"a": 505}))


def test_a_calibration_survives_json_and_refuses_anything_else():
    fitted = fit_calibration({"a": [0.1, 0.9, 0.4], "é": [1, 0, 1]}, [0, 1, 1])
    assert Calibration.from_json(fitted.to_json()) == fitted
    for text in ("", "[]", "{}", '{"names": [], "weights": "x", "bias": 0}', "null", "[" * 10**5):
        with pytest.raises(EvaluationError, match="not a calibration"):
            Calibration.from_json(text)
    with pytest.raises(EvaluationError, match="1 names for 2 weights"):
        Calibration.from_json(json.dumps({"names": ["a"], "weights": [1, 2], "bias": 0}))
    with pytest.raises(EvaluationError, match="give exactly those"):
        fitted.confidence({"a": 1.0})


def test_a_calibration_needs_features_penalty_and_both_classes():
    with pytest.raises(EvaluationError, match="0 features"):
        fit_calibration({}, [0, 1])
    with pytest.raises(EvaluationError, match="penalty is 0"):
        fit_calibration({"a": [0, 1]}, [0, 1], penalty=0)
    with pytest.raises(EvaluationError, match="both classes"):
        fit_calibration({"a": [0, 1]}, [1, 1])
    with pytest.raises(EvaluationError, match="'a' holds something else"):
        fit_calibration({"a": [0, math.nan]}, [0, 1])


def test_kappa_agrees_with_scikit_learn():
    from sklearn.metrics import cohen_kappa_score

    chance = np.random.default_rng(1)
    for _ in range(20):
        first, second = chance.integers(0, 3, (2, 30)).tolist()
        assert cohen_kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))


def test_kappa_is_undefined_where_chance_agrees_fully_and_needs_pairs():
    assert cohen_kappa([1, 1], [1, 1]) is None
    # Always the same against always the other: no agreement, none expected.
    assert cohen_kappa([1, 1], [0, 0]) == 0.0
    with pytest.raises(EvaluationError, match="gave 1 and 2 labels"):
        cohen_kappa([1], [1, 1])
    with pytest.raises(EvaluationError, match="gave 0 and 0 labels"):
        cohen_kappa([], [])


def _rating(question, system, rater, correct, fluent=0):
    return Rating(question, system, rater, {"correct": correct, "fluent": fluent})


def test_kappa_between_raters_takes_their_last_word_on_common_answers():
    ratings = [
        _rating("q1", "s", "Ada", 0),
        _rating("q1", "s", "Ada", 1),  # changed her mind
        _rating("q2", "s", "Ada", 0),
        _rating("q3", "s", "Ada", 0),  # Bob never saw it
        _rating("q1", "s", "Bob", 1),
        _rating("q2", "s", "Bob", 0),
    ]
    assert kappa_between(ratings, "Ada", "Bob", "correct") == 1.0
    with pytest.raises(EvaluationError, match="0 and 0 labels"):
        kappa_between(ratings, "Ada", "Eve", "correct")


def test_win_rates_count_raters_and_average_them_by_question():
    ratings = [
        _rating("q1", "new", "Ada", 1),
        _rating("q1", "old", "Ada", 0),
        _rating("q1", "new", "Bob", 1, fluent=0),
        _rating("q1", "old", "Bob", 1, fluent=1),
        _rating("q2", "new", "Ada", 1),
        _rating("q2", "old", "Ada", 0),
        _rating("q3", "new", "Ada", 1),  # no rival
    ]
    [by_sum] = win_rates(ratings)
    assert (by_sum.wins, by_sum.ties, by_sum.losses) == (2, 0, 1)
    assert by_sum.rate.value == pytest.approx((0.5 + 1.0) / 2)  # q1: one win, one loss
    [correct] = win_rates(ratings, "correct")
    assert (correct.wins, correct.ties, correct.losses) == (2, 1, 0)
    assert correct.rate.value == pytest.approx((0.75 + 1.0) / 2)
    assert win_rates([]) == []


def test_blinded_orders_hide_the_system_and_stay_when_questions_are_added():
    names = [f"q{number}" for number in range(200)]
    answers = {system: {name: f"{system} {name}" for name in names} for system in ("new", "old")}
    items = blind_items(answers)
    assert all(
        text == f"{system} {item.question_id}"
        for item in items
        for system, text in zip(item.systems, item.texts, strict=True)
    )
    first = sum(item.systems[0] == "new" for item in items)
    assert 70 < first < 130  # 100 expected, standard deviation 7
    fewer = {system: dict(list(texts.items())[50:]) for system, texts in answers.items()}
    assert blind_items(fewer) == items[50:]
    assert blind_items(answers, seed=1) != items


def test_only_questions_that_all_systems_answered_can_be_compared():
    [item] = blind_items({"a": {"q1": "x", "q2": "y"}, "b": {"q2": "z"}})
    assert item.question_id == "q2"
    for nothing in ({}, {"a": {"q1": "x"}, "b": {}}):
        with pytest.raises(EvaluationError, match="no question was answered by all"):
            blind_items(nothing)
