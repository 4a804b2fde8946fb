"""Which kind of FAISS index to take, read off a table of measurements.

The module does not measure: `measure_indexes` does, and
``rag_helpers/data/results/index_study.py`` has written down what it found.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from rag_helpers.errors import InvalidInputError
from rag_helpers.evaluation import Interval

__all__ = [
    "IndexRecommendation",
    "StudyGroup",
    "StudyRow",
    "choose_lists",
    "estimate_size_mb",
    "load_index_study",
    "recommend_index",
]

STUDY = Path(__file__).parents[1] / "data" / "results" / "indexes.json"
# FAISS warns below so many training vectors a list, and below so many for a product quantizer.
_PER_LIST = 39
_FOR_CODES = _PER_LIST * 256
# Beyond so many times the largest set that was measured, nothing is promised.
_REACH = 10
_KIND = re.compile(
    r"(?:IVF(?P<lists>\d+),)?(?:HNSW(?P<links>\d+),)?(?:Flat|SQ8|PQ(?P<parts>\d+)(?:np)?)"
)


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One kind of index with one setting, as measured.

    Parameters
    ----------
    kind : str
        What FAISS calls it.
    parameters : Mapping of str to int
        Of its search.
    recall : Interval
        Share of the exact ten nearest that it found, mean over the queries.
    queries_per_s : float
        Asked one at a time.
    size_mb : float
        Of the index on disk, in 10⁶ bytes; in memory it takes about as much.
    build_s : float
        Seconds to train it and add the vectors.
    """

    kind: str
    parameters: Mapping[str, int]
    recall: Interval
    queries_per_s: float
    size_mb: float
    build_s: float

    @property
    def family(self) -> str:
        """The kind without what depends on the number of vectors: ``"IVF,SQ8"``."""
        return re.sub(r"IVF\d+", "IVF", self.kind)


@dataclass(frozen=True, slots=True)
class StudyGroup:
    """All kinds of index over the same vectors.

    Parameters
    ----------
    vectors : str
        Where they come from.
    synthetic : bool
        Whether they were made by `imitate_vectors`.
    n, dimension : int
        How many, and how long each is.
    queries : int
        How many questions each row rests on.
    rows : tuple of StudyRow
        The first one is flat.
    """

    vectors: str
    synthetic: bool
    n: int
    dimension: int
    queries: int
    rows: tuple[StudyRow, ...]


@dataclass(frozen=True, slots=True)
class IndexRecommendation:
    """A kind of index, and why.

    Parameters
    ----------
    kind : str
        What FAISS calls it: an argument of `build_kind`.
    parameters : Mapping of str to int
        Of its search.
    memory_mb : float
        About what it takes, in 10⁶ bytes.
    recall : Interval
        As measured; the worse one between two measured sizes.
    queries_per_s : float
        Estimated from the same row.
    reasons : tuple of str
        Sentences.
    """

    kind: str
    parameters: Mapping[str, int]
    memory_mb: float
    recall: Interval
    queries_per_s: float
    reasons: tuple[str, ...]


_Demand: TypeAlias = Callable[[IndexRecommendation], bool]


def choose_lists(count: int) -> int:
    """Return how many lists an inverted file of so many vectors gets.

    Parameters
    ----------
    count : int
        Of vectors, at least 1.

    Returns
    -------
    int
        The power of two nearest to 2√n, which balances the centres compared with
        the vectors compared; halved until 39 vectors come to a list, the fewest that
        FAISS trains on without a warning.

    Examples
    --------
    >>> [choose_lists(count) for count in (2_666, 10_000, 1_000_000)]
    [64, 256, 2048]
    """
    lists = 2 ** round(math.log2(2 * math.sqrt(count)))
    while lists > 1 and count < _PER_LIST * lists:
        lists //= 2
    return lists


def estimate_size_mb(kind: str, count: int, dimension: int) -> float:
    """Estimate the size of an index from what FAISS stores for each vector.

    Parameters
    ----------
    kind : str
        ``Flat``, ``SQ8``, or ``PQ`` with a number of bytes (and ``np``, which spares
        half a minute of training for searches by Hamming distance), alone or after
        ``IVF`` or ``HNSW`` with a number and a comma.
    count, dimension : int
        Of the vectors.

    Returns
    -------
    float
        In 10⁶ bytes.

    Raises
    ------
    InvalidInputError
        If the kind is none of these.

    Notes
    -----
    A vector takes 4 bytes a number flat, 1 in ``SQ8``, and m in all in ``PQm``; in an
    inverted file also a number of 8, beside one centre a list. In a graph of M links
    it has 2 M neighbours of 4 bytes at the ground and M more on each level above, of
    which there are 1/(M-1) in the mean (Malkov and Yashunin, 2020), and 12 bytes that
    tell where they stand.

    Examples
    --------
    >>> estimate_size_mb("IVF1024,SQ8", 100_000, 384)
    40.784128
    """
    parts = _KIND.fullmatch(kind)
    if parts is None:
        raise InvalidInputError(
            f"The size of {kind!r} is not known; give 'Flat', 'SQ8' or 'PQ48', alone or after "
            "'IVF256,' or 'HNSW32,'."
        )
    codes, fixed = 4.0 * dimension, 0.0
    if kind.endswith("SQ8"):
        codes, fixed = float(dimension), 8.0 * dimension  # lowest value and width of each number
    elif parts["parts"]:
        codes, fixed = float(parts["parts"]), 4.0 * dimension * 256
    if parts["lists"]:
        codes += 8
        fixed += int(parts["lists"]) * (4.0 * dimension + 8)
    if parts["links"]:
        links = int(parts["links"])
        codes += 4 * (2 * links + links / (links - 1)) + 12
    return (count * codes + fixed) / 1e6


