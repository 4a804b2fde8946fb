"""Encoder-decoder generators: T5, flan-T5 and BART.

The module does not know which of them it runs; what differs stands in their
configuration files.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, ClassVar

from rag_helpers.errors import InvalidInputError
from rag_helpers.generator.language_model import LanguageModelGenerator
from rag_helpers.generator.loading import ModelKind
from rag_helpers.prompting import RECIPE, PromptTemplate
from rag_helpers.records import Prompt

__all__ = ["Seq2SeqGenerator"]


class Seq2SeqGenerator(LanguageModelGenerator):
    """Writes with an encoder-decoder, by beam search as the common recipe does.

    Parameters
    ----------
    name : str or Path
        A model that `rag_helpers.models.resolve` finds: ``"t5-small"``,
        ``"flan-t5-base"``, ``"bart-base"``, or a folder.
    num_beams : int
        How many beginnings are kept alive; 1 is greedy and can be streamed.
    max_new_tokens : int
        Longest answer. The recipe's ``max_length=150`` counts the decoder's
        start token too, so it allows 149 new ones.
    max_input_tokens : int
        Longest input, special tokens included. What is longer is cut at the end,
        with a warning.
    template : PromptTemplate
        Used by whoever builds the prompt. A system message is put before the text.
    temperature : float
        0 takes the likeliest text; above, tokens are sampled.
    seed : int
        Seed of the sampling; the same prompt and seed give the same text.
    batch_size : int
        Rows run at once; every beam is one.
    dtype : str
        ``"float32"``, ``"bfloat16"``, ``"float16"`` or ``"auto"``.

    Raises
    ------
    ModelNotFoundError
        If there is no such model here.
    GeneratorError
        If the model is not an encoder-decoder, or has no safetensors.
    InvalidInputError
        If an option is out of range.
    """

    _kind: ClassVar[ModelKind] = "encoder-decoder"
    _other_class: ClassVar[str] = "ChatGenerator"
    _options: ClassVar[tuple[str, ...]] = (
        *LanguageModelGenerator._options,
        "max_input_tokens",
    )

    def __init__(
        self,
        name: str | Path,
        *,
        num_beams: int = 4,
        max_new_tokens: int = 150,
        max_input_tokens: int = 512,
        template: PromptTemplate = RECIPE,
        temperature: float = 0.0,
        seed: int = 0,
        batch_size: int = 8,
        dtype: str = "float32",
    ) -> None:
        self.max_input_tokens = max_input_tokens
        super().__init__(
            name,
            template=template,
            num_beams=num_beams,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
            batch_size=batch_size,
            dtype=dtype,
        )
        self._check_options()

    def _check_options(self) -> None:
        super()._check_options()
        # T5's positions are relative and have no end; BART's table has one.
        config = getattr(getattr(self, "model", None), "config", None)
        limit = getattr(config, "max_position_embeddings", None)
        if self.max_input_tokens < 8 or (limit and self.max_input_tokens > limit):
            raise InvalidInputError(
                f"max_input_tokens is {self.max_input_tokens}: {self.name} reads from 8 to "
                f"{limit or 'any number of'} tokens."
            )

    @property
    def token_budget(self) -> int:
        """Most tokens that a prompt may have: the input's limit without special tokens."""
        return self.max_input_tokens - int(self.tokenizer.num_special_tokens_to_add())

    def _encode(self, prompt: Prompt) -> list[int]:
        text = f"{prompt.system} {prompt.text}" if prompt.system else prompt.text
        encoding = self._read_text(text)
        ids = list(encoding.ids)
        lost = len(ids) - self.max_input_tokens
        if lost <= 0:
            return ids
        warnings.warn(
            f"The prompt has {len(ids)} tokens and {self.name} reads {self.max_input_tokens}: the "
            f"last {lost} are cut off. Build the prompt with build_prompt, which keeps within "
            "token_budget.",
            stacklevel=3,
        )
        closing = 0  # special tokens at the end, which the cut must leave in place
        while closing < len(ids) and encoding.special_tokens_mask[-1 - closing]:
            closing += 1
        return ids[: self.max_input_tokens - closing] + ids[len(ids) - closing :]

    def _decoding_options(self, ids: Any, shared: int) -> dict[str, Any]:  # noqa: ANN401
        return {"early_stopping": True} if self.num_beams > 1 else {}
