"""How likely the corpus holds the answer, judged from what was found and what was written.

A logistic regression over four features of retrieval, fitted on the project's
train and dev questions, answerable against unanswerable (`Calibration`). Where
the generator declines, the odds fall as Bayes' rule says, by how often the
course's reader declined either kind of dev question. The module does not know
whether the generated text is right.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files

import numpy as np

from rag_helpers.evaluation import Calibration
from rag_helpers.index import ChunkIndex
from rag_helpers.prompting import declines
from rag_helpers.records import Embedder, FloatArray, Generation, Hit
from rag_helpers.retriever import split_terms

__all__ = ["RetrievalConfidence", "load_calibration", "odds_when_declined"]

_FOLDER = files("rag_helpers") / "data" / "calibration"


def load_calibration() -> Calibration:
    """Return the calibration that comes with the package.

    Examples
    --------
    >>> "best cosine" in load_calibration().names
    True
    """
    return Calibration.from_json((_FOLDER / "retrieval.json").read_text(encoding="utf-8"))


def odds_when_declined() -> float:
    """Return what the odds of an answer in the corpus are multiplied by when a reader declines.

    The likelihood ratio of declining: its share of answerable dev questions over
    that of unanswerable ones, each with one more question of either outcome
    (Laplace's rule), so that a count of 0 is no certainty.

    Returns
    -------
    float
        Below 1.

    Examples
    --------
    >>> 0 < odds_when_declined() < 1
    True
    """
    counts = json.loads((_FOLDER / "declined.json").read_text(encoding="utf-8"))
    answerable, not_answerable = (
        (counts[kind]["declined"] + 1) / (counts[kind]["asked"] + 2)
        for kind in ("answerable", "unanswerable")
    )
    return float(answerable / not_answerable)


class RetrievalConfidence:
    """Turns a question and its hits into a confidence from 0 to 1.

    Parameters
    ----------
    index : ChunkIndex
        What was searched.
    questions : Embedder
        The questions' side of the embedder that made the index.
    calibration : Calibration, optional
        By default the one that comes with the package.

    Notes
    -----
    The features are the best cosine among the hits, how far it stands above
    the hits' mean, and the share of the question's terms, weighted by how rare
    they are, that stand in the best-covering hit and anywhere in the corpus.
    """

    def __init__(
        self, index: ChunkIndex, questions: Embedder, *, calibration: Calibration | None = None
    ) -> None:
        self._index, self._questions = index, questions
        self._calibration = calibration
        self._version = -1
        self._counts: Counter[str] = Counter()

    def __call__(self, question: str, hits: Sequence[Hit], generation: Generation) -> float:
        """Return the confidence; 0 when nothing was found, and less when the text declines."""
        if not hits:
            return 0.0
        if self._calibration is None:
            self._calibration = load_calibration()
        confidence = self._calibration.confidence(self.features(question, hits))
        if not declines(generation.text):
            # That a reader answers says little: small ones rarely decline.
            return confidence
        ratio = odds_when_declined()
        return ratio * confidence / (ratio * confidence + 1 - confidence)

    def features(self, question: str, hits: Sequence[Hit]) -> dict[str, float]:
        """Return the features of one question by name.

        Parameters
        ----------
        question : str
            The question.
        hits : sequence of Hit
            At least one.

        Returns
        -------
        dict of str to float
            Finite values, as `Calibration.confidence` takes them.
        """
        vectors = self._index.vectors([hit.chunk.id for hit in hits])
        cosines = _cosines(vectors, self._questions.embed([question])[0])
        rarity = self._rarity(question)
        total = sum(rarity.values()) or 1.0
        covered = [
            sum(rarity[term] for term in rarity.keys() & set(split_terms(hit.chunk.text)))
            for hit in hits
        ]
        known = sum(weight for term, weight in rarity.items() if self._counts[term])
        return {
            "best cosine": float(cosines.max()),
            "cosine above mean": float(cosines.max() - cosines.mean()),
            "terms in a hit": max(covered) / total,
            "terms in the corpus": known / total,
        }

    def _rarity(self, question: str) -> dict[str, float]:
        if self._version != self._index.version:
            self._counts = Counter(
                term for chunk in self._index.chunks for term in set(split_terms(chunk.text))
            )
            self._version = self._index.version
        n = len(self._index)
        return {
            term: math.log((n + 1) / (self._counts[term] + 0.5))
            for term in set(split_terms(question))
        }


def _cosines(vectors: FloatArray, question: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(question)
    cosines: FloatArray = (vectors @ question) / np.maximum(lengths, 1e-12)
    return cosines
