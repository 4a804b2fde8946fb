"""Embedders against independent ways to the same vectors.

DPR's weights cannot be shipped, so tiny encoders of its real architecture, with random weights,
are built here and loaded from disk as the real ones would be. The real MiniLM is compared with
sentence-transformers used directly and with mean pooling written out over transformers.
"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from rag_helpers.embedding import (
    CrossEncoderScorer,
    DprEmbedder,
    SentenceEmbedder,
    load_embedders,
)
from rag_helpers.errors import InvalidInputError, ModelIntegrityError, ModelNotFoundError
from rag_helpers.models import resolve
from rag_helpers.records import Embedder

# Each needs transformers and a checkpoint.
pytestmark = pytest.mark.seconds

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORD_PIECES = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "dog", "?", "."),
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
]
POSITIONS = 64
TEXTS = ["a cat", "the dog saw the cat .", "", "who let the dogs out ?"]


def save_tokenizer(folder):
    """Write what the real repositories hold: a vocabulary and a few settings."""
    (folder / "vocab.txt").write_text("\n".join(WORD_PIECES))
    settings = {"do_lower_case": True, "model_max_length": POSITIONS}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.fixture(scope="module")
def dpr(tmp_path_factory):
    """Folders of a DPR pair: two layers, 32 numbers, random weights."""
    from transformers import DPRConfig, DPRContextEncoder, DPRQuestionEncoder

    root = tmp_path_factory.mktemp("dpr")
    config = DPRConfig(
        vocab_size=len(WORD_PIECES),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=POSITIONS,
        initializer_range=0.5,  # far from nought, so that texts differ clearly
    )
    torch.manual_seed(0)
    for side, encoder in (
        ("ctx_encoder", DPRContextEncoder),
        ("question_encoder", DPRQuestionEncoder),
    ):
        folder = root / f"dpr-{side}-tiny"
        encoder(config).save_pretrained(folder)
        save_tokenizer(folder)
    return root


@pytest.fixture(scope="module")
def passages(dpr):
    return DprEmbedder(dpr / "dpr-ctx_encoder-tiny", batch_size=2)


@pytest.fixture(scope="module")
def questions(dpr):
    return DprEmbedder(dpr / "dpr-question_encoder-tiny")


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A bare BERT of one layer, which sentence-transformers pools by the mean."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert") / "tiny-bert"
    config = BertConfig(
        vocab_size=len(WORD_PIECES),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=POSITIONS,
        initializer_range=0.5,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def ids(*words):
    return torch.tensor([[WORD_PIECES.index(word) for word in words]])


# DPR


def test_dpr_vectors_are_the_cls_state_of_transformers(dpr, passages, questions):
    from transformers import DPRContextEncoder, DPRQuestionEncoder

    pieces = ids("[CLS]", "a", "cat", "[SEP]")
    for embedder, encoder, side in (
        (passages, DPRContextEncoder, "ctx"),
        (questions, DPRQuestionEncoder, "question"),
    ):
        model = encoder.from_pretrained(dpr / f"dpr-{side}_encoder-tiny").eval()
        with torch.inference_mode():
            output = model(pieces, output_hidden_states=True)
        vector = embedder.embed(["A cat"])[0]
        np.testing.assert_allclose(vector, output.pooler_output[0], atol=1e-5)
        # What transformers calls pooled is the last state at [CLS], not a mean.
        np.testing.assert_allclose(vector, output.hidden_states[-1][0, 0], atol=1e-5)


def test_titles_are_read_as_title_sep_text_in_one_segment(dpr, passages):
    from transformers import DPRContextEncoder

    model = DPRContextEncoder.from_pretrained(dpr / "dpr-ctx_encoder-tiny").eval()
    pieces = ids("[CLS]", "dog", "[SEP]", "a", "cat", "[SEP]")
    with torch.inference_mode():
        expected = model(pieces, token_type_ids=torch.zeros_like(pieces)).pooler_output[0]
    titled = passages.embed(["a cat"], titles=["dog"])[0]
    np.testing.assert_allclose(titled, expected, atol=1e-5)
    assert np.abs(titled - passages.embed(["a cat"])[0]).max() > 0.1


def test_a_blank_title_is_no_title(passages):
    np.testing.assert_allclose(
        passages.embed(["a cat", "a dog"], titles=[" ", "cat"])[0],
        passages.embed(["a cat"])[0],
        atol=1e-5,
    )


def test_questions_have_no_titles(questions):
    plain, titled = questions.embed(["a cat"]), questions.embed(["a cat"], titles=["dog"])
    np.testing.assert_array_equal(plain, titled)


def test_a_long_text_is_cut_and_its_title_stays(dpr):
    short = DprEmbedder(dpr / "dpr-ctx_encoder-tiny", max_tokens=6)
    assert short.count_tokens("cat cat cat cat cat") == 7
    # [CLS] dog [SEP] cat cat [SEP] fills the six: what follows cannot matter.
    cut = short.embed(["cat cat a a", "cat cat dog"], titles=["dog", "dog"])
    np.testing.assert_allclose(cut[0], cut[1], atol=1e-5)
    assert np.abs(short.embed(["cat cat"], titles=["cat"])[0] - cut[0]).max() > 0.1


def test_dpr_is_scored_by_inner_product_on_raw_vectors(passages):
    assert passages.metric == "ip"
    # The untrained last LayerNorm scales every state to length √32; normalizing would give 1.
    lengths = np.linalg.norm(passages.embed(TEXTS), axis=1)
    np.testing.assert_allclose(lengths, np.sqrt(32), rtol=1e-3)
    assert passages.dimension == 32


def test_either_name_of_a_pair_gives_the_pair(dpr):
    for name in (dpr / "dpr-ctx_encoder-tiny", str(dpr / "dpr-question_encoder-tiny")):
        passages, questions = load_embedders(name)
        assert (passages.name, questions.name) == (
            "dpr-ctx_encoder-tiny",
            "dpr-question_encoder-tiny",
        )
        assert passages.reads_titles
        assert not questions.reads_titles


def test_a_dpr_folder_without_a_telling_name_has_no_pair(dpr, tmp_path):
    shutil.copytree(dpr / "dpr-ctx_encoder-tiny", tmp_path / "mine")
    with pytest.raises(InvalidInputError, match="DprEmbedder twice"):
        load_embedders(tmp_path / "mine")


def test_a_pair_of_which_half_is_absent_names_the_other_half(dpr, tmp_path):
    shutil.copytree(dpr / "dpr-ctx_encoder-tiny", tmp_path / "dpr-ctx_encoder-half")
    with pytest.raises(ModelNotFoundError, match="dpr-question_encoder-half"):
        load_embedders(tmp_path / "dpr-ctx_encoder-half")


def test_pickled_dpr_weights_give_the_same_vectors(dpr, passages, tmp_path, monkeypatch):
    # The published repositories may hold pytorch_model.bin alone.
    monkeypatch.setenv("RAG_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "dpr-ctx_encoder-pickled"
    shutil.copytree(dpr / "dpr-ctx_encoder-tiny", folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    np.testing.assert_allclose(DprEmbedder(folder).embed(TEXTS), passages.embed(TEXTS), atol=1e-5)


@pytest.mark.parametrize("kind", ["dpr", "bert"])
def test_absent_weights_are_an_error_and_not_random_numbers(kind, dpr, bert, tmp_path):
    source = dpr / "dpr-ctx_encoder-tiny" if kind == "dpr" else bert
    folder = tmp_path / "broken"
    shutil.copytree(source, folder)
    weights = load_file(folder / "model.safetensors")
    lost = next(name for name in weights if "layer.0.output.dense.weight" in name)
    del weights[lost]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelIntegrityError, match=r"lacks 1 weights.*layer\.0\.output\.dense"):
        (DprEmbedder if kind == "dpr" else SentenceEmbedder)(folder)


def test_each_class_refuses_the_others_models(dpr, bert):
    with pytest.raises(InvalidInputError, match="DprEmbedder"):
        SentenceEmbedder(dpr / "dpr-ctx_encoder-tiny")
    with pytest.raises(InvalidInputError, match="SentenceEmbedder"):
        DprEmbedder(bert)


# Both


@pytest.fixture(params=["dpr", "sentence"])
def embedder(request, passages, bert):
    return passages if request.param == "dpr" else SentenceEmbedder(bert)


def test_both_keep_the_protocol_and_the_shape(embedder):
    assert isinstance(embedder, Embedder)
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (4, embedder.dimension)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    assert np.isfinite(vectors).all()
    assert embedder.embed([]).shape == (0, embedder.dimension)
    assert embedder.embed([]).dtype == np.float32


def test_rows_keep_the_order_of_the_texts_whatever_the_batch(embedder):
    together = embedder.embed(TEXTS)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(together[row], embedder.embed([text])[0], atol=1e-5)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("a cat", r"one string.*\[text\]"),
        (["a cat", None], r"texts\[1\] is None of type NoneType"),
        ([b"a cat"], r"texts\[0\].*bytes"),
        ([float("nan")], "float"),
    ],
)
def test_anything_but_strings_is_named_with_its_place(embedder, texts, message):
    with pytest.raises(InvalidInputError, match=message):
        embedder.embed(texts)


def test_titles_must_match_the_texts(embedder):
    with pytest.raises(InvalidInputError, match="1 entries for 2 texts"):
        embedder.embed(["a", "b"], titles=["only one"])
    with pytest.raises(InvalidInputError, match=r"titles\[0\]"):
        embedder.embed(["a"], titles=[None])


def test_hostile_characters_do_not_stop_the_rest(embedder):
    # A lone surrogate is what a broken JSON escape leaves; tokenizers refuse it.
    texts = ["\ud800", "\x00\x01", "🙂" * 5, "a\u202eb", "cat"]
    assert np.isfinite(embedder.embed(texts)).all()
    assert embedder.count_tokens("\ud800") == 3  # read as "?"


def test_tokens_are_counted_uncut_with_both_ends(embedder):
    assert embedder.count_tokens("") == 2  # [CLS] [SEP]
    assert embedder.count_tokens("cat dogs") == 5  # [CLS] cat dog ##s [SEP]
    long = "cat " * 100
    embedder.embed([long])  # cuts; the count afterwards must not
    assert embedder.count_tokens(long) == 102
    with pytest.raises(InvalidInputError):
        embedder.count_tokens(None)


@pytest.mark.parametrize("max_tokens", [2, 0, -1, POSITIONS + 1])
def test_limits_without_positions_are_refused(bert, dpr, max_tokens):
    for build in (
        lambda: SentenceEmbedder(bert, max_tokens=max_tokens),
        lambda: DprEmbedder(dpr / "dpr-ctx_encoder-tiny", max_tokens=max_tokens),
    ):
        with pytest.raises(InvalidInputError, match=rf"max_tokens is {max_tokens}.*{POSITIONS}"):
            build()


def test_other_arguments_out_of_range_are_refused(bert, dpr):
    for build in (SentenceEmbedder, DprEmbedder):
        folder = bert if build is SentenceEmbedder else dpr / "dpr-ctx_encoder-tiny"
        with pytest.raises(InvalidInputError, match="batch_size is 0"):
            build(folder, batch_size=0)
        with pytest.raises(InvalidInputError, match="'int3'"):
            build(folder, dtype="int3")


def test_bfloat16_gives_float32_rows_of_the_same_direction(bert, dpr, passages):
    rows = SentenceEmbedder(bert, dtype="bfloat16").embed(TEXTS)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    exact = SentenceEmbedder(bert).embed(TEXTS)
    # bfloat16 keeps 8 bits: agreement to about 2**-8 a number, never to the last bit.
    assert 0.99 < (rows * exact).sum(axis=1).min() < 1 - 1e-7
    half = DprEmbedder(dpr / "dpr-ctx_encoder-tiny", dtype="bfloat16").embed(TEXTS)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, passages.embed(TEXTS), atol=0.2)


def test_max_tokens_is_what_is_read(bert):
    short = SentenceEmbedder(bert, max_tokens=4)  # [CLS] and two word pieces and [SEP]
    vectors = short.embed(["cat dog", "cat dog a a a", "cat a"])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)
    assert np.abs(vectors[0] - vectors[2]).max() > 0.01


def test_a_pipeline_with_classes_of_its_own_is_refused(bert, tmp_path):
    folder = tmp_path / "foreign"
    shutil.copytree(bert, folder)
    (folder / "evil.py").write_text("raise RuntimeError('code of the model')")
    modules = [{"idx": 0, "name": "0", "path": "", "type": "evil.Module"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelIntegrityError, match=r"evil\.Module"):
        SentenceEmbedder(folder)


def test_a_damaged_configuration_is_named(bert, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(bert, folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelIntegrityError, match=r"config\.json is not JSON"):
        SentenceEmbedder(folder)


# Without padding

sentences = st.lists(
    st.lists(st.sampled_from(["cat", "dog", "?", "."]), max_size=POSITIONS).map(" ".join),
    min_size=1,
    max_size=9,
)


@pytest.fixture(scope="module")
def padded(bert):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(bert), device="cpu")


@given(texts=sentences, tokens_at_once=st.sampled_from([1, 50, 1024]))
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_texts_end_to_end_have_the_vectors_of_padded_texts(
    bert, padded, texts, tokens_at_once, monkeypatch
):
    monkeypatch.setattr("rag_helpers.embedding.ragged._TOKENS_AT_ONCE", tokens_at_once)
    embedder = SentenceEmbedder(bert, normalize=False)
    assert embedder._ragged
    np.testing.assert_allclose(embedder.embed(texts), padded.encode(texts), atol=1e-5)


@pytest.mark.parametrize("mode", ["cls", "max"])
def test_an_encoder_that_pools_otherwise_is_run_as_it_is(bert, tmp_path, mode):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(bert), device="cpu")
    model[1] = type(model[1])(16, pooling_mode=mode)
    model.save(str(tmp_path / mode))
    embedder = SentenceEmbedder(tmp_path / mode, normalize=False)
    assert not embedder._ragged
    np.testing.assert_allclose(embedder.embed(TEXTS), model.encode(TEXTS), atol=1e-5)


# The real MiniLM

SENTENCES = [
    "Division by zero raises ZeroDivisionError.",
    "A decorator wraps a function.",
    "Colourless green ideas sleep furiously. " * 40,  # past 256 word pieces
    "",
]


@pytest.fixture(scope="module")
def minilm():
    return SentenceEmbedder()


@pytest.fixture(scope="module")
def raw_minilm():
    return SentenceEmbedder("sentence-transformers/all-MiniLM-L6-v2", normalize=False)


def mean_pooled(texts, max_tokens=256):
    """MiniLM's vectors without sentence-transformers: the mean over what is no padding."""
    from transformers import AutoModel, AutoTokenizer

    folder = resolve("all-MiniLM-L6-v2")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in texts:  # one by one: no padding whose handling could be wrong
        pieces = tokenizer(text, truncation=True, max_length=max_tokens, return_tensors="pt")
        with torch.inference_mode():
            rows.append(model(**pieces).last_hidden_state[0].mean(dim=0).numpy())
    return np.stack(rows)


