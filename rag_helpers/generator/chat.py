"""Chat models: SmolLM2-Instruct and other causal models with a chat template.

The module does not know how its adapter was trained, nor what the scores of
`ChatGenerator.log_likelihood` are used for.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from rag_helpers.errors import GeneratorError, InvalidInputError
from rag_helpers.generator.beginnings import BeginningsGenerator
from rag_helpers.generator.language_model import LanguageModelGenerator
from rag_helpers.generator.loading import ModelKind
from rag_helpers.generator.reading_ahead import ReadAhead
from rag_helpers.prompting import CHAT, PromptTemplate
from rag_helpers.records import Prompt

__all__ = ["ChatGenerator"]

# Stand-ins for the messages while the model's chat template is rendered: two
# characters of Unicode's private use area.
_SYSTEM, _USER = "\ue000", "\ue001"


class ChatGenerator(BeginningsGenerator):
    """Writes with a causal chat model, greedily by default.

    The model's own chat template is rendered around stand-ins, and system
    message and text are tokenized apart, as plain text. A passage that holds
    ``<|im_end|>`` therefore stays in the user's turn: its characters reach the
    model, the control token does not.

    Parameters
    ----------
    name : str or Path
        A model that `rag_helpers.models.resolve` finds, or a folder.
    adapter : Path or str, optional
        A LoRA folder with ``adapter_model.safetensors``, merged into the
        weights; ``"auto"`` takes the one shipped for this model, if there is
        one. None runs the model as published.
    num_beams : int
        1 is greedy and can be streamed.
    max_new_tokens : int
        Longest answer.
    first_line_only : bool
        Whether the answer ends at its first line break.
    repetition_penalty : float
        Above 1, tokens that the answer already holds become less likely (Keskar
        et al., 2019). Tokens of the prompt do not count: an answer should copy
        from its context.
    prompt_lookup : int
        Above 0, that many tokens at a time are guessed by copying from the prompt
        and verified in one step (see `rag_helpers.generator.greedy`): faster where
        answers quote, the same text up to rounding, one prompt at a time. Where
        text is sampled nothing is guessed.
    reuse_opening : bool
        Whether what comes before the user's text is read once, and what was computed
        for it copied for each prompt: the same text up to rounding.
    read_ahead : ReadAhead, optional
        Keeps on disk what was computed for all that comes before the question, such as
        a passage, and takes it from there when it comes again: one prompt at a time.
        See `read_beginnings`.
    template : PromptTemplate
        Used by whoever builds the prompt.
    token_budget : int
        Longest prompt; lowered to what the model's context leaves free. The
        default holds about two passages of 150 words: a small model answers worse
        from more (see `rag_helpers.prompting.CHAT`), and reads longer.
    temperature : float
        0 takes the likeliest text; above, tokens are sampled.
    seed : int
        Seed of the sampling; the same prompt and seed give the same text.
    batch_size : int
        Rows run at once; every beam is one.
    dtype : str
        ``"float32"``, ``"bfloat16"``, ``"float16"``, or ``"auto"``: bfloat16
        where the processor multiplies it natively, else float32. In bfloat16 the
        text of a prompt may depend on its batch, since sums round differently.
        ``"half-weights"`` keeps weights in float16 and multiplies in float32, on x86
        processors: see `rag_helpers.generator.half_weights`.

    Raises
    ------
    ModelNotFoundError
        If there is no such model here.
    GeneratorError
        If the model is not causal, has no chat template or no safetensors, or
        the adapter does not fit.
    InvalidInputError
        If an option is out of range.
    """

    _kind: ClassVar[ModelKind] = "causal"
    _other_class: ClassVar[str] = "Seq2SeqGenerator"
    _options: ClassVar[tuple[str, ...]] = (
        *LanguageModelGenerator._options,
        "first_line_only",
        "repetition_penalty",
        "prompt_lookup",
        "reuse_opening",
        "read_ahead",
        "token_budget",
    )

    def __init__(
        self,
        name: str | Path = "SmolLM2-135M-Instruct",
        *,
        adapter: str | Path | None = None,
        num_beams: int = 1,
        max_new_tokens: int = 64,
        first_line_only: bool = True,
        repetition_penalty: float = 1.0,
        prompt_lookup: int = 0,
        reuse_opening: bool = True,
        read_ahead: ReadAhead | None = None,
        template: PromptTemplate = CHAT,
        token_budget: int = 512,
        temperature: float = 0.0,
        seed: int = 0,
        batch_size: int = 8,
        dtype: str = "auto",
    ) -> None:
        self.first_line_only = first_line_only
        self.repetition_penalty = repetition_penalty
        self.prompt_lookup = prompt_lookup
        self.reuse_opening = reuse_opening
        self.read_ahead = read_ahead
        self._budget_wanted = token_budget
        self._adapter = self._find_adapter(name, adapter)
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
        if self._adapter is not None:
            # The shipped one lies in a folder that is called like the model.
            own = self._adapter.name
            self.name = f"{self.name} + {'adapter' if own == self.name else own}"
        if not self.tokenizer.chat_template:
            raise GeneratorError(
                f"{self.name} has no chat template: choose an instruction-tuned model, or save "
                "its tokenizer with a chat_template."
            )
        # Without a system message some templates put in one of their own: take the
        # longer frame.
        framed = len(self._chat_ids("x", "")) - len(self._text_ids("x"))
        self._template_tokens = max(framed, len(self._chat_ids("", "")))

    @staticmethod
    def _find_adapter(name: str | Path, adapter: str | Path | None) -> Path | None:
        if adapter == "auto":
            from rag_helpers.models import lora_adapter

            return lora_adapter(str(name))
        if adapter is None:
            return None
        folder = Path(adapter)
        if not (folder / "adapter_model.safetensors").is_file():
            raise GeneratorError(
                f"{folder} holds no adapter_model.safetensors: give the folder that peft's "
                "save_pretrained wrote, or adapter=None."
            )
        return folder

    def _prepare_model(self, model: Any) -> Any:  # noqa: ANN401
        if self._adapter is None:
            return model
        from peft import PeftModel

        try:
            with warnings.catch_warnings():
                # peft asks transformers by a name that is going to change; learners need not know.
                warnings.simplefilter("ignore", FutureWarning)
                return PeftModel.from_pretrained(model, str(self._adapter)).merge_and_unload()
        except (ValueError, RuntimeError, KeyError) as error:
            raise GeneratorError(
                f"The adapter in {self._adapter} does not fit {self.name} ({error}): use the "
                "adapter that was trained on this model, or adapter=None."
            ) from error

    def _check_options(self) -> None:
        super()._check_options()
        if self.repetition_penalty <= 0:
            raise InvalidInputError(
                f"repetition_penalty is {self.repetition_penalty}: give 1 for none, more for some."
            )
        if self.prompt_lookup < 0:
            raise InvalidInputError(f"prompt_lookup is {self.prompt_lookup}: give 0 or more.")
        if self.prompt_lookup and self.num_beams > 1:
            raise InvalidInputError(
                f"prompt_lookup is {self.prompt_lookup} and num_beams is {self.num_beams}: it "
                "works greedily only; set one of them off."
            )
        if self.read_ahead is not None and self.num_beams > 1:
            raise InvalidInputError(
                f"read_ahead is given and num_beams is {self.num_beams}: what was read ahead "
                "serves one row; set num_beams=1, or read_ahead=None."
            )
        if self._budget_wanted < 1:
            raise InvalidInputError(f"token_budget is {self._budget_wanted}: give at least 1.")

    @property
    def token_budget(self) -> int:
        """Most tokens of system message and text, with room for the answer."""
        room = self._context_tokens - self.max_new_tokens - self._template_tokens
        return max(1, min(self._budget_wanted, room))

    @token_budget.setter
    def token_budget(self, tokens: int) -> None:
        self._budget_wanted = tokens

    @property
    def _context_tokens(self) -> int:
        return int(getattr(self.model.config, "max_position_embeddings", 1 << 30))

    def _encode(self, prompt: Prompt) -> list[int]:
        ids = self._chat_ids(prompt.system, prompt.text)
        if len(ids) + self.max_new_tokens > self._context_tokens:
            raise InvalidInputError(
                f"The prompt has {len(ids)} tokens and the answer may have {self.max_new_tokens}, "
                f"and {self.name} holds {self._context_tokens} together: build the prompt with "
                f"token_budget={self.token_budget}, or lower max_new_tokens."
            )
        self._expect_beginning(prompt, ids)
        return ids

    def _chat_ids(self, system: str, text: str | None) -> list[int]:
        messages = [{"role": "user", "content": _USER}]
        if system:
            messages.insert(0, {"role": "system", "content": _SYSTEM})
        rendered = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        ids: list[int] = []
        for part in re.split(f"({_SYSTEM}|{_USER})", rendered):
            if part == _SYSTEM:
                ids += self._text_ids(system)
            elif part == _USER:
                if text is None:
                    break
                ids += self._text_ids(text)
            else:
                ids += self._read_template(part)
        return ids

    def _decoding_options(self, ids: Any, shared: int) -> dict[str, Any]:  # noqa: ANN401
        options = super()._decoding_options(ids, shared)
        if self.repetition_penalty != 1:
            from transformers import RepetitionPenaltyLogitsProcessor

            options["logits_processor"] = [
                RepetitionPenaltyLogitsProcessor(
                    self.repetition_penalty, prompt_ignore_length=ids.shape[1]
                )
            ]
        return options

    def _is_complete(self, ids: list[int]) -> bool:
        if not self.first_line_only:
            return False
        return "\n" in str(self.tokenizer.decode(ids, skip_special_tokens=True)).lstrip()

    def _cut(self, ids: list[int]) -> list[int]:
        ids = super()._cut(ids)
        for length in range(1, len(ids) + 1):
            if self._is_complete(ids[:length]):
                return ids[:length]
        return ids

    def _decode(self, ids: list[int]) -> str:
        text = super()._decode(ids)
        return text.split("\n", 1)[0].rstrip() if self.first_line_only else text

    def log_likelihood(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[float]:
        """Return how likely the model finds each text as the answer to its prompt.

        Useful as a confidence, and for ranking passages by how well they predict
        the question (Sachan et al., 2022).

        Parameters
        ----------
        prompts : sequence of Prompt
            What the model reads first.
        texts : sequence of str
            As many as `prompts`.

        Returns
        -------
        list of float
            Mean natural log of the probability per token of each text, at most 0.

        Raises
        ------
        InvalidInputError
            If the lengths differ, a text is empty, or both do not fit the model.
        """
        import torch

        if len(prompts) != len(texts):
            raise InvalidInputError(
                f"There are {len(prompts)} prompts and {len(texts)} texts: give one text a prompt."
            )
        pairs = []
        for prompt, text in zip(prompts, texts, strict=True):
            head, tail = self._chat_ids(prompt.system, prompt.text), self._text_ids(text)
            if not tail:
                raise InvalidInputError("A text to score is empty: give at least one word.")
            if len(head) + len(tail) > self._context_tokens:
                raise InvalidInputError(
                    f"Prompt and text have {len(head) + len(tail)} tokens and {self.name} holds "
                    f"{self._context_tokens}: shorten the prompt's passages."
                )
            pairs.append((head, tail))
        means: list[float] = []
        for start in range(0, len(pairs), self.batch_size):
            batch = pairs[start : start + self.batch_size]
            ids, mask = self._pad([head + tail for head, tail in batch])
            # Rows are padded on the left, so all texts end in the last column, and
            # only the logits before them are worth computing.
            keep = max(len(tail) for _, tail in batch) + 1
            with torch.inference_mode():
                logits = self.model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
                    logits_to_keep=keep,
                    use_cache=False,
                ).logits.float()
            targets = ids[:, 1 - keep :, None]
            scores = logits[:, :-1].log_softmax(-1).gather(-1, targets)[..., 0]
            means += [
                float(row[-len(tail) :].mean())
                for row, (_, tail) in zip(scores, batch, strict=True)
            ]
        return means
