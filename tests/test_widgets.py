"""The widgets, driven from Python: what a learner sets, presses and then sees."""

import ast
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_helpers import widgets
from rag_helpers.chunking import split_by_words
from rag_helpers.errors import GeneratorError, InvalidInputError
from rag_helpers.evaluation import Interval
from rag_helpers.optimization import IndexRecommendation, recommend_index
from rag_helpers.records import Answer, Chunk, Citation, Document, Hit, Prompt
from rag_helpers.widgets import (
    ChunkExplorer,
    CompareBox,
    GeneratorPlayground,
    IndexChooser,
    QuestionBox,
    SearchBox,
    TrainingChart,
    render_chunks,
    render_citations,
    render_hits,
    render_status,
    render_training,
)

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "</div></details><iframe src='javascript:alert(1)'>",
    "\"' onmouseover='alert(1)' x='",
    "<!-- <b>",
    "&lt;script&gt;",
]


class _Page(HTMLParser):
    """What a browser would make of HTML: its elements, and the text in them."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.texts, self.marked = [], [], [], []
        self._open = []
        self.feed(html)
        self.close()
        self.text = "".join(self.texts)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self._open.append((tag, dict(attrs).get("style", "")))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag, "elements are closed in the order they were opened"

    def handle_comment(self, data):
        self.tags.append("!--")

    def handle_data(self, data):
        self.texts.append(data)
        if any("#ffe27a" in style for _, style in self._open):
            self.marked.append(data)


OWN_TAGS = {"div", "p", "ol", "li", "b", "i", "s", "span", "details", "summary", "mark"}
OWN_ATTRIBUTES = {"style", "role", "aria-live", "open", "tabindex", "value"}


def assert_harmless(html):
    page = _Page(html)
    assert set(page.tags) <= OWN_TAGS
    assert set(page.attributes) <= OWN_ATTRIBUTES
    return page


@pytest.fixture(autouse=True)
def no_callback_fails(caplog):
    """Exceptions in a button's handler are only logged, so look in the log."""
    yield
    assert "Exception in callback" not in caplog.text


class Fixed:
    """A retriever that returns the same chunks for everything, and notes what it was asked."""

    def __init__(self, *texts):
        self.texts, self.asked = texts, []

    def search(self, question, k=5, *, where=None):
        self.asked.append((question, k))
        chunks = [Chunk(text, f"source {n}", 0, len(text)) for n, text in enumerate(self.texts)]
        return [Hit(chunk, 1 / (n + 1), n + 1) for n, chunk in enumerate(chunks[:k])]


def answer(text, passage, sentence, *, metadata=None, names=("dense", "fake model")):
    start = passage.index(sentence)
    chunk = Chunk(passage, "tea.txt", 100, 100 + len(passage), metadata=metadata or {})
    hit = Hit(chunk, 0.9, 1)
    citation = Citation(hit, sentence, 100 + start, 100 + start + len(sentence), 0.75)
    return Answer("q", text, (citation,), (hit,), Prompt("q", "q"), 0.42, False, {}, *names)


def controls(box):
    return [*box._controls]


def is_status(box, sentence):
    return sentence in _Page(box.status.value).text and "role='status'" in box.status.value


def is_alert(box, sentence):
    return sentence in _Page(box.status.value).text and "role='alert'" in box.status.value


# Rendering -----------------------------------------------------------------------------------


def test_status_is_escaped_keeps_its_lines_and_tells_errors_apart():
    assert _Page(render_status("a < b\nthen c")).text == "a < b\nthen c"
    assert "role='status'" in render_status("fine") and "role='alert'" not in render_status("fine")
    assert "role='alert'" in render_status("bad", failed=True)
    # Else a path, which has no spaces, is wider than a narrow cell.
    assert "overflow-wrap:anywhere" in render_status("/a/long/path")


@given(st.text(max_size=200), st.text(max_size=60))
def test_hits_show_every_character_of_the_passage(passage, question):
    hit = Hit(Chunk(passage, "s", 0, len(passage)), 0.5, 1)
    page = assert_harmless(render_hits([hit], question))
    assert page.text == f"s (score 0.500){passage}"


def test_hits_mark_the_questions_words_but_for_stop_words():
    # "what", "does", "the" and "do" are stop words; "Z" counts although it is one letter long.
    hit = Hit(Chunk("The z Option does it; options too.", "s", 0, 34), 0.5, 1)
    page = _Page(render_hits([hit], "What does the z OPTION do?"))
    assert page.marked == ["z", "Option"]


