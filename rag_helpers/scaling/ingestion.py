"""Documents become chunks, vectors, shards and rows of Milvus, on as many nodes as there are.

Ray Data streams the parts of a source through two stages: tasks that read, clean
and cut; and a pool of actors, each with its own copy of the encoder, that embed
and write a shard. This process takes the shards as they come, writes them to
Milvus and notes them as done. Whatever is killed, the same call completes the
work: what has a note is passed over, and what is done twice has the same name.

The module does not know where documents come from or how vectors are made.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rag_helpers.chunking import split_by_structure
from rag_helpers.errors import IndexIntegrityError, InvalidInputError, RagError, ScalingError
from rag_helpers.index.lines import from_lines, to_lines
from rag_helpers.records import Chunk, Document, Embedder
from rag_helpers.retriever import embed_chunks, embed_windows
from rag_helpers.scaling.engines import import_part, import_ray
from rag_helpers.scaling.milvus import MilvusIndex
from rag_helpers.scaling.shards import ShardFolder, pack_shard
from rag_helpers.scaling.sources import Part, Source

__all__ = ["IngestReport", "Progress", "embed_part", "ingest"]

Splitter = Callable[[Sequence[Document]], list[Chunk]]


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What one call of `ingest` did.

    Parameters
    ----------
    parts : int
        Parts of the source.
    passed_over : int
        Parts that an earlier call had finished.
    removed : int
        Shards of parts that the source no longer has.
    chunks, vectors : int
        Written by this call.
    seconds : float
        That this call took.
    """

    parts: int
    passed_over: int
    removed: int
    chunks: int
    vectors: int
    seconds: float


Progress = Callable[[int, int], object]
"""Called with how many parts of how many are done."""


def ingest(
    source: Source,
    folder: str | Path,
    index: MilvusIndex,
    load_embedder: Callable[[], Embedder],
    *,
    split: Splitter = split_by_structure,
    window_words: int | None = 40,
    actors: int = 2,
    cpus_per_actor: float = 1,
    progress: Progress | None = None,
) -> IngestReport:
    """Bring the shards in a folder and an index into step with a source.

    Call it again after any failure: nothing is lost, and nothing is there twice.

    Parameters
    ----------
    source : Source
        The documents.
    folder : str or Path
        Where the shards go: one folder for one source and one index, on a disk that
        every node reaches by the same path.
    index : MilvusIndex
        What the chunks are written to. It names the model.
    load_embedder : callable
        Returns the passages' embedder; called once in each actor. Its ``name`` and
        ``dimension`` must be those of the index.
    split : callable
        Cuts documents into chunks; its name is part of the settings.
    window_words : int, optional
        As for `rag_helpers.pipeline.build_index`: windows of so many words are
        embedded beside each chunk as a whole. None embeds chunks as a whole alone.
    actors : int
        Encoders at work at once.
    cpus_per_actor : float
        What Ray sets aside for each. A cluster needs one CPU more than all actors
        take: with none left to read documents, Ray waits for ever.
    progress : callable, optional
        Called after each part that is done.

    Returns
    -------
    IngestReport

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    InvalidInputError
        If the folder holds shards of other settings, or the cluster is too small.
    IndexIntegrityError
        If the embedder is not the index's, or a shard was changed.
    CorpusError
        If a document cannot be read; the parts that were finished stay.
    ScalingError
        If the cluster or Milvus fails; the parts that were finished stay.
    """
    began = time.perf_counter()
    ray = import_ray()
    _check_room(ray, actors, cpus_per_actor)
    settings = {
        "model": index.model,
        "dimension": index.dimension,
        "split": _name_of(split),
        "window_words": window_words,
        "format": 1,
    }
    shards = ShardFolder(folder, settings)
    parts = {shards.name_of(part.digest): part for part in source.parts()}
    done = shards.done()
    missing = {name: part for name, part in parts.items() if name not in done}
    chunks = vectors = 0
    rows = _stream(
        ray,
        missing,
        partial(_cut, source, split),
        _Encoder,
        (folder, settings, load_embedder),
        actors,
        cpus_per_actor,
    )
    with contextlib.closing(rows):
        for number, row in enumerate(rows, start=len(parts) - len(missing) + 1):
            facts = {name: row[name] for name in ("part", "bytes", "sha256", "chunks", "vectors")}
            shard = shards.read(row["name"], facts)
            index.add(shard.chunks, shard.vectors, counts=shard.counts)
            shards.note(row["name"], facts)
            chunks, vectors = chunks + len(shard.chunks), vectors + len(shard.vectors)
            if progress is not None:
                progress(number, len(parts))
    removed = _retire(shards, index, set(done) - set(parts))
    if chunks or removed:
        index.flush()
    return IngestReport(
        len(parts),
        len(parts) - len(missing),
        removed,
        chunks,
        vectors,
        time.perf_counter() - began,
    )


def embed_part(
    chunks: Sequence[Chunk], embedder: Embedder, window_words: int | None
) -> tuple[Any, list[int]]:
    """Return the vectors of chunks and how many each has, as `build_index` makes them.

    Parameters
    ----------
    chunks : sequence of Chunk
    embedder : Embedder
    window_words : int or None

    Returns
    -------
    tuple of (ndarray of float32, list of int)
    """
    if window_words is None:
        return embed_chunks(chunks, embedder, with_heading=True), [1] * len(chunks)
    return embed_windows(chunks, embedder, max_words=window_words)


