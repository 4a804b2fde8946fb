"""The few parts of FAISS that the index is made of, imported when first needed.

The module does not know chunks, folders or questions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rag_helpers.errors import InvalidInputError

__all__ = ["import_faiss", "index_in_place", "kinds_of", "new_flat_index"]


def import_faiss() -> Any:  # noqa: ANN401 (an untyped module)
    """Return the module, so that importing the index does not load it.

    Examples
    --------
    >>> import_faiss().__name__
    'faiss'
    """
    import faiss

    return faiss


def new_flat_index(dimension: int, metric: str) -> Any:  # noqa: ANN401 (an untyped class)
    """Return an empty exact index whose vectors have numbers of their own.

    Parameters
    ----------
    dimension : int
    metric : {"l2", "ip"}

    Returns
    -------
    faiss.IndexIDMap2

    Raises
    ------
    InvalidInputError
        If the metric is unknown.

    Examples
    --------
    >>> new_flat_index(3, "ip").d
    3
    """
    faiss = import_faiss()
    flat = {"l2": faiss.IndexFlatL2, "ip": faiss.IndexFlatIP}
    if metric not in flat:
        raise InvalidInputError(
            f"metric {metric!r} is unknown: use 'l2' for distances (MiniLM) or 'ip' for inner "
            "products (DPR)."
        )
    return faiss.IndexIDMap2(flat[metric](dimension))


def kinds_of(index: Any) -> tuple[str, str]:  # noqa: ANN401 (an untyped class)
    """Return the names of an index' class and of the class it wraps.

    Examples
    --------
    >>> kinds_of(new_flat_index(3, "l2"))
    ('IndexIDMap2', 'IndexFlatL2')
    """
    return type(index).__name__, type(import_faiss().downcast_index(index.index)).__name__


def index_in_place(data: npt.NDArray[np.uint8]) -> Any:  # noqa: ANN401 (an untyped class)
    """Return an index that reads its vectors where they lie, and copies the rest.

    FAISS then neither aligns the vectors nor may it change them: an index that is
    asked to add or remove ends the whole process (seen with 1.15.1), so callers
    have to refuse that themselves. Its flag ``IO_FLAG_MMAP_IFC`` does the same with
    a file it opens by name; here the caller has opened and checked it.

    Parameters
    ----------
    data : ndarray of uint8, shape (bytes,)
        What `faiss.serialize_index` wrote; the index keeps it alive.

    Returns
    -------
    faiss.Index

    Examples
    --------
    >>> data = import_faiss().serialize_index(new_flat_index(3, "l2"))
    >>> index_in_place(data).d
    3
    """
    faiss = import_faiss()
    index = faiss.read_index(faiss.ZeroCopyIOReader(faiss.swig_ptr(data), data.size))
    index.referenced_objects = [data]
    return index
