"""Wrong answers to the exercises of notebook 03."""

import numpy as np


def leaves_out_the_lost(ranks, k):
    found = [rank for rank in ranks if rank is not None]
    return (
        sum(rank <= k for rank in found) / max(len(found), 1),
        sum(1 / rank for rank in found if rank <= k) / max(len(found), 1),
    )


def mean_over_the_found(ranks, k):
    found = [rank for rank in ranks if rank is not None and rank <= k]
    return len(found) / len(ranks), sum(1 / rank for rank in found) / max(len(found), 1)


def beyond_k_too(ranks, k):
    found = [rank for rank in ranks if rank is not None]
    return len(found) / len(ranks), sum(1 / rank for rank in found) / len(ranks)


def ranks_from_nought(ranks, k):
    found = [rank for rank in ranks if rank is not None and rank <= k]
    return len(found) / len(ranks), sum(1 / (rank + 1) for rank in found) / len(ranks)


def below_k(ranks, k):
    found = [rank for rank in ranks if rank is not None and rank < k]
    return len(found) / len(ranks), sum(1 / rank for rank in found) / len(ranks)


def _fuse(lists, share):
    score = {}
    for ranking in lists:
        for rank, name in enumerate(ranking, start=1):
            score[name] = score.get(name, 0) + share(rank)
    return sorted(score, key=lambda name: -score[name])


def intersection(lists, constant=60):
    return [name for name in lists[0] if all(name in other for other in lists)]


def best_rank_alone(lists, constant=60):
    best = {}
    for ranking in lists:
        for rank, name in enumerate(ranking, start=1):
            best[name] = min(best.get(name, 999), rank)
    return sorted(best, key=lambda name: best[name])


def mean_of_ranks(lists, constant=60):
    names = list(dict.fromkeys(name for ranking in lists for name in ranking))

    def total(name):
        return sum(r.index(name) if name in r else len(r) for r in lists)

    return sorted(names, key=total)


def ignores_the_constant(lists, constant=60):
    return _fuse(lists, lambda rank: 1 / (60 + rank))


def worst_first(lists, constant=60):
    return _fuse(lists, lambda rank: 1 / (constant + rank))[::-1]


def _top(scores, k):
    return [(int(row), float(scores[row])) for row in np.argsort(-scores, kind="stable")[:k]]


def raw_product(vectors, question, k):
    return _top(vectors @ question, k)


def passages_alone_normalized(vectors, question, k):
    return _top(vectors @ question / np.linalg.norm(vectors, axis=1), k)


def divides_by_nought(vectors, question, k):
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(question)
    return _top(vectors @ question / lengths, k)


def wrong_end_first(vectors, question, k):
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(question)
    scores = vectors @ question / np.where(lengths == 0, 1, lengths)
    return [(int(row), float(scores[row])) for row in np.argsort(scores)[:k]]


def raw_words(passages):
    def search(question):
        words = set(question.lower().split())
        counts = [len(words & set(passage.lower().split())) for passage in passages]
        return sorted(range(len(passages)), key=lambda n: -counts[n])

    return search


def passages_themselves(passages):
    return lambda question: list(passages)


def no_function(passages):
    return list(range(len(passages)))


def the_same_again(passages):
    return lambda question: [0] * 10


MISTAKES = {
    "3.1": [
        (leaves_out_the_lost, "It counts, as a miss"),
        (mean_over_the_found, "take it over all"),
        (beyond_k_too, "a rank beyond k counts as not found"),
        (ranks_from_nought, "with rank 2 a half"),
        (below_k, "A rank of exactly k is found"),
    ],
    "3.2": [
        (intersection, "every name of every list belongs in the result"),
        (best_rank_alone, "which beats being first in one"),
        (mean_of_ranks, "must not count as a rank"),
        (ignores_the_constant, "does the second argument count?"),
        (worst_first, "One list alone keeps its order"),
    ],
    "3.3": [
        (raw_product, "Ten rows were made 50 times as long"),
        (passages_alone_normalized, "The question's vector was doubled"),
        (divides_by_nought, "A row of zeros (an empty passage)"),
        (wrong_end_first, "points away from the question comes first"),
    ],
    "3.4": [
        (raw_words, "Beat it by more than 0.05"),
        (passages_themselves, "return the numbers of the passages"),
        (no_function, "build_search should return a function"),
        (the_same_again, "returns a passage twice"),
    ],
}
