"""Turns texts into vectors: one encoder for all texts, or DPR's pair of encoders.

Both read texts in batches of like length and give float32 rows. What an encoder does not read,
because a text is longer than `max_tokens`, is not in its vector; `count_tokens` tells beforehand.
What was embedded before is taken from a file, where a `CachedEmbedder` stands around the encoder.
A cross-encoder gives no vector: it reads question and passage together and scores the pair.

The module knows nothing of chunks, indexes or scores.
"""

from __future__ import annotations

from pathlib import Path

from rag_helpers.embedding.cached import CachedEmbedder, cached_embedder
from rag_helpers.embedding.cross_encoder import CrossEncoderScorer
from rag_helpers.embedding.dpr import DprEmbedder
from rag_helpers.embedding.folders import is_dpr
from rag_helpers.embedding.sentence import SentenceEmbedder
from rag_helpers.embedding.store import EmbeddingStore
from rag_helpers.errors import InvalidInputError
from rag_helpers.models import lora_adapter, resolve

__all__ = [
    "CachedEmbedder",
    "CrossEncoderScorer",
    "DprEmbedder",
    "EmbeddingStore",
    "SentenceEmbedder",
    "cached_embedder",
    "load_embedders",
]

_DPR_SIDES = ("ctx_encoder", "question_encoder")


def load_embedders(
    name: str | Path,
    *,
    batch_size: int = 32,
    dtype: str = "float32",
    adapter: str | Path | None = None,
) -> tuple[SentenceEmbedder | DprEmbedder, SentenceEmbedder | DprEmbedder]:
    """Return the embedder for passages and the embedder for questions.

    Parameters
    ----------
    name : str or Path
        Name or folder, as `rag_helpers.models.resolve` takes it. Either name of DPR's pair gives
        the pair; folders of a pair must differ by ``ctx_encoder`` and ``question_encoder``.
    batch_size : int
        Texts computed at once.
    dtype : str
        ``"float32"``, ``"bfloat16"`` or ``"auto"``.
    adapter : str or Path, optional
        A LoRA folder for the questions' side, as `rag_helpers.fine_tuning.train_question_side`
        makes it; ``"auto"`` takes the one shipped for this model, if there is one. Passages keep
        the published weights, so that an index serves with and without it.

    Returns
    -------
    tuple of two embedders
        For passages, for questions; the same object twice where one encoder reads both.

    Raises
    ------
    InvalidInputError
        If a DPR folder's name does not tell where its counterpart is.
    ModelNotFoundError, ModelIntegrityError
        As `rag_helpers.models.resolve` raises them.

    Examples
    --------
    >>> passages, questions = load_embedders("all-MiniLM-L6-v2")
    >>> passages is questions
    True
    """
    folder = resolve(name)
    if not is_dpr(folder):
        passages = SentenceEmbedder(name, batch_size=batch_size, dtype=dtype)
        if adapter is None or (adapter == "auto" and lora_adapter(str(name)) is None):
            return passages, passages
        return passages, SentenceEmbedder(name, batch_size=batch_size, dtype=dtype, adapter=adapter)
    if adapter not in (None, "auto"):
        raise InvalidInputError(f"{name} is one of DPR's encoders, which take no adapter.")
    whole = str(name)
    side = next((side for side in _DPR_SIDES if side in whole), None)
    if side is None:
        raise InvalidInputError(
            f"{name} is one encoder of a DPR pair, and its name does not tell the other's; "
            "name the folders …ctx_encoder… and …question_encoder…, or use DprEmbedder twice."
        )
    head, _, tail = whole.rpartition(side)
    context, question = (
        DprEmbedder(type(name)(head + which + tail), batch_size=batch_size, dtype=dtype)
        for which in _DPR_SIDES
    )
    return context, question
