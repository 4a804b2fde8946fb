"""Past one machine, without a cluster: filters, shards, sources, versions and the paper model."""

import json
import socket
import string
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_helpers.commands.scale_demo import is_whole, render
from rag_helpers.corpus import load_files
from rag_helpers.errors import (
    CorpusError,
    IndexIntegrityError,
    InvalidInputError,
    MissingExtraError,
    ScalingError,
)
from rag_helpers.records import Chunk, Document, Hit
from rag_helpers.scaling import (
    INDEX_KINDS,
    SCALE_PACKAGES,
    DocumentSource,
    FileSource,
    Node,
    Prices,
    Rates,
    SyntheticEmbedder,
    SyntheticSource,
    ask,
    connect,
    load_measured,
    load_rates,
    plan_capacity,
    same_hits,
    vector_bytes,
)
from rag_helpers.scaling import engines as engines_module
from rag_helpers.scaling.capacity import RESULTS
from rag_helpers.scaling.collections import chunk_rows, searchable
from rag_helpers.scaling.engines import compare_versions, refuse_unreachable, versions_here
from rag_helpers.scaling.filters import filter_expression
from rag_helpers.scaling.shards import ShardFolder, chunk_key, pack_shard, unpack_shard

ROOT = Path(__file__).resolve().parents[1]
RATES = Rates(10, 2, 384, 1000, 5e9, 5000)
NODE = Node(8, 32, 500)


def chunk(text="tea", source="a.txt", **more):
    return Chunk(text, source, 0, len(text), **more)


# Engines


@pytest.mark.parametrize("name", ["import_ray", "import_pymilvus"])
def test_an_absent_engine_is_named_with_the_command_that_installs_it(name, monkeypatch):
    monkeypatch.setattr(engines_module, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as caught:
        getattr(engines_module, name)()
    for package in SCALE_PACKAGES:
        assert f"'{package}'" in str(caught.value)
    assert "python -m rag_helpers install --scale" in str(caught.value)


def test_the_named_packages_are_those_of_the_extra():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    assert set(extras["scale"]) == {*SCALE_PACKAGES, "rag-helpers[serve]"}


@pytest.mark.parametrize("address", ["127.0.0.1:1", "http://127.0.0.1:1", "nowhere", "a:b:c", ":"])
def test_what_cannot_be_reached_is_one_sentence_with_the_address(address):
    with pytest.raises(ScalingError, match="Milvus cannot be reached") as caught:
        refuse_unreachable(address, "Milvus", timeout_s=2)
    assert address in str(caught.value)


def test_what_listens_is_reachable():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        refuse_unreachable(f"http://127.0.0.1:{port}", "Milvus")
        refuse_unreachable(f"127.0.0.1:{port}", "Ray")


@pytest.mark.seconds
def test_a_cluster_that_is_not_there_is_one_sentence():
    pytest.importorskip("ray", reason="Ray is not installed: python -m rag_helpers install --scale")
    with pytest.raises(ScalingError, match=r"The Ray cluster cannot be reached at 127\.0\.0\.1:1"):
        connect("127.0.0.1:1")


def test_nodes_of_the_same_versions_pass_and_a_skewed_one_is_named():
    own = versions_here()
    compare_versions(own, {"a": own, "b": dict(own)})
    with pytest.raises(ScalingError, match=r"b has numpy 0\.1 \(here .*torch absent") as caught:
        compare_versions(
            own, {"a": own, "b": {**{k: v for k, v in own.items() if k != "torch"}, "numpy": "0.1"}}
        )
    assert "python" not in str(caught.value)


# Filters

numbers = st.one_of(st.integers(-(2**62), 2**62), st.floats(-1e18, 1e18))
VALUES = st.one_of(st.text(), st.booleans(), numbers)


@given(st.text(), VALUES)
def test_no_value_of_a_filter_can_leave_its_quotes(name, value):
    expression = filter_expression({name: value})
    own = name in ("source", "title", "heading")
    begin, between, end = (f"{name} in [", "", "]") if own else ("(metadata[", "] == ", ")")
    assert expression.startswith(begin) and expression.endswith(end)
    literal = expression[len(begin) : -len(end)]
    if not own:
        # The key is one JSON literal, and what follows it is ours.
        key, length = json.JSONDecoder(strict=False).raw_decode(literal)
        assert key == name.encode("utf-8", "replace").decode()
        assert literal[length:].startswith(between)
        literal = literal[length + len(between) :]
    # So is the value, to the last character.
    expected = value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
    assert json.loads(literal, strict=False) == expected


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), b"x", {"a": 1}, 2**63])
def test_other_values_are_refused(value):
    with pytest.raises(InvalidInputError, match=r"filter by text, numbers between .* or booleans"):
        filter_expression({"source": value})


