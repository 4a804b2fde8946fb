"""What prompts begin with, read once: a template's instructions, a passage, examples.

In a causal model nothing that follows changes what was computed for a beginning, so a generator
computes it once and goes on from there. The module does not know how a prompt becomes tokens, nor
how the rest is written.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from threading import Event
from typing import Any

from rag_helpers.errors import InvalidInputError
from rag_helpers.generator.greedy import write_greedily
from rag_helpers.generator.language_model import LanguageModelGenerator
from rag_helpers.generator.openings import Openings
from rag_helpers.generator.reading_ahead import ReadAhead
from rag_helpers.records import Generation, Prompt

__all__ = ["BeginningsGenerator"]


class BeginningsGenerator(LanguageModelGenerator):
    """Base class of causal generators, which read what prompts begin with once.

    Not used by itself: see `ChatGenerator`, which documents the parameters.
    """

    prompt_lookup: int
    repetition_penalty: float
    reuse_opening: bool
    read_ahead: ReadAhead | None
    _openings = Openings()  # never changed, only replaced

    @abstractmethod
    def _chat_ids(self, system: str, text: str | None) -> list[int]:
        """Return the ids of a prompt, or, without a text, of all that comes before it."""

    def _expect_beginning(self, prompt: Prompt, ids: list[int]) -> None:
        """Note what this prompt begins with, before it is read."""
        if self.reuse_opening:
            self._openings = self._openings.including(self._opening_ids(prompt.system))
        if self.read_ahead is not None:
            self.read_ahead.expect(self._beginning(prompt, ids))

    def _opening_ids(self, system: str) -> list[int]:
        return self._chat_ids(system, None)

    def _beginning(self, prompt: Prompt, ids: list[int]) -> list[int]:
        """Return the ids of what stands before the question; the next token may depend on it."""
        before = prompt.text[: max(prompt.text.rfind(prompt.question), 0)].rstrip()
        alone = self._chat_ids(prompt.system, before)
        same = takewhile(lambda pair: pair[0] == pair[1], zip(ids, alone, strict=False))
        return [token for token, _ in same]

    def read_beginnings(self, prompts: Sequence[Prompt]) -> Iterator[int]:
        """Read ahead what these prompts hold before their questions.

        Parameters
        ----------
        prompts : sequence of Prompt
            With any question; what follows the question is not read.

        Yields
        ------
        int
            How many are done.

        Raises
        ------
        InvalidInputError
            If there is no ``read_ahead``, or a prompt does not fit the model.
        """
        import torch

        if self.read_ahead is None:
            raise InvalidInputError("read_ahead is None: give a ReadAhead to keep what is read.")
        for done, prompt in enumerate(prompts, start=1):
            beginning = self._beginning(prompt, self._encode(prompt))
            with torch.inference_mode():
                self._read_shared(torch.tensor([beginning], device=self.model.device))
            yield done

    def _shared_prefix(self, encoded: Sequence[list[int]]) -> int:
        if self.num_beams > 1:
            return 0
        if len(encoded) == 1:
            ahead = self.read_ahead.longest(encoded[0]) if self.read_ahead is not None else 0
            return max(ahead, self._openings.longest(encoded[0]) if self.reuse_opening else 0)
        # At least one id of each row is left to go on from.
        columns = zip(*(ids[:-1] for ids in encoded), strict=False)
        return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))

    def _read_shared(self, ids: Any) -> Any:  # noqa: ANN401 (a tensor; a transformers cache)
        """Return the keys and values of what all rows begin with, shape ``(1, shared)``."""
        from transformers import DynamicCache

        own = ids[0].tolist()
        ahead = self.read_ahead
        if ahead is None or ahead.longest(own) < len(own):
            ahead = None  # an opening alone, or what the prompts of a batch happen to share
        cache = None if ahead is None else ahead.recall(own, self.model)
        if cache is not None:
            return cache
        opening = self._openings.longest(own) if self.reuse_opening else 0
        cache = self._openings.recall(own[:opening])
        read = 0 if cache is None else opening
        if cache is None:
            cache = DynamicCache(config=self.model.config)
        for end in sorted({opening, ids.shape[1]}):
            if end > read:
                part = ids[:, read:end]
                self.model(part, past_key_values=cache, use_cache=True, logits_to_keep=1)
                read = end
            if read == opening:
                self._openings = self._openings.including(own[:opening], copy.deepcopy(cache))
        if ahead is not None:
            ahead.keep(own, self.model, cache)
        return cache

    def _run(
        self,
        encoded: Sequence[list[int]],
        *,
        on_tokens: Callable[[list[int]], None] | None = None,
        abandoned: Event | None = None,
    ) -> list[Generation]:
        if not self.prompt_lookup or self.temperature:
            return super()._run(encoded, on_tokens=on_tokens, abandoned=abandoned)
        return [self._guess_and_write(ids, on_tokens, abandoned) for ids in encoded]

    def _guess_and_write(
        self,
        ids: list[int],
        on_tokens: Callable[[list[int]], None] | None,
        abandoned: Event | None,
    ) -> Generation:
        """Write one answer by prompt lookup. transformers' own takes no cache that holds part."""
        import torch
        from transformers import DynamicCache

        def is_done(written: list[int]) -> bool:
            stopped = abandoned is not None and abandoned.is_set()
            return stopped or written[-1] in self._end_ids or self._is_complete(written)

        with torch.inference_mode():
            shared = self._shared_prefix([ids])
            known = torch.tensor([ids[:shared]], device=self.model.device)
            written, scores = write_greedily(
                self.model,
                ids,
                cache=self._read_shared(known)
                if shared
                else DynamicCache(config=self.model.config),
                guesses=self.prompt_lookup,
                max_new_tokens=self.max_new_tokens,
                is_done=is_done,
                repetition_penalty=self.repetition_penalty,
                on_tokens=on_tokens,
            )
        return self._finish(written, scores)

    def _decoding_options(self, ids: Any, shared: int) -> dict[str, Any]:  # noqa: ANN401
        if not shared:
            return {}
        cache = self._read_shared(ids[:1, :shared])
        if len(ids) > 1:
            cache.batch_repeat_interleave(len(ids))
        return {"past_key_values": cache}
