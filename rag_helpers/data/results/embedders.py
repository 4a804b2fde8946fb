"""Measures ways to embed the same passages: speed beside what they change, and the cache.

``python rag_helpers/data/results/embedders.py`` writes ``embedders.json`` beside this file, in
about seven minutes on two cores: once on the processor as it is, and once as on one that has
nothing newer than AVX2, which is what most laptops have. ``make results`` then brings RESULTS.md in
step. Rows of packages that are not installed (CTranslate2, torchao) are left out.

The passages are the recipe's: chunks of 150 words of the help topics. They are embedded in three
rounds, a third in each, by one way after the other, so that what else runs on the machine meets
all of them alike. The questions are those of dev, by which defaults may be chosen.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np

from rag_helpers.chunking import split_by_words
from rag_helpers.corpus import load_help_topics
from rag_helpers.embedding import SentenceEmbedder
from rag_helpers.environment import cpu_has_bf16, describe_processor, versions
from rag_helpers.evaluation import evaluate, load_gold_split
from rag_helpers.index import ChunkIndex
from rag_helpers.models import resolve
from rag_helpers.optimization import model_size_mb, quantize_dynamic
from rag_helpers.pipeline import WINDOW_WORDS, build_index
from rag_helpers.retriever import DenseRetriever

FILE = Path(__file__).with_name("embedders.json")
MODEL = "all-MiniLM-L6-v2"
ROUNDS = 3
METRICS = ("recall@5", "mrr@10")
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "CT2_FORCE_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
GROUPS = {"the processor as it is": {}, "as with AVX2 alone": AVX2}


class Recipe:
    """`encode` as the recipe calls it: batches of 32, padded to the longest text of each."""

    def __init__(self, batch_size=32):
        from sentence_transformers import SentenceTransformer

        self.model = SentenceTransformer(str(resolve(MODEL)), device="cpu")
        self.batch_size = batch_size

    def embed(self, texts, *, titles=None):
        """Return one vector per text."""
        return self.model.encode(list(texts), batch_size=self.batch_size)


class CTranslate2:
    """CTranslate2's encoder, with MiniLM's pooling beside it."""

    def __init__(self, compute_type):
        import ctranslate2
        from tokenizers import Tokenizer

        source = resolve(MODEL)
        self.tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(256)
        with tempfile.TemporaryDirectory() as folder:
            converter = ctranslate2.converters.TransformersConverter(str(source))
            place = converter.convert(folder, quantization=compute_type, force=True)
            self.size_mb = (Path(place) / "model.bin").stat().st_size / 1e6
            # As many threads as PyTorch takes.
            self.encoder = ctranslate2.Encoder(
                place, device="cpu", compute_type=compute_type, intra_threads=os.cpu_count()
            )

    def embed(self, texts, *, titles=None):
        """Return one vector per text."""
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
        vectors = np.zeros((len(rows), 384), dtype=np.float32)
        for start in range(0, len(order), 8):
            batch = order[start : start + 8]
            output = self.encoder.forward_batch([rows[row] for row in batch])
            for row, states in zip(batch, np.asarray(output.last_hidden_state), strict=True):
                vectors[row] = states[: len(rows[row])].mean(axis=0)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def torchao_int8():
    """Return MiniLM with 8-bit weights a channel and 8-bit activations a token."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    embedder = SentenceEmbedder(MODEL)
    quantize_(embedder._model[0].auto_model, Int8DynamicActivationInt8WeightConfig())
    return embedder


def ways():
    """Return a function that loads it for each way to embed that this machine has."""
    found = {
        "`encode` as in the recipe": Recipe,
        "`encode`, batches of 4": lambda: Recipe(4),
        "fp32 without padding (default)": lambda: SentenceEmbedder(MODEL),
    }
    if cpu_has_bf16():
        found["bf16 without padding"] = lambda: SentenceEmbedder(MODEL, dtype="bfloat16")
    found["torch dynamic int8"] = lambda: quantize_dynamic(SentenceEmbedder(MODEL))
    if has("torchao"):
        found["torchao int8"] = torchao_int8
    if has("ctranslate2"):
        for kind in ("float32", "int8"):
            found[f"CTranslate2 {kind}"] = lambda kind=kind: CTranslate2(kind)
    return found


class Remote:
    """An embedder in a process of its own, since libraries' threads hold each other up in one."""

    def __init__(self, name):
        context = get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=answer, args=(name, other), daemon=True)
        self.process.start()
        self.facts = self.connection.recv()

    def embed(self, texts, *, titles=None):
        """Return one vector per text, and note how long it took."""
        self.connection.send(list(texts))
        vectors, self.seconds = self.connection.recv()
        return vectors

    def stop(self):
        """End the process."""
        self.connection.send(None)
        self.process.join()