def test_no_filter_is_no_expression():
    assert filter_expression(None) == filter_expression({}) == ""


# Words


@settings(deadline=None)
@given(st.text(alphabet=string.printable))
def test_searchable_words_hold_nothing_that_an_analyzer_drops(text):
    assert all(word.isalnum() for word in searchable(text).split(" ") if word)


def test_signs_become_words_of_their_own():
    assert searchable("x := y @ z") != searchable("x = y + z")


def test_a_chunk_too_large_for_a_row_is_refused():
    long = chunk("word " * 20_000)
    with pytest.raises(InvalidInputError, match="cut the document into smaller chunks"):
        chunk_rows([long], [chunk_key(long)], [json.dumps(long.text).encode()])


# Shards


texts = st.text(min_size=1, max_size=30)


@pytest.mark.seconds
@settings(deadline=None)
@given(st.lists(st.tuples(texts, texts, st.integers(1, 3)), max_size=5))
def test_a_shard_comes_back_as_it_was(rows):
    chunks = [chunk(text, source, heading="h", metadata={"p": 1}) for text, source, _ in rows]
    counts = [count for *_, count in rows]
    vectors = np.random.default_rng(0).normal(size=(sum(counts), 3)).astype(np.float32)
    data = pack_shard(chunks, vectors, counts)
    assert data == pack_shard(chunks, vectors, counts)
    shard = unpack_shard(data)
    assert (shard.chunks, shard.counts) == (chunks, counts)
    assert shard.keys == [chunk_key(one) for one in chunks]
    assert np.array_equal(shard.vectors, vectors)


@settings(deadline=None)  # the first one imports Parquet
@given(st.binary(max_size=200))
def test_what_is_no_shard_is_refused(data):
    with pytest.raises(IndexIntegrityError, match="A shard cannot be read"):
        unpack_shard(data)


def test_every_field_of_a_chunk_changes_its_key():
    base = chunk(title="t", heading="h", metadata={"p": 1})
    others = [
        chunk("teas", title="t", heading="h", metadata={"p": 1}),
        chunk(source="b.txt", title="t", heading="h", metadata={"p": 1}),
        chunk(title="u", heading="h", metadata={"p": 1}),
        chunk(title="t", heading="i", metadata={"p": 1}),
        chunk(title="t", heading="h", metadata={"p": 2}),
        Chunk("tea", "a.txt", 1, 4, title="t", heading="h", metadata={"p": 1}),
    ]
    assert len({chunk_key(one) for one in [base, *others]}) == 7


def write_shard(shards, digest):
    name = shards.name_of(digest)
    facts = shards.write(name, pack_shard([chunk(digest)], np.ones((1, 2), np.float32), [1]))
    return name, facts


def test_a_shard_without_its_note_is_not_done(tmp_path):
    shards = ShardFolder(tmp_path, {"model": "m"})
    name, facts = write_shard(shards, "one")
    assert shards.done() == {}
    shards.note(name, facts)
    assert shards.done() == {name: facts}
    shards.path_of(name).unlink()
    assert ShardFolder(tmp_path, {"model": "m"}).done() == {}


def test_other_settings_have_other_names_and_do_not_share_a_folder(tmp_path):
    shards = ShardFolder(tmp_path / "a", {"model": "m"})
    other = ShardFolder(tmp_path / "b", {"model": "n"})
    assert shards.name_of("one") != other.name_of("one")
    with pytest.raises(InvalidInputError, match="made with model 'm', and 'n' is asked for"):
        ShardFolder(tmp_path / "a", {"model": "n"})


