"""The pipeline: composed of fakes at the protocols, and equal to the recipe on a real tiny T5."""

import itertools
import json
from importlib.resources import files

import faiss
import numpy as np
import pytest
import torch
from test_generator import ANSWERS, PAIRS, build_checkpoint

from rag_helpers.errors import (
    GeneratorError,
    IndexIntegrityError,
    InvalidInputError,
    ModelNotFoundError,
)
from rag_helpers.evaluation import load_gold_split
from rag_helpers.generator import (
    ChatGenerator,
    ExtractiveGenerator,
    ReadAhead,
    Seq2SeqGenerator,
)
from rag_helpers.index import ChunkIndex
from rag_helpers.pipeline import (
    QuestionLikelihood,
    RagPipeline,
    RetrievalConfidence,
    build_index,
    cite,
    find_retriever,
    load_index,
    load_pipeline,
    pipeline_over,
    rag_pipeline,
    whole_documents,
)
from rag_helpers.pipeline.confidence import load_calibration, odds_when_declined
from rag_helpers.prompting import RECIPE, PromptTemplate
from rag_helpers.records import Answer, Chunk, Document, Generation, Hit
from rag_helpers.retriever import DenseRetriever, KeywordRetriever


class Echo:
    """Answers with the first passage's first word; streams letter by letter."""

    name, template, token_budget = "echo", RECIPE, 100

    def count_tokens(self, text):
        return len(text.split())

    def generate(self, prompts):
        return [Generation(self._text(prompt), 1) for prompt in prompts]

    def stream(self, prompt):
        yield from self._text(prompt)

    @staticmethod
    def _text(prompt):
        return prompt.passages[0].split()[0] if prompt.passages else "nothing"


@pytest.fixture
def chunks(toy_documents):
    return whole_documents(toy_documents)


@pytest.fixture
def pipeline(chunks):
    return RagPipeline(KeywordRetriever(chunks), Echo(), k=2)


def test_answer_carries_everything_it_rests_on(pipeline):
    answer = pipeline.answer("When does ice melt?")
    # "Ice melts at zero degrees." is the only document with one of the words.
    assert (answer.text, answer.hits[0].chunk.source) == ("Ice", "ice.txt")
    assert answer.prompt.hits == answer.hits
    assert (answer.retriever, answer.generator) == ("keyword", "echo")
    assert set(answer.timings_ms) == {"retrieve", "prompt", "generate", "cite", "total"}
    parts = sum(ms for stage, ms in answer.timings_ms.items() if stage != "total")
    assert answer.timings_ms["total"] == pytest.approx(parts)


def test_many_questions_are_answered_in_their_order(pipeline):
    questions = ["Who brews tea?", "Where is the river?", "What is ice?"]
    answers = pipeline.answer_many(questions)
    assert [answer.question for answer in answers] == questions
    assert [answer.text for answer in answers] == ["Tea", "A", "Ice"]
    assert pipeline.answer_many([]) == []


def test_stream_yields_pieces_then_the_answer(pipeline):
    *pieces, answer = pipeline.stream("Who brews tea?")
    assert pieces == ["T", "e", "a"]
    assert isinstance(answer, Answer)
    assert answer.text == pipeline.answer("Who brews tea?").text


def test_k_and_filters_reach_the_retriever(pipeline):
    assert len(pipeline.answer("ice tea bread moon", k=3).hits) == 3
    only = pipeline.answer("ice tea bread", k=5, where={"source": "tea.txt"})
    assert [hit.chunk.source for hit in only.hits] == ["tea.txt"]


def test_no_hit_means_an_abstention(pipeline):
    answer = pipeline.answer("quantum chromodynamics")
    assert answer.abstained and answer.confidence == 0.0 and answer.citations == ()
    assert answer.text == "Nothing in the corpus matches the question."


class Decliner(ExtractiveGenerator):
    """Says of every passage that the answer is not there."""

    def generate(self, prompts):
        return [Generation("Not in the context.") for _ in prompts]


