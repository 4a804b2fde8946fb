"""``ask`` and ``index``, end to end on a toy corpus; only the embedder is a stand-in."""

import json
import shutil
import sys

import pytest

from rag_helpers.__main__ import main
from rag_helpers.commands.ask import _as_text
from rag_helpers.commands.results import (
    PAGES,
    RESULTS,
    ROOT,
    render_details,
)
from rag_helpers.index import ChunkIndex
from rag_helpers.pipeline import RagPipeline, load_pipeline
from rag_helpers.records import Answer, Chunk, Citation, Hit, Prompt
from rag_helpers.retriever import build_retriever


@pytest.fixture(autouse=True)
def no_model(monkeypatch, tmp_path, toy_embedder):
    """Embed by keyword, and keep the cache out of the reader's own."""
    monkeypatch.setattr(
        "rag_helpers.pipeline.loading.load_embedders", lambda _, **__: (toy_embedder,) * 2
    )
    monkeypatch.setenv("RAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RAG_QUESTION", raising=False)


@pytest.fixture
def folder(tmp_path, toy_documents):
    """The toy corpus as a folder of text files."""
    folder = tmp_path / "documents"
    folder.mkdir()
    for document in toy_documents:
        (folder / document.source).write_text(document.text)
    return folder


@pytest.fixture
def index(tmp_path, folder):
    place = tmp_path / "index"
    assert main(["index", "build", str(place), "--corpus", str(folder)]) == 0
    return place


def ask(*words):
    return main(["ask", *map(str, words), "--generator", "extractive", "--retriever", "dense"])


def test_ask_prints_answer_evidence_source_and_times(folder, capsys):
    assert ask("When does ice melt?", "--corpus", folder) == 0
    out = capsys.readouterr().out
    # "ice" is the only keyword of both question and passage: the cosine is 1.
    assert ask("When does ice melt?", "--corpus", folder, "--json") == 0
    confidence = json.loads(capsys.readouterr().out)["confidence"]
    assert confidence == pytest.approx(1.0, abs=0.01)
    told = f"Ice melts at zero degrees.\n\nEvidence: strong (confidence {confidence:.2f})\n"
    assert out.startswith(told)
    assert "[1] ice.txt: Ice melts at zero degrees." in out
    assert "dense + extractive; ms: retrieve " in out


def test_ask_json_prints_one_object_and_nothing_else(folder, capsys, monkeypatch):
    real = RagPipeline.answer

    def chatty(self, question):
        print("progress")
        return real(self, question)

    monkeypatch.setattr(RagPipeline, "answer", chatty)
    assert ask("When", "does", "ice", "melt?", "--json", "--corpus", folder) == 0
    out, err = capsys.readouterr()
    printed = json.loads(out)
    assert set(printed) == {
        "text",
        "citations",
        "confidence",
        "timings_ms",
        "retriever",
        "generator",
    }
    assert printed["text"] == "Ice melts at zero degrees."
    assert (printed["retriever"], printed["generator"]) == ("dense", "extractive")
    assert set(printed["timings_ms"]) == {"retrieve", "prompt", "generate", "cite", "total"}
    first = printed["citations"][0]
    assert set(first) == {"source", "text", "start", "end", "score"}
    assert first["source"] == "ice.txt"
    # Offsets count the document's characters.
    assert (folder / "ice.txt").read_text()[first["start"] : first["end"]] == first["text"]
    assert "progress" in err


def test_ask_takes_the_question_from_the_environment(folder, capsys, monkeypatch):
    monkeypatch.setenv("RAG_QUESTION", "What of tea?")
    assert ask("--corpus", folder) == 0
    assert capsys.readouterr().out.startswith("Tea is brewed with hot water.")


@pytest.mark.parametrize("question", ["", "   "])
def test_ask_without_a_question_shows_how(question, capsys):
    assert ask(question) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert 'rag_helpers ask "What is a decorator?"' in err


@pytest.mark.parametrize("k", ["0", "-1", "many", "1.5"])
def test_an_impossible_k_is_refused_at_once(k, capsys):
    with pytest.raises(SystemExit) as leaving:
        ask("Why?", f"--k={k}")
    assert leaving.value.code == 2
    assert "not a whole number from 1 up" in capsys.readouterr().err


def test_a_corpus_that_is_not_there_is_one_sentence(tmp_path, capsys):
    assert ask("Why?", "--corpus", tmp_path / "absent") == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "absent" in err


def test_an_index_that_is_not_there_is_one_sentence(tmp_path, capsys):
    assert ask("Why?", "--index", tmp_path / "absent") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_ask_uses_a_saved_index(index, folder, capsys):
    (folder / "ice.txt").unlink()  # the index alone is enough
    assert ask("When does ice melt?", "--index", index) == 0
    assert "Ice melts at zero degrees." in capsys.readouterr().out


