"""Train DPR's pair of encoders: questions and passages each have their own.

The loss is that of Karpukhin et al. (2020): each question must prefer its own
passage, by inner product, to all other passages of the batch, mined negatives
included. The module does not know where pairs come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rag_helpers.embedding import load_embedders
from rag_helpers.environment import select_device, set_seed
from rag_helpers.errors import TrainingError
from rag_helpers.fine_tuning.checks import check_pairs, check_room
from rag_helpers.fine_tuning.pairs import RetrieverPair
from rag_helpers.fine_tuning.retriever_training import compatible_batches
from rag_helpers.fine_tuning.runs import TrainingResult, TrainingRun, TrainingStep, digest_of
from rag_helpers.models import resolve

__all__ = ["train_dpr"]


def train_dpr(
    pairs: Sequence[RetrieverPair],
    folder: str | Path,
    *,
    model: str | Path = "facebook/dpr-ctx_encoder-single-nq-base",
    epochs: float = 1.0,
    batch_size: int = 16,
    learning_rate: float = 2e-5,
    negatives: int = 1,
    max_tokens: int = 256,
    held_out: Sequence[RetrieverPair] = (),
    evaluate_every: int = 10,
    patience: int | None = None,
    seed: int = 0,
    resume: bool = True,
    on_step: Callable[[TrainingStep], None] | None = None,
) -> TrainingResult:
    """Train every weight of both encoders.

    Passages are read as they stand in the pairs, without titles; build the pairs
    with their headings, and embed the headed texts.

    Parameters
    ----------
    pairs : sequence of RetrieverPair
        With mined negatives, or without any.
    folder : str or Path
        Where both will be: ``load_embedders(folder / "dpr-ctx_encoder")`` uses them.
    model : str or Path
        Either encoder of the pair, as `rag_helpers.embedding.load_embedders`
        takes it.
    epochs : float
        How often each pair is seen.
    batch_size : int
        Questions per step.
    learning_rate : float
        At its height, after a tenth of the steps; then it falls to 0.
    negatives : int
        Mined negatives used per pair; limited to what every pair has.
    max_tokens : int
        Word pieces read of a text.
    held_out : sequence of RetrieverPair
        Their loss is measured every `evaluate_every` steps, and the weights
        with the lowest are kept.
    evaluate_every : int
        Steps between checkpoints, and between evaluations.
    patience : int, optional
        Evaluations without a lower loss after which training stops.
    seed : int
        The same seed, pairs and machine give the same weights.
    resume : bool
        Whether an unfinished run in `folder` goes on.
    on_step : callable, optional
        Told of every step.

    Returns
    -------
    TrainingResult
        History (scores are losses of the held-out pairs), cost and folder.

    Raises
    ------
    TrainingError
        As `rag_helpers.fine_tuning.train_retriever` raises it, and if the model
        is none of DPR's.
    ModelNotFoundError
        If there is no such model.
    """
    check_pairs(pairs)
    if held_out:
        check_pairs(held_out, least=1)
    if epochs <= 0 or batch_size < 2 or negatives < 0:
        raise TrainingError(
            f"epochs is {epochs}, batch_size {batch_size} and negatives {negatives}; give more "
            "than 0, at least 2 (others' passages are the wrong ones) and at least 0."
        )
    used = min(negatives, *(len(pair.negatives) for pair in [*pairs, *held_out]))
    size_mb = sum(file.stat().st_size for file in resolve(model).glob("*.safetensors")) / 1e6
    run = TrainingRun(
        folder,
        {
            "what": "dpr",
            "model": Path(model).name,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "negatives": used,
            "max_tokens": max_tokens,
            "evaluate_every": evaluate_every,
            "patience": patience,
            "seed": seed,
            "pairs": len(pairs),
            "sha256 of the pairs": digest_of([*pairs, *held_out]),
        },
        resume=resume,
    )
    # Two encoders, each with gradients and Adam's two moments.
    check_room(run.folder.parent, disk_mb=8 * size_mb, memory_mb=8 * size_mb)
    set_seed(seed)
    passages, questions = load_embedders(model)
    if passages is questions or not hasattr(passages, "reads_titles"):
        raise TrainingError(
            f"{Path(model).name} is one encoder for both sides; train it with train_retriever, or "
            "give one of DPR's."
        )

    import torch
    from transformers import Trainer, TrainingArguments

    from rag_helpers.fine_tuning.trainers import SmallCheckpoints, common_arguments, run_trainer

    def batches_of(given: Sequence[RetrieverPair], rounds: int) -> Iterator[list[RetrieverPair]]:
        # Negatives that are not used must not keep pairs apart.
        rows = [replace(pair, negatives=pair.negatives[:used]) for pair in given]
        for number in range(rounds):
            for batch in compatible_batches(rows, batch_size, seed=seed * 1_000_003 + number):
                yield [rows[place] for place in batch]

    def encode(side: Any, texts: list[str]) -> dict[str, Any]:  # noqa: ANN401 (an embedder)
        return dict(
            side._tokenizer(
                texts, truncation=True, max_length=max_tokens, padding=True, return_tensors="pt"
            )
        )

    def collate(batches: list[list[RetrieverPair]]) -> dict[str, Any]:
        (batch,) = batches
        texts = [pair.passage for pair in batch]
        texts += [text for pair in batch for text in pair.negatives]
        return {
            "questions": encode(questions, [pair.question for pair in batch]),
            "passages": encode(passages, texts),
            "labels": torch.arange(len(batch)),
        }

    class Pair(torch.nn.Module):
        """Both encoders; the loss is the question's cross-entropy among the batch's passages."""

        def __init__(self) -> None:
            super().__init__()
            self.question_encoder = questions._model
            self.ctx_encoder = passages._model

        def forward(self, questions: Any, passages: Any, labels: Any) -> dict[str, Any]:  # noqa: ANN401
            asked = self._vectors(self.question_encoder, questions)
            scores = asked @ self._vectors(self.ctx_encoder, passages).T
            return {"loss": torch.nn.functional.cross_entropy(scores, labels)}

        def _vectors(self, encoder: Any, texts: Any) -> Any:  # noqa: ANN401 (tensors)
            # No token types: DPR was trained with zeros for title and text alike.
            return encoder(
                input_ids=texts["input_ids"], attention_mask=texts["attention_mask"]
            ).pooler_output

    class DprTrainer(SmallCheckpoints, Trainer):
        """Takes the batches as they were dealt; all rounds together are one epoch to it."""

        def _get_train_sampler(self, train_dataset: object = None) -> Any:  # noqa: ANN401
            return torch.utils.data.SequentialSampler(rows)

    rows = list(batches_of(pairs, math.ceil(epochs)))
    rows = rows[: max(1, round(len(rows) * epochs / math.ceil(epochs)))]
    arguments = common_arguments(
        run,
        epochs=1.0,
        batch_size=1,
        learning_rate=learning_rate,
        evaluate_every=evaluate_every,
        evaluates=bool(held_out),
        lower_is_better=True,
        seed=seed,
    )
    trainer = DprTrainer(
        model=Pair().train().to(select_device()),
        args=TrainingArguments(
            **arguments,
            remove_unused_columns=False,
            prediction_loss_only=True,
            label_names=["labels"],
        ),
        train_dataset=rows,
        eval_dataset=list(batches_of(held_out, 1)) or None,
        data_collator=collate,
    )

    def save(place: Path) -> None:
        for side, name in ((passages, "dpr-ctx_encoder"), (questions, "dpr-question_encoder")):
            side._model.save_pretrained(place / name)
            side._tokenizer.save_pretrained(place / name)  # type: ignore[union-attr]

    return run_trainer(
        trainer, run, label="Training both encoders", save=save, patience=patience, on_step=on_step
    )
