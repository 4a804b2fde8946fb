"""The question gains words that its answer is likely to use; no model is asked.

The module knows words. It does not know which retriever will read them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from rag_helpers.errors import InvalidInputError
from rag_helpers.records import Hit, Metadata, Retriever
from rag_helpers.retriever.duplicates import checked_question
from rag_helpers.retriever.keyword import STOP_WORDS

__all__ = ["PYTHON_SYMBOLS", "ExpandedRetriever", "expand_with_glossary", "expand_with_hits"]

PYTHON_SYMBOLS: Mapping[str, str] = {
    "@": "decorator",
    ":=": "assignment expression",
    "**": "power",
    "//": "floor division",
    "%": "modulo remainder",
    "->": "return annotation",
    "...": "Ellipsis",
    "~": "invert",
    "^": "exclusive or",
    "|": "bitwise or",
    "&": "bitwise and",
    "<<": "shift",
    ">>": "shift",
}
"""What the Python documentation calls its symbols; few texts name both."""


class ExpandedRetriever:
    """Search with an expanded question.

    Parameters
    ----------
    retriever : Retriever
    expand : callable
        ``expand(question)`` returns the longer question.
    name : str
        Appended to the retriever's name.

    Examples
    --------
    >>> from rag_helpers.records import Chunk
    >>> from rag_helpers.retriever import KeywordRetriever
    >>> keyword = KeywordRetriever([Chunk("A decorator wraps.", "def", 0, 18)])
    >>> keyword.search("What is @?")
    []
    >>> [hit.chunk.source for hit in ExpandedRetriever(keyword).search("What is @?")]
    ['def']
    """

    def __init__(
        self,
        retriever: Retriever,
        expand: Callable[[str], str] | None = None,
        *,
        name: str = "expanded",
    ) -> None:
        self.retriever = retriever
        self.expand = expand or expand_with_glossary
        self.name = f"{getattr(retriever, 'name', type(retriever).__name__)}+{name}"

    def search(self, question: str, k: int = 5, *, where: Metadata | None = None) -> list[Hit]:
        """Return at most `k` hits of the expanded question, best first.

        Parameters
        ----------
        question : str
        k : int
        where : mapping, optional
            Handed to the retriever.

        Returns
        -------
        list of Hit

        Raises
        ------
        InvalidInputError
            As the retriever does.
        """
        return self.retriever.search(self.expand(checked_question(question)), k, where=where)


def expand_with_glossary(question: str, glossary: Mapping[str, str] = PYTHON_SYMBOLS) -> str:
    """Append the names of the symbols in a question.

    Parameters
    ----------
    question : str
    glossary : mapping of str to str
        Symbol or word, and the words to append. It must stand alone in the
        question, not within a word or a longer symbol.

    Returns
    -------
    str

    Examples
    --------
    >>> expand_with_glossary("What does 7 // 2 give?")
    'What does 7 // 2 give? floor division'
    """
    found = [
        words
        for symbol, words in glossary.items()
        if re.search(_alone(symbol), question) and words not in question
    ]
    return " ".join([question, *dict.fromkeys(found)])


def expand_with_hits(question: str, hits: Sequence[Hit], *, terms: int = 5) -> str:
    """Append words that the first hits share (pseudo-relevance feedback: Rocchio, 1971).

    Parameters
    ----------
    question : str
    hits : sequence of Hit
        The first few of a first search; three is usual.
    terms : int
        Words to append at most, those in the most hits first.

    Returns
    -------
    str

    Raises
    ------
    InvalidInputError
        If `terms` is below 1.

    Examples
    --------
    >>> from rag_helpers.records import Chunk
    >>> texts = ["Ice melts at zero degrees", "Above zero degrees snow melts"]
    >>> hits = [Hit(Chunk(text, "a", 0, len(text)), 1.0, 1) for text in texts]
    >>> expand_with_hits("When does ice melt?", hits, terms=2)
    'When does ice melt? degrees melts'
    """
    if terms < 1:
        raise InvalidInputError(f"terms is {terms}, but at least 1 word must be allowed.")
    known = {*_words(question), *STOP_WORDS}
    counts = Counter(word for hit in hits for word in set(_words(hit.chunk.text)) - known)
    shared = sorted((word for word in counts if counts[word] > 1), key=lambda w: (-counts[w], w))
    return " ".join([question, *shared[:terms]])


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]{4,}", text.lower())


def _alone(symbol: str) -> str:
    own = r"\w" if symbol[0].isalnum() else r"-+*/%@&|^~<>=:"
    return rf"(?<![{own}]){re.escape(symbol)}(?![{own}])"