def test_hits_keep_their_own_ranks_and_show_the_heading():
    # What `collapse_duplicates` leaves may skip ranks: the list must not renumber them.
    chunk = Chunk("x", "s", 0, 1, heading="Making <tea>")
    html = render_hits([Hit(chunk, 0.5, 1), Hit(chunk, 0.4, 4)], "q")
    assert "value='1'" in html and "value='4'" in html
    assert "Making &lt;tea&gt;" in html


def test_no_hits_are_said_in_words():
    assert render_hits([], "q") == "<p>Nothing was found.</p>"


def test_citation_shows_the_passage_whole_and_marks_the_sentence_alone():
    passage = "Boil water. Pour it on the leaves. Wait."
    found = answer("pour", passage, "Pour it on the leaves.", metadata={"page": 7})
    page = assert_harmless(render_citations(found))
    assert page.marked == ["Pour it on the leaves."]
    assert page.text.endswith(passage)
    assert "tea.txt, page 7: Pour it on the leaves. (support 0.75)" in page.text


def test_only_the_best_citation_is_open():
    found = answer("pour", "Pour it.", "Pour it.")
    html = render_citations(
        Answer("q", "t", found.citations * 3, (), found.prompt, 0.5, False, {}, "r", "g")
    )
    assert html.count("<details") == 3 and html.count("<details open") == 1


def test_answer_without_citations_says_so():
    bare = Answer("q", "t", (), (), Prompt("q", "q"), 0.5, False, {}, "r", "g")
    assert render_citations(bare) == "<p>No passage supports the answer.</p>"


texts_and_spans = st.text(min_size=1, max_size=120).flatmap(
    lambda text: st.tuples(
        st.just(text),
        st.lists(st.tuples(st.integers(0, len(text)), st.integers(0, len(text))), max_size=6),
    )
)


@given(texts_and_spans, st.integers(0, 60))
def test_chunks_show_every_character_once_whatever_was_cut(text_and_spans, read):
    text, spans = text_and_spans
    spans = sorted((min(span), max(span)) for span in spans)
    chunks = [Chunk(text[start:end], "s", start, end) for start, end in spans]
    assert assert_harmless(render_chunks(text, chunks)).text == text
    html = render_chunks(text, chunks, lambda chunk: min(read, len(chunk)))
    assert assert_harmless(html).text == text


@given(st.text(max_size=300), st.integers(1, 20), st.integers(0, 10))
def test_chunks_of_the_real_splitter_show_every_character(text, size, overlap):
    overlap = min(overlap, size - 1)
    chunks = split_by_words(Document(text, "s"), size=size, overlap=overlap) if text.strip() else []
    assert _Page(render_chunks(text, chunks)).text == text


def pieces(html):
    """Return (kind, text) of each coloured stretch."""
    found = []

    class Kinds(HTMLParser):
        def handle_starttag(self, tag, attrs):
            self.style = dict(attrs).get("style", "")

        def handle_data(self, data):
            kinds = {"#5b4a8a": "overlap", "line-through": "unread", "background": "chunk"}
            kind = next((kind for mark, kind in kinds.items() if mark in self.style), "plain")
            found.append((kind, data))
            self.style = ""

    Kinds().feed(html)
    return found


def test_chunks_are_told_from_overlap_and_from_what_is_never_read():
    text = "aaabbbccc ddd"
    chunks = [Chunk("aaabbb", "s", 0, 6), Chunk("bbbccc", "s", 3, 9)]
    # Each chunk is read up to its fifth character: "b" is lost to the first chunk, but the
    # second reads it; "c", the second's sixth character, nobody reads.
    assert pieces(render_chunks(text, chunks, lambda chunk: 5)) == [
        ("chunk", "aaa"),
        ("overlap", "bb"),
        ("overlap", "b"),
        ("chunk", "cc"),
        ("unread", "c"),
        ("plain", " ddd"),
    ]


def test_neighbouring_chunks_differ_in_colour():
    chunks = [Chunk("a", "s", i, i + 1) for i in range(4)]
    html = render_chunks("aaaa", chunks)
    tints = [part.split(";")[0] for part in html.split("background:")[1:]]
    assert len(set(tints)) == 4


# The chunk explorer --------------------------------------------------------------------------

