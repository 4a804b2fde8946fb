"""Kinds of FAISS index, side by side: speed beside what they miss.

The module does not know what the vectors stand for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rag_helpers.errors import InvalidInputError, MissingExtraError
from rag_helpers.evaluation import Interval, bootstrap_interval
from rag_helpers.records import FloatArray

__all__ = ["IndexMeasurement", "build_kind", "measure_indexes", "move_to_gpus"]

# All queries over a small index take milliseconds, which any other program can double; over a
# large one, a single pass is long enough.
_PASSES = 5
_ENOUGH_S = 3.0


@dataclass(frozen=True, slots=True)
class IndexMeasurement:
    """How fast and how complete one kind of FAISS index is.

    Parameters
    ----------
    name : str
        Of the kind.
    recall : Interval
        Share of the exact ten nearest (or k) that it returns, from 0 to 1, with
        the 95 % bootstrap interval of the mean over queries.
    queries_per_s : float
        Questions a second, asked one at a time, in the fastest of up to five
        passes.
    build_s : float
        Seconds to train it and add the vectors.
    size_mb : float
        Size on disk in 10⁶ bytes.
    """

    name: str
    recall: Interval
    queries_per_s: float
    build_s: float
    size_mb: float


def measure_indexes(
    vectors: FloatArray,
    queries: FloatArray,
    kinds: Mapping[str, tuple[str, Mapping[str, float]]],
    *,
    k: int = 10,
    training: int | None = None,
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
        ``{"efSearch": 32}``. Neighbours of the same kind with the same parameters
        in other values are built once.
    k : int, default 10
        Neighbours to find.
    training : int, optional
        Most vectors that an index is trained on, drawn at random; all when left
        out.

    Returns
    -------
    list of IndexMeasurement
        In the order of the kinds; recall is against an exact search. As in
        ANN-Benchmarks (Aumüller, Bernhardsson and Faithfull, 2020) a vector counts
        as found when it is as near as the exact search's last, so that copies may
        stand for each other.

    Raises
    ------
    InvalidInputError
        If FAISS does not know a kind or a parameter, cannot train it on so few
        vectors, `k` is larger than n, or there is no query.

    Notes
    -----
    IVF: Jégou, Douze and Schmid (2011). HNSW: Malkov and Yashunin (2020). Beside
    the vectors one index is in memory at a time.

    Examples
    --------
    >>> points = np.eye(20, dtype=np.float32)
    >>> [str(row.recall) for row in measure_indexes(points, points, {"flat": ("Flat", {})})]
    ['1.000 [1.000, 1.000]']
    """
    import faiss

    if not 1 <= k <= len(vectors) or not len(queries):
        raise InvalidInputError(
            f"k is {k}, and there are {len(vectors)} vectors and {len(queries)} queries; ask for "
            f"1 to {len(vectors)}, with at least 1 query."
        )
    _, nearest = faiss.knn(queries, vectors, k)
    farthest = [_distances(vectors, *pair).max() for pair in zip(queries, nearest, strict=True)]
    rows: list[IndexMeasurement] = []
    index: Any = None
    built = ("", frozenset[str]())
    for name, (kind, parameters) in kinds.items():
        if built != (kind, frozenset(parameters)):
            index = None  # given back before the next one is built
            began = time.perf_counter()
            index = build_kind(vectors, kind, training=training)
            build_s, size_mb = time.perf_counter() - began, _size_mb(index)
            built = kind, frozenset(parameters)
        _set_parameters(index, kind, parameters)
        seconds, spent = float("inf"), 0.0
        for _ in range(_PASSES):
            began = time.perf_counter()
            found = [index.search(query[None], k)[1][0] for query in queries]
            passed = time.perf_counter() - began
            seconds, spent = min(seconds, passed), spent + passed
            if spent > _ENOUGH_S:
                break
        shares = [
            # Rounding aside: 1 in 100,000.
            float((_distances(vectors, query, numbers) <= limit * (1 + 1e-5) + 1e-9).sum() / k)
            for query, numbers, limit in zip(queries, found, farthest, strict=True)
        ]
        rows.append(
            IndexMeasurement(
                name=name,
                recall=bootstrap_interval(shares),
                queries_per_s=len(queries) / seconds,
                build_s=build_s,
                size_mb=size_mb,
            )
        )
    return rows


