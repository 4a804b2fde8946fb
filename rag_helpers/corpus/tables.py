"""Rows become documents: from a ``datasets.Dataset``, or a data set on the hub.

The module knows columns. It does not know files, nor what the texts are about,
and it never runs code that comes with a data set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from rag_helpers.corpus.cleaning import clean_text
from rag_helpers.environment import cache_folder, progress_bar
from rag_helpers.errors import CorpusError, InvalidInputError
from rag_helpers.records import Document

__all__ = [
    "from_dataset",
    "load_dataset_documents",
    "load_dataset_rows",
    "read_row",
    "with_unique_sources",
]

# A longer value is text rather than something to filter on.
_LONGEST_METADATA = 200


def from_dataset(
    dataset: Iterable[Mapping[str, Any]],
    *,
    text: str = "text",
    source: str | None = None,
    title: str | None = None,
) -> list[Document]:
    """Make a document of every row of a data set.

    Parameters
    ----------
    dataset : datasets.Dataset
        One split; any iterable of mappings does.
    text, source, title : str or None
        Names of the columns. Without `source` rows are cited as ``row-1``,
        ``row-2``, ...; a source that returns gets ``#2``, ``#3``, ... behind it.

    Returns
    -------
    list of Document
        Cleaned, one per row that is not empty; the other columns are metadata
        where their values are numbers or short strings.

    Raises
    ------
    InvalidInputError
        `dataset` holds several splits, or has no such column.
    CorpusError
        A row has no text, or no row has any.

    Examples
    --------
    >>> rows = [{"text": "Boil water.", "page": 1}, {"text": "Steep.", "page": 2}]
    >>> [(d.source, d.text, d.metadata["page"]) for d in from_dataset(rows)]
    [('row-1', 'Boil water.', 1), ('row-2', 'Steep.', 2)]
    """
    return with_unique_sources(_read_rows(dataset, text, source, title))


def _read_rows(
    dataset: Iterable[Mapping[str, Any]], text: str, source: str | None, title: str | None
) -> list[Document]:
    if isinstance(dataset, Mapping):
        raise InvalidInputError(
            f"This data set has several splits ({', '.join(map(str, dataset))}); choose one,"
            f' for example dataset["{next(iter(dataset), "train")}"].'
        )
    columns = getattr(dataset, "column_names", None)
    for column in [name for name in (text, source, title) if name is not None]:
        if columns is not None and column not in columns:
            raise InvalidInputError(
                f"The data set has no column {column!r} (it has {', '.join(columns)});"
                " name the right one with text=, source= or title=."
            )
    documents = []
    for number, row in enumerate(progress_bar(dataset, label="Reading rows"), start=1):
        document = read_row(
            row, f"row {number}", f"row-{number}", text=text, source=source, title=title
        )
        if document.text:
            documents.append(document)
    if not documents:
        raise CorpusError(f"Column {text!r} holds no text in any row; name another with text=.")
    return documents


class _HubDataset(NamedTuple):
    repository: str
    config: str | None
    split: str
    text: str
    title: str | None


_HUB_DATASETS = {
    "wikipedia": _HubDataset("wikimedia/wikipedia", "20231101.en", "train", "text", "title"),
    "squad": _HubDataset("rajpurkar/squad", None, "train", "context", "title"),
    "xquad": _HubDataset("google/xquad", "xquad.en", "validation", "context", None),
}


def load_dataset_documents(
    name: str,
    *,
    config: str | None = None,
    split: str | None = None,
    text: str | None = None,
    title: str | None = None,
    limit: int | None = None,
) -> list[Document]:
    """Load a data set by name, where the network or a folder allows.

    Parameters
    ----------
    name : str
        ``"wikipedia"``, ``"squad"``, ``"xquad"``, a repository of the Hugging
        Face hub, or a folder of data files.
    config, split, text, title : str or None
        Configuration, split and columns; what is left out is what the three
        names above need, or the defaults of `datasets`, ``"train"`` and
        ``"text"``.
    limit : int or None
        Read the first rows only, without downloading the rest: English
        Wikipedia has gigabytes of them.

    Returns
    -------
    list of Document
        One per different text (question-answering sets repeat a passage with
        every question), cited by its title or as ``row-1``, ``row-2``, ...

    Raises
    ------
    CorpusError
        The data set cannot be had. Code in a data set's repository is never
        run, so sets that exist only as a script cannot be loaded. Compressed
        files in a folder are not unpacked.
    InvalidInputError
        `limit` is below 1, or there is no such column.

    Examples
    --------
    >>> documents = load_dataset_documents("squad", limit=100)  # doctest: +SKIP
    """
    if limit is not None and limit < 1:
        raise InvalidInputError(f"limit={limit} reads no rows; give 1 or more, or None for all.")
    known = _HUB_DATASETS.get(name, _HubDataset(name, None, "train", "text", None))
    text, title = text or known.text, title or known.title
    rows = _load_rows(
        known.repository, config or known.config, split or known.split, streaming=bool(limit)
    )
    rows = rows.take(limit) if limit else rows
    # The same passage stands in one row per question; the first one is kept.
    first: dict[str, Document] = {}
    for document in _read_rows(rows, text, title, title):
        first.setdefault(document.text, replace(document, metadata={"corpus": name}))
    return with_unique_sources(first.values())


def load_dataset_rows(name: str, *, config: str | None = None, split: str | None = None) -> Any:  # noqa: ANN401 (datasets has no types)
    """Load the rows of a named data set, questions and answers among them.

    Parameters
    ----------
    name, config, split : str or None
        As for `load_dataset_documents`.

    Returns
    -------
    datasets.Dataset
        All rows of the split.

    Raises
    ------
    CorpusError
        The data set cannot be had.

    Examples
    --------
    >>> rows = load_dataset_rows("xquad")  # doctest: +SKIP
    """
    known = _HUB_DATASETS.get(name, _HubDataset(name, None, "train", "text", None))
    return _load_rows(
        known.repository, config or known.config, split or known.split, streaming=False
    )


def _load_rows(repository: str, config: str | None, split: str, *, streaming: bool) -> Any:  # noqa: ANN401 (datasets has no types)
    import datasets

    _refuse_compressed(Path(repository))
    try:
        return datasets.load_dataset(
            repository,
            config,
            split=split,
            streaming=streaming,
            cache_dir=str(cache_folder() / "datasets"),
        )
    except Exception as error:  # the library raises a dozen kinds, from four packages
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CorpusError(
            f"The data set {repository!r} (configuration {config}, split {split!r}) cannot be"
            f" loaded: {reason}. Check the names and connect to the network without"
            " HF_HUB_OFFLINE; or copy its files here and give their folder as the name; or read"
            " a downloaded file with load_files(path) or load_squad(path)."
        ) from error


def _refuse_compressed(folder: Path) -> None:
    """Refuse what the library would unpack to its full size, whatever its name says."""
    from datasets.utils.extract import Extractor

    for file in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if file.is_file() and (kind := Extractor.infer_extractor_format(file)):
            raise CorpusError(
                f"{file} is compressed ({kind}), and may hold a thousand times its size; look at"
                " what is in it, unpack it yourself, and remove it from the folder."
            )


def read_row(
    row: Mapping[str, Any],
    place: str,
    name: str,
    *,
    text: str,
    source: str | None,
    title: str | None,
) -> Document:
    """Make a document of one row.

    Parameters
    ----------
    row : Mapping
        Column names and values.
    place : str
        Where the row stands, for error messages.
    name : str
        Source of the document when the row names none.
    text, source, title : str or None
        Names of the columns; only `text` must be there.

    Returns
    -------
    Document
        Its text is empty when the row's is.

    Raises
    ------
    CorpusError
        The row has no such column, or something else than a string in it.
    """
    if not isinstance(row.get(text), str):
        found = ", ".join(map(str, row)) or "nothing"
        what = f"a {type(row[text]).__name__}" if text in row else "nothing"
        raise CorpusError(
            f"{place} has {what} where column {text!r} should hold text (its columns are"
            f" {found}); name the column with text=, or leave the row out."
        )
    cleaned = clean_text(row[text])
    metadata = {
        str(column): value
        for column, value in row.items()
        if column not in (text, source, title)
        and isinstance(value, str | int | float)
        and len(str(value)) <= _LONGEST_METADATA
    }
    return Document(
        text=cleaned.text,
        source=_one_line(row, source) or name,
        title=_one_line(row, title),
        metadata=metadata,
        source_map=cleaned.source_map,
    )


def with_unique_sources(documents: Iterable[Document]) -> list[Document]:
    """Add a number to each source that returns: a, a#2, a#3.

    Examples
    --------
    >>> twice = [Document(text="One.", source="a"), Document(text="Two.", source="a")]
    >>> [document.source for document in with_unique_sources(twice)]
    ['a', 'a#2']
    """
    unique: dict[str, Document] = {}
    numbers: dict[str, Iterable[int]] = {}
    for document in documents:
        source = document.source
        if source in unique:
            ways = (f"{source}#{n}" for n in numbers.setdefault(source, count(2)))
            source = next(way for way in ways if way not in unique)
            document = replace(document, source=source)
        unique[source] = document
    return list(unique.values())


def _one_line(row: Mapping[str, Any], column: str | None) -> str:
    value = row.get(column) if column is not None else None
    return "" if value is None else " ".join(clean_text(str(value)).text.split())