def test_a_generator_that_declines_is_taken_at_its_word(chunks):
    pipeline = RagPipeline(
        KeywordRetriever(chunks), Decliner(), confidence=lambda *_: 0.8, threshold=0.5
    )
    answer = pipeline.answer("When does ice melt?")
    assert answer.abstained and "do not seem to hold the answer" in answer.text
    assert "0.80" in answer.text and "'ice.txt'" in answer.text
    # What is cited is closest to the question, not to the words "not in the context".
    assert answer.citations[0].text == "Ice melts at zero degrees."
    pipeline.threshold = 0.9
    assert "The corpus does not seem to hold" in pipeline.answer("When does ice melt?").text


class OnlyTea(Echo):
    """Answers from a passage about tea, and declines every other; notes what it read."""

    def __init__(self):
        self.read = []

    def _text(self, prompt):
        self.read.append([hit.chunk.source for hit in prompt.hits])
        return "hot water" if "Tea" in prompt.text else "not in the context"

    def stream(self, prompt):
        for word in self._text(prompt).split():
            yield word + " "


@pytest.fixture
def in_turn(chunks):
    """Finds all five passages, ice first and tea last but one, and reads them one by one."""

    class Everything:
        name = "everything"

        def search(self, question, k=5, *, where=None):
            order = [chunks[0], chunks[2], chunks[3], chunks[1], chunks[4]]
            return [Hit(one, 1.0 / n, n) for n, one in enumerate(order[:k], start=1)]

    return RagPipeline(Everything(), OnlyTea(), turns=4)


def test_passages_are_read_in_turn_until_one_holds_the_answer(in_turn):
    answer = in_turn.answer("How is it brewed?")
    assert answer.text == "hot water" and not answer.abstained
    assert in_turn.generator.read == [["ice.txt"], ["bridge.txt"], ["moon.txt"], ["tea.txt"]]
    assert [hit.chunk.source for hit in answer.prompt.hits] == ["tea.txt"]
    assert [citation.source for citation in answer.citations] == ["tea.txt"]
    assert len(answer.hits) == 5 and set(answer.timings_ms) >= {"retrieve", "generate", "total"}


def test_who_has_an_answer_is_not_asked_again(in_turn):
    answers = in_turn.answer_many(["How is tea brewed?", "Is Tea hot?"])
    # The question itself is part of the prompt, so the second is answered from the first passage.
    assert [answer.text for answer in answers] == ["hot water", "hot water"]
    assert len(in_turn.generator.read) == 5


def test_after_the_last_turn_the_pipeline_abstains(in_turn):
    in_turn.turns = 3
    answer = in_turn.answer("How is it brewed?")
    assert answer.abstained and len(in_turn.generator.read) == 3


def test_a_stream_holds_back_what_may_be_declining(in_turn):
    *pieces, answer = in_turn.stream("How is it brewed?")
    assert "".join(pieces) == "hot water " and answer.text == "hot water"
    in_turn.turns = 2
    *pieces, answer = in_turn.stream("How is it brewed?")
    assert pieces == [] and answer.abstained


def test_who_abstains_names_the_passage_that_is_cited(in_turn):
    in_turn.turns = 1
    # What is about brewing stands in the fourth passage, which was not read; ice was found first.
    answer = in_turn.answer("How is it brewed with boiling water?")
    assert answer.abstained and answer.citations[0].source == "tea.txt"
    assert "'tea.txt'" in answer.text and "'ice.txt'" not in answer.text


class Styles(Echo):
    """Answers with the name of the template, which its prompts begin with."""

    template = PromptTemplate("short", "short {context} {question}")

    @staticmethod
    def _text(prompt):
        return prompt.text.split()[0]


IN_FULL = PromptTemplate("full", "full {context} {question}")


