"""What is common to every `transformers.Trainer` here: checkpoints, steps, stopping early.

Checkpoints hold only the weights that train, so that those of an adapter are
small. The module imports transformers; others import it when training begins.
It does not know what is trained, nor what a score means.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback, TrainerCallback

from rag_helpers.environment import progress_bar, select_device
from rag_helpers.errors import TrainingError
from rag_helpers.fine_tuning.runs import (
    MemoryWatch,
    TrainingResult,
    TrainingRun,
    TrainingStep,
    out_of_room,
)
from rag_helpers.models import quiet_loading

__all__ = ["SmallCheckpoints", "common_arguments", "run_trainer"]

_WEIGHTS = "trainable.safetensors"


class SmallCheckpoints:
    """Mixed into a Trainer: a checkpoint is the weights that train, and the optimizer's state."""

    model: Any
    state: Any
    args: Any

    def _save(self, output_dir: str | None = None, state_dict: object = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {
            name: weight.detach().contiguous()
            for name, weight in self.model.named_parameters()
            if weight.requires_grad
        }
        save_file(weights, folder / _WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: object = None) -> None:
        weights = load_file(Path(resume_from_checkpoint) / _WEIGHTS)
        self.model.load_state_dict(weights, strict=False)

    def _load_best_model(self) -> None:
        self._load_from_checkpoint(self.state.best_model_checkpoint)


class _Watcher(TrainerCallback):
    """Tells the caller of every step, and shows a bar when it takes long."""

    def __init__(self, label: str, on_step: Callable[[TrainingStep], None] | None) -> None:
        self._label, self._on_step = label, on_step

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        left = range(state.global_step, state.max_steps)
        self._ticks = iter(progress_bar(left, label=self._label))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        next(self._ticks, None)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any, **_: Any) -> None:  # noqa: ANN401
        row = _row(logs, state.global_step, state.max_steps)
        if row is not None and self._on_step is not None:
            self._on_step(row)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        next(self._ticks, None)


class _StopAfter(TrainerCallback):
    """Ends training at a step, though the learning rate was planned for more."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        if state.global_step >= self._step:
            control.should_training_stop = True


def _row(logs: dict[str, float], step: int, steps: int) -> TrainingStep | None:
    loss = logs.get("loss")
    score = logs.get("eval_score", logs.get("eval_loss"))
    if loss is None and score is None:
        return None
    return TrainingStep(step, steps, loss, score)


def common_arguments(
    run: TrainingRun,
    *,
    epochs: float,
    batch_size: int,
    learning_rate: float,
    evaluate_every: int,
    evaluates: bool,
    lower_is_better: bool,
    seed: int,
) -> dict[str, Any]:
    """Return the training arguments that all trainers share.

    Raises
    ------
    TrainingError
        If a number is out of range.
    """
    for name, value in (
        ("epochs", epochs),
        ("batch_size", batch_size),
        ("learning_rate", learning_rate),
        ("evaluate_every", evaluate_every),
    ):
        if value <= 0:
            raise TrainingError(f"{name} is {value}; give more than 0.")
    arguments: dict[str, Any] = {
        "output_dir": str(run.work),
        "num_train_epochs": epochs,
        "per_device_train_batch_size": batch_size,
        "per_device_eval_batch_size": batch_size,
        "learning_rate": learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.1,  # below 1: a share of all steps
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": evaluate_every,
        "save_total_limit": 1,
        "restore_callback_states_from_checkpoint": True,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "use_cpu": select_device() == "cpu",
        "seed": seed,
        "data_seed": seed,
    }
    if evaluates:
        arguments |= {
            "eval_strategy": "steps",
            "eval_steps": evaluate_every,
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_loss" if lower_is_better else "eval_score",
            "greater_is_better": not lower_is_better,
        }
    return arguments


def run_trainer(
    trainer: Any,  # noqa: ANN401 (a Trainer)
    run: TrainingRun,
    *,
    label: str,
    save: Callable[[Path], object],
    patience: int | None,
    on_step: Callable[[TrainingStep], None] | None,
    stop_after: int | None = None,
) -> TrainingResult:
    """Train from the last checkpoint or from the start, and publish the result.

    Parameters
    ----------
    trainer : transformers.Trainer
        Ready to train, with `SmallCheckpoints`.
    run : TrainingRun
        Where it is kept.
    label : str
        Shown before the progress bar.
    save : callable
        ``save(folder)`` writes what was trained.
    patience : int or None
        Evaluations without a better score after which training stops.
    on_step : callable or None
        Told of every logged step.
    stop_after : int, optional
        Step after which training ends, whatever was planned.

    Returns
    -------
    TrainingResult
        The history includes steps before a kill.

    Raises
    ------
    TrainingError
        If memory or disk run out; checkpoints stay.
    """
    for noisy in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(noisy)
    trainer.add_callback(_Watcher(label, on_step))
    if patience is not None and trainer.args.load_best_model_at_end:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=patience))
    if stop_after is not None:
        trainer.add_callback(_StopAfter(stop_after))
    checkpoint = run.last_checkpoint()
    with out_of_room(run), quiet_loading(), MemoryWatch() as watch:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    state = trainer.state
    rows = (_row(logs, int(logs["step"]), state.max_steps) for logs in state.log_history)
    history = tuple(row for row in rows if row is not None)
    best = state.best_global_step if trainer.args.load_best_model_at_end else None
    weights = list(trainer.model.parameters())
    result = TrainingResult(
        folder=run.folder,
        history=history,
        best_step=int(best or state.global_step),
        seconds=watch.seconds,
        peak_memory_mb=watch.peak_mb,
        trained_parameters=sum(w.numel() for w in weights if w.requires_grad),
        parameters=sum(w.numel() for w in weights),
    )
    with out_of_room(run), quiet_loading():
        run.publish(
            save,
            {
                "best_step": result.best_step,
                "steps": state.global_step,
                "seconds": round(result.seconds, 1),
                "peak_memory_mb": round(result.peak_memory_mb),
            },
        )
    return result
