"""Chunks in Milvus Lite: what it finds, refuses and keeps, against the index in process."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_helpers.errors import IndexIntegrityError, InvalidInputError, ScalingError
from rag_helpers.index import ChunkIndex
from rag_helpers.records import Chunk
from rag_helpers.retriever import build_retriever
from rag_helpers.scaling import MilvusIndex, build_milvus_retriever, same_hits

CURE = "Milvus is not installed: python -m rag_helpers install --scale"
pytest.importorskip("pymilvus", reason=CURE)
pytest.importorskip("milvus_lite", reason=CURE)
pytestmark = pytest.mark.slow

DIMENSION = 16
HOSTILE = 'a "b" \\ \'c\' {d} %e \n] or id != "" é 漢'


def make_corpus(count=200, seed=0):
    """Return chunks with one to three vectors each, of length 1."""
    random = np.random.default_rng(seed)
    counts = random.integers(1, 4, size=count).tolist()
    vectors = random.normal(size=(sum(counts), DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    chunks = [
        Chunk(
            f"text {number} of word{number % 7}",
            f"doc{number % 10}",
            number,
            number + 1,
            title=f"Title {number % 3}",
            metadata={"page": number % 5, "draft": number % 2 == 0, "name": HOSTILE},
        )
        for number in range(count)
    ]
    return chunks, vectors, counts


@pytest.fixture(scope="module")
def corpus():
    return make_corpus()


@pytest.fixture(scope="module")
def both(corpus, tmp_path_factory):
    """The same corpus in process and in Milvus Lite."""
    chunks, vectors, counts = corpus
    index = ChunkIndex(DIMENSION, model="m")
    index.add(chunks, vectors, counts=counts)
    with MilvusIndex(
        str(tmp_path_factory.mktemp("milvus") / "a.db"), dimension=DIMENSION, model="m"
    ) as milvus:
        milvus.add(chunks, vectors, counts=counts)
        yield index, milvus


@pytest.fixture
def fresh(tmp_path):
    with MilvusIndex(str(tmp_path / "b.db"), dimension=2, model="m") as index:
        yield index


def questions(count, seed=1):
    return np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)


@pytest.mark.parametrize("k", [1, 5, 50, 200, 500])
def test_dense_search_finds_what_the_flat_index_finds(both, k):
    index, milvus = both
    for row in questions(10):
        assert same_hits(index.search(row, k)[0], milvus.search(row, k)[0])


def test_dense_search_finds_the_same_after_milvus_wrote_its_segments(tmp_path, corpus, both):
    chunks, vectors, counts = corpus
    with MilvusIndex(str(tmp_path / "c.db"), dimension=DIMENSION) as milvus:
        for start in range(0, len(chunks), 50):
            rows = slice(sum(counts[:start]), sum(counts[: start + 50]))
            some = slice(start, start + 50)
            milvus.add(chunks[some], vectors[rows], counts=counts[some])
            milvus.flush()
        for row in questions(10):
            assert same_hits(both[0].search(row, 10)[0], milvus.search(row, 10)[0])


def test_inner_products_rank_as_in_the_flat_index(tmp_path):
    chunks, vectors, counts = make_corpus(50)
    vectors = vectors * np.linspace(0.5, 3, len(vectors))[:, None]
    index = ChunkIndex(DIMENSION, metric="ip")
    index.add(chunks, vectors, counts=counts)
    with MilvusIndex(str(tmp_path / "d.db"), dimension=DIMENSION, metric="ip") as milvus:
        milvus.add(chunks, vectors, counts=counts)
        for row in questions(5):
            assert same_hits(index.search(row, 10)[0], milvus.search(row, 10)[0])


@pytest.mark.parametrize(
    "where",
    [
        {"source": "doc3"},
        {"source": ["doc3", "doc4"], "page": 3},
        {"page": [1, 2]},
        {"draft": True},
        {"name": HOSTILE},
        {"title": "no such title"},
        {},
    ],
)
def test_filters_allow_what_the_flat_index_allows(both, where):
    index, milvus = both
    row = questions(1)
    found = milvus.search(row, 20, where)[0]
    assert same_hits(index.search(row, 20, where)[0], found)
    assert all(hit.chunk.metadata["name"] == HOSTILE for hit in found)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(), st.text(min_size=1))
def test_no_filter_finds_what_it_does_not_name(both, value, key):
    _, milvus = both
    assert milvus.search(questions(1), 5, {"source": f"x{value}"}) == [[]]
    if key not in ("page", "draft", "name", "source", "title", "heading"):
        with pytest.raises((InvalidInputError, ScalingError)):
            milvus.search(questions(1), 5, {key: value})


def test_an_unknown_key_of_a_filter_is_named(both):
    with pytest.raises(InvalidInputError, match="where names 'pages', which no chunk has"):
        both[1].search(questions(1), 5, {"pages": 1})


def test_words_are_found_with_their_signs_and_stems(fresh):
    chunks = [Chunk("x := y binds", "walrus", 0, 12), Chunk("x @ y multiplies", "mul", 0, 16)]
    fresh.add(chunks, np.eye(2))

    class Nothing:
        def embed(self, texts, *, titles=None):
            return np.ones((len(texts), 2), np.float32)

    words = build_milvus_retriever("keyword", fresh, Nothing())
    assert [hit.chunk.source for hit in words.search("What does := mean?")] == ["walrus"]
    assert [hit.chunk.source for hit in words.search("multiplying")] == ["mul"]
    assert words.search("zebra") == [] and words.search("?") == []
    hit = words.search("binds")[0]
    assert hit.score > 0 and hit.rank == 1 and hit.retriever == "keyword"
    with pytest.raises(InvalidInputError, match="The question is ' '"):
        words.search(" ")


def test_keyword_search_ranks_as_in_process(both):
    index, milvus = both
    here = build_retriever("keyword", index, None).search("word3 text 17", k=10)
    there = build_milvus_retriever("keyword", milvus, None).search("word3 text 17", k=10)
    assert here[0].chunk.id == there[0].chunk.id
    assert {hit.chunk.text.split()[-1] for hit in here[:5]} == {
        hit.chunk.text.split()[-1] for hit in there[:5]
    }


def test_the_same_chunk_is_there_once_however_often_it_comes(fresh):
    chunks = [Chunk("ice", "a", 0, 3), Chunk("tea", "b", 0, 3)]
    for _ in range(3):
        fresh.add(chunks, np.eye(2))
    fresh.add(chunks, np.ones((4, 2)), counts=[2, 2])
    assert (len(fresh), fresh.vector_count) == (2, 4)
    assert [hit.rank for hit in fresh.search([1, 0], 5)[0]] == [1, 2]


def test_documents_are_removed_with_all_their_vectors(fresh):
    chunks = [Chunk("ice", "a", 0, 3), Chunk("ice", HOSTILE, 0, 3), Chunk("tea", "b", 0, 3)]
    fresh.add(chunks, np.ones((6, 2)), counts=[2, 2, 2])
    assert fresh.remove([HOSTILE, "nobody"]) == 1
    assert fresh.remove([]) == 0
    assert (len(fresh), fresh.vector_count) == (2, 4)
    assert {hit.chunk.source for hit in fresh.search([1, 1], 5)[0]} == {"a", "b"}


def test_text_and_metadata_come_back_unchanged(fresh):
    odd = Chunk("lone \ud800 surrogate\0", HOSTILE, 3, 20, heading="\ud800",
                metadata={"a b": HOSTILE, "n": 1.5, "yes": True})  # fmt: skip
    fresh.add([odd], np.eye(2)[:1])
    assert fresh.search([1, 0], 1)[0][0].chunk == odd


def test_an_index_is_opened_as_it_was_left(tmp_path):
    uri = str(tmp_path / "e.db")
    with MilvusIndex(uri, dimension=2, metric="ip", model="m") as index:
        index.add([Chunk("ice", "a", 0, 3)], np.eye(2)[:1])
    with MilvusIndex(uri, model="m") as index:
        assert (len(index), index.dimension, index.metric, index.model) == (1, 2, "ip", "m")
        assert index.search([1, 0], 1)[0][0].chunk.text == "ice"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dimension": 3}, "made with dimension 2, but 3 is in use"),
        ({"model": "n"}, "made with model 'm', but 'n' is in use"),
        ({"metric": "ip"}, "made with metric 'l2', but 'ip' is in use"),
        ({"name": "other"}, "There is no index 'other'"),
    ],
)
def test_an_index_made_otherwise_is_not_opened(tmp_path, given, message):
    uri = str(tmp_path / "f.db")
    with MilvusIndex(uri, dimension=2, model="m"):
        pass
    with pytest.raises(IndexIntegrityError, match=message):
        MilvusIndex(uri, **given)
    # What was refused holds no file: the right one still opens.
    with MilvusIndex(uri, dimension=2, model="m") as index:
        assert len(index) == 0


def test_somebody_elses_collection_is_refused(tmp_path):
    from pymilvus import MilvusClient

    uri = str(tmp_path / "g.db")
    client = MilvusClient(uri)
    client.create_collection("chunks", dimension=2)
    client.insert("chunks", [{"id": 1, "vector": [0.0, 1.0]}])
    client.close()
    with pytest.raises(IndexIntegrityError, match="no index of this course: choose another name"):
        MilvusIndex(uri, dimension=2)


def test_a_making_that_was_broken_off_is_begun_anew(tmp_path):
    from pymilvus import MilvusClient

    uri = str(tmp_path / "h.db")
    with MilvusIndex(uri, dimension=2):
        pass
    client = MilvusClient(uri)
    client.drop_collection("chunks_facts")
    client.close()
    with MilvusIndex(uri, dimension=3) as index:
        index.add([Chunk("ice", "a", 0, 3)], np.eye(3)[:1])
        assert len(index) == 1


@pytest.mark.parametrize(
    ("vectors", "counts"),
    [
        (np.eye(3), None),
        (np.eye(2)[:1], None),
        (np.eye(2), [1, 2]),
        (np.array([[np.nan, 0], [0, 1]]), None),
        ("north", None),
    ],
)
def test_vectors_that_do_not_fit_are_refused_and_nothing_is_written(fresh, vectors, counts):
    with pytest.raises(InvalidInputError):
        fresh.add([Chunk("ice", "a", 0, 3), Chunk("tea", "b", 0, 3)], vectors, counts=counts)
    assert len(fresh) == fresh.vector_count == 0


def test_wrong_searches_are_refused(fresh):
    for call in (
        lambda: fresh.search([1, 0, 0]),
        lambda: fresh.search([1, 0], 0),
        lambda: fresh.search([float("nan"), 0]),
        lambda: fresh.search_words("x", 0),
        lambda: build_milvus_retriever("magic", fresh, None),
    ):
        with pytest.raises(InvalidInputError):
            call()
    assert fresh.search([1, 0]) == [[]]


@pytest.mark.parametrize("name", ["", "a-b", "a b", "1a", "x" * 300, "é"])
def test_names_that_milvus_does_not_take_are_refused(tmp_path, name):
    with pytest.raises(InvalidInputError, match="The index's name is"):
        MilvusIndex(str(tmp_path / "i.db"), name, dimension=2)


def test_a_server_that_is_not_there_is_one_sentence():
    with pytest.raises(ScalingError, match=r"Milvus cannot be reached at http://127\.0\.0\.1:1"):
        MilvusIndex("http://127.0.0.1:1", dimension=2)


def test_a_file_that_cannot_be_opened_is_one_sentence(tmp_path):
    with pytest.raises(ScalingError, match=r"cannot be opened|failed in"):
        MilvusIndex(str(tmp_path / "absent" / "deep" / "j.db"), dimension=2)
