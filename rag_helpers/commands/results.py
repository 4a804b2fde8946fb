"""The command ``results``: write README's and RESULTS' tables from the committed measurements.

The module does not know how anything was measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rag_helpers.errors import EvaluationError

__all__ = ["render_details", "render_summary", "results"]

RESULTS = Path(__file__).parents[1] / "data" / "results"
ROOT = Path(__file__).parents[2]
_BEGIN, _END = "<!-- results -->", "<!-- /results -->"
_TABLES = {
    "help_topics_test.json": "Python help topics, test questions",
    "xquad_test.json": "XQuAD (English), six test articles, a paragraph a chunk",
}
_METRICS = {
    "recall@1": "recall@1",
    "recall@5": "recall@5",
    "recall@10": "recall@10",
    "mrr@10": "MRR@10",
    "exact_match": "exact match",
    "f1": "F1",
    "rougeL": "ROUGE-L",
    "contains_answer": "contains the answer",
    "supported_by_citation": "supported",
    "abstention_auroc": "AUROC",
}


def results(options: argparse.Namespace) -> int:
    """Put the measured results into README.md and RESULTS.md, between their two marks.

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
        A table per corpus and one of costs.
    """
    parts = []
    for name, title in _TABLES.items():
        found = _read(folder, name)
        parts.append(
            f"**{title}**: n = {found['answerable']} answerable of {found['n']} for retrieval and "
            f"AUROC, {found['asked']} answerable for answers."
        )
        parts.append(_table(found["rows"]))
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
    parts.append("\n".join(map(_line, [("what", "value"), ("---", "---"), *rows])))
    return "\n\n".join(parts)


def render_details(folder: Path = RESULTS) -> str:
    """Return what RESULTS.md shows, as Markdown: what each part brings, and what attacks do.

    Parameters
    ----------
    folder : Path
        Holds the files that ``ablate.py``, ``inject.py`` and ``embedders.py`` wrote.

    Returns
    -------
    str
        A section per table.
    """
    ablation = _read(folder, "ablation.json")
    parts = [f"Times (ms) are medians on {ablation['processor']}."]
    for title, found in ablation["tables"].items():
        parts += [f"## {title[0].upper()}{title[1:]}", f"n = {found['n']}", _table(found["rows"])]
    attacks = _read(folder, "injection.json")
    rows = attacks["rows"]
    shown = [name for name in next(iter(rows.values())) if name != "F1 without attack"]
    header = ["reader", *shown, "F1 without attack"]
    lines = [_line(header), _line(["---"] * len(header))]
    lines += [
        _line([reader, *(_interval(row[name]) for name in header[1:])])
        for reader, row in rows.items()
    ]
    parts += [
        "## Attacks: a document that tells the reader what to write",
        f"n = {attacks['n']}; the share of answers that hold the attacker's word.",
        "\n".join(lines),
    ]
    return "\n\n".join([*parts, *_embedders(_read(folder, "embedders.json"))])


def _embedders(found: Mapping[str, Any]) -> list[str]:
    """Return a section per processor: speed beside what it changes, and what the cache saves."""
    parts = ["## Embedders: how fast, and how faithful"]
    header = ["embedder", "MB", "load, s", "passages/s", "× recipe", "mean cosine", "least cosine"]
    header += ["recall@5", "MRR@10"]
    for name, group in found["groups"].items():
        rows = [
            [
                way,
                f"{row['size_mb']:.0f}",
                f"{row['load_s']:.1f}",
                f"{row['passages_per_s']:.1f}",
                f"{row['times_encode']:.2f}",
                f"{row['mean_cosine']:.4f}",
                f"{row['min_cosine']:.4f}",
                _interval(row["recall@5"]),
                _interval(row["mrr@10"]),
            ]
            for way, row in group["rows"].items()
        ]
        cache = group["cache"]
        times = ", ".join(f"{what} {seconds} s" for what, seconds in cache["seconds"].items())
        parts += [
            f"### {name[0].upper()}{name[1:]}",
            f"{group['processor']}. {group['passages']} passages of 150 words, medians of three "
            f"rounds in turn; cosines with the first row; dense search alone, n = "
            f"{group['questions']}.",
            "\n".join(map(_line, [header, ["---"] * len(header), *rows])),
            f"The default index ({cache['vectors']:,} vectors of {cache['topics']} topics, the "
            f"model loaded anew each time) with embeddings kept by content: {times}; the file "
            f"takes {cache['file_mb']} MB.",
        ]
    return parts


PAGES: Mapping[str, Callable[[], str]] = {
    "README.md": render_summary,
    "RESULTS.md": render_details,
}
"""What stands between the marks of which page."""


def _read(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return found


def _table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    shown = {
        name: title
        for name, title in _METRICS.items()
        if any(row.get(name) is not None for row in rows.values())
    }
    timed = ["ms"] if all("ms" in row for row in rows.values()) else []
    gains = [row["gain"] for row in rows.values() if "gain" in row]
    gained = [f"{_METRICS[gains[0]['metric']]} more than the first row"] if gains else []
    header = ["system", *shown.values(), *gained, "words a hit", *timed]
    lines = [_line(header), _line(["---"] * len(header))]
    for system, row in rows.items():
        cells = [_interval(row.get(name)) for name in shown]
        cells += [_gain(row.get("gain")) for _ in gained]
        cells += [f"{row['words_per_hit']:.0f}", *(f"{row[name]:.0f}" for name in timed)]
        lines.append(_line([system, *cells]))
    return "\n".join(lines)


def _gain(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return "–"
    return f"{value['value']:+.3f} [{value['low']:+.3f}, {value['high']:+.3f}]"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _interval(value: Mapping[str, float] | None) -> str:
    if value is None:
        return "–"
    return f"{value['value']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"
