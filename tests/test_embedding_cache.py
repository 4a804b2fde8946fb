"""Vectors kept on disk: never another text's, never a damaged one, and nothing breaks without."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_helpers.embedding import (
    CachedEmbedder,
    EmbeddingStore,
    SentenceEmbedder,
    cached_embedder,
)
from rag_helpers.embedding.batching import BatchedEmbedder
from rag_helpers.errors import InvalidInputError
from rag_helpers.optimization import quantize_dynamic
from rag_helpers.pipeline import build_index
from rag_helpers.records import Document, Embedder

ROOT = Path(__file__).parents[1]
some_settings = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class HashEmbedder(BatchedEmbedder):
    """Vectors that follow from text and title to the last bit, whatever stands beside them."""

    metric = "ip"
    dimension = 8
    max_tokens = 512

    def __init__(self, *, reads_titles=False, fails_after=None):
        self.name = "hashes"
        self.reads_titles = reads_titles
        self.fails_after = fails_after
        self.computed = []
        self._batch_size = 32
        self._model = torch.nn.Linear(1, 1)
        self._folders = ()

    def _encode(self, texts, titles):
        if self.fails_after is not None and len(self.computed) >= self.fails_after:
            raise KeyboardInterrupt
        self.computed += texts
        digests = [
            sha256(f"{title}\0{text}".encode()).digest()
            for text, title in zip(texts, titles, strict=True)
        ]
        return np.array([np.frombuffer(digest, "<u4") for digest in digests], dtype=np.float32)


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore(tmp_path / "cache")


def key_of(vector):
    return sha256(np.asarray(vector, "<f4").tobytes()).digest()


def numbered(count, dimension=8, seed=0):
    """Return vectors whose keys can be told from them."""
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return {key_of(row): row for row in rows}


texts_lists = st.lists(st.lists(st.text(max_size=5), max_size=12), max_size=5)


@pytest.mark.seconds
@given(calls=texts_lists, titled=st.booleans())
@some_settings
def test_any_mix_of_texts_equals_what_is_computed_without_a_cache(tmp_path_factory, calls, titled):
    plain = HashEmbedder(reads_titles=titled)
    store = EmbeddingStore(tmp_path_factory.mktemp("cache"))
    cached = CachedEmbedder(HashEmbedder(reads_titles=titled), store)
    for texts in calls:
        titles = [text[:1] for text in texts]
        found = cached.embed(texts, titles=titles)
        assert found.dtype == np.float32 and found.shape == (len(texts), 8)
        np.testing.assert_array_equal(found, plain.embed(texts, titles=titles))
    # Nothing is computed twice, not even what stands there twice.
    assert len(cached.embedder.computed) == len(
        {text.encode("utf-8", "replace") for texts in calls for text in texts}
    )


def test_the_protocol_is_kept_and_bad_input_refused(store):
    cached = CachedEmbedder(HashEmbedder(), store)
    assert isinstance(cached, Embedder)
    with pytest.raises(InvalidInputError, match="one string"):
        cached.embed("a cat")
    with pytest.raises(InvalidInputError, match="1 entries for 2 texts"):
        cached.embed(["a", "b"], titles=["only one"])


def test_a_text_that_stands_there_twice_is_computed_once():
    embedder = HashEmbedder()
    vectors = embedder.embed(["a", "b", "a", "a"])
    assert sorted(embedder.computed) == ["a", "b"]
    np.testing.assert_array_equal(vectors[0], vectors[2])
    titled = HashEmbedder(reads_titles=True)
    assert len({row.tobytes() for row in titled.embed(["a", "a"], titles=["x", "y"])}) == 2


def test_titles_belong_to_the_key_where_they_are_read(store):
    read, unread = HashEmbedder(reads_titles=True), HashEmbedder()
    for embedder, computed in ((read, 2), (unread, 1)):
        cached = CachedEmbedder(embedder, EmbeddingStore(store.file.parent / str(computed)))
        for title in ("x", "y"):
            cached.embed(["a"], titles=[title])
        assert len(embedder.computed) == computed


def test_what_was_done_before_an_interruption_is_kept(store):
    texts = [f"text {number}" for number in range(600)]
    with pytest.raises(KeyboardInterrupt):
        CachedEmbedder(HashEmbedder(fails_after=300), store).embed(texts)
    again = HashEmbedder()
    CachedEmbedder(again, store).embed(texts)
    assert 600 - 320 <= len(again.computed) <= 600 - 256


# The file


def test_a_damaged_entry_is_made_anew(store):
    embedder = HashEmbedder()
    cached = CachedEmbedder(embedder, store)
    right = cached.embed(["a", "b"])
    with sqlite3.connect(store.file) as connection:
        connection.execute("UPDATE vectors SET vector = zeroblob(32) WHERE rowid = 1")
    connection.close()
    np.testing.assert_array_equal(cached.embed(["a", "b"]), right)
    assert len(embedder.computed) == 3
    cached.embed(["a", "b"])
    assert len(embedder.computed) == 3


def test_a_vector_of_another_length_is_not_taken(store):
    embedder = HashEmbedder()
    cached = CachedEmbedder(embedder, store)
    cached.embed(["a"])
    embedder.dimension = 4  # as if two embedders had one fingerprint
    embedder._encode = lambda texts, _: np.ones((len(texts), 4), dtype=np.float32)
    assert cached.embed(["a"]).tolist() == [[1.0] * 4]


@pytest.mark.parametrize("seed", range(30))
def test_a_file_with_changed_bytes_never_gives_a_wrong_vector(store, seed):
    vectors = numbered(200)
    store.keep(vectors)
    data = bytearray(store.file.read_bytes())
    chance = random.Random(seed)
    if seed % 3 == 0:
        del data[chance.randrange(len(data)) :]
    elif seed % 3 == 1:
        for _ in range(50):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    else:
        start = chance.randrange(len(data))
        data[start : start + 4096] = chance.randbytes(4096)
    store.file.write_bytes(data)
    for key, vector in store.find(vectors).items():
        np.testing.assert_array_equal(vector, vectors[key])
    store.keep(vectors)
    assert store.find(vectors).keys() <= vectors.keys()


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(100)])
def test_what_is_no_database_is_replaced(store, content):
    store.file.parent.mkdir()
    store.file.write_bytes(content)
    vectors = numbered(3)
    assert store.find(vectors) == {}
    store.keep(vectors)
    assert store.find(vectors).keys() == vectors.keys()


def test_the_oldest_uses_are_dropped_when_the_limit_is_passed(tmp_path, monkeypatch):
    store = EmbeddingStore(tmp_path, max_mb=1.0)
    now = time.time()

    def at(day):
        monkeypatch.setattr("rag_helpers.embedding.store.time.time", lambda: now + day * 86_400)

    kept = {day: numbered(100, 384, seed=day) for day in range(8)}
    for day, vectors in kept.items():
        at(2 * day)
        store.keep(vectors)
        store.find(kept[0])  # used again and again
    # 800 vectors of 1,536 bytes and some more need 1.4 MB; a call's more may stand over the limit.
    assert store.file.stat().st_size < 1.25e6
    assert len(store.find(kept[0])) == len(store.find(kept[7])) == 100
    assert not store.find(kept[1])


@pytest.mark.parametrize("max_mb", [0, -1, float("nan")])
def test_a_size_must_be_above_nought(tmp_path, max_mb):
    with pytest.raises(InvalidInputError, match="max_mb"):
        EmbeddingStore(tmp_path, max_mb=max_mb)


def test_where_nothing_can_be_kept_texts_are_embedded_and_it_is_said_once(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    embedder = HashEmbedder()
    cached = CachedEmbedder(embedder, EmbeddingStore(blocked))
    for _ in range(2):
        np.testing.assert_array_equal(cached.embed(["a"]), HashEmbedder().embed(["a"]))
    assert capsys.readouterr().err.count("Vectors are not kept") == 1


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.test_embedding_cache import numbered
from rag_helpers.embedding.store import EmbeddingStore
store = EmbeddingStore(Path({folder!r}))
print("ready", flush=True)
for seed in range({first}, {last}):
    store.keep(numbered(40, seed=seed))
"""