@pytest.mark.models
def test_minilm_equals_sentence_transformers_used_directly(minilm):
    from sentence_transformers import SentenceTransformer

    direct = SentenceTransformer(str(resolve("all-MiniLM-L6-v2")), device="cpu")
    cosines = (minilm.embed(SENTENCES) * direct.encode(SENTENCES)).sum(axis=1)
    np.testing.assert_allclose(cosines, 1, atol=1e-5)
    assert (minilm.name, minilm.dimension, minilm.max_tokens, minilm.metric) == (
        "all-MiniLM-L6-v2",
        384,
        256,
        "l2",
    )


@pytest.mark.models
def test_minilm_equals_mean_pooling_written_out(raw_minilm):
    np.testing.assert_allclose(raw_minilm.embed(SENTENCES), mean_pooled(SENTENCES), atol=1e-4)


@pytest.mark.models
def test_normalize_changes_the_length_and_nothing_else(minilm, raw_minilm):
    unit, raw = minilm.embed(SENTENCES), raw_minilm.embed(SENTENCES)
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    # The model's own pipeline ends in a Normalize: had it been left on, all lengths were 1.
    assert lengths.min() > 1.5
    np.testing.assert_allclose(unit, raw / lengths, atol=1e-6)
    assert raw_minilm.metric == "ip"


