"""A course filter as a Milvus expression, whatever its values hold.

The module knows the grammar of Milvus' expressions; it sends nothing anywhere.
"""

from __future__ import annotations

from rag_helpers.errors import InvalidInputError
from rag_helpers.index import Where

__all__ = ["OWN_FIELDS", "among", "field_of", "filter_expression"]

OWN_FIELDS = ("source", "title", "heading")
"""What every chunk has; other names are keys of its metadata."""

# The escapes that a server and Milvus Lite both know; other characters stand for themselves.
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})
_LARGEST = 2**63


def field_of(name: str) -> str:
    """Return how an expression names a field or a metadata key.

    Examples
    --------
    >>> field_of("source"), field_of("page")
    ('source', 'metadata["page"]')
    """
    return name if name in OWN_FIELDS else f"metadata[{_literal(name)}]"


def filter_expression(where: Where | None) -> str:
    r"""Return the expression for required values; empty when there are none.

    Parameters
    ----------
    where : mapping or None
        As for `rag_helpers.index.select_chunks`.

    Returns
    -------
    str

    Raises
    ------
    InvalidInputError
        If a value is neither text, finite number nor boolean.

    Examples
    --------
    >>> filter_expression({"source": 'a "quoted" name', "page": [1, 2]})
    'source in ["a \\"quoted\\" name"] and (metadata["page"] == 1 or metadata["page"] == 2)'
    """
    parts = []
    for name, value in (where or {}).items():
        values = list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]
        parts.append(among(field_of(name), values))
    return " and ".join(parts)


def among(field: str, values: list[object]) -> str:
    """Return the expression that a field has one of these values.

    Examples
    --------
    >>> among("source", ["a", "b"]), among('metadata["page"]', [])
    ('source in ["a", "b"]', 'id == ""')
    """
    if not values:
        return 'id == ""'  # nothing has this name
    literals = [_literal(value) for value in values]
    if "[" not in field:
        return f"{field} in [{', '.join(literals)}]"
    # Milvus Lite takes `in` for fields alone.
    either = " or ".join(f"{field} == {literal}" for literal in literals)
    return f"({either})"


def _literal(value: object) -> str:
    """Write a value so that no character of it is read as part of the expression."""
    # Lone surrogates cannot travel; no stored text has any (see MilvusIndex.add).
    if isinstance(value, str):
        return f'"{value.encode("utf-8", "replace").decode().translate(_ESCAPES)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)) and abs(value) < _LARGEST:
        return repr(value)
    raise InvalidInputError(
        f"where asks for the value {value!r}: filter by text, numbers between ±2⁶³ or booleans."
    )
