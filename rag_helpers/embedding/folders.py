"""What a folder with an encoder holds, and what is refused in it.

The module does not know how an encoder computes.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from rag_helpers.errors import ModelIntegrityError

__all__ = [
    "is_dpr",
    "model_config",
    "read_json",
    "refuse_foreign_modules",
    "refuse_missing",
    "require_weights",
]


def model_config(folder: Path) -> dict[str, Any]:
    """Return what ``config.json`` says."""
    return read_json(folder / "config.json")


def read_json(file: Path) -> Any:  # noqa: ANN401 (JSON)
    """Return what a file holds, or raise `ModelIntegrityError` when it is not JSON."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelIntegrityError(f"{file} is not JSON ({error}); copy it again.") from error


def is_dpr(folder: Path) -> bool:
    """Tell whether the folder holds one of DPR's encoders."""
    return bool(model_config(folder).get("model_type") == "dpr")


def refuse_foreign_modules(folder: Path) -> None:
    """Refuse a pipeline that names classes of its own: older versions would import them."""
    file = folder / "modules.json"
    for module in read_json(file) if file.is_file() else ():
        if not str(module["type"]).startswith("sentence_transformers."):
            raise ModelIntegrityError(
                f"{file} asks for the class {module['type']!r}, which is code from elsewhere; "
                "use a model of sentence-transformers' own modules."
            )


def require_weights(folder: Path, encoder: Any) -> None:  # noqa: ANN401 (from an untyped library)
    """Refuse a folder that lacks weights: they would be random numbers, with a mere notice."""
    from safetensors import safe_open

    stored: list[str] = []
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="numpy") as weights:
            stored += [f".{name}" for name in weights.keys()]  # noqa: SIM118 (not a mapping)
    # Checkpoints of a larger model prefix the names; the pooler is not used.
    wanted = (name for name, _ in encoder.named_parameters() if not name.startswith("pooler."))
    refuse_missing(
        folder, [name for name in wanted if not any(key.endswith(f".{name}") for key in stored)]
    )


def refuse_missing(folder: Path, names: Collection[str]) -> None:
    """Raise `ModelIntegrityError` when there are names of weights that the folder lacks."""
    if names:
        raise ModelIntegrityError(
            f"{folder} lacks {len(names)} weights of its model, such as {min(names)}; "
            "copy or download it again."
        )