@pytest.mark.parametrize(
    ("of_pipeline", "of_question", "expected"),
    [
        ("auto", None, ["full", "short"]),
        ("short", None, ["short", "short"]),
        ("sentences", None, ["full", "full"]),
        ("short", "auto", ["full", "short"]),
        ("auto", "sentences", ["full", "full"]),
        ("sentences", "short", ["short", "short"]),
    ],
)
def test_the_style_chooses_the_prompt(chunks, of_pipeline, of_question, expected):
    pipeline = RagPipeline(KeywordRetriever(chunks), Styles(), explain=IN_FULL, style=of_pipeline)
    questions = ["How do I brew tea?", "When does ice melt?"]
    answers = pipeline.answer_many(questions, style=of_question)
    assert [answer.text for answer in answers] == expected
    *_, last = pipeline.stream(questions[0], style=of_question)
    assert last.text == expected[0]


def test_one_prompt_for_all_questions_has_no_sentences(chunks):
    pipeline = RagPipeline(KeywordRetriever(chunks), Styles())
    assert pipeline.answer("How do I brew tea?").text == "short"
    with pytest.raises(InvalidInputError, match="one prompt for all questions"):
        pipeline.answer("How do I brew tea?", style="sentences")
    with pytest.raises(InvalidInputError, match="style is 'long'; choose one of auto, short"):
        RagPipeline(KeywordRetriever(chunks), Styles(), explain=IN_FULL, style="long")


def test_turns_below_one_are_refused(chunks):
    with pytest.raises(InvalidInputError, match="turns is 0"):
        RagPipeline(KeywordRetriever(chunks), Echo(), turns=0)


@pytest.mark.parametrize("confidence, abstained", [(0.49, True), (0.5, False)])
def test_the_threshold_decides_what_is_said(chunks, confidence, abstained):
    pipeline = RagPipeline(
        KeywordRetriever(chunks), Echo(), confidence=lambda *_: confidence, threshold=0.5
    )
    answer = pipeline.answer("What is ice?")
    assert answer.abstained is abstained
    assert ("does not seem to hold" in answer.text) is abstained
    assert ("0.49" in answer.text and "'ice.txt'" in answer.text) is abstained


@pytest.mark.parametrize("question", ["", "  \n", None])
def test_an_empty_question_is_refused(pipeline, question):
    with pytest.raises(InvalidInputError, match="empty"):
        pipeline.answer(question)


@pytest.mark.parametrize("options", [{"k": 0}, {"threshold": 1.5}, {"threshold": -0.1}])
def test_impossible_settings_are_refused(chunks, options):
    with pytest.raises(InvalidInputError):
        RagPipeline(KeywordRetriever(chunks), Echo(), **options)


# Citations --------------------------------------------------------------------------------


def hits_of(*texts):
    return [Hit(Chunk(t, f"d{i}", 10, 10 + len(t)), 1.0, i + 1) for i, t in enumerate(texts)]


def test_the_sentence_with_most_of_the_answer_comes_first():
    hits = hits_of("Tea is hot. Coffee is hotter.", "Ice melts at zero degrees. It is cold.")
    first, *_ = cite("zero degrees", "When does ice melt?", hits)
    # Both words of the answer stand in it: support 1. Offsets count from the document's start.
    assert (first.text, first.score, first.source) == ("Ice melts at zero degrees.", 1.0, "d1")
    assert (first.start, first.end) == (10, 36)


def test_unsupported_answers_are_cited_with_score_zero():
    (only,) = cite("bananas", "What is tea?", hits_of("Tea is hot.", "Ice is cold."))
    assert only.score == 0.0
    assert cite("x", "y", []) == ()


def test_citations_quote_the_document(toy_documents, pipeline):
    by_source = {document.source: document.text for document in toy_documents}
    for citation in pipeline.answer("ice tea bread moon bridge", k=5).citations:
        assert by_source[citation.source][citation.start : citation.end] == citation.text


# The recipe's function --------------------------------------------------------------------


