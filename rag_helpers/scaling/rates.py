"""What was measured becomes the rates that the paper model multiplies.

The module times a flat search and counts bytes; it plans nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rag_helpers.index import ChunkIndex
from rag_helpers.index.lines import to_lines
from rag_helpers.records import FloatArray
from rag_helpers.scaling.collections import chunk_rows
from rag_helpers.scaling.comparing import median_ms

__all__ = ["derive_rates"]


def derive_rates(index: ChunkIndex, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `rag_helpers.scaling.Rates`.

    Parameters
    ----------
    index : ChunkIndex
        Of real chunks.
    found : mapping
        The ``throughput`` and ``growth`` of the demonstration.

    Returns
    -------
    dict
    """
    import torch

    largest, vectors = found["growth"][-1], index.vectors()
    lines = [to_lines([chunk], [1]) for chunk in index.chunks]
    rows = chunk_rows(index.chunks, ["" for _ in lines], lines)
    chunk_bytes = sum(len(row["record"]) + len(row["text"].encode()) for row in rows) / len(rows)
    alone = found["throughput"]["one process"]["chunks/s"]
    return {
        "chunks_per_s_core": round(alone / torch.get_num_threads(), 3),
        "vectors_per_chunk": round(len(vectors) / len(index), 3),
        "dimension": index.dimension,
        "chunk_bytes": round(chunk_bytes, 1),
        "scan_bytes_per_s_core": round(_scan_rate(vectors)),
        "rows_per_s": round(largest["chunks"] / largest["seconds"], 1),
    }


def _scan_rate(vectors: FloatArray) -> float:
    """Return the bytes a second that FAISS compares on one core, on 200 MB of vectors."""
    import faiss

    index = faiss.IndexFlatL2(vectors.shape[1])
    rows = 200_000_000 // (4 * vectors.shape[1])
    index.add(np.resize(vectors, (rows, vectors.shape[1])))
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        taken = median_ms(lambda number: index.search(vectors[number][None], 10), 5)
    finally:
        faiss.omp_set_num_threads(threads)
    return rows * 4 * vectors.shape[1] / taken * 1000
