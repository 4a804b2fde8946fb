"""Files become documents.

Files are hostile until read: they may lie about their encoding, lead out of
their folder, be broken, huge or empty. Whatever is wrong ends in a `CorpusError`
that names the file and the cure. The module does not know chunks or models.
"""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from rag_helpers.corpus.cleaning import CleanText, clean_pages, clean_text, find_title
from rag_helpers.corpus.pdf import read_pdf
from rag_helpers.corpus.reading import parse_json, read_bytes, read_text
from rag_helpers.corpus.tables import read_row, with_unique_sources
from rag_helpers.environment import progress_bar
from rag_helpers.errors import CorpusError
from rag_helpers.records import Document

__all__ = ["SUFFIXES", "find_files", "load_files", "load_squad", "read_file"]


class _File(NamedTuple):
    """A file to read, its name in the corpus, and how it is read."""

    path: Path
    name: str
    encoding: str
    text: str
    source: str
    title: str


def load_files(
    path: str | Path,
    *,
    patterns: Sequence[str] = ("*",),
    encoding: str = "utf-8",
    text: str = "text",
    source: str = "source",
    title: str = "title",
) -> list[Document]:
    r"""Load a file, or every file in a folder and the folders below it.

    Parameters
    ----------
    path : str or Path
        A file or a folder. In folders names that begin with a dot are passed over.
    patterns : sequence of str
        File names to read, such as ``["*.md", "guide*"]``; one must match.
    encoding : str
        How text files without a byte order mark are encoded. With one, UTF-8,
        UTF-16 and UTF-32 are recognised.
    text, source, title : str
        Columns of ``.csv`` and ``.parquet`` files and fields of ``.jsonl`` files. Only the text
        must be there; others become metadata.

    Returns
    -------
    list of Document
        Cleaned, in the order of their names: one per ``.txt``, ``.md``,
        ``.html`` (``.htm``) and ``.pdf``, one per row of a ``.csv`` or ``.parquet``
        and per line of a ``.jsonl``. ``source`` is the path below `path`, with ``#`` and the
        number of the row or line where a file has several; ``title`` its title,
        first heading or name; ``metadata`` has ``file`` and ``format``. PDFs
        have ``pages``, and their ``source_map`` leads to the text of all pages
        joined by form feeds.

    Raises
    ------
    CorpusError
        A file cannot be read: it is missing, of another format, broken,
        encrypted, in another encoding, larger than `MAX_FILE_MB`, a PDF that
        takes longer than `MAX_PDF_SECONDS`, or a link that leads out of the
        folder; or nothing holds any text.

    Warns
    -----
    UserWarning
        Once, naming the files that were passed over because they are empty or
        of another format.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "tea.md").write_text("# Tea\n\nSteep.", encoding="utf-8")
    ...     [(document.source, document.title) for document in load_files(folder)]
    [('tea.md', 'Tea')]
    """
    root = Path(path)
    if root.is_dir():
        names = find_files(root, patterns=patterns)
    elif root.is_file():
        root, names = root.parent, [root.name]
        if root.joinpath(names[0]).suffix.lower() not in _READERS:
            raise CorpusError(
                f"{path} is not of a format that is read ({', '.join(SUFFIXES)});"
                " convert it to one of them."
            )
    else:
        raise CorpusError(f"{path} is neither a file nor a folder; check the path.")
    documents: list[Document] = []
    passed_over: list[str] = []
    for name in progress_bar(names, label="Reading files"):
        found = read_file(root, name, encoding=encoding, text=text, source=source, title=title)
        documents += found
        if not found:
            passed_over.append(name)
    if not documents:
        raise CorpusError(
            f"No text was found in {path} ({_shorten(passed_over) or 'no file matches'}); give it"
            f" files with text in one of these formats: {', '.join(SUFFIXES)}."
        )
    if passed_over:
        warnings.warn(
            f"Passed over, without text or not of a format that is read: {_shorten(passed_over)}."
            " A scanned PDF needs text recognition first.",
            stacklevel=2,
        )
    return with_unique_sources(documents)


