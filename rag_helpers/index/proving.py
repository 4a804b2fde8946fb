"""What a manifest promises of an index, proved before its vectors are parsed.

The module knows the three files of a saved index and FAISS' own reader. It does
not know how an index is searched or changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rag_helpers.errors import IndexIntegrityError
from rag_helpers.index.faiss_parts import import_faiss, index_in_place, kinds_of
from rag_helpers.index.folder import REBUILD, require
from rag_helpers.index.lines import from_lines
from rag_helpers.records import Chunk

__all__ = ["check_manifest", "prove_contents"]


def check_manifest(folder: Path, manifest: Mapping[str, Any], **expected: str | None) -> None:
    """Refuse a manifest of another model or corpus, or with values of a wrong kind.

    Parameters
    ----------
    folder : Path
        Named in errors.
    manifest : mapping
        As `read_folder` returns it.
    **expected : str or None
        What ``model`` and ``corpus`` must be; None lets anything pass.

    Raises
    ------
    IndexIntegrityError
        If one is another, or a value is not of its kind.
    """
    for what, wanted in expected.items():
        if wanted is not None and manifest.get(what) != wanted:
            raise IndexIntegrityError(
                f"The index in {str(folder)!r} was built with {what} {manifest.get(what)!r}, "
                f"but {wanted!r} is in use: use the former, or {REBUILD}."
            )
    numbers, texts = ("dimension", "count", "vectors"), ("metric", "model", "corpus")
    sound = all(type(manifest.get(key)) is int for key in numbers)
    sound = sound and all(type(manifest.get(key)) is str for key in texts)
    sound = sound and 0 <= manifest["count"] <= manifest["vectors"]
    require(sound, folder, "the manifest holds a wrong value")


def prove_contents(
    folder: Path,
    manifest: Mapping[str, Any],
    contents: Mapping[str, Any],
    empty: Any,  # noqa: ANN401 (an untyped class)
    *,
    in_place: bool,
) -> tuple[Any, list[int], list[Chunk], list[int]]:
    """Parse the vectors and chunks of a folder whose checksums fit.

    Parameters
    ----------
    folder : Path
        Named in errors.
    manifest, contents : mapping
        As `read_folder` returns them, the former checked.
    empty : faiss.IndexIDMap2
        An index without vectors, of the manifest's dimension and metric.
    in_place : bool
        Whether the vectors are read where they lie.

    Returns
    -------
    tuple of (faiss.IndexIDMap2, list of int, list of Chunk, list of int)
        The index, its numbers in ascending order, the chunks, and how many of the
        vectors each of them has.

    Raises
    ------
    IndexIntegrityError
        If size, kind, dimension or count are not what the manifest says.
    """
    faiss = import_faiss()
    count, rows, dimension = manifest["count"], manifest["vectors"], manifest["dimension"]
    # A flat index has a fixed size for its count and dimension, so that both are proved
    # before FAISS reads a byte: its reader trusts the lengths it finds.
    size = len(faiss.serialize_index(empty)) + rows * (4 * dimension + 8)
    require(
        len(contents["vectors"]) == size,
        folder,
        f"{rows} vectors of dimension {dimension} take {size} bytes, "
        f"but the file has {len(contents['vectors'])}",
    )
    chunks, counts = from_lines(contents["chunks"])
    require(
        len({chunk.id for chunk in chunks}) == len(chunks) == count and sum(counts) == rows,
        folder,
        f"{count} chunks with {rows} vectors, each chunk with an id of its own, are promised, "
        "but not found",
    )
    data = np.frombuffer(contents["vectors"], dtype=np.uint8)
    loaded = index_in_place(data) if in_place else faiss.deserialize_index(data)
    expected = (kinds_of(empty), dimension, dimension, rows, rows)
    found = (kinds_of(loaded), loaded.d, loaded.index.d, loaded.ntotal, loaded.index.ntotal)
    ids = faiss.vector_to_array(loaded.id_map).tolist()
    require(
        expected == found and ids == sorted(set(ids)),
        folder,
        f"the vectors file holds {found} with {len(set(ids))} numbers, not {expected}",
    )
    return loaded, ids, chunks, counts
