"""Step 7: what each faster variant saves, and what it costs in quality.

Variants of generators, embedders and FAISS indexes are measured side by side;
the first one is the reference that the others should agree with. A speed is
never reported without its quality; of indexes one is recommended by what was
measured.

What measures does not know what a generator or an embedder is made of: variants
come as functions that load them.
"""

from __future__ import annotations

from rag_helpers.optimization.choosing import choose_variant, load_reader_study
from rag_helpers.optimization.engines import CTranslate2Generator, quantize_torchao
from rag_helpers.optimization.imitation import imitate_vectors
from rag_helpers.optimization.indexes import (
    IndexMeasurement,
    build_kind,
    measure_indexes,
    move_to_gpus,
)
from rag_helpers.optimization.quantizing import model_size_mb, quantize_dynamic
from rag_helpers.optimization.recommending import (
    IndexRecommendation,
    StudyGroup,
    StudyRow,
    choose_lists,
    estimate_size_mb,
    load_index_study,
    recommend_index,
)
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
    "IndexRecommendation",
    "StudyGroup",
    "StudyRow",
    "build_kind",
    "choose_lists",
    "choose_variant",
    "estimate_size_mb",
    "imitate_vectors",
    "load_index_study",
    "load_reader_study",
    "measure_embedders",
    "measure_generators",
    "measure_indexes",
    "model_size_mb",
    "move_to_gpus",
    "quantize_dynamic",
    "quantize_torchao",
    "recommend_index",
]
