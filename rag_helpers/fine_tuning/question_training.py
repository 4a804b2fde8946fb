"""Train the questions' side of the retriever alone: passages, and so the index, stay as they are.

A question learns to lie nearer to the chunks that hold its evidence than to all
other chunks of its corpus, not only to those that share its batch: with frozen
vectors a whole corpus of wrong passages costs one matrix product. Questions are
short, so that a step takes a second where training both sides takes a minute
(query-side fine-tuning: Lee et al., 2021, "Learning dense representations of
phrases at scale").

The module does not know how a score is computed: a callable tells it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rag_helpers.environment import set_seed
from rag_helpers.errors import TrainingError
from rag_helpers.evaluation import Judge
from rag_helpers.fine_tuning.checks import LEAST_PAIRS, check_room
from rag_helpers.fine_tuning.encoders import Score, as_evaluator, load_encoder
from rag_helpers.fine_tuning.pairs import find_copies
from rag_helpers.fine_tuning.runs import TrainingResult, TrainingRun, TrainingStep, digest_of
from rag_helpers.index import ChunkIndex
from rag_helpers.models import resolve
from rag_helpers.records import Document, FloatArray, GoldQuestion

__all__ = ["QuestionLessons", "build_question_lessons", "train_question_side"]

_SHARPNESS = 20.0  # what cosines are multiplied by, as for the ranking loss of both sides


@dataclass(frozen=True, slots=True, eq=False)
class QuestionLessons:
    """Questions over one corpus, and which chunks of its index answer them.

    Parameters
    ----------
    ids, questions : tuple of str
        One of each a question.
    right : tuple of tuple of int
        For each question the places in ``index.chunks`` that hold its evidence,
        copies of such chunks included.
    index : ChunkIndex
        The corpus, embedded with vectors of length 1.
    weights : tuple of tuple of float, optional
        A teacher's opinion: for each question the share of each place in `right`,
        which then holds candidates, right or wrong.
    """

    ids: tuple[str, ...]
    questions: tuple[str, ...]
    right: tuple[tuple[int, ...], ...]
    index: ChunkIndex
    weights: tuple[tuple[float, ...], ...] | None = None

    def ranks(self, vectors: FloatArray) -> list[int]:
        """Return the rank of the first right chunk for each question's vector, from 1.

        Parameters
        ----------
        vectors : ndarray of float32, shape (questions, dimension)

        Returns
        -------
        list of int
        """
        starts = np.cumsum([0, *self.index.counts[:-1]])
        scores = np.maximum.reduceat(vectors @ self.index.vectors().T, starts, axis=1)
        best = [row[list(right)].max() for row, right in zip(scores, self.right, strict=True)]
        return [int((row > mine).sum()) + 1 for row, mine in zip(scores, best, strict=True)]


def build_question_lessons(
    gold: Sequence[GoldQuestion], documents: Sequence[Document], index: ChunkIndex
) -> QuestionLessons:
    """Find the chunks that answer each question.

    Parameters
    ----------
    gold : sequence of GoldQuestion
        Those without an answer, or whose evidence stands in no chunk, are left out.
    documents : sequence of Document
        The corpus, in which evidence is found.
    index : ChunkIndex
        The corpus as it is searched.

    Returns
    -------
    QuestionLessons
        In the order of `gold`.

    Examples
    --------
    >>> import numpy as np
    >>> from rag_helpers.records import Chunk
    >>> ice = "Ice melts at zero degrees Celsius."
    >>> index = ChunkIndex(2)
    >>> index.add([Chunk("Tea is hot.", "tea", 0, 11), Chunk(ice, "ice", 0, 34)], np.eye(2))
    >>> asked = GoldQuestion("q1", "When does ice melt?", ("zero degrees",), ice, "ice", "fact")
    >>> lessons = build_question_lessons([asked], [Document(ice, "ice")], index)
    >>> lessons.right, lessons.ranks(np.array([[0.9, 0.1]]))
    (((1,),), [2])
    """
    judge = Judge(documents, gold)
    chunks = index.chunks
    copies = find_copies([chunk.text for chunk in chunks])
    ids, questions, right = [], [], []
    for question in gold:
        if question.id not in judge.spans:
            continue
        holders = [i for i, chunk in enumerate(chunks) if judge.holds(question.id, chunk.text)]
        places = {place for i in holders for place in (i, *copies.get(i, ()))}
        if places:
            ids.append(question.id)
            questions.append(question.question)
            right.append(tuple(sorted(places)))
    return QuestionLessons(tuple(ids), tuple(questions), tuple(right), index)


@dataclass(frozen=True, slots=True)
class _Row:
    """One question, as the run's checksum and the trainer see it."""

    id: str
    question: str
    corpus: int
    right: tuple[int, ...]
    weights: tuple[float, ...] | None


