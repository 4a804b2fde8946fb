"""Raw text becomes clean text that still knows where it came from.

Every change is an edit of a stretch of the raw text, and the edits are kept as
a map of break points from clean offsets to raw ones. The module does not know
of files, documents or what the text is about.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from rag_helpers.corpus.markup import find_markup

__all__ = [
    "STOP_WORDS",
    "CleanText",
    "clean_pages",
    "clean_text",
    "find_title",
    "remove_stop_words",
]


@dataclass(frozen=True, slots=True)
class CleanText:
    """A cleaned text and its way back to the raw one.

    Parameters
    ----------
    text : str
        The cleaned text.
    source_map : tuple of (int, int)
        Break points ``(offset in text, offset in the raw text)``, rising;
        between two of them both advance together. Empty when nothing changed.
    title : str
        Title of a marked-up page; empty when there is none.
    pages : tuple of int
        Offset in `text` at which each page begins; empty without pages.
    """

    text: str
    source_map: tuple[tuple[int, int], ...] = ()
    title: str = ""
    pages: tuple[int, ...] = ()

    def raw_offset(self, offset: int) -> int:
        """Return where in the raw text the character at `offset` came from.

        Examples
        --------
        >>> cleaned = clean_text("<b>A &amp; B</b>", markup=True)
        >>> cleaned.text, cleaned.raw_offset(2)  # the "&" began at "&amp;"
        ('A & B', 5)
        """
        if not self.source_map:
            return offset
        at, raw = self.source_map[bisect_right(self.source_map, (offset, float("inf"))) - 1]
        return raw + offset - at


def clean_text(raw: str, *, markup: bool = False) -> CleanText:
    r"""Clean a text: Unicode, control characters, white space and HTML.

    Characters are composed (Unicode normalization form NFC); control and
    invisible characters are removed, text direction overrides among them; every
    line end becomes ``\n`` and every kind of space a plain one; space at the
    ends of lines goes, and so do blank lines after the first. Indentation, tabs
    and spaces within a line stay, since code and tables need them.

    Parameters
    ----------
    raw : str
        The text as it was found.
    markup : bool
        Whether `raw` is HTML. Then tags, comments, scripts and styles are
        dropped, entities are decoded, headings become ``#`` lines and list
        entries ``*`` lines, which `split_by_structure` cuts at. Spelling a tag
        wrongly is no error; what a browser would not show is left out.

    Returns
    -------
    CleanText
        The clean text, and its map to `raw`.

    Examples
    --------
    >>> clean_text("Cafe\u0301\r\n\r\n\r\n\x07 open  ").text
    'Café\n\n open'
    >>> clean_text("<h1>Tea</h1><p>Black &amp;<br>green", markup=True).text
    '# Tea\n\nBlack &\ngreen'
    """
    cleaned, title = CleanText(raw), ""
    if markup:
        edits, title = find_markup(raw)
        cleaned = _edit(cleaned, edits)
        title = " ".join(_tidy(CleanText(title)).text.split())
    tidied = _tidy(cleaned)
    return CleanText(tidied.text, tidied.source_map, title)


def clean_pages(pages: Sequence[str]) -> CleanText:
    r"""Join the pages of a printed text, without their headers and footers.

    A first or last line that stands on three pages or more, and on at least
    half of them, is a header or a footer; numbers in it may differ.

    Parameters
    ----------
    pages : sequence of str
        The raw text of each page.

    Returns
    -------
    CleanText
        The clean text, where each page begins in it, and its map to
        ``"\f".join(pages)``.

    Examples
    --------
    >>> cleaned = clean_pages(["Tea\nBoil\n1", "Tea\nwater.\n2", "Tea\nSteep.\n3"])
    >>> cleaned.text, cleaned.pages
    ('Boil\nwater.\nSteep.', (0, 5, 12))
    """
    # Within a page a form feed would be taken for the page's end.
    pages = [page.replace("\f", "\n") for page in pages]
    raw = "\f".join(pages)
    starts = [0, *accumulate(len(page) + 1 for page in pages)]
    edges = [_edge_lines(page) for page in pages]
    counts = Counter(key for edge in edges for key in {line.key for line in edge})
    edits = []
    for page, edge, start in zip(pages, edges, starts, strict=False):
        body, end = 0, len(page)
        for place, line in enumerate(edge):
            if counts[line.key] >= max(3, len(pages) / 2):
                body, end = (line.end, end) if place == 0 else (body, line.start)
        end = max(body, len(page[:end].rstrip()))
        edits += [(start, start + body, ""), (start + end, start + len(page), "")]
    cleaned = _tidy(_edit(CleanText(raw), edits))
    clean_starts = tuple(_clean_offset(cleaned, start) for start in starts[:-1])
    return CleanText(cleaned.text, cleaned.source_map, pages=clean_starts)


_TITLE = re.compile(
    r"^(?P<over>[^\s#][^\n]*)\n(?P<line>([*=~^\-])\3{2,})[ \t]*$|^\#{1,6}[ \t]+(?P<behind>[^\n]+)$",
    re.MULTILINE,
)


def find_title(text: str) -> str:
    r"""Return the first heading: an underlined line, or one behind number signs.

    Parameters
    ----------
    text : str
        A text in reStructuredText, Markdown or neither.

    Returns
    -------
    str
        The heading's words; empty when there is none.

    Examples
    --------
    >>> find_title("Green tea\n=========\n\nSteep it.")
    'Green tea'
    """
    for match in _TITLE.finditer(text):
        if match["behind"] or len(match["line"]) >= len(match["over"].rstrip()):
            return (match["behind"] or match["over"]).strip(" \t#")
    return ""


# Words that carry grammar rather than meaning. "not", "no" and the question
# words are left in: without them a question asks something else.
_FUNCTION_WORDS = """
    a about above after again all also am an and any are as at be because been before being below
    between both but by can could did do does doing down during each either few for from further
    had has have having he her here hers herself him himself his i if in into is it its itself
    just let me more most much my myself of off on once only onto or other our ours ourselves out
    over own same she should so some such than that the their theirs them themselves then there
    these they this those through thus to too under until up upon us very was we were while will
    with within would you your yours yourself yourselves
