"""Where sentences end, and chunks of whole sentences.

Rules for prose in Western scripts, Chinese and Japanese, and for technical text;
the module knows no grammar and no headings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from rag_helpers.chunking.cutting import (
    WORD,
    Unit,
    as_documents,
    check_sizes,
    cut,
    pack,
    strip_span,
)
from rag_helpers.records import Chunk, Document

__all__ = ["sentence_units", "split_by_sentences", "split_sentences"]


def split_by_sentences(
    documents: Document | Sequence[Document], *, max_words: int = 150, overlap: int = 0
) -> list[Chunk]:
    """Cut documents between sentences, and pack as many into a chunk as fit.

    Parameters
    ----------
    documents : Document or sequence of Document
        What to cut.
    max_words : int
        Most words per chunk. A sentence that is longer is cut between words.
    overlap : int
        Most words that a chunk repeats from the one before, less than
        `max_words`. Only whole sentences are repeated.

    Returns
    -------
    list of Chunk
        In reading order, none with more than `max_words` words.

    Raises
    ------
    InvalidInputError
        `max_words` is below 1, or `overlap` is negative or not below it.

    See Also
    --------
    split_sentences : where a sentence ends.

    Examples
    --------
    >>> document = Document(text="It rains. It pours, e.g. here. Stop.", source="rain.txt")
    >>> [chunk.text for chunk in split_by_sentences(document, max_words=6)]
    ['It rains. It pours, e.g. here.', 'Stop.']
    """
    check_sizes("max_words", max_words, overlap)
    chunks: list[Chunk] = []
    for document in as_documents(documents):
        units = sentence_units(document.text, 0, len(document.text), max_words)
        chunks += cut(document, pack(units, max_words, overlap))
    return chunks


# Where one sentence ends and the next begins; the match is the white space.
_SENTENCE_GAP = re.compile(
    # Closing punctuation, perhaps in quotes; what follows does not look like a continuation.
    r"(?<=[.!?…])[\"'”’)\]*_`]{0,4}(?P<gap>\s+)(?=[^\s,;:.!?)\]}%=<>+/\-–—])"
    r"|(?P<paragraph>\n\s*\n)"
    # The next line opens with a bullet or a number: a list entry.
    r"|(?P<entry>\n)(?=[ \t]*(?:[*+•\-]|\d{1,3}[.)])[ \t])"
    # Full stops that no space follows, in Chinese and Japanese.
    r"|(?<=[。！？])(?P<wide>)(?![。！？」』”’）])"
)
_BLANK_LINE = re.compile(r"\n\s*\n")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"'“‘])(?:(?i:e\.g|i\.e|cf|vs|viz|ca|approx|resp|figs?|eqs?|vol|pp?|dr|mrs?|ms"
    r"|prof|st)|[A-Z](?:\.[A-Z])*)\.$"
    r"|(?:^|\n)[ \t]*\d{1,3}\.$"  # the number of a list entry
)


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Find the sentences of a text.

    A sentence ends at closing punctuation that white space follows, at a blank
    line, and before a list entry; in Chinese and Japanese at the full stop. It
    does not end after an abbreviation (``e.g.``, ``i.e.``, ``cf.``, an
    initial), within code (``x.y``), or before a lower-case letter.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    list of (int, int)
        Offsets into `text`, end exclusive, rising and without overlap; white
        space at the ends is left out, every other character is in one of them.

    Examples
    --------
    >>> text = "Use x.y, e.g. Path.name. It works!"
    >>> [text[start:end] for start, end in split_sentences(text)]
    ['Use x.y, e.g. Path.name.', 'It works!']
    """
    cuts = [0]
    for match in _SENTENCE_GAP.finditer(text):
        if not (match["gap"] and _goes_on(text, match.start(), match.end())):
            cuts.append(match.end())
    cuts.append(len(text))
    return [span for cut in pairwise(cuts) if (span := strip_span(text, *cut))]


def _goes_on(text: str, stop: int, following: int) -> bool:
    """Tell whether a sentence goes on after the punctuation that ends at `stop`."""
    if _BLANK_LINE.search(text, stop, following):
        return False
    before = text[max(0, stop - 16) : stop]
    return text[following].islower() or _ABBREVIATION.search(before) is not None


def sentence_units(text: str, start: int, end: int, max_words: int) -> Iterator[Unit]:
    """Yield the sentences between two offsets; those that are too long in pieces."""
    for first, last in split_sentences(text[start:end]):
        words = [match.span() for match in WORD.finditer(text, start + first, start + last)]
        for i in range(0, len(words), max_words):
            piece = words[i : i + max_words]
            yield Unit(piece[0][0], piece[-1][1], len(piece))