def read_file(
    root: str | Path,
    name: str,
    *,
    encoding: str = "utf-8",
    text: str = "text",
    source: str = "source",
    title: str = "title",
) -> list[Document]:
    """Read one file of a folder as `load_files` reads it among the others.

    Parameters
    ----------
    root : str or Path
        The corpus' folder.
    name : str
        Path below it; documents are named after it.
    encoding, text, source, title : str
        As for `load_files`.

    Returns
    -------
    list of Document
        Empty when the file holds no text or is not of a format that is read.

    Raises
    ------
    CorpusError
        The file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "tea.txt").write_text("Steep.", encoding="utf-8")
    ...     read_file(folder, "tea.txt")[0].text
    'Steep.'
    """
    read = _READERS.get(Path(name).suffix.lower())
    file = _File(Path(root) / name, name, encoding, text, source, title)
    return [document for document in read(file) if document.text] if read else []


def load_squad(path: str | Path) -> list[Document]:
    """Load the paragraphs of a file in the format of SQuAD 1.1.

    Parameters
    ----------
    path : str or Path
        The JSON file: SQuAD (Rajpurkar et al. 2016), XQuAD (Artetxe et al.
        2020), or your own in that format. The questions are not read.

    Returns
    -------
    list of Document
        One per paragraph, cleaned; ``source`` is the article's title, ``#`` and
        the number of the paragraph, counted from 1.

    Raises
    ------
    CorpusError
        The file cannot be read, or is not in this format.

    Examples
    --------
    >>> import json, tempfile
    >>> data = [{"title": "Green_tea", "paragraphs": [{"context": "Steep it.", "qas": []}]}]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "tea.json")
    ...     _ = file.write_text(json.dumps({"data": data}), encoding="utf-8")
    ...     load_squad(file)[0].source
    'Green_tea#1'
    """
    path = Path(path)
    documents = []
    content = parse_json(read_text(path, path.name, "utf-8"), str(path))
    try:
        for article in content["data"]:
            for number, paragraph in enumerate(article["paragraphs"], start=1):
                title = article["title"].replace("_", " ")
                row = {"context": paragraph["context"], "title": title}
                name = f"{article['title']}#{number}"
                documents.append(
                    read_row(row, str(path), name, text="context", source=None, title="title")
                )
    except (AttributeError, KeyError, TypeError) as error:
        raise CorpusError(
            f'{path} is not in SQuAD format: {{"data": [{{"title": ..., "paragraphs":'
            f' [{{"context": ...}}]}}]}} ({type(error).__name__}: {error}); give a file that'
            " is, or read other JSON as .jsonl with load_files."
        ) from error
    documents = [document for document in documents if document.text]
    if not documents:
        raise CorpusError(f"{path} holds no paragraph with text; give a file that has some.")
    return with_unique_sources(documents)


def find_files(root: str | Path, *, patterns: Sequence[str] = ("*",)) -> list[str]:
    """Find the files below a folder that match a pattern, of any format.

    Parameters
    ----------
    root : str or Path
        The folder. Names that begin with a dot are passed over.
    patterns : sequence of str
        As for `load_files`.

    Returns
    -------
    list of str
        Paths below `root`, sorted.

    Raises
    ------
    CorpusError
        A folder cannot be read, or a link leads out of `root`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "tea.md").write_text("Steep.", encoding="utf-8")
    ...     find_files(folder, patterns=["*.md"])
    ['tea.md']
    """

    def refuse(error: OSError) -> None:
        raise CorpusError(
            f"The folder {error.filename} cannot be read ({error.strerror}); give yourself"
            " permission, or move it elsewhere."
        ) from error

    root = Path(root)
    real_root = root.resolve()
    names = []
    for folder, subfolders, files in os.walk(root, onerror=refuse):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        files = [name for name in files if not name.startswith(".")]
        for path in (Path(folder, name) for name in [*subfolders, *files]):
            if not path.resolve().is_relative_to(real_root):
                raise CorpusError(
                    f"{path} is a link to {path.resolve()}, outside {root}; copy what it leads"
                    " to into the folder, or remove the link."
                )
        names += [Path(folder, name).relative_to(root).as_posix() for name in files]
    return sorted(name for name in names if _matches(name, patterns))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    file = Path(name).name.lower()
    return any(fnmatchcase(file, pattern.lower()) for pattern in patterns)


