"""The capstone's parts: documents to begin with, checks of gold questions, a report notebook.

The report is made from measured results alone. What stands in documents,
questions and answers is foreign text: in the report every character of it but
letters, digits and spaces is written as an HTML entity. The module does not
know how anything is searched or answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

from rag_helpers.corpus import load_help_topics
from rag_helpers.environment import describe_processor
from rag_helpers.errors import InvalidInputError
from rag_helpers.evaluation import Report, contains_answer, resolve_evidence
from rag_helpers.notebook_sources import LANGUAGE, replace_file
from rag_helpers.records import Document, GoldQuestion

__all__ = ["check_gold", "save_gold", "write_report", "write_starter_documents"]

# Short topics about statements: cut and embedded in seconds.
STARTER = (
    "assert",
    "break",
    "continue",
    "del",
    "for",
    "global",
    "import",
    "lambda",
    "pass",
    "raise",
    "return",
    "try",
    "while",
    "with",
    "yield",
)
_METRICS = {
    "answer_in_context": "found in the passages",
    "contains_answer": "contains the answer",
    "f1": "F1",
}


def write_starter_documents(folder: Path) -> bool:
    """Write some help topics as text files, unless the folder is there already.

    Parameters
    ----------
    folder : Path
        Where they go.

    Returns
    -------
    bool
        Whether they were written; False leaves a learner's own documents alone.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     write_starter_documents(Path(place, "new")), write_starter_documents(Path(place, "new"))
    (True, False)
    """
    if folder.exists():
        return False
    texts = {document.source: document.text for document in load_help_topics()}
    for name in STARTER:
        if name in texts:
            replace_file(folder / f"{name}.txt", texts[name].encode())
    return True


def check_gold(gold: Sequence[GoldQuestion], documents: Sequence[Document]) -> list[str]:
    """Say what is wrong with gold questions, a sentence each.

    Parameters
    ----------
    gold : sequence of GoldQuestion
        Of your own.
    documents : sequence of Document
        In which the evidence must stand.

    Returns
    -------
    list of str
        Empty when all is well.

    Examples
    --------
    >>> tea = Document("Tea is grown in Assam.", "tea.txt")
    >>> asked = GoldQuestion("q1", "Where is it grown?", ("Assam",), tea.text, "tea.txt", "fact")
    >>> check_gold([asked] * 5, [tea])[0]
    'q1: the id stands twice; give each question its own.'
    """
    texts = {document.source: document.text for document in documents}
    faults = []
    if len(gold) < 5:
        faults.append(f"There are {len(gold)} questions; five are the least that show anything.")
    seen: set[str] = set()
    for one in gold:
        if one.id in seen:
            faults.append(f"{one.id}: the id stands twice; give each question its own.")
        seen.add(one.id)
        if not one.answers:
            continue
        if one.source not in texts:
            faults.append(f"{one.id}: there is no document {one.source!r}.")
            continue
        span = resolve_evidence(one.evidence, texts[one.source]) if one.evidence else None
        if span is None:
            faults.append(f"{one.id}: the evidence does not stand in {one.source!r}; copy it.")
        elif not contains_answer(texts[one.source][slice(*span)], one.answers):
            faults.append(f"{one.id}: no answer stands in its evidence.")
    if gold and all(one.answers for one in gold):
        faults.append("Every question has an answer; ask one that the documents do not answer.")
    return faults


def save_gold(gold: Sequence[GoldQuestion], path: Path) -> None:
    """Write gold questions, one JSON object a line, as `evaluation.load_gold` reads them.

    Parameters
    ----------
    gold : sequence of GoldQuestion
        The questions.
    path : Path
        Replaced when it exists.
    """
    lines = [json.dumps(asdict(one), ensure_ascii=False) for one in gold]
    replace_file(path, ("\n".join(lines) + "\n").encode())


def write_report(
    path: Path,
    *,
    title: str,
    documents: Sequence[Document],
    chunks: int,
    gold: Sequence[GoldQuestion],
    reports: Mapping[str, Report],
    chosen: str,
    reason: str,
    served: Mapping[str, str],
    command: str,
) -> None:
    """Write a notebook that says what was measured.

    Parameters
    ----------
    path : Path
        The notebook; replaced when it exists.
    title : str
        Its heading.
    documents : sequence of Document
        The corpus.
    chunks : int
        How many chunks were searched.
    gold : sequence of GoldQuestion
        What was asked.
    reports : Mapping of str to Report
        By the system's name.
    chosen : str
        One of these names.
    reason : str
        Why it was chosen.
    served : Mapping of str to str
        What was asked over HTTP, and the answers.
    command : str
        Measures it again; run from the report's folder.

    Raises
    ------
    InvalidInputError
        If `chosen` is none of the reports, or a question has no result.
    """
    import nbformat

    if chosen not in reports:
        raise InvalidInputError(f"{chosen!r} was not measured; choose one of {list(reports)}.")
    words = sum(len(document.text.split()) for document in documents)
    corpus = f"{len(documents)} documents, {words:,} words, {chunks} chunks"
    texts = [
        f"# {_foreign(title)}\n\nMade on {date.today().isoformat()} from results measured on "
        f"{describe_processor()}.\n\n**Corpus:** {corpus}.\n\n**Questions:** {len(gold)}, of which "
        f"{sum(not one.answers for one in gold)} cannot be answered from it.",
        "## Systems\n\nMeans over the answerable questions with 95 % bootstrap intervals.\n\n"
        + _systems(reports),
        f"## The choice\n\n**{_foreign(chosen)}.** {_foreign(reason)}",
        f"## Question by question\n\n{_questions(gold, reports[chosen])}",
        "## Asked over HTTP\n\n"
        + "\n".join(f"- {_foreign(q)}: {_foreign(answer)}" for q, answer in served.items()),
        f"## What this does not say\n\n{len(gold)} questions, written by someone who had the "
        "documents at hand, say little about other people's questions. The intervals are as wide "
        "as they are for that reason. The next step is more questions, from those who will ask "
        "them.\n\nTo measure it again:",
    ]
    cells = [nbformat.v4.new_markdown_cell(text) for text in texts]
    cells.append(nbformat.v4.new_code_cell(f"!{command}"))
    for position, cell in enumerate(cells):
        cell.id = f"cell-{position:03d}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": kernel, "language_info": dict(LANGUAGE)}
    )
    nbformat.validate(notebook)
    replace_file(path, (nbformat.writes(notebook) + "\n").encode())


def _systems(reports: Mapping[str, Report]) -> str:
    lines = [
        f"| system | {' | '.join(_METRICS.values())} | n |",
        f"| --- |{' --- |' * (len(_METRICS) + 1)}",
    ]
    for name, report in reports.items():
        values = [str(report.metrics[metric] or "–") for metric in _METRICS]
        lines.append(f"| {_foreign(name)} | {' | '.join(values)} | {report.n_answerable} |")
    return "\n".join(lines)


def _questions(gold: Sequence[GoldQuestion], report: Report) -> str:
    results = {result.id: result for result in report.results}
    lines = ["| question | known answer | answer | outcome |", "| --- | --- | --- | --- |"]
    for one in gold:
        if one.id not in results:
            raise InvalidInputError(f"Question {one.id!r} was not measured; measure it first.")
        result = results[one.id]
        known = one.answers[0] if one.answers else "none"
        row = [one.question, known, (result.text or "")[:300], str(result.outcome)]
        lines.append(f"| {' | '.join(map(_foreign, row))} |")
    return "\n".join(lines)


def _foreign(text: str) -> str:
    """Return text on one line as neither HTML nor Markdown."""
    return "".join(
        character if character.isalnum() or character in " .," else f"&#{ord(character)};"
        for character in " ".join(text.split())
    )
