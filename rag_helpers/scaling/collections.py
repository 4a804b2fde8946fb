"""The three collections of an index in Milvus: their schemas and their rows.

The module knows Milvus' schemas. It does not search.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rag_helpers.errors import InvalidInputError
from rag_helpers.records import Chunk, FloatArray
from rag_helpers.retriever import split_terms
from rag_helpers.retriever.passages import headed_text
from rag_helpers.scaling.connection import Connection

__all__ = ["chunk_rows", "make_collections", "searchable", "vector_rows"]

MAX_BYTES = 60_000
_TEXT_BYTES = 65_535  # the longest VARCHAR
_METRICS = {"l2": "L2", "ip": "IP"}
_SIGN = re.compile(r"[\W_]")


def searchable(text: str) -> str:
    """Return the terms of keyword search as plain words, so that Milvus' analyzer keeps them.

    Its standard analyzer drops signs; here ``@`` becomes a word of its own.

    Examples
    --------
    >>> searchable("What does @cached mean?")
    'u40 cach mean'
    """
    return " ".join(
        _SIGN.sub(lambda sign: f"u{ord(sign[0]):x}", term) for term in split_terms(text)
    )


def make_collections(
    connection: Connection,
    name: str,
    facts: Mapping[str, Any],
    index_type: str,
    build: Mapping[str, Any],
) -> None:
    """Make the collections; the one with the facts last, so that its presence means all.

    Parameters
    ----------
    connection : Connection
        To where they are made.
    name : str
        Of the index.
    facts : mapping
        ``dimension``, ``metric`` and ``model``.
    index_type : str
        Of the vectors' index.
    build : mapping
        Its parameters.
    """
    milvus = connection.library
    kinds = milvus.DataType

    def make(collection: str, vector: str, schema: Any, **index: Any) -> None:  # noqa: ANN401
        indexes = connection.client.prepare_index_params()
        indexes.add_index(vector, **index)
        connection.call("create_collection", collection, schema=schema, index_params=indexes)

    schema = _new_schema(milvus, 64)
    _add_filtered(schema, kinds)
    schema.add_field("record", kinds.VARCHAR, max_length=_TEXT_BYTES)
    schema.add_field("text", kinds.VARCHAR, max_length=_TEXT_BYTES, enable_analyzer=True)
    schema.add_field("words", kinds.SPARSE_FLOAT_VECTOR)
    schema.add_function(
        milvus.Function(
            name="bm25",
            function_type=milvus.FunctionType.BM25,
            input_field_names=["text"],
            output_field_names=["words"],
        )
    )
    # The constants of KeywordRetriever.
    constants = {"bm25_k1": 1.5, "bm25_b": 0.75}
    make(name, "words", schema, index_type="SPARSE_INVERTED_INDEX", metric_type="BM25",
         params=constants)  # fmt: skip

    schema = _new_schema(milvus, 80)
    _add_filtered(schema, kinds)
    schema.add_field("chunk", kinds.VARCHAR, max_length=64)
    schema.add_field("vector", kinds.FLOAT_VECTOR, dim=facts["dimension"])
    make(f"{name}_vectors", "vector", schema, index_type=index_type,
         metric_type=_METRICS[facts["metric"]], params=dict(build))  # fmt: skip

    if not connection.call("has_collection", f"{name}_facts"):
        schema = _new_schema(milvus, 64)
        schema.add_field("facts", kinds.VARCHAR, max_length=4096)
        schema.add_field("unused", kinds.FLOAT_VECTOR, dim=2)  # Milvus wants a vector in each
        make(f"{name}_facts", "unused", schema, index_type="FLAT", metric_type="L2")
    row = {"id": "facts", "facts": json.dumps(dict(facts)), "unused": [0.0, 0.0]}
    connection.call("upsert", f"{name}_facts", [row])


def _new_schema(milvus: Any, key_length: int) -> Any:  # noqa: ANN401 (Milvus has no types)
    schema = milvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", milvus.DataType.VARCHAR, is_primary=True, max_length=key_length)
    return schema


def _add_filtered(schema: Any, kinds: Any) -> None:  # noqa: ANN401 (Milvus has no types)
    for field in ("source", "title", "heading"):
        schema.add_field(field, kinds.VARCHAR, max_length=_TEXT_BYTES)
    schema.add_field("metadata", kinds.JSON)


def chunk_rows(
    chunks: Sequence[Chunk], keys: Sequence[str], lines: Sequence[bytes]
) -> list[dict[str, Any]]:
    """Return the rows of the chunks' collection.

    Parameters
    ----------
    chunks : sequence of Chunk
    keys : sequence of str
        Their content hashes.
    lines : sequence of bytes
        Each as a line of JSON.

    Raises
    ------
    InvalidInputError
        If a chunk takes more bytes than a row holds.
    """
    rows = []
    for chunk, key, line in zip(chunks, keys, lines, strict=True):
        text = searchable(headed_text(chunk))
        if max(len(line), len(text.encode())) > MAX_BYTES:
            raise InvalidInputError(
                f"Chunk {chunk.id!r} takes {max(len(line), len(text.encode())):,} bytes, and "
                f"{MAX_BYTES:,} fit into a row: cut the document into smaller chunks."
            )
        rows.append({"id": key, **_filtered(chunk), "record": line.decode(), "text": text})
    return rows


def vector_rows(
    chunks: Sequence[Chunk], keys: Sequence[str], counts: Sequence[int], vectors: FloatArray
) -> list[dict[str, Any]]:
    """Return the rows of the vectors' collection, named by their chunk and a number."""
    rows: list[dict[str, Any]] = []
    for chunk, key, count in zip(chunks, keys, counts, strict=True):
        filtered = _filtered(chunk)
        for number in range(count):
            vector = vectors[len(rows)]
            rows.append({"id": f"{key}-{number}", "chunk": key, **filtered, "vector": vector})
    return rows


def _filtered(chunk: Chunk) -> dict[str, Any]:
    """Return what a search can filter on; lone surrogates cannot travel to Milvus."""
    return {
        "source": _encodable(chunk.source),
        "title": _encodable(chunk.title),
        "heading": _encodable(chunk.heading),
        "metadata": {
            _encodable(key): _encodable(value) if isinstance(value, str) else value
            for key, value in chunk.metadata.items()
        },
    }


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
