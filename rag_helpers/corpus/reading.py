"""Bytes become text, or an error that names the file and the cure.

The module does not know what the text is for.
"""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

from rag_helpers.errors import CorpusError, InvalidInputError

__all__ = ["MAX_FILE_MB", "parse_json", "read_bytes", "read_text"]

MAX_FILE_MB = 50
"""Largest file that is read, in units of 1,000,000 bytes."""


def read_bytes(path: Path, name: str) -> bytes:
    """Read a regular file of at most `MAX_FILE_MB`; `name` is what errors call it."""
    try:
        if not path.is_file():  # a pipe or a device would be waited for, for ever
            raise CorpusError(f"{name} is not a regular file; remove it from the folder.")
        size = path.stat().st_size
        if size > MAX_FILE_MB * 1_000_000:
            raise CorpusError(
                f"{name} has {size / 1e6:,.0f} MB, more than the {MAX_FILE_MB} MB that are read;"
                " cut it into several files."
            )
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(
            f"{name} cannot be read ({error.strerror or error}); check the path and permissions."
        ) from error


# The mark of UTF-32 begins with that of UTF-16, so it is tried before it.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: Path, name: str, encoding: str) -> str:
    """Read a text by its byte order mark, or in `encoding` where it has none."""
    data = read_bytes(path, name)
    marked = [codec for mark, codec in _BYTE_ORDER_MARKS.items() if data.startswith(mark)]
    codec = marked[0] if marked else encoding
    try:
        text = data.decode(codec)
    except LookupError as error:
        raise InvalidInputError(
            f"encoding={encoding!r} is not known to Python; give one such as 'utf-8',"
            " 'cp1252' or 'latin-1'."
        ) from error
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{name} is not encoded in {codec} (byte {error.start:,} does not fit); save it as"
            " UTF-8, or name its encoding, for example encoding='cp1252'."
        ) from error
    if "\0" in text:
        raise CorpusError(
            f"{name} holds null characters, so it is not text, or UTF-16 without a mark; save it"
            " as UTF-8, or name its encoding, for example encoding='utf-16-le'."
        )
    return text


def parse_json(text: str, place: str) -> Any:  # noqa: ANN401 (JSON is anything)
    """Parse JSON; `place` is what errors call it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{place} is not JSON ({error}); correct or remove it.") from error