def _stream(
    ray: Any,  # noqa: ANN401 (an untyped library)
    missing: dict[str, Part],
    cut: Callable[[dict[str, Any]], dict[str, Any]],
    encoder: type[_Encoder],
    given: tuple[Any, ...],
    actors: int,
    cpus: float,
) -> Generator[dict[str, Any], None, None]:
    """Yield a row for each shard as it is written, in any order."""
    if not missing:
        return
    data = import_part("data")
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.verbose_progress = False
    context.raise_original_map_exception = True  # not one of Ray's that only quotes it
    items = [
        {"name": name, "part": part.name, "digest": part.digest, "items": list(part.items)}
        for name, part in missing.items()
    ]
    rows = (
        # A block per part: what is lost with a node is one part of each stage.
        data.from_items(items, override_num_blocks=len(items))
        .map(cut, num_cpus=1)
        .map(
            encoder,
            fn_constructor_args=given,
            compute=data.ActorPoolStrategy(size=min(actors, len(items))),
            num_cpus=cpus,
        )
        .iter_rows()
    )
    try:
        yield from rows
    except ray.exceptions.RayError as error:
        raise _own_error(error) from error


def _own_error(error: BaseException) -> RagError:
    """Return the course's own error that ended a task, or one about the cluster."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        if isinstance(cause, RagError):
            # Ray makes a class of its own from the error's; its text begins with the whole trace.
            own = getattr(cause, "cause", None)
            return own if isinstance(own, RagError) else cause
        seen.append(cause)
        cause = getattr(cause, "cause", None) or cause.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return ScalingError(
        f"The cluster failed ({type(error).__name__}: {lines[-1][:300]}): see that its nodes live, "
        "then do the same again; what is finished stays."
    )


def _cut(source: Source, split: Splitter, row: dict[str, Any]) -> dict[str, Any]:
    """Read, clean and cut one part; runs on any node."""
    part = Part(row["part"], row["digest"], tuple(row["items"]))
    chunks = split(source.read(part))
    return {
        "name": row["name"],
        "part": part.name,
        "lines": to_lines(chunks, [1] * len(chunks)),
    }


class _Encoder:
    """An actor: an encoder, and the folder that it writes to."""

    def __init__(
        self,
        folder: str | Path,
        settings: dict[str, Any],
        load_embedder: Callable[[], Any],
    ) -> None:
        self.shards = ShardFolder(folder, settings)
        self.fault: Exception | None = None
        try:
            self.embedder = load_embedder()
            for what, held in (("model", "name"), ("dimension", "dimension")):
                found = getattr(self.embedder, held, None)
                if settings[what] not in ("", found):
                    raise IndexIntegrityError(
                        f"The embedder's {what} is {found!r}, and the index was made with "
                        f"{settings[what]!r}: embed with the index's model, or make another index."
                    )
        except Exception as error:
            # Raised by the first call: of an actor that fails to start, Ray tells only the text.
            self.fault = error

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        if self.fault is not None:
            raise self.fault
        chunks, _ = from_lines(row["lines"])
        vectors, counts = embed_part(chunks, self.embedder, self.shards.settings["window_words"])
        written = self.shards.write(row["name"], pack_shard(chunks, vectors, counts))
        return {
            "name": row["name"],
            "part": row["part"],
            "chunks": len(chunks),
            "vectors": len(vectors),
            **written,
        }


def _retire(shards: ShardFolder, index: MilvusIndex, names: set[str]) -> int:
    """Remove shards whose parts are gone, and those of their chunks that stand in no other."""
    if not names:
        return 0
    notes = shards.done()
    gone = {key for name in names for key in shards.read(name, notes[name]).keys}
    for other in notes.keys() - names:
        gone.difference_update(shards.read(other, notes[other]).keys)
    index.remove_keys(sorted(gone))
    for name in sorted(names):
        shards.forget(name)
    return len(names)


def _check_room(ray: Any, actors: int, cpus: float) -> None:  # noqa: ANN401 (an untyped library)
    if actors < 1 or cpus <= 0:
        raise InvalidInputError(
            f"actors is {actors} and cpus_per_actor is {cpus}: give at least 1 and more than 0."
        )
    if not ray.is_initialized():
        raise InvalidInputError(
            "This process is connected to no Ray cluster: call connect(address), or LocalCluster() "
            "for one on this machine."
        )
    free = float(ray.cluster_resources().get("CPU", 0))
    if free < actors * cpus + 1:
        raise InvalidInputError(
            f"{actors} actors with {cpus:g} CPUs each need a cluster of {actors * cpus + 1:g} CPUs "
            f"with the one that reads documents, and this one has {free:g}: use fewer actors, or "
            "add nodes."
        )


def _name_of(split: Splitter) -> str:
    inner = split.func if isinstance(split, partial) else split
    more = f" {split.args} {sorted(split.keywords.items())}" if isinstance(split, partial) else ""
    return getattr(inner, "__name__", type(inner).__name__) + more
