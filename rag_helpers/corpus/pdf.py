"""The text of a PDF's pages, within a time limit.

A PDF of a few kilobytes can order hours of work: its streams unpack to a
thousand times their size, and pages may draw the same stream again and again.
pypdf bounds what a single stream may unpack to; the time of the whole is bounded
here. The module does not know what the text is for.
"""

from __future__ import annotations

import io
import time
from typing import NamedTuple

from rag_helpers.errors import CorpusError

__all__ = ["MAX_PDF_SECONDS", "PdfText", "read_pdf"]

MAX_PDF_SECONDS = 120.0
"""Longest time that the pages of one PDF may take; some thousands of usual pages fit into it."""


class PdfText(NamedTuple):
    """What is written on the pages, and the title that the file gives itself."""

    pages: list[str]
    title: str


def read_pdf(data: bytes, name: str, *, max_seconds: float | None = None) -> PdfText:
    """Read a PDF's text.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        What errors call it.
    max_seconds : float, optional
        Time for all pages, by default `MAX_PDF_SECONDS`. The clock is looked at
        between drawing operations, and a stream is parsed in one go, so that some
        seconds may be added.

    Returns
    -------
    PdfText
        A text per page, as it was found; empty where a page is a picture.

    Raises
    ------
    CorpusError
        The file is broken, encrypted, unpacks to more than pypdf allows, or
        takes too long.

    Examples
    --------
    >>> read_pdf(b"not a PDF", "tea.pdf")
    Traceback (most recent call last):
    rag_helpers.errors.CorpusError: tea.pdf is not a PDF that can be read (PdfStreamError: Stream \
has ended unexpectedly); open it in a viewer and save it anew, or save it as text.
    """
    from pypdf import PdfReader

    limit = MAX_PDF_SECONDS if max_seconds is None else max_seconds
    deadline = time.monotonic() + limit

    def look_at_the_clock(*_: object) -> None:
        # pypdf goes on after an error within a form; the next operation then raises it again.
        if time.monotonic() > deadline:
            raise CorpusError(
                f"{name} takes longer to read than the {limit:g} s that a PDF may; cut it"
                " into several files, or save it as text."
            )

    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise CorpusError(f"{name} is encrypted; save a copy without a password.")
        pages = []
        for page in reader.pages:
            look_at_the_clock()
            pages.append(page.extract_text(visitor_operand_before=look_at_the_clock))
        title = str((reader.metadata and reader.metadata.title) or "")
    except CorpusError:
        raise
    except Exception as error:  # a broken PDF raises whatever the parser stumbles on
        raise CorpusError(
            f"{name} is not a PDF that can be read ({type(error).__name__}: {error}); open"
            " it in a viewer and save it anew, or save it as text."
        ) from error
    return PdfText(pages, title)
