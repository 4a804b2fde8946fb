"""Before and after, and the adapters that ship: the parts around the training itself."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rag_helpers.errors import TrainingError
from rag_helpers.fine_tuning import NOT_IN_CONTEXT, GeneratorPair, xquad
from rag_helpers.fine_tuning.measuring import answer_scores, compare_scores, retrieval_scores
from rag_helpers.fine_tuning.shipping import (
    QuestionSet,
    export_adapter,
    load_question_sets,
    make_adapters,
    sentence_prompts,
)
from rag_helpers.records import Chunk, Document, Generation, GoldQuestion, Prompt

TEXTS = {
    "ice": "Ice melts at zero degrees.",
    "tea": "Tea is brewed hot.",
    "moon": "The moon turns once a month.",
}
DOCUMENTS = [Document(text, name) for name, text in TEXTS.items()]
CHUNKS = [Chunk(d.text, d.source, 0, len(d.text)) for d in DOCUMENTS]
GOLD = [
    GoldQuestion("q1", "At what degree does ice melt?", ("zero",), TEXTS["ice"], "ice", "fact"),
    GoldQuestion("q2", "What is ice in tea?", ("hot",), TEXTS["tea"], "tea", "fact"),
    GoldQuestion("q3", "Who is it?", (), None, None, "unanswerable"),
]


class Words:
    """Embeds a text as the two words it may hold, so that every product can be worked out."""

    def embed(self, texts, *, titles=None):
        rows = [["ice" in text.lower(), 2 * ("tea" in text.lower())] for text in texts]
        return np.array(rows, dtype=np.float32)


def test_retrieval_is_scored_by_the_rank_of_the_right_chunk():
    scores = retrieval_scores(Words(), GOLD, DOCUMENTS, CHUNKS)
    # q1 is (1, 0): ice 1, tea 0, moon 0: rank 1. q2 is (1, 2): ice 1, tea 4: rank 1.
    assert scores == {"recall@1": [1, 1], "recall@5": [1, 1], "MRR@10": [1, 1]}
    others = [Chunk("Ice and tea.", f"copy {n}", 0, 12) for n in range(5)]
    scores = retrieval_scores(Words(), GOLD, DOCUMENTS, [*others, *CHUNKS])
    # For q2 each of the five has 1 + 4, the tea 4: rank 6. For q1 all have 1: a tie, and the
    # five come first: rank 6 as well.
    assert scores["recall@5"] == [0, 0]
    assert scores["MRR@10"] == pytest.approx([1 / 6, 1 / 6])


def test_evidence_in_no_chunk_is_missed():
    scores = retrieval_scores(Words(), GOLD, DOCUMENTS, CHUNKS[:1])
    assert scores["MRR@10"] == [1, 0]


class Parrot:
    """Answers with what it is told to, in order."""

    def __init__(self, *texts):
        self.texts = texts

    def generate(self, prompts):
        return [Generation(text) for text in self.texts[: len(prompts)]]


def test_answers_are_scored_where_there_is_one_and_declining_elsewhere():
    pairs = [
        GeneratorPair("q1", Prompt("?", "a"), "zero"),
        GeneratorPair("q2", Prompt("?", "b"), "hot"),
        GeneratorPair("q3", Prompt("?", "c"), NOT_IN_CONTEXT),
        GeneratorPair("q1 elsewhere", Prompt("?", "d"), NOT_IN_CONTEXT),
    ]
    known = {question.id: question.answers for question in GOLD}
    parrot = Parrot("Zero.", "hot tea", "It is not in the context.", "zero")
    # "hot tea" for "hot": precision 1/2, recall 1, so F1 is 2/3.
    assert answer_scores(parrot, pairs, known) == {
        "exact match": [1.0, 0.0],
        "F1": [1.0, pytest.approx(2 / 3)],
        "declined rightly": [1.0, 0.0],
    }
    assert "declined rightly" not in answer_scores(parrot, pairs[:2], known)


def test_a_gain_says_when_it_may_be_none():
    before = {"F1": [0.0] * 30, "EM": [0.0, 1.0] * 15}
    sure, unsure = compare_scores(before, {"F1": [1.0] * 30, "EM": [1.0, 0.0] * 15})
    assert str(sure).startswith("F1: 0.000 [0.000, 0.000] before, 1.000 [1.000, 1.000] after")
    assert "includes 0" not in str(sure)
    assert "The interval includes 0" in str(unsure) and unsure.test.n == 30
    with pytest.raises(TrainingError, match="measure the same"):
        compare_scores({"F1": [1]}, {"EM": [1]})


# --- what is trained on -----------------------------------------------------------------------


def write_squad(file: Path, articles: dict[str, tuple[str, str, str]]) -> Path:
    data = [
        {
            "title": title,
            "paragraphs": [
                {
                    "context": context,
                    "qas": [{"id": title, "question": question, "answers": [{"text": answer}]}],
                }
            ],
        }
        for title, (context, question, answer) in articles.items()
    ]
    file.write_text(json.dumps({"data": data}), encoding="utf-8")
    return file


@pytest.mark.models
def test_articles_for_the_last_look_are_never_read(tmp_path):
    file = write_squad(
        tmp_path / "squad.json",
        {
            "Kenya": ("Kenya lies in the east of Africa.", "Where is Kenya?", "east of Africa"),
            "Oxygen": ("Oxygen is a gas that burns nothing.", "What is oxygen?", "a gas"),
            "Rhine": ("The Rhine is a river in Europe.", "What is the Rhine?", "a river"),
        },
    )
    train, measure = load_question_sets(file)
    assert [(s.name, len(s.gold)) for s in train][1] == ("XQuAD (English), train articles", 1)
    assert [d.source for s in train[1:] for d in s.documents] == ["Kenya#1"]
    assert [d.source for s in measure[1:] for d in s.documents] == ["Oxygen#1"]
    assert train[1].gold[0].question == "Where is Kenya?"
    # Without the file there are the help topics alone.
    assert [len(sets) for sets in load_question_sets()] == [1, 1]


def test_questions_how_and_why_are_also_asked_for_sentences():
    document = Document("Ice is cold.\n\nIt melts at zero degrees. Salt lowers that point.", "ice")
    quote, chunk = "melts at zero degrees", Chunk(document.text, "ice", 0, len(document.text))
    asked = [
        GoldQuestion("q1", "How do I melt ice?", ("zero",), quote, "ice", "howto"),
        GoldQuestion("q2", "At what degree does it melt?", ("zero",), quote, "ice", "fact"),
        GoldQuestion("q3", "How do I make tea?", (), None, None, "unanswerable"),
    ]
    generator = SimpleNamespace(count_tokens=lambda text: len(text.split()))
    topics = QuestionSet("topics", "MIT", tuple(asked), (document,), (chunk,))
    (pair,) = sentence_prompts(topics, generator, seed=0)
    assert (pair.id, pair.answer) == ("q1 in sentences", "It melts at zero degrees.")
    assert pair.prompt.text.endswith("Answer in full:")
    # Evidence that is the whole passage says nothing of which sentence is meant.
    whole = replace(asked[0], evidence=document.text)
    articles = QuestionSet("articles", "MIT", (whole,), (document,), (chunk,))
    assert sentence_prompts(articles, generator, seed=0) == []


def test_without_titles_paragraphs_are_known_by_their_checksums(tmp_path, monkeypatch):
    monkeypatch.setenv("RAG_CACHE", str(tmp_path / "cache"))
    rows = [
        {
            "id": name,
            "question": f"What of {name}?",
            "context": f"{name}\nis here.",
            "answers": {"text": [name], "answer_start": [0]},
        }
        for name in ("Kenya", "Oxygen", "Rhine")
    ]
    (tmp_path / "set").mkdir()
    text = "\n".join(map(json.dumps, rows))
    (tmp_path / "set" / "train.jsonl").write_text(text, encoding="utf-8")
    parts = {
        part: [sha256(f"{name} is here.".encode()).hexdigest()[:12]]
        for part, name in (("train", "Kenya"), ("choose", "Oxygen"))
    }
    (tmp_path / "parts.json").write_text(json.dumps(parts))
    monkeypatch.setattr(xquad, "_CHECKSUMS", tmp_path / "parts.json")
    asked, texts = xquad.load_xquad_part(tmp_path / "set", "train")
    assert [(q.id, q.source) for q in asked] == [("Kenya", texts[0].source)]
    assert [text.text for text in texts] == ["Kenya\nis here."]
    assert xquad.load_xquad_part(tmp_path / "set", "choose")[0][0].id == "Oxygen"


def test_checksums_of_xquad_are_of_as_many_paragraphs_as_its_articles_have():
    kept = json.loads(xquad._CHECKSUMS.read_text(encoding="utf-8"))
    # Five paragraphs an article; no paragraph is for two uses.
    assert {part: len(kept[part]) for part in kept} == {
        part: 5 * len(titles) for part, titles in xquad._TITLES.items()
    }
    assert not set(kept["train"]) & set(kept["choose"])


@pytest.mark.models
def test_a_file_without_the_articles_is_refused(tmp_path):
    file = write_squad(tmp_path / "squad.json", {"Tea": ("Tea is hot.", "What is tea?", "hot")})
    with pytest.raises(TrainingError, match="none of XQuAD's articles for 'train'"):
        load_question_sets(file)


def test_unknown_halves_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="no half called 'reader'"):
        make_adapters(tmp_path, which=["reader"])


# --- what ships -------------------------------------------------------------------------------


def test_an_exported_adapter_is_small_and_does_not_tell_where_it_was_made(tmp_path):
    from safetensors.numpy import load_file, save_file

    source = tmp_path / "trained"
    source.mkdir()
    weights = np.linspace(-0.01, 0.01, 1000, dtype=np.float32).reshape(10, 100)
    save_file({"lora_A": weights}, source / "adapter_model.safetensors")
    config = {"r": 4, "base_model_name_or_path": "/home/somebody/models/x"}
    (source / "adapter_config.json").write_text(json.dumps(config))
    target = tmp_path / "adapters" / "all-MiniLM-L6-v2"
    for card in ("# First", "# Second"):  # the second time it is replaced
        made = export_adapter(source, target, base="all-MiniLM-L6-v2", card=card)
    assert made == target
    assert sorted(path.name for path in target.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert (target / "README.md").read_text() == "# Second"
    kept = json.loads((target / "adapter_config.json").read_text())
    assert kept == {
        "r": 4,
        "base_model_name_or_path": "sentence-transformers/all-MiniLM-L6-v2",
    }
    halves = load_file(target / "adapter_model.safetensors")["lora_A"]
    assert halves.dtype == np.float16
    # Half precision keeps eleven bits of each number.
    np.testing.assert_allclose(halves, weights, rtol=2**-11, atol=2**-24)
