"""Builds the notebooks: ``notebooks/source/*.py`` → executed, static ``.ipynb``.

The percent-format sources are the only hand-edited form. Every notebook but the
exercises is executed from top to bottom; an error in a cell, or inside a widget, fails the
build. Saved widgets do not open again in JupyterLab ("Error
displaying widget"), so each one is replaced by a picture of itself.

The module knows nothing of what the notebooks teach.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
import time
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

from rag_helpers.errors import RagError
from rag_helpers.notebook_execution import NotebookError, execute
from rag_helpers.notebook_sources import (
    LANGUAGE,
    Notebook,
    build_exercises,
    list_sources,
    read_source,
    replace_file,
)
from rag_helpers.widget_pictures import WIDGET_VIEW, find_chromium, render_html, take_picture

__all__ = [
    "NotebookError",
    "build",
    "check",
    "freeze_widgets",
    "main",
    "read_source",
]

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
TIMES = Path(__file__).parent / "data" / "results" / "notebooks.json"
LARGEST_NOTEBOOK = 500_000  # bytes
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
_TAG = re.compile(r"<[^>]*>")
# Both begin in one place a line or word: else a long line would be searched from each character.
_CELL_FILE = re.compile(r"(?<!\S)\S*ipykernel_\d+\S+\.py")
_BAR = re.compile(r".*\d+%\|[^|]*\| \d+/\d+ \[[^]]*\]")


def _widget_states(notebook: Notebook) -> dict[str, Any]:
    return dict(notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {}))


def _find_errors(notebook: Notebook) -> list[str]:
    """Errors in outputs, and those that callbacks left inside Output widgets."""
    outputs = [
        (f"cell {position}", output)
        for position, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", [])
    ]
    outputs += [
        (f"widget {identity[:8]}", output)
        for identity, model in _widget_states(notebook).items()
        for output in model["state"].get("outputs", [])
    ]
    errors = [
        f"{where}: {output['ename']}: {output['evalue']}"
        for where, output in outputs
        if output["output_type"] == "error"
    ]
    # A callback's exception is only logged, to the cell's stderr.
    errors += [
        f"{where}: {output['text'].strip().splitlines()[-1]}"
        for where, output in outputs
        if output["output_type"] == "stream"
        and output["name"] == "stderr"
        and "Traceback (most recent call last)" in output["text"]
    ]
    # The course's own widgets catch it and say it in an alert.
    errors += [
        f"widget {identity[:8]}: {unescape(_TAG.sub('', model['state']['value']))}"
        for identity, model in _widget_states(notebook).items()
        if "role='alert'" in str(model["state"].get("value", ""))
    ]
    return errors


def freeze_widgets(notebook: Notebook, *, chromium: Path | None) -> int:
    """Replace every widget in the outputs by a picture and drop the widget state.

    Parameters
    ----------
    notebook : NotebookNode
        Executed with its widget state; changed in place.
    chromium : Path or None
        Browser that takes the pictures; without it the widget is kept as
        static HTML, which GitHub shows without its colours.

    Returns
    -------
    int
        How many widgets were replaced; those that show nothing are dropped.
    """
    states = _widget_states(notebook)
    frozen = 0
    for cell in notebook.cells:
        kept = []
        for output in cell.get("outputs", []):
            if view := output.get("data", {}).get(WIDGET_VIEW):
                html = render_html(view["model_id"], states)
                if not html:
                    continue
                data = {"text/plain": "A picture of the widget; run the cell to use it."}
                if chromium is None:
                    data["text/html"] = html
                else:
                    picture = take_picture(html, chromium)
                    data["image/png"] = base64.b64encode(picture).decode("ascii")
                output.update(output_type="display_data", data=data, metadata={})
                output.pop("execution_count", None)
                frozen += 1
            kept.append(output)
        if "outputs" in cell:
            cell.outputs = kept
    notebook.metadata.pop("widgets", None)
    return frozen


def _tidy_line(line: str) -> str:
    """Drop progress bars and this machine's folders from one printed line, however long it is."""
    # A progress bar overwrites its line: what it overwrote was never meant to stay.
    line = line.rpartition("\r")[2]
    # Where something was printed in between, its last state was not overwritten.
    line = line[bar.end() :] if (bar := _BAR.match(line)) else line
    # Where this machine keeps things is nobody else's business.
    return _CELL_FILE.sub("<cell>", line.replace(str(Path.home()), "~"))


def _tidy(notebook: Notebook) -> None:
    """Drop what differs between two equal runs, and join split stream outputs."""
    notebook.metadata.language_info = dict(LANGUAGE)  # the kernel adds its exact version
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata.pop("execution", None)
        joined: list[Any] = []
        for output in cell.outputs:
            last: Any = joined[-1] if joined else {}
            if output.output_type == "stream" and last.get("name") == output.name:
                last.text += output.text
            else:
                joined.append(output)
        for output in joined:
            if output.output_type == "stream":
                output.text = "\n".join(map(_tidy_line, output.text.split("\n")))
        cell.outputs = [o for o in joined if o.output_type != "stream" or o.text.strip()]


