"""Learn from a slow, careful retriever what it thinks of the candidates: no labels are needed.

The teacher reranks what was found, by how likely a language model finds the
question after each passage; the question side learns to divide its scores as the
teacher does (ART: Sachan et al., 2023, "Questions are all you need to train a
dense passage retriever"). What took the teacher a second then takes one product.

The module does not know who the teacher is, nor whether it is right.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rag_helpers.environment import progress_bar
from rag_helpers.errors import TrainingError
from rag_helpers.fine_tuning.pairs import Search
from rag_helpers.fine_tuning.question_training import QuestionLessons
from rag_helpers.index import ChunkIndex

__all__ = ["lessons_from_teacher"]


def lessons_from_teacher(
    questions: Mapping[str, str],
    index: ChunkIndex,
    teacher: Search,
    *,
    depth: int = 12,
    sharpness: float = 2.0,
) -> QuestionLessons:
    """Ask a teacher for the candidates of each question, and keep what it thinks of them.

    Parameters
    ----------
    questions : Mapping of str to str
        By id. Which passages answer them need not be known.
    index : ChunkIndex
        The corpus as it is searched.
    teacher : callable
        ``teacher(question, k)`` returns hits, best first, with scores whose
        differences mean something, such as the search of
        ``find_retriever("reranked", …)``.
    depth : int
        Candidates per question, at least 2.
    sharpness : float
        What the standardized scores are multiplied by before they become
        probabilities; above 0. The higher, the more the best hit counts.

    Returns
    -------
    QuestionLessons
        With weights; questions for which fewer than two hits were found are left out.

    Raises
    ------
    TrainingError
        If a number is out of range, or a hit is not in the index.

    Examples
    --------
    >>> import numpy as np
    >>> from rag_helpers.records import Chunk, Hit
    >>> chunks = [Chunk("Tea is hot.", "tea", 0, 11), Chunk("Ice is cold.", "ice", 0, 12)]
    >>> index = ChunkIndex(2)
    >>> index.add(chunks, np.eye(2))
    >>> hits = [Hit(chunks[1], 0.9, 1), Hit(chunks[0], 0.1, 2)]
    >>> lessons = lessons_from_teacher({"q": "Cold?"}, index, lambda question, k: hits)
    >>> lessons.right, [round(weight, 3) for weight in lessons.weights[0]]
    (((1, 0),), [0.982, 0.018])
    """
    if depth < 2 or sharpness <= 0:
        raise TrainingError(
            f"depth is {depth} and sharpness {sharpness}; give at least 2 and more than 0."
        )
    place_of = {chunk.id: place for place, chunk in enumerate(index.chunks)}
    ids, asked, places, weights = [], [], [], []
    for name, question in progress_bar(list(questions.items()), label="Asking the teacher"):
        hits = teacher(question, depth)
        if missing := [hit.chunk.id for hit in hits if hit.chunk.id not in place_of]:
            raise TrainingError(
                f"The teacher found {missing[0]!r}, which is in none of the {len(index)} chunks of "
                "the index; give the index that the teacher searches."
            )
        if len(hits) < 2:
            continue
        scores = np.array([hit.score for hit in hits], dtype=float)
        spread = scores.std() or 1.0
        raised = np.exp(sharpness * (scores - scores.max()) / spread)
        ids.append(name)
        asked.append(question)
        places.append(tuple(place_of[hit.chunk.id] for hit in hits))
        weights.append(tuple(float(value) for value in raised / raised.sum()))
    return QuestionLessons(tuple(ids), tuple(asked), tuple(places), index, tuple(weights))
