"""HTML as a list of edits that turn it into plain text.

A small scanner of our own, because it says where each piece of text stands in
the page, which the way from an answer back to its source needs, and because its
time grows in step with the page, whatever the page holds: the parser of the
standard library took minutes for 150 KB of ``<a``. The module does not know
what is done with the edits.
"""

from __future__ import annotations

import html
import re
from typing import NamedTuple

__all__ = ["Markup", "find_markup"]

_BLOCK_NAMES = """
address article aside blockquote body caption details dialog div dl fieldset figcaption figure
footer form header hr main nav ol p pre section summary table tbody tfoot thead ul
"""
_BLOCK_GAPS = dict.fromkeys(_BLOCK_NAMES.split(), "\n\n")
_CLOSING_GAPS = {
    **_BLOCK_GAPS,
    **dict.fromkeys(["h1", "h2", "h3", "h4", "h5", "h6"], "\n\n"),
    **dict.fromkeys(["td", "th"], " "),
}
_OPENING_GAPS = {
    **_BLOCK_GAPS,
    **dict.fromkeys(["br", "dd", "dt", "option", "tr"], "\n"),
    **{f"h{level}": "\n\n" + "#" * level + " " for level in range(1, 7)},
    "li": "\n* ",
}
_DROPPED = frozenset(["noscript", "script", "style", "svg", "template", "title"])

_OPENING = re.compile(r"<(?:(?P<comment>!--)|[!?]|(?P<slash>/?)(?P<name>[a-zA-Z][^\s/>]*))")
# The rest of a tag; ">" does not end it within a quoted value.
_TAG_REST = re.compile(r"""(?:[^>"'=]++|=\s*+(?:"[^"]*+"|'[^']*+')?|["'])*+>""")
_REFERENCE_OR_SPACE = re.compile(
    r"(?P<space>\s+)|&(?:\#[0-9]{1,9}|\#[xX][0-9a-fA-F]{1,9}|[a-zA-Z][a-zA-Z0-9]{1,31});?"
)


class Markup(NamedTuple):
    """What to change in a page, and its title."""

    edits: list[tuple[int, int, str]]
    title: str


def find_markup(raw: str) -> Markup:
    """Find what to change in an HTML page to leave its text.

    Parameters
    ----------
    raw : str
        The page, well-formed or not.

    Returns
    -------
    Markup
        ``edits``, stretches of `raw` and what replaces them, in rising order;
        and the ``title``, empty when there is none.

    Examples
    --------
    >>> find_markup("<title>Tea</title>1 &lt; 2")
    Markup(edits=[(0, 18, ''), (20, 24, '<')], title='Tea')
    """
    scanner = _Scanner(raw)
    return Markup(scanner.scan(), html.unescape(scanner.title))


_EMPTY_LINES = re.compile(r"\s*\n\s*\n\s*")
_LONGEST_GAP = 16


def _join(gap: str, more: str) -> str:
    """Add to a gap, which stays short however many tags leave something behind.

    Millions of tags without text between them took hours when it grew with each of them.
    """
    gap += more
    # Cleaning leaves one empty line of many.
    return gap if len(gap) < _LONGEST_GAP else _EMPTY_LINES.sub("\n\n", gap)


class _Scanner:
    def __init__(self, raw: str) -> None:
        self._raw = raw
        self._edits: list[tuple[int, int, str]] = []
        self._gap = ""  # what the tags since the last text leave behind
        self._after_space = True
        self._preformatted = 0
        # Ends that were looked for in vain are not looked for again.
        self._missing: set[str] = set()
        self.title = ""

    def scan(self) -> list[tuple[int, int, str]]:
        position = 0  # end of what was dealt with
        while opening := _OPENING.search(self._raw, position):
            end = self._end_of_tag(opening)
            if end is None:
                break
            self._keep(position, opening.start())
            if opening["name"]:
                end = self._read_tag(opening["name"].lower(), bool(opening["slash"]), end)
            position = end
            self._drop(opening.start(), end)
        self._keep(position, len(self._raw))
        return self._edits

    def _end_of_tag(self, opening: re.Match[str]) -> int | None:
        """Return where a tag or comment ends; None when nothing can end any more."""
        if opening["comment"] and (end := self._find("-->", opening.start() + 2)) is not None:
            return end
        if opening["name"] and "quoted" not in self._missing:
            if rest := _TAG_REST.match(self._raw, opening.end()):
                return rest.end()
            self._missing.add("quoted")
        return self._find(">", opening.end())

    def _read_tag(self, name: str, is_closing: bool, end: int) -> int:
        """Note what a tag stands for; return where it and what it hides end."""
        if name == "pre":
            self._preformatted = max(0, self._preformatted + (-1 if is_closing else 1))
        gap = (_CLOSING_GAPS if is_closing else _OPENING_GAPS).get(name, "")
        if gap and is_closing:
            self._gap = _join(self._gap.rstrip("*# "), gap)  # nothing stood in the entry
        elif not self._gap.endswith(("* ", "# ")):
            self._gap = _join(self._gap, gap)
        if is_closing or name not in _DROPPED or self._raw[end - 2] == "/":
            return end
        close = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
        if name in self._missing or not (match := close.search(self._raw, end)):
            self._missing.add(name)
            return end
        if name == "title":
            self.title = self.title or self._raw[end : match.start()]
        return self._find(">", match.end()) or end

    def _find(self, what: str, start: int) -> int | None:
        if what in self._missing or (found := self._raw.find(what, start)) < 0:
            self._missing.add(what)
            return None
        return found + len(what)

    def _drop(self, start: int, end: int) -> None:
        """Drop markup, together with the markup right before it."""
        if self._edits and self._edits[-1][1] == start and self._edits[-1][2] == "":
            start = self._edits.pop()[0]
        self._edits.append((start, end, ""))

    def _keep(self, start: int, end: int) -> None:
        """Keep text: decode its references, tidy its space, and open it with the gap."""
        if start == end:
            return
        if self._gap and not self._raw[start:end].isspace():
            # The gap takes the place of the markup before the text.
            dropped_from, dropped_to, _ = self._edits.pop()
            self._edits.append((dropped_from, dropped_to, self._gap))
            self._after_space, self._gap = True, ""
        for match in _REFERENCE_OR_SPACE.finditer(self._raw, start, end):
            if not match["space"]:
                replacement = html.unescape(match[0])
            elif self._preformatted:
                continue
            else:
                joins = match.start() == start and (self._after_space or self._gap)
                replacement = "" if joins else " "
            if replacement != match[0]:
                self._edits.append((match.start(), match.end(), replacement))
        self._after_space = self._raw[end - 1].isspace()
