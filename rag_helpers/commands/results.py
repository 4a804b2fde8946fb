"""The command ``results``: write README's results from the committed files of measurements.

The module does not know how anything was measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rag_helpers.errors import EvaluationError

__all__ = ["render_results", "results"]

RESULTS = Path(__file__).parents[1] / "data" / "results"
README = Path(__file__).parents[2] / "README.md"
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
    """Put the measured results into README.md, between their two marks.

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
        If README.md lacks the marks.
    """
    text = README.read_text(encoding="utf-8")
    head, begin, rest = text.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not begin or not end:
        raise EvaluationError(f"{README} lacks {_BEGIN} or {_END}; put both where results belong.")
    new = f"{head}{begin}\n{render_results()}\n{end}{tail}"
    draft = README.with_suffix(".md.new")
    draft.write_text(new, encoding="utf-8", newline="\n")
    draft.replace(README)
    print(f"{README.name} {'is in step' if new == text else 'was brought in step'}.")
    return 0


def render_results(folder: Path = RESULTS) -> str:
    """Return the results as Markdown.

    Parameters
    ----------
    folder : Path
        Holds the files that ``measure.py``, ``ablate.py`` and the notebooks' builder wrote.

    Returns
    -------
    str
        A table per corpus, what each part of the retriever brings, and what a
        learner waits for.
    """
    parts = []
    for name, title in _TABLES.items():
        found = json.loads((folder / name).read_text(encoding="utf-8"))
        parts.append(
            f"**{title}**: n = {found['answerable']} answerable of {found['n']} for retrieval and "
            f"AUROC, {found['asked']} answerable for answers."
        )
        parts.append(_table(found["rows"]))
    ablation = json.loads((folder / "ablation.json").read_text(encoding="utf-8"))
    parts.append(
        "**What each part brings**, on questions to choose by (`ablate.py` measures it; ms is the "
        f"median time of a search, or of an answer, on {ablation['processor']}):"
    )
    for title, found in ablation["tables"].items():
        parts.append(f"*{title}* (n = {found['n']})")
        parts.append(_table(found["rows"]))
    costs = json.loads((folder / "costs.json").read_text(encoding="utf-8"))
    packages = costs["versions"]
    parts.append(
        f"**What it costs**, on {costs['processor']} ({packages['platform']}, Python "
        f"{packages['python']}, torch {packages['torch']}, transformers "
        f"{packages['transformers']}, sentence-transformers {packages['sentence-transformers']}):"
    )
    rows = [(name, f"{value:,}") for name, value in costs["costs"].items()]
    notebooks = json.loads((folder / "notebooks.json").read_text(encoding="utf-8"))
    rows += [(f"notebook {name}, s", str(seconds)) for name, seconds in notebooks.items()]
    parts.append("\n".join(map(_line, [("what", "value"), ("---", "---"), *rows])))
    return "\n\n".join(parts)


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
