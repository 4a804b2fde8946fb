"""What a model with a token limit never reads.

The module does not know the model: tokens are counted by a callable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rag_helpers.chunking.cutting import check_sizes
from rag_helpers.records import Chunk

__all__ = ["UnreadReport", "report_unread"]


@dataclass(frozen=True, slots=True)
class UnreadReport:
    """How much of a set of chunks lies past a model's limit.

    Parameters
    ----------
    chunks : int
        Chunks measured.
    past_limit : int
        Chunks longer than `max_tokens`.
    max_tokens : int
        The model's limit.
    tokens : int
        Tokens of all chunks.
    tokens_lost : int
        Tokens past the limit, which the model never reads.
    longest : int
        Tokens of the longest chunk.
    """

    chunks: int
    past_limit: int
    max_tokens: int
    tokens: int
    tokens_lost: int
    longest: int

    @property
    def share(self) -> float:
        """Share of the tokens that is never read, from 0 to 1."""
        return self.tokens_lost / self.tokens if self.tokens else 0.0

    def __str__(self) -> str:
        if not self.past_limit:
            return f"All {self.chunks:,} chunks fit into {self.max_tokens:,} tokens."
        return (
            f"{self.past_limit:,} of {self.chunks:,} chunks pass the limit of"
            f" {self.max_tokens:,} tokens (the longest has {self.longest:,}):"
            f" {self.tokens_lost:,} of {self.tokens:,} tokens ({self.share:.0%}) are never read."
        )


def report_unread(
    chunks: Sequence[Chunk], *, count_tokens: Callable[[str], int], max_tokens: int
) -> UnreadReport:
    """Count what a model with a token limit does not read of its chunks.

    Parameters
    ----------
    chunks : sequence of Chunk
        What the model is given.
    count_tokens : callable
        Returns how many of the model's tokens a text takes, the special ones
        included and before anything is cut off.
    max_tokens : int
        Tokens that the model reads; it ignores the rest without a word.

    Returns
    -------
    UnreadReport
        The counts; ``str(report)`` is a sentence fit for a warning.

    Raises
    ------
    InvalidInputError
        `max_tokens` is below 1.

    Examples
    --------
    >>> from rag_helpers.chunking import split_by_words
    >>> from rag_helpers.records import Document
    >>> chunks = split_by_words(Document(text="one two three four", source="count.txt"), size=3)
    >>> report = report_unread(chunks, count_tokens=lambda text: len(text.split()), max_tokens=2)
    >>> report.past_limit, report.tokens_lost, report.share
    (1, 1, 0.25)
    """
    check_sizes("max_tokens", max_tokens, 0)
    lengths = [count_tokens(chunk.text) for chunk in chunks]
    return UnreadReport(
        chunks=len(lengths),
        past_limit=sum(length > max_tokens for length in lengths),
        max_tokens=max_tokens,
        tokens=sum(lengths),
        tokens_lost=sum(max(0, length - max_tokens) for length in lengths),
        longest=max(lengths, default=0),
    )
