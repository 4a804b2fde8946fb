"""Reranking by the likelihood of the question: a reranker that needs no further model.

A passage that answers a question also makes it likely (UPR: Sachan et al., 2022, "Improving passage
retrieval with zero-shot question generation"). The module does not know which passages were found,
nor how their own scores are blended in: see `rag_helpers.retriever.RerankedRetriever`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rag_helpers.records import Prompt

__all__ = ["LikelihoodModel", "QuestionLikelihood"]


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
        prompts = [
            Prompt(
                question=question,
                text=f"Passage: {passage}\nWrite a question that this passage answers.",
            )
            for passage in passages
        ]
        return self.model.log_likelihood(prompts, [question] * len(prompts))
