"""The demonstration: the same steps on several nodes, killed in between, against one process.

Every figure it prints was measured in the same run, on the same cores. The module
measures; it decides nothing and knows no page that shows its figures.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rag_helpers.chunking import split_by_structure
from rag_helpers.corpus import load_help_topics
from rag_helpers.embedding import SentenceEmbedder
from rag_helpers.environment import describe_processor
from rag_helpers.errors import InvalidInputError
from rag_helpers.evaluation import load_gold_split
from rag_helpers.generator import ExtractiveGenerator
from rag_helpers.index import ChunkIndex
from rag_helpers.pipeline import WINDOW_WORDS, RagPipeline, whole_documents
from rag_helpers.records import Document
from rag_helpers.retriever import build_retriever
from rag_helpers.scaling.cluster import LocalCluster, LocalMilvus, free_port
from rag_helpers.scaling.comparing import (
    SyntheticEmbedder,
    count_keys,
    flat_memory,
    median_ms,
    memory_mb,
    peak_memory_mb,
    same_hits,
    score,
)
from rag_helpers.scaling.engines import check_versions, versions_here
from rag_helpers.scaling.ingestion import IngestReport, embed_part, ingest
from rag_helpers.scaling.milvus import MilvusIndex
from rag_helpers.scaling.rates import derive_rates
from rag_helpers.scaling.retrieving import build_milvus_retriever
from rag_helpers.scaling.serving import ask, serve_on_ray, stop_serving
from rag_helpers.scaling.shards import ShardFolder
from rag_helpers.scaling.sources import DocumentSource, SyntheticSource

__all__ = ["run_demo", "served_pipeline", "synthetic_embedder"]

MODEL = "all-MiniLM-L6-v2"
ACTORS = 2
IMITATED = 500  # real vectors that the synthetic ones crowd around
Say = Callable[[str], object]


def run_demo(
    *,
    synthetic: tuple[int, ...] = (10_000, 100_000),
    topics: int | None = None,
    questions: int = 60,
    say: Say = print,
) -> dict[str, Any]:
    """Ingest, kill, compare, serve and kill again; return what was measured.

    Parameters
    ----------
    synthetic : tuple of int
        How many synthetic chunks to ingest, one index each.
    topics : int, optional
        How many of the help topics; all when left out.
    questions : int
        How many questions are asked over HTTP.
    say : callable
        Told what happens, a line at a time.

    Returns
    -------
    dict
        ``throughput``, ``kills``, ``equality``, ``growth``, ``flat_memory``, ``rates``,
        ``seconds``, ``processor`` and ``versions``.

    Raises
    ------
    MissingExtraError
        If Ray or Milvus is not installed.
    """
    documents = load_help_topics()[:topics]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="rag") as name, LocalMilvus(Path(name, "m")) as milvus:
        folder = Path(name)
        say(f"One process embeds {len(documents)} help topics …")
        index, alone = _build_alone(documents)
        found: dict[str, Any] = {"throughput": {"one process": alone}}
        with LocalCluster(nodes=3) as cluster:
            say(f"A Ray cluster of {check_versions()} nodes, all of this machine, does the same …")
            whole, timing = _ingest_topics(documents, folder / "whole", milvus.uri, "whole", index)
            found["throughput"]["cluster"] = timing
            say("… and again, while a node is killed …")
            killed = _ingest_killed(documents, folder / "killed", milvus.uri, index, cluster, whole)
            found["kills"] = {"embedding": killed}
            say("The questions are asked of both indexes …")
            found["equality"] = _compare(documents, index, milvus.uri)
            real = folder / "real.npy"
            np.save(real, index.vectors()[:IMITATED])
            found["growth"] = [_grow(count, real, folder, say) for count in sorted(synthetic)]
            say("Ray Serve answers, while a node is killed …")
            found["kills"]["serving"] = _serve(milvus.uri, cluster, questions)
    found["flat_memory"] = [flat_memory(100_000, index.dimension)]
    found["rates"] = derive_rates(index, found)
    found["seconds"] = round(time.perf_counter() - began, 1)
    return {**found, "processor": describe_processor(), "versions": versions_here()}


def served_pipeline(uri: str, name: str) -> RagPipeline:
    """Return the pipeline that each replica runs: hybrid search in Milvus, the best sentence.

    Parameters
    ----------
    uri : str
        Of Milvus.
    name : str
        Of the index.

    Returns
    -------
    RagPipeline
    """
    index = MilvusIndex(uri, name, model=MODEL)
    retriever = build_milvus_retriever("hybrid", index, SentenceEmbedder(MODEL))
    return RagPipeline(retriever, ExtractiveGenerator())


def synthetic_embedder(file: str) -> SyntheticEmbedder:
    """Return an embedder that imitates the vectors in a file of numpy's."""
    return SyntheticEmbedder(np.load(file))


