"""Keyword search: BM25 over words, where operators and dunder names are words too.

The module does not know meanings: a question finds only chunks that share a
word stem or a symbol with it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from threading import Lock
from typing import Any

from rag_helpers.index import ChunkIndex, Where, checked_k, select_chunks
from rag_helpers.records import Chunk, Hit
from rag_helpers.retriever.duplicates import checked_question, find_distinct
from rag_helpers.retriever.passages import headed_text

__all__ = ["KeywordRetriever", "split_terms"]

# Few, because many of the usual ones are keywords of Python: is, in, and, or, not, if, for, with.
STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "to",
        "i",
        "me",
        "my",
        "you",
        "your",
        "we",
        "our",
        "it",
        "its",
        "this",
        "that",
        "these",
        "those",
        "be",
        "been",
        "are",
        "was",
        "were",
        "do",
        "does",
        "did",
        "can",
        "could",
        "should",
        "would",
        "will",
        "what",
        "which",
        "how",
        "when",
        "where",
        "why",
        "who",
        "there",
    ]
)
_TERM = re.compile(
    r"""
    (?P<rule>[^\w\s])(?P=rule){3,}                    # a line of four or more signs is decoration
    | (?P<word>\w+(?:['’]\w+)*(?:\.\w+(?:['’]\w+)*)*)  # word, identifier, dotted name, number
    | (?P<operator>
        \.\.\. | \*\*= | //= | >>= | <<= | := | -> | \*\* | // | << | >> | [!=<>]= | [-+*/%@&|^]=
        | [-+*/%@&|^~<>=!\\\#$]
      )
    """,
    re.VERBOSE,
)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_SEAM = re.compile(r"[._]+|(?<=[a-z])(?=[A-Z])")


def split_terms(text: str, *, stem: bool = True) -> list[str]:
    """Split text into the terms that keyword search compares.

    Words are lower-cased, cleared of a few stop words and stemmed. Operators
    stay (``@``, ``:=``, ``**``), as do single characters. Identifiers are kept
    whole and also split into their parts.

    Parameters
    ----------
    text : str
    stem : bool
        Whether words are cut to their English stem (Porter2, by PyStemmer).
        When that package is missing, a warning says so and words stay whole.

    Returns
    -------
    list of str

    Examples
    --------
    >>> split_terms("What does @cached above a function mean?")
    ['@', 'cach', 'abov', 'function', 'mean']
    >>> split_terms("x := obj.__init__()")
    ['x', ':=', 'obj.__init__', 'obj', 'init']
    >>> split_terms("ZeroDivisionError")
    ['zerodivisionerror', 'zero', 'divis', 'error']
    """
    stem_word = _load_stemmer() if stem else str
    terms: list[str] = []
    for match in _TERM.finditer(text):
        if match["operator"]:
            terms.append(match["operator"])
        elif whole := match["word"]:
            parts = [part for part in _SEAM.split(whole) if part]
            if parts != [whole]:
                terms.append(whole.lower())
            words = [part.lower() for part in parts]
            terms += [
                stem_word(word) if _WORD.fullmatch(word) else word
                for word in words
                if word not in STOP_WORDS
            ]
    return terms


class KeywordRetriever:
    """Find chunks that share words with the question, by BM25.

    BM25 in its "lucene" form (Robertson and Zaragoza, 2009; Kamphuis et al.,
    2020): each shared term adds ``idf * tf / (tf + k1 * (1 - b + b * length /
    mean length))`` with ``idf = ln(1 + (N - df + 0.5) / (df + 0.5))``.

    Parameters
    ----------
    chunks : sequence of Chunk
        Searched as they are now; `following` keeps up with an index instead.
    stemmer : bool
        Whether words are compared by their English stem.
    with_heading : bool
        Whether the words of title and heading count as words of the chunk.
    collapse : bool
        Whether near-duplicate hits are collapsed; see `collapse_duplicates`.
    k1, b : float
        How soon repetition of a term saturates, and how much long chunks are
        held back.

    Examples
    --------
    >>> chunks = [Chunk("x @ y multiplies", "mul", 0, 16), Chunk("x := y binds", "walrus", 0, 12)]
    >>> [hit.chunk.source for hit in KeywordRetriever(chunks).search("What does := mean?")]
    ['walrus']
    """

    name = "keyword"

    def __init__(
        self,
        chunks: Sequence[Chunk],
        *,
        stemmer: bool = True,
        with_heading: bool = True,
        collapse: bool = True,
        k1: float = 1.5,
        b: float = 0.75,
    ) -> None:
        self.collapse = collapse
        self._build = partial(_Words, stemmer=stemmer, with_heading=with_heading, k1=k1, b=b)
        self._words = self._build(list(chunks))
        self._index: ChunkIndex | None = None
        self._version = 0

    @classmethod
    def following(
        cls,
        index: ChunkIndex,
        *,
        stemmer: bool = True,
        with_heading: bool = True,
        collapse: bool = True,
        k1: float = 1.5,
        b: float = 0.75,
    ) -> KeywordRetriever:
        """Return a retriever over the chunks of an index, whichever those are.

        After a change of the index the next search counts all words anew, since
        every document changes how rare a word is.

        Parameters
        ----------
        index : ChunkIndex
        stemmer, with_heading, collapse, k1, b
            As for the class.

        Returns
        -------
        KeywordRetriever
        """
        retriever = cls(
            index.chunks,
            stemmer=stemmer,
            with_heading=with_heading,
            collapse=collapse,
            k1=k1,
            b=b,
        )
        retriever._index, retriever._version = index, index.version
        return retriever

    def search(self, question: str, k: int = 5, *, where: Where | None = None) -> list[Hit]:
        """Return at most `k` hits, best first.

        Parameters
        ----------
        question : str
        k : int
            At least 1; when it exceeds the chunks that share a term with the
            question, those are returned.
        where : mapping, optional
            Required values of source, title, heading or metadata; see
            `rag_helpers.index.select_chunks`.

        Returns
        -------
        list of Hit
            Empty when no term is shared or there are no chunks. Scores are
            above 0, without upper bound; equal ones stand in chunk order.

        Raises
        ------
        InvalidInputError
            If the question is blank, ``k < 1`` or a key of `where` is unknown.
        """
        if self._index is not None and self._index.version != self._version:
            # The version first: a change between the two lines is then noticed next time.
            self._version = self._index.version
            self._words = self._build(self._index.chunks)
        words = self._words
        checked_question(question)
        limit = checked_k(k)
        found = words.search(question, where)

        def fetch(depth: int) -> list[Hit]:
            return [
                Hit(words.chunks[place], score, rank, self.name)
                for rank, (place, score) in enumerate(found[:depth], start=1)
            ]

        return find_distinct(fetch, limit) if self.collapse else fetch(limit)


class _Words:
    """The words of some chunks, counted once."""

    def __init__(
        self, chunks: list[Chunk], *, stemmer: bool, with_heading: bool, k1: float, b: float
    ) -> None:
        self.chunks = chunks
        self.split = partial(split_terms, stem=stemmer)
        self.bm25: Any = None
        texts = [headed_text(chunk) if with_heading else chunk.text for chunk in chunks]
        terms = [self.split(text) for text in texts]
        # bm25s cannot count a corpus without a single word.
        if any(terms):
            import bm25s

            self.bm25 = bm25s.BM25(method="lucene", k1=k1, b=b)
            self.bm25.index(terms, show_progress=False)

    def search(self, question: str, where: Where | None) -> list[tuple[int, float]]:
        """Return (place of the chunk, score) of all matches, best first."""
        allowed = select_chunks(self.chunks, where)
        terms = self.split(question)
        if self.bm25 is None or not terms:
            return []
        scores = self.bm25.get_scores(terms)
        order = sorted(allowed, key=lambda place: (-scores[place], place))
        return [(place, float(scores[place])) for place in order if scores[place] > 0]


@cache
def _load_stemmer() -> Callable[[str], str]:
    try:
        import Stemmer
    except ImportError:
        warnings.warn(
            "PyStemmer is not installed, so words are compared unstemmed ('divides' will not find "
            "'divided'); cure: pip install PyStemmer",
            stacklevel=3,
        )
        return str
    # PyStemmer's object is not safe to share between threads, and a cache hides its cost.
    lock, stemmer = Lock(), Stemmer.Stemmer("english")

    @lru_cache(maxsize=50_000)
    def stem_word(word: str) -> str:
        with lock:
            stem: str = stemmer.stemWord(word)
        return stem

    return stem_word