def load_index_study(path: str | Path = STUDY) -> tuple[StudyGroup, ...]:
    """Read the committed measurements of FAISS' kinds of index.

    Parameters
    ----------
    path : str or Path, optional
        What ``rag_helpers/data/results/index_study.py`` wrote.

    Returns
    -------
    tuple of StudyGroup
        By number of vectors, fewest first.

    Raises
    ------
    InvalidInputError
        If there is no such file, or something else is in it.

    Examples
    --------
    >>> [group.n for group in load_index_study() if group.synthetic]
    [10000, 100000, 1000000]
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        groups = [
            StudyGroup(
                **{
                    **group,
                    "rows": tuple(
                        StudyRow(**{**row, "recall": Interval(**row["recall"])})
                        for row in group["rows"]
                    ),
                }
            )
            for group in found["groups"]
        ]
        return tuple(sorted(groups, key=lambda group: group.n))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(
            f"{str(path)!r} holds no study of indexes ({type(error).__name__}: {error}); let "
            "rag_helpers/data/results/index_study.py write one."
        ) from error


def recommend_index(
    count: int,
    *,
    dimension: int = 384,
    memory_mb: float | None = None,
    recall: float = 0.95,
    device: str = "cpu",
    max_ms: float = 5.0,
) -> IndexRecommendation:
    """Recommend the most complete kind of index that is small and fast enough.

    Of the settings in the committed study those stay that fit into the memory,
    whose interval lies above the recall that is asked for, and that answer in time.
    Among them the one with the highest recall is taken, so that more memory, or
    more time, never makes it worse; of equals the smallest. Between two measured
    sizes the worse recall counts, and the time at the larger one.

    Parameters
    ----------
    count : int
        Of vectors, up to ten times the most that were measured.
    dimension : int, default 384
        Of the vectors.
    memory_mb : float, optional
        What the index may take, in 10⁶ bytes; without limit when left out.
    recall : float, default 0.95
        Least share of the exact ten nearest to be found, from 0 to 1: the lower end
        of the measured 95 % interval has to reach it.
    device : {"cpu", "cuda"}
        On GPUs FAISS has flat indexes and inverted files alone.
    max_ms : float, default 5.0
        Most milliseconds a search may take, on a machine like the study's.

    Returns
    -------
    IndexRecommendation

    Raises
    ------
    InvalidInputError
        If a value is outside its range, or nothing satisfies all of them; the
        message then says what would.

    Examples
    --------
    >>> recommend_index(2_000).kind
    'Flat'
    >>> recommend_index(1_000_000, memory_mb=500).kind
    'IVF2048,SQ8'
    """
    groups = load_index_study()
    _check(count, dimension, memory_mb, recall, device, max_ms, groups[-1].n)
    near = _nearest_sizes(groups, count)
    group = near[-1]
    options = [
        option
        for row in group.rows
        if (option := _carry_over(row, near, count, dimension, device)) is not None
    ]
    limit_mb = math.inf if memory_mb is None else memory_mb
    demands: tuple[_Demand, ...] = (
        lambda option: option.memory_mb <= limit_mb,
        lambda option: option.recall.low >= recall,
        lambda option: 1000 / option.queries_per_s <= max_ms,
    )
    fitting = [option for option in options if all(demand(option) for demand in demands)]
    if not fitting:
        memory = "" if memory_mb is None else f"fits into {memory_mb:g} MB, "
        raise InvalidInputError(
            f"No kind of index over {count:,} vectors of dimension {dimension} {memory}reaches "
            f"recall@10 {recall:g} and answers within {max_ms:g} ms: "
            f"{_cure(options, demands)}."
        )
    best = min(fitting, key=lambda option: (-option.recall.value, option.memory_mb))
    flat_mb = estimate_size_mb("Flat", count, dimension)
    reasons = [
        f"{len(fitting)} of {len(options)} measured settings satisfy what was asked; this one "
        "finds most.",
        *best.reasons,
        f"{count:,} vectors take about {best.memory_mb:,.1f} MB so, and {flat_mb:,.1f} MB flat.",
    ]
    if best.kind == "Flat":
        reasons.append("Flat is exact, and needs no training and no parameter.")
    else:
        reasons.append("Its recall depends on your vectors: measure it with measure_indexes.")
    if count > group.n:
        reasons.append(f"No more than {group.n:,} vectors were measured; recall may be lower.")
    if dimension != group.dimension:
        reasons.append(f"Only dimension {group.dimension} was measured; recall may differ.")
    if device == "cuda":
        reasons.append("The speed is a processor's; no GPU was measured.")
    return replace(best, reasons=tuple(reasons))


def _nearest_sizes(groups: Sequence[StudyGroup], count: int) -> list[StudyGroup]:
    """Return the measured sizes just below and just above, or the one that there is."""
    below = [group for group in groups if group.n < count][-1:]
    above = [group for group in groups if group.n >= count][:1]
    return above if above and above[0].n == count else below + above


def _check(
    count: int,
    dimension: int,
    memory_mb: float | None,
    recall: float,
    device: str,
    max_ms: float,
    largest: int,
) -> None:
    if not 1 <= count <= _REACH * largest:
        raise InvalidInputError(
            f"count is {count}, but 1 to {_REACH * largest:,} can be told from what was measured; "
            "beyond that measure with measure_indexes, or divide the vectors among machines."
        )
    if not 1 <= dimension <= 65_536:
        raise InvalidInputError(f"dimension is {dimension}, but must be from 1 to 65536.")
    if not 0 <= recall <= 1:
        raise InvalidInputError(f"recall is {recall}, but it is a share from 0 to 1.")
    for name, value in (("memory_mb", memory_mb), ("max_ms", max_ms)):
        if value is not None and not value > 0:
            raise InvalidInputError(f"{name} is {value}, but must be above 0; give more.")
    if device not in ("cpu", "cuda"):
        raise InvalidInputError(f"device is {device!r}, but FAISS runs on 'cpu' or 'cuda'.")


def _carry_over(
    row: StudyRow, near: Sequence[StudyGroup], count: int, dimension: int, device: str
) -> IndexRecommendation | None:
    """Carry a row of the last group over to another number of vectors; None where it cannot be."""
    kind, group = row.kind, near[-1]
    if "IVF" in kind:
        lists = choose_lists(count)
        if row.parameters["nprobe"] > lists:
            return None
        kind = re.sub(r"IVF\d+", f"IVF{lists}", kind)
    elif device == "cuda" and kind != "Flat":
        return None
    if parts := re.search(r"PQ(\d+)", kind):
        scaled, rest = divmod(int(parts[1]) * dimension, group.dimension)
        if rest or dimension % scaled or count < _FOR_CODES:
            return None
        kind = kind.replace(parts[0], f"PQ{scaled}")
    work = _compared(kind, row.parameters, count) / _compared(row.kind, row.parameters, group.n)
    measured = [
        (size, same)
        for size in near
        for same in size.rows
        if (same.family, same.parameters) == (row.family, row.parameters)
    ]
    return IndexRecommendation(
        kind=kind,
        parameters=dict(row.parameters),
        memory_mb=estimate_size_mb(kind, count, dimension),
        recall=min((same.recall for _, same in measured), key=lambda recall: recall.value),
        queries_per_s=row.queries_per_s / (work * dimension / group.dimension),
        reasons=tuple(_reason(size, same) for size, same in measured),
    )


def _reason(group: StudyGroup, row: StudyRow) -> str:
    origin = "synthetic" if group.synthetic else "real"
    return (
        f"At {group.n:,} {origin} vectors it had recall@10 {row.recall} (n = {group.queries} "
        f"queries) and answered {row.queries_per_s:,.0f} questions/s, flat "
        f"{group.rows[0].queries_per_s:,.0f}; it was built in {row.build_s:,.0f} s."
    )


def _compared(kind: str, parameters: Mapping[str, int], count: int) -> float:
    """Return about how many vectors a question is compared with, up to a factor."""
    if lists := re.match(r"IVF(\d+)", kind):
        return int(lists[1]) + parameters["nprobe"] * count / int(lists[1])
    # A walk through a graph grows with the logarithm, a scan with the number itself.
    return math.log(count + 1) if kind.startswith("HNSW") else count


def _cure(options: Sequence[IndexRecommendation], demands: Sequence[_Demand]) -> str:
    """Say which one of the demands to lower, and how far."""
    cures = []
    fits, found, fast = demands
    if near := [o for o in options if found(o) and fast(o)]:
        cures.append(f"allow {math.ceil(min(o.memory_mb for o in near)):,} MB")
    if near := [o for o in options if fits(o) and fast(o)]:
        # Rounded down, so that who does as told is let in.
        best = math.floor(max(o.recall.low for o in near) * 1000) / 1000
        cures.append(f"be content with a recall of {best:g}")
    if near := [o for o in options if fits(o) and found(o)]:
        quickest = math.ceil(min(1000 / o.queries_per_s for o in near) * 10) / 10
        cures.append(f"allow {quickest:g} ms")
    if not cures:
        flat = options[0]
        cures.append(
            f"lower two of them, or take 'Flat', which finds all in {math.ceil(flat.memory_mb):,} "
            f"MB and {math.ceil(1000 / flat.queries_per_s):,} ms"
        )
    return ", or ".join(cures)
