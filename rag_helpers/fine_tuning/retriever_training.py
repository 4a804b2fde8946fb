"""Train the retriever's encoder: questions and their passages move together, others apart.

The loss is the multiple-negatives ranking loss: each question must prefer its
own passage to every other passage of the batch. The module does not know where
pairs come from, nor how a score is computed: a callable tells it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from rag_helpers.environment import select_dtype, set_seed
from rag_helpers.errors import TrainingError
from rag_helpers.fine_tuning.checks import check_pairs, check_room
from rag_helpers.fine_tuning.encoders import Score, as_evaluator, load_encoder
from rag_helpers.fine_tuning.pairs import RetrieverPair
from rag_helpers.fine_tuning.runs import TrainingResult, TrainingRun, TrainingStep, digest_of
from rag_helpers.models import resolve

__all__ = ["compatible_batches", "train_retriever"]

_LEARNING_RATES = {"lora": 5e-4, "full": 3e-5}


def compatible_batches(
    pairs: Sequence[RetrieverPair], batch_size: int, *, seed: int = 0
) -> list[list[int]]:
    """Deal pairs into batches in which nobody's right passage counts as wrong.

    In a batch every passage of one pair is a negative of all others. Two pairs
    whose passages are right for each other's question must not meet there.

    Parameters
    ----------
    pairs : sequence of RetrieverPair
        With their right passages.
    batch_size : int
        Most pairs per batch.
    seed : int
        Mixes the pairs.

    Returns
    -------
    list of list of int
        Places in `pairs`, about equally many per batch. A pair that fits
        nowhere is left out this time.

    Examples
    --------
    >>> same = frozenset({"Ice melts at zero."})
    >>> pairs = [RetrieverPair(n, f"Question {n}?", "Ice melts at zero.", right=same) for n in "ab"]
    >>> compatible_batches([*pairs, RetrieverPair("c", "And tea?", "Tea is hot.")], 2)
    [[0], [2, 1]]
    """
    order = list(range(len(pairs)))
    random.Random(seed).shuffle(order)  # noqa: S311 (not for secrets)
    shown = [{pair.passage, *pair.negatives} for pair in pairs]
    right = [pair.right | {pair.passage} for pair in pairs]
    batches: list[list[int]] = [[] for _ in range(-(-len(pairs) // batch_size))]
    taken: list[set[str]] = [set() for _ in batches]
    wanted: list[set[str]] = [set() for _ in batches]
    for i in order:
        fitting = [
            b
            for b, batch in enumerate(batches)
            if len(batch) < batch_size and not (shown[i] & wanted[b] or right[i] & taken[b])
        ]
        if fitting:
            best = min(fitting, key=lambda b: len(batches[b]))
            batches[best].append(i)
            taken[best] |= shown[i]
            wanted[best] |= right[i]
    return [batch for batch in batches if batch]


class _Batches:
    """Deals the pairs anew for every epoch, as the trainer asks of a batch sampler."""

    def __init__(self, pairs: Sequence[RetrieverPair], batch_size: int, seed: int) -> None:
        self._pairs, self._size, self._seed = pairs, batch_size, seed
        self._epoch = 0
        self.batch_size, self.drop_last = batch_size, False

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-len(self._pairs) // self._size)

    def __iter__(self) -> Iterator[list[int]]:
        # A seed per epoch rather than a running state: a resumed run deals the same batches.
        seed = self._seed * 1_000_003 + self._epoch
        yield from compatible_batches(self._pairs, self._size, seed=seed)


def train_retriever(
    pairs: Sequence[RetrieverPair],
    folder: str | Path,
    *,
    model: str | Path = "all-MiniLM-L6-v2",
    method: Literal["lora", "full"] = "lora",
    rank: int = 16,
    epochs: float = 1.0,
    batch_size: int = 32,
    mini_batch_size: int | None = 8,
    learning_rate: float | None = None,
    negatives: int = 1,
    score: Score | None = None,
    evaluate_every: int = 10,
    patience: int | None = None,
    dtype: str = "float32",
    seed: int = 0,
    resume: bool = True,
    on_step: Callable[[TrainingStep], None] | None = None,
) -> TrainingResult:
    """Train a sentence encoder on questions and passages.

    Parameters
    ----------
    pairs : sequence of RetrieverPair
        With mined negatives, or without any: then only the other passages of
        the batch are wrong.
    folder : str or Path
        Where the adapter or the model will be.
    model : str or Path
        Name or folder of the encoder, as `rag_helpers.models.resolve` takes it.
    method : {"lora", "full"}
        LoRA (Hu et al., 2022) trains two thin matrices beside each linear layer
        and saves those alone; ``"full"`` trains every weight and saves a model.
    rank : int
        Width of the thin matrices.
    epochs : float
        How often each pair is seen.
    batch_size : int
        Pairs per step; more pairs mean more wrong passages to tell from the
        right one, and a harder and better lesson.
    mini_batch_size : int or None
        Texts computed at once, with the cached loss (Gao et al., 2021): the
        same gradients as without it, in less memory and more time. None
        computes the whole batch at once.
    learning_rate : float, optional
        By default 5e-4 with LoRA and 3e-5 without.
    negatives : int
        Mined negatives used per pair; limited to what every pair has.
    score : callable, optional
        ``score(embed)`` returns how good the encoder is by now, higher is
        better; ``embed(texts)`` gives vectors of length 1. The best weights are
        kept.
    evaluate_every : int
        Steps between checkpoints, and between evaluations.
    patience : int, optional
        Evaluations without a better score after which training stops.
    dtype : str
        Of the arithmetic: ``"float32"``, ``"bfloat16"`` or ``"auto"``. The
        weights are float32 in any case.
    seed : int
        The same seed, pairs and machine give the same weights.
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
        If the pairs cannot be learnt from, a number is out of range, the folder
        holds something else, or disk or memory do not suffice; before any long
        work, or with the checkpoints kept.
    ModelNotFoundError
        If there is no such model.

    Notes
    -----
    Henderson et al. (2017), "Efficient natural language response suggestion for Smart Reply": the
    loss of a question is its cross-entropy among all passages of the batch, with cosines times 20
    as logits.
    """
    check_pairs(pairs)
    if method not in _LEARNING_RATES:
        raise TrainingError(f"method is {method!r}; give one of {', '.join(_LEARNING_RATES)}.")
    if rank < 1 or negatives < 0:
        raise TrainingError(f"rank is {rank} and negatives {negatives}; give at least 1 and 0.")
    used = min(negatives, *(len(pair.negatives) for pair in pairs))
    chosen_rate = learning_rate if learning_rate is not None else _LEARNING_RATES[method]
    weights = resolve(model)
    run = TrainingRun(
        folder,
        {
            "what": "retriever",
            "model": Path(model).name,
            "method": method,
            "rank": rank if method == "lora" else None,
            "epochs": epochs,
            "batch_size": batch_size,
            "mini_batch_size": mini_batch_size,
            "learning_rate": chosen_rate,
            "negatives": used,
            "evaluate_every": evaluate_every,
            "patience": patience,
            "dtype": dtype,
            "scored": score is not None,
            "seed": seed,
            "pairs": len(pairs),
            "sha256 of the pairs": digest_of(pairs),
        },
        resume=resume,
    )
    size_mb = sum(file.stat().st_size for file in weights.glob("*.safetensors")) / 1e6
    # Weights, their gradients and Adam's two moments; an adapter's share is small.
    copies = 4 if method == "full" else 1.5
    check_room(run.folder.parent, disk_mb=copies * size_mb, memory_mb=copies * size_mb)

    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer import losses

    from rag_helpers.fine_tuning.trainers import SmallCheckpoints, common_arguments, run_trainer

    arguments = common_arguments(
        run,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=chosen_rate,
        evaluate_every=evaluate_every,
        evaluates=score is not None,
        lower_is_better=False,
        seed=seed,
    )
    set_seed(seed)
    encoder = load_encoder(weights, rank=rank if method == "lora" else None)
    columns = {
        "question": [pair.question for pair in pairs],
        "passage": [pair.passage for pair in pairs],
        **{f"negative {n}": [pair.negatives[n] for pair in pairs] for n in range(used)},
    }
    shown = [RetrieverPair(p.id, p.question, p.passage, p.negatives[:used], p.right) for p in pairs]
    loss = (
        losses.MultipleNegativesRankingLoss(encoder)
        if mini_batch_size is None
        else losses.CachedMultipleNegativesRankingLoss(encoder, mini_batch_size=mini_batch_size)
    )

    class Trainer(SmallCheckpoints, SentenceTransformerTrainer):
        """Trains in batches without false negatives."""

        def get_batch_sampler(self, *_: Any, **__: Any) -> _Batches:  # noqa: ANN401
            return _Batches(shown, batch_size, seed)

        def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
            """Do without the library's card, which would embed examples for a web page."""

    trainer = Trainer(
        model=encoder,
        args=SentenceTransformerTrainingArguments(
            **arguments, bf16=select_dtype(dtype) == "bfloat16"
        ),
        train_dataset=Dataset.from_dict(columns),
        evaluator=None if score is None else as_evaluator(score),
        loss=loss,
    )

    def save(place: Path) -> None:
        if method == "lora":
            encoder.transformers_model.save_pretrained(place)
        else:
            encoder.save_pretrained(str(place))

    return run_trainer(
        trainer, run, label="Training the retriever", save=save, patience=patience, on_step=on_step
    )
