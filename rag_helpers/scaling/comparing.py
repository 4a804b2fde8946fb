"""Compares what came from the cluster with what one process would have given.

The module compares lists of hits, shards and memory. It starts nothing.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rag_helpers.evaluation import evaluate
from rag_helpers.records import Document, FloatArray, GoldQuestion, Hit
from rag_helpers.scaling.shards import ShardFolder

__all__ = [
    "SyntheticEmbedder",
    "count_keys",
    "flat_memory",
    "median_ms",
    "memory_mb",
    "peak_memory_mb",
    "same_hits",
    "score",
]

TOLERANCE = 1e-5


class SyntheticEmbedder:
    """Gives texts made-up vectors that crowd together like real ones; they mean nothing.

    Parameters
    ----------
    real : ndarray of float32, shape (n, dimension)
        Vectors to imitate; see `rag_helpers.optimization.imitate_vectors`.
    name : str

    Examples
    --------
    >>> SyntheticEmbedder(np.eye(4, dtype=np.float32)).embed(["a", "b"]).shape
    (2, 4)
    """

    metric = "l2"

    def __init__(self, real: FloatArray, name: str = "synthetic") -> None:
        self._real = real
        self.name = name
        self.dimension = real.shape[1]

    def embed(self, texts: Sequence[str], *, titles: Sequence[str] | None = None) -> FloatArray:
        """Return one vector per text, the same for the same list of texts."""
        from zlib import crc32

        from rag_helpers.optimization import imitate_vectors

        if not texts:
            return np.empty((0, self.dimension), np.float32)
        seed = crc32("\n".join([texts[0], texts[-1], str(len(texts))]).encode())
        return imitate_vectors(self._real, len(texts), seed=seed)


def same_hits(
    expected: Sequence[Hit], found: Sequence[Hit], *, tolerance: float = TOLERANCE
) -> bool:
    """Tell whether two lists hold the same chunks in the same order, but for near ties.

    Parameters
    ----------
    expected, found : sequence of Hit
    tolerance : float
        Scores that differ by no more are ties: their chunks may change places, or at
        the end of the list one may stand for another.

    Returns
    -------
    bool

    Examples
    --------
    >>> from rag_helpers.records import Chunk
    >>> a, b = Chunk("one", "a", 0, 3), Chunk("two", "b", 0, 3)
    >>> same_hits([Hit(a, 0.5, 1), Hit(b, 0.5, 2)], [Hit(b, 0.5, 1), Hit(a, 0.5, 2)])
    True
    >>> same_hits([Hit(a, 0.5, 1)], [Hit(a, 0.4, 1)]), same_hits([Hit(a, 0.5, 1)], [])
    (False, False)
    """
    if len(expected) != len(found):
        return False
    if any(
        abs(one.score - two.score) > tolerance for one, two in zip(expected, found, strict=True)
    ):
        return False
    scores = {hit.chunk.id: hit.score for hit in expected}
    if not scores:
        return True
    last = min(scores.values())
    return all(abs(scores.get(hit.chunk.id, last) - hit.score) <= tolerance for hit in found)


def score(
    search: Callable[[str, int], Sequence[Hit]],
    gold: Sequence[GoldQuestion],
    documents: Sequence[Document],
) -> dict[str, Any]:
    """Return recall@1, recall@5, recall@10 and MRR@10 of a search, with intervals."""
    report = evaluate(None, gold, documents, search=search).to_json()
    return {name: report[name] for name in ("recall@1", "recall@5", "recall@10", "mrr@10")}


def count_keys(shards: ShardFolder) -> dict[str, int]:
    """Count what the shards hold: ``chunks``, ``vectors`` and ``doubled``, chunks there twice."""
    counted: Counter[str] = Counter()
    vectors = 0
    for shard in shards.shards():
        counted.update(shard.keys)
        vectors += len(shard.vectors)
    doubled = sum(number - 1 for number in counted.values())
    return {"chunks": len(counted), "vectors": vectors, "doubled": doubled}


def median_ms(call: Callable[[int], object], times: int) -> float:
    """Return the median milliseconds of calls with 0, 1, 2 …, one after the other."""
    taken = []
    for number in range(times):
        began = time.perf_counter()
        call(number)
        taken.append(time.perf_counter() - began)
    return float(np.median(taken) * 1000)


def memory_mb(process: int) -> float:
    """Return the memory of a process that lies in RAM now, in 10⁶ bytes."""
    import psutil

    return float(psutil.Process(process).memory_info().rss / 1e6)


def peak_memory_mb(process: int) -> float:
    """Return the most memory that a process has had in RAM, in 10⁶ bytes; now, outside Linux."""
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return memory_mb(process)
    peak = re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="ascii", errors="replace"))
    return int(peak[1]) * 1024 / 1e6 if peak else memory_mb(process)


def flat_memory(count: int, dimension: int) -> dict[str, float]:
    """Return what a flat index adds to this process: ``vectors`` and ``added_mb``."""
    import os

    from rag_helpers.index import ChunkIndex

    rows = np.random.default_rng(0).standard_normal((count, dimension), dtype=np.float32)
    index = ChunkIndex(dimension)
    before = memory_mb(os.getpid())
    # The vectors alone, as FAISS holds them: chunks' texts are the corpus' own.
    index._index.add_with_ids(rows, np.arange(count))
    return {"vectors": count, "added_mb": round(memory_mb(os.getpid()) - before, 1)}
