"""The badge and the first cell by which the notebooks run on Google Colab.

Both come from the one address in ``pyproject.toml``. While it is empty there is no badge, and the
cell takes the course from a zip that was uploaded. The module installs nothing: the cell does,
through `rag_helpers.publishing.on_colab`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from rag_helpers.publishing.address import Address

__all__ = ["add_colab", "colab_badge", "colab_cell", "readme_block"]

Notebook: TypeAlias = Any  # nbformat's NotebookNode: a dictionary with attributes
_FROM_ZIP = """\
    for file in Path.cwd().glob("*.zip"):
        shutil.unpack_archive(file, ".")
    found = sorted(Path.cwd().glob("**/rag_helpers/__main__.py"))
    if not found:
        raise SystemExit("Upload the course as a zip in Files on the left; run this cell again.")
    course = found[0].parents[1]"""
_FROM_REPOSITORY = """\
    course = Path.cwd() / "course"
    git = ["git", "-C", str(course)]
    course.mkdir(exist_ok=True)
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "fetch", "-q", "--depth=1", "{clone}", "{ref}"], check=True)
    subprocess.run([*git, "checkout", "-q", "FETCH_HEAD"], check=True)"""
_CELL = """\
# @title On Google Colab alone: fetch the course, and install what Colab lacks
import sys

if "google.colab" in sys.modules and "rag_helpers" not in sys.modules:
    import os
    import shutil
    import subprocess
    from pathlib import Path

{fetch}
    command = [sys.executable, "-m", "rag_helpers.publishing.on_colab"]
    subprocess.run(command, cwd=course, check=True)
    sys.path.insert(0, str(course))
    os.environ["PYTHONPATH"] = str(course)
    os.chdir(course / "notebooks")"""


def colab_cell(address: Address) -> str:
    """Return the code of the first cell; outside Colab it does nothing.

    Parameters
    ----------
    address : Address
        Where the course is fetched from; an empty one stands for an uploaded zip.

    Returns
    -------
    str

    Examples
    --------
    >>> "git" in colab_cell(Address("", ""))
    False
    >>> '"v1"' in colab_cell(Address("me/course", "v1"))
    True
    """
    fetch = _FROM_ZIP
    if address:
        fetch = _FROM_REPOSITORY.format(clone=address.clone, ref=address.ref)
    return _CELL.format(fetch=fetch)


def colab_badge(address: Address, notebook: str) -> str:
    """Return the badge that opens a notebook in Colab, as Markdown.

    Parameters
    ----------
    address : Address
        Where the notebook is published.
    notebook : str
        Its stem, such as ``"01_setup"``.

    Returns
    -------
    str
        Empty while there is no address. The picture is the course's own: pages load nothing from
        elsewhere.

    Examples
    --------
    >>> colab_badge(Address("", ""), "01_setup")
    ''
    """
    if not address:
        return ""
    return f"[![Open in Colab](figures/open_in_colab.svg)]({address.in_colab(notebook)})"


def add_colab(notebook: Notebook, address: Address, name: str) -> None:
    """Put the cell behind the notebook's title, and the badge at that one's end.

    Parameters
    ----------
    notebook : NotebookNode
        Changed in place; one that does not begin with a title stays as it is.
    address : Address
        Where the notebook is published.
    name : str
        Its stem.

    Examples
    --------
    >>> from nbformat import v4
    >>> notebook = v4.new_notebook(cells=[v4.new_markdown_cell("# Title")])
    >>> add_colab(notebook, Address("", ""), "01_setup")
    >>> [cell.cell_type for cell in notebook.cells]
    ['markdown', 'code']
    """
    from nbformat.v4 import new_code_cell

    if not notebook.cells or notebook.cells[0].cell_type != "markdown":
        return
    if badge := colab_badge(address, name):
        notebook.cells[0].source += f"\n\n{badge}"
    notebook.cells.insert(1, new_code_cell(colab_cell(address)))


def readme_block(address: Address, notebooks: list[str]) -> str:
    """Return what README says about Colab.

    Parameters
    ----------
    address : Address
        Where the notebooks are published.
    notebooks : list of str
        Their stems, in order.

    Returns
    -------
    str
        Links, or how to upload while there is nothing to link to.

    Examples
    --------
    >>> "zip" in readme_block(Address("", ""), ["01_setup"])
    True
    """
    tail = (
        "The notebooks' first cell then installs what Colab lacks; Colab's torch and numpy stay "
        "as they are."
    )
    if address:
        links = ", ".join(f"[{name[:2]}]({address.in_colab(name)})" for name in notebooks)
        return f"**Colab:** open {links}. {tail}"
    return (
        "**Colab:** open a notebook with *File, Upload notebook*, upload the repository as a zip "
        f"under *Files*, and run. {tail}"
    )