def build_kind(
    vectors: FloatArray,
    kind: str,
    parameters: Mapping[str, float] | None = None,
    *,
    training: int | None = None,
) -> Any:  # noqa: ANN401 (an untyped class)
    """Build an index of any kind that FAISS knows, for L2 distance.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, d)
        What it holds, numbered in their order.
    kind : str
        What FAISS calls it, such as ``"IVF16,SQ8"``.
    parameters : Mapping of str to float, optional
        Of its search, such as ``{"nprobe": 4}``.
    training : int, optional
        Most vectors that it is trained on, drawn at random; all when left out.

    Returns
    -------
    faiss.Index

    Raises
    ------
    InvalidInputError
        If FAISS does not know the kind or a parameter, or cannot train it on so
        few vectors.

    Examples
    --------
    >>> build_kind(np.eye(20, dtype=np.float32), "SQ8").ntotal
    20
    """
    import faiss

    sample = vectors
    if training is not None and training < len(vectors):
        drawn = np.random.default_rng(0).choice(len(vectors), training, replace=False)
        sample = vectors[np.sort(drawn)]
    try:
        index = faiss.index_factory(vectors.shape[1], kind, faiss.METRIC_L2)
        index.train(sample)
        index.add(vectors)
    except RuntimeError as error:
        raise _refused(kind, f"from {len(sample)} vectors") from error
    _set_parameters(index, kind, parameters or {})
    return index


def _set_parameters(index: Any, kind: str, parameters: Mapping[str, float]) -> None:  # noqa: ANN401
    import faiss

    try:
        for parameter, value in parameters.items():
            faiss.ParameterSpace().set_index_parameter(index, parameter, value)
    except RuntimeError as error:
        raise _refused(kind, f"with {dict(parameters)}") from error


def _refused(kind: str, circumstance: str) -> InvalidInputError:
    return InvalidInputError(
        f"FAISS cannot build {kind!r} {circumstance}; take a kind such as 'Flat', 'IVF16,Flat' "
        "with nprobe or 'HNSW32' with efSearch, and fewer lists than vectors."
    )


def _distances(vectors: FloatArray, query: FloatArray, numbers: Any) -> FloatArray:  # noqa: ANN401
    # FAISS writes -1 where it found fewer than k.
    return ((vectors[numbers[numbers >= 0]] - query) ** 2).sum(axis=1)


def _size_mb(index: Any) -> float:  # noqa: ANN401
    """Return the size on disk, without holding what would be written."""
    import faiss

    sizes: list[int] = []
    # FAISS' stubs lack the class.
    writer = faiss.PyCallbackIOWriter(  # type: ignore[attr-defined]
        lambda part: sizes.append(len(part))
    )
    faiss.write_index(index, writer)
    return sum(sizes) / 1e6


def move_to_gpus(index: Any) -> Any:  # noqa: ANN401
    """Copy an index to all GPUs of this machine, for FAISS to search there.

    The course's own machines have no GPU: what happens beyond the two refusals
    is FAISS' word, not measured here.

    Parameters
    ----------
    index : faiss.Index
        Flat or an inverted file; FAISS has no HNSW on GPUs.

    Returns
    -------
    faiss.Index

    Raises
    ------
    MissingExtraError
        If the FAISS that is installed was built without GPUs.
    InvalidInputError
        If there is no GPU, or FAISS cannot move this kind of index.

    Examples
    --------
    >>> import faiss
    >>> try:
    ...     moved = move_to_gpus(faiss.IndexFlatL2(8))
    ... except (MissingExtraError, InvalidInputError) as error:
    ...     print("not here")
    not here
    """
    import faiss

    if not hasattr(faiss, "StandardGpuResources"):
        raise MissingExtraError(
            f"FAISS {faiss.__version__} is here in its build without GPUs: keep the index where "
            "it is, or install faiss-gpu instead of faiss-cpu on a machine with a CUDA GPU."
        )
    if not faiss.get_num_gpus():
        raise InvalidInputError(
            "FAISS finds 0 GPUs: keep the index where it is, or check the CUDA driver and "
            "$CUDA_VISIBLE_DEVICES."
        )
    try:
        return faiss.index_cpu_to_all_gpus(index)
    except RuntimeError as error:
        raise InvalidInputError(
            f"FAISS cannot move a {type(index).__name__} to a GPU ({str(error).splitlines()[0]}); "
            "take 'Flat' or an inverted file such as 'IVF16,Flat'."
        ) from error
