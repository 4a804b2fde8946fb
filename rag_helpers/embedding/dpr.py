"""Dense Passage Retrieval: one encoder for passages, another for questions.

The module knows nothing of chunks, indexes or scores.
"""

from __future__ import annotations

from pathlib import Path

from rag_helpers.embedding.batching import BatchedEmbedder, checked_max_tokens
from rag_helpers.embedding.folders import is_dpr, model_config, refuse_missing
from rag_helpers.environment import select_device, select_dtype
from rag_helpers.errors import InvalidInputError
from rag_helpers.models import quiet_loading, resolve
from rag_helpers.records import FloatArray

__all__ = ["DprEmbedder"]

_DPR_MAX_TOKENS = 256  # Karpukhin et al. (2020) trained with this length


class DprEmbedder(BatchedEmbedder):
    """One of the two encoders of Dense Passage Retrieval: [CLS], inner product, titles.

    Parameters
    ----------
    name : str or Path
        Name or folder, as `rag_helpers.models.resolve` takes it, of a question encoder or of a
        passage encoder; its own configuration says which.
    max_tokens : int or None
        Word pieces read per text, at most the model's positions (512); None means 256.
    batch_size : int
        Texts computed at once.
    dtype : str
        ``"float32"``, ``"bfloat16"`` or ``"auto"``; the rows are float32 in any case.

    Attributes
    ----------
    name, dimension, max_tokens
        As for `SentenceEmbedder`.
    metric : str
        ``"ip"``: lengths differ and matter, so the vectors are never normalized.
    reads_titles : bool
        Whether this is the passage encoder.

    Raises
    ------
    InvalidInputError
        If an argument is out of range, or the model is none of DPR's.
    ModelNotFoundError, ModelIntegrityError
        As `rag_helpers.models.resolve` raises them.

    Notes
    -----
    Karpukhin et al. (2020), "Dense Passage Retrieval for Open-Domain Question Answering". A
    passage with a title is read as ``[CLS] title [SEP] text [SEP]``, with one segment for both,
    as its authors' code does.

    Examples
    --------
    >>> passages = DprEmbedder("facebook/dpr-ctx_encoder-single-nq-base")  # doctest: +SKIP
    >>> passages.embed(["It is the capital."], titles=["Paris"]).shape  # doctest: +SKIP
    (1, 768)
    """

    metric = "ip"

    def __init__(
        self,
        name: str | Path,
        *,
        max_tokens: int | None = None,
        batch_size: int = 32,
        dtype: str = "float32",
    ) -> None:
        dtype = select_dtype(dtype)
        folder = resolve(name)
        if not is_dpr(folder):
            raise InvalidInputError(
                f"{name} is none of DPR's encoders; load it with SentenceEmbedder."
            )
        import torch
        from transformers import AutoTokenizer, DPRContextEncoder, DPRQuestionEncoder

        self.reads_titles = "DPRContextEncoder" in model_config(folder).get("architectures", ())
        encoder = DPRContextEncoder if self.reads_titles else DPRQuestionEncoder
        with quiet_loading():
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model, report = encoder.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=getattr(torch, dtype),
                output_loading_info=True,
            )
        refuse_missing(folder, report["missing_keys"])
        self._model = model.eval().to(select_device())
        self._folders = (folder,)
        config = self._model.config
        self.dimension = int(config.projection_dim or config.hidden_size)
        positions = int(config.max_position_embeddings)
        own = min(_DPR_MAX_TOKENS, positions)
        self.max_tokens = checked_max_tokens(max_tokens, own, positions)
        super().__init__(name, self._tokenizer, batch_size)

    def _encode(self, texts: list[str], titles: list[str]) -> FloatArray:
        import torch

        rows = [
            self._tokenizer(
                *((title, text) if self.reads_titles and title.strip() else (text,)),
                truncation=True,
                max_length=self.max_tokens,
            )["input_ids"]
            for text, title in zip(texts, titles, strict=True)
        ]
        batch = self._tokenizer.pad({"input_ids": rows}, return_tensors="pt")
        with torch.inference_mode():
            # No token types: DPR was trained with zeros for title and text alike.
            output = self._model(
                input_ids=batch["input_ids"].to(self._model.device),
                attention_mask=batch["attention_mask"].to(self._model.device),
            )
        vectors: FloatArray = output.pooler_output.float().cpu().numpy()
        return vectors
