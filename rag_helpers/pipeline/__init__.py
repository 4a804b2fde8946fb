"""Step 5: retriever, prompt and generator put together.

`RagPipeline` composes anything that follows the protocols of `records`;
`load_pipeline` builds the course's default one, and keeps the index it made;
`rag_pipeline` is the recipe's function, with the recipe's meaning.
"""

from __future__ import annotations

from rag_helpers.pipeline.citations import cite
from rag_helpers.pipeline.confidence import RetrievalConfidence
from rag_helpers.pipeline.loading import (
    GUESSES,
    TURNS,
    WINDOW_WORDS,
    build_index,
    load_index,
    load_pipeline,
    pipeline_over,
    whole_documents,
)
from rag_helpers.pipeline.rag import AnswerStyle, ConfidenceFunction, RagPipeline
from rag_helpers.pipeline.recipe import rag_pipeline
from rag_helpers.pipeline.reranking import (
    READER,
    LikelihoodModel,
    QuestionLikelihood,
    find_retriever,
)

__all__ = [
    "GUESSES",
    "READER",
    "TURNS",
    "WINDOW_WORDS",
    "AnswerStyle",
    "ConfidenceFunction",
    "LikelihoodModel",
    "QuestionLikelihood",
    "RagPipeline",
    "RetrievalConfidence",
    "build_index",
    "cite",
    "find_retriever",
    "load_index",
    "load_pipeline",
    "pipeline_over",
    "rag_pipeline",
    "whole_documents",
]
