"""The sentences of a passage that a quote stands in: what an answer in full should say.

Found by words in a row that both share; the module knows no meaning.
"""

from __future__ import annotations

from rag_helpers.chunking.sentences import split_sentences

__all__ = ["supporting_sentences"]

_RUN = 3  # words in a row; single words stand everywhere
_MOST_WORDS = 60


def supporting_sentences(passage: str, quote: str, *, most: int = 2) -> str:
    r"""Return the neighbouring sentences of a passage that share most with a quote.

    Parameters
    ----------
    passage : str
        Text of a chunk.
    quote : str
        Evidence, as it stands in the corpus.
    most : int
        Sentences to return at most. Of choices that share as much, the shortest is
        taken.

    Returns
    -------
    str
        In one line. Where such sentences have more than 60 words together, the quote
        itself; it is a part of them.

    Examples
    --------
    >>> passage = "Tea is hot. Ice melts\nat zero degrees. Snow falls."
    >>> supporting_sentences(passage, "ice melts at zero")
    'Ice melts at zero degrees.'
    """
    sentences = [passage[start:end].split() for start, end in split_sentences(passage)]
    wanted = _runs(quote.split())
    choices = [
        [word for sentence in sentences[first : first + count] for word in sentence]
        for first in range(len(sentences))
        for count in range(1, min(most, len(sentences) - first) + 1)
    ]
    best = max(choices, key=lambda words: (len(wanted & _runs(words)), -len(words)), default=[])
    if not wanted & _runs(best) or len(best) > _MOST_WORDS:
        return " ".join(quote.split())
    return " ".join(best)


def _runs(words: list[str]) -> set[tuple[str, ...]]:
    low = [word.lower().strip("\"'`.,;:()") for word in words]
    return {tuple(low[i : i + _RUN]) for i in range(len(low) - _RUN + 1)}
