"""What a reader computes for a passage, kept on disk, so that later the question alone is read.

Where a passage stands before the question, its keys and values do not depend on the question:
read once, they serve every question that finds the same passage (RAGCache, Jin et al., 2024;
TurboRAG, Lu et al., 2024).

The module does not know what the tokens say, nor which passages will be asked for.
"""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
import weakref
import zlib
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from rag_helpers.errors import GeneratorError, InvalidInputError

__all__ = ["ReadAhead"]

# How many beginnings are remembered between the encoding of a prompt and its reading.
_MOST_EXPECTED = 256
_CHECKSUM_BYTES = 4


class ReadAhead:
    """Keys and values of the beginnings of prompts, one file each.

    Files are named by the hash of the model's weights and of the tokens, so that another model,
    adapter, template or passage finds nothing of this one's. A file that cannot be read, or whose
    checksum is wrong, counts as absent. A folder that cannot be written costs a warning.

    Parameters
    ----------
    folder : str or Path
        Where the files are; made when missing.
    max_mb : float, default 4000
        Most that the files take together, in units of 10⁶ bytes; those not used for longest go.
        A passage of 200 words takes about 6 in float16 with SmolLM2-135M.
    half : bool, default True
        Whether float32 is kept in float16: half the size, and the same answers where it was
        measured (``data/results/variants.json``). What float16 cannot hold stays float32.

    Raises
    ------
    InvalidInputError
        If `max_mb` is not above 0.

    Notes
    -----
    A model's weights are looked at once: after a change in place, make a new object.
    """

    def __init__(self, folder: str | Path, *, max_mb: float = 4000.0, half: bool = True) -> None:
        if not max_mb > 0:
            raise InvalidInputError(f"max_mb is {max_mb}: give more than 0.")
        self.folder, self.max_mb, self.half = Path(folder), max_mb, half
        self._expected: dict[tuple[int, ...], None] = {}
        self._model: tuple[weakref.ref[Any], bytes] | None = None
        self._lock = threading.Lock()

    def expect(self, ids: Sequence[int]) -> None:
        """Note that a prompt will come that begins with these ids and goes on otherwise."""
        with self._lock:
            self._expected.pop(tuple(ids), None)
            self._expected[tuple(ids)] = None
            while len(self._expected) > _MOST_EXPECTED:
                del self._expected[next(iter(self._expected))]

    def longest(self, ids: Sequence[int]) -> int:
        """Return how many of these ids are the longest expected beginning; 0 without one."""
        with self._lock:
            found = [len(own) for own in self._expected if tuple(ids[: len(own)]) == own]
        return max(found, default=0)

    def recall(self, ids: Sequence[int], model: Any) -> Any:  # noqa: ANN401 (transformers)
        """Return what was kept of exactly these ids.

        Parameters
        ----------
        ids : sequence of int
            A beginning.
        model : PreTrainedModel
            Which reads on from it.

        Returns
        -------
        DynamicCache or None
            One row, in the model's own type; None where nothing is kept.
        """
        import safetensors.torch
        from transformers import DynamicCache

        path = self._path(ids, model)
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        checksum, blob = data[:_CHECKSUM_BYTES], data[_CHECKSUM_BYTES:]
        if not blob or zlib.crc32(blob) != int.from_bytes(checksum, "big"):
            return None
        kept = safetensors.torch.load(blob)
        cache = DynamicCache(config=model.config)
        for layer, (keys, values) in enumerate(zip(kept["keys"], kept["values"], strict=True)):
            cache.update(keys.to(model.dtype)[None], values.to(model.dtype)[None], layer)
        return cache

    def keep(self, ids: Sequence[int], model: Any, cache: Any) -> None:  # noqa: ANN401
        """Keep what was read of these ids.

        Parameters
        ----------
        ids : sequence of int
            A beginning.
        model : PreTrainedModel
            Which read it.
        cache : DynamicCache
            One row of as many tokens.
        """
        import safetensors.torch
        import torch

        whole = {
            name: torch.stack([getattr(layer, name)[0] for layer in cache.layers])
            for name in ("keys", "values")
        }
        most = torch.finfo(torch.float16).max
        fits = all(bool(part.abs().max() <= most) for part in whole.values())
        if self.half and model.dtype == torch.float32 and fits:
            whole = {name: part.to(torch.float16) for name, part in whole.items()}
        blob = safetensors.torch.save(whole)
        path = self._path(ids, model)
        draft = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.new")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(zlib.crc32(blob).to_bytes(_CHECKSUM_BYTES, "big") + blob)
            draft.replace(path)
            self._make_room()
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            warnings.warn(
                f"What was read ahead could not be kept in {self.folder} ({error}): free some "
                "room there, or give another folder. Answers are as before, and slower.",
                stacklevel=2,
            )

    def _make_room(self) -> None:
        # A killed process leaves its draft behind: it counts, and goes, like the others.
        found = [path for kind in ("*.kv", "*.new") for path in self.folder.glob(kind)]
        files = [(path, path.stat()) for path in found]
        over = sum(facts.st_size for _, facts in files) - self.max_mb * 1e6
        for path, facts in sorted(files, key=lambda one: one[1].st_mtime):
            if over <= 0:
                return
            path.unlink(missing_ok=True)
            over -= facts.st_size

    def _path(self, ids: Sequence[int], model: Any) -> Path:  # noqa: ANN401
        name = sha256(self._fingerprint(model))
        name.update(" ".join(map(str, ids)).encode())
        return self.folder / f"{name.hexdigest()}.kv"

    def _fingerprint(self, model: Any) -> bytes:  # noqa: ANN401
        """Return a hash of every weight's beginning: cheap, and another for another adapter."""
        if self._model is not None and self._model[0]() is model:
            return self._model[1]
        found = sha256(f"{model.config.architectures} {self.half}".encode())
        for name, weights in model.state_dict().items():
            if not getattr(weights, "is_floating_point", bool)():
                raise GeneratorError(
                    f"{name} of the model is quantized: read ahead with weights in float32 or "
                    "bfloat16, or give read_ahead=None."
                )
            found.update(f"{name} {tuple(weights.shape)} {weights.dtype}".encode())
            found.update(weights.detach().flatten()[:64].float().cpu().numpy().tobytes())
        self._model = (weakref.ref(model), found.digest())
        return self._model[1]