def start_writer(folder, first, last):
    code = WRITER.format(root=str(ROOT), folder=str(folder), first=first, last=last)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    process.stdout.readline()
    return process


@pytest.mark.seconds
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_kill_at_any_moment_leaves_whole_vectors(store):
    chance = random.Random(0)
    for number in range(6):
        pair = [start_writer(store.file.parent, 100 * n, 100 * n + 4000) for n in range(2)]
        time.sleep(chance.uniform(0, 0.25))
        for process in pair:
            process.send_signal(signal.SIGKILL)
            process.wait()
        with sqlite3.connect(store.file) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            keys = [key for (key,) in connection.execute("SELECT key FROM vectors")]
        connection.close()
        found = store.find(keys)
        assert len(found) == len(keys) and len(keys) % 40 == 0, number
        assert all(key == key_of(vector) for key, vector in found.items())
    assert keys


@pytest.mark.seconds
def test_two_processes_at_once_lose_nothing(store):
    pair = [start_writer(store.file.parent, 50 * n, 50 * n + 50) for n in range(2)]
    assert [process.wait() for process in pair] == [0, 0]
    for seed in range(100):
        assert len(store.find(numbered(40, seed=seed))) == 40


# The switch, and who uses it


def test_the_variable_sets_the_size_and_turns_it_off(monkeypatch, tmp_path, toy_embedder):
    monkeypatch.setenv("RAG_CACHE", str(tmp_path))
    monkeypatch.delenv("RAG_EMBEDDING_CACHE_MB", raising=False)
    embedder = HashEmbedder()
    assert cached_embedder(embedder).store.max_mb == 500
    assert cached_embedder(embedder).store.file.parent == tmp_path
    assert cached_embedder(toy_embedder) is toy_embedder
    monkeypatch.setenv("RAG_EMBEDDING_CACHE_MB", "20")
    assert cached_embedder(embedder).store.max_mb == 20
    monkeypatch.setenv("RAG_EMBEDDING_CACHE_MB", "0")
    assert cached_embedder(embedder) is embedder
    for wrong in ("-1", "much", "nan", "inf"):
        monkeypatch.setenv("RAG_EMBEDDING_CACHE_MB", wrong)
        with pytest.raises(InvalidInputError, match=f"RAG_EMBEDDING_CACHE_MB is '{wrong}'"):
            cached_embedder(embedder)


