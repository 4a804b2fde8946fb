"""The commands ``workshop``, ``book``, ``slides`` and ``test-colab``: for whoever teaches.

The module does not know how wheels are fetched or pages drawn. What needs packages is started in
``.venv``, so that a fresh clone can do all of it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rag_helpers.installation import (
    Installation,
    InstallationError,
    make_other_environment,
    run_stages,
    say,
    stages,
)

__all__ = [
    "add_test_colab_options",
    "add_workshop_options",
    "book",
    "slides",
    "test_colab",
    "workshop",
]


def workshop(installation: Installation, options: argparse.Namespace) -> int:
    """Build the folder from which a room installs the course without a network.

    Parameters
    ----------
    installation : Installation
        The repository.
    options : Namespace
        As `add_workshop_options` defines them.

    Returns
    -------
    int
        Exit code 0.

    Raises
    ------
    InstallationError
        If a wheel cannot be had, or something else stands where the folder should go.
    """
    from rag_helpers.environment import check_environment, describe_machine, encode
    from rag_helpers.workshop import build_workshop, find_changes, this_target

    if options.verify:
        changes = find_changes(options.out)
        for change in changes:
            print(change)
        print("The folder is not what it was." if changes else "Every file is what it was.")
        return 1 if changes else 0
    platforms = options.platform or ["linux"]
    targets = [
        this_target(platform_name=name, python=python)
        for name in dict.fromkeys(platforms)
        for python in dict.fromkeys(options.python or [""])
    ]
    installation.install(dev=True)

    def draw(folder: Path) -> None:
        say("Drawing the slides …")
        if installation.run(["rag_helpers.publishing", "slides", str(folder)]) != 0:
            raise InstallationError("The slides cannot be drawn; the lines above say why.")

    report = build_workshop(
        installation.root,
        options.out,
        targets,
        python=installation.python,
        torch=os.environ.get("TORCH", ""),
        example_code=encode(describe_machine(check_environment())),
        draw_slides=draw,
    )
    say(str(report))
    return 0


def add_workshop_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop``.

    Parameters
    ----------
    parser : ArgumentParser
        Changed in place.
    """
    parser.add_argument(
        "--platform",
        action="append",
        metavar="NAME",
        help="linux (the default), windows or macos-arm64; may be repeated",
    )
    parser.add_argument(
        "--python",
        action="append",
        metavar="3.N",
        help="Python of the participants; default: this one; may be repeated",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("rag-workshop"),
        metavar="DIR",
        help="the folder; default: %(default)s",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="compare its files with their checksums; build nothing",
    )


def book(installation: Installation, options: argparse.Namespace) -> int:
    """Build the site in ``build/book``."""
    installation.install(dev=True)
    return installation.run(["rag_helpers.publishing", "book", "build/book"])


def slides(installation: Installation, options: argparse.Namespace) -> int:
    """Write the slides into ``build/slides``."""
    installation.install(dev=True)
    return installation.run(["rag_helpers.publishing", "slides", "build/slides"])


def test_colab(installation: Installation, options: argparse.Namespace) -> int:
    """Run notebooks and widgets on the versions that Colab ships, or on the oldest."""
    kind = "oldest" if options.oldest else "colab"
    return run_stages(make_other_environment(installation.root, kind), stages("test-colab"))


def add_test_colab_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``test-colab``.

    Parameters
    ----------
    parser : ArgumentParser
        Changed in place.
    """
    parser.add_argument(
        "--oldest", action="store_true", help="the oldest versions that are supported, instead"
    )
