"""What encoder-decoder and chat generators share: options, decoding and streaming.

The module does not know how a prompt becomes token ids; its subclasses do.
"""

from __future__ import annotations

import copy
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ClassVar, Self

from rag_helpers.errors import GeneratorError, InvalidInputError
from rag_helpers.generator.loading import ModelKind, load_model, model_kind
from rag_helpers.models import resolve
from rag_helpers.prompting import PromptTemplate
from rag_helpers.records import Generation, Prompt

__all__ = ["LanguageModelGenerator"]


class LanguageModelGenerator(ABC):
    """Base class of the generators that run a transformers model.

    Not used by itself: see `Seq2SeqGenerator` and `ChatGenerator`, which
    document the parameters.
    """

    _kind: ClassVar[ModelKind]
    _other_class: ClassVar[str]
    _options: ClassVar[tuple[str, ...]] = (
        "template",
        "num_beams",
        "max_new_tokens",
        "temperature",
        "seed",
        "batch_size",
    )

    def __init__(
        self,
        name: str | Path,
        *,
        template: PromptTemplate,
        num_beams: int,
        max_new_tokens: int,
        temperature: float,
        seed: int,
        batch_size: int,
        dtype: str,
    ) -> None:
        self.name = Path(name).name
        self.template = template
        self.num_beams = num_beams
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature
        self.seed = seed
        self.batch_size = batch_size
        self._check_options()
        folder = resolve(name)
        kind = model_kind(folder)
        if kind != self._kind:
            raise GeneratorError(
                f"{self.name} is a{'n' if kind[0] == 'e' else ''} {kind} model, and "
                f"{type(self).__name__} needs a{'n' if self._kind[0] == 'e' else ''} {self._kind} "
                f"one: use {self._other_class}, or load_generator, which chooses the class."
            )
        loaded = load_model(folder, kind, dtype, prepare=self._prepare_model)
        self.model, self.tokenizer = loaded.model, loaded.tokenizer
        self._read_template, self._read_text = loaded.read_template, loaded.read_text

        end = self.model.generation_config.eos_token_id
        self._end_ids = set(end if isinstance(end, list) else [end])
        pad = self.tokenizer.pad_token_id
        self._pad_id = int(pad if pad is not None else next(iter(self._end_ids)))
        self._special_ids = set(self.tokenizer.all_special_ids)

    def _prepare_model(self, model: Any) -> Any:  # noqa: ANN401 (transformers is untyped here)
        """Return the model as loaded, or changed by a subclass."""
        return model

    def _check_options(self) -> None:
        for option in ("num_beams", "max_new_tokens", "batch_size"):
            if getattr(self, option) < 1:
                raise InvalidInputError(f"{option} is {getattr(self, option)}: give at least 1.")
        if self.temperature < 0:
            raise InvalidInputError(
                f"temperature is {self.temperature}: give 0 for the likeliest text, or more."
            )
        if self.temperature and self.num_beams > 1:
            raise InvalidInputError(
                f"temperature is {self.temperature} and num_beams is {self.num_beams}: beams "
                "search for the likeliest text and do not sample; set temperature=0 or num_beams=1."
            )

    def with_options(self, **changes: Any) -> Self:  # noqa: ANN401 (as the attributes)
        """Return a generator with other options on the same loaded model.

        Parameters
        ----------
        **changes
            Any of the options of the class but the model itself, such as
            ``max_new_tokens=20``.

        Returns
        -------
        LanguageModelGenerator
            Of the same class; this one stays as it is.

        Raises
        ------
        InvalidInputError
            If an option is unknown or out of range.
        """
        unknown = sorted(set(changes) - set(self._options))
        if unknown:
            raise InvalidInputError(
                f"{type(self).__name__} has no options {unknown} to change: use any of "
                f"{list(self._options)}."
            )
        other = copy.copy(self)
        for option, value in changes.items():
            setattr(other, option, value)
        other._check_options()
        return other

    @property
    @abstractmethod
    def token_budget(self) -> int:
        """Most tokens that a prompt's system message and text may have."""

    @abstractmethod
    def _encode(self, prompt: Prompt) -> list[int]:
        """Return the ids that the model reads."""

    def count_tokens(self, text: str) -> int:
        """Return the length of `text` in the model's tokens, without special ones."""
        return len(self._text_ids(text))

    def _text_ids(self, text: str) -> list[int]:
        return list(self._read_text(text, add_special_tokens=False).ids)

    def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """Write the answer to each prompt.

        Parameters
        ----------
        prompts : sequence of Prompt
            What to read; any number, run in batches.

        Returns
        -------
        list of Generation
            One per prompt, in order. ``tokens`` and ``mean_log_probability``
            (natural log, under the model's raw distribution) count the token
            that ends the text.

        Raises
        ------
        InvalidInputError
            If a prompt does not fit the model.
        """
        encoded = [self._encode(prompt) for prompt in prompts]
        # Every beam is a row of the batch and keeps its scores: bound the memory.
        # What is sampled for a prompt must not depend on the others beside it.
        size = 1 if self.temperature else max(1, self._rows_per_batch() // self.num_beams)
        # Prompts of like length share a batch, so that little is computed on padding.
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        written: dict[int, Generation] = {}
        for start in range(0, len(order), size):
            places = order[start : start + size]
            written.update(zip(places, self._run([encoded[i] for i in places]), strict=True))
        return [written[i] for i in range(len(encoded))]

    def _rows_per_batch(self) -> int:
        return self.batch_size

    def stream(self, prompt: Prompt) -> Iterator[str]:
        """Yield the answer piece by piece as it is written.

        The model runs in a thread. An error there is raised here, and leaving
        the loop early (or closing the iterator) stops the model.

        Parameters
        ----------
        prompt : Prompt
            What to read.

        Returns
        -------
        iterator of str
            Pieces that end where a word ends; joined they are what `generate`
            gives. With more than one beam no word is final before the last, and
            the only piece is the whole text.

        Raises
        ------
        InvalidInputError
            If the prompt does not fit the model.
        """
        encoded = self._encode(prompt)
        if self.num_beams > 1:
            text = self._run([encoded])[0].text
            return iter([text] if text else [])
        return self._stream(encoded)

    def _stream(self, encoded: list[int]) -> Iterator[str]:
        events: SimpleQueue[list[int] | Generation | BaseException] = SimpleQueue()
        abandoned = threading.Event()

        def work() -> None:
            try:
                events.put(self._run([encoded], on_tokens=events.put, abandoned=abandoned)[0])
            except BaseException as error:
                events.put(error)

        thread = threading.Thread(target=work, name=f"stream {self.name}", daemon=True)
        thread.start()
        ids: list[int] = []
        shown = ""
        try:
            while True:
                event = events.get()
                if isinstance(event, BaseException):
                    raise event
                if isinstance(event, Generation):
                    if len(event.text) > len(shown):
                        yield event.text[len(shown) :]
                    return
                ids += event
                # The last word may still grow, and the space before it may yet
                # be cleaned away: both are held back.
                stable = _without_last_word(self._decode(ids))
                if len(stable) > len(shown):
                    yield stable[len(shown) :]
                    shown = stable
        finally:
            abandoned.set()
            thread.join()

    def _run(
        self,
        encoded: Sequence[list[int]],
        *,
        on_tokens: Callable[[list[int]], None] | None = None,
        abandoned: threading.Event | None = None,
    ) -> list[Generation]:
        """Generate for one batch of ids."""
        import torch

        shared = self._shared_prefix(encoded)
        ids, mask = self._pad(encoded, shared)
        start = 1 if self._kind == "encoder-decoder" else ids.shape[1]

        def is_done(input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ANN401
            stop_all = abandoned is not None and abandoned.is_set()
            rows = input_ids[:, start:].tolist()
            return torch.tensor([stop_all or self._is_complete(row) for row in rows]).to(
                input_ids.device
            )

        sampling: dict[str, Any] = {"do_sample": False}
        if self.temperature:
            sampling = {"do_sample": True, "temperature": self.temperature, "top_k": 0}
        with torch.inference_mode(), self._seeded():
            output = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=self.max_new_tokens,
                num_beams=self.num_beams,
                pad_token_id=self._pad_id,
                stopping_criteria=[is_done],
                streamer=None if on_tokens is None else _TokenFeed(on_tokens),
                return_dict_in_generate=True,
                output_logits=True,
                **sampling,
                **self._decoding_options(ids, shared),
            )
            log_probabilities = self.model.compute_transition_scores(
                output.sequences,
                output.logits,
                getattr(output, "beam_indices", None),
                normalize_logits=True,
            )
        return [
            self._finish(row, scores)
            for row, scores in zip(
                output.sequences[:, start:].tolist(), log_probabilities.tolist(), strict=True
            )
        ]

    def _shared_prefix(self, encoded: Sequence[list[int]]) -> int:
        """Return how many leading ids of these rows are read once for all of them."""
        return 0

    def _decoding_options(self, ids: Any, shared: int) -> dict[str, Any]:  # noqa: ANN401
        """Return further arguments of ``model.generate`` for these padded rows."""
        return {}

    def _is_complete(self, ids: list[int]) -> bool:
        """Whether the text of these new tokens needs no more of them."""
        return False

    def _seeded(self) -> Any:  # noqa: ANN401 (a context manager)
        import torch

        if not self.temperature:
            return nullcontext()
        return _fork_rng(self.seed, torch)

    def _pad(self, encoded: Sequence[list[int]], shared: int = 0) -> tuple[Any, Any]:
        """Return ids and attention mask, shape ``(len(encoded), longest)``.

        A causal model goes on from the last column, so its padding stands on the
        left, behind the `shared` prefix; BART counts positions from the first, so
        its stands on the right.
        """
        import torch

        width = max(len(ids) for ids in encoded)
        rows, masks = [], []
        for ids in encoded:
            empty = width - len(ids)
            place = shared if self._kind == "causal" else len(ids)
            rows.append(ids[:place] + [self._pad_id] * empty + ids[place:])
            masks.append([1] * place + [0] * empty + [1] * (len(ids) - place))
        device = self.model.device
        return torch.tensor(rows, device=device), torch.tensor(masks, device=device)

    def _finish(self, ids: list[int], log_probabilities: list[float]) -> Generation:
        ids = self._cut(ids)
        # Forced tokens such as BART's leading "<s>" were not the model's choice.
        chosen = [
            score
            for token, score in zip(ids, log_probabilities, strict=False)
            if token in self._end_ids or token not in self._special_ids
        ]
        return Generation(
            text=self._decode(ids),
            tokens=len(chosen),
            mean_log_probability=sum(chosen) / len(chosen) if chosen else None,
        )

    def _cut(self, ids: list[int]) -> list[int]:
        """Drop the padding behind the end of a row."""
        for i, token in enumerate(ids):
            if token in self._end_ids:
                return ids[: i + 1]
            if token == self._pad_id:
                return ids[:i]
        return ids

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()


class _TokenFeed:
    """Hands every new token on, as ``model.generate`` asks of a streamer."""

    def __init__(self, on_tokens: Callable[[list[int]], None]) -> None:
        self._on_tokens = on_tokens
        self._is_prompt = True

    def put(self, value: Any) -> None:  # noqa: ANN401 (a tensor)
        """Take the prompt first, which is passed over, then new tokens."""
        if not self._is_prompt:
            self._on_tokens(value.reshape(-1).tolist())
        self._is_prompt = False

    def end(self) -> None:
        """Do nothing: the finished generation marks the end."""


def _without_last_word(text: str) -> str:
    words = text.rsplit(maxsplit=1)
    return words[0] if len(words) == 2 else ""


@contextmanager
def _fork_rng(seed: int, torch: Any) -> Iterator[None]:  # noqa: ANN401 (the module)
    # Sampling must repeat, and must not disturb whoever seeded torch outside.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
