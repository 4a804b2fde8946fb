"""The drawn figures: they are what their scripts draw, readable anywhere, and described."""

import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rag_helpers.chunking import split_by_words
from rag_helpers.notebook_builder import NOTEBOOKS
from rag_helpers.records import Document

FIGURES = NOTEBOOKS / "figures"
FLOW, IDEAS = (runpy.run_path(str(FIGURES / f"draw_{name}.py")) for name in ("flow", "ideas"))
DRAWN = {f"flow_{step:02d}": FLOW["draw"](step) for step in FLOW["LIT"]}
DRAWN |= {idea.__name__: idea() for idea in IDEAS["IDEAS"]}
SVG = "{http://www.w3.org/2000/svg}"
CARD = "#fbfaf6"
PICTURE = re.compile(r"!\[([^]]*)\]\(([^)]+)\)")
SOURCES = sorted((NOTEBOOKS / "source").glob("*.py"))


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def texts_with_their_grounds(root):
    """Yield each text with the fill of the last rectangle that was drawn below its anchor."""
    below = []
    for element in root:
        if element.tag == f"{SVG}rect":
            below.append(element)
        if element.tag == f"{SVG}text":
            x, y = float(element.get("x")), float(element.get("y")) - 4
            yield element, [r.get("fill") for r in below if holds(r, x, y)][-1]


def holds(rectangle, x, y):
    left, top = float(rectangle.get("x", 0)), float(rectangle.get("y", 0))
    right, foot = left + float(rectangle.get("width")), top + float(rectangle.get("height"))
    return left <= x <= right and top <= y <= foot


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_what_its_script_draws(name):
    assert (FIGURES / f"{name}.svg").read_bytes().decode("utf-8") == DRAWN[name]


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_says_what_it_shows_and_loads_nothing(name):
    root = ElementTree.fromstring(DRAWN[name])
    assert root.get("role") == "img"
    assert len(root.findtext(f"{SVG}title")) > 10
    assert len(root.findtext(f"{SVG}desc")) > 10
    assert not re.search(r"href|@import|font-face|<image|<script", DRAWN[name])
    assert {text.get("font-family") for text in root.iter(f"{SVG}text")} == {"sans-serif"}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_brings_its_ground_and_its_text_stands_out_from_it(name):
    root = ElementTree.fromstring(DRAWN[name])
    width, height = root.get("viewBox").split()[2:]
    card = root.find(f"{SVG}rect")
    assert (card.get("width"), card.get("height"), card.get("fill")) == (width, height, CARD)
    for text, ground in texts_with_their_grounds(root):
        light = luminance(ground) + 0.05
        assert light / (luminance(text.get("fill")) + 0.05) >= 4.5, (text.text, ground)


@pytest.mark.parametrize("name", DRAWN)
def test_no_text_of_a_figure_is_clipped(name):
    root = ElementTree.fromstring(DRAWN[name])
    width, height = map(float, root.get("viewBox").split()[2:])
    for text in root.iter(f"{SVG}text"):
        # A letter of a common sans-serif is on average no wider than this.
        wide = len(text.text) * float(text.get("font-size")) * 0.6
        share = {"end": 1.0, "middle": 0.5}.get(text.get("text-anchor"), 0.0)
        left = float(text.get("x")) - share * wide
        assert left >= 0 and left + wide <= width, text.text
        size = float(text.get("font-size"))
        assert size <= float(text.get("y")) <= height - size / 3, text.text


def test_the_picture_of_overlap_shows_the_offsets_that_the_package_cuts_at():
    text = "The cat sat on the mat. The dog slept. Rain fell all night on the old roof."
    chunks = split_by_words(Document(text, source="toy"), size=7, overlap=2)
    shown = re.findall(r"chunk \d: \[(\d+):(\d+)\]", DRAWN["chunk_overlap"])
    assert [(int(a), int(b)) for a, b in shown] == [(c.start, c.end) for c in chunks]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_picture_of_a_notebook_exists_and_has_a_text_in_its_place(source):
    for alt, place in PICTURE.findall(source.read_text(encoding="utf-8")):
        assert len(alt) > 10, place
        assert (NOTEBOOKS / place).is_file(), place


def test_every_figure_is_shown_in_a_notebook():
    texts = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
    shown = {Path(place).stem for _, place in PICTURE.findall(texts)}
    assert set(DRAWN) <= shown
