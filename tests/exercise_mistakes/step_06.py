"""Wrong answers to the exercises of notebook 06."""

import numpy as np


def _rows(scores):
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted.diagonal()


def summed(scores):
    return _rows(scores).sum()


def down_the_columns(scores):
    return _rows(scores.T).mean()


def overflows(scores):
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return -np.log(shares.diagonal()).mean()


def log_of_nothing(scores):
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares = shifted / shifted.sum(axis=1, keepdims=True)
    return -np.log(shares.diagonal()).mean()


def best_instead_of_right(scores):
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)).mean()


def no_filter(hits, evidence, count):
    return list(dict.fromkeys(hits))[:count]


def easiest(hits, evidence, count):
    wrong = [hit for hit in hits if " ".join(evidence.split()) not in " ".join(hit.split())]
    return wrong[::-1][:count]


def with_copies(hits, evidence, count):
    wrong = [hit for hit in hits if " ".join(evidence.split()) not in " ".join(hit.split())]
    return wrong[:count]


def minds_capitals(hits, evidence, count):
    return list(dict.fromkeys(with_copies(hits, evidence, len(hits))))[:count]


def every_fourth_pair(pairs):
    return [pair for place, pair in enumerate(pairs) if place % 4], pairs[::4]


def drops_the_leaks(pairs):
    train, dev = every_fourth_pair(pairs)
    taught = {passage for _, passage in train[:30]}
    return train[:30], [pair for pair in dev if pair[1] not in taught]


def _by(passages, pairs):
    held_out = set(passages)
    train = [pair for pair in pairs if pair[1] not in held_out]
    return train, [pair for pair in pairs if pair[1] in held_out]


def by_chance(pairs):
    passages = sorted({passage for _, passage in pairs})
    return _by(np.random.default_rng().choice(passages, 5, replace=False), pairs)


def by_place(pairs):
    return _by(list(dict.fromkeys(passage for _, passage in pairs))[::4], pairs)


def half_of_them(pairs):
    return _by(sorted({passage for _, passage in pairs})[::2], pairs)


def no_training(questions, passages):
    return np.eye(16)


def by_heart(questions, passages):
    few = 16
    return np.linalg.solve(questions[:few], passages[:few])


def the_other_way(questions, passages):
    return np.linalg.lstsq(passages, questions, rcond=None)[0].T @ np.diag([1.0] + [0.0] * 15)


def one_number_a_pair(questions, passages):
    return questions @ passages.T


def not_finite(questions, passages):
    return np.full((16, 16), np.nan)


MISTAKES = {
    "6.1": [
        (summed, "take the mean, not the sum"),
        (down_the_columns, "A row is a question"),
        (overflows, "exp(1000) is more than a float can hold"),
        (log_of_nothing, "Does a share of 0 reach the logarithm?"),
        (best_instead_of_right, "For the scores [[2.0, 0.0, 1.0]"),
    ],
    "6.2": [
        (no_filter, "it holds the evidence. Line breaks"),
        (easiest, "those the retriever ranked highest"),
        (with_copies, "found twice and taken twice"),
        (minds_capitals, "Capitals do not make a passage wrong"),
    ],
    "6.3": [
        (every_fourth_pair, "passages stand in train and in dev"),
        (drops_the_leaks, "every pair belongs to one side"),
        (by_chance, "split in two ways"),
        (by_place, "let the passages decide"),
        (half_of_them, "a quarter was asked for"),
    ],
    "6.4": [
        (no_training, "Which matrix takes each question nearest"),
        (by_heart, "unseen questions"),
        (the_other_way, "Which matrix takes each question nearest"),
        (one_number_a_pair, "this has the shape (60, 60)"),
        (not_finite, "no finite number"),
    ],
}