def test_corpus_and_index_exclude_each_other(tmp_path, capsys):
    with pytest.raises(SystemExit):
        ask("Why?", "--index", tmp_path, "--corpus", tmp_path)
    assert "not allowed with" in capsys.readouterr().err


def sources(index):
    return {chunk.source for chunk in ChunkIndex.load(index).chunks}


def test_index_build_embeds_every_document(capsys, index):
    assert "5 chunks of 5 documents" in capsys.readouterr().out
    assert sources(index) == {"ice.txt", "tea.txt", "bridge.txt", "moon.txt", "bread.txt"}
    assert len(ChunkIndex.load(index).corpus) == 64  # a sha256


def test_index_add_adds_and_replaces(index, folder, capsys):
    (folder / "tea.txt").write_text("Tea is brewed cold.")
    (folder / "snow.txt").write_text("Snow is ice.")
    capsys.readouterr()
    paths = [str(folder / "tea.txt"), str(folder / "snow.txt")]
    assert main(["index", "add", str(index), *paths]) == 0
    assert "2 documents added, 1 of them replaced" in capsys.readouterr().out
    texts = {chunk.source: chunk.text for chunk in ChunkIndex.load(index).chunks}
    assert len(texts) == 6
    assert texts["tea.txt"] == "Tea is brewed cold."
    # The fingerprint was of other documents.
    assert ChunkIndex.load(index).corpus == ""


def test_index_add_refuses_two_documents_of_one_name(index, tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "new.txt").write_text(f"Ice, {name}.")
    before = sources(index)
    assert main(["index", "add", str(index), str(tmp_path / "one"), str(tmp_path / "two")]) == 2
    assert "cited as 'new.txt'" in capsys.readouterr().err
    assert sources(index) == before


def test_index_remove(index, capsys):
    capsys.readouterr()
    assert main(["index", "remove", str(index), "tea.txt", "moon.txt"]) == 0
    assert "2 chunks removed, 3 left" in capsys.readouterr().out
    assert sources(index) == {"ice.txt", "bridge.txt", "bread.txt"}


def test_index_remove_of_an_unknown_document_changes_nothing(index, capsys):
    assert main(["index", "remove", str(index), "tea.txt", "wine.txt"]) == 2
    assert "'wine.txt'" in capsys.readouterr().err
    assert len(sources(index)) == 5


