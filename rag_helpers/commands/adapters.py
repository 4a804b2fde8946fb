"""The command ``adapters``: train the adapters that come with the course."""

from __future__ import annotations

import argparse
import os

__all__ = ["adapters", "add_adapters_options"]


def adapters(options: argparse.Namespace) -> int:
    """Train and save the adapters of both halves.

    Parameters
    ----------
    options : Namespace
        As `add_adapters_options` describes them.

    Returns
    -------
    int
        Exit code 0.

    Raises
    ------
    RagError
        When the data cannot be trained on, or there is no room.
    """
    from rag_helpers.fine_tuning.shipping import ADAPTERS_FOLDER, make_adapters

    made = make_adapters(
        options.folder or ADAPTERS_FOLDER,
        squad=options.xquad or os.environ.get("RAG_XQUAD") or None,
        limit=options.limit,
        which=options.only or ("retriever", "generator"),
        seed=options.seed,
        resume=not options.anew,
    )
    for folder in made:
        size_mb = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
        print(f"{folder}: {size_mb:.1f} MB; its README.md says what it is good for.")
    return 0


def add_adapters_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``adapters`` understands to a parser.

    Parameters
    ----------
    parser : ArgumentParser
        Changed in place.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_adapters_options(parser)
    >>> parser.parse_args(["--only", "retriever"]).only
    ['retriever']
    """
    parser.add_argument(
        "--xquad",
        metavar="FILE",
        help="XQuAD's English file, to learn from too, or xquad to have it from the hub; "
        "default: $RAG_XQUAD",
    )
    parser.add_argument(
        "--only", action="append", choices=("retriever", "generator"), help="train one half"
    )
    parser.add_argument("--folder", metavar="FOLDER", help="where to; default: the package's data")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="most questions per set, for a trial"
    )
    parser.add_argument("--anew", action="store_true", help="forget an unfinished training")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
