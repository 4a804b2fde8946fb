"""Variants of a generator or an embedder, side by side: times beside agreement and quality.

The module does not know what makes a variant faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from rag_helpers.errors import InvalidInputError
from rag_helpers.evaluation import Interval, bootstrap_interval, exact_match, token_f1
from rag_helpers.optimization.quantizing import model_size_mb
from rag_helpers.records import Embedder, FloatArray, Generator, Prompt

__all__ = ["EmbedderMeasurement", "GeneratorMeasurement", "measure_embedders", "measure_generators"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GeneratorMeasurement:
    """How fast and how good one variant of a generator is.

    Parameters
    ----------
    name : str
        Of the variant.
    size_mb : float
        Memory of its weights in 10⁶ bytes; 0 when they are out of torch's sight.
    load_s : float
        Seconds to load it.
    tokens_per_s : float
        New tokens a second, reading the prompt included.
    p50_ms, p95_ms : float
        Median and 95th percentile of milliseconds a prompt; where several run at
        once, their time divided by their number.
    exact_match : Interval
        Share of answers that are a known one, but for case, articles and punctuation.
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
    exact_match: Interval
    f1: Interval
    identical: Interval
    texts: tuple[str, ...]


def measure_generators(
    variants: Mapping[str, Callable[[], Generator]],
    prompts: Sequence[Prompt],
    gold: Sequence[Sequence[str]],
    *,
    at_once: int = 1,
) -> list[GeneratorMeasurement]:
    """Run every variant on the same prompts.

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
    at_once : int, default 1
        Prompts given to a generator together.

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
    if at_once < 1:
        raise InvalidInputError(f"at_once is {at_once}: give at least 1 prompt at a time.")
    _check_variants(variants)
    rows: list[GeneratorMeasurement] = []
    for name, load in variants.items():
        reference = rows[0].texts if rows else None
        rows.append(_measure_generator(name, load, prompts, gold, reference, at_once))
    return rows


def _measure_generator(
    name: str,
    load: Callable[[], Generator],
    prompts: Sequence[Prompt],
    gold: Sequence[Sequence[str]],
    reference: Sequence[str] | None,
    at_once: int,
) -> GeneratorMeasurement:
    # A function of its own, so that its generator is gone when the next one is loaded.
    generator, load_s = _load(load)
    generator.generate(prompts[:1])
    times_ms, generations = [], []
    for start in range(0, len(prompts), at_once):
        batch = prompts[start : start + at_once]
        began = time.perf_counter()
        generations += generator.generate(batch)
        times_ms += [(time.perf_counter() - began) * 1000 / len(batch)] * len(batch)
    texts = tuple(generation.text for generation in generations)
    p50, p95 = np.percentile(times_ms, [50, 95])
    answered = list(zip(texts, gold, strict=True))
    same = [float(a == b) for a, b in zip(texts, reference or texts, strict=True)]
    return GeneratorMeasurement(
        name=name,
        size_mb=model_size_mb(generator),
        load_s=load_s,
        tokens_per_s=sum(g.tokens for g in generations) / sum(times_ms) * 1000,
        p50_ms=float(p50),
        p95_ms=float(p95),
        exact_match=bootstrap_interval([exact_match(*one) for one in answered]),
        f1=bootstrap_interval([token_f1(*one) for one in answered]),
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
