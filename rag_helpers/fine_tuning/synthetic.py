"""Questions that nobody asked: a language model makes them up from the chunks.

Small models make up poor questions, so each must pass a *round trip*: searched
for with it, its own chunk must be among the best hits (Alberti et al., 2019,
"Synthetic QA corpora generation with roundtrip consistency", for retrieval as
in Dai et al., 2023, "Promptagator"). The module knows no model: text comes from
a callable. It does not judge whether a question makes sense to people.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from rag_helpers.environment import progress_bar
from rag_helpers.errors import TrainingError
from rag_helpers.fine_tuning.pairs import RetrieverPair, Search, find_copies
from rag_helpers.fine_tuning.question_training import QuestionLessons
from rag_helpers.index import ChunkIndex
from rag_helpers.prompting import question_request
from rag_helpers.records import Chunk, Generation, Prompt
from rag_helpers.retriever.passages import headed_text

__all__ = ["lessons_from_pairs", "pairs_from_model"]

Generate: TypeAlias = Callable[[Sequence[Prompt]], Sequence[Generation]]

_SELF_REFERENCE = re.compile(r"\b(passage|author|text above|following)\b", re.IGNORECASE)
_LABEL = re.compile(r"^(question|q)\s*\d*:\s*", re.IGNORECASE)
_TRIMMINGS = " \t\"'*-"
_WORDS = range(4, 26)  # shorter ones ask for nothing, longer ones retell the passage


def pairs_from_model(
    chunks: Sequence[Chunk],
    generate: Generate,
    search: Search,
    *,
    depth: int = 5,
    least_words: int = 20,
    batch_size: int = 32,
) -> list[RetrieverPair]:
    """Let a model ask about each chunk, and keep the questions that find it again.

    Parameters
    ----------
    chunks : sequence of Chunk
        The corpus as it is searched.
    generate : callable
        ``generate(prompts)`` returns a generation per prompt, such as that of a
        `ChatGenerator` as published; the course's adapter was trained to answer.
    search : callable
        ``search(question, k)`` returns hits, best first: an untuned retriever.
    depth : int
        Hits among which the chunk must be.
    least_words : int
        Words that make a chunk worth asking about.
    batch_size : int
        Prompts at a time.

    Returns
    -------
    list of RetrieverPair
        At most one per chunk, in their order; no question stands twice.

    Raises
    ------
    TrainingError
        If a number is below 1.

    Examples
    --------
    >>> from rag_helpers.records import Hit
    >>> ice = Chunk("Ice melts at zero degrees Celsius.", "ice", 0, 34)
    >>> pairs = pairs_from_model(
    ...     [ice],
    ...     lambda prompts: [Generation("When does ice melt?") for _ in prompts],
    ...     lambda question, k: [Hit(ice, 0.9, 1)],
    ...     least_words=5,
    ... )
    >>> pairs[0].question, pairs[0].passage
    ('When does ice melt?', 'Ice melts at zero degrees Celsius.')
    """
    for name, value in (("depth", depth), ("batch_size", batch_size)):
        if value < 1:
            raise TrainingError(f"{name} is {value}; give at least 1.")
    worth = [i for i, chunk in enumerate(chunks) if len(chunk.text.split()) >= least_words]
    copies = find_copies([chunk.text for chunk in chunks])
    pairs: dict[str, RetrieverPair] = {}
    starts = range(0, len(worth), batch_size)
    for start in progress_bar(starts, label="Making up questions"):
        places = worth[start : start + batch_size]
        prompts = [question_request(chunks[place].text) for place in places]
        for place, generation in zip(places, generate(prompts), strict=True):
            question = _first_question(generation.text)
            if question is None or question.casefold() in pairs:
                continue
            right = {chunks[i].id for i in (place, *copies.get(place, ()))}
            if right.isdisjoint(hit.chunk.id for hit in search(question, depth)):
                continue
            texts = {headed_text(chunks[i]) for i in (place, *copies.get(place, ()))}
            pairs[question.casefold()] = RetrieverPair(
                f"made up {chunks[place].id}",
                question,
                headed_text(chunks[place]),
                right=frozenset(texts),
            )
    return list(pairs.values())


def lessons_from_pairs(pairs: Sequence[RetrieverPair], index: ChunkIndex) -> QuestionLessons:
    """Return the lessons that `train_question_side` takes.

    Parameters
    ----------
    pairs : sequence of RetrieverPair
        With headed passages, as `pairs_from_model` and `build_retriever_pairs`
        make them.
    index : ChunkIndex
        The corpus as it is searched.

    Returns
    -------
    QuestionLessons
        In the order of `pairs`.

    Raises
    ------
    TrainingError
        If a pair's passage is not in the index.
    """
    places: dict[str, list[int]] = {}
    for place, chunk in enumerate(index.chunks):
        places.setdefault(headed_text(chunk), []).append(place)
    right = []
    for pair in pairs:
        if pair.passage not in places:
            raise TrainingError(
                f"The passage of {pair.id!r} is in none of the {len(index)} chunks of the index; "
                "give the index of the chunks that the pairs were made from."
            )
        texts = {pair.passage, *pair.right} & places.keys()
        right.append(tuple(sorted(place for text in texts for place in places[text])))
    return QuestionLessons(
        tuple(pair.id for pair in pairs),
        tuple(pair.question for pair in pairs),
        tuple(right),
        index,
    )


def _first_question(text: str) -> str | None:
    """Return the first sentence that asks something, if it could be a learner's."""
    found = re.search(r"[^.!?\n]*\?", text)
    question = _LABEL.sub("", found.group().strip(_TRIMMINGS)) if found else ""
    if len(question.split()) not in _WORDS or _SELF_REFERENCE.search(question):
        return None
    return question