def build(name: str, *, folder: Path = NOTEBOOKS, timeout: int = 600, write: bool = True) -> float:
    """Execute one source and write the notebook beside it, atomically.

    Parameters
    ----------
    name : str
        Stem of the source, such as ``"02_chunking"``.
    folder : Path
        The notebooks' folder.
    timeout : int, default 600
        Seconds that one cell may take.
    write : bool, default True
        Whether to keep the result; a test run throws it away.

    Returns
    -------
    float
        Seconds that the execution took.

    Raises
    ------
    NotebookError
        When a cell or a widget callback fails, or the result is too large.
    """
    import nbformat

    notebook = read_source(folder / "source" / f"{name}.py")
    began = time.perf_counter()
    execute(notebook, folder, timeout)
    seconds = time.perf_counter() - began
    if errors := _find_errors(notebook):
        raise NotebookError(f"{name}: " + "; ".join(errors))
    freeze_widgets(notebook, chromium=find_chromium() if write else None)
    _tidy(notebook)
    content = (nbformat.writes(notebook) + "\n").encode()
    if len(content) > LARGEST_NOTEBOOK:
        raise NotebookError(
            f"{name} would take {len(content):,} bytes and the limit is {LARGEST_NOTEBOOK:,}; "
            "print less or draw smaller figures."
        )
    if write:
        replace_file(folder / f"{name}.ipynb", content)
    return seconds


def check(name: str, *, folder: Path = NOTEBOOKS) -> list[str]:
    """Compare a committed notebook with its source; no cell is run.

    Returns
    -------
    list of str
        What is wrong, a sentence each; empty when all is well.
    """
    import nbformat

    path = folder / f"{name}.ipynb"
    if not path.exists():
        return [f"{path.name} is missing; run `make notebooks`."]
    source = read_source(folder / "source" / f"{name}.py")
    notebook = nbformat.read(path, as_version=4)
    faults = [f"{path.name}: {error}" for error in _find_errors(notebook)]
    if [(c.cell_type, c.source) for c in source.cells] != [
        (c.cell_type, c.source) for c in notebook.cells
    ]:
        faults.append(f"{path.name} is out of step with its source; run `make notebooks`.")
    if "widgets" in notebook.metadata:
        faults.append(f"{path.name} holds widget state, which GitHub calls invalid.")
    if WIDGET_VIEW in path.read_text(encoding="utf-8"):
        faults.append(f"{path.name} holds a live widget, which does not open again.")
    if path.stat().st_size > LARGEST_NOTEBOOK:
        faults.append(
            f"{path.name} takes {path.stat().st_size:,} bytes; the limit is {LARGEST_NOTEBOOK:,}."
        )
    for position, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and cell.source.strip() and cell.execution_count is None:
            faults.append(f"{path.name}: cell {position} was never run.")
    return faults


def _note_seconds(name: str, seconds: float) -> None:
    """Keep how long a notebook took, for README's table."""
    times = json.loads(TIMES.read_text(encoding="utf-8")) if TIMES.is_file() else {}
    draft = TIMES.with_suffix(".json.new")
    times[name] = round(seconds)
    draft.write_text(json.dumps(times, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    draft.replace(TIMES)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the builder from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rag_helpers.notebook_builder",
        description="Execute the notebooks' sources and write the notebooks.",
    )
    parser.add_argument("names", nargs="*", help="first letters of names, such as 02; default: all")
    parser.add_argument("--check", action="store_true", help="compare with sources, run nothing")
    parser.add_argument("--dry-run", action="store_true", help="execute, but write nothing")
    parser.add_argument(
        "--exercises", action="store_true", help="write exercises and solutions alone; run nothing"
    )
    options = parser.parse_args(arguments)
    write = sys.stdout.write
    try:
        names = list_sources(NOTEBOOKS, options.names)
        if options.check:
            faults = [fault for name in names for fault in check(name)]
            faults += [
                f"{path.name} is out of step with its source; run `make notebooks`."
                for path in build_exercises(NOTEBOOKS, options.names, write=False)
            ]
            write("\n".join([*faults, f"{len(names)} notebooks checked, {len(faults)} faults\n"]))
            return 1 if faults else 0
        if not options.dry_run:
            for path in build_exercises(NOTEBOOKS, options.names):
                write(f"{path.stem}: written\n")
        if options.exercises:
            return 0
        if not options.dry_run and find_chromium() is None:
            sys.stderr.write("No Chromium is installed: widgets are kept as HTML, not pictures.\n")
        for name in names:
            seconds = build(name, write=not options.dry_run)
            write(f"{name}: executed in {seconds:.0f} s\n")
            sys.stdout.flush()
            if not options.dry_run:
                _note_seconds(name, seconds)
    except RagError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