WORDS = Document(" ".join(f"w{i}" for i in range(300)), "words.txt")


def test_explorer_cuts_again_when_a_slider_moves():
    explorer = ChunkExplorer(WORDS, split_by_words)
    # 300 words, 150 a chunk, 20 shared: 0–150, 130–280, 260–300.
    assert is_status(explorer, "3 chunks.")
    explorer.size.value = 100
    # 0–100, 80–180, 160–260, 240–300.
    assert is_status(explorer, "4 chunks.")
    explorer.overlap.value = 0
    assert is_status(explorer, "3 chunks.")
    assert _Page(explorer.output.value).text == WORDS.text


def test_explorer_counts_what_the_embedder_does_not_read():
    explorer = ChunkExplorer(WORDS, split_by_words, unread=lambda text: min(400, len(text)))
    explorer.overlap.value = 0
    # Words 0–149 take 639 characters, 150–299 take 749: both pass 400.
    assert is_status(explorer, "2 chunks; the embedder does not read the end of 2.")


@pytest.mark.parametrize("size", [20, 400])
@pytest.mark.parametrize("overlap", [0, 100])
def test_explorer_survives_extreme_sliders(size, overlap):
    explorer = ChunkExplorer(WORDS, split_by_words)
    explorer.size.value, explorer.overlap.value = size, overlap
    if overlap >= size:
        assert "role='alert'" in explorer.status.value
        assert explorer.output.value == "", "a picture of other settings would mislead"
    else:
        assert _Page(explorer.output.value).text == WORDS.text
    explorer.size.value, explorer.overlap.value = 150, 0
    assert is_status(explorer, "2 chunks.")


def test_explorer_draws_only_the_beginning_of_a_long_document():
    explorer = ChunkExplorer(WORDS, split_by_words, shown=100)
    # The first chunk alone begins within 100 characters; it is drawn whole.
    assert (
        _Page(explorer.output.value).text == WORDS.text[:639]
    )  # w0 to w149: 490 letters, 149 spaces


def test_explorer_refuses_a_document_without_text():
    with pytest.raises(InvalidInputError, match=r"'blank.txt' holds 0 words"):
        ChunkExplorer(Document(" \n", "blank.txt"), split_by_words)


def test_explorer_disables_its_sliders_while_it_cuts():
    seen = []

    def split(document, *, size, overlap):
        if explorer is not None:
            seen.append([control.disabled for control in controls(explorer)])
        return split_by_words(document, size=size, overlap=overlap)

    explorer = None
    explorer = ChunkExplorer(WORDS, split)
    explorer.size.value = 60
    assert seen == [[True, True]]
    assert not any(control.disabled for control in controls(explorer))


# Boxes that ask ------------------------------------------------------------------------------


def test_search_shows_hits_of_the_chosen_retriever():
    first, second = Fixed("tea is hot"), Fixed("ice is cold", "snow is cold")
    box = SearchBox({"first": first, "second": second}, examples=["How cold is ice?"])
    box.retriever.value = "second"
    box.k.value = 1
    box.button.click()
    assert second.asked == [("How cold is ice?", 1)] and first.asked == []
    assert [hit.chunk.text for hit in box.hits] == ["ice is cold"]
    assert "snow" not in box.output.value
    assert _Page(box.output.value).marked == ["ice", "cold"]
    assert is_status(box, "Done in 0.0 s.")


def test_enter_asks_too():
    retriever = Fixed("tea")
    box = SearchBox({"only": retriever})
    box.question.value = "tea?"
    box.question._handle_string_msg(box.question, {"event": "submit"}, [])  # what the browser sends
    assert retriever.asked == [("tea?", 3)]


def test_an_example_fills_the_question_and_asks_nothing_yet():
    retriever = Fixed("tea")
    box = SearchBox({"only": retriever}, examples=["one?", "two?"])
    assert box.question.value == "one?"
    box.examples.value = "two?"
    assert box.question.value == "two?" and retriever.asked == []
    box.examples.value = ""  # the invitation to choose is no question
    assert box.question.value == "two?"


def test_search_refuses_to_choose_among_no_retrievers():
    with pytest.raises(InvalidInputError, match="0 retrievers"):
        SearchBox({})


def test_k_asked_for_is_never_cut_to_the_sliders_end():
    assert SearchBox({"only": Fixed()}, k=50).k.value == 50
    assert QuestionBox(lambda question, k: iter([]), k=12).k.value == 12


