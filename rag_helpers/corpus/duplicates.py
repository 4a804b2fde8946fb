"""Texts that say the same words, and what a corpus is recognised by.

Near duplicates crowd the first places of every search. Two texts are compared
by the runs of words (shingles) they share. The module knows strings; it does
not know what they are from.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

from rag_helpers.errors import InvalidInputError
from rag_helpers.records import Document

__all__ = ["containment", "find_near_duplicates", "fingerprint"]

_WORD = re.compile(r"\w+")

_Shingles = frozenset[tuple[str, ...]]


def containment(a: str, b: str, *, words: int = 5) -> float:
    """Return how much of one text stands in another.

    Parameters
    ----------
    a, b : str
        The texts. Case, punctuation and white space are not compared.
    words : int
        Words per shingle.

    Returns
    -------
    float
        Share of the different shingles of `a` that `b` has too, from 0 to 1; a
        text of fewer words than `words` is one shingle, one without words
        stands nowhere. Not symmetric: a part is contained in the whole.

    Raises
    ------
    InvalidInputError
        `words` is below 1.

    Notes
    -----
    Broder (1997), On the resemblance and containment of documents.

    Examples
    --------
    >>> part, whole = "to be or not to be", "To be, or not to be: that is the question."
    >>> containment(part, whole), round(containment(whole, part), 2)
    (1.0, 0.33)
    """
    return _contained(
        *(
            (_kept_shingles if len(text) <= _KEPT_LENGTH else _shingles)(text, words)
            for text in (a, b)
        )
    )


def find_near_duplicates(texts: Sequence[str], *, threshold: float = 0.8) -> list[tuple[int, int]]:
    """Find the pairs of texts of which one (nearly) contains the other.

    Parameters
    ----------
    texts : sequence of str
        What to compare: chunks, or whole documents.
    threshold : float
        Least `containment`, of five-word shingles and in either direction, that
        makes two texts near duplicates; above 0, at most 1.

    Returns
    -------
    list of (int, int)
        Places in `texts`, the smaller first, in rising order.

    Raises
    ------
    InvalidInputError
        `threshold` is not above 0 and at most 1.

    Notes
    -----
    A text that contains at least `threshold` of another's n shingles must share
    one of any ``n - ceil(threshold * n) + 1`` of them. Only texts that share one
    of the rarest are compared (prefix filtering: Chaudhuri, Ganti and Kaushik
    2006), which finds every pair without comparing all with all.

    Examples
    --------
    >>> line = "the quick brown fox jumps over the lazy dog"
    >>> find_near_duplicates([line, "nothing of the kind is said here", line.title()])
    [(0, 2)]
    """
    if not 0 < threshold <= 1:
        raise InvalidInputError(f"threshold={threshold} must be above 0 and at most 1; try 0.8.")
    shingles = [_shingles(text, 5) for text in texts]
    frequency = Counter(shingle for own in shingles for shingle in own)
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, own in enumerate(shingles):
        for shingle in own:
            holders[shingle].append(i)
    pairs: set[tuple[int, int]] = set()
    for i, own in enumerate(shingles):
        needed = len(own) - math.ceil(threshold * len(own)) + 1
        rarest = sorted(own, key=frequency.__getitem__)[:needed]
        for j in {j for shingle in rarest for j in holders[shingle]} - {i}:
            if _contained(own, shingles[j]) >= threshold:
                pairs.add((min(i, j), max(i, j)))
    return sorted(pairs)


def fingerprint(documents: Iterable[Document]) -> str:
    """Return a checksum that changes when a text or a source does.

    Parameters
    ----------
    documents : iterable of Document
        The corpus; the order of its documents does not matter.

    Returns
    -------
    str
        SHA-256 of the sources and texts, 64 hexadecimal digits.

    Examples
    --------
    >>> tea = Document(text="Steep.", source="tea.txt")
    >>> coffee = Document(text="Grind.", source="coffee.txt")
    >>> fingerprint([tea, coffee]) == fingerprint([coffee, tea])
    True
    >>> fingerprint([tea]) == fingerprint([coffee])
    False
    """
    return _sha256(sorted(_sha256([document.source, document.text]) for document in documents))


def _sha256(parts: Iterable[str]) -> str:
    """Hash strings, each behind its length, so that none runs into the next."""
    digest = hashlib.sha256()
    for part in parts:
        # Half a surrogate pair has no UTF-8 of their own.
        data = part.encode("utf-8", "surrogatepass")
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()


def _shingles(text: str, words: int) -> _Shingles:
    if words < 1:
        raise InvalidInputError(f"words={words} is no shingle; give 1 or more.")
    found = _WORD.findall(text.casefold())
    count = max(len(found) - words + 1, min(len(found), 1))
    return frozenset(tuple(found[i : i + words]) for i in range(count))


# Every search compares its hits with each other, and meets the same passages again. The shingles of
# whole documents would fill the memory.
_KEPT_LENGTH = 4_000
_kept_shingles = lru_cache(maxsize=2048)(_shingles)


def _contained(own: _Shingles, other: _Shingles) -> float:
    return len(own & other) / len(own) if own else 0.0