@pytest.mark.models
def test_minilm_reads_to_512_when_asked(minilm):
    # The word is past the 256th word piece and before the 512th.
    tail = ["green ideas " * 140 + word for word in ("dog", "inflation")]
    assert 256 < minilm.count_tokens(tail[0]) < 512
    unread = minilm.embed(tail)
    np.testing.assert_allclose(unread[0], unread[1], atol=1e-6)
    whole = SentenceEmbedder(max_tokens=512)
    read = whole.embed(tail)
    assert np.abs(read[0] - read[1]).max() > 1e-3
    expected = mean_pooled(tail, max_tokens=512)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(read, expected, atol=1e-5)


@pytest.mark.models
def test_one_minilm_reads_passages_and_questions():
    passages, questions = load_embedders("sentence-transformers/all-MiniLM-L6-v2")
    assert passages is questions
    vectors = passages.embed(SENTENCES[:2])
    question = questions.embed(["What happens when I divide by zero?"])[0]
    assert vectors[0] @ question > vectors[1] @ question


@pytest.mark.models
def test_characters_read_end_where_the_model_stops():
    """The text up to that point, and nothing more, decides the vector."""
    embedder = SentenceEmbedder()
    text = "alpha beta gamma delta " * 200
    read = embedder.count_characters_read(text)
    assert 0 < read < len(text)
    assert embedder.count_tokens(text[:read]) == embedder.max_tokens
    whole, start = embedder.embed([text, text[:read]])
    assert np.allclose(whole, start, atol=1e-5)
    assert embedder.count_characters_read("short") == 5


