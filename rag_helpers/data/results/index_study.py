"""Measures kinds of FAISS index: what they find, how fast, how large, and how they are loaded.

``python rag_helpers/data/results/index_study.py`` writes ``indexes.json`` beside this file, in
about ten minutes on two cores and with 6 GB of memory; `make results` then brings RESULTS.md in
step. The first vectors are those of the default index over the help topics. All others are
synthetic, drawn to lie like them. All are asked the dev questions, because those are as hard among
the synthetic vectors as among the real ones, as far as the same number of vectors can tell
("likeness"); questions that are drawn like the dev questions are harder, and those that are drawn
like the passages far easier.

Times are those of AVX2, which learners have: ``FAISS_SIMD_LEVEL`` and ``OPENBLAS_CORETYPE`` are set
below, before FAISS and numpy are loaded. FAISS answers a single question with one thread; building
uses two.
"""

import os

os.environ.setdefault("FAISS_SIMD_LEVEL", "AVX2")
os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import faiss

from rag_helpers.corpus import load_help_topics
from rag_helpers.embedding import load_embedders
from rag_helpers.environment import describe_processor, versions
from rag_helpers.evaluation import load_gold_split
from rag_helpers.index import ChunkIndex
from rag_helpers.optimization import choose_lists, imitate_vectors, measure_indexes
from rag_helpers.pipeline import WINDOW_WORDS, load_index
from rag_helpers.records import Chunk

FILE = Path(__file__).with_name("indexes.json")
SIZES = (10_000, 100_000, 1_000_000)
# k-means needs no more; FAISS itself is content with 39.
TRAINING_PER_LIST = 64
PROBES = (1, 4, 8, 16, 32, 64)
EFFORTS = (16, 64, 256)
MAPPED = 200_000


def real_vectors():
    """Return the default index' vectors and the dev questions'."""
    index = load_index(load_help_topics(), window_words=WINDOW_WORDS)
    _, embedder = load_embedders(index.model)
    asked = [question.question for question in load_gold_split("dev")]
    return index.vectors(), embedder.embed(asked)


def kinds_at(count):
    """Return every kind with its settings, those that are built alike side by side."""
    lists = choose_lists(count)
    kinds = [("Flat", {}), ("SQ8", {}), ("PQ48np", {}), ("PQ96np", {})]
    for codes in ("Flat", "SQ8"):
        probes = [probes for probes in PROBES if probes <= lists / 2]
        kinds += [(f"IVF{lists},{codes}", {"nprobe": number}) for number in probes]
    kinds += [("HNSW32,Flat", {"efSearch": effort}) for effort in EFFORTS]
    return {f"{kind} {parameters}": (kind, parameters) for kind, parameters in kinds}


def group_of(vectors, questions, origin, *, synthetic):
    """Measure all kinds over the same vectors."""
    kinds = kinds_at(len(vectors))
    training = TRAINING_PER_LIST * max(choose_lists(len(vectors)), 1024)
    rows = []
    for row in measure_indexes(vectors, questions, kinds, training=training):
        kind, parameters = kinds[row.name]
        rows.append(
            {
                "kind": kind,
                "parameters": parameters,
                "recall": row.recall.to_json(),
                "queries_per_s": round(row.queries_per_s, 1),
                "size_mb": round(row.size_mb, 3),
                "build_s": round(row.build_s, 2),
            }
        )
        print(len(vectors), rows[-1], flush=True)
    return {
        "vectors": origin,
        "synthetic": synthetic,
        "n": len(vectors),
        "dimension": vectors.shape[1],
        "queries": len(questions),
        "rows": rows,
    }


def likeness(vectors, questions):
    """Search as many synthetic vectors as there are real ones with the same inverted file."""
    kind, parameters = f"IVF{choose_lists(len(vectors))},Flat", {"nprobe": 4}
    synthetic = imitate_vectors(vectors, len(vectors), seed=1)
    pairs = {
        "real vectors, dev questions": (vectors, questions),
        "synthetic vectors, dev questions": (synthetic, questions),
        "synthetic vectors, questions drawn like dev questions": (
            synthetic,
            imitate_vectors(questions, len(questions), seed=2),
        ),
        "synthetic vectors, questions drawn like passages": (
            synthetic,
            imitate_vectors(vectors, len(questions), seed=3),
        ),
    }
    found = {}
    for name, (searched, asked) in pairs.items():
        [row] = measure_indexes(searched, asked, {"": (kind, parameters)})
        found[name] = row.recall.to_json()
    return {"kind": kind, "parameters": parameters, "n": len(vectors), "recall": found}


LOADER = """
import sys, time
from rag_helpers.index import ChunkIndex
import faiss, numpy as np

def memory():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {name: int(lines[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile", "VmHWM")}

before, began = memory(), time.perf_counter()
index = ChunkIndex.load(sys.argv[1], memory_map=sys.argv[2] == "True")
seconds, loaded = time.perf_counter() - began, memory()
index.search(np.ones(index.dimension) / index.dimension**0.5)
searched = memory()
print(seconds, *(after[name] - before[name] for name, after in (
    ("RssAnon", loaded), ("RssFile", loaded), ("VmHWM", loaded), ("RssFile", searched))))
"""


def mapping(vectors):
    """Load the same saved index into new processes, with and without a memory map."""
    index = ChunkIndex(vectors.shape[1])
    chunks = [Chunk("a few words", f"doc{number}", 0, 11) for number in range(len(vectors))]
    index.add(chunks, vectors)
    found = {"n": len(vectors), "rows": {}}
    with tempfile.TemporaryDirectory() as folder:
        index.save(folder)
        found["file_mb"] = round(ChunkIndex.info(folder)["files"]["vectors"]["bytes"] / 1e6, 1)
        del index
        for memory_map in (False, True):
            # The fastest of three, all with the files in the system's cache.
            runs = []
            for _ in range(3):
                done = subprocess.run(
                    [sys.executable, "-c", LOADER, folder, str(memory_map)],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                runs.append([float(number) for number in done.stdout.split()])
            seconds, private, shared, peak, searched = min(runs)
            found["rows"]["mapped" if memory_map else "loaded"] = {
                "load_s": round(seconds, 2),
                # From MiB to MB.
                "private_mb": round(private * 1.048576, 1),
                "shared_mb": round(shared * 1.048576, 1),
                "peak_mb": round(peak * 1.048576, 1),
                "shared_after_search_mb": round(searched * 1.048576, 1),
            }
    print(found, flush=True)
    return found


def main():
    """Measure one size after the other, and write the file after each."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--largest", type=int, default=max(SIZES), help="leave larger sizes out")
    options = parser.parse_args()
    began = time.perf_counter()
    faiss.omp_set_num_threads(2)
    vectors, questions = real_vectors()
    found = {
        "k": 10,
        "simd": faiss.SIMDConfig.get_level_name(),
        "threads": faiss.omp_get_max_threads(),
        "likeness": likeness(vectors, questions),
        "mapping": mapping(imitate_vectors(vectors, MAPPED, seed=3)),
        "groups": [group_of(vectors, questions, "help topics", synthetic=False)],
        "processor": describe_processor(),
        "versions": versions(),
    }
    for size in SIZES:
        if size <= options.largest:
            made = imitate_vectors(vectors, size, seed=4)
            found["groups"].append(
                group_of(made, questions, "drawn like help topics", synthetic=True)
            )
            del made
        draft = FILE.with_suffix(".json.new")
        draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        draft.replace(FILE)
        print(f"{time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
