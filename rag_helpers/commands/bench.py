"""The command ``bench``: the recipe, the default and llama.cpp, measured on this machine.

The module does not know how anything is measured: the script beside the results does.
"""

from __future__ import annotations

import argparse
import runpy
import sys

from rag_helpers.commands.results import RESULTS

__all__ = ["add_bench_options", "bench"]


def bench(options: argparse.Namespace) -> int:
    """Measure whole systems, write ``bench.json`` and print it.

    Parameters
    ----------
    options : Namespace
        As `add_bench_options` describes them.

    Returns
    -------
    int
        Exit code 0.
    """
    script = RESULTS / "bench.py"
    own = sys.argv
    sys.argv = [str(script), "--questions", str(options.questions)]
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = own
    return 0


def add_bench_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``bench`` understands to a parser.

    Parameters
    ----------
    parser : ArgumentParser
        Changed in place.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_bench_options(parser)
    >>> parser.parse_args([]).questions
    12
    """
    parser.add_argument(
        "--questions", type=int, default=12, metavar="N", help="to ask each system (12)"
    )
