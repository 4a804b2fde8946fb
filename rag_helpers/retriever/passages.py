"""Chunks as the texts that embedders and keyword search read.

The module does not know how either reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rag_helpers.chunking import split_by_sentences
from rag_helpers.errors import InvalidInputError
from rag_helpers.records import Chunk, Document, Embedder, FloatArray

__all__ = ["embed_chunks", "embed_windows", "headed_text"]


def embed_chunks(
    chunks: Sequence[Chunk], embedder: Embedder, *, with_heading: bool = False
) -> FloatArray:
    """Embed chunks as passages.

    Parameters
    ----------
    chunks : sequence of Chunk
    embedder : Embedder
        The passages' side. It is always given the titles; DPR was trained on
        pairs of title and text, and other encoders ignore them.
    with_heading : bool
        Whether ``"title > heading"`` and a line break stand before the text.

    Returns
    -------
    ndarray of float32, shape (len(chunks), dimension)

    Examples
    --------
    >>> import numpy as np
    >>> class Lengths:
    ...     def embed(self, texts, *, titles=None):
    ...         return np.array([[len(text)] for text in texts], dtype=np.float32)
    >>> chunk = Chunk("Ice melts.", "ice", 0, 10, title="Ice", heading="Heat")
    >>> embed_chunks([chunk], Lengths(), with_heading=True).tolist()  # "Ice > Heat", a break, text
    [[21.0]]
    """
    texts = [headed_text(chunk) if with_heading else chunk.text for chunk in chunks]
    return embedder.embed(texts, titles=[chunk.title for chunk in chunks])


def embed_windows(
    chunks: Sequence[Chunk], embedder: Embedder, *, max_words: int = 40, with_whole: bool = True
) -> tuple[FloatArray, list[int]]:
    """Embed each chunk as a whole and in windows: a few sentences, behind title and heading.

    A question mostly asks for one sentence. Its vector lies nearer to that
    sentence's than to the mean of a whole passage, and what an encoder would
    not read of a long passage stands in windows of its own. Other questions ask
    for what the passage is about. The chunk is as near as the nearest of its
    vectors, and is still what the generator reads ("small to big").

    Parameters
    ----------
    chunks : sequence of Chunk
    embedder : Embedder
        The passages' side.
    max_words : int
        Most words per window, the title and heading not counted; a longer
        sentence is cut.
    with_whole : bool
        Whether the chunk's vector as a whole stands before those of its windows,
        unless one window is the whole of it.

    Returns
    -------
    tuple of (ndarray of float32, list of int)
        The vectors, those of a chunk one below the other, and how many each
        chunk has: what `ChunkIndex.add` takes as ``counts``.

    Raises
    ------
    InvalidInputError
        If `max_words` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> class Lengths:
    ...     def embed(self, texts, *, titles=None):
    ...         return np.array([[len(text)] for text in texts], dtype=np.float32)
    >>> chunk = Chunk("Ice melts. Steam is hot.", "ice", 0, 24, title="Ice")
    >>> vectors, counts = embed_windows([chunk], Lengths(), max_words=3)
    >>> vectors.tolist(), counts  # "Ice", a break, and 24 characters or the 10 and 13 of a sentence
    ([[28.0], [14.0], [17.0]], [3])
    """
    if max_words < 1:
        raise InvalidInputError(f"max_words is {max_words}: give at least 1; 40 is usual.")
    windows, counts = [], []
    for chunk in chunks:
        found = split_by_sentences(Document(chunk.text, chunk.id), max_words=max_words)
        parts = [window.text for window in found] or [chunk.text]
        if with_whole and len(parts) > 1:
            parts = [chunk.text, *parts]
        windows += [replace(chunk, text=part) for part in parts]
        counts.append(len(parts))
    return embed_chunks(windows, embedder, with_heading=True), counts


def headed_text(chunk: Chunk) -> str:
    """Return the text of a chunk behind ``"title > heading"`` and a line break.

    Parameters
    ----------
    chunk : Chunk

    Returns
    -------
    str
        The text alone when there is neither; title and heading once when equal.

    Examples
    --------
    >>> headed_text(Chunk("Ice melts.", "ice", 0, 10, title="Ice", heading="Heat")).splitlines()
    ['Ice > Heat', 'Ice melts.']
    """
    # A document's first heading is often its title.
    names = dict.fromkeys(name for name in (chunk.title, chunk.heading) if name)
    return f"{' > '.join(names)}\n{chunk.text}" if names else chunk.text
