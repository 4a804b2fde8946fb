"""The service's web page in real Chromium, over documents that attack it."""

import pytest

from rag_helpers.deployment import BackgroundServer, load_settings
from rag_helpers.generator import ExtractiveGenerator
from rag_helpers.pipeline import RagPipeline
from rag_helpers.records import Chunk
from rag_helpers.retriever import KeywordRetriever
from rag_helpers.widget_pictures import CHROMIUM_FLAGS, find_chromium

pytestmark = pytest.mark.browser

KEY = "a-key-of-enough-characters"
SENTENCE = "Ice <img src=x onerror=alert(1)> melts <script>alert(2)</script> at 0 degrees."
# Attacks of other kinds, and a word that is wider than any phone.
REST = (
    "Bridges <svg onload=alert(3)></svg> carry <a href='javascript:alert(4)'>roads</a> and "
    "<iframe srcdoc='<script>parent.alert(5)</script>'></iframe> "
    "<details open ontoggle=alert(6)>rivers</details> " + "w" * 300 + "."
)
TEXT = f"😀 Tea is hot. {SENTENCE} {REST}"
SOURCE = "<b>ice</b>" + "_" * 200


@pytest.fixture(scope="module")
def page():
    """Return the page on a screen as narrow as a phone's, and what went wrong in it."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("Chromium is not here; install it with: apt-get install chromium")
    chunk = Chunk(TEXT, SOURCE, 50, 50 + len(TEXT), title=SENTENCE, heading=REST)
    chunks = [chunk]
    pipeline = RagPipeline(KeywordRetriever(chunks), ExtractiveGenerator())
    with (
        BackgroundServer(pipeline, load_settings(api_key=KEY)) as api,
        playwright.sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=str(chromium), args=list(CHROMIUM_FLAGS))
        page = browser.new_page(
            viewport={"width": 360, "height": 640},
            http_credentials={"username": "any", "password": KEY},
        )
        page.problems = []
        page.on("console", lambda message: page.problems.append(message.text))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("dialog", lambda dialog: (page.problems.append("dialog"), dialog.dismiss()))
        page.goto(api.url)
        yield page
        browser.close()


@pytest.fixture
def answered(page):
    """Return the page after a question, its citation open."""
    page.fill("#question", "When does ice melt?")
    page.press("#question", "Enter")
    page.wait_for_selector("#ask:enabled")
    page.click("#citations summary")
    return page


def test_a_question_is_answered_with_its_sentence_marked(answered):
    page = answered
    assert SENTENCE in page.inner_text("#answer")
    # The emoji is one character for Python and two units for the browser: the mark still fits.
    assert page.inner_text("#citations mark").startswith("Ice <img")
    assert page.inner_text("#citations p") == TEXT
    assert "Confidence" in page.inner_text("[role=status]")


def test_nothing_of_the_document_ran_or_became_html(answered):
    page = answered
    assert page.problems == []
    # Of elements there are those that the page makes itself.
    assert page.locator("#answer *").count() == 0
    made = page.eval_on_selector_all("#citations *", "all => all.map(one => one.localName)")
    assert made == ["details", "summary", "p", "mark"]
    assert page.inner_text("#citations summary").startswith(f"{SOURCE}: ")


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg onload=alert(1)></svg>",
        "<details open ontoggle=alert(1)><summary>x</summary></details>",
    ],
)
def test_even_html_that_slipped_in_would_not_run(answered, attack):
    """The second line of defence: the page's policy, were a text ever set as HTML."""
    page = answered
    seen = len(page.problems)
    page.evaluate("html => { document.getElementById('answer').innerHTML = html }", attack)
    page.wait_for_timeout(300)
    complaints = page.problems[seen:]
    del page.problems[seen:]
    assert "dialog" not in complaints


def test_the_page_fits_a_phone(answered):
    assert answered.evaluate("window.innerWidth") == 360
    assert answered.evaluate("document.documentElement.scrollWidth") <= 360


def test_an_error_is_shown_as_a_sentence(page):
    # The field's own limit is taken off, so that the service has to refuse.
    page.evaluate("document.getElementById('question').removeAttribute('maxlength')")
    page.fill("#question", "x" * 2001)
    page.click("#ask")
    assert "at most 2000 characters" in page.inner_text("[role=alert]")
    page.wait_for_selector("#ask:enabled")