def test_a_changed_shard_is_refused(tmp_path):
    shards = ShardFolder(tmp_path, {})
    name, facts = write_shard(shards, "one")
    shards.path_of(name).write_bytes(shards.path_of(name).read_bytes() + b"x")
    with pytest.raises(IndexIntegrityError, match="has changed since it was written"):
        shards.read(name, facts)
    shards.path_of(name).unlink()
    with pytest.raises(IndexIntegrityError, match="cannot be read"):
        shards.read(name, facts)


# Sources


def test_parts_of_files_hold_every_document_under_its_own_name(tmp_path):
    (tmp_path / "sub").mkdir()
    for number in range(5):
        (tmp_path / "sub" / f"{number}.txt").write_text(f"text {number}", encoding="utf-8")
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n', encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    source = FileSource(tmp_path, files_per_part=3)
    parts = list(source.parts())
    assert len(parts) == 3 and len({part.digest for part in parts}) == 3
    read = [document for part in parts for document in source.read(part)]
    with pytest.warns(UserWarning, match=r"picture\.png"):
        assert read == load_files(tmp_path)


def test_a_part_changes_its_digest_with_a_files_content_and_no_other_does(tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text(f"text {number}", encoding="utf-8")
    source = FileSource(tmp_path, files_per_part=2)
    before = [part.digest for part in source.parts()]
    (tmp_path / "3.txt").write_text("changed", encoding="utf-8")
    after = [part.digest for part in source.parts()]
    assert before[0] == after[0] and before[1] != after[1]


@pytest.mark.parametrize("patterns", [("*",), ("*.md",)])
def test_a_folder_without_files_is_refused(tmp_path, patterns):
    with pytest.raises(CorpusError, match="No file"):
        list(FileSource(tmp_path, patterns).parts())
    with pytest.raises(CorpusError, match="is not a folder"):
        list(FileSource(tmp_path / "absent").parts())


def test_documents_of_one_name_are_refused():
    with pytest.raises(InvalidInputError, match="2 documents have 1 different sources"):
        DocumentSource([Document("one", "a"), Document("two", "a")])
    with pytest.raises(InvalidInputError, match="at least 1"):
        list(DocumentSource([Document("one", "a")], documents_per_part=0).parts())


def test_synthetic_documents_are_labelled_and_complete():
    source = SyntheticSource(11, documents_per_part=4)
    documents = [document for part in source.parts() for document in source.read(part)]
    assert len({document.source for document in documents}) == 11
    assert all(document.text.startswith("synthetic") for document in documents)


def test_synthetic_vectors_depend_on_the_texts_alone():
    embedder = SyntheticEmbedder(np.eye(4, dtype=np.float32))
    one, two = embedder.embed(["a", "b"]), embedder.embed(["a", "b"])
    assert np.array_equal(one, two)
    assert not np.array_equal(one, embedder.embed(["a", "c"]))
    assert embedder.embed([]).shape == (0, 4)


# Comparing


def hits(*pairs):
    return [Hit(chunk("x", name), score, rank) for rank, (name, score) in enumerate(pairs, 1)]


def test_only_near_ties_may_change_places():
    assert same_hits(hits(("a", 0.9), ("b", 0.5)), hits(("a", 0.9), ("b", 0.500009)))
    assert same_hits(hits(("a", 0.9), ("b", 0.5)), hits(("a", 0.9), ("c", 0.500009)))
    assert not same_hits(hits(("a", 0.9), ("b", 0.5)), hits(("b", 0.9), ("a", 0.5)))
    assert not same_hits(hits(("a", 0.9), ("b", 0.5)), hits(("c", 0.9), ("b", 0.5)))
    assert not same_hits(hits(("a", 0.9), ("b", 0.5)), hits(("a", 0.9), ("b", 0.4999)))
    assert same_hits([], [])


# Asking again


class Flaky(BaseHTTPRequestHandler):
    """Fails in each way that a dying replica fails, then answers."""

    answers: ClassVar = []

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        status = self.answers.pop(0)
        if status == 0:
            self.connection.close()
            return
        body = json.dumps({"text": "yes"} if status == 200 else {"error": "no <b>"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def flaky():
    server = HTTPServer(("127.0.0.1", 0), Flaky)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.seconds
def test_a_question_is_asked_again_until_a_replica_answers(flaky):
    Flaky.answers = [0, 500, 503, 429, 200]
    reply = ask(flaky, "Why?", timeout_s=30)
    assert (reply.message, reply.tries) == ({"text": "yes"}, 5)


@pytest.mark.seconds
@pytest.mark.parametrize("status", [401, 422])
def test_a_refused_question_is_not_asked_again(flaky, status):
    Flaky.answers = [status, 200]
    with pytest.raises(InvalidInputError, match=f"answered {status}: .*no <b>"):
        ask(flaky, "Why?")
    assert Flaky.answers == [200]


@pytest.mark.seconds
def test_asking_ends_in_time_and_says_what_was_last(flaky):
    Flaky.answers = [500] * 50
    with pytest.raises(ScalingError, match=r"No answer .* after \d tries .*status 500"):
        ask(flaky, "Why?", timeout_s=1)


# The paper model


@pytest.mark.parametrize("kind", INDEX_KINDS)
def test_ten_times_the_chunks_take_ten_times_the_memory_and_disk(kind):
    small, large = (plan_capacity(n, RATES, NODE, kind=kind) for n in (10**6, 10**7))
    assert large.memory_gb == pytest.approx(10 * small.memory_gb)
    assert large.disk_gb == pytest.approx(10 * small.disk_gb)
    assert large.embed_core_hours == pytest.approx(10 * small.embed_core_hours)
    assert large.nodes >= small.nodes


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("kind", "factory"),
    # "np": codes are not reordered for Hamming distances, which takes a minute and no byte.
    [("flat", "IDMap,Flat"), ("hnsw", "IDMap,HNSW32"), ("ivf_pq", "IVF4,PQ48np")],
)
def test_bytes_per_vector_are_those_of_faiss(kind, factory):
    import faiss

    vectors = np.random.default_rng(0).normal(size=(2000, 384)).astype(np.float32)
    index = faiss.index_factory(384, factory)
    index.train(vectors)
    fixed = len(faiss.serialize_index(index))
    index.add_with_ids(vectors, np.arange(2000))
    per_vector = (len(faiss.serialize_index(index)) - fixed) / 2000
    assert vector_bytes(kind, 384)[0] == pytest.approx(per_vector, rel=0.02)


def test_codes_take_little_memory_and_disk_holds_the_vectors():
    flat, disk = vector_bytes("flat", 384), vector_bytes("diskann", 384)
    assert disk[0] < flat[0] / 20
    assert disk[1] > 4 * 384


def test_what_gives_out_first_is_named():
    slow = Rates(0.01, 1, 384, 1000, 5e9, 5000)
    assert plan_capacity(10**6, slow, NODE).bottleneck.startswith("embedding")
    fast = Rates(1e6, 1, 384, 1000, 5e9, 1e9)
    assert plan_capacity(10**7, fast, NODE).bottleneck.startswith("searching")
    assert plan_capacity(10**7, fast, NODE, kind="hnsw").bottleneck.startswith("memory")
    writer = Rates(1e6, 1, 384, 1000, 5e9, 10)
    assert plan_capacity(10**7, writer, NODE, kind="ivf_pq").bottleneck.startswith("writing")
    assert "not yet" in plan_capacity(1000, fast, NODE).bottleneck


def test_costs_are_the_prices_times_what_is_used_and_absent_without_prices():
    assert plan_capacity(10**6, RATES, NODE).cost_month is None
    plan = plan_capacity(10**6, RATES, NODE, prices=Prices(0.4, 0.1), replicas=2)
    assert plan.cost_once == pytest.approx(10**6 / 10 / 3600 / 8 * 0.4)
    assert plan.cost_month == pytest.approx(2 * (plan.nodes * 0.4 * 730 + plan.disk_gb * 0.1))


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf")])
def test_rates_and_sizes_that_mean_nothing_are_refused(wrong):
    with pytest.raises(InvalidInputError, match="rows_per_s"):
        Rates(10, 2, 384, 1000, 5e9, wrong)
    if wrong in (0, -1):
        with pytest.raises(InvalidInputError, match="must be above 0"):
            plan_capacity(wrong, RATES, NODE)
        with pytest.raises(InvalidInputError, match="must be above 0"):
            plan_capacity(10, RATES, Node(wrong, 32, 500))


def test_unknown_kinds_are_refused():
    with pytest.raises(InvalidInputError, match="choose flat, hnsw"):
        vector_bytes("annoy", 384)


def test_missing_measurements_name_the_command_that_makes_them(tmp_path):
    with pytest.raises(InvalidInputError, match="run python -m rag_helpers scale-demo"):
        load_measured(tmp_path / "absent.json")


# The committed measurements


def test_the_committed_demonstration_lost_doubled_and_mistook_nothing():
    found = load_measured()
    assert is_whole(found)
    assert max(row["chunks"] for row in found["growth"]) >= 100_000
    assert (
        found["kills"]["embedding"]["shards equal to the last bit"]
        == (found["kills"]["embedding"]["shards"])
    )
    one, many = (found["equality"]["hybrid"][name]["mrr@10"] for name in ("one process", "cluster"))
    assert many["low"] <= one["value"] <= many["high"]
    assert "Throughput" in render(found)


def test_the_paper_model_predicts_the_measured_memory_of_the_flat_index():
    found = load_measured()
    for row in found["flat_memory"]:
        plan = plan_capacity(
            row["vectors"],
            Rates(**{**found["rates"], "vectors_per_chunk": 1}),
            NODE,
        )
        assert plan.memory_gb * 1000 == pytest.approx(row["added_mb"], rel=0.2)


def test_memory_of_milvus_lite_grows_no_faster_than_the_corpus():
    growth = sorted(load_measured()["growth"], key=lambda row: row["chunks"])
    assert [row["chunks"] for row in growth] == [10_000, 100_000, 1_000_000]
    for kind in ("milvus_peak_mb", "milvus_after_mb"):
        added = [row[kind] - row["milvus_empty_mb"] for row in growth]
        assert all(more <= 10 * less for less, more in pairwise(added))


def test_the_ingesting_process_stays_small_while_the_corpus_grows_tenfold():
    growth = sorted((row["chunks"], row["driver_peak_mb"]) for row in load_measured()["growth"])
    assert growth[-1][0] >= 10 * growth[0][0]
    assert growth[-1][1] <= 1.5 * growth[0][1]


def test_the_committed_rates_can_be_planned_with():
    rates = load_rates(RESULTS)
    assert plan_capacity(10**8, rates, NODE).nodes > plan_capacity(10**6, rates, NODE).nodes


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("kills", "embedding", "chunks lost"), 1),
        (("kills", "embedding", "doubled"), 1),
        (("kills", "serving", "wrong"), 1),
        (("equality", "dense: same ten hits"), 0),
        (("growth", 0, "in Milvus"), 1),
        (("growth", 0, "doubled"), 1),
    ],
)
def test_any_loss_any_double_and_any_wrong_answer_is_a_failure(where, value):
    found = load_measured()
    *path, last = where
    inner = found
    for step in path:
        inner = inner[step]
    inner[last] = value
    assert not is_whole(found)


def test_the_readme_tells_what_the_committed_demonstration_measured():
    found = load_measured()
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index("## Past one machine") : text.index("## Results")]
    one, many = found["throughput"]["one process"], found["throughput"]["cluster"]
    serving, equality = found["kills"]["serving"], found["equality"]
    for shown in (
        f"{one['chunks/s']:.1f} chunks a second",
        f"{many['chunks/s']:.1f} on the cluster",
        f"{equality['dense: same ten hits']} of {equality['questions']} questions",
        f"{serving['wrong']} of {serving['asked']} answers",
        *(f"{row['milvus_peak_mb']:,} MB" for row in found["growth"]),
        f"{found['growth'][-1]['chunks/s']:,} a second",
        f"{found['growth'][-1]['search_ms'] / 1000:.1f} s",
        f"{many['seconds until the first part']:.0f} of {many['seconds']:.0f} s",
    ):
        assert shown in section, shown
