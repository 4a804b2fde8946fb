"""The book is built as `make book` does it, and read in a browser that reaches nothing else."""

from __future__ import annotations

import functools
import http.server
import re
import threading
from pathlib import Path

import pytest
from browser import chromium_or_skip

from rag_helpers.errors import RagError
from rag_helpers.publishing import build_book, build_slides, find_outside_assets

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return build_book(ROOT, tmp_path_factory.mktemp("build") / "book").parent


@pytest.fixture(scope="module")
def browser():
    chromium = chromium_or_skip()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(chromium), args=OPTIONS)
        yield started
        started.close()


@pytest.fixture
def page(browser):
    """A page that notes what it asks other machines for, and what goes wrong in it."""
    opened = browser.new_page(viewport={"width": 1280, "height": 720})
    opened.asked, opened.faults = [], []
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    yield opened
    opened.close()


@pytest.fixture
def address(site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_every_notebook_and_document_is_a_page(site):
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    for source in (ROOT / "notebooks").glob("[0-9]*.ipynb"):
        assert f"notebooks/{source.stem}.html" in pages
    for name in ("GLOSSARY", "TEACHING"):
        assert f"notebooks/{name}.html" in pages
    assert {"index.html", "ARCHITECTURE.html", "SECURITY.html", "RESULTS.html"} <= pages
    # Built as a whole: no half-made copy stays beside it.
    assert [path.name for path in site.parents[1].iterdir()] == ["book"]


def test_outputs_of_the_notebooks_are_in_the_book(site):
    text = (site / "notebooks" / "03_retriever.html").read_text(encoding="utf-8")
    assert "recall@5" in text and text.count("<img") >= 4


def test_no_page_loads_anything_from_elsewhere(site):
    assert find_outside_assets(site) == []


def test_search_finds_a_word_and_reads_nothing_from_elsewhere(page, address):
    page.goto(f"{address}/search.html?q=reciprocal")
    page.wait_for_selector("#search-results li a")
    found = page.locator("#search-results li a").all_text_contents()
    assert any("Retriever" in title for title in found) and "Glossary" in found
    page.goto(f"{address}/notebooks/05_pipeline.html")
    page.wait_for_load_state("networkidle")
    assert [url for url in page.asked if not url.startswith((address, "data:"))] == []
    assert page.faults == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_slides_open_from_the_disk_and_move_by_keyboard(page, tmp_path):
    first = build_slides(tmp_path)[0]
    page.goto(first.as_uri())
    count = page.locator(".slide").count()
    assert page.text_content("#place") == f"1 / {count}"
    for key, place in (("ArrowRight", 2), ("PageUp", 1), ("End", count), (" ", count), ("Home", 1)):
        page.keyboard.press(key)
        assert page.text_content("#place") == f"{place} / {count}"
    page.click("#on")
    assert page.locator(".slide.now").count() == 1
    assert page.url.endswith("#2")
    assert [url for url in page.asked if not url.startswith(("file:", "data:"))] == []
    assert page.faults == []
    for _ in range(count):  # nothing lies outside the screen
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.keyboard.press("ArrowRight")


def test_a_dead_link_stops_the_build_and_the_old_book_stays(tmp_path):
    import shutil

    root = tmp_path / "root"
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, root)
    out = tmp_path / "book"
    out.mkdir()
    (out / "old.txt").write_text("old")
    readme = root / "README.md"
    readme.write_text(readme.read_text() + "\n[gone](notebooks/99_gone.ipynb)\n")
    with pytest.raises(RagError, match=re.compile("99_gone", re.DOTALL)):
        build_book(root, out)
    assert (out / "old.txt").read_text() == "old"
