"""Percent-format sources → notebooks without outputs; exercises are cut from solutions.

A solutions source holds each exercise once, with its solution between two
comments::

    # solution 2.1: return where each window begins
    return list(range(0, words, size))
    # end of solution

The solutions notebook leaves out the comments. The exercises notebook puts
``raise NotImplementedError("Exercise 2.1: return where each window begins")``
in their place, so the two cannot drift apart. The module runs no cell.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rag_helpers.errors import InvalidInputError
from rag_helpers.publishing import add_colab, read_address

__all__ = [
    "LANGUAGE",
    "SOLUTIONS",
    "Notebook",
    "build_exercises",
    "cut_exercises",
    "exercise_notebooks",
    "list_sources",
    "read_source",
    "replace_file",
]

LANGUAGE = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"}
SOLUTIONS = "_solutions"  # ends the stems of sources that hold exercises

_BEGIN = re.compile(r"(?P<space> *)# solution (?P<id>\d+\.\d+): (?P<task>.+)")
_END = re.compile(r" *# end of solution")
_CHECK = re.compile(r"^check_(\d+)_(\d+)\(", re.MULTILINE)

Notebook: TypeAlias = Any  # nbformat's NotebookNode: a dictionary with attributes
Form: TypeAlias = Literal["exercises", "solutions"]


def read_source(path: Path) -> Notebook:
    """Turn a percent-format source into a notebook without outputs.

    Cell ids are their positions, so that a rebuild changes nothing but outputs. Behind the title
    comes the cell that Google Colab needs.

    Parameters
    ----------
    path : Path
        The source.

    Returns
    -------
    NotebookNode

    Raises
    ------
    InvalidInputError
        If there is no such source.
    """
    import jupytext

    if not path.is_file():
        raise InvalidInputError(f"{path} is not there; name one of {path.parent}.")
    notebook = jupytext.read(path, fmt="py:percent")
    if not path.stem.endswith("_solutions"):
        add_colab(notebook, read_address(), path.stem)
    for position, cell in enumerate(notebook.cells):
        cell.id = f"cell-{position:03d}"
        cell.metadata.pop("lines_to_next_cell", None)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": dict(LANGUAGE),
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def list_sources(folder: Path, wanted: Sequence[str] = ()) -> list[str]:
    """Return the stems of the sources that are executed; those of exercises are not.

    Parameters
    ----------
    folder : Path
        The notebooks' folder.
    wanted : sequence of str
        First letters of names; by default all.

    Raises
    ------
    InvalidInputError
        If no source begins so.
    """
    every = sorted(
        path.stem for path in (folder / "source").glob("*.py") if not path.stem.endswith(SOLUTIONS)
    )
    names = [name for name in every if not wanted or any(name.startswith(w) for w in wanted)]
    if not names:
        raise InvalidInputError(f"No notebook begins with {list(wanted)}; there are {every}.")
    return names


def cut_exercises(code: str, form: Form, *, where: str = "a cell") -> str:
    r"""Replace the solutions of a cell by stubs, or leave them and drop their marks.

    Parameters
    ----------
    code : str
        A code cell of a solutions source.
    form : {"exercises", "solutions"}
        What to make.
    where : str
        What errors call the cell.

    Returns
    -------
    str
        The cell's new code.

    Raises
    ------
    InvalidInputError
        If a solution has no end, or an end no solution.

    Examples
    --------
    >>> cell = "def f():\n    # solution 2.1: return 1\n    return 1\n    # end of solution"
    >>> print(cut_exercises(cell, "exercises"))
    def f():
        raise NotImplementedError("Exercise 2.1: return 1")
    """
    kept: list[str] = []
    is_inside = False
    for line in code.split("\n"):
        if begin := _BEGIN.fullmatch(line):
            if is_inside:
                raise InvalidInputError(f"{where}: {line.strip()!r} stands inside of another one.")
            is_inside = True
            if form == "exercises":
                message = f"Exercise {begin['id']}: {begin['task']}".replace('"', '\\"')
                kept.append(f'{begin["space"]}raise NotImplementedError("{message}")')
        elif _END.fullmatch(line):
            if not is_inside:
                raise InvalidInputError(f"{where}: {line.strip()!r} ends what never began.")
            is_inside = False
        elif not is_inside or form == "solutions":
            kept.append(line)
    if is_inside:
        raise InvalidInputError(f"{where}: a solution never ends; write '# end of solution'.")
    return "\n".join(kept)


def exercise_notebooks(source: Path) -> Iterator[tuple[Path, str]]:
    """Yield the exercises notebook and the solutions notebook of a source.

    Neither is executed: a stub has nothing to show, and the tests run every solution.

    Parameters
    ----------
    source : Path
        ``…/source/NN_name_solutions.py``.

    Yields
    ------
    (Path, str)
        ``…/exercises/NN_name_exercises.ipynb`` and ``…/solutions/NN_name_solutions.ipynb``, each
        with its content.

    Raises
    ------
    InvalidInputError
        If there is no such source, its marks are wrong, or a solution has no check.
    """
    import nbformat

    stem, folder = source.stem.removesuffix(SOLUTIONS), source.parents[1]
    whole = read_source(source)
    code = "\n".join(cell.source for cell in whole.cells if cell.cell_type == "code")
    solved = {found["id"] for found in _BEGIN.finditer(code)}
    checked = {f"{step}.{number}" for step, number in _CHECK.findall(code)}
    if solved != checked:
        raise InvalidInputError(
            f"{source.name}: {sorted(solved ^ checked)} have a solution or a check, and not both."
        )
    forms: tuple[Form, Form] = ("exercises", "solutions")
    for form in forms:
        notebook = read_source(source)
        for position, cell in enumerate(notebook.cells):
            if cell.cell_type == "code":
                cell.source = cut_exercises(
                    cell.source, form, where=f"{source.name}, cell {position}"
                )
        if form == "solutions":
            first = notebook.cells[0]
            first.source = first.source.replace("Exercises", "Solutions", 1)
        yield folder / form / f"{stem}_{form}.ipynb", nbformat.writes(notebook) + "\n"


def replace_file(target: Path, content: bytes) -> None:
    """Write a file whole, or leave the one that is there.

    Parameters
    ----------
    target : Path
        Its folder is made when missing.
    content : bytes
        What it will hold.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(target.suffix + ".new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)


def build_exercises(folder: Path, wanted: Sequence[str] = (), *, write: bool = True) -> list[Path]:
    """Write the exercises and the solutions notebooks; no cell is run.

    Parameters
    ----------
    folder : Path
        The notebooks' folder.
    wanted : sequence of str
        First letters of names; by default all.
    write : bool, default True
        Whether to write what differs, or only to look.

    Returns
    -------
    list of Path
        The notebooks that were, or are, out of step with their sources.
    """
    out_of_step = []
    for source in sorted((folder / "source").glob(f"*{SOLUTIONS}.py")):
        if wanted and not any(source.stem.startswith(each) for each in wanted):
            continue
        for path, text in exercise_notebooks(source):
            content = text.encode()
            if path.is_file() and path.read_bytes() == content:
                continue
            out_of_step.append(path)
            if write:
                replace_file(path, content)
    return out_of_step
