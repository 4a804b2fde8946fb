"""Kinds of FAISS index, side by side: speed beside what they miss.

The module does not know what the vectors stand for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rag_helpers.errors import InvalidInputError
from rag_helpers.records import FloatArray

__all__ = ["IndexMeasurement", "imitate_vectors", "measure_indexes"]

# All queries over a small index take milliseconds, which any other program can double.
_PASSES = 5


@dataclass(frozen=True, slots=True)
class IndexMeasurement:
    """How fast and how complete one kind of FAISS index is.

    Parameters
    ----------
    name : str
        Of the kind.
    recall : float
        Share of the exact ten nearest (or k) that it returns, from 0 to 1.
    queries_per_s : float
        Questions a second, asked one at a time, in the fastest of five passes.
    build_s : float
        Seconds to train it and add the vectors.
    size_mb : float
        Size on disk in 10⁶ bytes.
    """

    name: str
    recall: float
    queries_per_s: float
    build_s: float
    size_mb: float


def measure_indexes(
    vectors: FloatArray,
    queries: FloatArray,
    kinds: Mapping[str, tuple[str, Mapping[str, float]]],
    *,
    k: int = 10,
) -> list[IndexMeasurement]:
    """Search the same vectors with several kinds of index, by L2 distance.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, d)
        What is searched.
    queries : ndarray of float32, shape (m, d)
        What is looked for.
    kinds : Mapping of str to (str, Mapping)
        Name → what FAISS calls the kind, such as ``"IVF16,Flat"`` or
        ``"HNSW32"``, and its search parameters, such as ``{"nprobe": 4}`` or
        ``{"efSearch": 32}``.
    k : int, default 10
        Neighbours to find.

    Returns
    -------
    list of IndexMeasurement
        In the order of the kinds; recall is against an exact search.

    Raises
    ------
    InvalidInputError
        If FAISS does not know a kind or a parameter, cannot train it on so few
        vectors, or `k` is larger than n.

    Notes
    -----
    IVF: Jégou, Douze and Schmid (2011). HNSW: Malkov and Yashunin (2020).

    Examples
    --------
    >>> points = np.eye(20, dtype=np.float32)
    >>> [round(row.recall, 1) for row in measure_indexes(points, points, {"flat": ("Flat", {})})]
    [1.0]
    """
    import faiss

    if not 1 <= k <= len(vectors):
        raise InvalidInputError(
            f"k is {k} and there are {len(vectors)} vectors; ask for 1 to {len(vectors)}."
        )
    exact = faiss.IndexFlatL2(vectors.shape[1])
    exact.add(vectors)
    _, nearest = exact.search(queries, k)
    rows = []
    for name, (kind, parameters) in kinds.items():
        began = time.perf_counter()
        try:
            index = faiss.index_factory(vectors.shape[1], kind, faiss.METRIC_L2)
            index.train(vectors)
            index.add(vectors)
            for parameter, value in parameters.items():
                faiss.ParameterSpace().set_index_parameter(index, parameter, value)
        except RuntimeError as error:
            raise InvalidInputError(
                f"FAISS cannot build {kind!r} with {dict(parameters)} from {len(vectors)} vectors; "
                "take a kind such as 'Flat', 'IVF16,Flat' or 'HNSW32', and fewer lists than "
                "vectors."
            ) from error
        build_s = time.perf_counter() - began
        seconds = float("inf")
        for _ in range(_PASSES):
            began = time.perf_counter()
            found = [index.search(query[None], k)[1][0] for query in queries]
            seconds = min(seconds, time.perf_counter() - began)
        shared = [len(set(a) & set(b)) / k for a, b in zip(found, nearest, strict=True)]
        rows.append(
            IndexMeasurement(
                name=name,
                recall=float(np.mean(shared)),
                queries_per_s=len(queries) / seconds,
                build_s=build_s,
                size_mb=len(faiss.serialize_index(index)) / 1e6,
            )
        )
    return rows


def imitate_vectors(vectors: FloatArray, count: int, *, seed: int = 0) -> FloatArray:
    """Make synthetic vectors that crowd together about as real ones do.

    Each one lies near a real vector, in a direction drawn with the real
    vectors' covariance, so that neighbours are about as similar as they are
    among the real ones. They show how an index scales; they are no text.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, d)
        Real vectors of length 1; at least 2.
    count : int
        How many to make.
    seed : int, default 0
        Of the random numbers.

    Returns
    -------
    ndarray of float32, shape (count, d)
        Of length 1.

    Examples
    --------
    >>> real = np.eye(8, dtype=np.float32)
    >>> imitate_vectors(real, 100).shape
    (100, 8)
    """
    if len(vectors) < 2 or count < 1:
        raise InvalidInputError(
            f"There are {len(vectors)} vectors to imitate and {count} to make; give at least 2 "
            "and ask for at least 1."
        )
    random = np.random.default_rng(seed)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1.0)
    # Two that lie near the same real vector then have about this cosine.
    likeness = float(np.clip(np.median(cosines.max(axis=1)), 0.0, 1.0))
    centred = vectors - vectors.mean(axis=0)
    noise = random.standard_normal((count, len(vectors)), dtype=np.float32) @ centred
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    parents = vectors[random.integers(len(vectors), size=count)]
    made = np.sqrt(likeness) * parents + np.sqrt(1 - likeness) * noise
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return np.ascontiguousarray(made, dtype=np.float32)
