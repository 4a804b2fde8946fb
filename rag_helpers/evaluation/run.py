"""Ask every gold question and score what comes back.

The module knows nothing of retrievers, generators or devices: a search and an
answer come in as callables, versions and settings as mappings.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from rag_helpers.errors import EvaluationError
from rag_helpers.evaluation.attribution import attribute
from rag_helpers.evaluation.evidence import Judge
from rag_helpers.evaluation.metrics import (
    answer_in_context,
    contains_answer,
    exact_match,
    ndcg_at,
    recall_at,
    reciprocal_rank_at,
    rouge_l,
    sentence_bleu,
    supported_by_citation,
    token_f1,
    words_per_hit,
)
from rag_helpers.evaluation.report import DEPTH, RECALL_DEPTHS, RETRIEVAL_METRICS, Report, summarize
from rag_helpers.evaluation.results import QuestionResult, ResultsFile, Setting
from rag_helpers.records import Answer, Document, GoldQuestion, Hit

__all__ = ["BatchAnswerer", "evaluate"]


@runtime_checkable
class BatchAnswerer(Protocol):
    """Answers several questions at once, as a pipeline does."""

    def answer_many(self, questions: Sequence[str]) -> list[Answer]:
        """Return one answer per question, in the same order."""
        ...


Search: TypeAlias = Callable[[str, int], Sequence[Hit]]
Answerer: TypeAlias = Callable[[str], Answer] | BatchAnswerer


def evaluate(
    answer: Answerer | None,
    gold: Sequence[GoldQuestion],
    documents: Sequence[Document],
    *,
    search: Search | None = None,
    settings: Mapping[str, Setting] | None = None,
    versions: Mapping[str, str] | None = None,
    results_path: str | Path | None = None,
    batch_size: int = 8,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Report:
    """Ask every gold question and score what comes back.

    Means are over answerable questions; an answer that abstains counts as
    empty there. Unanswerable questions have no exact match and no F1: they
    count in ``abstention_auroc`` (does confidence tell the two kinds apart?)
    and in the attribution. Questions whose evidence stands nowhere in the
    corpus are left out and listed.

    Parameters
    ----------
    answer : callable, BatchAnswerer or None
        ``answer(question)`` returns an `Answer`; a pipeline with
        ``answer_many`` is asked `batch_size` questions at a time. None
        measures retrieval alone.
    gold : sequence of GoldQuestion
        The questions.
    documents : sequence of Document
        The corpus, in which evidence is found.
    search : callable, optional
        ``search(question, k)`` returns the best `k` hits; it is asked for 10,
        however many a pipeline reads. Without it retrieval is not measured.
    settings : Mapping, optional
        Everything that changes a result (models, retriever, k, chunking, …).
        With `results_path` it decides whether kept results may be used.
    versions : Mapping, optional
        Versions of packages, for the report.
    results_path : str or Path, optional
        Keeps each result as it comes (`ResultsFile`): asked again with the
        same questions, corpus and settings, the evaluation goes on there.
    batch_size : int
        Questions a batch, at least 1.
    seed : int
        Makes the bootstrap repeatable.
    progress : callable, optional
        ``progress(done, total)`` after each question, and once at the start
        when kept results are used.

    Returns
    -------
    Report
        With one result a question.

    Raises
    ------
    EvaluationError
        If there is nothing to ask or nobody to ask it, ids stand twice, no
        evidence stands in the corpus, a setting is neither text nor number,
        the results file belongs to another evaluation, or a batch comes back
        with answers missing.

    Examples
    --------
    >>> from rag_helpers.records import Chunk
    >>> sky = Document("The sky is blue on most days.", "sky")
    >>> question = GoldQuestion("q1", "What colour is the sky?", ("blue",), sky.text, "sky", "fact")
    >>> hit = Hit(Chunk(sky.text, "sky", 0, len(sky.text)), 0.9, 1)
    >>> report = evaluate(None, [question], [sky], search=lambda question, k: [hit])
    >>> report.to_json()["recall@1"]
    {'value': 1.0, 'low': 1.0, 'high': 1.0}
    """
    settings = dict(settings or {})
    _check(answer, gold, search, batch_size, settings)
    judge = Judge(documents, gold)
    if judge.unresolved and not judge.spans:
        raise EvaluationError(
            f"the evidence of none of {len(judge.unresolved)} answerable questions stands in the "
            f"{len(documents)} documents; give the corpus that the questions were written for"
        )
    asked = [question for question in gold if not question.answers or question.id in judge.spans]
    identity: dict[str, Setting] = {
        **settings,
        "sha256 of the documents": _digest((d.source, d.text) for d in documents),
        "sha256 of the questions": _digest(asdict(question) for question in gold),
        "measures answers": answer is not None,
        "measures retrieval": search is not None,
    }
    done: dict[str, QuestionResult] = {}
    with ResultsFile(results_path, identity) if results_path else nullcontext() as kept:
        done.update(kept.done if kept else {})
        if done and progress:
            progress(len(done), len(asked))
        left = [question for question in asked if question.id not in done]
        for result in _ask(answer, left, search, judge, batch_size):
            if kept:
                kept.append(result)
            done[result.id] = result
            if progress:
                progress(len(done), len(asked))
    return summarize(
        [done[question.id] for question in asked],
        unresolved=judge.unresolved,
        settings=settings,
        versions=versions or {},
        seed=seed,
    )


def _check(
    answer: Answerer | None,
    gold: Sequence[GoldQuestion],
    search: Search | None,
    batch_size: int,
    settings: Mapping[str, object],
) -> None:
    if answer is None and search is None:
        raise EvaluationError("there is neither an answer nor a search to measure; give one")
    if not gold:
        raise EvaluationError("there are 0 gold questions; give at least one")
    if len({question.id for question in gold}) < len(gold):
        raise EvaluationError("two gold questions share an id; give each its own")
    if batch_size < 1:
        raise EvaluationError(f"the batch size is {batch_size}; give at least 1")
    for name, value in settings.items():
        if not isinstance(value, str | int | float | None) or value != value:
            raise EvaluationError(
                f"the setting {name!r} is {value!r}, which JSON cannot keep; "
                "give a text, a number, true, false or nothing"
            )


def _ask(
    answer: Answerer | None,
    questions: Sequence[GoldQuestion],
    search: Search | None,
    judge: Judge,
    batch_size: int,
) -> Iterator[QuestionResult]:
    for start in range(0, len(questions), batch_size):
        batch = questions[start : start + batch_size]
        if isinstance(answer, BatchAnswerer):
            replies: Sequence[Answer | None] = answer.answer_many([q.question for q in batch])
            if len(replies) != len(batch):
                raise EvaluationError(
                    f"{len(batch)} questions came back with {len(replies)} answers; "
                    "answer_many must return one answer a question"
                )
            for question, reply in zip(batch, replies, strict=True):
                yield _score(question, reply, search, judge)
        else:
            for question in batch:
                reply = None if answer is None else answer(question.question)
                yield _score(question, reply, search, judge)


def _score(
    question: GoldQuestion, answer: Answer | None, search: Search | None, judge: Judge
) -> QuestionResult:
    scores: dict[str, float] = {}
    timings: dict[str, float] = {}
    hits: Sequence[Hit] = answer.hits if answer else ()
    first_right = None
    answerable = bool(question.answers)
    if search is not None:
        began = time.perf_counter()
        hits = search(question.question, DEPTH)[:DEPTH]
        timings["search"] = (time.perf_counter() - began) * 1000
        if answerable:
            first_right = judge.first_right(question.id, hits)
            scores |= _retrieval_scores(first_right)
    if answer is not None:
        timings |= answer.timings_ms
        if answerable:
            scores |= _answer_scores(question, answer)
    return QuestionResult(
        id=question.id,
        answerable=answerable,
        scores=scores,
        first_right=first_right,
        words_per_hit=words_per_hit(hits),
        text=answer.text if answer else None,
        confidence=float(answer.confidence) if answer else None,
        abstained=bool(answer and answer.abstained),
        outcome=attribute(question, answer, judge) if answer else None,
        timings_ms={stage: float(time_ms) for stage, time_ms in timings.items()},
    )


def _retrieval_scores(first_right: int | None) -> dict[str, float]:
    recalls = [recall_at(k, first_right) for k in RECALL_DEPTHS]
    ranks = [reciprocal_rank_at(DEPTH, first_right), ndcg_at(DEPTH, first_right)]
    return dict(zip(RETRIEVAL_METRICS, [*recalls, *ranks], strict=True))


def _answer_scores(question: GoldQuestion, answer: Answer) -> dict[str, float]:
    text, accepted = "" if answer.abstained else answer.text, question.answers
    return {
        "exact_match": exact_match(text, accepted),
        "f1": token_f1(text, accepted),
        "rougeL": rouge_l(text, accepted),
        "bleu": sentence_bleu(text, accepted),
        "contains_answer": contains_answer(text, accepted),
        "answer_in_context": answer_in_context(answer.prompt.passages, accepted),
        "supported_by_citation": 0.0 if answer.abstained else supported_by_citation(answer),
    }


def _digest(rows: Iterator[object]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()
