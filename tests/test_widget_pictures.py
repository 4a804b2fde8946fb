"""Pictures of widgets, from the state that real widgets save."""

import io
import sys
from html.parser import HTMLParser

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
import pytest
from browser import chromium_or_skip
from tqdm.notebook import tqdm_notebook

from rag_helpers.chunking import split_by_words
from rag_helpers.errors import MissingExtraError, RagError
from rag_helpers.records import Chunk, Document, Hit, Prompt
from rag_helpers.widget_pictures import WIDGET_VIEW, render_html, take_picture
from rag_helpers.widgets import ChunkExplorer, GeneratorPlayground, QuestionBox, SearchBox

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def no_widgets_of_other_tests():
    """A notebook's state is that of all widgets in the process: those of other files too."""
    ipw.Widget.close_all()


def render(widget):
    """Render from what a notebook would save of the widget."""
    return render_html(widget.model_id, ipw.Widget.get_manager_state()["state"])


class _Text(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self._style = set(), [], False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self._style = tag == "style"

    def handle_endtag(self, tag):
        self._style = False

    def handle_data(self, data):
        if not self._style:
            self.texts.append(data)


def text_of(html):
    return " ".join("".join(f"{text} " for text in _Text(html).texts).split())


class Retriever:
    def search(self, question, k=5, *, where=None):
        return [Hit(Chunk("Ice melts at zero degrees.", "ice.txt", 0, 26), 0.61, 1)]


# The course's own widgets --------------------------------------------------------------------


def test_search_box_shows_its_controls_and_hits():
    box = SearchBox({"dense": Retriever(), "keyword": Retriever()}, examples=["When melts ice?"])
    box.k.value = 4
    box.button.click()
    text = text_of(render(box))
    assert "Question When melts ice?" in text
    assert "Examples try one of these … ▾" in text
    assert "Retriever dense ▾" in text and "keyword" not in text
    assert "Hits (k) 4" in text
    assert "Search" in text and "Done in 0.0 s." in text
    assert "ice.txt (score 0.610) Ice melts at zero degrees." in text


def test_chunk_explorer_shows_its_colours():
    explorer = ChunkExplorer(Document("one two three " * 40, "s"), split_by_words)
    html = render(explorer)
    assert "Words 150" in text_of(html) and "Overlap 20" in text_of(html)
    assert explorer.output.value in html and "background:#cfe8fc" in html


def test_playground_and_question_box_show_what_they_did():
    playing = GeneratorPlayground(
        lambda q, k: Prompt(q, q, tokens=3), lambda *_: iter(["Cold."]), examples=["Is ice cold?"]
    )
    playing.button.click()
    assert "Prompt: 3 tokens" in text_of(render(playing))
    assert "New tokens 32" in text_of(render(playing))
    asking = QuestionBox(lambda q, k: iter(["Cold."]))
    assert "Ask in your own words, then press Enter" in text_of(render(asking))


def test_progress_bar_shows_how_far_it_got():
    bar = tqdm_notebook(total=10, desc="embedding", display=False)
    bar.update(7)
    bar.refresh()
    html = render(bar.container)
    assert "embedding" in text_of(html) and "7/10" in text_of(html)
    assert "<progress max='10.0' value='7.0'>" in html
    bar.close()


# Any other that a notebook may use -----------------------------------------------------------

CONTROLS = {
    "label": (lambda: ipw.Label("plain <b>"), "plain <b>"),
    "button": (lambda: ipw.Button(description="Go <b>"), "Go <b>"),
    "text": (lambda: ipw.Text("typed <b>", description="Say"), "Say typed <b>"),
    "textarea": (lambda: ipw.Textarea("two\nlines"), "two lines"),
    "number": (lambda: ipw.IntText(7, description="n"), "n 7"),
    "slider": (lambda: ipw.FloatSlider(0.5, min=0, max=1, description="x"), "x 0.5"),
    "zero": (lambda: ipw.IntSlider(0, description="x"), "x 0"),
    "ticked": (lambda: ipw.Checkbox(True, description="yes", indent=False), "☑ yes"),
    "not ticked": (lambda: ipw.Checkbox(False, description="no"), "☐ no"),
    "dropdown": (lambda: ipw.Dropdown(options=["a", "<b>"], value="<b>"), "<b> ▾"),
    "nothing chosen": (lambda: ipw.Dropdown(options=["a"], value=None), "▾"),
    "pairs": (lambda: ipw.Dropdown(options=[("shown", 1)], value=1), "shown ▾"),
    "toggle": (lambda: ipw.ToggleButtons(options=["a", "<b>"]), "a <b>"),
    "radio": (lambda: ipw.RadioButtons(options=["a", "<b>"], value="<b>"), "○ a ◉ <b>"),
    "radio, nothing chosen": (lambda: ipw.RadioButtons(options=["a"], value=None), "○ a"),
    "html": (lambda: ipw.HTML("<i>slanted</i>"), "slanted"),
    "unknown": (lambda: ipw.ColorPicker(description="hue"), "hue ColorPicker"),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_control_shows_its_label_and_value(name):
    make, expected = CONTROLS[name]
    html = render(make())
    assert text_of(html) == expected
    assert _Text(html).tags <= {"div", "style", "span", "i"}


def test_the_chosen_button_is_marked():
    html = render(ipw.ToggleButtons(options=["left", "right"], value="right"))
    assert "chosen'>right" in html and "chosen'>left" not in html


@pytest.mark.parametrize(("value", "place"), [(0, 0), (50, 64), (100, 128)])
def test_the_sliders_knob_stands_where_the_value_is(value, place):
    # The knob travels 128 of the track's 140 pixels, since it is 12 wide itself.
    assert f"left:{place}px" in render(ipw.IntSlider(value, min=0, max=100))


def test_a_slider_with_a_single_value_does_not_divide_by_zero():
    assert "left:0px" in render(ipw.IntSlider(3, min=3, max=3))


@pytest.mark.parametrize("box", [ipw.Accordion, ipw.Tab])
def test_titled_sections_show_the_chosen_one_open(box):
    widget = box([ipw.Label("first"), ipw.Label("second")])
    widget.set_title(0, "One <b>")
    widget.set_title(1, "Two")
    widget.selected_index = 1
    html = render(widget)
    assert text_of(html) == "One <b> first Two second"
    assert html.index("<details open>") > html.index("first")


def test_boxes_lay_out_in_rows_and_columns():
    html = render(ipw.VBox([ipw.HBox([ipw.Label("a"), ipw.Label("b")]), ipw.Label("c")]))
    assert html.index("class='column'") < html.index("class='row'")
    assert text_of(html) == "a b c"


def test_output_widget_shows_text_tables_pictures_and_widgets_inside():
    inner = ipw.Label("a widget inside")
    output = ipw.Output()
    output.outputs = (
        {"output_type": "stream", "name": "stdout", "text": f"printed {EVIL}\n"},
        {"output_type": "display_data", "data": {"text/plain": f"plain {EVIL}"}, "metadata": {}},
        {"output_type": "display_data", "data": {"text/html": "<table></table>"}, "metadata": {}},
        {"output_type": "display_data", "data": {"image/png": "AAAA\n"}, "metadata": {}},
        {
            "output_type": "display_data",
            "data": {WIDGET_VIEW: {"model_id": inner.model_id}},
            "metadata": {},
        },
    )
    html = render(output)
    assert text_of(html) == f"printed {EVIL} plain {EVIL} a widget inside"
    assert "<table></table>" in html and "src='data:image/png;base64,AAAA'" in html


@pytest.mark.parametrize("layout", [{"display": "none"}, {"visibility": "hidden"}])
def test_what_is_hidden_leaves_no_trace(layout):
    hidden = ipw.Label("secret", layout=layout)
    assert render(hidden) == ""
    assert render(ipw.VBox([hidden])) == ""
    assert text_of(render(ipw.VBox([hidden, ipw.Label("shown")]))) == "shown"


def test_a_widget_that_was_not_saved_leaves_no_trace():
    assert render_html("gone", {}) == ""


def test_state_of_ipywidgets_7_is_understood():
    # Titles stand in `_titles` there, under their positions.
    state = {
        "a": {"model_name": "LabelModel", "state": {"value": "inside"}},
        "b": {
            "model_name": "AccordionModel",
            "state": {"_titles": {"0": "One"}, "children": ["IPY_MODEL_a"], "selected_index": None},
        },
    }
    assert text_of(render_html("b", state)) == "One inside"


@pytest.mark.parametrize("field", ["description", "value", "placeholder"])
def test_text_from_the_state_is_escaped(field):
    html = render(ipw.Text(**{field: EVIL}))
    assert "<img" not in html and EVIL in text_of(html)


# Pictures ------------------------------------------------------------------------------------


@pytest.mark.browser
def test_picture_shows_the_whole_widget_on_white():
    chromium = chromium_or_skip()
    lines = [ipw.HBox([ipw.Label("dark letters"), ipw.IntSlider(50)]), *[ipw.Label("a")] * 39]
    pixels = plt.imread(io.BytesIO(take_picture(render(ipw.VBox(lines)), chromium, width=500)))
    # Forty lines do not fit into a window of 200 pixels, and are there all the same.
    assert pixels.shape[1] == 500 and pixels.shape[0] > 40 * 15
    assert pixels[0, 0, :3].tolist() == [1, 1, 1]
    dark = pixels[..., :3].max(axis=2) < 0.4
    # Letters at the left, down to the last line; nothing but white at the right.
    assert dark[:40, :150].any() and dark[-40:, :150].any() and not dark[:, 400:].any()


@pytest.mark.browser
def test_no_script_runs_while_the_picture_is_taken():
    chromium = chromium_or_skip()
    script = "<script>document.body.style.display='none'</script>"
    html = render(ipw.HTML(f"<b style='background:#00f'>text</b>{script}"))
    pixels = plt.imread(io.BytesIO(take_picture(html, chromium)))[..., :3]
    assert np.all(pixels == [0, 0, 1], axis=2).any()


@pytest.mark.seconds
def test_a_browser_that_does_not_start_is_one_sentence(tmp_path):
    with pytest.raises(RagError, match="does not start") as caught:
        take_picture("<div class='rag-picture'></div>", tmp_path / "chromium")
    assert "\n" not in str(caught.value)


def test_without_playwright_the_cure_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    with pytest.raises(MissingExtraError, match="pip install playwright"):
        take_picture("", tmp_path)
