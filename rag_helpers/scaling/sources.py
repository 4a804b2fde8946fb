"""Where documents come from, in parts that a node can read by itself.

A part is a few files or documents with a digest of their content, small enough
for one node's memory. A source lists its parts without keeping their text, and
reads one when asked. The module does not know chunks, vectors or clusters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Protocol

from rag_helpers.corpus import find_files, fingerprint, load_files, read_file
from rag_helpers.errors import CorpusError, InvalidInputError
from rag_helpers.records import Document

__all__ = ["DocumentSource", "FileSource", "Part", "Source", "SyntheticSource"]


@dataclass(frozen=True, slots=True)
class Part:
    """What one node reads at a time.

    Parameters
    ----------
    name : str
        Of the part, unique in its source: what errors call it.
    digest : str
        SHA-256 of its content: the same digest means the same documents.
    items : tuple of str
        What the source finds the documents by.
    """

    name: str
    digest: str
    items: tuple[str, ...] = ()


class Source(Protocol):
    """Lists parts and reads them; sent to every node, so without the text of all parts."""

    def parts(self) -> Iterator[Part]:
        """Yield the parts, the same ones at every call while the content stays."""
        ...

    def read(self, part: Part) -> list[Document]:
        """Return the documents of one part, cleaned."""
        ...


@dataclass(frozen=True)
class FileSource:
    """A folder of files in the formats of `rag_helpers.corpus.load_files`, seen by every node.

    Parameters
    ----------
    root : str or Path
        The folder, on a disk that every node reaches by the same path.
    patterns : tuple of str
        As for `load_files`.
    files_per_part : int
        Files that are read, embedded and written together.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for word in ("ice", "tea"):
    ...         _ = Path(folder, f"{word}.txt").write_text(word, encoding="utf-8")
    ...     source = FileSource(folder, files_per_part=1)
    ...     [source.read(part)[0].source for part in source.parts()]
    ['ice.txt', 'tea.txt']
    """

    root: str | Path
    patterns: tuple[str, ...] = ("*",)
    files_per_part: int = 32

    def parts(self) -> Iterator[Part]:
        """Yield the parts in the order of the files' names.

        Raises
        ------
        CorpusError
            If there is no such folder, or no file in it matches.
        """
        root = Path(self.root)
        if not root.is_dir():
            raise CorpusError(f"{root} is not a folder; give one that holds the documents' files.")
        names = find_files(root, patterns=self.patterns)
        if not names:
            raise CorpusError(f"No file in {root} matches {list(self.patterns)}; check both.")
        for group in _groups(names, self.files_per_part):
            digest = sha256()
            for name in group:
                with (root / name).open("rb") as file:
                    digest.update(f"{name}\0{file_digest(file, 'sha256').hexdigest()}\n".encode())
            yield Part(group[0], digest.hexdigest(), tuple(group))

    def read(self, part: Part) -> list[Document]:
        """Return the documents of a part; files without text, or of other formats, give none."""
        return [document for name in part.items for document in read_file(self.root, name)]

    def load(self) -> list[Document]:
        """Return all documents at once, as the single-process path does."""
        return load_files(self.root, patterns=self.patterns)


class DocumentSource:
    """Documents at hand, such as the help topics; every node gets a copy of all of them.

    Parameters
    ----------
    documents : sequence of Document
        Few enough for the memory of each node.
    documents_per_part : int

    Examples
    --------
    >>> source = DocumentSource([Document("Ice melts.", "ice"), Document("Tea.", "tea")])
    >>> [part.name for part in source.parts()]
    ['ice']
    """

    def __init__(self, documents: Sequence[Document], *, documents_per_part: int = 8) -> None:
        self._documents = {document.source: document for document in documents}
        if len(self._documents) != len(documents):
            raise InvalidInputError(
                f"{len(documents)} documents have {len(self._documents)} different sources: give "
                "each one its own."
            )
        self._per_part = documents_per_part

    def parts(self) -> Iterator[Part]:
        """Yield the parts in the order of the documents."""
        for group in _groups(list(self._documents), self._per_part):
            digest = fingerprint([self._documents[name] for name in group])
            yield Part(group[0], digest, tuple(group))

    def read(self, part: Part) -> list[Document]:
        """Return the documents of a part."""
        return [self._documents[name] for name in part.items]


@dataclass(frozen=True)
class SyntheticSource:
    """Made-up documents of one short chunk each, to see how storage grows; they are no text.

    Parameters
    ----------
    count : int
        How many documents.
    documents_per_part : int

    Examples
    --------
    >>> source = SyntheticSource(3, documents_per_part=2)
    >>> [[document.text for document in source.read(part)] for part in source.parts()]
    [['synthetic document 0', 'synthetic document 1'], ['synthetic document 2']]
    """

    count: int
    documents_per_part: int = 5000

    def parts(self) -> Iterator[Part]:
        """Yield the parts in order."""
        for start in range(0, self.count, self.documents_per_part):
            stop = min(start + self.documents_per_part, self.count)
            name = f"synthetic {start} to {stop - 1}"
            yield Part(name, sha256(name.encode()).hexdigest(), (str(start), str(stop)))

    def read(self, part: Part) -> list[Document]:
        """Return the documents of a part."""
        start, stop = map(int, part.items)
        return [
            Document(f"synthetic document {number}", f"synthetic/{number}")
            for number in range(start, stop)
        ]


def _groups(names: Sequence[str], size: int) -> Iterator[list[str]]:
    if size < 1:
        raise InvalidInputError(f"A part of {size} items is empty: give at least 1.")
    for start in range(0, len(names), size):
        yield list(names[start : start + size])
