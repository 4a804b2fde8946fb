"""Measures what each part of the default pipeline is worth: the reason for each default.

``python rag_helpers/data/results/ablate.py`` writes ``ablation.json`` beside this file, in about
half an hour on two cores; `make results` then brings README in step. It asks the train and dev
questions, by which defaults may be chosen. The adapters were trained on the train questions, so
rows with an adapter are of the dev questions alone, and beside them stands the same without it.

What a language model reads takes several times as long on a processor without AVX-512 and
bfloat16: the file says which this one has. ``ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2``
switches them off.
"""

import argparse
import json
import random
import tempfile
import time
from dataclasses import asdict, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from statistics import median

from rag_helpers.chunking import split_by_structure, split_by_words, supporting_sentences
from rag_helpers.corpus import load_help_topics
from rag_helpers.embedding import SentenceEmbedder, load_embedders
from rag_helpers.environment import describe_processor, versions
from rag_helpers.evaluation import Judge, compare, evaluate, load_gold_split
from rag_helpers.fine_tuning import (
    build_question_lessons,
    lessons_from_pairs,
    lessons_from_teacher,
    pairs_from_model,
    train_question_side,
)
from rag_helpers.fine_tuning.shipping import RETRIEVER_SETTINGS
from rag_helpers.generator import ExtractiveGenerator, load_generator
from rag_helpers.index import ChunkIndex
from rag_helpers.pipeline import (
    READER,
    TURNS,
    WINDOW_WORDS,
    QuestionLikelihood,
    RagPipeline,
    build_index,
    load_index,
)
from rag_helpers.prompting import (
    CLOSED_BOOK,
    FEW_SHOT,
    SENTENCES,
    SHORT_ANSWER,
    asks_to_explain,
)
from rag_helpers.records import Chunk, Hit
from rag_helpers.retriever import (
    DenseRetriever,
    ExpandedRetriever,
    HybridRetriever,
    KeywordRetriever,
    RerankedRetriever,
    build_retriever,
    diversify,
    embed_windows,
    expand_with_hits,
    merge_neighbours,
)

FILE = Path(__file__).with_name("ablation.json")
METRICS = ("recall@1", "recall@5", "recall@10", "mrr@10", "words_per_hit")
ANSWERS = ("exact_match", "f1", "contains_answer", "words_per_hit")
SENTENCES_BY = ("rougeL", "supported_by_citation", "words_per_hit")
DEPTH = 20  # candidates for what chooses among hits


class Changed:
    """A retriever whose hits are changed by a function of question and hits."""

    def __init__(self, retriever, change):
        self.retriever, self.change = retriever, change

    def search(self, question, k=5, *, where=None):
        """Return the hits as changed."""
        hits = self.retriever.search(question, max(k, DEPTH), where=where)
        return self.change(hits, k)


class Oracle:
    """Finds nothing but the evidence: what a reader could do at best."""

    name = "oracle"

    def __init__(self, gold, documents):
        spans = Judge(documents, gold).spans
        self.spans = {question.question: spans[question.id] for question in gold}

    def search(self, question, k=5, *, where=None):
        """Return the passage that answers the question."""
        span = self.spans[question]
        return [Hit(Chunk(span.text, span.source, span.start, span.end), 1.0, 1)]


def measure(retriever, gold, documents):
    """Return the report of one retriever and what the table shows of it, its times included."""
    seconds = []

    def search(question, k):
        began = time.perf_counter()
        hits = retriever.search(question, k)
        seconds.append(time.perf_counter() - began)
        return hits

    report = evaluate(None, gold, documents, search=search)
    found = report.to_json()
    row = {metric: found[metric] for metric in METRICS}
    return report, {**row, "ms": round(median(seconds) * 1000, 1)}


def measure_reader(pipeline, gold, documents):
    """Return the report of one reader and what the table shows of it, its times included."""
    report = evaluate(pipeline, gold, documents, search=pipeline.retriever.search)
    found = report.to_json()
    row = {metric: found[metric] for metric in ANSWERS}
    return report, {**row, "ms": found["latency_ms"]["total"]["p50"]}