def make_boxes(work):
    """Return one box of each kind whose callable is `work()`."""

    class Searching:
        def search(self, question, k=5, *, where=None):
            work()
            return Fixed("tea").search(question, k)

    def stream(prompt, tokens, beams):
        work()
        yield "tea"

    def ask(question, k):
        work()
        yield "tea"
        yield answer("tea", "Pour it.", "Pour it.")

    def ask_once(question):
        work()
        return answer("tea", "Pour it.", "Pour it.")

    return {
        "search": SearchBox({"only": Searching()}, examples=["q?"]),
        "playground": GeneratorPlayground(lambda q, k: Prompt(q, q), stream, examples=["q?"]),
        "question": QuestionBox(ask, examples=["q?"]),
        "compare": CompareBox({"only": ask_once}, examples=["q?"]),
    }


KINDS = ["search", "playground", "question", "compare"]
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_box_is_disabled_and_says_so_while_it_works(kind):
    seen = []

    def look():
        seen.append(({control.disabled for control in controls(box)}, box.status.value))

    box = make_boxes(look)[kind]
    box.button.click()
    assert [disabled for disabled, _ in seen] == [{True}]
    assert "Working …" in seen[0][1]
    assert {control.disabled for control in controls(box)} == {False}
    assert is_status(box, "Done in")


@every_kind
def test_every_control_of_the_box_is_among_those_disabled(kind):
    box = make_boxes(lambda: None)[kind]
    shown, todo = [], list(box.children)
    while todo:
        widget = todo.pop()
        todo += getattr(widget, "children", ())
        if hasattr(widget, "disabled"):
            shown.append(widget)
    assert set(map(id, shown)) == set(map(id, controls(box)))


@every_kind
def test_errors_become_a_sentence_and_the_box_works_again(kind):
    failing = [GeneratorError("k is 0; give at least 1."), ValueError("<b>odd</b>")]

    def work():
        if failing:
            raise failing.pop(0)

    box = make_boxes(work)[kind]
    box.button.click()
    assert is_alert(box, "k is 0; give at least 1.")
    box.button.click()
    assert is_alert(box, "ValueError: <b>odd</b>")
    assert {control.disabled for control in controls(box)} == {False}
    box.button.click()
    assert is_status(box, "Done in")


@every_kind
def test_no_old_result_stands_under_a_question_that_failed(kind):
    failures = iter([False, True])

    def work():
        if next(failures):
            raise GeneratorError("Out of tea.")

    box = make_boxes(work)[kind]
    box.button.click()
    assert "tea" in box.output.value or "Pour" in box.output.value
    box.button.click()
    assert "tea</" not in box.output.value and "Pour" not in box.output.value
    assert getattr(box, "hits", []) == [] and getattr(box, "answer", None) is None
    assert getattr(box, "answers", {}) == {}


@every_kind
@pytest.mark.parametrize("blank", ["", "  \n"])
def test_an_empty_question_is_refused_before_any_work(kind, blank):
    asked = []
    box = make_boxes(lambda: asked.append(1))[kind]
    box.question.value = blank
    box.button.click()
    assert asked == [] and is_alert(box, "The question is empty")


@every_kind
def test_an_interrupted_box_can_be_used_again(kind):
    interrupts = [KeyboardInterrupt()]

    def work():
        if interrupts:
            raise interrupts.pop()

    box = make_boxes(work)[kind]
    with pytest.raises(KeyboardInterrupt):
        box.run()
    assert is_status(box, "Stopped.")
    assert {control.disabled for control in controls(box)} == {False}
    box.run()
    assert is_status(box, "Done in")


def test_playground_shows_the_prompt_and_passes_its_sliders_on():
    asked = []

    def build(question, k):
        asked.append(k)
        return Prompt(question, f"Question: {question}", "Be <brief>.", tokens=17, dropped=(None,))

    def stream(prompt, tokens, beams):
        asked.append((tokens, beams))
        yield from ["Ice ", "is cold."]

    box = GeneratorPlayground(build, stream, examples=["Is ice cold?"])
    box.k.value, box.tokens.value, box.beams.value = 5, 150, 4
    box.button.click()
    assert asked == [5, (150, 4)]
    page = assert_harmless(box.output.value)
    assert "Prompt: 17 tokens, 0 passages, 1 dropped" in page.text
    assert "Be <brief>.\n\nQuestion: Is ice cold?" in page.text
    assert page.text.endswith("Ice is cold.")