class Encoder:
    """Has the one method of a SentenceTransformer that the recipe calls."""

    keywords = ("zero", "break", "None")

    def encode(self, texts, convert_to_tensor):
        assert convert_to_tensor
        return torch.tensor([[float(k in t) for k in self.keywords] for t in texts])

    def embed(self, texts, *, titles=None):
        return self.encode(texts, convert_to_tensor=True).numpy().astype(np.float32)


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    folder = build_checkpoint("t5", tmp_path_factory.mktemp("tiny") / "t5")
    # 150 tokens in all, of which the first is the start token.
    return Seq2SeqGenerator(folder, max_new_tokens=149)


@pytest.fixture
def recipe():
    from datasets import Dataset

    texts = [passage for _, passage, _ in PAIRS]
    index = faiss.IndexFlatL2(3)
    index.add(Encoder().embed(texts))
    return index, Dataset.from_dict({"text": texts})


@pytest.mark.seconds
@pytest.mark.parametrize("k", [1, 3, 50])
def test_recipe_pipeline_equals_the_composed_one(t5, recipe, k):
    index, dataset = recipe
    own = ChunkIndex(3)
    chunks = [Chunk(text, f"p{i}", 0, len(text)) for i, text in enumerate(dataset["text"])]
    own.add(chunks, Encoder().embed(dataset["text"]))
    composed = RagPipeline(DenseRetriever(own, Encoder(), collapse=False), t5, k=k)
    for question, _, answer in PAIRS:
        text = rag_pipeline(question, Encoder(), index, t5.model, t5.tokenizer, dataset, k=k)
        assert text.strip() == composed.answer(question).text
        if k == 1:  # what the tiny model has memorized: one passage at a time
            assert text == answer
    assert len(ANSWERS) == len(PAIRS)


@pytest.mark.seconds
def test_recipe_pipeline_refuses_what_it_cannot_do(t5, recipe, tmp_path):
    index, dataset = recipe
    arguments = ("Why?", Encoder(), index, t5.model, t5.tokenizer, dataset)
    with pytest.raises(InvalidInputError, match="k is 0"):
        rag_pipeline(*arguments, k=0)
    with pytest.raises(InvalidInputError, match="empty"):
        rag_pipeline(" ", *arguments[1:])
    with pytest.raises(InvalidInputError, match="3 vectors and the dataset 2"):
        rag_pipeline(*arguments[:-1], dataset.select([0, 1]))
    chat = ChatGenerator(build_checkpoint("llama", tmp_path / "llama"), dtype="float32")
    with pytest.raises(GeneratorError, match="LlamaForCausalLM is a causal model"):
        rag_pipeline("Why?", Encoder(), index, chat.model, chat.tokenizer, dataset)


# Loading ----------------------------------------------------------------------------------


@pytest.fixture
def toy_model(monkeypatch, tmp_path, toy_embedder):
    calls = itertools.count()
    monkeypatch.setattr(
        "rag_helpers.pipeline.loading.load_embedders",
        lambda _, **__: (next(calls), (toy_embedder, toy_embedder))[1],
    )
    monkeypatch.setenv("RAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAG_ADAPTERS", "off")
    return toy_embedder


def test_an_index_is_kept_and_found_by_what_it_holds(toy_model, toy_documents, tmp_path):
    first = load_index(toy_documents)
    assert len(first) == 5  # five short documents, a chunk each
    (folder,) = (tmp_path / "cache" / "indexes").iterdir()
    kept = sorted(path.name for path in folder.iterdir())
    assert load_index(toy_documents).chunks == first.chunks
    assert sorted(path.name for path in folder.iterdir()) == kept
    load_index([*toy_documents, Document("Rain falls.", "rain.txt")])
    load_index(toy_documents, chunks=whole_documents(toy_documents)[:2])
    windows = load_index(toy_documents, window_words=3)
    assert windows.chunks == first.chunks and sum(windows.counts) > sum(first.counts)
    assert len(list((tmp_path / "cache" / "indexes").iterdir())) == 4


