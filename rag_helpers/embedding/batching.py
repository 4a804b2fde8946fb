"""What all embedders share: texts are checked, batched by length, and their tokens counted.

The module does not know how an encoder computes.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from rag_helpers.environment import progress_bar
from rag_helpers.errors import InvalidInputError
from rag_helpers.models import digest_folder, find_model
from rag_helpers.records import FloatArray

__all__ = ["BatchedEmbedder", "checked_max_tokens"]

Metric: TypeAlias = Literal["l2", "ip"]

_LIBRARIES = ("torch", "transformers", "tokenizers", "sentence-transformers")
_FEWEST_TOKENS = 3  # [CLS], one word piece, [SEP]


class BatchedEmbedder(ABC):
    """Checks texts, batches them by length, counts their tokens."""

    name: str
    dimension: int
    max_tokens: int
    metric: Metric
    reads_titles = False
    # What the vectors come from: the torch module, the folders behind it, settings beside them.
    _model: Any
    _folders: tuple[Path, ...]
    _settings: tuple[str, ...] = ()

    def __init__(self, name: str | Path, tokenizer: Any, batch_size: int) -> None:  # noqa: ANN401
        from tokenizers import Tokenizer

        if batch_size < 1:
            raise InvalidInputError(f"batch_size is {batch_size}, but it must be at least 1.")
        self.name = _short_name(name)
        self._batch_size = batch_size
        # A copy: the encoder's own cuts at max_tokens, and the one that counts must not.
        self._counter = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._counter.no_truncation()
        self._counter.no_padding()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that a vector depends on beside its text and title.

        That is the model's files, an adapter's, the number format, kinds of layers (quantized ones
        are of a kind of their own), device, settings, and the versions of the libraries. How texts
        are batched is not in it, for it changes nothing but the last bits.
        """
        facts = {
            "versions": {name: metadata.version(name) for name in _LIBRARIES},
            "files": [digest_folder(folder) for folder in self._folders],
            "layers": sorted({str(type(part)) for part in self._model.modules()}),
            "weights": sorted(
                {
                    f"{type(weight)} {weight.dtype} {weight.device.type}"
                    for weight in self._model.parameters()
                }
            ),
            "settings": [self.max_tokens, *self._settings],
        }
        return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def count_tokens(self, text: str) -> int:
        """Return the length of a text in word pieces, [CLS] and [SEP] included, uncut.

        Parameters
        ----------
        text : str
            Any text; what lies past `max_tokens` is not embedded.

        Returns
        -------
        int
            Number of word pieces.
        """
        return len(self._counter.encode(_encodable(_checked_texts([text], "texts")[0])).ids)

    def count_characters_read(self, text: str) -> int:
        """Return how many characters of a text are embedded; the rest passes `max_tokens`.

        Parameters
        ----------
        text : str
            Any text.

        Returns
        -------
        int
            ``len(text)`` when all of it is read.
        """
        encoding = self._counter.encode(_encodable(_checked_texts([text], "texts")[0]))
        if len(encoding.ids) <= self.max_tokens:
            return len(text)
        # The last of the tokens that are kept is [SEP]: the one before it ends what is read.
        return int(encoding.offsets[self.max_tokens - 2][1])

    def embed(self, texts: Sequence[str], *, titles: Sequence[str] | None = None) -> FloatArray:
        """Return one vector per text.

        Parameters
        ----------
        texts : sequence of str
            What to embed; an empty sequence gives no rows.
        titles : sequence of str or None
            One title per text. Passage encoders of DPR read it before the text; other encoders
            were trained without titles and leave it out.

        Returns
        -------
        ndarray of float32, shape (len(texts), dimension)
            Rows in the order of `texts`, C-contiguous.

        Raises
        ------
        InvalidInputError
            If `texts` is one string, holds anything but strings, or `titles` has another length.
        """
        pairs = self.pairs(texts, titles)
        # What stands there twice is computed once.
        rows = {pair: row for row, pair in enumerate(dict.fromkeys(pairs))}
        vectors = np.zeros((len(rows), self.dimension), dtype=np.float32)
        for batch, found in self.embed_batches(list(rows)):
            vectors[batch] = found
        return vectors[[rows[pair] for pair in pairs]]

    def pairs(
        self, texts: Sequence[str], titles: Sequence[str] | None = None
    ) -> list[tuple[str, str]]:
        """Return text and title of each row as they are read, once they are checked.

        Parameters
        ----------
        texts : sequence of str
            As for `embed`.
        titles : sequence of str or None
            As for `embed`.

        Returns
        -------
        list of (str, str)
            The title is empty where the encoder reads none.

        Raises
        ------
        InvalidInputError
            As `embed` raises it.
        """
        checked = _checked_texts(texts, "texts")
        headed = [""] * len(checked) if titles is None else _checked_texts(titles, "titles")
        if len(headed) != len(checked):
            raise InvalidInputError(
                f"titles has {len(headed)} entries for {len(checked)} texts; give one per text, "
                "and an empty string where there is none."
            )
        return [
            (_encodable(text), _encodable(title) if self.reads_titles else "")
            for text, title in zip(checked, headed, strict=True)
        ]

    def embed_batches(
        self, pairs: Sequence[tuple[str, str]]
    ) -> Iterator[tuple[list[int], FloatArray]]:
        """Embed batch by batch, so that what is done can be kept before the rest is.

        Parameters
        ----------
        pairs : sequence of (str, str)
            As `pairs` returns them.

        Yields
        ------
        tuple of (list of int, ndarray of float32)
            Places in `pairs`, and their vectors.
        """
        # Texts of like length share a batch, so that little is computed on padding.
        order = sorted(range(len(pairs)), key=lambda row: -len(pairs[row][0]))
        batches = [
            order[start : start + self._batch_size]
            for start in range(0, len(order), self._batch_size)
        ]
        for rows in progress_bar(batches, label=f"Embedding with {self.name}"):
            texts, titles = zip(*(pairs[row] for row in rows), strict=True)
            yield rows, self._encode(list(texts), list(titles))

    @abstractmethod
    def _encode(self, texts: list[str], titles: list[str]) -> FloatArray:
        """Return the vectors of one batch."""


def _short_name(name: str | Path) -> str:
    known = find_model(name) if isinstance(name, str) else None
    return known.name if known else Path(name).expanduser().resolve().name


def _checked_texts(texts: Iterable[str], argument: str) -> list[str]:
    if isinstance(texts, str | bytes):
        raise InvalidInputError(
            f"{argument} is one string; give a list, such as [{argument[:-1]}]."
        )
    listed = list(texts)
    for position, text in enumerate(listed):
        if not isinstance(text, str):
            raise InvalidInputError(
                f"{argument}[{position}] is {text!r} of type {type(text).__name__}, but it must "
                "be a string; leave it out or use an empty string."
            )
    return listed


def _encodable(text: str) -> str:
    """Replace lone surrogates, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def checked_max_tokens(wanted: int | None, own: int, positions: int) -> int:
    """Return the wanted limit, else the model's own; refuse what its positions cannot hold."""
    if wanted is None:
        return own
    if not _FEWEST_TOKENS <= wanted <= positions:
        raise InvalidInputError(
            f"max_tokens is {wanted}, but this model has positions for {_FEWEST_TOKENS} to "
            f"{positions}; split longer texts into chunks."
        )
    return wanted
