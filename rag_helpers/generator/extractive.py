"""The best sentence of the passages as the answer: the baseline that never makes things up.

The module does not know what a sentence means: it scores words in common, or
similarities that an embedder computes.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from rag_helpers.chunking import split_sentences
from rag_helpers.errors import InvalidInputError
from rag_helpers.prompting import RECIPE, PromptTemplate
from rag_helpers.records import Embedder, Generation, Prompt

__all__ = ["ExtractiveGenerator"]

_WORD = re.compile(r"\w+|[^\w\s]+")
# They say what kind of answer is wanted, not what it is about. Words that are also
# Python's ("is", "for", "with", "not") stay: the weights deal with frequent ones.
_ASKING = frozenset(
    (
        *("what", "which", "who", "whom", "whose", "when", "where", "why", "how"),
        *("do", "does", "did", "can", "could", "should", "would", "i", "you", "my", "me", "?"),
    )
)


class ExtractiveGenerator:
    """Answers with the sentence of the passages that is nearest to the question.

    Without an embedder a sentence scores the question's words that it holds (or
    other forms of them), each weighted by its inverse document frequency among
    the sentences (Spärck Jones, 1972), so that words which stand everywhere
    count for little. With one it scores the cosine of question and sentence. The
    earlier of equally good sentences wins.

    Parameters
    ----------
    embedder : Embedder, optional
        Embeds question and sentences alike.
    min_words : int
        Shorter sentences (headings, list marks) are passed over as long as there
        is a longer one.
    template : PromptTemplate
        Used by whoever builds the prompt; the answer does not depend on it.
    token_budget : int
        Longest prompt, in words.

    Raises
    ------
    InvalidInputError
        If a number is below 1.

    Examples
    --------
    >>> prompt = Prompt(
    ...     question="Which ideas dream?",
    ...     text="",
    ...     passages=("Red ideas only sleep. Green ideas also dream.",),
    ... )
    >>> ExtractiveGenerator().generate([prompt])[0].text
    'Green ideas also dream.'
    """

    def __init__(
        self,
        embedder: Embedder | None = None,
        *,
        min_words: int = 3,
        template: PromptTemplate = RECIPE,
        token_budget: int = 10_000,
    ) -> None:
        for option, value in (("min_words", min_words), ("token_budget", token_budget)):
            if value < 1:
                raise InvalidInputError(f"{option} is {value}: give at least 1.")
        self.name = "extractive"
        self.template = template
        self.token_budget = token_budget
        self._embedder = embedder
        self._min_words = min_words

    def count_tokens(self, text: str) -> int:
        """Return the number of words in `text`; this generator has no other tokens."""
        return len(text.split())

    def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """Return the best sentence of each prompt's passages.

        Parameters
        ----------
        prompts : sequence of Prompt
            Read are their ``question`` and ``passages``.

        Returns
        -------
        list of Generation
            One per prompt; empty text where a prompt has no passages.
            ``mean_log_probability`` is None.
        """
        texts = [self._best_sentence(prompt) for prompt in prompts]
        return [Generation(text=text, tokens=self.count_tokens(text)) for text in texts]

    def stream(self, prompt: Prompt) -> Iterator[str]:
        """Yield the answer in one piece; nothing if it is empty.

        Parameters
        ----------
        prompt : Prompt
            As for `generate`.

        Yields
        ------
        str
            The whole answer.
        """
        text = self._best_sentence(prompt)
        if text:
            yield text

    def _best_sentence(self, prompt: Prompt) -> str:
        sentences = [
            " ".join(passage[start:end].split())
            for passage in prompt.passages
            for start, end in split_sentences(passage)
        ]
        long_enough = [text for text in sentences if len(text.split()) >= self._min_words]
        sentences = long_enough or [text for text in sentences if text]
        if not sentences:
            return ""
        if self._embedder is None:
            scores = _score_by_words(prompt.question, sentences)
        else:
            scores = _score_by_cosine(prompt.question, sentences, self._embedder)
        return sentences[int(np.argmax(scores))]


def _score_by_words(question: str, sentences: Sequence[str]) -> list[float]:
    asked = _stems(question, without=_ASKING) or _stems(question)
    held = [_stems(sentence) for sentence in sentences]
    frequencies = Counter(stem for stems in held for stem in stems)
    weights = {stem: math.log1p(len(sentences) / (1 + frequencies[stem])) for stem in asked}
    # Rounding keeps ties ties, whatever the order in which a set is summed.
    return [round(sum(weights[stem] for stem in asked & stems), 9) for stems in held]


def _stems(text: str, *, without: frozenset[str] = frozenset()) -> set[str]:
    import Stemmer

    words = [word for word in _WORD.findall(text.lower()) if word not in without]
    return set(Stemmer.Stemmer("english").stemWords(words))


def _score_by_cosine(question: str, sentences: Sequence[str], embedder: Embedder) -> list[float]:
    vectors = embedder.embed([question, *sentences])
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return [float(score) for score in vectors[1:] @ vectors[0]]
