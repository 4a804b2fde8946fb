"""What the pages of a static site point at: dead links, and what is loaded from elsewhere.

Links to other sites are left alone: they load nothing until someone follows them, and nothing is
fetched here.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["find_dead_links", "find_outside_assets"]

# Elements whose address is loaded as soon as the page is shown.
_LOADED = {
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "img": "src",
    "link": "href",
    "object": "data",
    "script": "src",
    "source": "src",
    "video": "src",
}
# Such links only name a page.
_NAMES_ONLY = {"canonical", "author", "license", "index", "search", "next", "prev", "alternate"}
_IN_STYLE = re.compile(r"""(?:url\(\s*|@import\s+)["']?(https?:|//)""", re.IGNORECASE)


class _Page(HTMLParser):
    """Collects what one page points at, and the names of its places."""

    def __init__(self) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self._in_style = False
        self.styles: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._in_style = tag == "style"
        self.styles.append(values.get("style", ""))
        for name in ("id", "name"):
            if values.get(name):
                self.places.add(values[name])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        names_only = tag == "link" and set(values.get("rel", "").split()) <= _NAMES_ONLY
        if (attribute := _LOADED.get(tag)) and values.get(attribute) and not names_only:
            self.loaded.append(values[attribute])
        self.loaded += [part.split()[0] for part in values.get("srcset", "").split(",") if part]

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.styles.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _is_elsewhere(address: str) -> bool:
    return address.startswith("//") or urlsplit(address).scheme in {"http", "https", "ftp"}


def find_dead_links(folder: Path) -> list[str]:
    """Look for links and pictures of a site that lead nowhere in it.

    Parameters
    ----------
    folder : Path
        The site; every ``.html`` below is read.

    Returns
    -------
    list of str
        Page and address of each, sorted; empty when all is well.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     _ = Path(name, "a.html").write_text("<a href='b.html'>there</a>")
    ...     find_dead_links(Path(name))
    ['a.html: b.html leads nowhere']
    """
    folder = folder.resolve()
    pages = {path: _read(path) for path in sorted(folder.rglob("*.html"))}
    faults = set()
    for path, page in pages.items():
        for address in (*page.links, *page.loaded):
            parts = urlsplit(address)
            if parts.scheme or address.startswith("//"):  # elsewhere, mail, or data in the page
                continue
            target = path if not parts.path else path.parent / unquote(parts.path)
            target = target.resolve()
            inside = target == path or folder in target.parents
            place = unquote(parts.fragment)
            dead = not inside or not target.is_file()
            dead = dead or bool(place and target in pages and place not in pages[target].places)
            if dead:
                faults.add(f"{path.relative_to(folder).as_posix()}: {address} leads nowhere")
    return sorted(faults)


def find_outside_assets(folder: Path) -> list[str]:
    """Look for what a site's pages and styles would load from other sites.

    Parameters
    ----------
    folder : Path
        The site; every ``.html`` and ``.css`` below is read.

    Returns
    -------
    list of str
        Page and address of each, sorted; empty when the site stands by itself.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     _ = Path(name, "a.html").write_text("<script src='https://cdn.net/x.js'></script>")
    ...     find_outside_assets(Path(name))
    ['a.html: loads https://cdn.net/x.js']
    """
    faults = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".html":
            page = _read(path)
            faults |= {f"{name}: loads {found}" for found in page.loaded if _is_elsewhere(found)}
            styles = "\n".join(page.styles)
        elif path.suffix == ".css":
            styles = path.read_text(encoding="utf-8")
        else:
            continue
        if _IN_STYLE.search(styles):
            faults.add(f"{name}: a style loads something from another site")
    return sorted(faults)