"""
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English function words that `remove_stop_words` removes."""

_STOP_WORD = re.compile(
    rf"(?<![\w.'’\-])(?:{'|'.join(sorted(STOP_WORDS, key=len, reverse=True))})(?![\w'’\-(])[ \t]*",
    re.IGNORECASE,
)


def remove_stop_words(text: str) -> str:
    """Remove English function words from a text.

    Old recipes advise this. Keyword search gains little from it and embedding
    models were trained on whole sentences, so measure before you use it.

    Parameters
    ----------
    text : str
        The text. Words in code are words too: ``for`` and ``if`` are removed.

    Returns
    -------
    str
        The text without the words in `STOP_WORDS` and the spaces after them.

    Examples
    --------
    >>> remove_stop_words("What is the purpose of the else clause?")
    'What purpose else clause?'
    """
    return _STOP_WORD.sub("", text)


# A stretch of the text and what replaces it.
_Edit = tuple[int, int, str]


def _edit(cleaned: CleanText, edits: Iterable[_Edit]) -> CleanText:
    """Apply rising edits that do not overlap, and carry the map along."""
    old = cleaned.source_map or ((0, 0),)
    offsets = [offset for offset, _ in old]
    pieces: list[str] = []
    points: list[tuple[int, int]] = []
    length = cursor = 0

    def add(piece: str, origins: Iterable[tuple[int, int]]) -> None:
        """Add a piece; `origins` are its own offsets and those in the old text."""
        nonlocal length
        for offset, origin in origins:
            at, raw = old[bisect_right(offsets, origin) - 1]
            point = (length + offset, raw + origin - at)
            if not points or point[1] - points[-1][1] != point[0] - points[-1][0]:
                points.append(point)
        pieces.append(piece)
        length += len(piece)

    def keep(start: int, end: int) -> None:
        if start < end:
            inner = offsets[bisect_right(offsets, start) : bisect_left(offsets, end)]
            piece = cleaned.text[start:end]
            add(piece, [(0, start), *((offset - start, offset) for offset in inner)])

    for start, end, replacement in edits:
        keep(cursor, start)
        # A replacement longer than what it replaces stays on its last character.
        last = max(start, end - 1)
        add(replacement, ((i, min(start + i, last)) for i in range(len(replacement))))
        cursor = end
    if not cursor:
        return cleaned
    keep(cursor, len(cleaned.text))
    return CleanText("".join(pieces), tuple(points) or ((0, 0),))


