"""A model folder → a model and its tokenizers, checked and ready to generate.

The module does not know what the model will be asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rag_helpers.environment import cpu_has_bf16, select_device
from rag_helpers.errors import GeneratorError, InvalidInputError
from rag_helpers.models import quiet_loading

__all__ = ["HALF_WEIGHTS", "LoadedModel", "ModelKind", "load_model", "model_kind"]

HALF_WEIGHTS = "half-weights"
"""The `dtype` of weights in float16 that are multiplied in float32."""

ModelKind: TypeAlias = Literal["encoder-decoder", "causal"]
_AUTO_CLASSES: dict[ModelKind, str] = {
    "encoder-decoder": "AutoModelForSeq2SeqLM",
    "causal": "AutoModelForCausalLM",
}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model, its tokenizer, and two copies of the tokenizer that nobody reconfigures.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        In evaluation mode, on the selected device; samples only when told to.
    tokenizer : transformers.PreTrainedTokenizerBase
        As the folder describes it.
    read_template : callable
        Text → ids; control tokens are recognized, none are added.
    read_text : callable
        Text → a ``tokenizers.Encoding`` in which ``"</s>"`` or ``"<|im_end|>"``
        in the text is text like any other, so that a document cannot end a turn
        or forge one. Takes ``add_special_tokens``.
    """

    model: Any
    tokenizer: Any
    read_template: Callable[[str], list[int]]
    read_text: Callable[..., Any]


def model_kind(folder: Path) -> ModelKind:
    """Read from a model folder's configuration which kind of generator it holds.

    Parameters
    ----------
    folder : Path
        Folder with a ``config.json``.

    Returns
    -------
    str
        ``"encoder-decoder"`` (T5, BART) or ``"causal"`` (Llama, SmolLM2).

    Raises
    ------
    GeneratorError
        If there is no configuration, or the model does not write text.
    """
    from transformers import AutoConfig

    try:
        with quiet_loading():
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise GeneratorError(
            f"{folder} holds no configuration that transformers can read: give a folder with "
            "config.json, model.safetensors and tokenizer.json."
        ) from error
    if config.is_encoder_decoder:
        return "encoder-decoder"
    architectures = config.architectures or []
    if any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in architectures):
        return "causal"
    raise GeneratorError(
        f"{folder.name} is a {' or '.join(architectures) or config.model_type}, which does not "
        "write text: choose a generator such as 'SmolLM2-135M-Instruct' or 't5-small'."
    )


def load_model(
    folder: Path, kind: ModelKind, dtype: str, *, prepare: Callable[[Any], Any]
) -> LoadedModel:
    """Load a model from safetensors, without a word and without a network.

    Parameters
    ----------
    folder : Path
        Where it is.
    kind : str
        As `model_kind` says.
    dtype : str
        ``"float32"``, ``"bfloat16"``, ``"float16"``, ``"half-weights"`` or ``"auto"``.
    prepare : callable
        Changes the model while it is still in float32, such as merging an adapter.

    Returns
    -------
    LoadedModel
        Ready to generate.

    Raises
    ------
    GeneratorError
        If a file is missing or unreadable, or weights are missing.
    InvalidInputError
        If `dtype` is unknown, or ``"half-weights"`` and does not fit model or machine.
    """
    import torch
    import transformers
    from tokenizers import Tokenizer

    device = select_device()
    half = dtype == HALF_WEIGHTS
    if half:
        _check_half_weights(kind, device)
    torch_dtype = getattr(torch, "float32" if half else _choose_dtype(dtype, device))
    try:
        with quiet_loading():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model, report = getattr(transformers, _AUTO_CLASSES[kind]).from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (OSError, ValueError) as error:
        raise GeneratorError(
            f"The model in {folder} cannot be loaded ({error}): it needs model.safetensors and "
            "tokenizer.json; save a .bin model again with save_pretrained."
        ) from error
    # transformers fills what is missing with random numbers, and says so in a log.
    if report["missing_keys"]:
        raise GeneratorError(
            f"{len(report['missing_keys'])} weights of {folder.name} are missing in {folder}, such "
            f"as {min(report['missing_keys'])}: copy or download the model again."
        )
    # Some checkpoints ask for sampling; here only the caller does.
    settings = model.generation_config
    settings.do_sample = False
    settings.temperature = settings.top_p = settings.top_k = None

    # Copies, because the library changes settings of its own one between calls, which threads
    # that share it would see.
    template_tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    template_tokenizer.no_truncation()
    template_tokenizer.no_padding()
    text_tokenizer = Tokenizer.from_str(template_tokenizer.to_str())
    text_tokenizer.encode_special_tokens = True
    model = prepare(model).to(device=device, dtype=torch_dtype).eval()
    if half:
        from rag_helpers.generator.half_weights import halve_weights

        model = halve_weights(model)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        read_template=lambda text: template_tokenizer.encode(text, add_special_tokens=False).ids,
        read_text=text_tokenizer.encode,
    )


def _check_half_weights(kind: ModelKind, device: str) -> None:
    from rag_helpers.generator.half_weights import half_weights_run_here

    if kind != "causal":
        raise InvalidInputError(
            f"dtype is {HALF_WEIGHTS!r} and the model is {kind}: it is for causal models; use "
            "'float32'."
        )
    if device != "cpu" or not half_weights_run_here():
        raise InvalidInputError(
            f"dtype is {HALF_WEIGHTS!r}, which needs an x86 processor and no GPU: use 'auto'."
        )


def _choose_dtype(dtype: str, device: str) -> str:
    if dtype in {"float32", "bfloat16", "float16"}:
        return dtype
    if dtype != "auto":
        raise InvalidInputError(
            f"dtype is {dtype!r}: use 'auto', 'float32', 'bfloat16', 'float16' or {HALF_WEIGHTS!r}."
        )
    if device == "cuda":
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if device == "cpu" and cpu_has_bf16() else "float32"