@pytest.mark.parametrize("window_words", [None, 3])
def test_only_changed_documents_are_embedded_again(
    monkeypatch, tmp_path, toy_documents, window_words
):
    monkeypatch.setenv("RAG_CACHE", str(tmp_path))
    monkeypatch.delenv("RAG_EMBEDDING_CACHE_MB", raising=False)
    embedder = HashEmbedder()
    monkeypatch.setattr(
        "rag_helpers.pipeline.loading.load_embedders", lambda _, **__: (embedder, embedder)
    )
    first = build_index(toy_documents, window_words=window_words)
    embedder.computed.clear()
    second = build_index(toy_documents, window_words=window_words)
    assert embedder.computed == []
    np.testing.assert_array_equal(first.vectors(), second.vectors())
    edited = [Document("Rain falls.", "ice.txt", "Ice"), *toy_documents[1:]]
    build_index(edited, window_words=window_words)
    assert embedder.computed and all(text.startswith("Ice\n") for text in embedder.computed)


# Real encoders


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert") / "tiny-bert"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.5,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words))
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 32}')
    return folder


@pytest.fixture(scope="module")
def small(bert):
    return SentenceEmbedder(bert)


words = st.lists(st.sampled_from("abcdefghij"), max_size=40).map(" ".join)


@pytest.mark.seconds
@given(calls=st.lists(st.lists(words, max_size=6), max_size=3))
@some_settings
def test_a_real_encoders_vectors_agree_but_for_rounding_and_come_back_bit_by_bit(
    tmp_path_factory, small, calls
):
    cached = CachedEmbedder(small, EmbeddingStore(tmp_path_factory.mktemp("cache")))
    for texts in calls:
        found = cached.embed(texts)
        np.testing.assert_allclose(found, small.embed(texts), atol=1e-5)
        np.testing.assert_array_equal(cached.embed([*texts, "a new one"])[: len(texts)], found)


@pytest.mark.seconds
def test_whatever_changes_a_vector_changes_the_fingerprint(bert, small, tmp_path):
    import shutil

    other = shutil.copytree(bert, tmp_path / "other")
    (other / "vocab.txt").write_text((bert / "vocab.txt").read_text().replace("\nj", "\nk"))
    changed = [
        small,
        SentenceEmbedder(bert, normalize=False),
        SentenceEmbedder(bert, max_tokens=16),
        SentenceEmbedder(bert, dtype="bfloat16"),
        quantize_dynamic(small),
        SentenceEmbedder(other),
    ]
    assert len({embedder.fingerprint for embedder in changed}) == len(changed)
    # Neither the folder's place nor the batch matters.
    same = shutil.copytree(bert, tmp_path / "same")
    assert SentenceEmbedder(same, batch_size=3).fingerprint == small.fingerprint


@pytest.mark.models
def test_an_adapter_has_vectors_of_its_own():
    published, tuned = SentenceEmbedder(), SentenceEmbedder(adapter="auto")
    assert published.fingerprint != tuned.fingerprint
