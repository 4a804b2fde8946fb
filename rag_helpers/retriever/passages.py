"""Chunks as the texts that embedders and keyword search read.

The module does not know how either reads them.
"""

from __future__ import annotations

from collections.abc import Sequence

from rag_helpers.records import Chunk, Embedder, FloatArray

__all__ = ["embed_chunks", "headed_text"]


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
