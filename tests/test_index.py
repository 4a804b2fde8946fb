"""The index: exact search, changes without rebuilding, and folders that are never half."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_helpers.errors import IndexIntegrityError, InvalidInputError
from rag_helpers.index import ChunkIndex, select_chunks
from rag_helpers.index import folder as storage
from rag_helpers.records import Chunk


def chunk(source: str, number: int = 0, **fields) -> Chunk:
    text = fields.pop("text", f"{source} {number}")
    return Chunk(
        text=text, source=source, start=number * 100, end=number * 100 + len(text), **fields
    )


def filled(
    count: int = 4, dimension: int = 3, *, metric="l2", seed: int = 0, **fields
) -> ChunkIndex:
    """An index with one chunk per document: doc0, doc1, …"""
    index = ChunkIndex(dimension, metric=metric, **fields)
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    index.add([chunk(f"doc{number}") for number in range(count)], vectors)
    return index


def sources(hits) -> list[str]:
    return [hit.chunk.source for hit in hits]


def data_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name != "manifest.json")


def edit_manifest(folder: Path, **changes) -> None:
    """Change the manifest as someone would who also corrects its checksum."""
    path = folder / "manifest.json"
    manifest = {**json.loads(path.read_bytes()), **changes}
    manifest = {key: value for key, value in manifest.items() if value is not None}
    path.write_bytes(storage._manifest_bytes(manifest))


# Search


def test_l2_score_is_the_cosine_of_unit_vectors():
    index = ChunkIndex(2)
    index.add([chunk("up"), chunk("down"), chunk("right")], [[0, 1], [0, -1], [1, 0]])
    hits = index.search([0.6, 0.8], k=3)[0]
    # Cosines with (0.6, 0.8): up 0.8, right 0.6, down -0.8.
    assert sources(hits) == ["up", "right", "down"]
    assert [hit.score for hit in hits] == pytest.approx([0.8, 0.6, -0.8], abs=1e-6)
    assert [hit.rank for hit in hits] == [1, 2, 3]


def test_ip_score_is_the_inner_product_and_favours_long_vectors():
    index = ChunkIndex(2, metric="ip")
    index.add([chunk("near"), chunk("long")], [[1, 1], [5, 0]])
    hits = index.search([1.0, 1.0], k=2)[0]
    # 1*5 + 1*0 = 5 beats 1*1 + 1*1 = 2, although "near" equals the question.
    assert [(hit.chunk.source, hit.score) for hit in hits] == [("long", 5.0), ("near", 2.0)]


# Small whole numbers: sums are exact in float32, and ties are frequent.
ROWS = st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(
    rows=ROWS,
    questions=ROWS,
    metric=st.sampled_from(["l2", "ip"]),
    k=st.integers(1, 40),
    gone=st.sets(st.integers(0, 29)),
)
def test_agrees_with_brute_force_even_on_ties_and_after_removal(rows, questions, metric, k, gone):
    index = ChunkIndex(3, metric=metric)
    index.add([chunk(f"d{number}") for number in range(len(rows))], rows)
    gone = {number for number in gone if number < len(rows)}
    index.remove([f"d{number}" for number in gone])
    left = [number for number in range(len(rows)) if number not in gone]
    for hits, question in zip(index.search(questions, k), np.array(questions), strict=True):
        kept = np.array(rows)[left].reshape(-1, 3)
        scores = kept @ question if metric == "ip" else 1 - ((kept - question) ** 2).sum(1) / 2
        order = sorted(range(len(left)), key=lambda place: (-scores[place], place))[:k]
        assert sources(hits) == [f"d{left[place]}" for place in order]
        assert [hit.score for hit in hits] == [scores[place] for place in order]


def test_equals_at_the_end_come_in_the_order_of_the_corpus():
    # FAISS alone returns d3 and d1: a better vector found late pushes one of the equals out, and
    # not the last one.
    index = ChunkIndex(1, metric="ip")
    index.add([chunk(f"d{number}") for number in range(4)], [[-1], [-1], [-1], [0]])
    assert sources(index.search([1.0], k=2)[0]) == ["d3", "d0"]


def test_a_question_scores_the_same_in_any_company(monkeypatch):
    import faiss

    # FAISS changes its algorithm at this many questions times dimension, so between 1 and 41
    # questions of 48 numbers.
    monkeypatch.setattr(faiss.cvar, "distance_compute_blas_threshold", 20 * 48)
    index = filled(300, 48)
    questions = np.random.default_rng(1).normal(size=(41, 48))
    together = index.search(questions, k=7)
    assert together == [index.search(question, k=7)[0] for question in questions]


def test_k_beyond_the_corpus_returns_all():
    assert len(filled(4).search([0, 0, 1], k=1000)[0]) == 4


def test_empty_index_finds_nothing_whatever_the_filter():
    assert ChunkIndex(3).search(np.zeros((2, 3)), k=5) == [[], []]
    assert ChunkIndex(3).search([0, 0, 1], where={"page": 3}) == [[]]


def test_no_questions_no_results():
    assert filled().search(np.empty((0, 3))) == []


@pytest.mark.parametrize("k", [0, -1, 1.5, "3", None])
def test_k_must_be_a_whole_number_from_one_up(k):
    with pytest.raises(InvalidInputError, match="k is"):
        filled().search([0, 0, 1], k=k)


def test_k_may_be_a_numpy_integer():
    assert len(filled().search([0, 0, 1], k=np.int64(2))[0]) == 2


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([0.0, 1.0], r"shape \(2,\).*dimension 3"),
        (np.zeros((1, 1, 3)), "shape"),
        ([0.0, float("nan"), 1.0], "NaN"),
        ([0.0, float("inf"), 1.0], "infinity"),
        ([0.0, 1e300, 1.0], "beyond"),  # not in float32
        ([0.0, 1e19, 1.0], "beyond"),  # its square is not in float32
        (["a", "b", "c"], "not numbers"),
        ([[1.0, 2.0, 3.0], [1.0]], "not numbers"),
        (None, "shape"),
    ],
)
def test_vectors_are_checked_when_searching_and_adding(vectors, message):
    index = filled()
    with pytest.raises(InvalidInputError, match=message):
        index.search(vectors)
    with pytest.raises(InvalidInputError, match=message):
        index.add([chunk("new")], vectors)
    assert len(index) == 4


@pytest.mark.parametrize("dimension", [0, -3, 65_537])
def test_dimension_has_limits(dimension):
    with pytest.raises(InvalidInputError, match=f"dimension {dimension} is outside"):
        ChunkIndex(dimension)


def test_unknown_metric_is_named_with_the_known_ones():
    with pytest.raises(InvalidInputError, match=r"'cosine' is unknown: use 'l2'.*'ip'"):
        ChunkIndex(3, metric="cosine")


# Filters


def pages() -> ChunkIndex:
    index = ChunkIndex(1)
    index.add(
        [
            chunk("a.pdf", 0, heading="Intro", metadata={"page": 1}),
            chunk("a.pdf", 1, title="A", metadata={"page": 2, "draft": True}),
            chunk("b.txt", 0),
        ],
        [[1.0], [2.0], [3.0]],
    )
    return index


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"source": "a.pdf"}, ["a.pdf#100-107", "a.pdf#0-7"]),  # distances 1 and 2 from 3.0
        ({"page": 1}, ["a.pdf#0-7"]),  # b.txt has no pages
        ({"page": [1, 2], "draft": True}, ["a.pdf#100-107"]),
        ({"source": ("a.pdf", "b.txt"), "heading": ""}, ["b.txt#0-7", "a.pdf#100-107"]),
        ({"title": {"A"}}, ["a.pdf#100-107"]),
        ({"source": "c"}, []),
        ({"source": []}, []),
        ({}, ["b.txt#0-7", "a.pdf#100-107", "a.pdf#0-7"]),
    ],
)
def test_where_keeps_what_equals(where, expected):
    assert [hit.chunk.id for hit in pages().search([3.0], k=10, where=where)[0]] == expected


def test_a_filter_does_not_eat_into_k():
    # The allowed chunk is the farthest: taking the top 1 before filtering would lose it.
    assert sources(pages().search([1.0], k=1, where={"source": "b.txt"})[0]) == ["b.txt"]


def test_unknown_filter_key_lists_the_known_ones():
    message = "'pgae'.*draft, heading, page, source, title"
    with pytest.raises(InvalidInputError, match=message):
        pages().search([1.0], where={"pgae": 1})
    with pytest.raises(InvalidInputError, match=message):
        select_chunks(pages().chunks, {"pgae": 1})


# Changes


def test_remove_takes_every_chunk_of_a_document():
    index = pages()
    version = index.version
    assert index.remove(["a.pdf"]) == 2
    assert [c.source for c in index.chunks] == ["b.txt"]
    assert index.vectors().tolist() == [[3.0]]
    assert index.version > version


@pytest.mark.parametrize("names", [["a.pdf", "nope"], "a.pdf"])
def test_remove_refuses_unknown_names_and_bare_text_and_removes_nothing(names):
    index = pages()
    with pytest.raises(InvalidInputError, match=r"nope|write remove\(\['a.pdf'\]\)"):
        index.remove(names)
    assert len(index) == 3


def test_adding_a_known_document_names_the_cure():
    index = pages()
    with pytest.raises(InvalidInputError, match=r"'b.txt' is in the index.*replace=True"):
        index.add([chunk("new"), chunk("b.txt", 7)], [[1.0], [2.0]])
    assert len(index) == 3


def test_replace_swaps_the_document_and_keeps_the_others():
    index = pages()
    index.add([chunk("a.pdf", 9), chunk("c.txt")], [[9.0], [8.0]], replace=True)
    assert [c.id for c in index.chunks] == ["b.txt#0-7", "a.pdf#900-907", "c.txt#0-7"]
    assert index.vectors().tolist() == [[3.0], [9.0], [8.0]]
    # The old vectors 1.0 and 2.0 are gone: nearest to 1.0 is 3.0.
    assert sources(index.search([1.0], k=1)[0]) == ["b.txt"]


def test_a_refused_replacement_leaves_the_old_document():
    index = pages()
    with pytest.raises(InvalidInputError):
        index.add([chunk("a.pdf", 9)], [[float("nan")]], replace=True)
    with pytest.raises(InvalidInputError):
        index.add([chunk("a.pdf", 9), chunk("a.pdf", 9)], [[1.0], [2.0]], replace=True)
    assert [c.id for c in index.chunks] == [c.id for c in pages().chunks]


def test_a_chunk_id_may_not_come_twice():
    with pytest.raises(InvalidInputError, match="'x#0-3' comes twice"):
        ChunkIndex(1).add([chunk("x", text="abc"), chunk("x", text="xyz")], [[1.0], [2.0]])


def test_as_many_vectors_as_chunks():
    with pytest.raises(InvalidInputError, match="2 chunks came with 1 vectors"):
        ChunkIndex(1).add([chunk("x"), chunk("y")], [[1.0]])


def several() -> ChunkIndex:
    """Tea lies at 1 and 9, ice at 4 and 5, bread at 7."""
    index = ChunkIndex(1)
    index.add(
        [chunk("tea"), chunk("ice"), chunk("bread")],
        [[1.0], [9.0], [4.0], [5.0], [7.0]],
        counts=[2, 2, 1],
    )
    return index


def test_a_chunk_is_as_near_as_the_nearest_of_its_vectors():
    index = several()
    assert len(index) == 3 and index.counts == [2, 2, 1]
    # From 8.5: tea at 9 has d² = 0.25, bread at 7 has 2.25, ice at 5 has 12.25.
    hits = index.search([8.5], k=5)[0]
    assert sources(hits) == ["tea", "bread", "ice"]
    assert [hit.score for hit in hits] == [1 - 0.125, 1 - 1.125, 1 - 6.125]
    # The two nearest vectors are both of ice, and still two chunks come back.
    assert sources(index.search([4.4], k=2)[0]) == ["ice", "bread"]
    assert sources(index.search([4.4], k=2, where={"source": ["ice", "tea"]})[0]) == ["ice", "tea"]


def test_chunks_with_several_vectors_are_kept_removed_and_replaced(tmp_path):
    index = several()
    assert index.vectors(["bread#0-7", "tea#0-5"]).tolist() == [[7.0], [1.0], [9.0]]
    assert index.remove(["ice"]) == 1
    index.add([chunk("tea", 1)], [[2.0], [3.0]], counts=[2], replace=True)
    index.save(tmp_path / "index")
    loaded = ChunkIndex.load(tmp_path / "index")
    assert loaded.counts == index.counts == [1, 2]
    assert loaded.vectors().tolist() == [[7.0], [2.0], [3.0]]
    assert loaded.search([2.9], k=2) == index.search([2.9], k=2)
    assert ChunkIndex.info(tmp_path / "index")["vectors"] == 3


@pytest.mark.parametrize("counts", [[1], [1, 1], [0, 3], [2, 2]])
def test_counts_must_fit_chunks_and_vectors(counts):
    with pytest.raises(InvalidInputError, match="2 chunks came with 3 vectors and counts"):
        ChunkIndex(1).add([chunk("x"), chunk("y")], [[1.0], [2.0], [3.0]], counts=counts)


def test_adding_nothing_changes_nothing():
    index = pages()
    index.add([], np.empty((0, 1)))
    index.add([], [])
    assert len(index) == 3


@pytest.mark.parametrize("value", [None, ["a"], float("nan"), {"a": 1}])
def test_metadata_must_be_flat_and_finite(value):
    with pytest.raises(InvalidInputError, match="metadata 'key' of chunk 'x#0-3'"):
        ChunkIndex(1).add([chunk("x", 0, metadata={"key": value})], [[1.0]])


def test_vectors_by_chunk_id_come_in_the_order_asked():
    index = pages()
    assert index.vectors(["b.txt#0-7", "a.pdf#0-7"]).tolist() == [[3.0], [1.0]]
    assert index.vectors([]).shape == (0, 1)
    assert ChunkIndex(5).vectors().shape == (0, 5)
    with pytest.raises(InvalidInputError, match="'nope'"):
        index.vectors(["nope"])


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abcd"), st.integers(0, 3), st.integers(-9, 9)), max_size=15
    )
)
def test_any_sequence_of_changes_equals_an_index_built_afresh(steps):
    """Replace document `name` by `count` chunks, or remove it when the count is 0."""
    index, model = ChunkIndex(1), {}
    for name, count, value in steps:
        if count:
            model.pop(name, None)
            model[name] = [(chunk(name, n), [value + n / 4]) for n in range(count)]
            index.add(*zip(*model[name], strict=True), replace=True)
        elif model.pop(name, None):
            index.remove([name])
    flat = [pair for pairs in model.values() for pair in pairs]
    assert index.chunks == [c for c, _ in flat]
    assert index.vectors().tolist() == [v for _, v in flat]
    fresh = ChunkIndex(1)
    if flat:
        fresh.add(*zip(*flat, strict=True))
    assert index.search([[0.5]], k=50) == fresh.search([[0.5]], k=50)


# Folders


def test_what_is_saved_is_loaded(tmp_path):
    index = ChunkIndex(2, metric="ip", model="some-model")
    index.add([chunk("gone")], [[9, 9]])
    # Line separators that str.splitlines knows, a lone surrogate, and every metadata type.
    odd = "a\nb\u2028c\x85d\ud800é😀"
    index.add(
        [
            chunk("süß/x.txt", text=odd, title="T", heading="H", metadata={"page": 1}),
            chunk("y", metadata=MappingProxyType({"draft": True, "score": 0.5, "lang": "de"})),
        ],
        [[1, 2], [3, 4]],
    )
    index.remove(["gone"])
    index.save(tmp_path / "new" / "folder", corpus="abc")
    loaded = ChunkIndex.load(str(tmp_path / "new" / "folder"), model="some-model", corpus="abc")
    assert loaded.chunks == index.chunks
    assert loaded.vectors().tolist() == [[1, 2], [3, 4]]
    assert (loaded.metric, loaded.model, loaded.dimension, loaded.corpus) == (
        "ip",
        "some-model",
        2,
        "abc",
    )
    assert loaded.search([1, 0], k=9) == index.search([1, 0], k=9)
    # And it goes on changing: new numbers must not meet old ones.
    loaded.add([chunk("z")], [[5, 6]])
    loaded.remove(["y"])
    assert sources(loaded.search([1, 0], k=9)[0]) == ["z", "süß/x.txt"]


def test_an_empty_index_is_saved_too(tmp_path):
    ChunkIndex(7).save(tmp_path)
    assert len(ChunkIndex.load(tmp_path)) == 0


def test_saving_again_keeps_the_fingerprint_and_leaves_three_files(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "vectors-mine.faiss").write_text("mine")
    index = filled(3)
    index.save(tmp_path, corpus="abc")
    index.remove(["doc0"])
    index.save(tmp_path)
    assert ChunkIndex.load(tmp_path, corpus="abc").chunks == index.chunks
    names = [path.name for path in data_files(tmp_path)]
    assert len(names) == 4 and {"notes.txt", "vectors-mine.faiss"} < set(names)


def test_what_dead_writers_left_goes_after_an_hour(tmp_path):
    orphans = ["vectors-0123456789ab-01234567.faiss", ".rag-index-0123456789abcdef.tmp"]
    for name in orphans:
        (tmp_path / name).write_bytes(b"half")
    filled().save(tmp_path)
    assert all((tmp_path / name).exists() for name in orphans), "another writer may be at work"
    for name in orphans:
        os.utime(tmp_path / name, (time.time() - 3700,) * 2)
    filled().save(tmp_path)
    assert not any((tmp_path / name).exists() for name in orphans)


def test_info_reads_the_manifest_alone(tmp_path):
    filled(3, model="m").save(tmp_path, corpus="abc")
    for path in data_files(tmp_path):
        path.unlink()
    info = ChunkIndex.info(tmp_path)
    assert {key: info[key] for key in ("model", "dimension", "metric", "count", "corpus")} == {
        "model": "m",
        "dimension": 3,
        "metric": "l2",
        "count": 3,
        "corpus": "abc",
    }
    # A flat index of 3 vectors: 90 bytes of headers, 3 * (3 floats and one number).
    assert info["files"]["vectors"]["bytes"] == 90 + 3 * (3 * 4 + 8)


@pytest.mark.parametrize("asked", [{"model": "other"}, {"corpus": "other"}])
def test_another_model_or_corpus_is_refused(tmp_path, asked):
    filled(model="m").save(tmp_path, corpus="abc")
    with pytest.raises(IndexIntegrityError, match=r"built with .*'other' is in use.*build"):
        ChunkIndex.load(tmp_path, **asked)


def test_no_index_there_says_so(tmp_path):
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(IndexIntegrityError, match=r"no manifest\.json.*save an index"):
            ChunkIndex.load(folder)
    (tmp_path / "file").write_text("x")
    with pytest.raises(IndexIntegrityError):
        ChunkIndex.load(tmp_path / "file")
    with pytest.raises(InvalidInputError, match="is a file"):
        filled().save(tmp_path / "file")


@pytest.mark.parametrize("part", ["vectors", "chunks", "manifest"])
def test_a_full_disk_leaves_the_old_index(tmp_path, monkeypatch, part):
    old = filled(3)
    old.save(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    replace = Path.replace

    def fail(self, target):
        if Path(target).name.startswith(part):
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        filled(5).save(tmp_path)
    assert ChunkIndex.load(tmp_path).chunks == old.chunks
    after = sorted(path.name for path in tmp_path.iterdir())
    assert set(before) <= set(after)
    assert not [name for name in after if name.endswith(".tmp")]


@contextlib.contextmanager
def files_of_at_most(size):
    """Let the system refuse to write past so many bytes, as a full disk does: with an OSError."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_wherever_writing_stops_the_old_index_stays(tmp_path):
    old, new = filled(3), filled(5)
    old.save(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    largest = max(path.stat().st_size for path in tmp_path.iterdir())
    refused = 0
    for size in range(0, 2 * largest, 7):
        try:
            with files_of_at_most(size):
                new.save(tmp_path)
        except OSError:
            refused += 1
            assert ChunkIndex.load(tmp_path).chunks == old.chunks
            # Whole files of the new index may lie beside the old one; halves do not.
            assert set(before) <= {path.name for path in tmp_path.iterdir()}
            assert not list(tmp_path.glob("*.tmp"))
        else:
            assert ChunkIndex.load(tmp_path).chunks == new.chunks
            break
    assert refused > 10


def test_writers_and_readers_at_once_see_whole_indexes(tmp_path):
    """Two writers of different indexes and one reader: the reader never meets half of one."""
    small, large = filled(2, seed=1), filled(5, seed=2)
    small.save(tmp_path)
    failures: list[BaseException] = []

    def write(index):
        try:
            for _ in range(25):
                index.save(tmp_path)
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(index,)) for index in (small, large)]
    for writer in writers:
        writer.start()
    loads = 0
    while any(writer.is_alive() for writer in writers) or loads == 0:
        assert ChunkIndex.load(tmp_path).chunks in (small.chunks, large.chunks)
        loads += 1
    for writer in writers:
        writer.join()
    assert not failures
    assert ChunkIndex.load(tmp_path).chunks in (small.chunks, large.chunks)


