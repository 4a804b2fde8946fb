"""What both ways of training the retriever share: the encoder to train, and how it is scored.

The module does not know what the encoder learns from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from rag_helpers.environment import select_device
from rag_helpers.models import quiet_loading
from rag_helpers.records import FloatArray

__all__ = ["Embed", "Score", "as_evaluator", "load_encoder"]

Embed: TypeAlias = Callable[[Sequence[str]], FloatArray]
Score: TypeAlias = Callable[[Embed], float]


def load_encoder(weights: Path, *, rank: int | None) -> Any:  # noqa: ANN401 (from a library)
    """Load a sentence encoder in float32, ready to train.

    Parameters
    ----------
    weights : Path
        Its folder.
    rank : int or None
        Width of LoRA's matrices, which alone are trained then; None trains
        every weight.

    Returns
    -------
    sentence_transformers.SentenceTransformer
    """
    from sentence_transformers import SentenceTransformer

    with quiet_loading():
        encoder = SentenceTransformer(
            str(weights),
            device=select_device(),
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True, "dtype": "float32"},
        )
    if rank is not None:
        from peft import LoraConfig

        encoder.add_adapter(
            LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear")
        )
    return encoder


def as_evaluator(score: Score) -> Any:  # noqa: ANN401 (a class of the library)
    """Return what the library's trainer calls to evaluate: it asks `score`.

    Parameters
    ----------
    score : callable
        ``score(embed)``, where ``embed(texts)`` gives vectors of length 1.

    Returns
    -------
    SentenceEvaluator
        Reports the value as ``"score"``.
    """
    from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator

    class Evaluator(SentenceEvaluator):
        """Asks the callable, on vectors of length 1."""

        def __call__(self, model: Any, *_: Any, **__: Any) -> dict[str, float]:  # noqa: ANN401
            def embed(texts: Sequence[str]) -> FloatArray:
                vectors: FloatArray = model.encode(
                    list(texts), normalize_embeddings=True, show_progress_bar=False
                )
                return vectors

            return {"score": float(score(embed))}

    return Evaluator()