def test_a_damaged_kept_index_is_made_anew(toy_model, toy_documents, tmp_path):
    load_index(toy_documents)
    (vectors,) = (tmp_path / "cache" / "indexes").glob("*/vectors-*")
    vectors.write_bytes(b"not an index")
    assert len(load_index(toy_documents)) == 5


def test_a_cache_that_cannot_be_written_costs_time_alone(toy_model, toy_documents, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "indexes").write_text("a file where a folder should be")
    with pytest.warns(UserWarning, match="could not be kept in .*set RAG_CACHE"):
        assert len(load_index(toy_documents)) == 5


def test_the_default_pipeline_answers_from_a_folder(toy_model, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "ice.txt").write_text("Ice melts at zero degrees.", encoding="utf-8")
    pipeline = load_pipeline(corpus=tmp_path / "docs")
    assert isinstance(pipeline.generator, ExtractiveGenerator)
    assert pipeline.answer("When does ice melt?").hits[0].chunk.source == "ice.txt"


def test_a_saved_index_of_another_model_is_refused(toy_model, toy_documents, tmp_path):
    index = build_index(toy_documents)
    index.save(tmp_path / "index", corpus="")
    assert len(load_pipeline(index=tmp_path / "index").answer("ice").hits) >= 1
    toy_model.name = "another"
    with pytest.raises(IndexIntegrityError, match="another"):
        load_pipeline(index=tmp_path / "index")


@pytest.mark.models
def test_the_shipped_reader_names_the_exception_and_cites_its_passage():
    pipeline = load_pipeline()
    assert pipeline.generator.name == "SmolLM2-135M-Instruct + adapter"
    answer = pipeline.answer("What happens when I divide by zero?")
    assert "ZeroDivisionError" in answer.text and not answer.abstained
    assert "ZeroDivisionError" in answer.citations[0].text
    for question in ("What is the walrus operator?", "What is machine learning?"):
        absent = pipeline.answer(question)
        assert absent.abstained and "does not seem to hold the answer" in absent.text
        assert absent.confidence < 0.5 and absent.citations


@pytest.mark.models
def test_passages_read_ahead_give_the_same_answers(tmp_path):
    plain = load_pipeline(style="short")
    plain.generator = ChatGenerator(adapter="auto", dtype="float32")
    ahead = load_pipeline(read_ahead=ReadAhead(tmp_path))
    question = "What happens when I divide by zero?"
    chunks = [hit.chunk for hit in ahead.retriever.search(question, k=2)]
    assert list(ahead.read_ahead(chunks)) == [1, 2]
    # A few words and sentences are asked for in other words, before the passage.
    kept = {path.name for path in tmp_path.iterdir()}
    assert len(kept) == 4
    for one in ("short", "sentences"):
        expected = plain if one == "short" else load_pipeline(style=one)
        expected.generator = plain.generator
        assert ahead.answer(question, k=2, style=one).text == expected.answer(question, k=2).text
    assert {path.name for path in tmp_path.iterdir()} == kept, "a passage was read again"


def test_reading_ahead_needs_a_reader_that_can():
    retriever = KeywordRetriever([Chunk("Ice melts.", "ice", 0, 10)])
    for given in ({"turns": 1}, {}):
        pipeline = RagPipeline(retriever, ExtractiveGenerator(), **given)
        with pytest.raises(InvalidInputError, match="read passages in turn and give a Chat"):
            list(pipeline.read_ahead([]))


@pytest.mark.models
def test_reading_ahead_without_the_tuned_reader_is_refused(tmp_path):
    for given in ({"generator": "extractive"}, {"adapters": False}):
        with pytest.raises(InvalidInputError, match="read_ahead is given and the generator is"):
            load_pipeline(read_ahead=ReadAhead(tmp_path), **given)


# Confidence -------------------------------------------------------------------------------


