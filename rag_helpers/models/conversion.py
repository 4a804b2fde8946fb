"""Weights in other formats, rewritten once as safetensors.

Knows formats; does not know which file may be trusted: its callers compare checksums first.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rag_helpers.environment import note
from rag_helpers.errors import ModelIntegrityError

__all__ = ["convert_gguf", "convert_pickled", "pickled_weights", "quiet_loading"]


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence transformers' bars and notices while models load, and restore them afterwards.

    Examples
    --------
    >>> with quiet_loading():
    ...     pass
    """
    from transformers import modeling_gguf_pytorch_utils as gguf
    from transformers.utils import logging

    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    # No switch turns this bar off, and in notebooks it is a widget that stays.
    shown, gguf.tqdm = gguf.tqdm, lambda items, **_: items
    try:
        yield
    finally:
        gguf.tqdm = shown
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()


@contextmanager
def _work_kept() -> Iterator[None]:
    """Let transformers keep what it would work out again: more than half of a conversion.

    It reads the file's header three times, for tokenizer, configuration and weights, and the table
    of the tensors' names once for each part of the model.
    """
    import gguf

    own = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    for name, function in own.items():
        setattr(gguf, name, functools.cache(function))
    try:
        yield
    finally:
        for name, function in own.items():
            setattr(gguf, name, function)


def convert_gguf(file: Path, draft: Path) -> None:
    """De-quantize to float32, once; reading the GGUF each time would cost as long each time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    note(f"Converting {file.name} to safetensors, once; this takes about a quarter of a minute.")
    with quiet_loading(), _work_kept():
        tokenizer = AutoTokenizer.from_pretrained(
            file.parent, gguf_file=file.name, local_files_only=True
        )
        loaded = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, local_files_only=True, dtype=torch.float32
        )
        config = loaded.config
        # The weights are plain numbers by now; transformers would refuse to save them as GGUF.
        del config.quantization_config
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        model.load_state_dict(loaded.state_dict(), assign=True)
        model.tie_weights()
        model.generation_config = loaded.generation_config
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)


def pickled_weights(folder: Path) -> list[Path]:
    """Return the files of weights that are pickles, none where there are safetensors too."""
    return [] if any(folder.glob("*.safetensors")) else sorted(folder.glob("pytorch_model*.bin"))


def convert_pickled(source: Path, draft: Path) -> None:
    """Copy a model's folder, with pickled weights rewritten as safetensors."""
    shutil.copytree(
        source,
        draft,
        ignore=shutil.ignore_patterns(".*", "*.bin", "*.h5"),
        copy_function=shutil.copyfile,  # the hub's cache is read-only, the copy is not
        dirs_exist_ok=True,
    )
    pickled = pickled_weights(source)
    if not pickled:
        return
    import pickle

    import torch
    from safetensors.torch import save_file

    weights: dict[str, torch.Tensor] = {}
    for file in pickled:
        try:
            weights |= torch.load(file, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, TypeError) as error:
            raise ModelIntegrityError(
                f"{file} holds more than tensors, or is damaged; ask its author for safetensors."
            ) from error
    # Safetensors keep no two names for one tensor, and losing a name would lose a layer.
    whole = {name: tensor.contiguous().clone() for name, tensor in weights.items()}
    save_file(whole, draft / "model.safetensors", metadata={"format": "pt"})
