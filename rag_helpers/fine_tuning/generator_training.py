"""Train a chat model to answer from its context: LoRA, with the loss on the answer alone.

The module does not know where pairs come from, nor how answers are scored.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rag_helpers.environment import cpu_has_bf16, select_device, set_seed
from rag_helpers.errors import TrainingError
from rag_helpers.fine_tuning.checks import activations_mb, check_pairs, check_room
from rag_helpers.fine_tuning.pairs import GeneratorPair
from rag_helpers.fine_tuning.runs import TrainingResult, TrainingRun, TrainingStep, digest_of
from rag_helpers.generator import ChatGenerator
from rag_helpers.models import resolve

__all__ = ["train_generator"]

_IGNORED = -100  # what torch's cross-entropy passes over
_ROWS_AT_ONCE = 4  # of a batch; more take more memory, and on two cores no less time


def train_generator(
    pairs: Sequence[GeneratorPair],
    folder: str | Path,
    *,
    model: str | Path = "SmolLM2-135M-Instruct",
    rank: int = 16,
    epochs: float = 1.0,
    batch_size: int = 8,
    learning_rate: float = 5e-4,
    max_tokens: int = 1024,
    held_out: Sequence[GeneratorPair] = (),
    evaluate_every: int = 20,
    patience: int | None = None,
    stop_after: int | None = None,
    dtype: str = "auto",
    seed: int = 0,
    resume: bool = True,
    on_step: Callable[[TrainingStep], None] | None = None,
) -> TrainingResult:
    """Train a LoRA adapter on prompts and the answers that should follow.

    Only the answer's tokens are learnt; the prompt is read and not predicted.
    The prompt becomes tokens as `ChatGenerator` makes it, so that the model
    meets in use what it met in training.

    Parameters
    ----------
    pairs : sequence of GeneratorPair
        As `build_generator_pairs` makes them.
    folder : str or Path
        Where the adapter will be; ``ChatGenerator(adapter=folder)`` uses it.
    model : str or Path
        Name or folder of a causal chat model.
    rank : int
        Width of LoRA's matrices, which stand beside every linear layer.
    epochs : float
        How often each pair is seen.
    batch_size : int
        Pairs per step.
    learning_rate : float
        At its height, after a tenth of the steps; then it falls to 0.
    max_tokens : int
        Longest prompt with its answer.
    held_out : sequence of GeneratorPair
        Their loss is measured every `evaluate_every` steps, and the weights
        with the lowest are kept. They are not trained on.
    evaluate_every : int
        Steps between checkpoints, and between evaluations.
    patience : int, optional
        Evaluations without a lower loss after which training stops.
    stop_after : int, optional
        Steps after which training stops, with the learning rate still planned for
        all epochs: for those who run out of time.
    dtype : str
        Format of the frozen weights and of the arithmetic: ``"float32"``,
        ``"bfloat16"``, or ``"auto"``. What is trained is float32 in any case.
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
        If the pairs cannot be learnt from, are too long, stand in both sets, a
        number is out of range, the folder holds something else, or disk or
        memory do not suffice.
    ModelNotFoundError, GeneratorError
        If there is no such model, or it is no chat model.

    Notes
    -----
    Hu et al. (2022), "LoRA: Low-rank adaptation of large language models". The loss is the mean
    over answers of the mean cross-entropy of their tokens, so that short answers and sentences
    weigh the same. A batch is computed four rows at a time: the same gradients in less memory.
    """
    check_pairs(pairs)
    if held_out:
        check_pairs(held_out, least=1)
        if shared := {pair.id for pair in pairs} & {pair.id for pair in held_out}:
            raise TrainingError(
                f"Pair {min(shared)!r} is trained on and held out; take it out of one."
            )
    for name, value in (("rank", rank), ("stop_after", stop_after)):
        if value is not None and value < 1:
            raise TrainingError(f"{name} is {value}; give at least 1.")
    weights = resolve(model)
    run = TrainingRun(
        folder,
        {
            "what": "generator",
            "model": Path(model).name,
            "method": "lora",
            "rank": rank,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "max_tokens": max_tokens,
            "evaluate_every": evaluate_every,
            "patience": patience,
            "stop_after": stop_after,
            "dtype": dtype,
            "seed": seed,
            "pairs": len(pairs),
            "sha256 of the pairs": digest_of([*pairs, *held_out]),
        },
        resume=resume,
    )
    size_mb = sum(file.stat().st_size for file in weights.glob("*.safetensors")) / 1e6
    check_room(run.folder.parent, disk_mb=0.2 * size_mb, memory_mb=2.5 * size_mb)
    generator = ChatGenerator(model, dtype=dtype)
    rows = [_encode(generator, pair, max_tokens) for pair in pairs]
    held_rows = [_encode(generator, pair, max_tokens) for pair in held_out]
    at_once = math.gcd(batch_size, _ROWS_AT_ONCE)
    longest = max(len(row["input_ids"]) for row in [*rows, *held_rows])
    needed_mb = activations_mb(generator.model.config, at_once * longest)
    check_room(run.folder.parent, disk_mb=0, memory_mb=needed_mb)

    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Trainer, TrainingArguments

    from rag_helpers.fine_tuning.trainers import SmallCheckpoints, common_arguments, run_trainer

    arguments = common_arguments(
        run,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        evaluate_every=evaluate_every,
        evaluates=bool(held_out),
        lower_is_better=True,
        seed=seed,
    )
    set_seed(seed)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules="all-linear",
    )
    with warnings.catch_warnings():
        # peft asks transformers by a name that is going to change; neither is our reader's concern.
        warnings.simplefilter("ignore", FutureWarning)
        adapted = get_peft_model(generator.model, config)
    low = "bfloat16" in str(generator.model.dtype) and (select_device() != "cpu" or cpu_has_bf16())

    class ChatTrainer(SmallCheckpoints, Trainer):
        """Computes logits where answers are, and nowhere else."""

        def compute_loss(
            self,
            model: Any,  # noqa: ANN401
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,  # noqa: ANN401
        ) -> Any:  # noqa: ANN401
            with torch.autocast(select_device(), torch.bfloat16, enabled=low):
                loss = _answer_loss(adapted, inputs)
            return (loss, {}) if return_outputs else loss

        def _get_train_sampler(self, train_dataset: object = None) -> _ByLength:
            return _ByLength([len(row["input_ids"]) for row in rows], batch_size, seed)

    arguments |= {
        "per_device_train_batch_size": at_once,
        "per_device_eval_batch_size": at_once,
        "gradient_accumulation_steps": batch_size // at_once,
    }
    trainer = ChatTrainer(
        model=adapted,
        args=TrainingArguments(
            **arguments,
            remove_unused_columns=False,
            prediction_loss_only=True,
            label_names=["labels"],
        ),
        train_dataset=rows,
        eval_dataset=held_rows or None,
        data_collator=lambda batch: _collate(batch, generator),
    )
    # The loss is a mean over answers: that of a step is the mean over its parts.
    trainer.model_accepts_loss_kwargs = False
    return run_trainer(
        trainer,
        run,
        label="Training the generator",
        save=adapted.save_pretrained,
        patience=patience,
        on_step=on_step,
        stop_after=stop_after,
    )


class _ByLength:
    """Deals rows such that those of like length share a batch: little is computed on padding.

    The library's own sampler draws from the random numbers that happen to be
    next, and would deal otherwise when a run is resumed.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths, self._size, self._seed = lengths, batch_size, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        drawn = random.Random(self._seed * 1_000_003 + self._epoch)  # noqa: S311 (not for secrets)
        # Lengths that differ by a few tokens are as good as equal, and are mixed.
        ranked = [(length // 16, drawn.random(), i) for i, length in enumerate(self._lengths)]
        order = [i for *_, i in sorted(ranked)]
        # The last batch may be smaller, and the trainer cuts batches from the front.
        whole = len(order) - len(order) % self._size
        batches = [order[start : start + self._size] for start in range(0, whole, self._size)]
        drawn.shuffle(batches)
        yield from (i for batch in [*batches, order[whole:]] for i in batch)


def _encode(generator: ChatGenerator, pair: GeneratorPair, max_tokens: int) -> dict[str, list[int]]:
    head = generator._encode(pair.prompt)
    end = generator.model.generation_config.eos_token_id
    tail = [*generator._text_ids(pair.answer), end[0] if isinstance(end, list) else end]
    if len(head) + len(tail) > max_tokens:
        raise TrainingError(
            f"Pair {pair.id!r} has {len(head) + len(tail)} tokens and max_tokens is {max_tokens}; "
            "build its prompt with a smaller token_budget, or raise max_tokens."
        )
    return {"input_ids": head + tail, "answer_ids": tail}


def _collate(batch: Sequence[dict[str, list[int]]], generator: ChatGenerator) -> dict[str, Any]:
    """Pad on the left, so that all answers end in the last column."""
    import torch

    ids, mask = generator._pad([row["input_ids"] for row in batch])
    width = max(len(row["answer_ids"]) for row in batch)
    labels = [[_IGNORED] * (width - len(row["answer_ids"])) + row["answer_ids"] for row in batch]
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
        "labels": torch.tensor(labels, device=ids.device),
    }


def _answer_loss(adapted: Any, inputs: dict[str, Any]) -> Any:  # noqa: ANN401 (tensors)
    """Return the mean over answers of the mean cross-entropy of their tokens.

    Short answers and long ones weigh the same. Logits are computed where an
    answer stands, and nowhere else: a row of them is as long as the vocabulary.
    """
    from torch.nn.functional import cross_entropy

    labels = inputs["labels"]
    rest = {name: value for name, value in inputs.items() if name != "labels"}
    model = adapted.get_base_model()
    # The token in a column is predicted in the column before.
    states = model.get_decoder()(**rest, use_cache=False).last_hidden_state
    learnt = labels != _IGNORED
    logits = model.get_output_embeddings()(states[:, -labels.shape[1] - 1 : -1][learnt])
    losses = cross_entropy(logits.float(), labels[learnt], reduction="none")
    share = 1 / learnt.sum(dim=1, keepdim=True).expand_as(labels)[learnt]
    return (losses * share).sum() / len(labels)
