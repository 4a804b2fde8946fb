"""The course's retrievers over an index in Milvus.

Dense search and fusion are the course's own classes, unchanged; only words are
counted elsewhere. The module does not know where Milvus runs.
"""

from __future__ import annotations

from dataclasses import replace

from rag_helpers.errors import InvalidInputError
from rag_helpers.index import Where
from rag_helpers.records import Embedder, Hit, Retriever
from rag_helpers.retriever import RETRIEVERS, DenseRetriever, HybridRetriever
from rag_helpers.retriever.duplicates import checked_question, find_distinct
from rag_helpers.scaling.collections import searchable
from rag_helpers.scaling.milvus import MilvusIndex

__all__ = ["MilvusKeywordRetriever", "build_milvus_retriever"]


class MilvusKeywordRetriever:
    """Find chunks that share words with the question; Milvus counts them.

    The terms and the constants are those of `rag_helpers.retriever.KeywordRetriever`.

    Parameters
    ----------
    index : MilvusIndex
    collapse : bool
        Whether near-duplicate hits are collapsed.
    """

    name = "keyword"

    def __init__(self, index: MilvusIndex, *, collapse: bool = True) -> None:
        self.index = index
        self.collapse = collapse

    def search(self, question: str, k: int = 5, *, where: Where | None = None) -> list[Hit]:
        """Return at most `k` hits, best first.

        Parameters
        ----------
        question : str
        k : int
        where : mapping, optional
            As for `MilvusIndex.search`.

        Returns
        -------
        list of Hit
            Empty when no term is shared.

        Raises
        ------
        InvalidInputError
            If the question is blank, ``k < 1`` or a key of `where` is unknown.
        ScalingError
            If Milvus fails.
        """
        words = searchable(checked_question(question))

        def fetch(depth: int) -> list[Hit]:
            hits = self.index.search_words(words, depth, where)
            return [replace(hit, retriever=self.name) for hit in hits]

        return find_distinct(fetch, k) if self.collapse else fetch(k)


def build_milvus_retriever(name: str, index: MilvusIndex, questions: Embedder) -> Retriever:
    """Build what `rag_helpers.retriever.build_retriever` builds, over an index in Milvus.

    Parameters
    ----------
    name : {"dense", "keyword", "hybrid"}
    index : MilvusIndex
    questions : Embedder
        The questions' side of the embedder that made the index.

    Returns
    -------
    Retriever

    Raises
    ------
    InvalidInputError
        If the name is unknown.
    """
    if name == "dense":
        return DenseRetriever(index, questions)
    if name == "keyword":
        return MilvusKeywordRetriever(index)
    if name == "hybrid":
        dense = DenseRetriever(index, questions, collapse=False)
        words = MilvusKeywordRetriever(index, collapse=False)
        return HybridRetriever([dense, words], weights=[1.0, 0.5], fusion="scores")
    raise InvalidInputError(f"There is no retriever {name!r}: choose {', '.join(RETRIEVERS)}.")
