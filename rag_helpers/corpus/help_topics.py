"""The default corpus: the help topics that every Python carries.

They are the text behind ``help("compound")``: an excerpt of the language
reference, in the standard library's ``pydoc_data.topics``. The module does not
know of files, markup or chunks.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from rag_helpers.corpus.cleaning import find_title
from rag_helpers.errors import CorpusError
from rag_helpers.records import Document

__all__ = ["REFERENCE_PYTHON", "describe", "load_help_topics"]

REFERENCE_PYTHON = "3.11"
"""The Python whose help topics the figures of the course were measured on."""

_NAME = "python-help-topics"


def load_help_topics() -> list[Document]:
    """Load the Python help topics, one document each.

    Returns
    -------
    list of Document
        Sorted by source. ``source`` is the topic's name, ``title`` its first
        heading, ``metadata`` the corpus and the running Python's version. The
        text is the topic as it stands, so ``source_map`` is empty.

    Raises
    ------
    CorpusError
        This Python was installed without ``pydoc_data``.

    See Also
    --------
    describe : says which Python the topics belong to.

    Examples
    --------
    >>> topics = {document.source: document for document in load_help_topics()}
    >>> topics["compound"].title
    'Compound statements'
    """
    try:
        topics: dict[str, str] = import_module("pydoc_data.topics").topics
    except ImportError as error:
        raise CorpusError(
            "This Python has no help topics (pydoc_data.topics cannot be imported); install"
            " the full standard library, or read your own files with load_files(path)."
        ) from error
    metadata = {"corpus": _NAME, "python": _running_python()}
    return [
        Document(text=text, source=name, title=find_title(text) or name, metadata=metadata)
        for name, text in sorted(topics.items())
    ]


def describe(documents: Sequence[Document]) -> str:
    """Say in a sentence or two what a corpus holds.

    Parameters
    ----------
    documents : sequence of Document
        The corpus.

    Returns
    -------
    str
        Documents, words and characters; for the help topics also the Python
        version, with a warning when it is not `REFERENCE_PYTHON`.

    Examples
    --------
    >>> describe([Document(text="Colourless green ideas.", source="ideas.txt")])
    '1 document, 3 words, 23 characters.'
    """
    words = sum(len(document.text.split()) for document in documents)
    characters = sum(len(document.text) for document in documents)
    plural = "" if len(documents) == 1 else "s"
    report = f"{len(documents):,} document{plural}, {words:,} words, {characters:,} characters."
    pythons = {
        str(document.metadata.get("python"))
        for document in documents
        if document.metadata.get("corpus") == _NAME
    }
    for python in sorted(pythons):
        report += f" Help topics of Python {python}."
        if python != REFERENCE_PYTHON:
            report += (
                f" The figures of this course were measured on Python {REFERENCE_PYTHON};"
                " on other versions the topics are worded differently and figures will differ."
            )
    return report


def _running_python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