def _build_alone(documents: list[Document]) -> tuple[ChunkIndex, dict[str, Any]]:
    """Embed part by part as the cluster does, with all cores for one encoder."""
    embedder = SentenceEmbedder(MODEL)
    index = ChunkIndex(embedder.dimension, metric=embedder.metric, model=embedder.name)
    source = DocumentSource(documents)
    began = time.perf_counter()
    for part in source.parts():
        chunks = split_by_structure(source.read(part))
        vectors, counts = embed_part(chunks, embedder, WINDOW_WORDS)
        index.add(chunks, vectors, counts=counts)
    seconds = time.perf_counter() - began
    return index, _rate(len(index), seconds)


def _rate(chunks: int, seconds: float) -> dict[str, Any]:
    return {"chunks": chunks, "seconds": round(seconds, 2), "chunks/s": round(chunks / seconds, 2)}


def _ingest_topics(
    documents: list[Document],
    folder: Path,
    uri: str,
    name: str,
    index: ChunkIndex,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[ShardFolder, dict[str, Any]]:
    came: list[float] = []

    def note(done: int, parts: int) -> None:
        came.append(time.perf_counter())
        if progress is not None:
            progress(done, parts)

    began = time.perf_counter()
    with MilvusIndex(uri, name, dimension=index.dimension, model=MODEL) as milvus:
        report = ingest(
            DocumentSource(documents),
            folder,
            milvus,
            partial(SentenceEmbedder, MODEL),
            window_words=WINDOW_WORDS,
            actors=ACTORS,
            progress=note,
        )
        held = (len(milvus), milvus.vector_count)
    shards = ShardFolder(folder, _settings(folder))
    counted = count_keys(shards)
    if held != (counted["chunks"], counted["vectors"]):
        raise InvalidInputError(f"Milvus holds {held}, and the shards {counted}: report this.")
    timing = _rate(report.chunks, report.seconds)
    # Encoders are loaded once, however large the corpus; what follows is the rate that scales.
    timing["seconds until the first part"] = round(came[0] - began, 2)
    return shards, {**timing, **counted}


def _ingest_killed(
    documents: list[Document],
    folder: Path,
    uri: str,
    index: ChunkIndex,
    cluster: LocalCluster,
    whole: ShardFolder,
) -> dict[str, Any]:
    killed: list[int] = []

    def kill(done: int, parts: int) -> None:
        if not killed and done >= max(1, parts // 4):
            cluster.kill_node()
            killed.append(done)

    shards, found = _ingest_topics(documents, folder, uri, "killed", index, kill)
    cluster.add_node()
    same = {name: facts["sha256"] for name, facts in whole.done().items()}
    mine = {name: facts["sha256"] for name, facts in shards.done().items()}
    return {
        **found,
        "killed after parts": killed[0],
        "chunks lost": len(index) - found["chunks"],
        "shards": len(same),
        "shards equal to the last bit": sum(mine.get(name) == sum_ for name, sum_ in same.items()),
    }


def _compare(documents: list[Document], index: ChunkIndex, uri: str) -> dict[str, Any]:
    gold = [question for question in load_gold_split("dev") if question.answers]
    embedder = SentenceEmbedder(MODEL)
    vectors = embedder.embed([question.question for question in gold])
    with MilvusIndex(uri, "whole", model=MODEL) as milvus:
        same = [same_hits(index.search(row, 10)[0], milvus.search(row, 10)[0]) for row in vectors]
        rows = {
            "one process": score(
                build_retriever("hybrid", index, embedder).search, gold, documents
            ),
            "cluster": score(
                build_milvus_retriever("hybrid", milvus, embedder).search, gold, documents
            ),
        }
    return {"questions": len(gold), "dense: same ten hits": sum(same), "hybrid": rows}


def _grow(count: int, real: Path, folder: Path, say: Say) -> dict[str, Any]:
    """Ingest into a server of its own, so that its memory is that of this corpus alone."""
    say(f"{count:,} synthetic chunks go the same way …")
    vectors = np.load(real)
    name = folder / f"synthetic_{count}"
    driver = 0.0

    def watch(done: int, parts: int) -> None:
        nonlocal driver
        driver = max(driver, memory_mb(os.getpid()))

    with (
        LocalMilvus(name / "m") as milvus,
        MilvusIndex(
            milvus.uri, dimension=vectors.shape[1], model="synthetic", timeout_s=600
        ) as index,
    ):
        assert milvus.process is not None  # noqa: S101 (for the type checker)
        empty = memory_mb(milvus.process.pid)
        report: IngestReport = ingest(
            SyntheticSource(count),
            name / "shards",
            index,
            partial(synthetic_embedder, str(real)),
            split=whole_documents,
            window_words=None,
            actors=ACTORS,
            progress=watch,
        )
        search = median_ms(lambda number: index.search(vectors[number], 10), 20)
        counted = count_keys(ShardFolder(name / "shards", _settings(name / "shards")))
        row = {
            "chunks": count,
            "in Milvus": len(index),
            "doubled": counted["doubled"],
            "seconds": round(report.seconds, 1),
            "chunks/s": round(count / report.seconds),
            "search_ms": round(search, 1),
            "shards_mb": _folder_mb(name / "shards"),
            "milvus_disk_mb": _folder_mb(name / "m"),
            "milvus_empty_mb": round(empty),
            "milvus_after_mb": round(memory_mb(milvus.process.pid)),
            "milvus_peak_mb": round(peak_memory_mb(milvus.process.pid)),
            "driver_peak_mb": round(driver),
        }
    say(f"… in {report.seconds:.0f} s.")
    return row


def _folder_mb(folder: Path) -> float:
    return round(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6, 1)


def _settings(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return settings


def _serve(uri: str, cluster: LocalCluster, questions: int) -> dict[str, Any]:
    from rag_helpers.deployment import load_settings

    asked = [question.question for question in load_gold_split("dev")[:questions]]
    expected = [answer.text for answer in served_pipeline(uri, "whole").answer_many(asked)]
    url = serve_on_ray(
        partial(served_pipeline, uri, "whole"),
        load_settings(host="127.0.0.1", port=free_port(), api_key=None),
        replicas=cluster.nodes,
        per_node=1,
    )
    began = time.perf_counter()
    with ThreadPoolExecutor(4) as clients:
        waiting = [clients.submit(ask, url, question, timeout_s=120) for question in asked]
        waiting[len(asked) // 3].result()
        cluster.kill_node()
        cluster.add_node()
        replies = [one.result() for one in waiting]
    seconds = time.perf_counter() - began
    stop_serving()
    return {
        "asked": len(asked),
        "wrong": sum(
            reply.message["text"] != text for reply, text in zip(replies, expected, strict=True)
        ),
        "asked again": sum(reply.tries > 1 for reply in replies),
        "longest_s": round(max(reply.seconds for reply in replies), 2),
        "questions/s": round(len(asked) / seconds, 2),
    }
