"""Synthetic vectors that lie about as real ones do, as many as are wanted.

The module does not know what the real vectors stand for, and what it makes
stands for nothing.
"""

from __future__ import annotations

import numpy as np

from rag_helpers.errors import InvalidInputError
from rag_helpers.records import FloatArray

__all__ = ["imitate_vectors"]

# Rows made at a time: 100 MB at 384 numbers each, whatever is made in all.
_BLOCK = 65_536
# So many of the real vectors tell how alike neighbours are.
_JUDGED = 4_096


def imitate_vectors(vectors: FloatArray, count: int, *, seed: int = 0) -> FloatArray:
    """Make synthetic vectors that crowd together about as real ones do.

    Each one lies near a real vector, in a direction drawn with the real
    vectors' covariance, so that neighbours are about as similar as they are
    among the real ones. They show how an index scales; they are no text. How
    hard they are to search, beside the real ones, stands in
    ``data/results/indexes.json``.

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
        Of length 1. Beside it about 300 MB are needed at d = 384.

    Raises
    ------
    InvalidInputError
        If there are fewer than 2 vectors, or `count` is below 1.

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
    # Two that lie near the same real vector then have about this cosine.
    likeness = _likeness(vectors, random)
    centred = (vectors - vectors.mean(axis=0)).astype(np.float64)
    # With C = V diag(w) Vᵀ, normal numbers times diag(√w) Vᵀ have the covariance C: d numbers a row
    # instead of n.
    spectrum, axes = np.linalg.eigh(centred.T @ centred)
    factor = (np.sqrt(np.maximum(spectrum, 0.0)) * axes).T.astype(np.float32)
    made = np.empty((count, vectors.shape[1]), dtype=np.float32)
    for start in range(0, count, _BLOCK):
        part = made[start : start + _BLOCK]
        noise = random.standard_normal(part.shape, dtype=np.float32) @ factor
        noise *= np.sqrt(1 - likeness) / np.linalg.norm(noise, axis=1, keepdims=True)
        parents = vectors[random.integers(len(vectors), size=len(part))]
        part[:] = np.sqrt(likeness) * parents + noise
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return made


def _likeness(vectors: FloatArray, random: np.random.Generator) -> float:
    """Return the median cosine of vectors with their nearest neighbour, from 0 to 1."""
    judged = np.arange(len(vectors))
    if len(judged) > _JUDGED:
        judged = random.choice(judged, _JUDGED, replace=False)
    nearest = []
    for rows in np.array_split(judged, -(-len(judged) // 512)):
        cosines = vectors[rows] @ vectors.T
        cosines[np.arange(len(rows)), rows] = -1.0
        nearest.append(cosines.max(axis=1))
    return float(np.clip(np.median(np.concatenate(nearest)), 0.0, 1.0))
