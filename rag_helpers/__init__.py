"""Helpers for a hands-on course on retrieval-augmented generation (RAG).

Names are loaded on first use, so that ``import rag_helpers`` stays fast and
loads none of torch, transformers, faiss or ipywidgets.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public name -> the module it lives in.
_HOME = {
    "Answer": "records",
    "Chunk": "records",
    "Citation": "records",
    "Document": "records",
    "Generation": "records",
    "GoldQuestion": "records",
    "Hit": "records",
    "Prompt": "records",
    "RagError": "errors",
    "check_environment": "environment",
    "set_seed": "environment",
    "list_models": "models",
    "resolve": "models",
    "load_files": "corpus",
    "load_help_topics": "corpus",
    "split_by_sentences": "chunking",
    "split_by_structure": "chunking",
    "split_by_tokens": "chunking",
    "split_by_words": "chunking",
    "DprEmbedder": "embedding",
    "SentenceEmbedder": "embedding",
    "ChunkIndex": "index",
    "DenseRetriever": "retriever",
    "HybridRetriever": "retriever",
    "KeywordRetriever": "retriever",
    "build_prompt": "prompting",
    "ChatGenerator": "generator",
    "ExtractiveGenerator": "generator",
    "Seq2SeqGenerator": "generator",
    "RagPipeline": "pipeline",
    "load_pipeline": "pipeline",
    "rag_pipeline": "pipeline",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (the type is the attribute's own)
    """Load a public name from its module on first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
