"""The command ``results``: write README's and RESULTS' tables from the committed measurements.

The module does not know how anything was measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rag_helpers.commands.result_tables import (
    attack_parts,
    bench_parts,
    bench_summary,
    embedder_parts,
    index_parts,
    line,
    load_parts,
    metric_table,
    variant_parts,
)
from rag_helpers.errors import EvaluationError

__all__ = ["render_details", "render_summary", "render_teaching", "results"]

RESULTS = Path(__file__).parents[1] / "data" / "results"
ROOT = Path(__file__).parents[2]
_BEGIN, _END = "<!-- results -->", "<!-- /results -->"
# What follows the ablation in RESULTS.md, in this order.
_SECTIONS: Mapping[str, Callable[[dict[str, Any]], list[str]]] = {
    "injection.json": attack_parts,
    "bench.json": bench_parts,
    "variants.json": variant_parts,
    "embedders.json": embedder_parts,
    "indexes.json": index_parts,
    "load.json": load_parts,
}
_TABLES = {
    "help_topics_test.json": "Python help topics, test questions",
    "xquad_test.json": "XQuAD (English), six test articles, a paragraph a chunk",
}


def results(options: argparse.Namespace) -> int:
    """Put the measured results into each page of `PAGES`, between its two marks.

    Parameters
    ----------
    options : Namespace
        Without options of its own.

    Returns
    -------
    int
        Exit code 0.

    Raises
    ------
    EvaluationError
        If one of them lacks the marks; then neither is changed.
    """
    pages = {ROOT / name: render() for name, render in PAGES.items()}
    texts = {page: page.read_text(encoding="utf-8") for page in pages}
    drafts = {page: _between_marks(page, texts[page], new) for page, new in pages.items()}
    for page, text in drafts.items():
        draft = page.with_suffix(".md.new")
        draft.write_text(text, encoding="utf-8", newline="\n")
        draft.replace(page)
        print(f"{page.name} {'is in step' if text == texts[page] else 'was brought in step'}.")
    return 0


def _between_marks(page: Path, text: str, new: str) -> str:
    head, begin, rest = text.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not begin or not end:
        raise EvaluationError(f"{page} lacks {_BEGIN} or {_END}; put both where results belong.")
    return f"{head}{begin}\n{new}\n{end}{tail}"


def render_summary(folder: Path = RESULTS) -> str:
    """Return what README shows, as Markdown: the test questions, and what a learner waits for.

    Parameters
    ----------
    folder : Path
        Holds the files that ``measure.py`` and the notebooks' builder wrote.

    Returns
    -------
    str
        A table per corpus, one of speeds and one of costs.
    """
    parts = []
    for name, title in _TABLES.items():
        found = _read(folder, name)
        parts.append(
            f"**{title}**: n = {found['answerable']} answerable of {found['n']} for retrieval and "
            f"AUROC, {found['asked']} answerable for answers."
        )
        parts.append(metric_table(found["rows"]))
    parts += bench_summary(_read(folder, "bench.json"))
    costs = _read(folder, "costs.json")
    packages = costs["versions"]
    parts.append(
        f"**What it costs**, on {costs['processor']} ({packages['platform']}, Python "
        f"{packages['python']}, torch {packages['torch']}, transformers "
        f"{packages['transformers']}, sentence-transformers {packages['sentence-transformers']}):"
    )
    rows = [(name, f"{value:,}") for name, value in costs["costs"].items()]
    notebooks = _read(folder, "notebooks.json")
    rows += [(f"notebook {name}, s", str(seconds)) for name, seconds in notebooks.items()]
    parts.append("\n".join(map(line, [("what", "value"), ("---", "---"), *rows])))
    return "\n\n".join(parts)


def render_details(folder: Path = RESULTS) -> str:
    """Return what RESULTS.md shows, as Markdown: parts, attacks, speeds and crowds.

    Parameters
    ----------
    folder : Path
        Holds the files that the scripts beside them and the command ``load`` wrote.

    Returns
    -------
    str
        A section per table.
    """
    ablation = _read(folder, "ablation.json")
    parts = [f"Times (ms) are medians on {ablation['processor']}."]
    for title, found in ablation["tables"].items():
        parts += [
            f"## {title[0].upper()}{title[1:]}",
            f"n = {found['n']}",
            metric_table(found["rows"]),
        ]
    for file, render in _SECTIONS.items():
        parts += render(_read(folder, file))
    return "\n\n".join(parts)


def render_teaching(folder: Path = RESULTS) -> str:
    """Return what the instructor's guide shows: what a room waits for, and what it copies.

    Parameters
    ----------
    folder : Path
        Holds the builder's times, ``costs.json`` and ``workshop.json``.

    Returns
    -------
    str
        A table of times and one of workshop folders.
    """
    costs, found = _read(folder, "costs.json"), _read(folder, "workshop.json")
    names = "notebook", "cells take, s"
    rows = [(name, str(seconds)) for name, seconds in _read(folder, "notebooks.json").items()]
    first = costs["costs"]["first answer, nothing cached, s"]
    times = [names, ("---", "---"), *rows, ("first answer on a new machine", f"{first:.0f}")]
    header = ["workshop folder", "MB", "built in, s", "built again in, s", "installed in, s"]
    lines = [
        [title, *("–" if row[name] is None else f"{row[name]:,}" for name in header[1:])]
        for title, row in found["folders"].items()
    ]
    return "\n\n".join(
        [
            f"**Times**, on {costs['processor']}:",
            "\n".join(map(line, times)),
            f"**Workshop folders**, on {found['machine']}; – is not measured:",
            "\n".join(map(line, [header, ["---"] * len(header), *lines])),
        ]
    )


PAGES: Mapping[str, Callable[[], str]] = {
    "README.md": render_summary,
    "notebooks/TEACHING.md": render_teaching,
    "RESULTS.md": render_details,
}
"""What stands between the marks of which page."""


def _read(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return found