def test_playground_shows_text_as_it_is_written():
    seen = []

    def stream(prompt, tokens, beams):
        for piece in ("Ice ", "is ", "cold."):
            yield piece
            seen.append(_Page(box.output.value).text.removeprefix(head))

    box = GeneratorPlayground(lambda q, k: Prompt(q, q, tokens=1), stream, examples=["q?"])
    head = "Prompt: 1 tokens, 0 passages, 0 droppedq?"
    box.button.click()
    assert seen == ["Ice ", "Ice is ", "Ice is cold."]


def test_what_was_written_before_a_failure_is_kept():
    def stream(prompt, tokens, beams):
        yield "Ice is "
        raise GeneratorError("Out of memory; ask for fewer tokens.")

    box = GeneratorPlayground(lambda q, k: Prompt(q, q), stream, examples=["q?"])
    box.button.click()
    assert "Ice is " in box.output.value and is_alert(box, "Out of memory")


def test_question_box_streams_and_then_shows_the_answer_with_its_citation():
    seen = []

    def ask(question, *, k):
        seen.append((question, k))
        for piece in ("Pour ", "it."):
            yield piece
            seen.append(_Page(box.output.value).text)
        yield answer("Pour it on.", "Boil water. Pour it on.", "Pour it on.")

    box = QuestionBox(ask, examples=["How is tea made?"])
    box.k.value = 10
    box.button.click()
    assert seen == [("How is tea made?", 10), "Pour ", "Pour it."]
    page = assert_harmless(box.output.value)
    assert page.text.startswith("Pour it on.Confidence 0.42; dense retriever, fake model.")
    assert page.marked == ["Pour it on."]
    assert box.answer.text == "Pour it on."


@pytest.mark.parametrize("evil", HOSTILE)
def test_nothing_from_documents_questions_or_models_becomes_html(evil):
    def fail(question, k):
        raise ValueError(evil)

    searching = SearchBox({"only": Fixed(evil)}, examples=[evil])
    searching.button.click()
    playing = GeneratorPlayground(
        lambda q, k: Prompt(q, f"{evil} {q}", evil), lambda *_: iter([evil, evil]), examples=[evil]
    )
    playing.button.click()
    hostile = answer(evil, f"{evil} {evil}", evil, metadata={"page": evil}, names=(evil, evil))
    asking = QuestionBox(lambda q, k: iter([evil, hostile]), examples=[evil])
    asking.button.click()
    comparing = CompareBox({evil: lambda q: hostile}, examples=[evil])
    comparing.button.click()
    failing = QuestionBox(fail, examples=[evil])
    failing.button.click()
    exploring = ChunkExplorer(Document(f"{evil} {evil}", evil), split_by_words)
    advice = IndexRecommendation(evil, {evil: 1}, 1.0, Interval(1, 1, 1), 1.0, (evil,))
    choosing = IndexChooser(lambda *_, **__: advice)
    for box in (searching, playing, asking, comparing, failing, exploring, choosing):
        assert_harmless(box.status.value)
        assert evil in assert_harmless(box.output.value).text + _Page(box.status.value).text


def test_hostile_source_and_heading_stay_text():
    evil = HOSTILE[0]
    hit = Hit(Chunk("x", evil, 0, 1, heading=evil), 0.5, 1)
    assert assert_harmless(render_hits([hit], "q")).text.count(evil) == 2
    citation = Citation(hit, "x", 0, 1, 0.5)
    one = Answer("q", "t", (citation,), (hit,), Prompt("q", "q"), 0.5, False, {}, "r", "g")
    assert evil in assert_harmless(render_citations(one)).text


def test_every_control_has_a_label():
    others = [ChunkExplorer(WORDS, split_by_words), IndexChooser(recommend_index)]
    for box in [*make_boxes(lambda: None).values(), *others]:
        assert all(control.description for control in controls(box))


def test_a_long_passage_renders_quickly():
    # The explorer draws at every move of a slider, so a slow rendering would be felt.
    text = "word " * 20_000
    chunks = split_by_words(Document(text, "s"), size=100, overlap=20)
    began = time.process_time()
    assert len(render_chunks(text, chunks)) > len(text)
    assert time.process_time() - began < 2


# The chooser of an index -----------------------------------------------------------------------


