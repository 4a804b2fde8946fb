"""Cross-encoders: question and passage read together, one number as the result.

Slower than comparing vectors, since nothing can be computed before the question
is known, and mostly better: a reranker for a few candidates. The module does
not know which passages were found, nor how their own scores are blended in:
see `rag_helpers.retriever.RerankedRetriever`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rag_helpers.embedding.folders import model_config, refuse_foreign_modules, require_weights
from rag_helpers.environment import select_device, select_dtype
from rag_helpers.errors import InvalidInputError
from rag_helpers.models import quiet_loading, resolve

__all__ = ["CrossEncoderScorer"]


class CrossEncoderScorer:
    """Scores passages with a cross-encoder of one output (Nogueira and Cho, 2019).

    Parameters
    ----------
    name : str or Path
        Name or folder, as `rag_helpers.models.resolve` takes it, such as
        ``"cross-encoder/ms-marco-MiniLM-L6-v2"``.
    batch_size : int
        Pairs computed at once.
    dtype : str
        ``"float32"``, ``"bfloat16"`` or ``"auto"``.

    Raises
    ------
    InvalidInputError
        If the model is no sequence classifier, has several outputs, or an
        argument is out of range.
    ModelNotFoundError, ModelIntegrityError
        As `rag_helpers.models.resolve` raises them.
    """

    def __init__(self, name: str | Path, *, batch_size: int = 32, dtype: str = "float32") -> None:
        if batch_size < 1:
            raise InvalidInputError(f"batch_size is {batch_size}: give at least 1.")
        dtype, folder = select_dtype(dtype), resolve(name)
        kinds = model_config(folder).get("architectures")
        kind = str(kinds[0]) if isinstance(kinds, list) and kinds else "no known model"
        if not kind.endswith("ForSequenceClassification"):
            raise InvalidInputError(
                f"{name} holds {kind}, which is no cross-encoder; give one, such as "
                "'cross-encoder/ms-marco-MiniLM-L6-v2'."
            )
        refuse_foreign_modules(folder)
        import torch
        from sentence_transformers import CrossEncoder

        with quiet_loading():
            self._model = CrossEncoder(
                str(folder),
                device=select_device(),
                local_files_only=True,
                trust_remote_code=False,
                # Logits as they are: the folder's settings may name a function to import, and a
                # sigmoid would press the best passages together.
                activation_fn=torch.nn.Identity(),
                model_kwargs={"use_safetensors": True, "dtype": dtype},
            )
        require_weights(folder, self._model.model)
        if self._model.num_labels != 1:
            raise InvalidInputError(
                f"{name} has {self._model.num_labels} outputs and a reranker needs 1; give a "
                "cross-encoder that was trained to rank."
            )
        self.name = Path(name).name
        self.batch_size = batch_size

    def __call__(self, question: str, passages: Sequence[str]) -> list[float]:
        """Return one number per passage, higher is better.

        Parameters
        ----------
        question : str
        passages : sequence of str
            Question and passage together are read up to the model's limit.

        Returns
        -------
        list of float
            Logits, without bounds.
        """
        if not passages:
            return []
        pairs = [(question, passage) for passage in passages]
        scores = self._model.predict(
            pairs, batch_size=self.batch_size, show_progress_bar=False, convert_to_tensor=True
        )
        found: list[float] = scores.float().tolist()
        return found