def test_index_info_shows_model_size_and_documents(index, capsys):
    capsys.readouterr()
    assert main(["index", "info", str(index)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "model keywords, dimension 5, metric l2",
        "5 chunks with 5 vectors of 5 documents:",
    ]
    # In the order of the alphabet, with the number of chunks.
    assert [line.split() for line in lines[2:]] == [
        ["1", "bread.txt"],
        ["1", "bridge.txt"],
        ["1", "ice.txt"],
        ["1", "moon.txt"],
        ["1", "tea.txt"],
    ]


def answer(text="Yes.", confidence=0.5, citation="Yes."):
    hit = Hit(Chunk(citation, "a.txt", 0, len(citation)), 1.0, 1)
    return Answer(
        question="Why?",
        text=text,
        citations=(Citation(hit, citation, 0, len(citation), 1.0),),
        hits=(hit,),
        prompt=Prompt("Why?", "Why?"),
        confidence=confidence,
        abstained=False,
        timings_ms={"total": 12.4},
        retriever="dense",
        generator="extractive",
    )


@pytest.mark.parametrize(
    ("confidence", "word"),
    [(0.0, "weak"), (0.39, "weak"), (0.4, "moderate"), (0.7, "strong"), (1.0, "strong")],
)
def test_confidence_is_told_in_a_word_and_a_number(confidence, word):
    assert f"Evidence: {word} (confidence {confidence:.2f})" in _as_text(
        answer(confidence=confidence)
    )


def test_documents_cannot_command_the_terminal():
    shown = _as_text(answer(text="a\x1b[2Jb", citation="c\x1b]0;title\x07\r\nd\u202e"))
    assert shown.splitlines()[0] == "a[2Jb"
    assert "[1] a.txt: c]0;title d" in shown
    assert all(c.isprintable() or c == "\n" for c in shown)


@pytest.fixture
def gold_file(tmp_path):
    rows = [
        {
            "id": "q1",
            "question": "When does ice melt?",
            "answers": ["zero degrees"],
            "evidence": "Ice melts at zero degrees.",
            "source": "ice.txt",
            "kind": "fact",
        },
        {
            "id": "q2",
            "question": "Who painted the ceiling?",
            "answers": [],
            "evidence": None,
            "source": None,
            "kind": "unanswerable",
        },
    ]
    path = tmp_path / "gold.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_evaluate_prints_every_metric_with_its_interval(gold_file, folder, capsys):
    documents = folder
    assert ask_evaluate(gold_file, documents, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    # The ice document is the only one with a word of the question: found at rank 1.
    assert report["recall@1"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert report["n"] == 2
    for name in ("recall@3", "mrr@10", "ndcg@10", "exact_match", "f1", "rougeL"):
        assert set(report[name]) == {"value", "low", "high"}
    assert {"abstention_auroc", "words_per_hit", "attribution", "latency_ms"} <= set(report)


def test_evaluate_without_answers_measures_retrieval_alone(gold_file, folder, capsys):
    assert ask_evaluate(gold_file, folder, "--json", "--retrieval-only") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["recall@1"]["value"] == 1.0 and report["f1"] is None


def test_evaluate_names_the_malformed_line(gold_file, folder, capsys):
    gold_file.write_text(gold_file.read_text(encoding="utf-8") + '\n{"id": "q3"}\n')
    assert ask_evaluate(gold_file, folder) == 2
    assert "line 3" in capsys.readouterr().err


def ask_evaluate(gold, documents, *more):
    # The default generator would first be converted into the test's own cache.
    options = ["--gold", str(gold), "--corpus", str(documents), "--generator", "extractive"]
    return main(["evaluate", *options, *more])


# Results ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_pages_show_the_committed_results(name):
    page = (ROOT / name).read_text(encoding="utf-8")
    assert PAGES[name]() in page, "the cure is: make results"


def test_a_table_shows_gains_over_its_first_row(tmp_path):
    for name in RESULTS.glob("*.json"):
        shutil.copy(name, tmp_path)
    mean = {"value": 0.5, "low": 0.4, "high": 0.6}
    gain = {"value": 0.0312, "low": -0.01, "high": 0.07, "metric": "mrr@10", "p": 0.1}
    first = {"mrr@10": mean, "words_per_hit": 99.6, "ms": 7.2}
    tables = {"parts": {"n": 3, "rows": {"one": first, "two": {**first, "gain": gain}}}}
    (tmp_path / "ablation.json").write_text(json.dumps({"tables": tables, "processor": "2 cores"}))
    text = render_details(tmp_path)
    assert "| system | MRR@10 | MRR@10 more than the first row | words a hit | ms |" in text
    assert "| one | 0.50 [0.40, 0.60] | – | 100 | 7 |" in text
    assert "| two | 0.50 [0.40, 0.60] | +0.031 [-0.010, +0.070] | 100 | 7 |" in text


def test_reasons_for_the_defaults_are_the_committed_figures():
    tables = json.loads((RESULTS / "ablation.json").read_text(encoding="utf-8"))["tables"]
    # The sentences are another question: some of its rows have the names of readers.
    del tables["reader: questions how and why, in sentences"]
    rows = {name: row for table in tables.values() for name, row in table["rows"].items()}
    for name in (
        "keywords alone",
        "whole and windows",
        "with keywords, ranks fused",
        "with keywords, scores fused (default)",
        "default over whole chunks, no windows",
    ):
        assert f"{rows[name]['mrr@10']['value']:.3f}" in build_retriever.__doc__, name
    for name in ("best sentence", "as published, three passages"):
        assert f"{rows[name]['contains_answer']['value']:.2f}" in load_pipeline.__doc__, name


def test_results_are_put_between_their_marks_and_nowhere_else(monkeypatch, tmp_path, capsys):
    # By the module's place: the package offers a function of the same name.
    monkeypatch.setattr(sys.modules["rag_helpers.commands.results"], "ROOT", tmp_path)
    pages = [tmp_path / name for name in PAGES]
    old = "before\n<!-- results -->\nold\n<!-- /results -->\nafter\n"
    for page in pages:
        page.parent.mkdir(exist_ok=True)
        page.write_text(old)
    assert main(["results"]) == 0
    for page, render in zip(pages, PAGES.values(), strict=True):
        text = page.read_text(encoding="utf-8")
        assert text == f"before\n<!-- results -->\n{render()}\n<!-- /results -->\nafter\n"
    assert capsys.readouterr().out.count("was brought in step") == len(PAGES)
    assert main(["results"]) == 0
    assert capsys.readouterr().out.count("is in step") == len(PAGES)
    # A page without marks stays as it is, and so do the others.
    for page in pages:
        page.write_text(old)
    pages[1].write_text("no marks")
    assert main(["results"]) == 2
    assert [page.read_text() for page in pages] == [old, "no marks", *[old] * (len(PAGES) - 2)]
