"""Greedy decoding that guesses: several tokens a step where an answer quotes its prompt.

The last tokens are looked up in the text so far, and what followed them there is a guess at what
follows now (prompt lookup decoding: Saxena, 2023). The model reads all guesses in one step and
keeps those that it would have written itself (speculative decoding: Leviathan et al., 2023), so
that guessing changes the speed alone.

The module does not know how a prompt becomes tokens, nor when its text is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["look_up", "write_greedily"]

# The longest run of last tokens that is looked up.
_LONGEST_RUN = 3


def look_up(ids: Sequence[int], most: int) -> list[int]:
    """Guess what follows, by what followed the last tokens before.

    Parameters
    ----------
    ids : sequence of int
        The text so far.
    most : int
        Tokens to guess.

    Returns
    -------
    list of int
        At most `most` tokens, from behind the latest place where the last three tokens stand, or
        two, or one; empty where the last token is new.

    Examples
    --------
    >>> look_up([1, 2, 3, 4, 9, 2, 3], 2)
    [4, 9]
    >>> look_up([1, 2, 3], 2)
    []
    """
    ids = list(ids)
    for length in range(min(_LONGEST_RUN, len(ids) - 1), 0, -1):
        run = ids[-length:]
        for start in range(len(ids) - length - 1, -1, -1):
            if ids[start : start + length] == run:
                return ids[start + length : start + length + most]
    return []


def write_greedily(
    model: Any,  # noqa: ANN401 (transformers is untyped here)
    prompt: Sequence[int],
    *,
    cache: Any,  # noqa: ANN401
    guesses: int,
    max_new_tokens: int,
    is_done: Callable[[list[int]], bool],
    repetition_penalty: float = 1.0,
    on_tokens: Callable[[list[int]], None] | None = None,
) -> tuple[list[int], list[float]]:
    """Write the likeliest token, again and again.

    Parameters
    ----------
    model : PreTrainedModel
        A causal one.
    prompt : sequence of int
        What it reads first; at least one id more than is in the cache.
    cache : DynamicCache
        The keys and values of the first ids of the prompt, if any; what is read is added.
    guesses : int
        Tokens to guess a step, at least 0.
    max_new_tokens : int
        Most to write, at least 1.
    is_done : callable
        Whether these new tokens are all there are to be.
    repetition_penalty : float, default 1
        Above 1, tokens that are written already become less likely (Keskar et al., 2019).
    on_tokens : callable, optional
        Takes the new tokens of every step.

    Returns
    -------
    tuple of list of int and list of float
        The new tokens, and the natural log of the probability of each before any penalty.
    """
    import torch

    prompt = list(prompt)
    written: list[int] = []
    scores: list[float] = []
    unread = prompt[cache.get_seq_length() :]
    while True:
        # Nothing of the answer stands there yet that could be looked up.
        most = min(guesses, max_new_tokens - len(written) - 1) if written else 0
        guess = look_up(prompt + written, most) if most else []
        ids = torch.tensor([unread + guess], device=model.device)
        logits = (
            model(ids, past_key_values=cache, use_cache=True, logits_to_keep=len(guess) + 1)
            .logits[0]
            .float()
        )
        log_probabilities = logits.log_softmax(-1)
        step: list[int] = []
        for row, raw, guessed in zip(logits, log_probabilities, [*guess, None], strict=True):
            if repetition_penalty != 1 and (seen := sorted({*written, *step})):
                row[seen] = torch.where(
                    row[seen] < 0, row[seen] * repetition_penalty, row[seen] / repetition_penalty
                )
            token = int(row.argmax())
            step.append(token)
            scores.append(float(raw[token]))
            if token != guessed or is_done(written + step):
                break
        written += step
        if on_tokens is not None:
            on_tokens(step)
        if len(written) >= max_new_tokens or is_done(written):
            return written, scores
        # What was guessed wrongly is forgotten; the last token is not read yet.
        wrong = cache.get_seq_length() - (len(prompt) + len(written) - 1)
        if wrong:
            cache.crop(-wrong)
        unread = written[-1:]