# Cross-encoders


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory):
    """A BERT of one layer with one output, random weights, as a reranker's repository holds it."""
    return make_classifier(tmp_path_factory.mktemp("cross") / "tiny-ranker", outputs=1)


def make_classifier(folder, outputs):
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=len(WORD_PIECES),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=POSITIONS,
        initializer_range=0.5,
        num_labels=outputs,
    )
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def test_a_cross_encoder_reads_question_and_passage_together(cross_encoder):
    from transformers import BertForSequenceClassification

    scorer = CrossEncoderScorer(cross_encoder, batch_size=2)
    passages = ["a dog .", "the cat", ""]
    scores = scorer("a cat ?", passages)
    model = BertForSequenceClassification.from_pretrained(cross_encoder).eval()
    for passage, score in zip(passages, scores, strict=True):
        first = ["[CLS]", "a", "cat", "?", "[SEP]"]
        words = {"a dog .": ["a", "dog", "."], "the cat": ["t", "##h", "##e", "cat"], "": []}
        second = [*words[passage], "[SEP]"]
        kinds = torch.tensor([[0] * len(first) + [1] * len(second)])
        with torch.inference_mode():
            logit = model(ids(*first, *second), token_type_ids=kinds).logits[0, 0]
        assert score == pytest.approx(float(logit), abs=1e-5)
    assert scorer("a cat ?", []) == []
    assert scorer.name == "tiny-ranker"


