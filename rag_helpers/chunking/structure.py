"""Chunks along the structure that the author gave a text.

Headings, paragraphs, list and definition entries are told by blank lines,
bullets and indentation; the module knows no markup language in full.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from rag_helpers.chunking.cutting import Unit, as_documents, check_sizes, cut, pack, strip_span
from rag_helpers.chunking.headings import find_headings
from rag_helpers.chunking.sentences import sentence_units
from rag_helpers.records import Chunk, Document

__all__ = ["split_by_structure"]


def split_by_structure(
    documents: Document | Sequence[Document], *, max_words: int = 200
) -> list[Chunk]:
    r"""Cut documents where their authors did, and never across a heading.

    Cuts fall at headings, paragraphs, list entries and definition entries (a
    signature such as ``object.__init__(self[, ...])`` and what is indented
    below it). An entry that fits in a chunk is kept whole, one that does not is
    cut into its parts; small neighbours under the same heading are merged.

    Parameters
    ----------
    documents : Document or sequence of Document
        What to cut.
    max_words : int
        Most words per chunk. A paragraph that is longer is cut between
        sentences, a sentence that is longer between words.

    Returns
    -------
    list of Chunk
        In reading order, none with more than `max_words` words. A heading
        opens the chunk of what stands below it; one with nothing below it but
        another heading stands with that one.

    Raises
    ------
    InvalidInputError
        `max_words` is below 1.

    Examples
    --------
    >>> text = "Tea\n===\n\nBoil water.\n\nSteep.\n\nCoffee\n======\n\nGrind."
    >>> chunks = split_by_structure(Document(text=text, source="drinks.rst"))
    >>> [(chunk.heading, chunk.text.split()[-1]) for chunk in chunks]
    [('Tea', 'Steep.'), ('Coffee', 'Grind.')]
    """
    check_sizes("max_words", max_words, 0)
    chunks: list[Chunk] = []
    for document in as_documents(documents):
        spans = (
            span
            for section in _find_sections(document.text)
            for span in pack(_entry_units(document.text, section, max_words), max_words, 0)
        )
        chunks += cut(document, spans, heading_at_end=True)
    return chunks


def _find_sections(text: str) -> Iterator[list[_Block]]:
    """Yield the blocks between one heading and the next; the heading is the first block.

    Headings with nothing between them are one block.
    """
    heading_start = body = 0
    for heading in find_headings(text):
        if text[body : heading.start].strip():
            yield _find_blocks(text, heading_start, body, heading.start)
            heading_start = heading.start
        body = heading.end
    yield _find_blocks(text, heading_start, body, len(text))


class _Block(NamedTuple):
    """A paragraph, a list entry's first paragraph, or a heading."""

    start: int
    end: int
    words: int
    indent: int


_BLOCK_GAP = re.compile(r"\n\s*\n|\n(?=[ \t]*(?:[*+•\-]|\d{1,3}[.)])[ \t])")
_MAX_INDENT = 40  # bounds the nesting, whatever a hostile text does


def _find_blocks(text: str, heading: int, body: int, end: int) -> list[_Block]:
    """Cut a section at blank lines and list entries."""
    cuts = [body, *(match.end() for match in _BLOCK_GAP.finditer(text, body, end)), end]
    spans = [(heading, body, -1), *((a, b, 0) for a, b in pairwise(cuts))]
    blocks = []
    for first, last, indent in spans:
        if span := strip_span(text, first, last):
            if indent == 0:
                line = text[text.rfind("\n", 0, span[0]) + 1 : span[0]]
                indent = min(len(line.expandtabs()), _MAX_INDENT)
            blocks.append(_Block(*span, len(text[slice(*span)].split()), indent))
    return blocks


def _entry_units(text: str, blocks: Sequence[_Block], max_words: int) -> Iterator[Unit]:
    """Yield entries (a block and all that is indented below it), in parts if too long."""
    i = 0
    while i < len(blocks):
        head = blocks[i]
        below = i + 1
        while below < len(blocks) and blocks[below].indent > head.indent:
            below += 1
        words = sum(block.words for block in blocks[i:below])
        if words <= max_words:
            yield Unit(head.start, blocks[below - 1].end, words)
        elif head.words <= max_words // 2:
            # A signature or a heading says little alone: it stays with what it introduces.
            parts = _entry_units(text, blocks[i + 1 : below], max_words - head.words)
            first = next(parts)
            yield Unit(head.start, first.end, head.words + first.words)
            yield from parts
        else:
            yield from sentence_units(text, head.start, head.end, max_words)
            yield from _entry_units(text, blocks[i + 1 : below], max_words)
        i = below
