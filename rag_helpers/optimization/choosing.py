"""Which variant of the reader answers by default: a rule over what was measured.

The module does not know how a variant is made, nor measure anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rag_helpers.errors import InvalidInputError

__all__ = ["LEAST_IDENTICAL", "MOST_F1_LOST", "choose_variant", "load_reader_study"]

STUDY = Path(__file__).parents[1] / "data" / "results" / "variants.json"
MOST_F1_LOST = 0.01
"""By how much a variant's mean F1 may be below the reference's."""
LEAST_IDENTICAL = 0.95
"""Share of answers that must equal the reference's, letter for letter."""
PREPARED = "ms a passage beforehand"
"""What a row holds whose variant reads every passage before the first question."""


def load_reader_study(path: str | Path = STUDY) -> dict[str, dict[str, dict[str, Any]]]:
    """Read the committed measurements of the tuned reader's variants.

    Parameters
    ----------
    path : str or Path, optional
        What ``rag_helpers/data/results/variants.py`` wrote.

    Returns
    -------
    dict
        Processor → variant → what was measured, with ``"p50 ms"``, ``"F1"`` and
        ``"identical"``; variants that were not run are left out.

    Raises
    ------
    InvalidInputError
        If there is no such file.

    Examples
    --------
    >>> sorted(load_reader_study())
    ['AVX2 only', 'as it is']
    """
    try:
        groups = json.loads(Path(path).read_text(encoding="utf-8"))["groups"]
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInputError(
            f"{path} holds no measurements of variants; run rag_helpers/data/results/variants.py."
        ) from error
    return {
        name: {variant: row for variant, row in group["rows"].items() if "not run" not in row}
        for name, group in groups.items()
    }


def choose_variant(rows: Mapping[str, Mapping[str, Any]], *, prepared: bool = False) -> str:
    """Return the fastest variant that answers as the first one does.

    Parameters
    ----------
    rows : Mapping
        Variant → what was measured, as `load_reader_study` gives it for one processor; the
        first is the reference.
    prepared : bool, default False
        Whether variants take part that must read every passage before the first question.

    Returns
    -------
    str
        Its F1 is at most `MOST_F1_LOST` below the reference's, and at least `LEAST_IDENTICAL`
        of its answers are the same.

    Raises
    ------
    InvalidInputError
        If there are no rows.

    Examples
    --------
    >>> row = lambda ms, f1, same: {
    ...     "p50 ms": ms, "F1": {"value": f1}, "identical": {"value": same}}
    >>> choose_variant({"fp32": row(9, 0.5, 1.0), "quick": row(5, 0.5, 0.9), "ok": row(7, 0.5, 1)})
    'ok'
    """
    if not rows:
        raise InvalidInputError("There are no variants to choose from; give at least one.")
    reference = next(iter(rows.values()))["F1"]["value"]
    alike = {
        name: row["p50 ms"]
        for name, row in rows.items()
        if (prepared or PREPARED not in row)
        and row["F1"]["value"] >= reference - MOST_F1_LOST
        and row["identical"]["value"] >= LEAST_IDENTICAL
    }
    return min(alike, key=lambda name: alike[name])
