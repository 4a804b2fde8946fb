"""The command ``serve``: the REST API in the foreground.

The module does not know which routes there are; it hands its options on as
settings.
"""

from __future__ import annotations

import argparse
import sys

from rag_helpers.commands.ask import count

__all__ = ["add_serve_options", "serve"]


def serve(options: argparse.Namespace) -> int:
    """Serve until stopped by Ctrl-C or SIGTERM.

    Parameters
    ----------
    options : Namespace
        As `add_serve_options` describes them; what was not given comes from
        ``RAG_…`` variables.

    Returns
    -------
    int
        Exit code 0.

    Raises
    ------
    InvalidInputError
        When the settings are wrong, such as a host that other machines can
        reach without a key.
    """
    from rag_helpers.deployment import load_settings
    from rag_helpers.deployment import serve as run

    names = ("host", "port", "corpus", "index", "retriever", "generator", "k")
    given = {name: getattr(options, name) for name in names}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    address = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(
        f"Serving on http://{address}:{settings.port} (Ctrl-C stops); the models are being loaded.",
        file=sys.stderr,
    )
    run(settings)
    return 0


def add_serve_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``serve`` understands to a parser.

    Parameters
    ----------
    parser : ArgumentParser
        Changed in place.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_serve_options(parser)
    >>> parser.parse_args(["--port", "8080"]).port
    8080
    """
    parser.add_argument("--host", metavar="ADDRESS", help="default: 127.0.0.1, this machine alone")
    parser.add_argument("--port", type=int, metavar="N", help="default: 8000")
    parser.add_argument("--k", type=count, metavar="N", help="passages to retrieve")
    parser.add_argument("--retriever", metavar="NAME", help="as for ask")
    parser.add_argument("--generator", metavar="NAME", help="as for ask")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--corpus", metavar="PATH", help="your own file or folder of documents")
    source.add_argument("--index", metavar="FOLDER", help="an index made by `index build`")
