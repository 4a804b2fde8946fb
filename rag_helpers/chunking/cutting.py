"""What all ways of cutting share: spans of a text become chunks.

The module does not know where to cut.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rag_helpers.chunking.headings import find_headings
from rag_helpers.errors import InvalidInputError
from rag_helpers.records import Chunk, Document

__all__ = ["WORD", "Unit", "as_documents", "check_sizes", "cut", "pack", "strip_span"]

WORD = re.compile(r"\S+")


def cut(
    document: Document, spans: Iterable[tuple[int, int]], *, heading_at_end: bool = False
) -> Iterator[Chunk]:
    """Make a chunk of each span; the heading is that in force at its start, or at its end."""
    headings = find_headings(document.text)
    heading_starts = [heading.start for heading in headings]
    for start, end in spans:
        above = bisect_right(heading_starts, end - 1 if heading_at_end else start)
        metadata = dict(document.metadata)
        if document.pages:
            metadata["page"] = max(1, bisect_right(document.pages, start))
        yield Chunk(
            text=document.text[start:end],
            source=document.source,
            start=start,
            end=end,
            title=document.title,
            heading=headings[above - 1].text if above else "",
            metadata=metadata,
        )


class Unit(NamedTuple):
    """A stretch of text that is not cut any further."""

    start: int
    end: int
    words: int


def pack(units: Iterable[Unit], max_words: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Join neighbouring units into spans of at most `max_words` words."""
    window: list[Unit] = []
    words = 0
    for unit in units:
        if window and words + unit.words > max_words:
            yield window[0].start, window[-1].end
            # What is repeated must leave room for the unit that did not fit.
            kept = min(overlap, max_words - unit.words)
            while window and words > kept:
                words -= window.pop(0).words
        window.append(unit)
        words += unit.words
    if window:
        yield window[0].start, window[-1].end


def strip_span(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Return the span without the white space at its ends; None when nothing is left."""
    stripped = text[start:end].strip()
    if not stripped:
        return None
    start = text.index(stripped[0], start)
    return start, start + len(stripped)


def as_documents(documents: Document | Sequence[Document]) -> Sequence[Document]:
    """Return one document or many as a sequence; refuse anything else."""
    if isinstance(documents, Document):
        return [documents]
    documents = list(documents)
    for document in documents:
        if not isinstance(document, Document):
            raise InvalidInputError(
                f"A {type(document).__name__} was given where a Document is needed;"
                ' wrap text as Document(text=..., source="a name").'
            )
    return documents


def check_sizes(name: str, size: int, overlap: int) -> None:
    """Refuse a size without room and an overlap that would never move on."""
    if size < 1:
        raise InvalidInputError(f"{name}={size} leaves no room for a word; give 1 or more.")
    if not 0 <= overlap < size:
        raise InvalidInputError(
            f"overlap={overlap} must be at least 0 and less than {name}={size};"
            f" lower overlap or raise {name}."
        )
