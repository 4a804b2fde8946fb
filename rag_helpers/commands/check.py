"""The command ``check``: whether the course runs here, and what participants' codes say.

The module does not look at the machine itself, and needs the standard library alone.
"""

from __future__ import annotations

import argparse

from rag_helpers.installation import Installation

__all__ = ["add_check_options", "check"]


def check(installation: Installation, options: argparse.Namespace, *, has_packages: bool) -> int:
    """Report on this machine, or read codes.

    Parameters
    ----------
    installation : Installation
        The repository.
    options : Namespace
        As `add_check_options` defines them.
    has_packages : bool
        Whether this Python has what the seven steps need.

    Returns
    -------
    int
        0 when all is well, else 1.
    """
    from rag_helpers.environment import CheckResult, check_environment, decode_table, summarize

    if options.decode:
        lines, all_ready = decode_table(options.decode)
        print("\n".join(lines))
        return 0 if all_ready else 1
    results = check_environment()
    # Other Pythons may have the packages too (conda, Colab): then .venv does not matter.
    if installation.is_current or not has_packages:
        reason = installation.reason_to_install()
        cure = "Run `python -m rag_helpers install`." if reason else ""
        results.insert(0, CheckResult(".venv", not reason, reason or "in step", cure))
    if options.all:
        width = max(len(result.name) for result in results)
        for result in results:
            line = f"{'OK' if result.ok else 'FAIL':<5}{result.name:<{width}}  {result.detail}"
            print(f"{line}  -> {result.cure}" if result.cure else line)
    else:
        print("\n".join(summarize(results)))
    return 0 if all(result.ok for result in results) else 1


def add_check_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``check``.

    Parameters
    ----------
    parser : ArgumentParser
        Changed in place.
    """
    parser.add_argument("--all", action="store_true", help="a line for each check, none left out")
    parser.add_argument(
        "--decode", nargs="+", metavar="CODE", help="read the codes that participants sent"
    )
