"""Where the headings of a text are.

reStructuredText and Markdown alike; the module does not know of documents.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

__all__ = ["Heading", "find_headings"]


class Heading(NamedTuple):
    """A heading: its offsets, underline and number signs included, and its words."""

    start: int
    end: int
    text: str


# A title over a line of one punctuation character (reStructuredText, Markdown),
# perhaps under such a line too, or behind one to six number signs (Markdown).
_HEADING = re.compile(
    r"^(?:[*=~^\-]{3,}[ \t]*\n)?(?P<title>[^\s#][^\n]*)\n"
    r"(?P<line>(?P<mark>[*=~^\-])(?P=mark){2,})[ \t\r]*$"
    r"|^\#{1,6}[ \t]+(?P<marked>[^\n]*)$",
    re.MULTILINE,
)
_FENCE = re.compile(r"^[ \t]*```", re.MULTILINE)


def find_headings(text: str) -> list[Heading]:
    r"""Find the headings of a text.

    Parameters
    ----------
    text : str
        A text. A heading is a line that begins without indentation and is
        underlined over its whole length with one of ``* = ~ ^ -``, or a line
        behind one to six number signs; neither within fenced code.

    Returns
    -------
    list of Heading
        In the order of the text; levels are not told apart.

    Examples
    --------
    >>> find_headings("Tea\n===\n\nBoil.\n\n## Green\n")
    [Heading(start=0, end=7, text='Tea'), Heading(start=16, end=24, text='Green')]
    """
    fences = [match.start() for match in _FENCE.finditer(text)]
    headings = []
    for match in _HEADING.finditer(text):
        title = (match["title"] or match["marked"]).strip().rstrip("#").rstrip()
        is_underlined = not match["line"] or len(match["line"]) >= len(title)
        is_in_code = bisect_right(fences, match.start()) % 2 == 1
        has_words = any(character.isalnum() for character in title)
        if has_words and is_underlined and not is_in_code:
            headings.append(Heading(match.start(), match.end(), title))
    return headings
