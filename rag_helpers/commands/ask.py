"""The command ``ask``: one question, one answer, as text or JSON.

The module does not know how answers are found; it prints them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from rag_helpers.errors import InvalidInputError

if TYPE_CHECKING:
    from rag_helpers.records import Answer

__all__ = ["add_ask_options", "ask", "count", "one_line"]

# Lower ends of what the confidence is called, a number from 0 to 1.
CONFIDENCE_WORDS = ((0.7, "strong"), (0.4, "moderate"), (0.0, "weak"))


def ask(options: argparse.Namespace) -> int:
    """Answer one question and print the answer, as text or as one JSON object.

    Parameters
    ----------
    options : Namespace
        As `add_ask_options` describes them.

    Returns
    -------
    int
        Exit code 0.

    Raises
    ------
    RagError
        When the question, the corpus, the index or a name cannot be used.
    """
    from rag_helpers.index import ChunkIndex
    from rag_helpers.pipeline import load_pipeline

    question = " ".join(options.question) or os.environ.get("RAG_QUESTION", "")
    if not question.strip():
        raise InvalidInputError(
            "No question was given; write one in quotes: "
            'python -m rag_helpers ask "What is a decorator?"'
        )
    chosen = {
        name: getattr(options, name) for name in ("corpus", "index", "retriever", "generator")
    }
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if options.index is not None:
        chosen["model"] = ChunkIndex.info(options.index)["model"]
    # Whatever a library prints on the way must not mix with the answer.
    with contextlib.redirect_stdout(sys.stderr):
        answer = load_pipeline(**chosen, k=options.k, style=options.style).answer(question)
    print(json.dumps(_as_json(answer), indent=2) if options.json else _as_text(answer))
    return 0


def add_ask_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``ask`` understands to a parser.

    Parameters
    ----------
    parser : ArgumentParser
        Changed in place.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_ask_options(parser)
    >>> parser.parse_args(["What", "is", "a", "decorator?", "--k", "3"]).k
    3
    """
    parser.add_argument("question", nargs="*", help="what to ask; default: $RAG_QUESTION")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--k", type=count, default=5, metavar="N", help="passages to retrieve (5)")
    parser.add_argument(
        "--retriever",
        metavar="NAME",
        help="dense, keyword, hybrid (default), reranked, or a cross-encoder",
    )
    parser.add_argument(
        "--generator",
        metavar="NAME",
        help="SmolLM2-135M-Instruct (default, with its adapter), extractive (the best sentence), "
        "or a model folder",
    )
    parser.add_argument(
        "--style",
        choices=("auto", "short", "sentences"),
        default="auto",
        help="answer in a few words, in a sentence or two, or as the question asks (auto)",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--corpus", metavar="PATH", help="your own file or folder of documents")
    source.add_argument("--index", metavar="FOLDER", help="an index made by `index build`")


def count(text: str) -> int:
    """Read a number from 1 up, before any model is loaded in vain.

    Examples
    --------
    >>> count("3")
    3
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def _as_json(answer: Answer) -> dict[str, Any]:
    """Return what ``ask --json`` prints; offsets count characters of the document."""
    return {
        "text": answer.text,
        "citations": [
            {
                "source": citation.source,
                "text": citation.text,
                "start": citation.start,
                "end": citation.end,
                "score": citation.score,
            }
            for citation in answer.citations
        ],
        "confidence": answer.confidence,
        "timings_ms": dict(answer.timings_ms),
        "retriever": answer.retriever,
        "generator": answer.generator,
    }


def _as_text(answer: Answer) -> str:
    """Return the answer as a reader wants it: text, confidence, citations, times."""
    word = next(word for least, word in CONFIDENCE_WORDS if answer.confidence >= least)
    lines = [one_line(answer.text), "", f"Evidence: {word} (confidence {answer.confidence:.2f})"]
    for number, citation in enumerate(answer.citations, start=1):
        lead = f"[{number}] {one_line(citation.source)}: "
        lines += textwrap.wrap(lead + one_line(citation.text), 88, subsequent_indent="    ")
    times = ", ".join(f"{stage} {ms:.0f}" for stage, ms in answer.timings_ms.items())
    return "\n".join([*lines, f"{answer.retriever} + {answer.generator}; ms: {times}"])


def one_line(text: str) -> str:
    r"""Return text on one line, without the control characters that a terminal would obey.

    Examples
    --------
    >>> one_line("tea\n\x1b[31mis hot")
    'tea [31mis hot'
    """
    return "".join(c for c in " ".join(text.split()) if c.isprintable())
