"""A capacity model on paper: what a corpus of a given size takes, and what gives out first.

It multiplies measured rates; it measures nothing, knows no machine and no price
list. What it cannot know is named as an assumption and has no default: prices,
and what a node has.

Sizes follow the papers: inverted lists and product quantization (PQ) Jégou, Douze
and Schmid (2011); HNSW Malkov and Yashunin (2020); DiskANN Subramanya et al.
(2019); Milvus, which shards and replicates these, Wang et al. (2021).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rag_helpers.errors import InvalidInputError

__all__ = [
    "INDEX_KINDS",
    "Capacity",
    "IndexKind",
    "Node",
    "Prices",
    "Rates",
    "load_measured",
    "load_rates",
    "plan_capacity",
    "vector_bytes",
]

IndexKind: TypeAlias = Literal["flat", "hnsw", "ivf_pq", "diskann"]
INDEX_KINDS: tuple[IndexKind, ...] = ("flat", "hnsw", "ivf_pq", "diskann")
RESULTS = Path(__file__).parents[1] / "data" / "results" / "scaling.json"

_LINKS = 32  # M of HNSW: links per vector on each upper level, twice as many on the lowest
_CODE_BYTES = 48  # of a PQ code
_GRAPH_DEGREE = 64  # R of DiskANN
_SECTOR_BYTES = 4096
_ID_BYTES = 8
_HOURS_A_MONTH = 730.0


@dataclass(frozen=True, slots=True)
class Rates:
    """What was measured, on one machine.

    Parameters
    ----------
    chunks_per_s_core : float
        Chunks embedded a second by one core, with all their vectors.
    vectors_per_chunk : float
        Vectors that a chunk has on average.
    dimension : int
        Numbers per vector.
    chunk_bytes : float
        Bytes on disk per chunk beside its vectors: text, words, metadata.
    scan_bytes_per_s_core : float
        Bytes of vectors that a flat search compares a second on one core.
    rows_per_s : float
        Vectors that one writer hands to the index a second.
    """

    chunks_per_s_core: float
    vectors_per_chunk: float
    dimension: int
    chunk_bytes: float
    scan_bytes_per_s_core: float
    rows_per_s: float

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise InvalidInputError(f"{name} is {value}, but a rate is a number above 0.")


@dataclass(frozen=True, slots=True)
class Node:
    """An assumption: what one machine of the cluster has.

    Parameters
    ----------
    cores : int
    memory_gb : float
        In 10⁹ bytes, of which three quarters are planned for vectors.
    disk_gb : float
    """

    cores: int
    memory_gb: float
    disk_gb: float


@dataclass(frozen=True, slots=True)
class Prices:
    """An assumption: what things cost, in any one currency.

    Parameters
    ----------
    node_hour : float
        One node for an hour.
    disk_gb_month : float
        10⁹ bytes on disk for a month.
    """

    node_hour: float
    disk_gb_month: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a corpus takes.

    Parameters
    ----------
    chunks, vectors : int
    kind : str
        Of the index.
    memory_gb, disk_gb : float
        For one copy, in 10⁹ bytes.
    embed_core_hours : float
        To embed the corpus once.
    ingest_hours : float
        With all cores at work and one writer per node, whichever is slower.
    scan_ms : float or None
        One flat search on all cores of the nodes that hold one copy; None for kinds
        that look at a part of the vectors: measure those.
    nodes : int
        That hold one copy, by memory and disk.
    replicas : int
        Copies.
    cost_once, cost_month : float or None
        Embedding once, and keeping it for a month; None without prices.
    bottleneck : str
        What gives out first, and what changes it.
    """

    chunks: int
    vectors: int
    kind: str
    memory_gb: float
    disk_gb: float
    embed_core_hours: float
    ingest_hours: float
    scan_ms: float | None
    nodes: int
    replicas: int
    cost_once: float | None
    cost_month: float | None
    bottleneck: str