@pytest.fixture
def saved(tmp_path) -> Path:
    filled(3, model="m").save(tmp_path / "index")
    return tmp_path / "index"


@pytest.mark.parametrize("memory_map", [False, True])
def test_changed_bytes_are_refused_before_faiss_reads_them(saved, monkeypatch, memory_map):
    import faiss

    for reader in ("deserialize_index", "read_index"):
        monkeypatch.setattr(faiss, reader, lambda *_: pytest.fail("parsed"))
    for path in [*data_files(saved), saved / "manifest.json"]:
        whole = path.read_bytes()
        flipped = bytes([whole[0] ^ 1]) + whole[1:]
        for damaged in (flipped, whole[:-1], whole + b"\n", b""):
            path.write_bytes(damaged)
            with pytest.raises(IndexIntegrityError, match=r"damaged.*build the index again"):
                ChunkIndex.load(saved, memory_map=memory_map)
        path.write_bytes(whole)
    monkeypatch.undo()
    assert len(ChunkIndex.load(saved, memory_map=memory_map)) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"dimension": 4},
        {"dimension": 0},
        {"dimension": "3"},
        {"dimension": True},
        {"count": 2},
        {"count": -1},
        {"count": 3.0},
        {"count": None},
        {"metric": "ip"},
        {"metric": "cosine"},
        {"metric": None},
        {"model": 7},
        {"model": None},
        {"corpus": None},
        {"files": {}},
        {"files": []},
    ],
)
def test_a_manifest_that_contradicts_the_files_is_refused(saved, changes):
    edit_manifest(saved, **changes)
    with pytest.raises(IndexIntegrityError):
        ChunkIndex.load(saved)


