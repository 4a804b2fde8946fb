"""Weights kept in float16 and multiplied in float32: half as much to fetch for every token.

Where one token is written at a time, nearly all the time goes into fetching the weights from
memory. FBGEMM (Khudia et al., 2021), which PyTorch brings for x86 processors, fetches them in
float16 and computes in float32, so that only the weights are rounded: float16 has eleven
significant bits, where bfloat16 has eight.

The module does not know what the layers belong to, nor whether the rounding changes an answer:
that is measured (``data/results/variants.json``).
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["HalfLinear", "half_weights_run_here", "halve_weights"]

# So many values of a layer stay in sight, by which layers are told apart.
_IN_SIGHT = 64


class HalfLinear(torch.nn.Module):
    """A linear layer whose weights are packed in float16.

    Parameters
    ----------
    linear : torch.nn.Linear
        In float32, on the CPU; no weight above 65,504, the largest number of float16.

    Examples
    --------
    >>> layer = torch.nn.Linear(4, 3)
    >>> x = torch.ones(2, 4)
    >>> not half_weights_run_here() or torch.allclose(HalfLinear(layer)(x), layer(x), atol=1e-2)
    True
    """

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        bias = None if linear.bias is None else linear.bias.detach()
        self._packed = torch.ops.quantized.linear_prepack_fp16(weight, bias)
        self.packed_bytes = 2 * weight.numel()
        self.register_buffer("in_sight", weight.flatten()[:_IN_SIGHT].clone())

    def forward(self, inputs: torch.Tensor) -> Any:  # noqa: ANN401 (torch's operators are untyped)
        """Return the products, shape ``(…, features out)``."""
        return torch.ops.quantized.linear_dynamic_fp16(inputs, self._packed)


def half_weights_run_here() -> bool:
    """Return whether this build of PyTorch multiplies packed float16 weights on this processor.

    Examples
    --------
    >>> half_weights_run_here() in {True, False}
    True
    """
    return "fbgemm" in torch.backends.quantized.supported_engines


def halve_weights(model: torch.nn.Module) -> torch.nn.Module:
    """Pack the weights of every linear layer, in place.

    Parameters
    ----------
    model : torch.nn.Module
        In float32, on the CPU. It can be neither saved nor trained afterwards.

    Returns
    -------
    torch.nn.Module
        The same one. A layer with a weight that float16 cannot hold is left as it was.

    Examples
    --------
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    >>> if half_weights_run_here():
    ...     assert isinstance(halve_weights(model)[0], HalfLinear)
    """
    most = torch.finfo(torch.float16).max
    for name, part in list(model.named_children()):
        if type(part) is torch.nn.Linear and bool(part.weight.abs().max() <= most):
            setattr(model, name, HalfLinear(part))
        else:
            halve_weights(part)
    return model
