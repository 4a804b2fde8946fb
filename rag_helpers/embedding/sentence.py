"""One encoder for all texts, of sentence-transformers' kind, perhaps with an adapter.

The module knows nothing of chunks, indexes or scores.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from rag_helpers.embedding.batching import BatchedEmbedder, checked_max_tokens
from rag_helpers.embedding.folders import is_dpr, refuse_foreign_modules, require_weights
from rag_helpers.embedding.ragged import is_ragged_ready, mean_states, prepare_ragged
from rag_helpers.environment import file_sha256, select_device, select_dtype
from rag_helpers.errors import InvalidInputError, ModelIntegrityError, ModelNotFoundError
from rag_helpers.models import lora_adapter, quiet_loading, resolve
from rag_helpers.records import FloatArray

__all__ = ["SentenceEmbedder"]

_ADAPTER_WEIGHTS = "adapter_model.safetensors"


class SentenceEmbedder(BatchedEmbedder):
    """A sentence-transformers model: by default all-MiniLM-L6-v2, mean pooling, 384 numbers.

    Parameters
    ----------
    name : str or Path
        Name or folder, as `rag_helpers.models.resolve` takes it.
    normalize : bool
        Whether rows get length 1, so that the inner product is the cosine and L2 ranks alike.
        False gives the vectors as pooled, also where the model's own pipeline would normalize.
    max_tokens : int or None
        Word pieces read per text, at most the model's positions (512 for MiniLM); None means the
        model's own setting (256 for MiniLM).
    batch_size : int
        Texts computed at once.
    dtype : str
        ``"float32"``, ``"bfloat16"`` or ``"auto"``; the rows are float32 in any case.
    adapter : Path or str, optional
        A LoRA folder with ``adapter_model.safetensors``, merged into the weights; ``"auto"`` takes
        the one shipped for this model, if there is one. None runs the model as published.

    Attributes
    ----------
    name : str
        Short name of the model; with an adapter, its checksum too, because vectors with and
        without it must not meet in one index.
    dimension : int
        Numbers per vector.
    max_tokens : int
        Word pieces read per text, special tokens included.
    metric : str
        ``"l2"`` for vectors of length 1, else ``"ip"``.

    Raises
    ------
    InvalidInputError
        If an argument is out of range, or the model is one of DPR's.
    ModelNotFoundError, ModelIntegrityError
        As `rag_helpers.models.resolve` raises them, and if the adapter is absent or does not fit.

    Notes
    -----
    BERT with mean pooling on the CPU is computed without padding (`rag_helpers.embedding.ragged`),
    anything else as sentence-transformers does it.

    Reimers and Gurevych (2019), "Sentence-BERT"; Wang et al. (2020), "MiniLM".

    Examples
    --------
    >>> embedder = SentenceEmbedder()
    >>> vectors = embedder.embed(["A cat sat.", "A kitten was sitting.", "Taxes rose."])
    >>> vectors.shape
    (3, 384)
    >>> bool(vectors[0] @ vectors[1] > vectors[0] @ vectors[2])
    True
    """

    def __init__(
        self,
        name: str | Path = "all-MiniLM-L6-v2",
        *,
        normalize: bool = True,
        max_tokens: int | None = None,
        batch_size: int = 32,
        dtype: str = "float32",
        adapter: str | Path | None = None,
    ) -> None:
        dtype = select_dtype(dtype)
        folder = resolve(name)
        if is_dpr(folder):
            raise InvalidInputError(
                f"{name} is one of DPR's encoders, which pool and score in their own way; "
                "load it with DprEmbedder."
            )
        refuse_foreign_modules(folder)
        import torch
        from sentence_transformers import SentenceTransformer

        with quiet_loading():
            self._model = SentenceTransformer(
                str(folder),
                device=select_device(),
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True, "dtype": "float32"},
            )
        require_weights(folder, self._model[0].auto_model)
        _take_off_normalize(self._model)
        own_adapter = _find_adapter(name, adapter)
        if own_adapter is not None:
            _merge_adapter(self._model[0].auto_model, own_adapter)
        self._model.to(getattr(torch, dtype))
        self._normalize = normalize
        self._folders = (folder,) if own_adapter is None else (folder, own_adapter)
        self._settings = (f"normalize {normalize}",)
        self.metric = "l2" if normalize else "ip"
        self.dimension = int(self._model.encode([""], show_progress_bar=False).shape[1])
        positions = int(self._model[0].auto_model.config.max_position_embeddings)
        own = self._model.max_seq_length
        self.max_tokens = checked_max_tokens(max_tokens, own or positions, positions)
        self._model.max_seq_length = self.max_tokens
        # Afterwards the model's own `encode`, which pads, cannot be used any more.
        self._ragged = is_ragged_ready(self._model)
        if self._ragged:
            prepare_ragged(self._model[0].auto_model)
        super().__init__(name, self._model.tokenizer, batch_size)
        if own_adapter is not None:
            digest = file_sha256(own_adapter / _ADAPTER_WEIGHTS)
            self.name = f"{self.name}+adapter-{digest[:8]}"

    def _encode(self, texts: list[str], titles: list[str]) -> FloatArray:
        if self._ragged:
            rows = self._model.tokenizer(texts, truncation=True, max_length=self.max_tokens)
            vectors = mean_states(self._model[0].auto_model, rows["input_ids"]).numpy()
        else:
            vectors = np.asarray(
                self._model.encode(texts, batch_size=len(texts), show_progress_bar=False),
                dtype=np.float32,
            )
        if self._normalize:  # here and not in the model, whose bfloat16 would miss length 1
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors


def _find_adapter(name: str | Path, adapter: str | Path | None) -> Path | None:
    if adapter is None:
        return None
    if adapter == "auto":
        return lora_adapter(str(name))
    if not (Path(adapter) / _ADAPTER_WEIGHTS).is_file():
        raise ModelNotFoundError(
            f"{adapter} holds no {_ADAPTER_WEIGHTS}; give the folder that train_retriever wrote, "
            "or adapter=None."
        )
    return Path(adapter)


def _merge_adapter(encoder: Any, folder: Path) -> None:  # noqa: ANN401 (from an untyped library)
    """Add an adapter's products to the weights, in place."""
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            # peft asks transformers by a name that is going to change; learners need not know.
            warnings.simplefilter("ignore", FutureWarning)
            PeftModel.from_pretrained(encoder, str(folder)).merge_and_unload()
    except (ValueError, RuntimeError, KeyError) as error:
        raise ModelIntegrityError(
            f"The adapter in {folder} does not fit the encoder ({error}); use the one that was "
            "trained on it, or adapter=None."
        ) from error


def _take_off_normalize(model: Any) -> None:  # noqa: ANN401 (from an untyped library)
    # By name: the class has moved between versions of sentence-transformers.
    named = [key for key, part in model.named_children() if type(part).__name__ == "Normalize"]
    for key in named:
        delattr(model, key)
