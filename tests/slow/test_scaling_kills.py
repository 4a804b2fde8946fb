"""Nodes, servers and the ingesting process are killed: nothing is lost, doubled or wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from rag_helpers.deployment import load_settings
from rag_helpers.errors import ScalingError
from rag_helpers.generator import ExtractiveGenerator
from rag_helpers.pipeline import RagPipeline, whole_documents
from rag_helpers.records import Chunk
from rag_helpers.retriever import KeywordRetriever
from rag_helpers.scaling import (
    LocalCluster,
    LocalMilvus,
    MilvusIndex,
    SyntheticEmbedder,
    SyntheticSource,
    ask,
    check_versions,
    ingest,
    serve_on_ray,
    stop_serving,
)
from rag_helpers.scaling.cluster import _own_programs, free_port
from rag_helpers.scaling.comparing import count_keys
from rag_helpers.scaling.connection import Connection
from rag_helpers.scaling.ingestion import embed_part
from rag_helpers.scaling.shards import ShardFolder, pack_shard

CURE = "Ray or Milvus is not installed: python -m rag_helpers install --scale"
ray = pytest.importorskip("ray", reason=CURE)
pytest.importorskip("pymilvus", reason=CURE)
pytest.importorskip("milvus_lite", reason=CURE)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("cluster")]

REAL = np.eye(16, dtype=np.float32)
PARTS = 24


class SlowEmbedder(SyntheticEmbedder):
    """Takes half a second a call, so that a kill comes in between."""

    def embed(self, texts, *, titles=None):
        time.sleep(0.5)
        return super().embed(texts, titles=titles)


# Workers cannot import this file.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
load_slow = partial(SlowEmbedder, REAL, "toy")
source = SyntheticSource(PARTS * 10, documents_per_part=10)


def run(folder, index, progress=None):
    return ingest(
        source, folder, index, load_slow, split=whole_documents, window_words=None,
        progress=progress,
    )  # fmt: skip


def settings_of(folder):
    import json

    return json.loads((folder / "manifest.json").read_text())


def assert_whole(folder, index):
    """The shards and Milvus hold every chunk once, and the bytes are those of one process."""
    shards = ShardFolder(folder, settings_of(folder))
    assert count_keys(shards) == {"chunks": PARTS * 10, "vectors": PARTS * 10, "doubled": 0}
    assert (len(index), index.vector_count) == (PARTS * 10, PARTS * 10)
    for part in source.parts():
        chunks = whole_documents(source.read(part))
        vectors, counts = embed_part(chunks, SyntheticEmbedder(REAL, "toy"), None)
        path = shards.path_of(shards.name_of(part.digest))
        assert path.read_bytes() == pack_shard(chunks, vectors, counts)
    assert not list(folder.glob(".*.tmp"))


@pytest.fixture(scope="module")
def milvus(tmp_path_factory):
    with LocalMilvus(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def left_alone(tmp_path_factory):
    """A server whose one client asks nothing from here on, and the time since when."""
    with LocalMilvus(tmp_path_factory.mktemp("quiet")) as server:
        connection = Connection(server.uri, token="", timeout_s=60)
        yield server, time.monotonic()
        connection.close()


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(2) as cluster:
        yield cluster


def test_a_node_killed_while_embedding_loses_and_doubles_nothing(cluster, milvus, tmp_path):
    def kill(done, parts):
        if done == 4:
            cluster.kill_node()
            cluster.add_node()

    with MilvusIndex(milvus.uri, "node", dimension=16, model="toy") as index:
        report = run(tmp_path, index, kill)
        assert report.chunks == PARTS * 10
        assert_whole(tmp_path, index)


INGESTER = """
import sys
sys.path.insert(0, {here!r})
import test_scaling_kills
from pathlib import Path
from rag_helpers.scaling import MilvusIndex, connect
connect({address!r})
with MilvusIndex({uri!r}, "driver", dimension=16, model="toy") as index:
    test_scaling_kills.run(Path({folder!r}), index, lambda *done: print(*done, flush=True))
"""


def test_an_ingesting_process_that_is_killed_is_resumed(cluster, milvus, tmp_path):
    code = INGESTER.format(
        here=str(Path(__file__).parent),
        address=cluster.address,
        uri=milvus.uri,
        folder=str(tmp_path),
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("6 "):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    with MilvusIndex(milvus.uri, "driver", dimension=16, model="toy") as index:
        report = run(tmp_path, index)
        assert report.passed_over >= 6
        assert_whole(tmp_path, index)


def test_a_milvus_that_is_killed_is_named_and_then_completed(cluster, tmp_path):
    with LocalMilvus(tmp_path / "server") as server:

        def kill(done, parts):
            if done == 4:
                server.process.kill()
                server.process.wait()

        with (
            MilvusIndex(server.uri, "dies", dimension=16, model="toy", timeout_s=5) as index,
            pytest.raises(ScalingError, match="failed in upsert of 'dies'"),
        ):
            run(tmp_path / "shards", index, kill)
    with (
        LocalMilvus(tmp_path / "server") as server,
        MilvusIndex(server.uri, "dies", model="toy") as index,
    ):
        report = run(tmp_path / "shards", index)
        assert report.passed_over >= 4
        assert_whole(tmp_path / "shards", index)


def test_a_node_with_other_versions_is_named(cluster, tmp_path, monkeypatch):
    other = tmp_path / "numpy-0.0.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with monkeypatch.context() as variables:
        variables.setenv("PYTHONPATH", path)
        cluster.add_node()
    try:
        with pytest.raises(ScalingError, match=r"Node \w+ at 127\.0\.0\.1 has numpy 0\.0\.1"):
            check_versions()
    finally:
        cluster.kill_node()


def test_a_node_that_dies_while_it_starts_is_started_again(cluster):
    """Ray's own program aborts now and then; here it is killed, and Ray waits 30 s for it."""
    before, killed = _own_programs(), []

    def kill():
        while not killed:
            for program in _own_programs() - before:
                program.kill()
                killed.append(program.pid)
            time.sleep(0.01)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    nodes = cluster.nodes
    cluster.add_node()
    thread.join()
    assert len(killed) == 1 and cluster.nodes == nodes + 1
    new = {program.pid for program in _own_programs() - before}
    assert len(new - set(killed)) == 1, "the dead one may stay as a zombie, and one runs"
    cluster.kill_node()


