"""Notebooks in JupyterLab: whole before anything is run, and alive afterwards."""

import shutil

import nbformat
import pytest
from playwright.sync_api import expect

from browser.conftest import IMAGES, faults
from rag_helpers.notebook_builder import NOTEBOOKS, WIDGET_VIEW, build
from rag_helpers.notebook_sources import list_sources

pytestmark = pytest.mark.browser

NAMES = list_sources(NOTEBOOKS)
EVIL = "<img src=x onerror=window.attacked=true>"
TOY = f"""\
# %% [markdown]
# ![A picture in a file](figures/toy.svg)

# %%
import matplotlib.pyplot as plt

_, axes = plt.subplots(facecolor="white")
axes.plot([1, 2]);

# %%
from rag_helpers import Document, split_by_words
from rag_helpers.widgets import ChunkExplorer

ChunkExplorer(Document("word {EVIL} " * 75, "toy"), split_by_words)
"""
# Each would tell that it ran by a name of its own.
ATTACKS = """\
<script>window.attacked='script'</script>
<img src=x onerror="window.attacked='img'">
<svg onload="window.attacked='svg'"></svg>
<details open ontoggle="window.attacked='details'"><summary>x</summary></details>
<iframe srcdoc="<script>parent.attacked='iframe'</script>"></iframe>
<a href="javascript:window.attacked='link'">click me</a>
[click me](javascript:window.attacked='markdown')
"""
HOSTILE = f"""\
# %%
from IPython.display import HTML, display

from rag_helpers import Document, split_by_words
from rag_helpers.evaluation import blind_items
from rag_helpers.generator import ExtractiveGenerator
from rag_helpers.pipeline import RagPipeline
from rag_helpers.prompting import build_prompt
from rag_helpers.records import Chunk
from rag_helpers.retriever import KeywordRetriever
from rag_helpers.widgets import *
from rag_helpers.widgets import render_citations, render_hits, render_status

EVIL = {ATTACKS!r}
chunk = Chunk(EVIL, EVIL, 0, len(EVIL), title=EVIL, heading=EVIL, metadata={{"page": EVIL}})
retriever = KeywordRetriever([chunk])
retriever.name = EVIL
pipeline = RagPipeline(retriever, ExtractiveGenerator())


def ask(question, k):
    yield EVIL
    yield pipeline.answer(question, k=k)


def fail(question, k):
    raise ValueError(EVIL)


def build(question, k):
    return build_prompt(question, retriever.search(question, k), template=pipeline.template,
                        count_tokens=len, token_budget=10_000)


# %%
asked = dict(examples=["click " + EVIL])
boxes = [
    SearchBox({{EVIL: retriever}}, **asked),
    QuestionBox(ask, **asked),
    QuestionBox(fail, **asked),
    GeneratorPlayground(build, lambda *_: iter([EVIL, EVIL]), **asked),
    CompareBox({{EVIL: pipeline.answer}}, **asked),
]
for box in boxes:
    box.run()
    display(box)
display(ChunkExplorer(Document(EVIL * 9, EVIL, EVIL), split_by_words))
answers = {{"a": {{EVIL: EVIL}}, "b": {{EVIL: EVIL}}}}
display(RatingBox(blind_items(answers), {{EVIL: EVIL}}, file="ratings.jsonl", rater=EVIL,
                  passages={{EVIL: EVIL}}))
answer = pipeline.answer("click")
parts = [render_hits(answer.hits, EVIL), render_citations(answer), render_status(EVIL)]
display(HTML("".join(parts)))

# %%
print("the end of the notebook" + "!")
"""
SVG = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 80 20'><rect width='9' height='9'/></svg>"
)


def serve(lab, name, folder=NOTEBOOKS):
    """Copy a built notebook, with what it refers to, to where JupyterLab finds it."""
    path = folder / f"{name}.ipynb"
    if not path.exists():
        pytest.skip(f"{path.name} is not built yet; the cure is: make notebooks")
    shutil.copy(path, lab.folder)
    for part in ("figures", "metrics"):
        if (folder / part).is_dir():
            shutil.copytree(folder / part, lab.folder / part, dirs_exist_ok=True)
    return path.name


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A folder with a notebook that was built as the course's are."""
    folder = tmp_path_factory.mktemp("toy") / "notebooks"
    (folder / "source").mkdir(parents=True)
    (folder / "figures").mkdir()
    (folder / "figures" / "toy.svg").write_text(SVG, encoding="utf-8")
    (folder / "source" / "00_toy.py").write_text(TOY, encoding="utf-8")
    build("00_toy", folder=folder)
    return folder


def count_images(page):
    return page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)").locator(IMAGES).count()