def measure_sentences(pipeline, gold, documents):
    """Return the report of answers in full and what the table shows of it, its times included."""
    report = evaluate(pipeline, gold, documents, search=pipeline.retriever.search)
    found = report.to_json()
    row = {metric: found[metric] for metric in SENTENCES_BY}
    return report, {**row, "ms": found["latency_ms"]["total"]["p50"]}


def gain_over(first, report, metric):
    """Return the paired gain over the first row, in the metric that the table is about."""
    gain = compare(report, first, metric)
    return {**asdict(gain.difference), "metric": metric, "p": gain.p}


def windowed_index(documents, embedder):
    """Return the default's chunks by their windows alone, without their whole."""
    chunks = split_by_structure(documents)
    vectors, counts = embed_windows(chunks, embedder, max_words=WINDOW_WORDS, with_whole=False)
    index = ChunkIndex(embedder.dimension, metric=embedder.metric, model=embedder.name)
    index.add(chunks, vectors, counts=counts)
    return index


def recipe_with(documents, size, overlap=0, max_tokens=None):
    """Return the recipe's search, with chunks of so many words."""
    embedder = SentenceEmbedder("all-MiniLM-L6-v2", max_tokens=max_tokens)
    index = ChunkIndex(embedder.dimension, metric=embedder.metric, model=embedder.name)
    chunks = split_by_words(documents, size=size, overlap=overlap)
    index.add(chunks, embedder.embed([chunk.text for chunk in chunks]))
    return DenseRetriever(index, embedder, collapse=False)


