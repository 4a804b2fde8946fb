"""Retrievers by name, those included that need a model to rerank.

A passage that answers a question also makes it likely (UPR: Sachan et al., 2022, "Improving passage
retrieval with zero-shot question generation"): the course's chat model reranks without a further
model. The module does not know how scores are blended: see
`rag_helpers.retriever.RerankedRetriever`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from rag_helpers.embedding import CrossEncoderScorer
from rag_helpers.errors import InvalidInputError
from rag_helpers.generator import ChatGenerator
from rag_helpers.index import ChunkIndex
from rag_helpers.prompting import question_request
from rag_helpers.records import Embedder, Prompt, Retriever
from rag_helpers.retriever import RETRIEVERS, RerankedRetriever, build_retriever

__all__ = ["READER", "LikelihoodModel", "QuestionLikelihood", "find_retriever"]

READER = "SmolLM2-135M-Instruct"
"""The course's chat model: it answers by default once an adapter is shipped for it, and reranks."""


class LikelihoodModel(Protocol):
    """Scores texts as answers to prompts, as `ChatGenerator` does."""

    def log_likelihood(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[float]:
        """Return the mean log-probability per token of each text after its prompt."""
        ...


class QuestionLikelihood:
    """Scores passages by how likely a language model finds the question after them.

    Parameters
    ----------
    model : LikelihoodModel
        Such as ``ChatGenerator()``, as published: the course's adapter was
        trained to answer, not to ask.

    Examples
    --------
    >>> class SharedWords:
    ...     def log_likelihood(self, prompts, texts):
    ...         return [-1 / (1 + sum(word in prompt.text for word in text.split()))
    ...                 for prompt, text in zip(prompts, texts)]
    >>> score = QuestionLikelihood(SharedWords())
    >>> score("does ice melt", ["Where ice is, it does melt.", "Tea is served hot."])
    [-0.25, -1.0]
    """

    def __init__(self, model: LikelihoodModel) -> None:
        self.model = model

    def __call__(self, question: str, passages: Sequence[str]) -> list[float]:
        """Return one number per passage, higher is better.

        Parameters
        ----------
        question : str
        passages : sequence of str

        Returns
        -------
        list of float
            Mean natural log of the probability per token of the question, at most 0.

        Raises
        ------
        InvalidInputError
            If the question is empty, or does not fit the model behind a passage.
        """
        prompts = [question_request(passage, question) for passage in passages]
        return self.model.log_likelihood(prompts, [question] * len(prompts))


def find_retriever(name: str, index: ChunkIndex, questions: Embedder) -> Retriever:
    """Build a retriever by its name; what reranks orders the twelve best of ``"hybrid"`` anew.

    Parameters
    ----------
    name : str
        One of `rag_helpers.retriever.RETRIEVERS`; ``"reranked"``, which asks
        `READER` as published for the question's likelihood; or the folder or
        hub name (``"owner/name"``) of a cross-encoder.
    index : ChunkIndex
        What is searched.
    questions : Embedder
        The questions' side of the embedder that made the index.

    Returns
    -------
    Retriever

    Raises
    ------
    InvalidInputError
        If the name is unknown, or is no cross-encoder's.
    ModelNotFoundError, ModelIntegrityError
        If a model cannot be had or is damaged.
    """
    if name in RETRIEVERS:
        return build_retriever(name, index, questions)
    if name == "reranked":
        likelihood = QuestionLikelihood(ChatGenerator(READER))
        return RerankedRetriever(build_retriever("hybrid", index, questions), likelihood)
    if "/" not in name and not Path(name).is_dir():
        raise InvalidInputError(
            f"There is no retriever {name!r}: choose {', '.join(RETRIEVERS)}, reranked, or a "
            "cross-encoder by its folder or its hub name, owner/name."
        )
    scorer = CrossEncoderScorer(name)
    hybrid = build_retriever("hybrid", index, questions)
    return RerankedRetriever(hybrid, scorer, name=scorer.name)
