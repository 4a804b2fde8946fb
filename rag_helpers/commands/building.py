"""The commands that set up and check: ``install``, ``lab``, ``test``, ``notebooks``, ``clean``.

They run on the standard library alone; what needs packages is started in ``.venv``. The module
does not know how anything is installed or tested.
"""

from __future__ import annotations

import argparse

from rag_helpers.installation import Installation, clean, open_lab, run_stages, stages

__all__ = [
    "add_clean_options",
    "add_install_options",
    "add_lab_options",
    "add_notebooks_options",
    "delete",
    "install",
    "lab",
    "notebooks",
    "run_checks",
]


def install(installation: Installation, options: argparse.Namespace) -> int:
    """Make the environment, or repair it.

    Parameters
    ----------
    installation : Installation
        The repository.
    options : Namespace
        As `add_install_options` defines them.

    Returns
    -------
    int
        Exit code 0.
    """
    installation.install(dev=options.dev, scale=options.scale)
    return 0


def lab(installation: Installation, options: argparse.Namespace) -> int:
    """Open the notebooks in JupyterLab, installing first.

    Parameters
    ----------
    installation : Installation
        The repository.
    options : Namespace
        As `add_lab_options` defines them.

    Returns
    -------
    int
        JupyterLab's exit code.
    """
    installation.install()
    return open_lab(installation, browser=not options.no_browser, port=options.port)


def run_checks(installation: Installation, options: argparse.Namespace) -> int:
    """Run the stages of the check that the command names, installing first.

    Parameters
    ----------
    installation : Installation
        The repository.
    options : Namespace
        Its ``command`` is what `stages` takes.

    Returns
    -------
    int
        0 when every stage passed, else 1.
    """
    # The slow tests are those of Ray and Milvus too.
    installation.install(dev=True, scale=options.command == "test-slow")
    return run_stages(installation, stages(options.command))


def notebooks(installation: Installation, options: argparse.Namespace) -> int:
    """Execute the notebooks' sources and write the notebooks.

    Parameters
    ----------
    installation : Installation
        The repository.
    options : Namespace
        As `add_notebooks_options` defines them.

    Returns
    -------
    int
        The builder's exit code.
    """
    installation.install(dev=True)
    more = ["--exercises"] if options.exercises else []
    return installation.run(["rag_helpers.notebook_builder", *options.names, *more])


def delete(installation: Installation, options: argparse.Namespace) -> int:
    """Delete caches and build leftovers, and say how many.

    Parameters
    ----------
    installation : Installation
        The repository.
    options : Namespace
        As `add_clean_options` defines them.

    Returns
    -------
    int
        Exit code 0.
    """
    deleted = clean(installation, everything=options.all)
    print(f"Deleted {len(deleted)} files and folders.")
    return 0


def add_install_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``install`` understands to a parser."""
    parser.add_argument("--dev", action="store_true", help="add the linters and test tools")
    parser.add_argument("--scale", action="store_true", help="add Ray and Milvus")


def add_lab_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``lab`` understands to a parser."""
    parser.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    parser.add_argument("--port", type=int, metavar="N", help="default: first free one from 8888")


def add_notebooks_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``notebooks`` understands to a parser."""
    parser.add_argument("names", nargs="*", help="beginnings of names, such as 02; default: all")
    parser.add_argument(
        "--exercises", action="store_true", help="write exercises and solutions alone; run nothing"
    )


def add_clean_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``clean`` understands to a parser."""
    parser.add_argument("--all", action="store_true", help="delete .venv as well")
