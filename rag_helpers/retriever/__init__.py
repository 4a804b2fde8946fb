"""Step 3: a question finds the chunks that may answer it.

Dense search compares vectors, keyword search compares words, and hybrid search
fuses what both found; duplicates that crowd the list are collapsed. What refines
a list of hits (reranking, diversity, neighbours, expansion) is a function or a
retriever around another one. The package knows embedders and scorers by
protocol only: no model, no tokenizer of a model, no file.
"""

from __future__ import annotations

from rag_helpers.errors import InvalidInputError
from rag_helpers.index import ChunkIndex
from rag_helpers.records import Embedder, Retriever
from rag_helpers.retriever.dense import DenseRetriever
from rag_helpers.retriever.duplicates import collapse_duplicates
from rag_helpers.retriever.expansion import (
    PYTHON_SYMBOLS,
    ExpandedRetriever,
    expand_with_glossary,
    expand_with_hits,
)
from rag_helpers.retriever.fusion import HybridRetriever, fuse_ranks, fuse_scores
from rag_helpers.retriever.keyword import KeywordRetriever, split_terms
from rag_helpers.retriever.passages import embed_chunks, embed_windows
from rag_helpers.retriever.refining import RerankedRetriever, diversify, merge_neighbours, rerank

__all__ = [
    "PYTHON_SYMBOLS",
    "RETRIEVERS",
    "DenseRetriever",
    "ExpandedRetriever",
    "HybridRetriever",
    "KeywordRetriever",
    "RerankedRetriever",
    "build_retriever",
    "collapse_duplicates",
    "diversify",
    "embed_chunks",
    "embed_windows",
    "expand_with_glossary",
    "expand_with_hits",
    "fuse_ranks",
    "fuse_scores",
    "merge_neighbours",
    "rerank",
    "split_terms",
]

RETRIEVERS = ("dense", "keyword", "hybrid")
"""Names that `build_retriever` knows."""


def build_retriever(name: str, index: ChunkIndex, questions: Embedder) -> Retriever:
    """Build a retriever with the course's defaults; it follows changes of the index.

    Parameters
    ----------
    name : {"dense", "keyword", "hybrid"}
    index : ChunkIndex
    questions : Embedder
        The questions' side of the embedder that made the index.

    Returns
    -------
    Retriever

    Raises
    ------
    InvalidInputError
        If the name is unknown.

    Notes
    -----
    Untuned, on the 586 answerable questions of the train and dev splits over the
    Python help topics (MiniLM, chunks cut by structure, their whole and windows
    of 40 words behind their headings), MRR@10 was 0.417 for keyword, 0.487 for
    dense, 0.514 for their ranks fused, and 0.538 for scores fused with weights 1
    and 0.5; 0.483 with chunks embedded as a whole alone. The file
    ``data/results/ablation.json`` has the intervals.
    """
    if name == "dense":
        return DenseRetriever(index, questions)
    if name == "keyword":
        return KeywordRetriever.following(index)
    if name == "hybrid":
        # Copies of a passage are collapsed after fusion: each half might keep another copy.
        dense = DenseRetriever(index, questions, collapse=False)
        words = KeywordRetriever.following(index, collapse=False)
        return HybridRetriever([dense, words], weights=[1.0, 0.5], fusion="scores")
    raise InvalidInputError(f"There is no retriever {name!r}: choose {', '.join(RETRIEVERS)}.")