def test_another_format_asks_for_another_version(saved):
    edit_manifest(saved, format=1)
    with pytest.raises(IndexIntegrityError, match=r"format 1.*reads format 2"):
        ChunkIndex.load(saved)


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/hostname", "sub/vectors-0123456789ab-01234567.faiss", "manifest.json", ""],
)
def test_names_that_leave_the_folder_are_refused(saved, name):
    files = ChunkIndex.info(saved)["files"]
    files["chunks"]["name"] = name
    edit_manifest(saved, files=files)
    with pytest.raises(IndexIntegrityError, match="names wrong files"):
        ChunkIndex.load(saved)


def test_links_are_not_followed(saved, tmp_path):
    path = data_files(saved)[0]
    outside = path.replace(tmp_path / "outside")
    try:
        path.symlink_to(outside)
    except OSError:
        pytest.skip("this system does not let the test make links")
    with pytest.raises(IndexIntegrityError, match="not a regular file"):
        ChunkIndex.load(saved)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 60_000, b" " * 70_000, b'{"format": 1}']
)
def test_a_manifest_that_is_none_is_refused(saved, raw):
    (saved / "manifest.json").write_bytes(raw)
    with pytest.raises(IndexIntegrityError):
        ChunkIndex.load(saved)


@pytest.mark.parametrize(
    "lines",
    [
        '{"text": 1, "source": "a", "start": 0, "end": 1}\n',
        '{"text": "a", "source": "a", "start": 0, "end": 1, "metadata": []}\n',
        '{"text": "a", "source": "a", "start": "0", "end": 1}\n',
        '{"text": "a"}\n',
        '{"text": "a", "source": "a", "start": 0, "end": 1, "extra": 1}\n',
        "[1]\n",
        "null\n",
        "\n",
        "",
        '{"text": "a", "source": "a", "start": 0, "end": 1}\n' * 2,
    ],
)
def test_chunks_that_are_none_are_refused_even_with_fitting_checksums(tmp_path, lines):
    filled(1).save(tmp_path)
    manifest, contents = storage.read_folder(tmp_path)
    storage.write_folder(tmp_path, {**contents, "chunks": lines.encode()}, manifest)
    with pytest.raises(IndexIntegrityError, match=r"not a chunk|not found"):
        ChunkIndex.load(tmp_path)


