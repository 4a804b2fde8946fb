"""The command ``evaluate``: gold questions in, metrics with intervals out.

Results are kept a line at a time, so that an interrupted run goes on where it
stopped. The module does not know how anything is scored.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag_helpers.commands.ask import count
from rag_helpers.errors import EvaluationError

if TYPE_CHECKING:
    from rag_helpers.evaluation import Report
    from rag_helpers.records import Document, GoldQuestion

__all__ = ["add_evaluate_options", "evaluate"]

PROJECT_SPLITS = ("train", "dev", "test")


def add_evaluate_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``evaluate`` understands to a parser.

    Parameters
    ----------
    parser : ArgumentParser
        Changed in place.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_evaluate_options(parser)
    >>> parser.parse_args(["--squad", "dev.json", "--limit", "20"]).limit
    20
    """
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--gold", metavar="FILE.jsonl", help="questions over --corpus")
    source.add_argument(
        "--squad", metavar="FILE.json", help="SQuAD 1.1 file; its paragraphs are the corpus"
    )
    source.add_argument(
        "--dataset", metavar="NAME", help="squad, xquad or a set with their columns, by name"
    )
    parser.add_argument(
        "--split",
        metavar="S",
        help="of the project's own questions: train, dev (default) or test; or of --dataset",
    )
    parser.add_argument("--corpus", metavar="PATH", help="default: the Python help topics")
    parser.add_argument("--model", metavar="NAME", help="embedder; default: all-MiniLM-L6-v2")
    parser.add_argument(
        "--retriever",
        metavar="NAME",
        help="dense, keyword, hybrid (default), reranked, or a cross-encoder",
    )
    parser.add_argument("--generator", metavar="NAME", help="as for ask")
    parser.add_argument("--k", type=count, metavar="N", help="passages to read (5)")
    parser.add_argument(
        "--style",
        choices=("auto", "short", "sentences"),
        default="short",
        help="as for ask; default: short, since known answers are a few words",
    )
    parser.add_argument("--limit", type=count, metavar="N", help="ask a random N of the questions")
    parser.add_argument("--seed", type=int, default=0, help="of --limit and the intervals (0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--retrieval-only", action="store_true", help="generate nothing")
    parser.add_argument("--fresh", action="store_true", help="ignore results kept from before")


def evaluate(options: argparse.Namespace) -> int:
    """Ask gold questions and print the metrics.

    Parameters
    ----------
    options : Namespace
        As `add_evaluate_options` describes them.

    Returns
    -------
    int
        Exit code 0.

    Raises
    ------
    RagError
        When questions or corpus cannot be read; nothing is half-done then.
    """
    # Whatever a library prints on the way must not mix with the report.
    with contextlib.redirect_stdout(sys.stderr):
        report = _evaluate(options)
    print(json.dumps(report.to_json(), indent=2) if options.json else report)
    return 0


def _evaluate(options: argparse.Namespace) -> Report:
    from tqdm import tqdm

    from rag_helpers import evaluation
    from rag_helpers.environment import versions
    from rag_helpers.pipeline import WINDOW_WORDS, load_index, pipeline_over, whole_documents

    gold, documents, in_passages = _load(options)
    if options.limit is not None and options.limit < len(gold):
        gold = _sample(gold, options.limit, options.seed)
    index = load_index(
        documents,
        **_given(options, "model"),
        chunks=whole_documents(documents) if in_passages else None,
        window_words=WINDOW_WORDS,
    )
    chosen = _given(options, "model", "retriever", "generator", "k")
    if options.retrieval_only:
        chosen["generator"] = "extractive"
    else:
        chosen["style"] = options.style
    pipeline = pipeline_over(index, **chosen)
    settings = {**chosen, "code": _code_digest(), "seed": options.seed}
    kept = _results_file(settings, gold, documents, options)
    with tqdm(total=len(gold), desc="Asking", delay=2) as bar:
        return evaluation.evaluate(
            None if options.retrieval_only else pipeline,
            gold,
            documents,
            search=lambda question, k: pipeline.retriever.search(question, k),
            settings=settings,
            versions=versions(),
            results_path=kept,
            seed=options.seed,
            progress=lambda done, _: bar.update(done - bar.n),
        )


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return the options that were given; the pipeline has defaults for the rest."""
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _load(options: argparse.Namespace) -> tuple[list[GoldQuestion], list[Document], bool]:
    """Return questions, corpus, and whether its documents are passages already."""
    from rag_helpers import corpus, evaluation

    if options.squad is not None:
        return evaluation.load_squad_gold(options.squad), corpus.load_squad(options.squad), True
    if options.dataset is not None:
        rows = corpus.load_dataset_rows(options.dataset, split=options.split)
        documents = corpus.load_dataset_documents(options.dataset, split=options.split)
        return evaluation.gold_from_rows(rows), documents, True
    if options.gold is not None:
        gold = evaluation.load_gold(options.gold)
    else:
        split = options.split or "dev"
        if split not in PROJECT_SPLITS:
            raise EvaluationError(f"there is no split {split!r}; choose one of {PROJECT_SPLITS}")
        gold = evaluation.load_gold_split(split)
    if options.corpus is not None:
        return gold, corpus.load_files(options.corpus), False
    return gold, corpus.load_help_topics(), False


def _sample(gold: list[GoldQuestion], limit: int, seed: int) -> list[GoldQuestion]:
    """Return `limit` questions at random, in the order of the file."""
    import random

    places = random.Random(seed).sample(range(len(gold)), limit)  # noqa: S311 (a sample)
    return [gold[place] for place in sorted(places)]


def _code_digest() -> str:
    """Return a digest of the package: kept results of other code are not taken for its own."""
    package = Path(__file__).resolve().parents[1]
    digest = sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.read_bytes())
    for path in sorted((package / "data").glob("[ac]*/**/*")):
        if path.is_file():  # adapters and calibration
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _results_file(
    settings: dict[str, Any],
    gold: list[GoldQuestion],
    documents: list[Document],
    options: argparse.Namespace,
) -> Path:
    from rag_helpers.corpus import fingerprint
    from rag_helpers.environment import cache_folder

    parts = [settings, fingerprint(documents), [q.id + q.question for q in gold]]
    parts.append(options.retrieval_only)
    name = sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
    path = cache_folder() / "evaluations" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    if options.fresh:
        path.unlink(missing_ok=True)
    return path
