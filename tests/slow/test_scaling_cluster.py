"""Documents go through Ray into shards and Milvus, in one small cluster: kills are slow tests."""

from functools import partial

import numpy as np
import psutil
import pytest

from rag_helpers.corpus import load_files
from rag_helpers.errors import (
    CorpusError,
    IndexIntegrityError,
    InvalidInputError,
    ScalingError,
)
from rag_helpers.index import ChunkIndex
from rag_helpers.pipeline import whole_documents
from rag_helpers.scaling import (
    DocumentSource,
    FileSource,
    LocalCluster,
    LocalMilvus,
    MilvusIndex,
    SyntheticEmbedder,
    SyntheticSource,
    check_versions,
    ingest,
    same_hits,
    serve_on_ray,
)
from rag_helpers.scaling.ingestion import embed_part

CURE = "Ray or Milvus is not installed: python -m rag_helpers install --scale"
pytest.importorskip("ray", reason=CURE)
pytest.importorskip("pymilvus", reason=CURE)
pytest.importorskip("milvus_lite", reason=CURE)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # Of Ray's own making.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.xdist_group("cluster"),
]

REAL = np.random.default_rng(0).normal(size=(20, 16)).astype(np.float32)
REAL /= np.linalg.norm(REAL, axis=1, keepdims=True)
load_toy = partial(SyntheticEmbedder, REAL, "toy")


@pytest.fixture(scope="module")
def milvus(tmp_path_factory):
    with LocalMilvus(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(1, cpus=3) as cluster:
        yield cluster


@pytest.fixture
def folder(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number in range(6):
        (corpus / f"{number}.md").write_text(
            f"# Title {number}\n\nSentence one of {number}. Sentence two.\n", encoding="utf-8"
        )
    (corpus / "rows.jsonl").write_text('{"text": "a row"}\n{"text": "another"}\n')
    return corpus


def run(source, folder, index, **more):
    return ingest(source, folder, index, load_toy, actors=1, **more)


def test_documents_are_cut_embedded_and_found_as_by_one_process(cluster, milvus, folder, tmp_path):
    source = FileSource(folder, files_per_part=2)
    calls = []
    with MilvusIndex(milvus.uri, "same", dimension=16, model="toy") as index:
        report = run(
            source,
            tmp_path / "shards",
            index,
            split=whole_documents,
            progress=lambda *done: calls.append(done),
        )
        assert (report.parts, report.passed_over, report.chunks) == (4, 0, 8)
        assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
        alone = ChunkIndex(16)
        for part in source.parts():
            chunks = whole_documents(source.read(part))
            vectors, counts = embed_part(chunks, load_toy(), 40)
            alone.add(chunks, vectors, counts=counts)
        assert len(index) == len(alone) == len(load_files(folder))
        assert index.vector_count == report.vectors == sum(alone.counts)
        for row in REAL:
            assert same_hits(alone.search(row, 5)[0], index.search(row, 5)[0])


def test_a_second_call_does_what_changed_and_nothing_else(cluster, milvus, folder, tmp_path):
    shards = tmp_path / "shards"
    with MilvusIndex(milvus.uri, "changes", dimension=16, model="toy") as index:
        source = FileSource(folder, files_per_part=2)
        run(source, shards, index, split=whole_documents)
        again = run(source, shards, index, split=whole_documents)
        assert (again.passed_over, again.chunks, again.removed) == (4, 0, 0)
        (folder / "3.md").write_text("New words.", encoding="utf-8")
        (folder / "rows.jsonl").unlink()
        changed = run(source, shards, index, split=whole_documents)
        # The part of files 2 and 3 is new; the old one, and that of the rows, are gone.
        assert (changed.passed_over, changed.chunks, changed.removed) == (2, 2, 2)
        found = {hit.chunk.text for hit in index.search(REAL[0], 50)[0]}
        assert len(index) == 6 and "New words." in found
        assert not any("another" in text or "of 3" in text for text in found)
        with pytest.raises(InvalidInputError, match="shards made with window_words 40, and None"):
            run(source, shards, index, split=whole_documents, window_words=None)


def test_a_document_that_cannot_be_read_is_named_and_the_rest_is_resumed(
    cluster, milvus, folder, tmp_path
):
    (folder / "4.md").write_bytes(b"\xff broken \xfe")
    with MilvusIndex(milvus.uri, "broken", dimension=16, model="toy") as index:
        source = FileSource(folder, files_per_part=1)
        with pytest.raises(CorpusError, match=r"^4\.md is not encoded in utf-8"):
            run(source, tmp_path / "shards", index, split=whole_documents)
        (folder / "4.md").write_text("mended", encoding="utf-8")
        report = run(source, tmp_path / "shards", index, split=whole_documents)
        assert len(index) == 8
        assert report.passed_over + report.chunks >= 7


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (partial(SyntheticEmbedder, REAL, "other"), "embedder's model is 'other'"),
        (partial(SyntheticEmbedder, REAL[:, :8], "toy"), "embedder's dimension is 8"),
    ],
)
def test_an_embedder_that_is_not_the_indexs_is_refused(cluster, milvus, tmp_path, load, message):
    with (
        MilvusIndex(milvus.uri, "other_model", dimension=16, model="toy") as index,
        pytest.raises(IndexIntegrityError, match=message),
    ):
        ingest(SyntheticSource(4), tmp_path, index, load, split=whole_documents, actors=1)


