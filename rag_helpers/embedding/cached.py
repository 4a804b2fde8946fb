"""Embedding only what was not embedded before.

The module does not know where vectors are kept, nor how they are made.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from rag_helpers.embedding.batching import BatchedEmbedder
from rag_helpers.embedding.store import DEFAULT_MB, EmbeddingStore
from rag_helpers.errors import InvalidInputError
from rag_helpers.records import Embedder, FloatArray

__all__ = ["CachedEmbedder", "cached_embedder"]

_SIZE = "RAG_EMBEDDING_CACHE_MB"
# A kill loses at most so many vectors: some seconds of work.
_KEPT_AT_ONCE = 256


class CachedEmbedder:
    """An embedder that looks a text up before it computes its vector.

    The key is the hash of the text and title as they are read and of the embedder's `fingerprint`:
    another model, format or setting finds nothing of this one's.

    Parameters
    ----------
    embedder : BatchedEmbedder
        What computes, such as a `SentenceEmbedder`.
    store : EmbeddingStore
        What keeps.

    Notes
    -----
    A kept vector comes back bit by bit. Computed anew in the company of other texts, it may differ
    in the last bits: by less than 1e-5 for vectors of length 1 in float32.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from rag_helpers.embedding.sentence import SentenceEmbedder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     embedder = CachedEmbedder(SentenceEmbedder(), EmbeddingStore(Path(folder)))
    ...     first = embedder.embed(["Ice melts."])
    ...     bool((embedder.embed(["Tea cools.", "Ice melts."])[1] == first[0]).all())
    True
    """

    def __init__(self, embedder: BatchedEmbedder, store: EmbeddingStore) -> None:
        self.embedder = embedder
        self.store = store

    def embed(self, texts: Sequence[str], *, titles: Sequence[str] | None = None) -> FloatArray:
        """Return one vector per text, as the embedder does.

        Parameters
        ----------
        texts : sequence of str
        titles : sequence of str or None
            One per text.

        Returns
        -------
        ndarray of float32, shape (len(texts), dimension)

        Raises
        ------
        InvalidInputError
            As the embedder raises it.
        """
        pairs = self.embedder.pairs(texts, titles)
        made_by = self.embedder.fingerprint
        keys = {pair: _key(made_by, *pair) for pair in dict.fromkeys(pairs)}
        shape = (self.embedder.dimension,)
        vectors = {
            key: vector
            for key, vector in self.store.find(keys.values()).items()
            if vector.shape == shape
        }
        absent = [pair for pair, key in keys.items() if key not in vectors]
        fresh: dict[bytes, FloatArray] = {}
        for rows, found in self.embedder.embed_batches(absent):
            fresh |= {keys[absent[row]]: vector for row, vector in zip(rows, found, strict=True)}
            if len(fresh) >= _KEPT_AT_ONCE:
                self.store.keep(fresh)
                vectors |= fresh
                fresh = {}
        self.store.keep(fresh)
        vectors |= fresh
        rows_of = [vectors[keys[pair]] for pair in pairs]
        return np.stack(rows_of) if rows_of else np.zeros((0, *shape), dtype=np.float32)


def _key(made_by: str, text: str, title: str) -> bytes:
    # Of fixed length before what varies: no two triples give the same bytes.
    parts = (bytes.fromhex(made_by), sha256(title.encode()).digest(), text.encode())
    return sha256(b"".join(parts)).digest()


def cached_embedder(embedder: Embedder) -> Embedder:
    """Return an embedder that keeps its vectors in the cache folder, unless that is turned off.

    ``$RAG_EMBEDDING_CACHE_MB`` is the most size of the file, 500 by default; 0 turns keeping off.

    Parameters
    ----------
    embedder : Embedder
        One that is not of this package is returned as it is: what its vectors depend on cannot be
        known.

    Returns
    -------
    Embedder

    Raises
    ------
    InvalidInputError
        If the variable is no number, or is below 0.

    Examples
    --------
    >>> from rag_helpers.embedding.sentence import SentenceEmbedder
    >>> type(cached_embedder(SentenceEmbedder())).__name__
    'CachedEmbedder'
    """
    if not isinstance(embedder, BatchedEmbedder):
        return embedder
    given = os.environ.get(_SIZE, "").strip()
    try:
        size = float(given or DEFAULT_MB)
    except ValueError:
        size = -1.0
    if not 0 <= size < float("inf"):
        raise InvalidInputError(
            f"{_SIZE} is {given!r}: give megabytes, such as {DEFAULT_MB:.0f}, or 0 to keep none."
        )
    return CachedEmbedder(embedder, EmbeddingStore(max_mb=size)) if size else embedder