def vector_bytes(kind: IndexKind, dimension: int) -> tuple[float, float]:
    """Return the bytes that one vector takes in memory and on disk.

    Parameters
    ----------
    kind : {"flat", "hnsw", "ivf_pq", "diskann"}
        HNSW with M = 32, PQ codes of 48 bytes, DiskANN with R = 64. PQ keeps codes
        alone; ``"diskann"`` keeps codes in memory and vectors with their links on
        disk, in sectors of 4,096 bytes.
    dimension : int
        Numbers of 4 bytes per vector.

    Returns
    -------
    tuple of (float, float)

    Raises
    ------
    InvalidInputError
        If the kind is unknown or the dimension below 1.

    Examples
    --------
    >>> vector_bytes("flat", 384)
    (1544.0, 1544.0)
    >>> [round(size) for size in vector_bytes("diskann", 384)]
    [56, 2048]
    """
    if dimension < 1:
        raise InvalidInputError(f"dimension is {dimension}: give at least 1.")
    raw = 4.0 * dimension
    if kind == "flat":
        return raw + _ID_BYTES, raw + _ID_BYTES
    if kind == "hnsw":
        # Every M-th vector reaches one level higher: 1/M + 1/M² + … upper levels each. Beside the
        # links: an offset of 8 bytes and a level of 4.
        links = 4 * (2 * _LINKS + _LINKS / (_LINKS - 1)) + 12
        return raw + links + _ID_BYTES, raw + links + _ID_BYTES
    code = float(_CODE_BYTES + _ID_BYTES)
    if kind == "ivf_pq":
        return code, code
    if kind == "diskann":
        record = raw + 4 + 4 * _GRAPH_DEGREE
        per_sector = max(1, int(_SECTOR_BYTES // record))
        return code, _SECTOR_BYTES * max(1.0, record / _SECTOR_BYTES) / per_sector
    raise InvalidInputError(f"There is no index kind {kind!r}: choose {', '.join(INDEX_KINDS)}.")


def plan_capacity(
    chunks: int,
    rates: Rates,
    node: Node,
    *,
    kind: IndexKind = "flat",
    replicas: int = 1,
    prices: Prices | None = None,
    ingest_days: float = 1.0,
    scan_limit_ms: float = 200.0,
) -> Capacity:
    """Work out what a corpus takes.

    Parameters
    ----------
    chunks : int
        Of the corpus.
    rates : Rates
        What was measured.
    node : Node
        What one machine has.
    kind : {"flat", "hnsw", "ivf_pq", "diskann"}
        Of the index.
    replicas : int
        Copies of the index, for more questions and to survive a loss.
    prices : Prices, optional
        Without them costs are None.
    ingest_days : float
        Days that embedding the corpus may take.
    scan_limit_ms : float
        Milliseconds that one search may take.

    Returns
    -------
    Capacity

    Raises
    ------
    InvalidInputError
        If a number is not above 0 or the kind is unknown.

    Examples
    --------
    >>> rates = Rates(10, 1, 384, 1000, 5e9, 5000)
    >>> plan = plan_capacity(1_000_000, rates, Node(8, 32, 500))
    >>> plan.memory_gb, plan.nodes, round(plan.embed_core_hours, 1)
    (1.544, 1, 27.8)
    >>> plan_capacity(100_000_000, rates, Node(8, 32, 500)).nodes
    7
    """
    numbers = (chunks, node.cores, node.memory_gb, node.disk_gb, replicas, ingest_days)
    if min(*numbers, scan_limit_ms) <= 0:
        raise InvalidInputError(
            f"chunks, cores, memory, disk, replicas, days and milliseconds are {numbers} and "
            f"{scan_limit_ms}: all must be above 0."
        )
    vectors = round(chunks * rates.vectors_per_chunk)
    in_memory, on_disk = vector_bytes(kind, rates.dimension)
    memory = vectors * in_memory / 1e9
    disk = (vectors * on_disk + chunks * rates.chunk_bytes) / 1e9
    nodes = max(1, math.ceil(memory / (0.75 * node.memory_gb)), math.ceil(disk / node.disk_gb))
    core_hours = chunks / rates.chunks_per_s_core / 3600
    cores = nodes * node.cores
    ingest_hours = max(core_hours / cores, vectors / (rates.rows_per_s * nodes) / 3600)
    scan_ms = None
    if kind == "flat":
        scan_ms = vectors * 4 * rates.dimension / (rates.scan_bytes_per_s_core * cores) * 1000
    once = month = None
    if prices is not None:
        once = core_hours / node.cores * prices.node_hour
        month = replicas * (nodes * prices.node_hour * _HOURS_A_MONTH + disk * prices.disk_gb_month)
    needs = {
        "embedding: more cores, or a GPU, for as long as it takes": core_hours
        / cores
        / (24 * ingest_days),
        "writing: load Parquet shards in bulk instead of row by row": vectors
        / (rates.rows_per_s * nodes)
        / 3600
        / (24 * ingest_days),
        "memory: more shards, or codes in memory and vectors on disk (PQ, DiskANN)": memory
        / (0.75 * node.memory_gb),
        "disk: more shards": disk / node.disk_gb,
        "searching: look at a part of the vectors (HNSW, IVF)": (scan_ms or 0.0) / scan_limit_ms,
    }
    worst = max(needs, key=lambda what: needs[what])
    held = "" if needs[worst] > 1 else f" (not yet: {needs[worst]:.0%} of what there is)"
    return Capacity(
        chunks, vectors, kind, memory, disk, core_hours, ingest_hours, scan_ms, nodes, replicas,
        once, month, worst + held,
    )  # fmt: skip


def load_measured(file: str | Path = RESULTS) -> dict[str, Any]:
    """Return what ``python -m rag_helpers scale-demo`` measured.

    Raises
    ------
    InvalidInputError
        If there is no such file yet.
    """
    try:
        found: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(
            f"{file} cannot be read ({error.strerror}): run python -m rag_helpers scale-demo."
        ) from error
    return found


def load_rates(file: str | Path = RESULTS) -> Rates:
    """Return the rates that the demonstration measured.

    Examples
    --------
    >>> load_rates().dimension
    384
    """
    return Rates(**load_measured(file)["rates"])
