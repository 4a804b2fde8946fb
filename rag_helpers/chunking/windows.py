"""Windows of words and of tokens, wherever they fall.

The module does not know sentences or headings; tokens are counted by a callable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rag_helpers.chunking.cutting import WORD, as_documents, check_sizes, cut
from rag_helpers.errors import InvalidInputError
from rag_helpers.records import Chunk, Document

__all__ = ["split_by_tokens", "split_by_words"]


def split_by_words(
    documents: Document | Sequence[Document], *, size: int = 150, overlap: int = 0
) -> list[Chunk]:
    """Cut documents into windows of words.

    Parameters
    ----------
    documents : Document or sequence of Document
        What to cut.
    size : int
        Words per chunk; the last chunk of a document may have fewer. A word
        is whatever stands between white space, so text that has none (Chinese,
        a minified script) is one word: cut that with `split_by_tokens`.
    overlap : int
        Words that a chunk repeats from the one before, less than `size`.

    Returns
    -------
    list of Chunk
        In reading order. White space at the ends of a chunk is left out, that
        within it is kept.

    Raises
    ------
    InvalidInputError
        `size` is below 1, or `overlap` is negative or not below `size`.

    Examples
    --------
    >>> document = Document(text="one two  three four five", source="count.txt")
    >>> [chunk.text for chunk in split_by_words(document, size=3, overlap=1)]
    ['one two  three', 'three four five']
    """
    check_sizes("size", size, overlap)
    chunks: list[Chunk] = []
    for document in as_documents(documents):
        words = [match.span() for match in WORD.finditer(document.text)]
        # A window that starts within the last `overlap` words would only repeat.
        starts = range(0, max(len(words) - overlap, min(len(words), 1)), size - overlap)
        windows = (words[start : start + size] for start in starts)
        chunks += cut(document, ((window[0][0], window[-1][1]) for window in windows))
    return chunks


def split_by_tokens(
    documents: Document | Sequence[Document],
    *,
    count_tokens: Callable[[str], int],
    max_tokens: int = 256,
) -> list[Chunk]:
    """Cut documents so that no chunk is longer than a model reads.

    Each chunk takes as many words as fit. A word that does not fit alone is
    cut between characters.

    Parameters
    ----------
    documents : Document or sequence of Document
        What to cut.
    count_tokens : callable
        Returns how many of the model's tokens a text takes, the special ones
        included, as an embedder's ``count_tokens`` does.
    max_tokens : int
        Most tokens per chunk.

    Returns
    -------
    list of Chunk
        In reading order, none with more than `max_tokens` tokens.

    Raises
    ------
    InvalidInputError
        `max_tokens` is too small for a single character.

    Examples
    --------
    >>> document = Document(text="one two three", source="count.txt")
    >>> [c.text for c in split_by_tokens(document, count_tokens=len, max_tokens=7)]
    ['one two', 'three']
    """
    check_sizes("max_tokens", max_tokens, 0)
    chunks: list[Chunk] = []
    for document in as_documents(documents):
        chunks += cut(document, _token_spans(document.text, count_tokens, max_tokens))
    return chunks


def _token_spans(
    text: str, count_tokens: Callable[[str], int], max_tokens: int
) -> Iterator[tuple[int, int]]:
    """Yield the longest runs of words that fit; a word that does not fit in pieces."""
    starts = [match.start() for match in WORD.finditer(text)]
    ends = [match.end() for match in WORD.finditer(text)]
    first, words, characters = 0, max_tokens, max_tokens
    while first < len(starts):
        start, end = starts[first], ends[first]
        fit = _longest_fit(text, start, ends, first, count_tokens, max_tokens, words)
        if fit:
            yield start, ends[first + fit - 1]
            first, words = first + fit, fit
            continue
        while start < end:
            characters = _longest_fit(
                text, start, range(start + 1, end + 1), 0, count_tokens, max_tokens, characters
            )
            if not characters:
                raise InvalidInputError(
                    f"max_tokens={max_tokens} is too small for a single character, which takes"
                    f" {count_tokens(text[start : start + 1])} tokens; raise max_tokens."
                )
            yield start, start + characters
            start += characters
        first += 1


def _longest_fit(
    text: str,
    start: int,
    ends: Sequence[int],
    first: int,
    count_tokens: Callable[[str], int],
    max_tokens: int,
    guess: int,
) -> int:
    """Return the largest n for which ``text[start:ends[first + n - 1]]`` fits, 0 if none does.

    Tokens grow about in step with the text, so each measurement says where to
    look next; the growing stride bounds the search where they do not.
    """
    fits, fails, stride = 0, len(ends) - first + 1, 1
    while fails - fits > 1:
        if not fits < guess < fails:
            guess = (fits + fails) // 2
        tokens = count_tokens(text[start : ends[first + guess - 1]])
        likely = guess * max_tokens // max(tokens, 1)
        if tokens <= max_tokens:
            fits = guess
            guess = max(likely, fits + stride)
        else:
            fails = guess
            guess = min(likely, fails - stride)
        stride *= 2
    return fits
