"""Checks of the exercises to notebook 06: losses, negatives, leaks, and training something.

They need no model. The module does not know the solutions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from rag_helpers.exercises.checking import Attempt, Hint, exercise, require, show

__all__ = ["check_6_1", "check_6_2", "check_6_3", "check_6_4"]

_Matrix = npt.NDArray[np.float64]


@exercise("6.1", "The contrastive loss", "recall")
def check_6_1(loss: Attempt) -> None:
    """Check the mean cross-entropy of each row, whose diagonal is right."""
    one = float(loss(np.array([[3.0]])))
    require(
        abs(one) < 1e-9, f"With a single passage there is nothing to confuse it with: 0, not {one}."
    )
    even = float(loss(np.zeros((4, 4))))
    require(
        not math.isclose(even, 4 * math.log(4), rel_tol=1e-6),
        "Four rows of equal scores give four times what they should: take the mean, not the sum.",
    )
    require(
        math.isclose(even, math.log(4), rel_tol=1e-6),
        f"Four passages with equal scores: the right one gets a quarter, and -log(1/4) is "
        f"{math.log(4):.3f}; yours is {even:.3f}.",
    )
    scores = np.array([[2.0, 0.0, 1.0], [0.0, 0.0, 3.0], [1.0, 1.0, 1.0]])
    rows, columns = _cross_entropy(scores), _cross_entropy(scores.T)
    got = float(loss(scores))
    require(
        not math.isclose(got, columns, rel_tol=1e-6),
        "The probabilities were taken down the columns: that asks which question fits a passage. "
        "A row is a question.",
    )
    require(
        math.isclose(got, rows, rel_tol=1e-6),
        f"For the scores {scores.tolist()} it is {rows:.3f}; yours is {got:.3f}.",
    )
    with np.errstate(all="ignore"):
        large = float(loss(np.array([[1000.0, 0.0], [0.0, 1000.0]])))
    require(
        math.isfinite(large) and abs(large) < 1e-6,
        f"Scores of 1000 gave {large}: exp(1000) is more than a float can hold. What can be taken "
        "from every score of a row without changing the shares?",
    )
    with np.errstate(all="ignore"):
        wrong = float(loss(np.array([[0.0, 1000.0], [1000.0, 0.0]])))
    require(
        math.isclose(wrong, 1000.0),
        f"Wrong by 1000 costs 1000; yours is {wrong}. Does a share of 0 reach the logarithm?",
    )


def _cross_entropy(scores: _Matrix) -> float:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - np.diag(shifted)))


@exercise("6.2", "Negatives that are not right", "apply")
def check_6_2(mine: Attempt) -> None:
    """Check the first hits that do not hold the evidence."""
    evidence = "raises a ZeroDivisionError exception"
    right = "Division by zero\n   raises a  ZeroDivisionError exception."
    hits = ["The floor operator //.", right, "Modulo by zero.", "Shifts.", "Modulo by zero."]
    got = list(mine(hits, evidence, 2))
    require(
        right not in got,
        f"{show(right)} was taught as wrong, and it holds the evidence. Line breaks and double "
        "spaces must not hide that.",
    )
    require(
        got == [hits[0], hits[2]],
        f"From {show(hits)} it took {show(got)}. The hardest negatives are those the retriever "
        "ranked highest.",
    )
    got = list(mine(hits, evidence, 9))
    require(
        len(got) == len(set(got)),
        "The passage 'Modulo by zero.' was found twice and taken twice; once is enough.",
    )
    require(
        got == [hits[0], hits[2], hits[3]], f"With count 9 take all there are, not {show(got)}."
    )
    require(
        list(mine([right, "It RAISES A ZERODIVISIONERROR EXCEPTION there."], evidence, 3)) == [],
        "Capitals do not make a passage wrong that holds the evidence.",
    )
    require(list(mine([], evidence, 1)) == [], "Without hits there is no negative.")
    require(list(mine(hits, evidence, 0)) == [], "count 0 takes none.")


@exercise("6.3", "A split that leaks", "break and mend")
def check_6_3(split: Attempt) -> None:
    """Check that no passage stands on both sides."""
    pairs = [(f"question {n}", f"passage {n % 21}") for n in range(84)]
    train, dev = (list(part) for part in split(pairs))
    both = {passage for _, passage in train} & {passage for _, passage in dev}
    require(
        not both,
        f"{len(both)} passages stand in train and in dev, such as {sorted(both)[:1]}: the model "
        "would be asked about what it was taught.",
    )
    require(
        sorted(train + dev) == sorted(pairs),
        f"{len(pairs)} pairs went in and {len(train) + len(dev)} came out; every pair belongs to "
        "one side.",
    )
    require(
        0.15 <= len(dev) / len(pairs) <= 0.35,
        f"{len(dev)} of {len(pairs)} pairs are for dev; a quarter was asked for.",
    )
    again = [list(part) for part in split(pairs)]
    require(again == [train, dev], "The same pairs were split in two ways: fix the seed inside.")
    mixed = [list(part) for part in split(pairs[2::3] + pairs[::3] + pairs[1::3])]
    require(
        {passage for _, passage in mixed[1]} == {passage for _, passage in dev},
        "The same pairs in another order put other passages into dev. Then a new file order would "
        "leak dev into train: let the passages decide, not their places.",
    )


@exercise("6.4", "Training that carries over", "open-ended")
def check_6_4(train: Attempt) -> None:
    """Check that a trained matrix brings unseen questions closer to their passages."""
    gains = []
    for seed in range(3):
        questions, passages = _world(seed)
        cut = 60
        matrix = train(questions[:cut], passages[:cut])
        shape = np.shape(matrix)
        if shape != (16, 16):
            raise Hint(
                f"train should return a matrix of 16 × 16 for vectors of 16 numbers; this has the "
                f"shape {shape}."
            )
        matrix = np.asarray(matrix, dtype=float)
        require(np.isfinite(matrix).all(), "The matrix holds what is no finite number.")
        unseen, right = questions[cut:], passages[cut:]
        gains.append((_first(unseen, right), _first(unseen @ matrix, right)))
        seen = _first(questions[:cut] @ matrix, passages[:cut])
        require(
            gains[-1][1] >= 0.6,
            f"Of 140 unseen questions {gains[-1][1]:.0%} find their passage first after your "
            f"training, {gains[-1][0]:.0%} did before, and {seen:.0%} of the 60 trained ones do. "
            "At least 60 % of the unseen ones are needed. "
            + (
                "It learnt its lessons by heart."
                if seen > gains[-1][1] + 0.3
                else "Which matrix takes each question nearest to its passage?"
            ),
        )


def _world(seed: int) -> tuple[_Matrix, _Matrix]:
    """Return 200 questions and passages, turned against each other, with noise."""
    generator = np.random.default_rng(seed)
    passages = generator.normal(size=(200, 16))
    turn, _ = np.linalg.qr(generator.normal(size=(16, 16)))
    questions = passages @ turn + 0.5 * generator.normal(size=(200, 16))
    return questions, passages


def _first(questions: Any, passages: _Matrix) -> float:  # noqa: ANN401 (a learner's product)
    units = passages / np.linalg.norm(passages, axis=1, keepdims=True)
    return float(((questions @ units.T).argmax(axis=1) == np.arange(len(passages))).mean())