def move_slider_by_keyboard(page, picture):
    """Press → on the first slider; return the status line before and after, and the value."""
    widget = page.locator(".jupyter-widgets.widget-vbox").first
    status, slider = widget.locator("[role=status]"), widget.locator("[role=slider]").first
    status.wait_for(state="visible", timeout=240_000)
    before = status.inner_text()
    slider.focus()
    for _ in range(3):  # the keyboard stays with the slider while it works
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(300)
    expect(status).not_to_have_text(before, timeout=20_000)
    widget.screenshot(path=picture)
    print("screenshot:", picture)
    return before, status.inner_text(), float(slider.get_attribute("aria-valuenow"))


# That the checks can fail --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusted", "fault"), [(True, "Error displaying widget"), (False, "output not shown")]
)
def test_a_saved_widget_and_a_lost_picture_are_found(lab, page, trusted, fault):
    cells = [
        nbformat.v4.new_markdown_cell("![lost](figures/lost.png)"),
        nbformat.v4.new_code_cell(
            "1",
            execution_count=1,
            outputs=[nbformat.v4.new_output("display_data", {WIDGET_VIEW: {"model_id": "gone"}})],
        ),
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    nbformat.write(notebook, lab.folder / "broken.ipynb")
    if trusted:
        lab.trust("broken.ipynb")
    lab.open(page, "broken.ipynb")
    found = faults(page, seconds=2)
    assert fault in found
    assert any("broken image" in other and "lost.png" in other for other in found)


# A notebook of a few cells -------------------------------------------------------------------


def test_built_notebook_opens_whole_and_its_widget_lives(lab, page, toy, tmp_path):
    lab.open(page, serve(lab, "00_toy", toy))
    assert faults(page) == []
    assert count_images(page) == 3  # a file, a figure, and the widget's picture
    lab.run_all(page)
    before, after, value = move_slider_by_keyboard(page, tmp_path / "explorer.png")
    # 300 words, 20 of them shared: 0–150, 130–280, 260–300, and then 0–180, 160–300.
    assert before.startswith("3 chunks.") and after.startswith("2 chunks.")
    assert value == 180  # 150 and three steps of 10
    assert page.evaluate("() => window.attacked") is None
    assert EVIL in page.locator(".jupyter-widgets").first.inner_text()


def run_until_its_end(lab, page, name, cells):
    """Open a notebook of such cells, run it, and return the page's outputs when it has ended."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, lab.folder / name)
    page.on("dialog", lambda dialog: dialog.dismiss())
    lab.open(page, name)
    lab.run_all(page)
    outputs = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output")
    outputs.filter(has_text="the end of the notebook!").wait_for(timeout=120_000)
    page.wait_for_timeout(1500)  # for what would run when an image fails to load
    return outputs


def test_the_attacks_run_where_nothing_is_escaped(lab, page):
    """Else the next test would prove nothing."""
    cells = [f"from IPython.display import HTML\nHTML({ATTACKS!r})", HOSTILE.split("# %%\n")[-1]]
    run_until_its_end(lab, page, "open.ipynb", cells)
    assert page.evaluate("() => window.attacked") is not None


@pytest.mark.timeout(600)
def test_no_attack_of_a_document_runs_in_any_widget(lab, page):
    cells = [cell for cell in HOSTILE.split("# %%\n") if cell.strip()]
    outputs = run_until_its_end(lab, page, "hostile.ipynb", cells)
    assert page.locator(".jp-RenderedText[data-mime-type*=stderr]").count() == 0
    assert page.evaluate("() => window.attacked") is None
    # Every box shows the attack as what it is, a text; nothing can be clicked that would run.
    widgets = page.locator(
        ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell-outputArea > .jp-OutputArea-child"
    )
    shown = [text for text in widgets.all_inner_texts() if "onerror" in text]
    assert len(shown) == 8, shown
    inside = outputs.locator("script, iframe, img, svg, a, [onerror], [onload], [ontoggle]")
    assert inside.count() == 0, inside.all_inner_texts()


# The course ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_notebook_opens_without_a_broken_output(lab, page, name):
    lab.open(page, serve(lab, name))
    assert faults(page) == []
    # The data flow, and in a lesson at least two figures; the capstone draws the reader's own.
    assert count_images(page) >= (1 if name == "capstone" else 3)


@pytest.mark.timeout(600)
def test_chunk_explorer_of_the_course_answers_to_the_keyboard(lab, page, tmp_path):
    lab.open(page, serve(lab, "02_chunking"))
    lab.run_all(page)
    before, after, _ = move_slider_by_keyboard(page, tmp_path / "explorer.png")
    assert "chunks; the embedder does not read the end of" in before
    assert after != before and faults(page) == []