def _document(file: _File, cleaned: CleanText, title: str = "") -> Document:
    title = title or cleaned.title or find_title(cleaned.text) or Path(file.name).stem
    return Document(
        text=cleaned.text,
        source=file.name,
        title=title,
        metadata=_metadata(file),
        pages=cleaned.pages,
        source_map=cleaned.source_map,
    )


def _metadata(file: _File) -> dict[str, str]:
    return {"file": file.name, "format": file.path.suffix.lower().removeprefix(".")}


def _read_plain(file: _File) -> list[Document]:
    return [_document(file, clean_text(read_text(file.path, file.name, file.encoding)))]


def _read_html(file: _File) -> list[Document]:
    raw = read_text(file.path, file.name, file.encoding)
    return [_document(file, clean_text(raw, markup=True))]


def _read_pdf(file: _File) -> list[Document]:
    data = read_bytes(file.path, file.name)
    if not data:
        return []
    found = read_pdf(data, file.name)
    title = " ".join(clean_text(found.title).text.split())
    return [_document(file, clean_pages(found.pages), title)]


def _read_csv(file: _File) -> list[Document]:
    raw = read_text(file.path, file.name, file.encoding)
    reader = csv.DictReader(io.StringIO(raw, newline=""), strict=True)
    documents = []
    try:
        for number, row in enumerate(reader, start=1):
            if None in row:
                raise CorpusError(
                    f"{file.name}, row {number} has more values than the header has columns; put"
                    " values with commas in double quotes."
                )
            documents.append(_read_fields(file, row, "row", number))
    except csv.Error as error:
        raise CorpusError(
            f"{file.name}, row {len(documents) + 1} is not CSV ({error}); save it anew with commas"
            " and double quotes, or keep long texts in .jsonl or files of their own."
        ) from error
    return documents


def _read_jsonl(file: _File) -> list[Document]:
    documents = []
    lines = read_text(file.path, file.name, file.encoding).split("\n")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            row = parse_json(line, f"{file.name}, line {number}")
            if not isinstance(row, dict):
                raise CorpusError(
                    f"{file.name}, line {number} is a {type(row).__name__}, not an object; write"
                    f' one object a line, such as {{"{file.text}": "..."}}.'
                )
            documents.append(_read_fields(file, row, "line", number))
    return documents


def _read_parquet(file: _File) -> list[Document]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = read_bytes(file.path, file.name)
    if not data:
        return []
    try:
        rows = pq.read_table(pa.BufferReader(data)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(
            f"{file.name} is not a Parquet file that can be read ({error}); write it anew, or save"
            " it as .jsonl."
        ) from error
    return [_read_fields(file, row, "row", number) for number, row in enumerate(rows, start=1)]


def _read_fields(file: _File, row: dict[str, Any], unit: str, number: int) -> Document:
    return read_row(
        {**_metadata(file), **row},
        f"{file.name}, {unit} {number}",
        f"{file.name}#{number}",
        text=file.text,
        source=file.source,
        title=file.title,
    )


def _shorten(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5:,} more" if len(names) > 5 else shown


_READERS: dict[str, Callable[[_File], list[Document]]] = {
    ".csv": _read_csv,
    ".htm": _read_html,
    ".html": _read_html,
    ".jsonl": _read_jsonl,
    ".md": _read_plain,
    ".parquet": _read_parquet,
    ".pdf": _read_pdf,
    ".txt": _read_plain,
}
SUFFIXES = tuple(_READERS)
"""Suffixes of the files that `load_files` reads."""
