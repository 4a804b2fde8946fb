"""Where the evidence of a question stands, and which hits hold it.

Gold questions quote the passage that answers them. White space and quotation
marks drift between versions of a text, and a quote may be elided, so quotes
are matched on *normalized* text: white space collapsed to single spaces and
curly quotation marks made straight.

The module knows nothing of files, retrievers or scores: it takes records and
tells where a quote stands and whether a passage holds it.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from rag_helpers.errors import EvaluationError
from rag_helpers.records import Document, GoldQuestion, Hit

__all__ = [
    "ELISION",
    "MIN_WORDS_BESIDE_ELISION",
    "EvidenceSpan",
    "Judge",
    "holds_evidence",
    "normalize_quote",
    "resolve_evidence",
    "split_elision",
]

ELISION = "…"
MIN_WORDS_BESIDE_ELISION = 3

_STRAIGHT = str.maketrans("‘’‚‛“”„‟", "''''\"\"\"\"")
_WORD = re.compile(r"\S+")


def normalize_quote(text: str) -> str:
    r"""Collapse white space and make curly quotation marks straight.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        The text with single spaces, stripped at both ends.

    Examples
    --------
    >>> normalize_quote("the  “with”\n   statement")
    'the "with" statement'
    """
    return " ".join(text.split()).translate(_STRAIGHT)


def split_elision(evidence: str) -> tuple[str, str] | None:
    """Return the opening and the closing words of an elided quote.

    Parameters
    ----------
    evidence : str
        ``"opening words … closing words"``.

    Returns
    -------
    tuple of str or None
        Both parts, normalized; None when the quote holds no single elision
        with at least three words on each side.

    Examples
    --------
    >>> split_elision("The with statement … is always called.")
    ('The with statement', 'is always called.')
    >>> split_elision("too short … a closing part") is None
    True
    """
    parts = [normalize_quote(part) for part in evidence.split(ELISION)]
    if len(parts) != 2 or min(len(p.split()) for p in parts) < MIN_WORDS_BESIDE_ELISION:
        return None
    return parts[0], parts[1]


def resolve_evidence(evidence: str, text: str) -> tuple[int, int] | None:
    r"""Find a quote in a text, whatever its white space and quotation marks.

    A quote that stands in the text as it is wins, at its first place.
    Otherwise an elided quote stands for the *shortest* stretch of normalized
    text that begins with its opening and ends with its closing words; of
    stretches equally short, the first. A match never begins or ends inside a
    word.

    Parameters
    ----------
    evidence : str
        The quote, whole or elided as ``"opening words … closing words"`` with
        at least three words on each side.
    text : str
        The text to search.

    Returns
    -------
    tuple of int or None
        Offsets into `text` in characters, end exclusive; None when the quote
        does not stand there.

    Raises
    ------
    EvaluationError
        If `evidence` holds no word.

    Examples
    --------
    >>> text = "A  rose is a rose\nis a rose, and so is this one."
    >>> start, end = resolve_evidence("rose is a … so is this", text)
    >>> text[start:end]
    'rose\nis a rose, and so is this'
    >>> resolve_evidence("no such thing", text) is None
    True
    """
    return _normalized(text).resolve(evidence)


def holds_evidence(hit_text: str, evidence_text: str, share: float = 0.6) -> bool:
    """Tell whether a passage holds a quote, or most of one cut by its boundary.

    The passage holds the quote when the whole quote stands in it, or when the
    passage begins or ends inside the quote (or lies wholly within it) and
    holds at least `share` of its words in one run. Words that the boundary
    cuts do not count.

    Parameters
    ----------
    hit_text : str
        Text of the chunk.
    evidence_text : str
        The quote as it stands in the corpus: an elided quote is resolved
        first, with `resolve_evidence`.
    share : float
        Least share of the quote's words, above 0 and at most 1.

    Returns
    -------
    bool
        Whether the passage counts as right.

    Raises
    ------
    EvaluationError
        If `evidence_text` holds no word or `share` is outside (0, 1].

    Examples
    --------
    >>> quote = "raised when the second argument is zero"
    >>> holds_evidence("ZeroDivisionError is raised  when the second argument is zero.", quote)
    True
    >>> holds_evidence("… raised when the second argument is", quote)  # 6 of 7, cut at the end
    True
    >>> holds_evidence("raised when the second argument is negative", quote)  # another text
    False
    """
    return _Quote(normalize_quote(evidence_text), share).stands_in(_normalize_cached(hit_text))


@dataclass(frozen=True, slots=True)
class EvidenceSpan:
    """Where the evidence of a question stands.

    Parameters
    ----------
    source : str
        Document that holds it.
    start, end : int
        Offsets into ``Document.text`` in characters, end exclusive.
    text : str
        The evidence as it stands there.
    """

    source: str
    start: int
    end: int
    text: str


class Judge:
    """Tells which hits are right for which gold question.

    Every quote is resolved once: in the document that the question names, or,
    where the wording has moved, in the first other document that holds it. A
    hit is right when it holds the quote, whichever document it came from,
    because the same passage may stand in several.

    Parameters
    ----------
    documents : sequence of Document
        The corpus that is searched.
    gold : sequence of GoldQuestion
        The questions; unanswerable ones have nothing to resolve.
    share : float
        Least share of the quote's words; see `holds_evidence`.

    Attributes
    ----------
    spans : dict of str to EvidenceSpan
        By question id, where its evidence stands.
    unresolved : tuple of str
        Ids of answerable questions whose evidence stands in no document, or
        that name none.

    Raises
    ------
    EvaluationError
        If `share` is outside (0, 1].

    Examples
    --------
    >>> document = Document("The sky is blue on most days. Grass is green.", "nature")
    >>> question = GoldQuestion("q1", "What colour is the sky?", ("blue",),
    ...                         "The sky is blue on most days.", "nature", "fact")
    >>> judge = Judge([document], [question])
    >>> judge.spans["q1"].start, judge.unresolved
    (0, ())
    >>> judge.holds("q1", "The sky is blue on most")
    True
    """

    def __init__(
        self,
        documents: Sequence[Document],
        gold: Sequence[GoldQuestion],
        *,
        share: float = 0.6,
    ) -> None:
        texts = [(document.source, _Normalized(document.text)) for document in documents]
        by_source = defaultdict(list)
        for source, text in texts:
            by_source[source].append((source, text))
        self.spans: dict[str, EvidenceSpan] = {}
        unresolved = []
        for question in gold:
            if not question.answers:
                continue
            own = by_source.get(question.source or "", [])
            span = _locate(question.evidence, chain(own, texts))
            if span is None:
                unresolved.append(question.id)
            else:
                self.spans[question.id] = span
        self.unresolved: tuple[str, ...] = tuple(unresolved)
        self._quotes = {
            name: _Quote(normalize_quote(span.text), share) for name, span in self.spans.items()
        }

    def holds(self, question_id: str, text: str) -> bool:
        """Tell whether `text` holds the evidence of a question.

        Parameters
        ----------
        question_id : str
            Id of a question with resolved evidence.
        text : str
            Text of a chunk or of a passage in a prompt.

        Returns
        -------
        bool
            Whether the text counts as right.

        Raises
        ------
        EvaluationError
            If the question has no resolved evidence.
        """
        try:
            quote = self._quotes[question_id]
        except KeyError:
            raise EvaluationError(
                f"question {question_id!r} has no evidence in this corpus: it is unanswerable, "
                "unknown or listed in Judge.unresolved; ask only about ids in Judge.spans"
            ) from None
        return quote.stands_in(_normalize_cached(text))

    def relevance(self, question_id: str, hits: Sequence[Hit]) -> list[bool]:
        """Return for each hit, in order, whether it is right.

        Parameters
        ----------
        question_id : str
            Id of a question with resolved evidence.
        hits : sequence of Hit
            Hits, best first.

        Returns
        -------
        list of bool
            One value per hit.

        Raises
        ------
        EvaluationError
            If the question has no resolved evidence.
        """
        return [self.holds(question_id, hit.chunk.text) for hit in hits]

    def first_right(self, question_id: str, hits: Sequence[Hit]) -> int | None:
        """Return the place of the first right hit.

        Parameters
        ----------
        question_id : str
            Id of a question with resolved evidence.
        hits : sequence of Hit
            Hits, best first.

        Returns
        -------
        int or None
            Place counted from 1; None when no hit is right.

        Raises
        ------
        EvaluationError
            If the question has no resolved evidence.
        """
        for place, hit in enumerate(hits, start=1):
            if self.holds(question_id, hit.chunk.text):
                return place
        return None


class _Normalized:
    """A text, normalized, with the way back to its own offsets."""

    def __init__(self, raw: str) -> None:
        self.raw = raw
        words = list(_WORD.finditer(raw))
        self.text = " ".join(word.group() for word in words).translate(_STRAIGHT)
        self._raw_starts = [word.start() for word in words]
        self._starts: list[int] = []
        at = 0
        for word in words:
            self._starts.append(at)
            at += word.end() - word.start() + 1

    def resolve(self, evidence: str) -> tuple[int, int] | None:
        """Return the offsets of a quote in the raw text, or None."""
        whole = normalize_quote(evidence)
        if not whole:
            raise EvaluationError(
                f"evidence {evidence!r} holds no word: quote a passage of the corpus, "
                "or give null for a question that the corpus cannot answer"
            )
        first = next(_find_all(whole, self.text), None)
        if first is not None:
            return self._to_raw(first, first + len(whole))
        elided = split_elision(evidence)
        return self._resolve_elided(*elided) if elided else None

    def _resolve_elided(self, opening: str, closing: str) -> tuple[int, int] | None:
        openings = list(_find_all(opening, self.text))
        ends = [start + len(opening) for start in openings]
        best: tuple[int, int] | None = None
        for at in _find_all(closing, self.text) if openings else ():
            # The last opening before this closing gives its shortest stretch.
            before = bisect_right(ends, at)
            if before and (best is None or at + len(closing) - openings[before - 1] < _len(best)):
                best = openings[before - 1], at + len(closing)
        return self._to_raw(*best) if best else None

    def _to_raw(self, start: int, end: int) -> tuple[int, int]:
        return self._raw_offset(start), self._raw_offset(end - 1) + 1

    def _raw_offset(self, at: int) -> int:
        word = bisect_right(self._starts, at) - 1
        return self._raw_starts[word] + at - self._starts[word]


class _Quote:
    """A normalized quote, ready to be looked for in many passages."""

    def __init__(self, text: str, share: float) -> None:
        words = text.split()
        if not words:
            raise EvaluationError("the evidence holds no word: give the quote as it is resolved")
        if not 0 < share <= 1:
            raise EvaluationError(
                f"share is {share!r}, but must be above 0 and at most 1: give 0.6 for 60 %"
            )
        self.text = text
        # A share of 0.6 of five words is three, not four by a rounding error.
        self.least = math.ceil(share * len(words) - 1e-9)
        self.head = " ".join(words[: self.least])
        self.tail = " ".join(words[-self.least :])

    def stands_in(self, passage: str) -> bool:
        """Tell whether a normalized passage holds enough of the quote."""
        if next(_find_all(self.text, passage), None) is not None:
            return True
        return (
            any(self.text.startswith(passage[at:]) for at in _find_all(self.head, passage))
            or any(
                self.text.endswith(passage[: at + len(self.tail)])
                for at in _find_all(self.tail, passage)
            )
            or self._surrounds(passage)
        )

    def _surrounds(self, passage: str) -> bool:
        """Tell whether the passage is a large enough piece of the quote."""
        words = passage.split()
        if len(words) < self.least:
            return False
        at = self.text.find(passage)
        if at < 0:
            return False
        end = at + len(passage)
        cut = (not _is_boundary(self.text, at)) + (not _is_boundary(self.text, end))
        return len(words) - cut >= self.least


def _find_all(part: str, whole: str) -> Iterator[int]:
    """Yield where `part` stands in `whole` without beginning or ending inside a word."""
    at = whole.find(part)
    while at >= 0:
        if _is_boundary(whole, at) and _is_boundary(whole, at + len(part)):
            yield at
        at = whole.find(part, at + 1)


def _is_boundary(text: str, at: int) -> bool:
    if at <= 0 or at >= len(text):
        return True
    return not (_joins(text[at - 1]) and _joins(text[at]))


def _joins(character: str) -> bool:
    """Tell whether a character makes a word with its neighbour.

    Letters without case (Chinese, Thai) are left out: their words are written
    without spaces, so every place between them may be a boundary.
    """
    if character.isalpha():
        return character.lower() != character.upper()
    return character.isdigit() or character == "_"


def _locate(evidence: str | None, texts: Iterable[tuple[str, _Normalized]]) -> EvidenceSpan | None:
    if evidence is None:
        return None
    for source, text in texts:
        found = text.resolve(evidence)
        if found is not None:
            start, end = found
            return EvidenceSpan(source, start, end, text.raw[start:end])
    return None


def _len(span: tuple[int, int]) -> int:
    return span[1] - span[0]


# Chunks and corpora are judged again and again, question after question.
_normalize_cached = lru_cache(maxsize=16_384)(normalize_quote)
_normalized = lru_cache(maxsize=256)(_Normalized)