def test_a_chunk_written_by_hand_is_as_good(tmp_path):
    """The counterpart of the test above: it is the line that is refused, not the method."""
    filled(1).save(tmp_path)
    manifest, contents = storage.read_folder(tmp_path)
    line = b'{"text": "a", "source": "a", "start": 0, "end": 1, "vectors": 1}\n'
    storage.write_folder(tmp_path, {**contents, "chunks": line}, manifest)
    assert ChunkIndex.load(tmp_path).chunks == [Chunk("a", "a", 0, 1)]


def test_neither_torch_nor_faiss_is_imported_with_the_module():
    code = "import sys, rag_helpers.index; print({'torch', 'faiss'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Mapped indexes


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_a_mapped_index_answers_as_a_loaded_one(tmp_path, metric):
    index = filled(300, 24, metric=metric, model="m")
    index.remove(["doc7"])
    index.save(tmp_path, corpus="abc")
    mapped = ChunkIndex.load(tmp_path, model="m", corpus="abc", memory_map=True)
    questions = np.random.default_rng(1).normal(size=(5, 24))
    assert mapped.search(questions, k=9) == index.search(questions, k=9)
    where = {"source": ["doc3", "doc4"]}
    assert mapped.search(questions, where=where) == index.search(questions, where=where)
    assert np.array_equal(mapped.vectors(), index.vectors())
    assert mapped.chunks == index.chunks and mapped.counts == index.counts
    assert (mapped.mapped_from, index.mapped_from) == (str(tmp_path), "")


