"""Wrong answers to the exercises of notebook 07."""

import numpy as np


def cuts_off(weights):
    scale = np.abs(weights).max() / 127 or 1.0
    return np.trunc(weights / scale * (1 + 1e-12)).astype(int), scale


def largest_without_sign(weights):
    scale = weights.max() / 127 or 1.0
    return np.round(weights / scale).astype(int), scale


def by_the_sum(weights):
    scale = np.abs(weights).sum() / 127 or 1.0
    return np.round(weights / scale).astype(int), scale


def divides_by_nought(weights):
    scale = np.abs(weights).max() / 127
    return np.round(weights / scale), scale


def not_rounded(weights):
    scale = np.abs(weights).max() / 127 or 1.0
    return weights / scale, scale


def _squares(vectors, point):
    return ((vectors - point) ** 2).sum(axis=1)


def looks_everywhere(vectors, centres, question, probes, k):
    return np.argsort(_squares(vectors, question), kind="stable")[:k]


def _inside(vectors, centres, question, probes):
    homes = ((vectors[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    near = np.argsort(_squares(centres, question), kind="stable")[:probes]
    return np.flatnonzero(np.isin(homes, near))


def one_list_always(vectors, centres, question, probes, k):
    inside = _inside(vectors, centres, question, 1)
    return inside[np.argsort(_squares(vectors[inside], question), kind="stable")[:k]]


def in_order_of_the_list(vectors, centres, question, probes, k):
    return _inside(vectors, centres, question, probes)[:k]


def by_product(vectors, centres, question, probes, k):
    inside = _inside(vectors, centres, question, probes)
    return inside[np.argsort(-(vectors[inside] @ question), kind="stable")[:k]]


def filled_up(vectors, centres, question, probes, k):
    inside = _inside(vectors, centres, question, probes)
    found = inside[np.argsort(_squares(vectors[inside], question), kind="stable")[:k]].tolist()
    return found + [-1] * (k - len(found))


def everybody_waits(arrivals, seconds, size):
    free, finished = 0.0, []
    for arrival in arrivals:
        free = max(free, arrival) + seconds
        finished.append(free)
    return finished


def _serve(arrivals, seconds, size, full):
    free, begins, outcome = 0.0, [], []
    for arrival in arrivals:
        if free > arrival and full(begins, arrival, seconds, size):
            outcome.append(429)
            continue
        begins.append(max(free, arrival))
        free = begins[-1] + seconds
        outcome.append(free)
    return outcome


def counts_who_is_served(arrivals, seconds, size):
    return _serve(
        arrivals, seconds, size, lambda b, now, s, size: sum(x + s > now for x in b) >= size
    )


def never_frees_a_place(arrivals, seconds, size):
    taken, free, outcome = 0, 0.0, []
    for arrival in arrivals:
        if free > arrival:
            if taken >= size:
                outcome.append(429)
                continue
            taken += 1
        free = max(free, arrival) + seconds
        outcome.append(free)
    return outcome


def turns_away_whoever_waits(arrivals, seconds, size):
    return _serve(arrivals, seconds, size, lambda *_: True)


def packed_as_float16(weights):
    return weights.astype(np.float16).tobytes()


def unpacked_from_float16(data, shape):
    return np.frombuffer(data, np.float16).reshape(shape)


def packed_with_one_scale(weights):
    scale = np.float32(np.abs(weights).max() / 127 or 1.0)
    return scale.tobytes() + np.round(weights / scale).astype(np.int8).tobytes()


def unpacked_with_one_scale(data, shape):
    scale = np.frombuffer(data[:4], np.float32)[0]
    return np.frombuffer(data[4:], np.int8).reshape(shape) * scale


def unpacked_flat(data, shape):
    return unpacked_with_one_scale(data, (len(data) - 4,))


def packed_as_four_bits(weights):
    scale = np.float32(np.abs(weights).max() / 7 or 1.0)
    return scale.tobytes() + np.round(weights / scale).astype(np.int8).tobytes()


def packed_as_a_list(weights):
    return weights.tolist()


def unpacked_from_a_list(data, shape):
    return np.array(data)


MISTAKES = {
    "7.1": [
        (cuts_off, "cutting off errs by one"),
        (largest_without_sign, "the most negative weight larger"),
        (by_the_sum, "with 127 the steps are finest"),
        (divides_by_nought, "no largest weight to divide by"),
        (not_rounded, "holds fractions"),
    ],
    "7.2": [
        (looks_everywhere, "With one probe it must not be looked at"),
        (one_list_always, "Does the number of probes count?"),
        (in_order_of_the_list, "nearest first that is"),
        (by_product, "the list of centre 0 holds"),
        (filled_up, "A list of one vector gives one hit"),
    ],
    "7.3": [
        (everybody_waits, "the fourth finds the queue full"),
        (counts_who_is_served, "One is served and two wait: all are let in"),
        (never_frees_a_place, "its place in the queue is free again"),
        (turns_away_whoever_waits, "One is served and two wait"),
    ],
    "7.4": [
        ((packed_as_float16, unpacked_from_float16), "16.0 bits a weight"),
        ((packed_with_one_scale, unpacked_with_one_scale), "share a scale with an outlier"),
        ((packed_with_one_scale, unpacked_flat), "came back as (16384,)"),
        ((packed_as_four_bits, unpacked_with_one_scale), "plain: the mean error is"),
        ((packed_as_a_list, unpacked_from_a_list), "pack should return bytes"),
    ],
}
