"""Train an encoder-decoder, T5 or BART, on questions with their contexts: the recipe's path.

The module does not know where pairs come from, nor how answers are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rag_helpers.environment import select_device, set_seed
from rag_helpers.errors import GeneratorError
from rag_helpers.fine_tuning.checks import check_pairs, check_room
from rag_helpers.fine_tuning.pairs import GeneratorPair
from rag_helpers.fine_tuning.runs import TrainingResult, TrainingRun, TrainingStep, digest_of
from rag_helpers.generator.loading import load_model, model_kind
from rag_helpers.models import resolve

__all__ = ["train_seq2seq"]


def train_seq2seq(
    pairs: Sequence[GeneratorPair],
    folder: str | Path,
    *,
    model: str | Path = "t5-small",
    epochs: float = 3.0,
    batch_size: int = 8,
    learning_rate: float = 3e-4,
    max_input_tokens: int = 512,
    held_out: Sequence[GeneratorPair] = (),
    evaluate_every: int = 20,
    patience: int | None = None,
    seed: int = 0,
    resume: bool = True,
    on_step: Callable[[TrainingStep], None] | None = None,
) -> TrainingResult:
    """Train every weight of an encoder-decoder with transformers' ``Seq2SeqTrainer``.

    Parameters
    ----------
    pairs : sequence of GeneratorPair
        Built with the template `rag_helpers.prompting.RECIPE`, which such
        models read; a system message would be lost on them.
    folder : str or Path
        Where the model will be; ``Seq2SeqGenerator(folder)`` uses it.
    model : str or Path
        Name or folder of T5, flan-T5 or BART.
    epochs : float
        How often each pair is seen.
    batch_size : int
        Pairs per step.
    learning_rate : float
        At its height, after a tenth of the steps; then it falls to 0.
    max_input_tokens : int
        What lies past it is cut off, as the recipe does.
    held_out : sequence of GeneratorPair
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
        History, cost and folder.

    Raises
    ------
    TrainingError
        As `rag_helpers.fine_tuning.train_generator` raises it.
    GeneratorError
        If the model is a causal one.
    ModelNotFoundError
        If there is no such model.
    """
    check_pairs(pairs)
    if held_out:
        check_pairs(held_out, least=1)
    weights = resolve(model)
    if model_kind(weights) != "encoder-decoder":
        raise GeneratorError(
            f"{Path(model).name} is a causal model; train it with train_generator, or give an "
            "encoder-decoder such as t5-small."
        )
    run = TrainingRun(
        folder,
        {
            "what": "seq2seq",
            "model": Path(model).name,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "max_input_tokens": max_input_tokens,
            "evaluate_every": evaluate_every,
            "patience": patience,
            "seed": seed,
            "pairs": len(pairs),
            "sha256 of the pairs": digest_of([*pairs, *held_out]),
        },
        resume=resume,
    )
    size_mb = sum(file.stat().st_size for file in weights.glob("*.safetensors")) / 1e6
    # Weights, their gradients and Adam's two moments.
    check_room(run.folder.parent, disk_mb=4 * size_mb, memory_mb=4 * size_mb)

    from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments

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
    loaded = load_model(weights, "encoder-decoder", "float32", prepare=lambda model: model)
    tokenizer = loaded.tokenizer

    def encode(pair: GeneratorPair) -> dict[str, list[int]]:
        inputs = tokenizer(pair.prompt.text, truncation=True, max_length=max_input_tokens)
        return {
            "input_ids": inputs["input_ids"],
            "attention_mask": inputs["attention_mask"],
            "labels": tokenizer(text_target=pair.answer)["input_ids"],
        }

    class Trainer(SmallCheckpoints, Seq2SeqTrainer):
        """The library's, with small checkpoints."""

    trainer = Trainer(
        model=loaded.model.to(select_device()),
        args=Seq2SeqTrainingArguments(**arguments, remove_unused_columns=False),
        train_dataset=[encode(pair) for pair in pairs],
        eval_dataset=[encode(pair) for pair in held_out] or None,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=loaded.model),
        processing_class=tokenizer,
    )

    def save(place: Path) -> None:
        loaded.model.save_pretrained(place)
        tokenizer.save_pretrained(place)

    return run_trainer(
        trainer, run, label="Training the generator", save=save, patience=patience, on_step=on_step
    )
