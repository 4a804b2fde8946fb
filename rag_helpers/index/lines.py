"""Chunks as lines of JSON, and back.

The module knows records. It does not know files, vectors or search.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import fields

from rag_helpers.errors import IndexIntegrityError, InvalidInputError
from rag_helpers.records import Chunk

__all__ = ["check_chunks", "from_lines", "to_lines"]

_COUNT = "vectors"  # beside the chunk's own fields in a line


def check_chunks(chunks: Sequence[Chunk]) -> None:
    """Refuse chunks that could not be told apart or written.

    Parameters
    ----------
    chunks : sequence of Chunk

    Raises
    ------
    InvalidInputError
        If a chunk id comes twice or a metadata value is not flat and finite.
    """
    seen: set[str] = set()
    for chunk in chunks:
        if chunk.id in seen:
            raise InvalidInputError(
                f"Chunk {chunk.id!r} comes twice: give every document its own source, and every "
                "chunk once."
            )
        seen.add(chunk.id)
        for key, value in chunk.metadata.items():
            flat = isinstance(value, (str, int, float)) and not (
                isinstance(value, float) and not math.isfinite(value)
            )
            if not flat:
                raise InvalidInputError(
                    f"metadata {key!r} of chunk {chunk.id!r} is {value!r}, but only text, finite "
                    "numbers and booleans can be saved: convert it or leave it out."
                )


def to_lines(chunks: Sequence[Chunk], counts: Sequence[int]) -> bytes:
    """Write one line of JSON per chunk.

    Parameters
    ----------
    chunks : sequence of Chunk
    counts : sequence of int
        How many vectors each chunk has.

    Returns
    -------
    bytes
        In ASCII, so that text with lone surrogates survives as well.

    Examples
    --------
    >>> from_lines(to_lines([Chunk("tea", "a.txt", 0, 3)], [2]))
    ([Chunk(text='tea', source='a.txt', start=0, end=3, title='', heading='', metadata={})], [2])
    """
    names = [field.name for field in fields(Chunk)]
    lines = []
    for chunk, count in zip(chunks, counts, strict=True):
        row = {name: getattr(chunk, name) for name in names}
        lines.append(
            json.dumps({**row, "metadata": dict(row["metadata"]), _COUNT: int(count)}) + "\n"
        )
    return "".join(lines).encode()


def from_lines(data: bytes) -> tuple[list[Chunk], list[int]]:
    """Read what `to_lines` wrote.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    tuple of (list of Chunk, list of int)
        The chunks, and how many vectors each has.

    Raises
    ------
    IndexIntegrityError
        If a line is not a chunk; the message gives its number.
    """
    chunks, counts = [], []
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            row = json.loads(line)
            count = row.pop(_COUNT)
            chunk = Chunk(**row)
            texts = (chunk.text, chunk.source, chunk.title, chunk.heading)
            whole = (
                all(isinstance(text, str) for text in texts)
                and type(chunk.start) is int
                and type(chunk.end) is int
                and isinstance(chunk.metadata, dict)
                and type(count) is int
                and count >= 1
            )
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            whole = False
        if not whole:
            raise IndexIntegrityError(
                f"Line {number} of the chunks file is not a chunk: build the index again from its "
                "documents."
            )
        chunks.append(chunk)
        counts.append(count)
    return chunks, counts
