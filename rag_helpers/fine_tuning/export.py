"""An adapter becomes a folder that can be shipped: half precision, with a card.

The module does not know how the adapter was trained.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rag_helpers.environment import versions
from rag_helpers.fine_tuning.measuring import Gain
from rag_helpers.fine_tuning.question_sets import QuestionSet
from rag_helpers.fine_tuning.runs import TrainingResult
from rag_helpers.models import find_model

__all__ = ["export_adapter", "write_card"]


def export_adapter(source: Path, target: Path, *, base: str, card: str) -> Path:
    """Copy an adapter at half precision, with its card, and move it into place whole.

    Parameters
    ----------
    source : Path
        What training left.
    target : Path
        Where it will be; replaced.
    base : str
        Name of the model it belongs to. Where that lies on this machine is
        taken out of the configuration.
    card : str
        Its README, in Markdown.

    Returns
    -------
    Path
        The target.
    """
    import torch
    from safetensors.torch import load_file, save_file

    draft = target.with_name(f".{target.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    weights = load_file(source / "adapter_model.safetensors")
    halves = {name: weight.to(torch.float16) for name, weight in weights.items()}
    save_file(halves, draft / "adapter_model.safetensors", metadata={"format": "pt"})
    config = json.loads((source / "adapter_config.json").read_text(encoding="utf-8"))
    model = find_model(base)
    config["base_model_name_or_path"] = model.repository if model else base
    text = json.dumps(config, indent=1, sort_keys=True)
    (draft / "adapter_config.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    (draft / "README.md").write_text(card, encoding="utf-8", newline="\n")
    for file in draft.iterdir():
        file.chmod(0o644)
        with file.open("r+b") as stream:
            os.fsync(stream.fileno())
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.replace(old)
    draft.replace(target)
    shutil.rmtree(old, ignore_errors=True)
    return target


def write_card(
    base: str,
    settings: Mapping[str, Any],
    seed: int,
    train: Sequence[QuestionSet],
    pairs: int,
    result: TrainingResult,
    gains: Mapping[str, Sequence[Gain]],
) -> str:
    """Return what a user of the adapter should know before using it."""
    model = find_model(base)
    origin = f"{model.repository} ({model.licence})" if model else base
    packages = versions()
    used = {name: packages[name] for name in ("torch", "transformers", "peft") if name in packages}
    lines = [
        f"# LoRA adapter for {base}",
        "",
        f"Made by `python -m rag_helpers adapters`. Base model: {origin}. `RAG_ADAPTERS=off` turns"
        " the adapter off.",
        "",
        "## Data",
        "",
        f"{pairs} examples, built from:",
        "",
        *(f"- {q.name}: {len(q.gold)} questions; licence: {q.licence}" for q in train),
        "",
        "The texts themselves are not in the adapter's files.",
        "",
        "## Settings",
        "",
        *(f"- {name}: {value}" for name, value in settings.items()),
        f"- seed: {seed}",
        f"- trained: {result.trained_parameters:,} of {result.parameters:,} numbers, beside every"
        " linear layer; saved as float16",
        f"- kept: step {result.best_step} of {result.history[-1].step}, the best on held-out"
        " questions",
        f"- cost: {result.seconds:.0f} s since it was last started, {result.peak_memory_mb:.0f} MB"
        " at most",
        f"- versions: {', '.join(f'{name} {version}' for name, version in used.items())}",
        "",
        "## Results",
        "",
        "Means with 95 % bootstrap intervals on questions that were not trained on; the gain is"
        " paired. They were used to choose settings and the step that was kept, so they are a"
        " little too good: for the figures on test questions see the project's README.",
    ]
    for name, found in gains.items():
        lines += ["", f"### {name}", "", *(f"- {gain}" for gain in found)]
    lines += [
        "",
        "## Limits",
        "",
        "- English; short factual questions over technical and encyclopaedic prose.",
        "- Trained on few examples: expect less on other kinds of text, and measure on yours.",
        "- Answers follow the passages, also where the passages are wrong.",
        "",
    ]
    return "\n".join(lines)