class Bench:
    """What the tables share, made when first asked for, and a method per table."""

    def __init__(self):
        self.documents = load_help_topics()
        self.dev = [question for question in load_gold_split("dev") if question.answers]
        train = [question for question in load_gold_split("train") if question.answers]
        self.both = [*train, *self.dev]
        self.some = random.Random(0).sample(self.dev, 40)  # noqa: S311 (a sample)
        self.passages, self.questions = load_embedders("all-MiniLM-L6-v2")

    @cached_property
    def index(self):
        """The default's index."""
        return load_index(self.documents, window_words=WINDOW_WORDS)

    @cached_property
    def untuned(self):
        """The default retriever without its adapter."""
        return build_retriever("hybrid", self.index, self.questions)

    @cached_property
    def default(self):
        """The default retriever."""
        _, tuned = load_embedders("all-MiniLM-L6-v2", adapter="auto")
        return build_retriever("hybrid", self.index, tuned)

    @cached_property
    def published(self):
        """The reader as published."""
        return load_generator(READER).with_options(max_new_tokens=32)

    def over(self, chunks):
        """Return the default retriever over chunks cut in another way."""
        index = load_index(self.documents, chunks=chunks, window_words=WINDOW_WORDS)
        return build_retriever("hybrid", index, self.questions)

    def parts(self):
        """Add one part after the other to the recipe."""
        recipe = recipe_with(self.documents, 150)
        bare = build_index(self.documents, with_heading=False)
        windows = windowed_index(self.documents, self.passages)
        keywords = KeywordRetriever.following(self.index, collapse=False)
        dense = DenseRetriever(self.index, self.questions, collapse=False)
        systems = {
            "recipe: 150 words, dense": recipe,
            "copies collapsed": DenseRetriever(recipe.index, self.questions),
            "cut by structure, at most 200 words": DenseRetriever(bare, self.questions),
            "title and heading embedded": DenseRetriever(
                load_index(self.documents), self.questions
            ),
            "windows of 40 words instead": DenseRetriever(windows, self.questions),
            "whole and windows": DenseRetriever(self.index, self.questions),
            "with keywords, ranks fused": HybridRetriever([dense, keywords]),
            "with keywords, scores fused (default)": self.untuned,
        }
        return measure, systems, self.both

    def beside(self):
        """Try what is not the default."""

        def expand(question):
            return expand_with_hits(question, self.untuned.search(question, 3))

        starts = dict(
            zip(
                (chunk.id for chunk in self.index.chunks),
                accumulate(self.index.counts, initial=0),
                strict=False,
            )
        )
        vectors = self.index.vectors()

        def diverse(hits, k):
            # The vector of the chunk's whole stands before those of its windows.
            wholes = vectors[[starts[hit.chunk.id] for hit in hits]]
            return diversify(hits, wholes, k=k, relevance=0.9)

        def widened(hits, k):
            return merge_neighbours(hits[:k], self.index.chunks)

        whole = build_retriever("hybrid", load_index(self.documents), self.questions)
        systems = {
            "default": self.untuned,
            "keywords alone": KeywordRetriever.following(self.index),
            "default over whole chunks, no windows": whole,
            "default, at most 150 words": self.over(
                split_by_structure(self.documents, max_words=150)
            ),
            "default, at most 100 words": self.over(
                split_by_structure(self.documents, max_words=100)
            ),
            "default, symbols spelt out (glossary)": ExpandedRetriever(self.untuned),
            "default, words of the first three hits added": ExpandedRetriever(self.untuned, expand),
            "default, hits unlike each other (MMR, 0.9)": Changed(self.untuned, diverse),
            "default, neighbouring chunks merged in": Changed(self.untuned, widened),
        }
        return measure, systems, self.both

    def sizes(self):
        """Cut as the recipe does, in other sizes."""
        systems = {}
        for size in (50, 100, 150, 200, 300, 400):
            systems[f"{size} words"] = recipe_with(self.documents, size)
        for size in (100, 200):
            systems[f"{size} words, overlap {size // 4}"] = recipe_with(
                self.documents, size, size // 4
            )
        for size in (200, 300):
            systems[f"{size} words, 512 tokens read"] = recipe_with(
                self.documents, size, max_tokens=512
            )
        return measure, systems, self.both

    def adapter(self):
        """Put the trained side of the questions beside the published one."""
        systems = {"default, adapter off": self.untuned, "default": self.default}
        return measure, systems, self.dev

    def reranked(self):
        """Let the language model order the best hits anew."""
        likelihood = QuestionLikelihood(self.published)
        systems = {
            "default, adapter off": self.untuned,
            "12 best reranked by the question's likelihood": RerankedRetriever(
                self.untuned, likelihood
            ),
        }
        return measure, systems, self.some

    def distilled(self):
        """Train on what the reranker thinks, on made-up questions, and on labels."""
        teacher = RerankedRetriever(self.untuned, QuestionLikelihood(self.published))
        train = [question for question in load_gold_split("train") if question.answers]
        asked = {question.id: question.question for question in train}
        lessons = {
            "taught by the reranker": lessons_from_teacher(asked, self.index, teacher.search),
            "taught by made-up questions": lessons_from_pairs(
                pairs_from_model(self.index.chunks, self.published.generate, self.untuned.search),
                self.index,
            ),
            "taught by the labels of the same questions": build_question_lessons(
                train, self.documents, self.index
            ),
        }
        systems = {"default, adapter off": self.untuned}
        for name, lesson in lessons.items():
            with tempfile.TemporaryDirectory() as folder:
                trained = train_question_side([lesson], Path(folder) / "it", **RETRIEVER_SETTINGS)
                _, tuned = load_embedders("all-MiniLM-L6-v2", adapter=trained.folder)
            systems[f"{name} (n = {len(lesson.ids)})"] = build_retriever(
                "hybrid", self.index, tuned
            )
        return measure, systems, self.dev

    def sentences(self):
        """Answer in full; the sentences that the evidence stands in are what is compared with."""
        spans = Judge(self.documents, self.dev).spans
        texts = {document.source: document.text for document in self.documents}
        gold = [
            replace(question, answers=(supporting_sentences(texts[span.source], span.text),))
            for question in self.dev
            if asks_to_explain(question.question) and (span := spans.get(question.id))
        ]
        reader = load_generator(READER, adapter="auto")
        options = {"turns": TURNS, "explain": SENTENCES, "style": "sentences"}
        systems = {
            "best sentence": RagPipeline(self.default, ExtractiveGenerator()),
            "as published, one passage": RagPipeline(
                self.default, self.published.with_options(max_new_tokens=64), k=1, **options
            ),
            "tuned, a few words": RagPipeline(self.default, reader, turns=TURNS),
            "tuned, in sentences (default)": RagPipeline(self.default, reader, **options),
        }
        return measure_sentences, systems, gold

    def readers(self):
        """Ask baselines, other prompts, and the adapter."""
        short, default = self.published, self.default
        reader = load_generator(READER, adapter="auto")
        oracle = Oracle(self.some, self.documents)
        prompts = {"asked for a short answer": SHORT_ANSWER, "shown two examples": FEW_SHOT}
        systems = {
            "closed book, as published": RagPipeline(default, short, template=CLOSED_BOOK),
            "best sentence": RagPipeline(default, ExtractiveGenerator()),
            "as published, three passages": RagPipeline(default, short, k=3),
            "the same, more than the first line": RagPipeline(
                default, short.with_options(first_line_only=False, max_new_tokens=64), k=3
            ),
            **{
                f"the same, {name}": RagPipeline(default, short, k=3, template=template)
                for name, template in prompts.items()
            },
            "as published, given the right passage": RagPipeline(oracle, short),
            "tuned, three passages in one prompt": RagPipeline(default, reader, k=3),
            "tuned, passages in turn (default)": RagPipeline(default, reader, turns=TURNS),
            "tuned, given the right passage": RagPipeline(oracle, reader),
        }
        return measure_reader, systems, self.some

    def numbers(self):
        """Give two readers more passages."""
        generators = {"best sentence": ExtractiveGenerator(), "SmolLM2": self.published}
        systems = {
            f"{name}, k = {k}": RagPipeline(self.default, generator, k=k, token_budget=3000)
            for name, generator in generators.items()
            for k in (1, 3, 5, 10)
        }
        return measure_reader, systems, self.some


