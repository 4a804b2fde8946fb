"""Every widget of every notebook in JupyterLab: mouse, keyboard, extremes, errors, looks."""

import os
import re
import shutil

import nbformat
import pytest
from playwright.sync_api import expect

from browser.driving import Running
from browser.looks import faults_of_looks, use_theme, use_width
from rag_helpers.notebook_builder import NOTEBOOKS
from rag_helpers.notebook_sources import list_sources, read_source
from rag_helpers.widgets import load_choices

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

# What a reader must find, from top to bottom.
COURSE = {
    "01_setup": ["QuestionBox", "ChoiceBox"],
    "02_chunking": ["ChunkExplorer", "ChoiceBox"],
    "03_retriever": ["SearchBox", "ChoiceBox"],
    "04_generator": ["GeneratorPlayground", "ChoiceBox"],
    "05_pipeline": ["RatingBox", "QuestionBox", "ChoiceBox"],
    "06_fine_tuning": ["TrainingChart", "TrainingChart", "CompareBox", "ChoiceBox"],
    "07_deployment": ["IndexChooser", "QuestionBox", "ChoiceBox"],
    "08_scaling": ["capacity", "ChoiceBox"],
    "capstone": [],
}
# Together these take ten minutes: their models write, or are trained, again and again.
LONG = {"04_generator", "05_pipeline", "06_fine_tuning", "07_deployment"}
EXERCISES = sorted(path.stem for path in (NOTEBOOKS / "exercises").glob("*.ipynb"))
LOOKS = [("JupyterLab Light", 1280), ("JupyterLab Dark", 1280), ("JupyterLab Dark", 800)]


# What a reader does with each kind ------------------------------------------------------------


def sliders(widget):
    return widget.locator("[role=slider]")


def status(widget):
    return widget.locator("[role=status]")


def alert(widget):
    return widget.locator("[role=alert]")


def drive_choices(run, box, name):
    """Check nothing, then every option with its reason, by mouse and by keyboard."""
    for place, choice in enumerate(load_choices(name)):
        row = box.locator(":scope > .widget-vbox").nth(place)
        button, radios = row.get_by_role("button"), row.get_by_role("radio")
        run.click(row, button)
        expect(status(row)).to_have_text("Nothing is chosen yet; choose one.")
        for number, option in enumerate(choice.options):
            if number % 2:  # ipywidgets does not group them: Tab goes to each, arrows to none
                run.press(row, radios.nth(number), "Space")
            else:
                run.click(row, radios.nth(number))
            expect(radios.nth(number)).to_be_checked()
            expect(status(row)).to_be_empty()  # no reason beside another choice
            if number == 0:
                run.click(row, button)
            else:
                run.press(row, button, ("Space", "Enter")[number % 2])
            said = "Right." if option.right else "Not quite."
            expect(status(row)).to_have_text(f"{said} {option.why}")


def try_options(run, box, dropdown):
    """Choose the last option and the first by mouse, the second by keyboard; the first stays."""
    count = dropdown.locator("option").count()
    for place in (count - 1, 0):
        dropdown.select_option(index=place)
        run.check(box)
    dropdown.focus()
    run.page.keyboard.press("Space")  # on a closed list JupyterLab takes the arrows for its cells
    run.page.keyboard.press("ArrowDown")
    run.press(box, dropdown, "Enter")
    assert dropdown.evaluate("node => node.selectedIndex") == min(1, count - 1)
    run.press(box, dropdown, "Home")
    assert dropdown.evaluate("node => node.selectedIndex") == 0


def answers(run, box):
    """Wait for a result."""
    run.settle()
    expect(status(box)).to_contain_text("Done in")
    expect(alert(box)).to_have_count(0)
    run.check(box)


def drive_panel(run, box, name):
    """Ask by Enter and by the button, with every slider at either end; then ask nothing."""
    question = box.get_by_placeholder("Ask in your own words, then press Enter")
    button = box.locator("button")
    handles, dropdowns = sliders(box).all(), box.locator("select").all()
    for handle in handles:
        run.slide(box, handle)
    for dropdown in dropdowns:
        try_options(run, box, dropdown)
        expect(question).not_to_have_value("")
    for handle in handles[:1]:  # as many passages as there may be; few words, which take long
        run.press(box, handle, "End")
    button.click()
    answers(run, box)
    for handle in handles:
        run.press(box, handle, "Home")
    for number in range(dropdowns[-1].locator("option").count() if len(dropdowns) > 1 else 1):
        dropdowns[-1].select_option(index=number)
        question.fill("zqx vvk?")  # nothing of the kind is in the corpus
        ask(run, box, button, "", "Space")
    question.fill("   ")
    for press in (lambda: question.press("Enter"), lambda: button.press("Enter"), button.click):
        press()
        run.check(box)
        expect(alert(box)).to_have_text("The question is empty; write one, then press Enter.")
        expect(box.locator("details, ol, p")).to_have_count(0)  # no answer to another question
    for handle in handles[-1:]:
        run.press(box, handle, "End")
    dropdowns[0].select_option(index=1)
    run.check(box)
    example = dropdowns[0].locator("option").nth(1).inner_text().split()  # no-break spaces
    words = r"\s+".join(map(re.escape, example))
    expect(question).to_have_value(re.compile(rf"^{words}\s*$"))
    ask(run, box, question, "What happens when I divide by zero?", "Enter")