def test_a_cluster_with_too_few_cpus_is_refused_before_it_waits_for_ever(cluster, milvus, tmp_path):
    with MilvusIndex(milvus.uri, "room", dimension=16, model="toy") as index:
        with pytest.raises(InvalidInputError, match=r"need a cluster of 4 CPUs .* has 3"):
            ingest(SyntheticSource(4), tmp_path, index, load_toy, actors=3)
        with pytest.raises(InvalidInputError, match="actors is 0"):
            ingest(SyntheticSource(4), tmp_path, index, load_toy, actors=0)


def test_every_node_has_the_versions_of_this_process(cluster):
    assert check_versions() == 1


def test_a_second_cluster_in_one_process_is_refused(cluster):
    with pytest.raises(ScalingError, match="connected to a Ray cluster already"):
        LocalCluster().__enter__()


def test_nothing_listens_on_another_address_than_this_machines(cluster, milvus):
    own = psutil.Process()
    children = [own, *own.children(recursive=True)]
    addresses = {
        connection.laddr.ip
        for process in children
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}


def test_a_node_cannot_be_killed_when_only_the_head_is_left(cluster):
    with pytest.raises(InvalidInputError, match="Only the head node is left"):
        cluster.kill_node()


@pytest.mark.parametrize("given", [{"nodes": 0}, {"cpus": 2}])
def test_clusters_in_which_ray_would_wait_for_itself_are_refused(given):
    with pytest.raises(InvalidInputError, match="at least 1 node and 3 logical CPUs"):
        LocalCluster(**given)


def test_a_node_that_cannot_start_says_why_and_leaves_the_others(cluster, monkeypatch):
    monkeypatch.setattr("rag_helpers.scaling.cluster._OBJECT_STORE_BYTES", 1)
    with pytest.raises(ScalingError, match=r"node of the cluster did not start \(.*memory"):
        cluster.add_node()
    assert cluster.nodes == 1


def test_without_a_cluster_it_is_said_how_to_connect(tmp_path):
    import ray

    if ray.is_initialized():
        pytest.skip("the module's cluster is up")
    for call in (
        lambda: ingest(DocumentSource([]), tmp_path, None, load_toy),
        lambda: serve_on_ray(lambda: None),
    ):
        with pytest.raises(InvalidInputError, match="connected to no Ray cluster"):
            call()


def test_a_milvus_that_cannot_start_says_why(milvus, tmp_path):
    with (
        LocalMilvus(tmp_path) as first,
        pytest.raises(ScalingError, match="did not start in"),
        LocalMilvus(tmp_path),
    ):
        pytest.fail(f"two servers share {first.uri}")