def answer(name, connection):
    """Load one way to embed, and embed what comes."""
    began = time.perf_counter()
    embedder = ways()[name]()
    load_s = time.perf_counter() - began
    embedder.embed(["A first text is often slow."])
    size = getattr(embedder, "size_mb", None) or model_size_mb(embedder)
    connection.send({"size_mb": round(size, 1), "load_s": round(load_s, 2)})
    while (texts := connection.recv()) is not None:
        began = time.perf_counter()
        vectors = embedder.embed(texts)
        connection.send((vectors, time.perf_counter() - began))


def has(package):
    """Tell whether a package is installed."""
    return importlib.util.find_spec(package) is not None


def measure_ways(documents):
    """Return a row per way: size, load, speed in each round, cosines, retrieval."""
    chunks = split_by_words(documents, size=150)
    texts = [chunk.text for chunk in chunks]
    gold = [question for question in load_gold_split("dev") if question.answers]
    with ExitStack() as stack:
        loaded = {}
        for name in ways():
            loaded[name] = Remote(name)
            stack.callback(loaded[name].stop)
        rows = {name: {**remote.facts, "rounds": []} for name, remote in loaded.items()}
        vectors = {name: np.zeros((len(texts), 384), dtype=np.float32) for name in loaded}
        for number in range(ROUNDS):
            places = range(number, len(texts), ROUNDS)
            for name, remote in loaded.items():
                vectors[name][places] = remote.embed([texts[place] for place in places])
                rate = len(places) / remote.seconds
                rows[name]["rounds"].append(round(rate, 1))
                print(f"{name}: {rate:.1f} passages/s", flush=True)
        first = next(iter(rows))
        for name, row in rows.items():
            ratios = [a / b for a, b in zip(row["rounds"], rows[first]["rounds"], strict=True)]
            cosines = (vectors[name] * vectors[first]).sum(axis=1)
            row["passages_per_s"] = median(row["rounds"])
            row["times_encode"] = round(median(ratios), 2)
            row["mean_cosine"] = round(float(cosines.mean()), 5)
            row["min_cosine"] = round(float(cosines.min()), 5)
            index = ChunkIndex(384, model=MODEL)
            index.add(chunks, vectors[name])
            dense = DenseRetriever(index, loaded[name], collapse=False)
            report = evaluate(None, gold, documents, search=dense.search).to_json()
            row |= {metric: report[metric] for metric in METRICS}
    return {"passages": len(texts), "questions": len(gold), "rows": rows}


def measure_cache(documents):
    """Return the seconds to build the default index: first, again, and with one topic edited."""
    first = documents[0]
    edited = [replace(first, text=f"{first.text}\n\nOne more sentence."), *documents[1:]]
    seconds = {}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["RAG_CACHE"] = cache
        for name, corpus in {
            "nothing kept": documents,
            "nothing changed": documents,
            "one topic edited": edited,
        }.items():
            began = time.perf_counter()
            index = build_index(corpus, window_words=WINDOW_WORDS)
            seconds[name] = round(time.perf_counter() - began, 1)
            print(f"{name}: {seconds[name]} s", flush=True)
        kept = sum(file.stat().st_size for file in Path(cache).glob("embeddings*"))
    os.environ.pop("RAG_CACHE")
    return {
        "seconds": seconds,
        "vectors": sum(index.counts),
        "topics": len(documents),
        "edited": first.source,
        "file_mb": round(kept / 1e6, 1),
    }


def main():
    """Measure each group in a process of its own, and write the file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--into", type=Path, help="measure on this processor, write JSON there")
    options = parser.parse_args()
    if options.into:
        documents = load_help_topics()
        found = {"processor": describe_processor(), **measure_ways(documents)}
        found["cache"] = measure_cache(documents)
        options.into.write_text(json.dumps(found), encoding="utf-8")
        return
    groups = {}
    scratch = Path(tempfile.mkdtemp())
    for name, switches in GROUPS.items():
        print(f"{name}:", flush=True)
        subprocess.run(
            [sys.executable, __file__, "--into", scratch / "group.json"],
            env={**os.environ, **switches},
            check=True,
        )
        groups[name] = json.loads((scratch / "group.json").read_text(encoding="utf-8"))
    shutil.rmtree(scratch)
    draft = FILE.with_suffix(".json.new")
    draft.write_text(
        json.dumps({"groups": groups, "versions": versions()}, indent=1) + "\n", encoding="utf-8"
    )
    draft.replace(FILE)


if __name__ == "__main__":
    main()