def test_what_is_no_reranker_is_refused(cross_encoder, bert, tmp_path):
    with pytest.raises(InvalidInputError, match="BertModel, which is no cross-encoder"):
        CrossEncoderScorer(bert)
    with pytest.raises(InvalidInputError, match="has 3 outputs"):
        CrossEncoderScorer(make_classifier(tmp_path / "three", outputs=3))
    with pytest.raises(InvalidInputError, match="batch_size is 0"):
        CrossEncoderScorer(cross_encoder, batch_size=0)
    with pytest.raises(ModelNotFoundError, match="cross-encoder/none"):
        CrossEncoderScorer("cross-encoder/none")


def test_a_folder_cannot_choose_what_is_done_to_the_scores(cross_encoder, tmp_path):
    folder = shutil.copytree(cross_encoder, tmp_path / "squashed")
    config = json.loads((folder / "config.json").read_text())
    # A function of torch is one that the library would import and call.
    config["sentence_transformers"] = {"activation_fn": "torch.nn.modules.activation.Tanh"}
    (folder / "config.json").write_text(json.dumps(config))
    passages = ["a dog .", "the cat"]
    plain = CrossEncoderScorer(cross_encoder)("a cat ?", passages)
    assert CrossEncoderScorer(folder)("a cat ?", passages) == pytest.approx(plain)
    config["architectures"] = 5
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidInputError, match="no known model"):
        CrossEncoderScorer(folder)


def test_a_cross_encoder_without_its_head_is_refused(cross_encoder, tmp_path):
    folder = shutil.copytree(cross_encoder, tmp_path / "headless")
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: w for name, w in weights.items() if not name.startswith("classifier.")},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(ModelIntegrityError, match="lacks 2 weights"):
        CrossEncoderScorer(folder)
