"""The book: executed notebooks and documents as a static, searchable site.

Sphinx and myst-nb do the work; this module lays out the pages as they link to each other in the
repository. It runs no cell, and does not know what the pages say.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rag_helpers.errors import RagError
from rag_helpers.publishing.links import find_dead_links, find_outside_assets

__all__ = ["BookError", "build_book"]

SETTINGS = Path(__file__).parents[1] / "data" / "book"
# In the order of the table of contents; the notebooks come between the two.
DOCUMENTS = ("RESULTS.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")
IN_NOTEBOOKS = ("GLOSSARY.md", "TEACHING.md")
# Links in documents, in Markdown.
_LINK = re.compile(r"\]\(([^)#:\s]+)\)")
_CONTENTS = """

```{{toctree}}
:hidden:
:caption: {caption}

{pages}
```
"""


class BookError(RagError):
    """The book cannot be built, or is not whole."""


def build_book(root: Path, out: Path) -> Path:
    """Build the site and check it.

    Parameters
    ----------
    root : Path
        The repository.
    out : Path
        The folder for it; ``html/index.html`` in it is the first page. Replaced when the new
        site is whole.

    Returns
    -------
    Path
        The first page.

    Raises
    ------
    BookError
        If Sphinx warns of anything, a link or picture leads nowhere, or a page would load
        something from elsewhere.
    """
    out = out.absolute()
    draft, old = (out.with_name(f"{out.name}.{word}") for word in ("part", "old"))
    shutil.rmtree(draft, ignore_errors=True)
    _lay_out(root, draft / "source")
    # -W: a warning is an error; --keep-going: all of them are named.
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    done = subprocess.run(
        [*command, str(draft / "source"), str(draft / "html")],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BookError(f"Sphinx could not build the book:\n{done.stderr.strip()}")
    faults = [*find_dead_links(draft / "html"), *find_outside_assets(draft / "html")]
    if faults:
        raise BookError("The book is not whole:\n" + "\n".join(faults))
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.replace(old)
    draft.replace(out)
    shutil.rmtree(old, ignore_errors=True)
    return out / "html" / "index.html"


def _lay_out(root: Path, source: Path) -> None:
    """Copy the pages to where their links to each other hold."""
    notebooks = sorted((root / "notebooks").glob("[0-9]*.ipynb"))
    if not notebooks:
        raise BookError(f"{root / 'notebooks'} holds no notebook; run `make notebooks`.")
    (source / "notebooks").mkdir(parents=True)
    shutil.copyfile(SETTINGS / "conf.py", source / "conf.py")
    (source / "_static").mkdir()
    shutil.copyfile(SETTINGS / "book.css", source / "_static" / "book.css")
    shutil.copytree(
        root / "notebooks" / "figures",
        source / "notebooks" / "figures",
        ignore=shutil.ignore_patterns("*.py", "__pycache__"),
    )
    further = sorted((root / "notebooks").glob("exercises/*.ipynb"))
    further += sorted((root / "notebooks").glob("[!0-9]*.ipynb"))
    for path in (*notebooks, *further):
        page = source / path.relative_to(root)
        page.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, page)
    documents = ("README.md", *DOCUMENTS, *(f"notebooks/{name}" for name in IN_NOTEBOOKS))
    for name in documents:
        text = (root / name).read_text(encoding="utf-8")
        # README is the first page here, under the name by which servers look for it.
        (source / name).write_text(text.replace("README.md)", "index.md)"), encoding="utf-8")
        for link in _LINK.findall(text):
            _add_file(root, source, (root / name).parent / link)
    beside = [f"notebooks/{name.removesuffix('.md')}" for name in IN_NOTEBOOKS]
    about = [name.removesuffix(".md") for name in DOCUMENTS]
    index = (source / "README.md").read_text(encoding="utf-8")
    index += _contents("The seven steps", [f"notebooks/{path.stem}" for path in notebooks])
    if further:
        names = [path.relative_to(root).with_suffix("").as_posix() for path in further]
        index += _contents("Exercises", names)
    index += _contents("Beside them", [*beside, *about])
    (source / "README.md").unlink()
    (source / "index.md").write_text(index, encoding="utf-8")


def _contents(caption: str, pages: Sequence[str]) -> str:
    return _CONTENTS.format(caption=caption, pages="\n".join(pages))


def _add_file(root: Path, source: Path, path: Path) -> None:
    """Copy a file of the repository that a page links to and that is no page itself."""
    path = path.resolve()
    if not path.is_file() or root.resolve() not in path.parents:
        return  # a page, or dead: then Sphinx says so
    copy = source / path.relative_to(root.resolve())
    if not copy.exists() and path.suffix not in (".md", ".ipynb"):
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
