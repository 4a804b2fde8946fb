"""Step 7: what each faster variant saves, and what it costs in quality.

Variants of generators, embedders and FAISS indexes are measured side by side;
the first one is the reference that the others should agree with. A speed is
never reported without its quality.

What measures does not know what a generator or an embedder is made of: variants
come as functions that load them.
"""

from __future__ import annotations

from rag_helpers.optimization.engines import CTranslate2Generator, quantize_torchao
from rag_helpers.optimization.indexes import IndexMeasurement, imitate_vectors, measure_indexes
from rag_helpers.optimization.quantizing import model_size_mb, quantize_dynamic
from rag_helpers.optimization.variants import (
    EmbedderMeasurement,
    GeneratorMeasurement,
    measure_embedders,
    measure_generators,
)

__all__ = [
    "CTranslate2Generator",
    "EmbedderMeasurement",
    "GeneratorMeasurement",
    "IndexMeasurement",
    "imitate_vectors",
    "measure_embedders",
    "measure_generators",
    "measure_indexes",
    "model_size_mb",
    "quantize_dynamic",
    "quantize_torchao",
]