def train_question_side(
    lessons: Sequence[QuestionLessons],
    folder: str | Path,
    *,
    model: str | Path = "all-MiniLM-L6-v2",
    rank: int = 16,
    epochs: float = 4.0,
    batch_size: int = 32,
    learning_rate: float = 5e-4,
    score: Score | None = None,
    evaluate_every: int = 10,
    patience: int | None = None,
    seed: int = 0,
    resume: bool = True,
    on_step: Callable[[TrainingStep], None] | None = None,
) -> TrainingResult:
    """Train a LoRA adapter for questions, against an index that stays as it is.

    Parameters
    ----------
    lessons : sequence of QuestionLessons
        One per corpus.
    folder : str or Path
        Where the adapter will be; ``load_embedders(model, adapter=folder)`` uses it.
    model : str or Path
        Name or folder of the encoder that made the indexes.
    rank : int
        Width of LoRA's matrices (Hu et al., 2022).
    epochs : float
        How often each question is seen.
    batch_size : int
        Questions per step.
    learning_rate : float
        At its height, after a tenth of the steps; then it falls to 0.
    score : callable, optional
        ``score(embed)`` returns how good the encoder is by now, higher is
        better; ``embed(texts)`` gives vectors of length 1. The best weights are kept.
    evaluate_every : int
        Steps between checkpoints, and between evaluations.
    patience : int, optional
        Evaluations without a better score after which training stops.
    seed : int
        The same seed, lessons and machine give the same weights.
    resume : bool
        Whether an unfinished run in `folder` goes on.
    on_step : callable, optional
        Told of every step.

    Returns
    -------
    TrainingResult
        History, cost and folder.

    Raises
    ------
    TrainingError
        If there are too few questions, an index was made by another model, a
        number is out of range, the folder holds something else, or disk or
        memory do not suffice.
    ModelNotFoundError
        If there is no such model.

    Notes
    -----
    The loss of a question is its cross-entropy among all chunks of its corpus,
    with the cosine of each chunk's nearest vector times 20 as logits; all right
    chunks count as one. With a teacher's weights it is the cross-entropy of its
    shares among the candidates alone.
    """
    rows = [
        _Row(name, question, number, right, part.weights[i] if part.weights else None)
        for number, part in enumerate(lessons)
        for i, (name, question, right) in enumerate(
            zip(part.ids, part.questions, part.right, strict=True)
        )
    ]
    weights = resolve(model)
    _check(rows, lessons, Path(model).name, rank)
    run = TrainingRun(
        folder,
        {
            "what": "question side",
            "model": Path(model).name,
            "rank": rank,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "evaluate_every": evaluate_every,
            "patience": patience,
            "scored": score is not None,
            "seed": seed,
            "questions": len(rows),
            "sha256 of the questions": digest_of(rows),
        },
        resume=resume,
    )
    size_mb = sum(file.stat().st_size for file in weights.glob("*.safetensors")) / 1e6
    check_room(run.folder.parent, disk_mb=0.5 * size_mb, memory_mb=3 * size_mb)

    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )

    from rag_helpers.fine_tuning.trainers import SmallCheckpoints, common_arguments, run_trainer

    arguments = common_arguments(
        run,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        evaluate_every=evaluate_every,
        evaluates=score is not None,
        lower_is_better=False,
        seed=seed,
    )
    set_seed(seed)
    encoder = load_encoder(weights, rank=rank)

    class Trainer(SmallCheckpoints, SentenceTransformerTrainer):
        """Deals the questions in batches that a resumed run deals again."""

        def get_batch_sampler(self, *_: Any, **__: Any) -> _Batches:  # noqa: ANN401
            return _Batches(len(rows), batch_size, seed)

        def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
            """Do without the library's card, which would embed examples for a web page."""

    trainer = Trainer(
        model=encoder,
        args=SentenceTransformerTrainingArguments(**arguments),
        train_dataset=Dataset.from_dict(
            {"question": [row.question for row in rows], "label": list(range(len(rows)))}
        ),
        evaluator=None if score is None else as_evaluator(score),
        loss=_loss(encoder, rows, lessons),
    )
    return run_trainer(
        trainer,
        run,
        label="Training the questions' side",
        save=encoder.transformers_model.save_pretrained,
        patience=patience,
        on_step=on_step,
    )


