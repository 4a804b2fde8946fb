"""The command ``index``: build, change and inspect an index folder.

The module does not know how an index is searched or saved.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from typing import Any

from rag_helpers.commands.ask import one_line
from rag_helpers.errors import InvalidInputError

__all__ = ["add_index_options", "index"]


def _index_build(options: argparse.Namespace) -> int:
    from rag_helpers.corpus import fingerprint, load_files, load_help_topics
    from rag_helpers.pipeline import WINDOW_WORDS, build_index

    documents = load_help_topics() if options.corpus is None else load_files(options.corpus)
    model = {"model": options.model} if options.model else {}
    index = build_index(documents, window_words=WINDOW_WORDS, **model)
    index.save(options.folder, corpus=fingerprint(documents))
    print(f"{options.folder}: {len(index)} chunks of {len(documents)} documents.")
    return 0


def _index_add(options: argparse.Namespace) -> int:
    from rag_helpers.corpus import load_files
    from rag_helpers.index import ChunkIndex
    from rag_helpers.pipeline import WINDOW_WORDS, build_index

    index = ChunkIndex.load(options.folder)
    documents = [document for path in options.paths for document in load_files(path)]
    sources = [document.source for document in documents]
    twice = sorted({source for source in sources if sources.count(source) > 1})
    if twice:
        raise InvalidInputError(
            f"Two of the files would both be cited as {twice[0]!r}; rename one, "
            "or add the folder that holds both."
        )
    replaced = {chunk.source for chunk in index.chunks} & set(sources)
    new = build_index(documents, model=index.model, window_words=WINDOW_WORDS)
    index.add(new.chunks, new.vectors(), counts=new.counts, replace=True)
    # The fingerprint of the whole corpus cannot be known from a part of it.
    index.save(options.folder, corpus="")
    print(f"{options.folder}: {len(sources)} documents added, {len(replaced)} of them replaced.")
    return 0


def _index_remove(options: argparse.Namespace) -> int:
    from rag_helpers.index import ChunkIndex

    index = ChunkIndex.load(options.folder)
    removed = index.remove(options.sources)
    index.save(options.folder, corpus="")
    print(f"{options.folder}: {removed} chunks removed, {len(index)} left.")
    return 0


def _index_info(options: argparse.Namespace) -> int:
    from rag_helpers.index import ChunkIndex

    index = ChunkIndex.load(options.folder)
    counts = Counter(chunk.source for chunk in index.chunks)
    print(f"model {one_line(index.model)}, dimension {index.dimension}, metric {index.metric}")
    print(f"{len(index)} chunks with {sum(index.counts)} vectors of {len(counts)} documents:")
    for source, count in sorted(counts.items()):
        print(f"{count:7}  {one_line(source)}")
    return 0


def index(options: argparse.Namespace) -> int:
    """Build, change or inspect an index.

    Parameters
    ----------
    options : Namespace
        As `add_index_options` describes them.

    Returns
    -------
    int
        Exit code 0.

    Raises
    ------
    RagError
        When documents cannot be read, or the index is damaged; the index on
        disk is then as it was.
    """
    return int(options.run_index(options))


def add_index_options(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``index`` to a parser.

    Parameters
    ----------
    parser : ArgumentParser
        Changed in place.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_index_options(parser)
    >>> parser.parse_args(["remove", "my_index", "old.md"]).sources
    ['old.md']
    """
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, run: Callable[[argparse.Namespace], int], help_: str) -> Any:  # noqa: ANN401
        sub = actions.add_parser(name, help=help_, description=f"{help_.capitalize()}.")
        sub.add_argument("folder", metavar="FOLDER", help="where the index is kept")
        sub.set_defaults(run_index=run)
        return sub

    build = action("build", _index_build, "embed a corpus into a new index")
    build.add_argument("--corpus", metavar="PATH", help="file or folder; default: the help topics")
    build.add_argument("--model", metavar="NAME", help="embedding model; default: all-MiniLM-L6-v2")
    add = action("add", _index_add, "add documents, or replace those of the same name")
    add.add_argument("paths", nargs="+", metavar="PATH", help="files or folders")
    remove = action("remove", _index_remove, "remove documents")
    remove.add_argument("sources", nargs="+", metavar="SOURCE", help="names as `index info` shows")
    action("info", _index_info, "show the model, the size and the documents")
