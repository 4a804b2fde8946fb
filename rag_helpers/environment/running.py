"""What a run needs: seeds that repeat it, and a word on what takes long."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from typing import TypeVar

from rag_helpers.errors import InvalidInputError

__all__ = ["note", "progress_bar", "set_seed"]

T = TypeVar("T")
_PROGRESS_DELAY_S = 2.0


def set_seed(seed: int = 0) -> None:
    """Seed the random numbers of Python, numpy and torch.

    Parameters
    ----------
    seed : int
        From 0 to 2**32 - 1, the range that all three accept.

    Raises
    ------
    InvalidInputError
        If `seed` is outside that range.

    Examples
    --------
    >>> set_seed(7); first = random.random(); set_seed(7); random.random() == first
    True
    """
    if not 0 <= seed < 2**32:
        raise InvalidInputError(f"seed is {seed}, but it must be from 0 to 2**32 - 1.")
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def note(message: str) -> None:
    """Write one line to stderr: what takes long, and why.

    Parameters
    ----------
    message : str
        One sentence.

    Examples
    --------
    >>> note("Converting the model once; this takes seconds.")
    """
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def progress_bar(iterable: Iterable[T], *, label: str, total: int | None = None) -> Iterable[T]:
    """Pass the items on, showing progress on stderr once two seconds have passed.

    The bar is text in notebooks too: a saved widget opens as an error in JupyterLab.

    Parameters
    ----------
    iterable : Iterable
        What to count.
    label : str
        What is being done, shown before the bar.
    total : int or None
        Number of items, where `iterable` has no length.

    Returns
    -------
    Iterable
        The same items.

    Examples
    --------
    >>> [n * n for n in progress_bar([1, 2, 3], label="Squaring")]
    [1, 4, 9]
    """
    from tqdm import tqdm

    bar: Iterable[T] = tqdm(
        iterable,
        desc=label,
        total=total,
        delay=_PROGRESS_DELAY_S,
        file=sys.stderr,
        leave=False,
        dynamic_ncols=True,
    )
    return bar