def test_features_are_what_their_names_say(toy_model, toy_documents):
    index = build_index(toy_documents, with_heading=False)
    hits = DenseRetriever(index, toy_model).search("ice", k=2)
    features = RetrievalConfidence(index, toy_model).features("ice", hits)
    # The question's vector is the ice chunk's: cosine 1; the other hit shares no keyword: 0.
    assert features["best cosine"] == pytest.approx(1.0)
    assert features["cosine above mean"] == pytest.approx(0.5)
    assert features["terms in a hit"] == features["terms in the corpus"] == 1.0
    unknown = RetrievalConfidence(index, toy_model).features("walrus", hits)
    assert unknown["terms in a hit"] == unknown["terms in the corpus"] == 0.0


def test_confidence_rises_with_the_evidence(toy_model, toy_documents):
    index = build_index(toy_documents)
    judge = RetrievalConfidence(index, toy_model, calibration=load_calibration())
    retriever = DenseRetriever(index, toy_model)
    known, unknown = (
        judge(q, retriever.search(q, 2), Generation("")) for q in ("tea water", "walrus xylophone")
    )
    assert 0.0 <= unknown < known <= 1.0
    assert judge("tea", [], Generation("")) == 0.0
    # Who declines lowers the odds by the likelihood ratio of declining, and by nothing else.
    hits, written = retriever.search("tea water", 2), "Not in the context."
    lowered = judge("tea water", hits, Generation(written))
    assert 0.0 < lowered < known
    odds = [p / (1 - p) for p in (lowered, known)]
    assert odds[0] / odds[1] == pytest.approx(odds_when_declined())


def test_the_likelihood_ratio_of_declining_is_counted_with_one_more_of_each():
    counts = json.loads(
        (files("rag_helpers") / "data" / "calibration" / "declined.json").read_text("utf-8")
    )
    shares = [
        (counts[kind]["declined"] + 1) / (counts[kind]["asked"] + 2)
        for kind in ("answerable", "unanswerable")
    ]
    assert odds_when_declined() == pytest.approx(shares[0] / shares[1])
    gold = load_gold_split("dev")
    assert counts["answerable"]["asked"] == sum(bool(q.answers) for q in gold)
    assert counts["unanswerable"]["asked"] == sum(not q.answers for q in gold)


def test_a_passage_is_scored_by_the_question_that_follows_it():
    asked = []

    class Model:
        def log_likelihood(self, prompts, texts):
            asked.append(([prompt.text for prompt in prompts], list(texts)))
            return [-1.0, -2.0]

    score = QuestionLikelihood(Model())
    assert score("When does ice melt?", ["Ice melts.", "Tea {is} hot."]) == [-1.0, -2.0]
    ((prompts, texts),) = asked
    assert texts == ["When does ice melt?"] * 2
    assert "Ice melts." in prompts[0] and "Tea {is} hot." in prompts[1]


@pytest.mark.models
def test_the_reranked_pipeline_asks_the_language_model(toy_documents):
    index = build_index(toy_documents)
    pipeline = pipeline_over(index, retriever="reranked", generator="extractive", k=3)
    assert pipeline.retriever.name.endswith("+reranked")
    question = "Which road goes over water?"
    answer = pipeline.answer(question)
    assert answer.hits[0].chunk.source == "bridge.txt"
    plain = pipeline_over(index, generator="extractive", k=3).retriever.search(question, k=3)
    assert [hit.score for hit in answer.hits] != [hit.score for hit in plain]


def test_a_retriever_is_found_by_name_or_refused_with_all_names(toy_documents, toy_model):
    index = build_index(toy_documents)
    assert find_retriever("keyword", index, toy_model).name == "keyword"
    with pytest.raises(InvalidInputError, match="'bm25': choose dense, keyword, hybrid, reranked"):
        find_retriever("bm25", index, toy_model)
    # A name as on the hub is a cross-encoder's, and there is no hub here.
    with pytest.raises(ModelNotFoundError, match="cross-encoder/none"):
        find_retriever("cross-encoder/none", index, toy_model)
