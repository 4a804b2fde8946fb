"""The capstone's parts: documents to begin with, checks of gold questions, the report."""

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest

from rag_helpers.corpus import load_files
from rag_helpers.errors import InvalidInputError
from rag_helpers.evaluation import evaluate, load_gold
from rag_helpers.exercises.capstone import (
    check_gold,
    save_gold,
    write_report,
    write_starter_documents,
)
from rag_helpers.generator import ExtractiveGenerator
from rag_helpers.notebook_builder import NOTEBOOKS
from rag_helpers.pipeline import RagPipeline
from rag_helpers.records import Chunk, Document, GoldQuestion
from rag_helpers.retriever import KeywordRetriever

# The libraries that read and check notebooks take seconds to import.
pytestmark = pytest.mark.seconds

EVIL = "<img src=x onerror=alert(1)>"
TEA = Document("Tea is grown in Assam. It is brewed with hot water.", "tea.txt")
ICE = Document(f"Ice melts at zero degrees {EVIL} | [here](javascript:alert(1)).", "ice.txt")


def ask(name, question, answer, evidence, source):
    return GoldQuestion(name, question, (answer,), evidence, source, "fact")


GOLD = [
    ask("q1", "Where is tea grown?", "Assam", "Tea is grown in Assam.", "tea.txt"),
    ask("q2", "How is tea brewed?", "hot water", "brewed with hot water", "tea.txt"),
    ask("q3", "When does ice melt?", "zero degrees", "melts at zero degrees", "ice.txt"),
    ask("q4", "At what does ice melt?", "zero", "Ice melts at zero", "ice.txt"),
    GoldQuestion("q5", f"Who wrote `{EVIL}`?", (), None, None, "unanswerable"),
]
DOCUMENTS = [TEA, ICE]


def test_starter_documents_are_written_once_and_can_be_loaded(tmp_path):
    folder = tmp_path / "mine" / "documents"
    assert write_starter_documents(folder)
    assert len(load_files(folder)) == 15
    (folder / "break.txt").write_text("My own.")
    assert not write_starter_documents(folder)
    assert (folder / "break.txt").read_text() == "My own."


def test_the_capstones_own_questions_are_sound(tmp_path):
    """Those in the notebook, against the documents it begins with."""
    source = (NOTEBOOKS / "source" / "capstone.py").read_text(encoding="utf-8")
    names = {"GoldQuestion": GoldQuestion}
    exec(re.search(r"(?ms)^gold = \[.*?^\]", source).group(), names)
    write_starter_documents(tmp_path / "documents")
    assert check_gold(names["gold"], load_files(tmp_path / "documents")) == []


def test_sound_questions_have_no_fault_and_survive_the_file(tmp_path):
    assert check_gold(GOLD, DOCUMENTS) == []
    save_gold(GOLD, tmp_path / "new" / "gold.jsonl")
    assert load_gold(tmp_path / "new" / "gold.jsonl") == GOLD


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda gold: gold[:3] + gold[4:], "There are 4 questions"),
        (lambda gold: [*gold, gold[0]], "the id stands twice"),
        (lambda gold: [replace(gold[0], source="coffee.txt"), *gold[1:]], "no document"),
        (lambda gold: [replace(gold[0], evidence="grown in China"), *gold[1:]], "does not stand"),
        (lambda gold: [replace(gold[0], evidence=None), *gold[1:]], "does not stand"),
        (lambda gold: [replace(gold[0], answers=("China",)), *gold[1:]], "stands in its evidence"),
        (lambda gold: [*gold[:4], replace(gold[0], id="q6")], "Every question has an answer"),
    ],
)
def test_each_fault_is_a_sentence(change, fault):
    (found,) = check_gold(change(GOLD), DOCUMENTS)
    assert fault in found


@pytest.fixture(scope="module")
def report():
    chunks = [Chunk(d.text, d.source, 0, len(d.text)) for d in DOCUMENTS]
    retriever = KeywordRetriever(chunks)
    pipeline = RagPipeline(retriever, ExtractiveGenerator(), k=1)
    return evaluate(pipeline, GOLD, DOCUMENTS, search=retriever.search)


def written(path, report, **changes):
    options = {
        "title": f"Mine {EVIL}",
        "documents": DOCUMENTS,
        "chunks": 2,
        "gold": GOLD,
        "reports": {"best | sentence": report},
        "chosen": "best | sentence",
        "reason": EVIL,
        "served": {"What?": f"[x](javascript:alert(1)) {EVIL} `code`"},
        "command": "python -m rag_helpers evaluate --gold gold.jsonl --corpus documents",
    }
    write_report(path, **(options | changes))
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


class _Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)


def test_the_report_says_what_was_measured(tmp_path, report):
    notebook = written(tmp_path / "report.ipynb", report)
    text = unescape("\n".join(cell.source for cell in notebook.cells))
    assert "2 documents" in text and "2 chunks" in text and "5, of which 1 cannot" in text
    for metric in ("answer_in_context", "contains_answer", "f1"):
        assert str(report.metrics[metric]) in text
    for question in GOLD:
        assert question.question in text
    assert all(str(result.outcome) in text for result in report.results)
    assert notebook.cells[-1].source.startswith("!python -m rag_helpers evaluate")
    again = written(tmp_path / "report.ipynb", report)
    assert again == notebook
    assert [path.name for path in tmp_path.iterdir()] == ["report.ipynb"]


def test_foreign_text_in_the_report_is_neither_html_nor_markdown(tmp_path, report):
    notebook = written(tmp_path / "report.ipynb", report)
    for cell in notebook.cells[:-1]:
        assert _Tags(cell.source).tags == []
        assert "](" not in cell.source and "`" not in cell.source
        tables = [line for line in cell.source.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in tables}) <= 1, "a foreign bar would split a cell"


def test_what_was_not_measured_is_not_reported(tmp_path, report):
    with pytest.raises(InvalidInputError, match="'other' was not measured"):
        written(tmp_path / "report.ipynb", report, chosen="other")
    more = [*GOLD, replace(GOLD[0], id="q9")]
    with pytest.raises(InvalidInputError, match="'q9' was not measured"):
        written(tmp_path / "report.ipynb", report, gold=more)
    assert not (tmp_path / "report.ipynb").exists()