def test_chooser_recommends_again_when_a_slider_moves():
    chooser = IndexChooser(recommend_index)
    assert chooser.recommendation == recommend_index(100_000)
    chooser.count.value, chooser.memory.value = 1_000_000, 1_000
    found = recommend_index(1_000_000, memory_mb=1_000)
    assert chooser.recommendation == found
    shown = _Page(chooser.output.value).text
    assert found.kind in shown and all(reason in shown for reason in found.reasons)
    assert is_status(chooser, f"About {found.memory_mb:,.1f} MB")


def test_chooser_shows_what_would_do_when_nothing_does():
    chooser = IndexChooser(recommend_index)
    chooser.count.value, chooser.memory.value = 1_000_000, 1
    assert "role='alert'" in chooser.status.value
    assert "No kind of index over 1,000,000" in _Page(chooser.status.value).text
    assert chooser.output.value == "" and chooser.recommendation is None


# The oldest ipywidgets -----------------------------------------------------------------------

# What stands in ipywidgets 7.7.1 and is used here. TagsInput, for one, came with 8.0.
OLD_ENOUGH = {
    "Button",
    "Dropdown",
    "HBox",
    "HTML",
    "IntSlider",
    "RadioButtons",
    "SelectionSlider",
    "Text",
    "ToggleButtons",
    "VBox",
    "Widget",
}
# Silently ignored by 7.7.1: titles of an Accordion, tooltips of other widgets than buttons.
TOO_NEW = {"titles", "tabbable"}


def test_only_what_ipywidgets_7_offers_is_used():
    names, keywords = set(), set()
    for path in Path(widgets.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "ipw":
                names.add(node.attr)
            if isinstance(node, ast.Call):
                keywords |= {keyword.arg for keyword in node.keywords}
    assert {"Text", "IntSlider"} <= names <= OLD_ENOUGH
    assert not keywords & TOO_NEW


# --- the chart of a training -------------------------------------------------------------------


def told(step, loss=None, score=None, steps=10):
    return SimpleNamespace(step=step, steps=steps, loss=loss, score=score)


def test_chart_draws_loss_and_score_on_scales_of_their_own():
    svg = render_training([(1, 4.0), (5, 2.0)], [(5, 0.5), (10, 0.75)], steps=10, score="recall@5")
    loss, score = re.findall(r'<polyline points="([^"]+)"', svg)
    points = [tuple(map(float, point.split(","))) for point in loss.split()]
    # Later is further right, less is lower; 4 and 2 are the ends of the left scale.
    assert points[0][0] < points[1][0] and points[0][1] < points[1][1]
    lowest, highest = (float(point.split(",")[1]) for point in score.split())
    assert (highest, lowest) == (points[0][1], points[1][1])
    assert 'aria-label="loss from 4 to 2, recall@5 from 0.5 to 0.75"' in svg
    assert [f">{end}</text>" in svg for end in ("4", "2", "0.75", "0.5")] == [True] * 4


def test_words_of_a_chart_take_the_colour_of_the_page_and_can_be_read_on_any():
    svg = render_training([(1, 4.0)], [(5, 0.5)], steps=10, score="recall@5", title="The title")
    assert 'fill="currentColor"' in svg.split(">")[0]
    assert all(word in re.findall(r">([^<]+)</text>", svg) for word in ("loss", "recall@5"))
    assert not re.search(r"<text[^>]*fill", svg)


@pytest.mark.parametrize("losses", [[], [(1, 2.0)], [(1, 2.0), (2, 2.0)]])
def test_chart_stands_little_and_level_data(losses):
    svg = render_training(losses, [], steps=0)
    assert svg.startswith("<svg") and svg.endswith("</svg>") and "nan" not in svg


def test_chart_is_told_of_steps_and_draws_every_score_and_the_last():
    chart = TrainingChart("recall", title="<b>")
    for step in range(1, 11):
        chart(told(step, loss=3.0 - step / 10))
        if step == 6:
            chart(told(6, score=0.5))
            assert chart.chart.value.count("<circle") == 1
            assert "step 6 of 10: loss 2.40, recall 0.500" in chart.status.value
    # Between two drawings steps are kept, not lost.
    points = re.search(r'<polyline points="([^"]+)"', chart.chart.value)[1]
    assert len(points.split()) == 10
    assert "step 10 of 10: loss 2.00" in chart.status.value
    assert "<b>" not in chart.chart.value and "&lt;b&gt;" in chart.chart.value