class SlowGenerator(ExtractiveGenerator):
    """Takes a tenth of a second, so that a kill finds questions inside the replica."""

    def generate(self, prompts):
        time.sleep(0.1)
        return super().generate(prompts)


def load_words(suffix="", generator=ExtractiveGenerator):
    chunks = [
        Chunk(f"Thing{number} is made of matter{number}{suffix}.", f"d{number}", 0, 40)
        for number in range(40)
    ]
    return RagPipeline(KeywordRetriever(chunks), generator())


def expected(number, suffix=""):
    return f"Thing{number} is made of matter{number}{suffix}."


def serve_words(port, suffix="", generator=ExtractiveGenerator, **more):
    settings = load_settings(host="127.0.0.1", port=port, api_key=None)
    return serve_on_ray(partial(load_words, suffix, generator), settings, **more)


def ask_many(url, count, clients=4):
    """Ask from several threads until `count` answers are there."""
    replies, numbers = {}, iter(range(count))

    def client():
        for number in numbers:
            replies[number] = ask(url, f"What is thing{number % 40} made of?", timeout_s=90)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    return replies, threads


def test_a_node_killed_while_serving_costs_no_answer(cluster):
    url = serve_words(free_port(), generator=SlowGenerator, replicas=2, per_node=1)
    try:
        replies, threads = ask_many(url, 400)
        time.sleep(1)
        cluster.kill_node()
        assert len(replies) < 400, "the node was killed too late to disturb anybody"
        cluster.add_node()
        for thread in threads:
            thread.join()
        assert len(replies) == 400
        wrong = [n for n, reply in replies.items() if reply.message["text"] != expected(n % 40)]
        assert wrong == []
    finally:
        stop_serving()


def test_an_update_rolls_without_a_gap(cluster):
    port = free_port()
    url = serve_words(port, replicas=2)
    try:
        replies, threads = ask_many(url, 600, clients=2)
        serve_words(port, " and time", replicas=2)
        for thread in threads:
            thread.join()
        for number, reply in replies.items():
            assert reply.message["text"] in (
                expected(number % 40),
                expected(number % 40, " and time"),
            )
        after = ask(url, "What is thing3 made of?")
        assert after.message["text"] == expected(3, " and time")
    finally:
        stop_serving()


def test_more_replicas_come_when_more_is_asked(cluster):
    url = serve_words(free_port(), replicas=(1, 2))
    try:
        assert ask(url, "What is thing7 made of?").message["text"] == expected(7)
    finally:
        stop_serving()


def fail_to_load():
    raise ValueError("the model's file is missing")


def test_replicas_that_cannot_load_say_why(cluster):
    settings = load_settings(host="127.0.0.1", port=free_port(), api_key=None)
    try:
        with pytest.raises(ScalingError, match="The service is DEPLOY"):
            serve_on_ray(fail_to_load, settings, replicas=1, ready_s=60)
    finally:
        stop_serving()


STRANGER = """
from rag_helpers.scaling import connect
import ray
connect({address!r}, same_versions=False)
print("connected", ray.get(ray.remote(lambda: 1).remote(), timeout=20))
"""


def test_who_has_not_the_token_of_the_cluster_cannot_run_code_there(cluster):
    code = STRANGER.format(address=cluster.address)
    for token, admitted in ((os.environ["RAY_AUTH_TOKEN"], True), ("a" * 64, False)):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=200,
            env={**os.environ, "RAY_AUTH_TOKEN": token},
        )
        assert ("connected 1" in done.stdout) == admitted


def test_no_process_and_no_folder_is_left_behind(tmp_path):
    """In a process of its own: the module's cluster still runs."""
    code = (
        "import psutil\n"
        "from rag_helpers.scaling import LocalCluster, LocalMilvus\n"
        f"with LocalMilvus({str(tmp_path)!r}) as m, LocalCluster(2) as c:\n"
        "    print(c._folder, len(psutil.Process().children(recursive=True)) > 5)\n"
        "print(len(psutil.Process().children(recursive=True)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=200
    )
    first, last = done.stdout.splitlines()[-2:]
    folder, many = first.split()
    assert many == "True" and last == "0"
    assert not Path(folder).exists()
    running = [p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"])]
    assert not any(folder in " ".join(line) for line in running)


def test_a_server_still_takes_connections_when_nobody_asked_for_long(left_alone):
    """Last, since the other tests pass the time. The client's own pings made it hang up."""
    server, since = left_alone
    time.sleep(max(0.0, since + 90 - time.monotonic()))
    Connection(server.uri, token="", timeout_s=60).close()
