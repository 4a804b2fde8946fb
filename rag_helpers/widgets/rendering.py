"""Records as HTML: hits, citations, chunks and status lines, every text escaped.

The module does not know where records come from or which widget shows them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise

from rag_helpers.corpus import STOP_WORDS
from rag_helpers.records import Answer, Chunk, Hit

__all__ = ["render_chunks", "render_citations", "render_hits", "render_status", "shorten"]

_WORD = re.compile(r"\w+")
# Ground and ink are both named, so that they are readable in light and dark.
_TINTS = ("#cfe8fc", "#fde3bd", "#c9ecd9", "#f1d5e8")
_OVERLAP = "background:#5b4a8a;color:#ffffff"
_UNREAD = "background:#d6d6d6;color:#5a5a5a;text-decoration:line-through"
_MARK = "background:#ffe27a;color:#1a1a1a"
_FAILED = "background:#fbd9d3;color:#7a1500"


def render_status(text: str, *, failed: bool = False) -> str:
    """Render a status line that screen readers announce.

    Parameters
    ----------
    text : str
        A sentence or a few.
    failed : bool, default False
        Whether it reports an error: then it is coloured and an ``alert``.

    Returns
    -------
    str
        HTML; `text` is escaped and its line breaks are kept.

    Examples
    --------
    >>> "&lt;b&gt;" in render_status("<b>")
    True
    """
    role, live, colour = ("alert", "assertive", _FAILED) if failed else ("status", "polite", "")
    # Errors name files, and a path has no space to break at in a narrow window.
    wrap = "white-space:pre-wrap;overflow-wrap:anywhere"
    style = f"padding:2px 6px;{wrap};line-height:1.4;{colour}"
    return f"<div role='{role}' aria-live='{live}' style='{style}'>{escape(text)}</div>"


def render_hits(hits: Sequence[Hit], question: str) -> str:
    """Render hits as an ordered list with scores and the question's words marked.

    Parameters
    ----------
    hits : sequence of Hit
        Best first.
    question : str
        Its words are marked in the hits, but for `corpus.STOP_WORDS`.

    Returns
    -------
    str
        HTML.

    Examples
    --------
    >>> chunk = Chunk("<b>tea</b>", "facts", 0, 10)
    >>> "&lt;b&gt;" in render_hits([Hit(chunk, 0.5, 1)], "tea")
    True
    """
    if not hits:
        return "<p>Nothing was found.</p>"
    terms = {word.casefold() for word in _WORD.findall(question)} - STOP_WORDS
    items = []
    for hit in hits:
        heading = f" · {escape(shorten(hit.chunk.heading))}" if hit.chunk.heading else ""
        items.append(
            f"<li value='{hit.rank}' style='margin-bottom:8px'><b>{escape(hit.chunk.source)}</b>"
            f"{heading} <i>(score {hit.score:.3f})</i>"
            f"<div style='white-space:pre-wrap'>{_highlight(hit.chunk.text, terms)}</div></li>"
        )
    return f"<ol style='line-height:1.4'>{''.join(items)}</ol>"


def _highlight(text: str, terms: set[str]) -> str:
    parts, last = [], 0
    for match in _WORD.finditer(text):
        if match.group().casefold() in terms:
            parts.append(escape(text[last : match.start()]))
            parts.append(f"<b style='{_MARK}'>{escape(match.group())}</b>")
            last = match.end()
    return "".join([*parts, escape(text[last:])])


def render_citations(answer: Answer) -> str:
    """Render an answer's citations as passages that open, the supporting sentence marked.

    Parameters
    ----------
    answer : Answer
        Its best citation is open from the start.

    Returns
    -------
    str
        HTML.
    """
    items = []
    for number, citation in enumerate(answer.citations):
        chunk = citation.hit.chunk
        start, end = citation.start - chunk.start, citation.end - chunk.start
        before, sentence, after = chunk.text[:start], chunk.text[start:end], chunk.text[end:]
        page = f", page {chunk.metadata['page']}" if "page" in chunk.metadata else ""
        items.append(
            f"<details{'' if number else ' open'}><summary><b>{escape(citation.source)}</b>"
            f"{escape(page)}: {escape(shorten(sentence, 70))} <i>(support {citation.score:.2f})</i>"
            f"</summary><div style='white-space:pre-wrap;line-height:1.4;padding:4px 16px'>"
            f"{escape(before)}<mark style='{_MARK}'>{escape(sentence)}</mark>{escape(after)}"
            "</div></details>"
        )
    return "".join(items) or "<p>No passage supports the answer.</p>"


def shorten(text: str, limit: int = 90) -> str:
    """Return a text on one line, cut with an ellipsis after `limit` characters.

    Examples
    --------
    >>> shorten("two  lines", limit=5)
    'two …'
    """
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def render_chunks(
    text: str, chunks: Sequence[Chunk], unread: Callable[[str], int] | None = None
) -> str:
    """Render a text with its chunks coloured, overlaps dark and unread tails struck out.

    Parameters
    ----------
    text : str
        The document's text.
    chunks : sequence of Chunk
        Cut from that text, in order.
    unread : callable, optional
        ``unread(chunk_text)`` returns the offset from which the embedder reads
        no more; the chunk's length when it reads all.

    Returns
    -------
    str
        HTML; every character of `text` appears once.

    Examples
    --------
    >>> html = render_chunks("a<b", [Chunk("a<", "s", 0, 2), Chunk("<b", "s", 1, 3)])
    >>> html.count("&lt;")
    1
    """
    tails = [chunk.start + unread(chunk.text) if unread else chunk.end for chunk in chunks]
    cuts = sorted({0, len(text), *tails, *(c.start for c in chunks), *(c.end for c in chunks)})
    parts = []
    for start, end in pairwise(cuts):
        holders = [i for i, chunk in enumerate(chunks) if chunk.start <= start and end <= chunk.end]
        piece = escape(text[start:end])
        if not holders:
            parts.append(piece)
        elif all(start >= tails[i] for i in holders):
            parts.append(f"<s style='{_UNREAD}'>{piece}</s>")
        elif len(holders) > 1:
            parts.append(f"<span style='{_OVERLAP}'>{piece}</span>")
        else:
            tint = _TINTS[holders[0] % len(_TINTS)]
            parts.append(f"<span style='background:{tint};color:#1a1a1a'>{piece}</span>")
    return f"<div style='white-space:pre-wrap;line-height:1.4'>{''.join(parts)}</div>"