def ask(run, box, control, text, key):
    """Type a question into a control if there is any, and press a key that asks it."""
    if text:
        control.fill("")
        control.press_sequentially(text)
    control.press(key)
    answers(run, box)
    expect(control).to_be_focused()  # a reader goes on with the keyboard


def drive_explorer(run, box, name):
    """Cut at the extremes; more overlap than words is refused in words."""
    size, overlap = sliders(box).all()
    before = status(box).inner_text()
    for handle in (size, overlap):
        run.slide(box, handle)
    expect(status(box)).to_contain_text("chunks")
    expect(status(box)).not_to_have_text(before)
    run.press(box, overlap, "End")  # 20 words, 100 of them shared
    expect(alert(box)).to_contain_text("overlap")
    run.press(box, size, "End")
    expect(alert(box)).to_have_count(0)
    expect(status(box)).to_contain_text("chunks")


def drive_chooser(run, box, name):
    """Read a recommendation at the ends, and why there is none when nothing fits."""
    for handle in sliders(box).all():
        run.slide(box, handle)
    expect(status(box)).to_contain_text("recall")
    count, _, recall = sliders(box).all()
    run.press(box, recall, "End")
    run.press(box, count, "End")  # ten million vectors in a megabyte
    expect(alert(box)).to_contain_text("MB")
    run.press(box, count, "Home")


def drive_rating(run, box, name):
    """Rate by mouse and by keyboard, go to the ends, and lose the file."""
    back, forward = (box.get_by_role("button", name=label) for label in ("Back", "Next"))
    expect(back).to_be_disabled()
    for answer in box.locator(".widget-toggle-buttons").all():
        yes, no = answer.locator("button").all()
        run.click(box, no)
        run.press(box, yes, "Enter")
        expect(status(box)).to_contain_text("Saved.")
    expect(status(box)).to_contain_text("has finished 1 of 10 questions")
    places = 0
    while forward.is_enabled():
        (run.click(box, forward) if places % 2 else run.press(box, forward, "Enter"))
        places += 1
    assert places == 9
    run.click(box, back)
    kept = run.lab.folder / "my_ratings" / "ratings.jsonl"
    kept.rename(kept.with_suffix(".kept"))
    kept.mkdir()  # where no file can be written
    run.click(box, box.get_by_role("button", name="yes").first)
    expect(alert(box)).to_contain_text("the rating was not saved")
    kept.rmdir()
    kept.with_suffix(".kept").rename(kept)
    run.click(box, box.get_by_role("button", name="no").first)
    expect(status(box)).to_contain_text("Saved.")


def drive_chart(run, chart, name):
    """Nothing to press; what is drawn is said in words too."""
    expect(status(chart)).to_contain_text("loss")
    label = chart.locator("svg[role=img]").get_attribute("aria-label")
    assert "loss from" in label
    assert ("recall@5 from" in label) == ("recall@5" in status(chart).inner_text())
    assert sliders(chart).count() == 0 and chart.get_by_role("button").count() == 0


def drive_capacity(run, box, name):
    """Plan for every kind of index at both ends of the scale."""
    shown = box.locator(".widget-html-content").last
    before = shown.inner_text()
    run.slide(box, sliders(box).first)
    assert shown.inner_text() != before
    try_options(run, box, box.get_by_role("combobox"))
    run.press(box, sliders(box).first, "End")
    expect(shown).to_contain_text(re.compile(r"vectors: \d+(,\d{3}){3}"))  # a thousand million
    try_options(run, box, box.get_by_role("combobox"))


def drive_board(run, board, name):
    """Read the records again, by mouse and by keyboard; spoilt records are told of."""
    button = board.get_by_role("button", name="Look again")
    expect(status(board)).to_contain_text("exercises are done. Next: 1.1")
    for key in ("Enter", "Space"):
        run.press(board, button, key)
        expect(button).to_be_focused()
    run.lab.progress.write_text("{spoilt", encoding="utf-8")
    run.click(board, button)
    expect(status(board)).to_contain_text(run.lab.progress.name)


