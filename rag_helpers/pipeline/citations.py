"""The sentences that support an answer.

Support is shared words, nothing deeper: the module does not know whether a
sentence means what the answer says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag_helpers.chunking import split_sentences
from rag_helpers.records import Citation, Hit

__all__ = ["cite"]

_WORD = re.compile(r"\w+")
# Words of one or two letters say little about what a sentence is about.
_SHORTEST_WORD = 3


def _content_words(text: str) -> set[str]:
    words = {word.casefold() for word in _WORD.findall(text)}
    return {word for word in words if len(word) >= _SHORTEST_WORD} or words


def cite(text: str, question: str, hits: Sequence[Hit], *, limit: int = 3) -> tuple[Citation, ...]:
    """Find, in each hit, the sentence that best supports an answer.

    A sentence's score is the share of the answer's words (of three letters or
    more) that it holds; between equals, the one that shares more words with
    the question wins, then the better hit.

    Parameters
    ----------
    text : str
        The answer; when it is blank the question takes its place.
    question : str
        The question, which breaks ties.
    hits : sequence of Hit
        Passages to look in.
    limit : int, default 3
        Most citations to return.

    Returns
    -------
    tuple of Citation
        Best first. Sentences that hold none of the answer's words are left
        out, unless that leaves nothing: then the first hit's sentence closest
        to the question is returned with score 0.

    Examples
    --------
    >>> from rag_helpers.records import Chunk, Hit
    >>> chunk = Chunk("Tea is hot. Ice melts at 0 degrees.", "facts", 0, 35)
    >>> cite("0 degrees", "When does ice melt?", [Hit(chunk, 0.9, 1)])[0].text
    'Ice melts at 0 degrees.'
    """
    claim = _content_words(text) or _content_words(question)
    asked = _content_words(question)
    found = []
    for hit in hits:
        best: tuple[float, float, int, int] | None = None
        for start, end in split_sentences(hit.chunk.text):
            words = _content_words(hit.chunk.text[start:end])
            support = len(claim & words) / max(len(claim), 1)
            relevance = len(asked & words) / max(len(asked), 1)
            if best is None or (support, relevance) > best[:2]:
                best = (support, relevance, start, end)
        if best is not None:
            support, relevance, start, end = best
            citation = Citation(
                hit=hit,
                text=hit.chunk.text[start:end],
                start=hit.chunk.start + start,
                end=hit.chunk.start + end,
                score=round(support, 4),
            )
            found.append((support, relevance, citation))
    ranked = sorted(found, key=lambda entry: entry[:2], reverse=True)
    supported = [citation for support, _, citation in ranked if support > 0]
    return tuple(supported[:limit] or [citation for *_, citation in found[:1]])
