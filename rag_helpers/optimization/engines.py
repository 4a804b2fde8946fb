"""The same weights in other engines: CTranslate2, and torchao's integers.

Both are further installs (``pip install 'rag-helpers[fast]'``); the course runs without them.
The module does not know whether what it makes is any good: measure it.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from rag_helpers.errors import InvalidInputError, MissingExtraError
from rag_helpers.generator import ChatGenerator
from rag_helpers.models import quiet_loading
from rag_helpers.optimization.quantizing import check_not_packed
from rag_helpers.records import Generation, Prompt

__all__ = ["CTranslate2Generator", "quantize_torchao"]

T = TypeVar("T")


class CTranslate2Generator(ChatGenerator):
    """A chat generator whose model, adapter included, runs in CTranslate2.

    Prompts, options and streams are the original's; beams, sampling and
    `log_likelihood` are not to be had.

    Parameters
    ----------
    original : ChatGenerator
        In float32; it is unchanged, and may be dropped afterwards.
    compute_type : str, default "int8"
        ``"int8"``, ``"int8_float32"``, ``"int16"``, ``"bfloat16"`` or ``"float32"``.

    Raises
    ------
    MissingExtraError
        If CTranslate2 is not installed.
    InvalidInputError
        If this processor does not know the type, the original uses beams or a temperature, or its
        weights are packed.
    """

    def __init__(self, original: ChatGenerator, *, compute_type: str = "int8") -> None:
        ctranslate2 = _import("ctranslate2")
        known = ctranslate2.get_supported_compute_types("cpu")
        if compute_type not in known:
            raise InvalidInputError(
                f"compute_type is {compute_type!r}; this processor knows {', '.join(sorted(known))}"
            )
        if original.num_beams > 1 or original.temperature:
            raise InvalidInputError(
                f"num_beams is {original.num_beams} and temperature {original.temperature}: this "
                "engine is used greedily; set them to 1 and 0."
            )
        check_not_packed(original.model)
        # Everything but the model is the original's; its constructor would load the model anew.
        self.__dict__.update(original.__dict__)
        with tempfile.TemporaryDirectory() as draft:
            source, converted = Path(draft, "source"), Path(draft, "converted")
            with quiet_loading():
                original.model.save_pretrained(source)
                original.tokenizer.save_pretrained(source)
                ctranslate2.converters.TransformersConverter(str(source)).convert(
                    str(converted), quantization=compute_type
                )
            self.size_mb = (converted / "model.bin").stat().st_size / 1e6
            self._engine = ctranslate2.Generator(
                str(converted), device="cpu", compute_type=compute_type
            )
        self.model = None
        self._max_tokens = original._context_tokens

    @property
    def _context_tokens(self) -> int:
        return self._max_tokens

    def _run(
        self,
        encoded: Sequence[list[int]],
        *,
        on_tokens: Callable[[list[int]], None] | None = None,
        abandoned: Event | None = None,
    ) -> list[Generation]:
        written: list[list[int]] = [[] for _ in encoded]
        scores: list[list[float]] = [[] for _ in encoded]
        # The engine's own thread lets go of `take` last. Held by it, the engine might end in that
        # thread, which cannot wait for itself: the process would be aborted.
        reader = copy.copy(self)
        reader._engine = None

        def take(step: Any) -> bool:  # noqa: ANN401 (a result of one step)
            row = step.batch_id
            written[row].append(step.token_id)
            scores[row].append(step.log_prob)
            if on_tokens is not None:
                on_tokens([step.token_id])
            stop = abandoned is not None and abandoned.is_set()
            return stop or reader._is_complete(written[row])

        self._engine.generate_batch(
            [self.tokenizer.convert_ids_to_tokens(ids) for ids in encoded],
            max_length=self.max_new_tokens,
            sampling_topk=1,
            include_prompt_in_result=False,
            return_scores=True,
            end_token=sorted(self._end_ids),
            callback=take,
        )
        return [self._finish(ids, own) for ids, own in zip(written, scores, strict=True)]

    def log_likelihood(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[float]:
        """Refuse: this engine is used for writing alone."""
        raise InvalidInputError(
            f"{self.name} in CTranslate2 does not score texts: use the ChatGenerator it came from."
        )


def quantize_torchao(part: T) -> T:
    """Return a copy whose linear layers compute in 8-bit integers, by torchao.

    Weights have one scale an output channel, activations one a token. The output layer stays as
    it is, since its rounding decides between words directly.

    Parameters
    ----------
    part : Generator or Embedder
        In float32, on the CPU; it holds a torch module as ``model``.

    Returns
    -------
    Generator or Embedder
        Of the same class; the original is unchanged.

    Raises
    ------
    MissingExtraError
        If torchao is not installed.
    InvalidInputError
        If there is no torch module, or its weights are packed.
    """
    import torch

    quantization = _import("torchao.quantization")
    model = getattr(part, "model", None)
    if not isinstance(model, torch.nn.Module):
        raise InvalidInputError(
            f"{type(part).__name__} holds no torch model, so there is nothing to quantize."
        )
    check_not_packed(model)
    other = copy.copy(part)
    small = copy.deepcopy(model)

    def inside(module: Any, name: str) -> bool:  # noqa: ANN401 (torch is untyped here)
        return isinstance(module, torch.nn.Linear) and name != "lm_head"

    quantization.quantize_(
        small, quantization.Int8DynamicActivationInt8WeightConfig(), filter_fn=inside
    )
    other.model = small  # type: ignore[attr-defined]
    return other


def _import(name: str) -> Any:  # noqa: ANN401 (an untyped module)
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise MissingExtraError(
            f"{package} is not installed: run pip install 'rag-helpers[fast]', or "
            f"pip install {package}."
        ) from error