def _clean_offset(cleaned: CleanText, raw_offset: int) -> int:
    """Return the clean offset of a raw one, or of the next character that was kept."""
    points = cleaned.source_map or ((0, 0),)
    i = bisect_right(points, raw_offset, key=lambda point: point[1])
    if i == 0:
        return 0
    at, raw = points[i - 1]
    following = points[i][0] if i < len(points) else len(cleaned.text)
    return min(at + raw_offset - raw, following)


def _tidy(cleaned: CleanText) -> CleanText:
    """Tidy characters first, then compose them, then tidy the white space they leave."""
    for find_edits in (_find_odd_characters, _find_uncomposed, _find_loose_space):
        cleaned = _edit(cleaned, find_edits(cleaned.text))
    return cleaned


_ODD_CHARACTER = re.compile(
    r"(?P<line>\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029])"
    r"|(?P<space>[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000])"
    # Control characters, soft hyphens, zero-width spaces, direction overrides.
    r"|[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\xad\u061c\u200b\u200e\u200f\u202a-\u202e"
    r"\u2060-\u2064\u2066-\u2069\ufeff]"
    # Half of a surrogate pair, which no tokenizer and no file takes.
    r"|(?P<surrogate>[\ud800-\udfff])"
)
_ODD_REPLACEMENTS = {"line": "\n", "space": " ", "surrogate": "\ufffd", None: ""}


def _find_odd_characters(text: str) -> Iterator[_Edit]:
    for match in _ODD_CHARACTER.finditer(text):
        yield match.start(), match.end(), _ODD_REPLACEMENTS[match.lastgroup]


# A run in which composing may change something, with the letter that opens it.
_COMPOSABLE = re.compile(r"[\x00-\x7f]?[^\x00-\x7f]+")


def _find_uncomposed(text: str) -> Iterator[_Edit]:
    if text.isascii():
        return
    for run in _COMPOSABLE.finditer(text):
        if unicodedata.is_normalized("NFC", run[0]):
            continue
        start = run.start()
        for cluster in _clusters(run[0]):
            composed = unicodedata.normalize("NFC", cluster)
            if composed != cluster:
                yield start, start + len(cluster), composed
            start += len(cluster)


def _clusters(run: str) -> Iterator[str]:
    """Cut a run where composing the parts is the same as composing the whole.

    Past 32 characters a cluster is cut anyway: no script stacks so many marks,
    and normalizing takes quadratic time in their number.
    """
    cluster = ""
    for character in run:
        opening = unicodedata.normalize("NFD", character)[0]
        if len(cluster) == 32:
            yield cluster
            cluster = ""
        elif cluster and not unicodedata.combining(opening):
            apart = [unicodedata.normalize("NFC", part) for part in (cluster, character)]
            if unicodedata.normalize("NFC", cluster + character) == "".join(apart):
                yield cluster
                cluster = ""
        cluster += character
    yield cluster


_LOOSE_SPACE = re.compile(
    r"(?P<opening>\A(?:[ \t]*+\n)++)"
    r"|(?P<closing>(?<!\s)\s++\Z)"
    r"|(?P<blank>(?<![ \t])[ \t]*+\n(?:[ \t]*+\n){2,}+)"
    r"|(?P<trailing>(?<![ \t])[ \t]++(?=\n|\Z))"
)


def _find_loose_space(text: str) -> Iterator[_Edit]:
    for match in _LOOSE_SPACE.finditer(text):
        yield match.start(), match.end(), "\n\n" if match.lastgroup == "blank" else ""


class _EdgeLine(NamedTuple):
    key: str
    start: int
    end: int


_LINE = re.compile(r"[^\n]*\S[^\n]*\n?")


def _edge_lines(page: str) -> list[_EdgeLine]:
    """Return the first and the last line of a page that are not blank."""
    lines = [match.span() for match in _LINE.finditer(page)]
    edges = sorted({lines[0], lines[-1]}) if lines else []
    return [
        _EdgeLine(re.sub(r"\d+", "#", page[start:end].strip()), start, end) for start, end in edges
    ]
