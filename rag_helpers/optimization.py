"""Step 7: what each faster variant saves, and what it costs in quality.

Variants of generators, embedders and FAISS indexes are measured side by side;
the first one is the reference that the others should agree with. A speed is
never reported without its quality.

The module does not know what a generator or an embedder is made of: variants
come as functions that load them.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from rag_helpers.errors import InvalidInputError, RagError
from rag_helpers.evaluation import Interval, bootstrap_interval, token_f1
from rag_helpers.records import Embedder, FloatArray, Generator, Prompt

__all__ = [
    "EmbedderMeasurement",
    "GeneratorMeasurement",
    "IndexMeasurement",
    "imitate_vectors",
    "measure_embedders",
    "measure_generators",
    "measure_indexes",
    "model_size_mb",
    "quantize_dynamic",
]

T = TypeVar("T")
# All queries over a small index take milliseconds, which any other program can double.
_PASSES = 5


@dataclass(frozen=True, slots=True)
class GeneratorMeasurement:
    """How fast and how good one variant of a generator is.

    Parameters
    ----------
    name : str
        Of the variant.
    size_mb : float
        Memory of its weights in 10⁶ bytes.
    load_s : float
        Seconds to load it.
    tokens_per_s : float
        New tokens a second, reading the prompt included.
    p50_ms, p95_ms : float
        Median and 95th percentile of milliseconds a prompt, one at a time.
    f1 : Interval
        Mean token F1 against the known answers.
    identical : Interval
        Share of answers equal to the reference's, letter for letter.
    texts : tuple of str
        The answers, in the order of the prompts.
    """

    name: str
    size_mb: float
    load_s: float
    tokens_per_s: float
    p50_ms: float
    p95_ms: float
    f1: Interval
    identical: Interval
    texts: tuple[str, ...]


def measure_generators(
    variants: Mapping[str, Callable[[], Generator]],
    prompts: Sequence[Prompt],
    gold: Sequence[Sequence[str]],
) -> list[GeneratorMeasurement]:
    """Run every variant on the same prompts, one prompt at a time.

    Each variant is loaded, warmed up on the first prompt, measured and dropped
    before the next one is loaded.

    Parameters
    ----------
    variants : Mapping of str to callable
        Name → function that loads the generator. The first is the reference.
    prompts : sequence of Prompt
        What to generate from.
    gold : sequence of sequence of str
        Accepted answers of each prompt.

    Returns
    -------
    list of GeneratorMeasurement
        In the order of the variants.

    Raises
    ------
    InvalidInputError
        If there is nothing to measure, or prompts and answers do not pair up.

    Examples
    --------
    >>> from rag_helpers.generator import ExtractiveGenerator
    >>> prompt = Prompt("When does ice melt?", "", passages=("Ice melts at 0 degrees.",))
    >>> rows = measure_generators({"best sentence": ExtractiveGenerator}, [prompt], [["0 degrees"]])
    >>> rows[0].texts, rows[0].identical.value
    (('Ice melts at 0 degrees.',), 1.0)
    """
    if not prompts or len(prompts) != len(gold):
        raise InvalidInputError(
            f"There are {len(prompts)} prompts and {len(gold)} lists of answers; give as many of "
            "one as of the other, and at least one."
        )
    _check_variants(variants)
    rows: list[GeneratorMeasurement] = []
    for name, load in variants.items():
        reference = rows[0].texts if rows else None
        rows.append(_measure_generator(name, load, prompts, gold, reference))
    return rows


def _measure_generator(
    name: str,
    load: Callable[[], Generator],
    prompts: Sequence[Prompt],
    gold: Sequence[Sequence[str]],
    reference: Sequence[str] | None,
) -> GeneratorMeasurement:
    # A function of its own, so that its generator is gone when the next one is loaded.
    generator, load_s = _load(load)
    generator.generate(prompts[:1])
    times_ms, generations = [], []
    for prompt in prompts:
        began = time.perf_counter()
        generations += generator.generate([prompt])
        times_ms.append((time.perf_counter() - began) * 1000)
    texts = tuple(generation.text for generation in generations)
    p50, p95 = np.percentile(times_ms, [50, 95])
    scores = [token_f1(text, answers) for text, answers in zip(texts, gold, strict=True)]
    same = [float(a == b) for a, b in zip(texts, reference or texts, strict=True)]
    return GeneratorMeasurement(
        name=name,
        size_mb=model_size_mb(generator),
        load_s=load_s,
        tokens_per_s=sum(g.tokens for g in generations) / sum(times_ms) * 1000,
        p50_ms=float(p50),
        p95_ms=float(p95),
        f1=bootstrap_interval(scores),
        identical=bootstrap_interval(same),
        texts=texts,
    )


@dataclass(frozen=True, slots=True)
class EmbedderMeasurement:
    """How fast and how faithful one variant of an embedder is.

    Parameters
    ----------
    name : str
        Of the variant.
    size_mb : float
        Memory of its weights in 10⁶ bytes.
    load_s : float
        Seconds to load it.
    texts_per_s : float
        Texts embedded a second.
    mean_cosine, min_cosine : float
        Of each vector with the reference's vector of the same text.
    """

    name: str
    size_mb: float
    load_s: float
    texts_per_s: float
    mean_cosine: float
    min_cosine: float


def measure_embedders(
    variants: Mapping[str, Callable[[], Embedder]], texts: Sequence[str]
) -> list[EmbedderMeasurement]:
    """Embed the same texts with every variant.

    Parameters
    ----------
    variants : Mapping of str to callable
        Name → function that loads the embedder. The first is the reference.
    texts : sequence of str
        What to embed.

    Returns
    -------
    list of EmbedderMeasurement
        In the order of the variants.

    Raises
    ------
    InvalidInputError
        If there is nothing to measure.
    """
    if not texts:
        raise InvalidInputError("There are 0 texts to embed; give at least one.")
    _check_variants(variants)
    rows: list[EmbedderMeasurement] = []
    reference: FloatArray | None = None
    for name, load in variants.items():
        row, vectors = _measure_embedder(name, load, texts, reference)
        reference = vectors if reference is None else reference
        rows.append(row)
    return rows


def _measure_embedder(
    name: str, load: Callable[[], Embedder], texts: Sequence[str], reference: FloatArray | None
) -> tuple[EmbedderMeasurement, FloatArray]:
    embedder, load_s = _load(load)
    embedder.embed(texts[:1])
    began = time.perf_counter()
    vectors = embedder.embed(texts)
    seconds = time.perf_counter() - began
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = (vectors * (vectors if reference is None else reference)).sum(axis=1)
    row = EmbedderMeasurement(
        name=name,
        size_mb=model_size_mb(embedder),
        load_s=load_s,
        texts_per_s=len(texts) / seconds,
        mean_cosine=float(cosines.mean()),
        min_cosine=float(cosines.min()),
    )
    return row, vectors


def _check_variants(variants: Mapping[str, object]) -> None:
    if not variants:
        raise InvalidInputError("There are 0 variants to measure; give at least the reference.")


def _load(load: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    return load(), time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class IndexMeasurement:
    """How fast and how complete one kind of FAISS index is.

    Parameters
    ----------
    name : str
        Of the kind.
    recall : float
        Share of the exact ten nearest (or k) that it returns, from 0 to 1.
    queries_per_s : float
        Questions a second, asked one at a time, in the fastest of five passes.
    build_s : float
        Seconds to train it and add the vectors.
    size_mb : float
        Size on disk in 10⁶ bytes.
    """

    name: str
    recall: float
    queries_per_s: float
    build_s: float
    size_mb: float


def measure_indexes(
    vectors: FloatArray,
    queries: FloatArray,
    kinds: Mapping[str, tuple[str, Mapping[str, float]]],
    *,
    k: int = 10,
) -> list[IndexMeasurement]:
    """Search the same vectors with several kinds of index, by L2 distance.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, d)
        What is searched.
    queries : ndarray of float32, shape (m, d)
        What is looked for.
    kinds : Mapping of str to (str, Mapping)
        Name → what FAISS calls the kind, such as ``"IVF16,Flat"`` or
        ``"HNSW32"``, and its search parameters, such as ``{"nprobe": 4}`` or
        ``{"efSearch": 32}``.
    k : int, default 10
        Neighbours to find.

    Returns
    -------
    list of IndexMeasurement
        In the order of the kinds; recall is against an exact search.

    Raises
    ------
    InvalidInputError
        If FAISS does not know a kind or a parameter, cannot train it on so few
        vectors, or `k` is larger than n.

    Notes
    -----
    IVF: Jégou, Douze and Schmid (2011). HNSW: Malkov and Yashunin (2020).

    Examples
    --------
    >>> points = np.eye(20, dtype=np.float32)
    >>> [round(row.recall, 1) for row in measure_indexes(points, points, {"flat": ("Flat", {})})]
    [1.0]
    """
    import faiss

    if not 1 <= k <= len(vectors):
        raise InvalidInputError(
            f"k is {k} and there are {len(vectors)} vectors; ask for 1 to {len(vectors)}."
        )
    exact = faiss.IndexFlatL2(vectors.shape[1])
    exact.add(vectors)
    _, nearest = exact.search(queries, k)
    rows = []
    for name, (kind, parameters) in kinds.items():
        began = time.perf_counter()
        try:
            index = faiss.index_factory(vectors.shape[1], kind, faiss.METRIC_L2)
            index.train(vectors)
            index.add(vectors)
            for parameter, value in parameters.items():
                faiss.ParameterSpace().set_index_parameter(index, parameter, value)
        except RuntimeError as error:
            raise InvalidInputError(
                f"FAISS cannot build {kind!r} with {dict(parameters)} from {len(vectors)} vectors; "
                "take a kind such as 'Flat', 'IVF16,Flat' or 'HNSW32', and fewer lists than "
                "vectors."
            ) from error
        build_s = time.perf_counter() - began
        seconds = float("inf")
        for _ in range(_PASSES):
            began = time.perf_counter()
            found = [index.search(query[None], k)[1][0] for query in queries]
            seconds = min(seconds, time.perf_counter() - began)
        shared = [len(set(a) & set(b)) / k for a, b in zip(found, nearest, strict=True)]
        rows.append(
            IndexMeasurement(
                name=name,
                recall=float(np.mean(shared)),
                queries_per_s=len(queries) / seconds,
                build_s=build_s,
                size_mb=len(faiss.serialize_index(index)) / 1e6,
            )
        )
    return rows


def imitate_vectors(vectors: FloatArray, count: int, *, seed: int = 0) -> FloatArray:
    """Make synthetic vectors that crowd together about as real ones do.

    Each one lies near a real vector, in a direction drawn with the real
    vectors' covariance, so that neighbours are about as similar as they are
    among the real ones. They show how an index scales; they are no text.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, d)
        Real vectors of length 1; at least 2.
    count : int
        How many to make.
    seed : int, default 0
        Of the random numbers.

    Returns
    -------
    ndarray of float32, shape (count, d)
        Of length 1.

    Examples
    --------
    >>> real = np.eye(8, dtype=np.float32)
    >>> imitate_vectors(real, 100).shape
    (100, 8)
    """
    if len(vectors) < 2 or count < 1:
        raise InvalidInputError(
            f"There are {len(vectors)} vectors to imitate and {count} to make; give at least 2 "
            "and ask for at least 1."
        )
    random = np.random.default_rng(seed)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1.0)
    # Two that lie near the same real vector then have about this cosine.
    likeness = float(np.clip(np.median(cosines.max(axis=1)), 0.0, 1.0))
    centred = vectors - vectors.mean(axis=0)
    noise = random.standard_normal((count, len(vectors)), dtype=np.float32) @ centred
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    parents = vectors[random.integers(len(vectors), size=count)]
    made = np.sqrt(likeness) * parents + np.sqrt(1 - likeness) * noise
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return np.ascontiguousarray(made, dtype=np.float32)


def _module_of(part: object) -> tuple[str, Any] | None:
    """Return the torch module that a generator or an embedder holds, and where."""
    import torch

    for name, value in getattr(part, "__dict__", {}).items():
        if isinstance(value, torch.nn.Module):
            return name, value
    return None


def model_size_mb(part: object) -> float:
    """Return how much memory the weights of a generator or an embedder take.

    Parameters
    ----------
    part : object
        Anything that holds a torch module as an attribute.

    Returns
    -------
    float
        In 10⁶ bytes; weights that are shared count once, and 0 means that there
        is no torch module.

    Examples
    --------
    >>> from rag_helpers.generator import ExtractiveGenerator
    >>> model_size_mb(ExtractiveGenerator())
    0.0
    """
    import torch

    held = _module_of(part)
    if held is None:
        return 0.0
    sizes: dict[int, int] = {}

    def visit(value: object) -> None:
        if isinstance(value, torch.Tensor):
            # Quantized weights are packed: they have no address, and are never shared.
            address = value.data_ptr() or id(value)
            sizes[address] = value.numel() * value.element_size()
        elif isinstance(value, (tuple, list)):
            for one in value:
                visit(one)

    state = held[1].state_dict()
    for value in state.values():
        visit(value)
    return sum(sizes.values()) / 1e6


def quantize_dynamic(part: T) -> T:
    """Return a copy whose linear layers compute in 8-bit integers.

    This is the quantization that PyTorch has had longest: weights are rounded
    to 8 bits once, with one scale a layer; activations are rounded anew for
    every input. Measure what it does to the answers before using it.

    Parameters
    ----------
    part : Generator or Embedder
        In float32, on the CPU; it holds a torch module as an attribute.

    Returns
    -------
    Generator or Embedder
        Of the same class; the original is unchanged.

    Raises
    ------
    InvalidInputError
        If there is no torch module, or it is not in float32.
    RagError
        If this build of PyTorch cannot compute in 8 bits on this processor.
    """
    import torch

    held = _module_of(part)
    if held is None:
        raise InvalidInputError(
            f"{type(part).__name__} holds no torch model, so there is nothing to quantize."
        )
    attribute, model = held
    if any(weight.dtype != torch.float32 for weight in model.parameters()):
        raise InvalidInputError("The model is not in float32; load it with dtype='float32' first.")
    with warnings.catch_warnings():
        # Deprecated in favour of torchao, and still what recipes name.
        warnings.simplefilter("ignore")
        try:
            small = torch.ao.quantization.quantize_dynamic(
                model.to("cpu"), {torch.nn.Linear}, dtype=torch.qint8
            )
        except RuntimeError as error:
            raise RagError(
                f"This PyTorch cannot quantize on this processor ({error}); use bfloat16 or "
                "float32 instead."
            ) from error
    other = copy.copy(part)
    setattr(other, attribute, small)
    return other