def _check(rows: Sequence[_Row], lessons: Sequence[QuestionLessons], model: str, rank: int) -> None:
    if len(rows) < LEAST_PAIRS:
        raise TrainingError(
            f"There are {len(rows)} questions with a right chunk and at least {LEAST_PAIRS} are "
            "needed; give more questions, or the corpus that they were written for."
        )
    if len({row.id for row in rows}) < len(rows):
        raise TrainingError("Two questions share an id; give each its own.")
    if rank < 1:
        raise TrainingError(f"rank is {rank}; give at least 1.")
    for row in rows:
        if row.weights is not None and len(row.weights) != len(row.right):
            raise TrainingError(
                f"Question {row.id!r} has {len(row.right)} candidates and {len(row.weights)} "
                "weights; give one weight a candidate."
            )
    for part in lessons:
        if part.index.model and part.index.model != model:
            raise TrainingError(
                f"An index was made by {part.index.model!r}, and {model!r} is to be trained; build "
                "the index with the model whose questions' side learns."
            )


def _loss(encoder: Any, rows: Sequence[_Row], lessons: Sequence[QuestionLessons]) -> Any:  # noqa: ANN401
    """Return the loss as a module that the library's trainer calls."""
    import torch

    corpora = [
        (
            torch.tensor(part.index.vectors(), device=encoder.device),
            torch.repeat_interleave(torch.tensor(part.index.counts)).to(encoder.device),
            len(part.index),
        )
        for part in lessons
    ]

    class AllChunksLoss(torch.nn.Module):
        """Cross-entropy of the right chunks among all, or of a teacher's shares."""

        def __init__(self) -> None:
            super().__init__()
            self.model = encoder

        def forward(self, sentence_features: Any, labels: Any) -> Any:  # noqa: ANN401
            output = self.model(next(iter(sentence_features)))["sentence_embedding"]
            questions = torch.nn.functional.normalize(output, dim=1)
            losses = []
            for question, label in zip(questions, labels.tolist(), strict=True):
                vectors, owners, count = corpora[rows[label].corpus]
                lowest = torch.full((count,), -1.0, device=question.device)
                nearest = lowest.scatter_reduce(0, owners, vectors @ question, "amax")
                scores = _SHARPNESS * nearest
                row = rows[label]
                right = scores[list(row.right)]
                if row.weights is None:
                    losses.append(torch.logsumexp(scores, 0) - torch.logsumexp(right, 0))
                else:
                    shares = torch.tensor(row.weights, device=right.device)
                    losses.append(torch.logsumexp(right, 0) - shares @ right)
            return torch.stack(losses).mean()

    return AllChunksLoss()


class _Batches:
    """Deals all rows anew for every epoch, as the trainer asks of a batch sampler."""

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._epoch = 0
        self.batch_size, self.drop_last = batch_size, False

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-self._count // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(range(self._count))
        random.Random(self._seed * 1_000_003 + self._epoch).shuffle(order)  # noqa: S311
        for start in range(0, self._count, self.batch_size):
            yield order[start : start + self.batch_size]