def reach(run, box, name):
    """Go to every control by the keyboard; what it does is tested without a browser."""
    controls = box.locator("button, input:not([readonly]), select, [role=slider]")
    enabled = [control for control in controls.all() if control.is_enabled()]
    assert enabled
    for control in enabled:
        control.focus()
        run.check(box)
        expect(control).to_be_focused()
        assert control.evaluate("node => node.tabIndex") >= 0  # Tab stops there


DRIVERS = {
    **dict.fromkeys(["QuestionBox", "SearchBox", "GeneratorPlayground"], drive_panel),
    "ChoiceBox": drive_choices,
    "ChunkExplorer": drive_explorer,
    "CompareBox": reach,
    "IndexChooser": drive_chooser,
    "ProgressBoard": drive_board,
    "RatingBox": drive_rating,
    "TrainingChart": drive_chart,
    "capacity": drive_capacity,
}


# The course -----------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path):
    yield tmp_path
    print("screenshots:", tmp_path)


BROKEN = """\
import ipywidgets as ipw
pale = ipw.HTML("<p style='color:#888;background:#999'>pale</p>")
wide = ipw.HTML("<p style='width:3000px'>wide</p>")
button = ipw.Button(description="Words")
button.on_click(lambda _: 1 / 0)
ipw.VBox([pale, wide, button])"""


def test_what_is_wrong_with_a_widget_is_found(lab, page):
    """Else the tests below would prove nothing."""
    cells = [nbformat.v4.new_code_cell(BROKEN), nbformat.v4.new_code_cell("None")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=kernel)
    run = Running(lab, page, notebook, "broken_widget.ipynb")
    run.wait_for_the_end(60)
    kinds, (widget,) = run.widgets()
    assert kinds == ["ChunkExplorer"]  # or what else has such a label
    faults = " ".join(faults_of_looks(widget))
    assert "pale (" in faults and "is cut or scrolls: 300" in faults
    assert run.complaints() == []
    widget.get_by_role("button").click()
    run.settle()
    assert "ZeroDivisionError" in " ".join(run.complaints())


def look(run, kinds, widgets, pictures, name):
    """Take every widget's picture in every look, and return what is wrong with it."""
    faults = []
    for theme, width in LOOKS:
        use_width(run.page, width)
        use_theme(run.page, theme)
        for place, (kind, widget) in enumerate(zip(kinds, widgets, strict=True)):
            # A widget may be higher than the window: what a reader sees is what the window shows.
            widget.evaluate("node => node.scrollIntoView({ block: 'start' })")
            run.page.screenshot(path=pictures / f"{name}_{place}_{kind}_{theme[11:]}_{width}.png")
            faults += [f"{kind}, {theme}, {width}: {fault}" for fault in faults_of_looks(widget)]
    return faults


def read(name):
    """Return a notebook of the course from its source, or one of the exercises."""
    if name.endswith("exercises"):
        return nbformat.read(NOTEBOOKS / "exercises" / f"{name}.ipynb", as_version=4)
    return read_source(NOTEBOOKS / "source" / f"{name}.py")


def test_every_notebook_is_in_the_table():
    assert list(COURSE) == list_sources(NOTEBOOKS)
    for name, kinds in COURSE.items():
        source = (NOTEBOOKS / "source" / f"{name}.py").read_text(encoding="utf-8")
        assert bool(kinds) == ("widgets" in source), name
    for name in EXERCISES:  # of which one is run below
        assert read(name).cells[-1].source.endswith("\nProgressBoard()"), name


@pytest.mark.parametrize(
    "name",
    [
        # Notebook 08 starts Ray.
        pytest.param(name, marks=pytest.mark.xdist_group("cluster") if name[:2] == "08" else ())
        for name in [*(name for name in COURSE if COURSE[name]), *EXERCISES[:1]]
    ],
)
def test_widgets_answer_to_hands_and_can_be_read(lab, page, name, pictures):
    if name in LONG and not os.environ.get("RAG_ALL_WIDGETS"):
        pytest.skip("takes minutes; to run it: RAG_ALL_WIDGETS=1 make test-slow")
    for part in ("figures", "metrics"):
        shutil.copytree(NOTEBOOKS / part, lab.folder / part, dirs_exist_ok=True)
    page.set_viewport_size({"width": 1280, "height": 1000})
    run = Running(lab, page, read(name), f"{name}.ipynb")
    run.wait_for_the_end(600)
    kinds, widgets = run.widgets()
    assert kinds == COURSE.get(name, ["ProgressBoard"])
    for kind, widget in zip(kinds, widgets, strict=True):
        DRIVERS[kind](run, widget, name)
    assert look(run, kinds, widgets, pictures, name) == []
    assert run.complaints() == []