# The metric in which a row is compared with the first.
ABOUT = {measure: "mrr@10", measure_reader: "f1", measure_sentences: "rougeL"}

TABLES = {
    "retriever: parts, each on top of the one before": Bench.parts,
    "retriever: beside the default": Bench.beside,
    "chunks: the recipe's cut in other sizes, searched as the recipe does": Bench.sizes,
    "retriever: the adapter, on questions it was not trained on": Bench.adapter,
    "retriever: reranked by the question's likelihood": Bench.reranked,
    "retriever: the question side, taught without labels and with them": Bench.distilled,
    "reader: baselines, and what a better prompt gives": Bench.readers,
    "reader: questions how and why, in sentences": Bench.sentences,
    "k: passages found and read, by the best sentence and the published model": Bench.numbers,
}


def main():
    """Measure one table after the other, and write the file after each."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--only", metavar="WORDS", default="", help="tables whose title holds them")
    options = parser.parse_args()
    bench = Bench()
    kept = json.loads(FILE.read_text(encoding="utf-8"))["tables"]
    for title in TABLES:
        if options.only not in title:
            continue
        ask, systems, gold = TABLES[title](bench)
        rows, first = {}, None
        for name, system in systems.items():
            report, row = ask(system, gold, bench.documents)
            first = first or report
            more = {} if report is first else {"gain": gain_over(first, report, ABOUT[ask])}
            rows[name] = {**row, **more}
            print(name, rows[name], flush=True)
        kept[title] = {"n": len(gold), "rows": rows}
        tables = {title: kept[title] for title in TABLES if title in kept}
        draft = FILE.with_suffix(".json.new")
        found = {"tables": tables, "processor": describe_processor(), "versions": versions()}
        draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        draft.replace(FILE)


if __name__ == "__main__":
    main()
