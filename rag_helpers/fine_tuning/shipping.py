"""The adapters that come with the course: trained, measured, and saved with a card each.

They learn from the train questions over the Python help topics and, where its
file is named, from XQuAD's articles set aside for training. They are measured
on dev questions and on articles set aside for choosing; no test question is
read here.

The module does not know how training works.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rag_helpers.chunking import split_by_sentences, supporting_sentences
from rag_helpers.embedding import SentenceEmbedder, load_embedders
from rag_helpers.environment import cache_folder, note
from rag_helpers.errors import TrainingError
from rag_helpers.fine_tuning.export import export_adapter, write_card
from rag_helpers.fine_tuning.generator_training import train_generator
from rag_helpers.fine_tuning.measuring import answer_scores, compare_scores, rank_scores
from rag_helpers.fine_tuning.pairs import GeneratorPair, build_generator_pairs
from rag_helpers.fine_tuning.question_sets import (
    ENCODER,
    QuestionSet,
    cut_set,
    evidence_of,
    load_question_sets,
)
from rag_helpers.fine_tuning.question_training import train_question_side
from rag_helpers.fine_tuning.runs import TrainingStep
from rag_helpers.generator import ChatGenerator
from rag_helpers.prompting import SENTENCES, asks_to_explain

__all__ = [
    "ADAPTERS_FOLDER",
    "QuestionSet",
    "export_adapter",
    "load_question_sets",
    "make_adapters",
]

ADAPTERS_FOLDER = Path(__file__).parents[1] / "data" / "adapters"
_READER = "SmolLM2-135M-Instruct"
_LIMIT_MB = 25
_EXAM = 60  # prompts measured per set: before and after, they take about as long as training
_HELD_OUT = 12  # prompts per set whose loss tells which step to keep

# Chosen on dev questions and on the articles for choosing.
RETRIEVER_SETTINGS: dict[str, Any] = {
    "rank": 16,
    "epochs": 6.0,
    "batch_size": 32,
    "learning_rate": 5e-4,
}
GENERATOR_SETTINGS: dict[str, Any] = {
    "rank": 16,
    "epochs": 2.0,
    "batch_size": 8,
    "learning_rate": 5e-4,
}
_SHORT_WORDS = 60  # of the passages over which each question is asked a second time


def make_adapters(
    folder: str | Path = ADAPTERS_FOLDER,
    *,
    squad: str | Path | None = None,
    limit: int | None = None,
    which: Sequence[str] = ("retriever", "generator"),
    seed: int = 0,
    resume: bool = True,
    on_step: Callable[[TrainingStep], None] | None = None,
) -> list[Path]:
    """Train, measure and save the adapters of both halves.

    A run that was stopped goes on where it was. What was there before is
    replaced when all is done.

    Parameters
    ----------
    folder : str or Path
        Gets a folder per model.
    squad : str or Path, optional
        XQuAD's English file, or ``"xquad"`` to have it from the hub. Without it the
        help topics are all there is.
    limit : int, optional
        Most training questions per set, for a trial.
    which : sequence of str
        ``"retriever"``, ``"generator"`` or both.
    seed : int
        The same seed, data and machine give the same adapters.
    resume : bool
        Whether an unfinished training goes on; False begins anew.
    on_step : callable, optional
        Told of every training step.

    Returns
    -------
    list of Path
        The adapters' folders.

    Raises
    ------
    TrainingError
        If something cannot be trained on; before any long work where that can
        be seen.
    """
    if unknown := sorted(set(which) - {"retriever", "generator"}):
        raise TrainingError(f"There is no half called {unknown[0]!r}; give retriever, generator.")
    train, measure = load_question_sets(squad)
    if squad is None:
        note(
            "Without XQuAD the adapters learn from the help topics alone; RAG_XQUAD names its "
            "file, or is xquad where the hub can be reached."
        )
    if limit is not None:
        train = [cut_set(questions, limit) for questions in train]
        measure = [cut_set(questions, limit) for questions in measure]
    work = cache_folder() / "training"
    if not resume:
        shutil.rmtree(work, ignore_errors=True)
    made = []
    if "retriever" in which:
        made.append(_make_retriever(Path(folder), work, train, measure, seed, on_step))
    if "generator" in which:
        made.append(_make_generator(Path(folder), work, train, measure, seed, on_step))
    size_mb = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file()) / 1e6
    if size_mb > _LIMIT_MB:
        raise TrainingError(
            f"{folder} takes {size_mb:.1f} MB and the limit is {_LIMIT_MB}; train with a smaller "
            "rank, or delete what does not belong there."
        )
    return made


def _make_retriever(
    folder: Path,
    work: Path,
    train: Sequence[QuestionSet],
    measure: Sequence[QuestionSet],
    seed: int,
    on_step: Callable[[TrainingStep], None] | None,
) -> Path:
    lessons, exams = ({q.name: q.lessons() for q in sets} for sets in (train, measure))
    topics = exams[measure[0].name]
    asked = sum(len(part.ids) for part in lessons.values())
    steps = max(1, round(RETRIEVER_SETTINGS["epochs"] * asked / RETRIEVER_SETTINGS["batch_size"]))
    result = train_question_side(
        list(lessons.values()),
        work / "retriever",
        model=ENCODER,
        score=lambda embed: float(np.mean([1 / r for r in topics.ranks(embed(topics.questions))])),
        evaluate_every=max(1, steps // 6),
        seed=seed,
        on_step=on_step,
        **RETRIEVER_SETTINGS,
    )
    plain, tuned = load_embedders(ENCODER, adapter=result.folder)
    gains = {
        name: compare_scores(
            *(rank_scores(exam.ranks(side.embed(exam.questions))) for side in (plain, tuned))
        )
        for name, exam in exams.items()
    }
    card = write_card(ENCODER, RETRIEVER_SETTINGS, seed, train, asked, result, gains)
    return export_adapter(result.folder, folder / ENCODER, base=ENCODER, card=card)


def _make_generator(
    folder: Path,
    work: Path,
    train: Sequence[QuestionSet],
    measure: Sequence[QuestionSet],
    seed: int,
    on_step: Callable[[TrainingStep], None] | None,
) -> Path:
    plain = ChatGenerator(_READER, max_new_tokens=32)
    embedder = SentenceEmbedder(ENCODER, dtype="auto")
    pairs = [pair for questions in train for pair in _lessons(questions, plain, embedder, seed)]
    exams = {q.name: (q, _prompts(q, plain, embedder, seed, 0.2)[:_EXAM]) for q in measure}
    held_out = [pair for _, exam in exams.values() for pair in exam[:_HELD_OUT]]
    steps = max(1, round(len(pairs) / GENERATOR_SETTINGS["batch_size"]))
    result = train_generator(
        pairs,
        work / "generator",
        model=_READER,
        held_out=held_out,
        evaluate_every=max(1, steps // 3),
        seed=seed,
        on_step=on_step,
        **GENERATOR_SETTINGS,
    )
    tuned = ChatGenerator(_READER, adapter=result.folder, max_new_tokens=32)
    gains = {}
    for name, (questions, exam) in exams.items():
        known = {question.id: question.answers for question in questions.gold}
        gains[name] = compare_scores(
            answer_scores(plain, exam, known), answer_scores(tuned, exam, known)
        )
    card = write_card(_READER, GENERATOR_SETTINGS, seed, train, len(pairs), result, gains)
    return export_adapter(result.folder, folder / _READER, base=_READER, card=card)


def _lessons(
    questions: QuestionSet, generator: ChatGenerator, embedder: SentenceEmbedder, seed: int
) -> list[GeneratorPair]:
    """Return each question over the passage that is found for it, and again over a short one.

    In a short passage the answer is easy to see, so that copying is learnt first.
    Few prompts are to be declined: of too many a small model learns little else.
    Questions how and why are asked a third time, for sentences.
    """
    short = build_generator_pairs(
        [question for question in questions.gold if question.answers],
        questions.documents,
        split_by_sentences(questions.documents, max_words=_SHORT_WORDS),
        count_tokens=generator.count_tokens,
        unanswerable=0.0,
        seed=seed,
    )
    short = [replace(pair, id=f"{pair.id} in a short passage") for pair in short]
    whole = _prompts(questions, generator, embedder, seed, 0.05)
    return [*whole, *short, *sentence_prompts(questions, generator, seed)]


def sentence_prompts(
    questions: QuestionSet, generator: ChatGenerator, seed: int
) -> list[GeneratorPair]:
    """Return questions how and why over their passages, with the sentences that answer them.

    Parameters
    ----------
    questions : QuestionSet
        Evidence that is a whole passage, as XQuAD's, teaches no choice of sentences:
        such questions are left out.
    generator : ChatGenerator
        Counts tokens.
    seed : int
        Draws the order.

    Returns
    -------
    list of GeneratorPair
    """
    evidence = evidence_of(questions)
    whole = {document.text for document in questions.documents}
    asked = [
        question
        for question in questions.gold
        if question.answers
        and asks_to_explain(question.question)
        and evidence.get(question.id, "") not in {"", *whole}
    ]
    if not asked:
        return []
    pairs = build_generator_pairs(
        asked,
        questions.documents,
        questions.chunks,
        count_tokens=generator.count_tokens,
        template=SENTENCES,
        token_budget=900,
        unanswerable=0.0,
        answer_for=lambda question, passage: supporting_sentences(passage, evidence[question.id]),
        seed=seed,
    )
    return [replace(pair, id=f"{pair.id} in sentences") for pair in pairs]


def _prompts(
    questions: QuestionSet,
    generator: ChatGenerator,
    embedder: SentenceEmbedder,
    seed: int,
    unanswerable: float,
) -> list[GeneratorPair]:
    """Return prompts with one passage, as the pipeline lets the reader read them."""
    return build_generator_pairs(
        questions.gold,
        questions.documents,
        questions.chunks,
        count_tokens=generator.count_tokens,
        search=questions.search_with(embedder),
        token_budget=900,
        unanswerable=unanswerable,
        seed=seed,
    )
