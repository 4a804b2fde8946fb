"""Slides from the executed notebooks: one HTML file each, which loads nothing.

A slide is a paragraph of the notebook with what the next cells drew or printed. The module runs no
cell. What documents or models said reaches a page only escaped.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

from rag_helpers.errors import InvalidInputError

__all__ = ["Slide", "build_slides", "cut_into_slides", "render_slides"]

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
TEMPLATE = Path(__file__).parents[1] / "data" / "slides" / "template.html"
# More does not fit on a screen at a size that the last row can read.
MAX_CODE_LINES, MAX_OUTPUT_LINES, MAX_LINE = 14, 14, 90
Cell: TypeAlias = Any  # nbformat's NotebookNode: a dictionary with attributes
_FIGURE = re.compile(r"!\[([^]]*)\]\((figures/[\w.-]+\.svg)\)")
_PAGE_LINK = re.compile(r'<a href="(?!https?://)[^"]*">(.*?)</a>', re.DOTALL)


@dataclass(slots=True)
class Slide:
    """One slide, before it is drawn.

    Parameters
    ----------
    title : str
        The section it belongs to.
    text : str
        Markdown.
    code : str
        A cell, where it is short enough to be read on a wall.
    printed : str
        What the cells printed.
    pictures : list of str
        PNG files as base64.

    Examples
    --------
    >>> Slide("Metrics", "*Recall* counts.").pictures
    []
    """

    title: str
    text: str
    code: str = ""
    printed: str = ""
    pictures: list[str] = field(default_factory=list)


def cut_into_slides(cells: Sequence[Cell]) -> list[Slide]:
    r"""Cut a notebook into slides.

    Parameters
    ----------
    cells : sequence of dict
        Its cells, as nbformat reads them.

    Returns
    -------
    list of Slide
        One for each Markdown cell and each further heading inside one.

    Examples
    --------
    >>> cells = [{"cell_type": "markdown", "source": "# A\nOne.\n\n## B\nTwo."}]
    >>> [slide.title for slide in cut_into_slides(cells)]
    ['A', 'B']
    """
    slides: list[Slide] = []
    for cell in cells:
        if cell["cell_type"] == "markdown":
            for title, text in _sections(cell["source"]):
                known = title or (slides[-1].title if slides else "")
                slides.append(Slide(known, text))
        elif cell["cell_type"] == "code" and slides:
            _add_code(slides[-1], cell)
    return [slide for slide in slides if slide.text or slide.printed or slide.pictures]


def _sections(source: str) -> Iterator[tuple[str, str]]:
    """Yield heading and text of each part of a Markdown cell; the first may have no heading."""
    parts = re.split(r"(?m)^#+ +(.+)$", source)
    if parts[0].strip():
        yield "", parts[0].strip()
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        yield title.strip(), text.strip()


def _add_code(slide: Slide, cell: Cell) -> None:
    code = cell["source"].strip()
    # A cell that Colab alone needs is nothing to talk about.
    shown = code and not code.startswith("# @title")
    if shown and not slide.code and code.count("\n") < MAX_CODE_LINES:
        slide.code = code
    for output in cell.get("outputs", []):
        if output["output_type"] == "stream":
            slide.printed += "".join(output["text"])
        elif picture := output.get("data", {}).get("image/png"):
            slide.pictures.append("".join(picture.split()))


def render_slides(slides: Sequence[Slide], *, title: str, folder: Path) -> str:
    """Draw slides as one page.

    Parameters
    ----------
    slides : sequence of Slide
        At least one.
    title : str
        The page's title.
    folder : Path
        Where the figures that the text names are; they become part of the page.

    Returns
    -------
    str
        HTML that loads nothing.

    Raises
    ------
    InvalidInputError
        If there is no slide.
    """
    if not slides:
        raise InvalidInputError(f"{title!r} has no slides; build the notebooks first.")
    drawn = "\n".join(_draw(slide, folder) for slide in slides)
    page = TEMPLATE.read_text(encoding="utf-8")
    return page.replace("{{title}}", escape(title)).replace("{{slides}}", drawn)


def _draw(slide: Slide, folder: Path) -> str:
    from markdown_it import MarkdownIt

    # "html": False shows any tag in the text as text.
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    figures = [
        (alt, base64.b64encode((folder / name).read_bytes()).decode("ascii"))
        for alt, name in _FIGURE.findall(slide.text)
    ]
    text = markdown.render(_FIGURE.sub("", slide.text))
    # Pages that the notebook links to are not beside the slides.
    text = _PAGE_LINK.sub(r"\1", text)
    banners = "".join(
        f'<img class="banner" alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}">'
        for alt, data in figures
    )
    side = ""
    for data in slide.pictures[:1]:
        alt = f"What the cell drew: {slide.title}"
        side += f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'
    if printed := _cut(slide.printed):
        side += f"<pre>{escape(printed)}</pre>"
    code = f"<pre class='code'>{escape(slide.code)}</pre>" if slide.code else ""
    classes = "slide" if side else "slide wide"
    return (
        f"<section class='{classes}' tabindex='-1'><h2>{escape(slide.title)}</h2>{banners}"
        f"<div class='text'>{text}</div><div class='side'>{side}</div>{code}</section>"
    )


def _cut(text: str) -> str:
    """Keep what fits on a screen."""
    lines = text.rstrip().splitlines()
    more = (
        [f"… {len(lines) - MAX_OUTPUT_LINES} more lines"] if len(lines) > MAX_OUTPUT_LINES else []
    )
    kept = [
        line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 1]}…"
        for line in lines[:MAX_OUTPUT_LINES]
    ]
    return "\n".join([*kept, *more])


def build_slides(out: Path, *, notebooks: Path = NOTEBOOKS) -> list[Path]:
    """Write the slides of every notebook.

    Parameters
    ----------
    out : Path
        The folder for them; made when it is not there.
    notebooks : Path
        Where the executed notebooks are.

    Returns
    -------
    list of Path
        A page each.

    Raises
    ------
    InvalidInputError
        If there is no notebook.
    """
    import nbformat

    sources = sorted(notebooks.glob("[0-9]*.ipynb"))
    if not sources:
        raise InvalidInputError(f"{notebooks} holds no notebook; run `make notebooks`.")
    out.mkdir(parents=True, exist_ok=True)
    pages = []
    for source in sources:
        slides = cut_into_slides(nbformat.read(source, as_version=4).cells)
        title = slides[0].title if slides else source.stem
        target = out / f"{source.stem}.html"
        draft = target.with_suffix(".new")
        draft.write_text(render_slides(slides, title=title, folder=notebooks), encoding="utf-8")
        draft.replace(target)
        pages.append(target)
    return pages