def test_a_mapped_index_does_not_change_and_names_the_cure(tmp_path):
    # FAISS would end the process: its vectors are not its own.
    pages().save(tmp_path)
    mapped = ChunkIndex.load(tmp_path, memory_map=True)
    for change in (
        lambda: mapped.add([chunk("new")], [[1.0]]),
        lambda: mapped.add([chunk("b.txt")], [[1.0]], replace=True),
        lambda: mapped.remove(["b.txt"]),
    ):
        with pytest.raises(InvalidInputError, match=r"3 chunks are mapped.*without memory_map"):
            change()
    assert mapped.chunks == pages().chunks
    # The cure works, and so does a copy elsewhere.
    changed = ChunkIndex.load(tmp_path)
    changed.remove(["b.txt"])
    mapped.save(tmp_path / "copy")
    assert ChunkIndex.load(tmp_path / "copy").chunks == pages().chunks


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the old file in the folder")
def test_a_mapped_index_stays_whole_when_its_folder_is_saved_anew(tmp_path):
    old, new = filled(200, 16, seed=1), filled(300, 16, seed=2)
    old.save(tmp_path)
    before = data_files(tmp_path)
    mapped = ChunkIndex.load(tmp_path, memory_map=True)
    new.save(tmp_path)
    assert not any(path.exists() for path in before), "the old files have no name any more"
    question = np.ones(16)
    assert mapped.search(question, k=200) == old.search(question, k=200)
    again = ChunkIndex.load(tmp_path, memory_map=True)
    assert again.search(question, k=300) == new.search(question, k=300)


def test_mapped_vectors_are_read_where_they_lie(tmp_path):
    import faiss

    filled(300, 24).save(tmp_path)
    for memory_map in (False, True):
        index = ChunkIndex.load(tmp_path, memory_map=memory_map)
        assert faiss.downcast_index(index._index.index).codes.is_owned != memory_map


def test_an_empty_index_is_mapped_too(tmp_path):
    ChunkIndex(7).save(tmp_path)
    assert ChunkIndex.load(tmp_path, memory_map=True).search(np.zeros(7)) == [[]]


def test_a_vectors_file_of_no_bytes_is_refused_though_its_checksum_fits(saved):
    files = ChunkIndex.info(saved)["files"]
    (saved / files["vectors"]["name"]).write_bytes(b"")
    files["vectors"].update(bytes=0, sha256=storage._sha256(b""))
    edit_manifest(saved, files=files)
    with pytest.raises(IndexIntegrityError, match="but the file has 0"):
        ChunkIndex.load(saved, memory_map=True)
