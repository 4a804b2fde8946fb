"""Weights in eight bits, and how much memory weights take.

The module does not know whether what it makes is any good: measure it.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any, TypeVar

from rag_helpers.errors import InvalidInputError, RagError

__all__ = ["model_size_mb", "quantize_dynamic"]

T = TypeVar("T")


def _module_of(part: object) -> tuple[str, Any] | None:
    """Return the torch module that a generator or an embedder holds, and where."""
    import torch

    for name, value in getattr(part, "__dict__", {}).items():
        if isinstance(value, torch.nn.Module):
            return name, value
    return None


def model_size_mb(part: object) -> float:
    """Return how much memory the weights of a generator or an embedder take.

    Parameters
    ----------
    part : object
        Anything that holds a torch module as an attribute.

    Returns
    -------
    float
        In 10⁶ bytes; weights that are shared count once, and 0 means that there
        is no torch module.

    Examples
    --------
    >>> from rag_helpers.generator import ExtractiveGenerator
    >>> model_size_mb(ExtractiveGenerator())
    0.0
    """
    import torch

    held = _module_of(part)
    if held is None:
        return 0.0
    sizes: dict[int, int] = {}

    def visit(value: object) -> None:
        if hasattr(value, "__tensor_flatten__"):  # torchao's, which claim their unpacked size
            for name in value.__tensor_flatten__()[0]:
                visit(getattr(value, name))
        elif isinstance(value, torch.Tensor):
            # Quantized weights are packed: they have no address, and are never shared.
            address = value.data_ptr() or id(value)
            sizes[address] = value.numel() * value.element_size()
        elif isinstance(value, (tuple, list)):
            for one in value:
                visit(one)

    state = held[1].state_dict()
    for value in state.values():
        visit(value)
    # Weights in float16 that FBGEMM packed are out of sight, and say how much they take.
    packed = sum(getattr(layer, "packed_bytes", 0) for layer in held[1].modules())
    return (sum(sizes.values()) + packed) / 1e6


def check_not_packed(model: Any) -> None:  # noqa: ANN401 (torch is untyped here)
    """Refuse a model whose weights are out of sight already.

    Parameters
    ----------
    model : torch.nn.Module
        To be changed or saved.

    Raises
    ------
    InvalidInputError
        If it was loaded with ``dtype="half-weights"``.
    """
    if any(hasattr(layer, "packed_bytes") for layer in model.modules()):
        raise InvalidInputError(
            "The model's weights are packed in float16; load it with dtype='float32' first."
        )


def quantize_dynamic(part: T) -> T:
    """Return a copy whose linear layers compute in 8-bit integers.

    This is the quantization that PyTorch has had longest: weights are rounded
    to 8 bits once, with one scale a layer; activations are rounded anew for
    every input. Measure what it does to the answers before using it.

    Parameters
    ----------
    part : Generator or Embedder
        In float32, on the CPU; it holds a torch module as an attribute.

    Returns
    -------
    Generator or Embedder
        Of the same class; the original is unchanged.

    Raises
    ------
    InvalidInputError
        If there is no torch module, or it is not in float32, or packed.
    RagError
        If this build of PyTorch cannot compute in 8 bits on this processor.
    """
    import torch

    held = _module_of(part)
    if held is None:
        raise InvalidInputError(
            f"{type(part).__name__} holds no torch model, so there is nothing to quantize."
        )
    attribute, model = held
    check_not_packed(model)
    if any(weight.dtype != torch.float32 for weight in model.parameters()):
        raise InvalidInputError("The model is not in float32; load it with dtype='float32' first.")
    with warnings.catch_warnings():
        # Deprecated in favour of torchao, and still what recipes name.
        warnings.simplefilter("ignore")
        try:
            small = torch.ao.quantization.quantize_dynamic(
                model.to("cpu"), {torch.nn.Linear}, dtype=torch.qint8
            )
        except RuntimeError as error:
            raise RagError(
                f"This PyTorch cannot quantize on this processor ({error}); use bfloat16 or "
                "float32 instead."
            ) from error
    other = copy.copy(part)
    setattr(other, attribute, small)
    return other
