"""The command line: ``python -m rag_helpers``, installed as ``rag-helpers`` too.

Each command is one function of `commands` and one row of `COMMANDS`. Those that set
up run on the standard library alone; the others move into ``.venv`` by themselves
when the Python that started them has none of the packages.

The module parses arguments and reports errors. It does not know how anything
is installed, searched, generated or scored.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rag_helpers import commands
from rag_helpers.errors import RagError
from rag_helpers.installation import Installation, InstallationError

__all__ = ["COMMANDS", "Command", "main"]

INSTALLATION = Installation(Path(__file__).resolve().parents[1])
PROGRAM = "python -m rag_helpers"


@dataclass(frozen=True)
class Command:
    """One command.

    Parameters
    ----------
    name : str
        How it is called.
    summary : str
        What it does, in a line.
    run : callable
        Takes the parsed options, returns the exit code.
    options : callable, optional
        Adds its options to a parser.
    more : str
        Ends the command's help: examples, or what else to know.
    needs_packages : bool
        Whether it cannot run on the standard library alone.
    needs_engines : bool
        Whether it needs Ray and Milvus, and installs them where they are not.
    """

    name: str
    summary: str
    run: Callable[[argparse.Namespace], int]
    options: Callable[[argparse.ArgumentParser], None] | None = None
    more: str = ""
    needs_packages: bool = False
    needs_engines: bool = False


def _run_checks(options: argparse.Namespace) -> int:
    return commands.run_checks(INSTALLATION, options)


COMMANDS = (
    Command(
        "install",
        "make .venv and install everything into it, or repair it",
        lambda options: commands.install(INSTALLATION, options),
        commands.add_install_options,
        "Set TORCH=cpu to take PyTorch's small CPU build. Running it again is quick and safe:\n"
        "what an interrupted installation left undone is done.",
    ),
    Command(
        "lab",
        "open the notebooks in JupyterLab (installs first)",
        lambda options: commands.lab(INSTALLATION, options),
        commands.add_lab_options,
    ),
    Command(
        "check",
        "say whether the course runs on this machine, and the cure where it does not",
        lambda options: commands.check(INSTALLATION, options, has_packages=_has_packages()),
        commands.add_check_options,
        "Exit code 1 when a line says FAIL, or a code does. It ends with a short code that tells\n"
        "a teacher what is lacking, and nothing about you. For lint, types and tests: check-code.",
    ),
    Command(
        "ask",
        "answer a question from the Python help topics or your own documents",
        commands.ask,
        commands.add_ask_options,
        f'Examples:\n{PROGRAM} ask "What happens when I divide by zero?"\n'
        f'{PROGRAM} ask "How do I return goods?" --corpus my_documents --k 3\n'
        f'{PROGRAM} ask "What is a decorator?" --generator extractive --json',
        needs_packages=True,
    ),
    Command(
        "index",
        "build, change and inspect an index of documents",
        commands.index,
        commands.add_index_options,
        f"Examples:\n{PROGRAM} index build my_index --corpus my_documents\n"
        f"{PROGRAM} index add my_index my_documents/new.md\n"
        f"{PROGRAM} index remove my_index old.md\n"
        f'{PROGRAM} ask "How do I return goods?" --index my_index',
        needs_packages=True,
    ),
    Command(
        "evaluate",
        "measure retrieval and answers on questions with known answers",
        commands.evaluate,
        commands.add_evaluate_options,
        f"Examples:\n{PROGRAM} evaluate --split dev --retrieval-only\n"
        f"{PROGRAM} evaluate --gold my_questions.jsonl --corpus my_documents\n"
        f"{PROGRAM} evaluate --squad dev-v1.1.json --limit 100 --json\n\n"
        "A gold file has one JSON object a line: id, question, answers, evidence, source, kind.\n"
        "An interrupted run goes on where it stopped.",
        needs_packages=True,
    ),
    Command(
        "serve",
        "answer over HTTP: a REST API and a small web page",
        commands.serve,
        commands.add_serve_options,
        f"Examples:\n{PROGRAM} serve --port 8080\n"
        f"{PROGRAM} serve --corpus my_documents --generator extractive\n"
        "Further settings are variables such as RAG_API_KEY, RAG_QUEUE_SIZE and RAG_TIMEOUT_S;\n"
        "to listen on anything but this machine, RAG_API_KEY must be set.",
        needs_packages=True,
    ),
    Command(
        "adapters",
        "train the adapters that come with the course, and measure them",
        commands.adapters,
        commands.add_adapters_options,
        f"Examples:\n{PROGRAM} adapters --xquad xquad.en.json\n"
        f"{PROGRAM} adapters --only retriever --limit 32 --folder my_adapters\n\n"
        "An interrupted training goes on where it stopped.",
        needs_packages=True,
    ),
    Command(
        "scale-demo",
        "the same steps on several Ray nodes and Milvus, with nodes killed (installs first)",
        commands.scale_demo,
        commands.add_scale_demo_options,
        f"Example: {PROGRAM} scale-demo --synthetic 10000 100000 1000000",
        needs_engines=True,
    ),
    Command("check-code", "lint, types, fast tests, notebooks against sources", _run_checks),
    Command("test", "lint, types, all tests, all notebooks, browser", _run_checks),
    Command("test-slow", "the tests that take minutes", _run_checks),
    Command(
        "notebooks",
        "execute the notebooks' sources and write the notebooks",
        lambda options: commands.notebooks(INSTALLATION, options),
        commands.add_notebooks_options,
        f"Example: {PROGRAM} notebooks 02 03",
    ),
    Command(
        "test-colab",
        "run notebooks and widgets on the versions that Google Colab ships",
        lambda options: commands.test_colab(INSTALLATION, options),
        commands.add_test_colab_options,
        "Makes .venv-colab, or .venv-oldest with --oldest; several GB: torch comes with CUDA.",
    ),
    Command(
        "workshop",
        "build one folder from which a room installs the course without a network",
        lambda options: commands.workshop(INSTALLATION, options),
        commands.add_workshop_options,
        f"Examples:\n{PROGRAM} workshop\n"
        f"{PROGRAM} workshop --platform linux --platform windows --platform macos-arm64\n"
        f"{PROGRAM} workshop --platform windows --python 3.12 --out E:/rag-workshop\n"
        f"{PROGRAM} workshop --out E:/rag-workshop --verify",
    ),
    Command(
        "book",
        "build the notebooks and documents as a searchable site in build/book",
        lambda options: commands.book(INSTALLATION, options),
    ),
    Command(
        "slides",
        "draw slides from the notebooks into build/slides",
        lambda options: commands.slides(INSTALLATION, options),
    ),
    Command(
        "bench",
        "measure the recipe, the default and llama.cpp side by side",
        commands.bench,
        commands.add_bench_options,
        "Takes a quarter of an hour, and some minutes more the first time: llama.cpp is compiled.",
        needs_packages=True,
    ),
    Command(
        "load",
        "load the service with 64 clients for a minute, and check every reply",
        commands.load,
        commands.add_load_options,
        f"Example: {PROGRAM} load --seconds 10 --generator extractive --output load.json\n\n"
        "Exit code 1 when a reply is lost, mixed up, or neither 200 nor 429, or memory grows.",
        needs_packages=True,
    ),
    Command("results", "write the pages' tables from the measured files", commands.results),
    Command(
        "clean",
        "delete caches and build leftovers",
        lambda options: commands.delete(INSTALLATION, options),
        commands.add_clean_options,
    ),
)


def _parser() -> argparse.ArgumentParser:
    start = (
        "To begin:\n"
        f"  {PROGRAM} install\n"
        f"  {PROGRAM} lab\n"
        f'  {PROGRAM} ask "What happens when I divide by zero?"\n\n'
        f"`{PROGRAM} COMMAND --help` explains a command."
    )
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="A course on retrieval-augmented generation, from the command line.",
        epilog=start,
        formatter_class=layout,
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        sub = subparsers.add_parser(
            command.name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            epilog=command.more,
            formatter_class=layout,
        )
        if command.options is not None:
            command.options(sub)
    return parser


def _has_packages() -> bool:
    """Whether this Python has the packages that the seven steps need."""
    needed = ("numpy", "torch", "faiss", "sentence_transformers")
    return all(importlib.util.find_spec(name) is not None for name in needed)


def _has_engines() -> bool:
    """Whether this Python has what the scaled-up steps need besides."""
    needed = ("ray", "pymilvus", "milvus_lite")
    return _has_packages() and all(importlib.util.find_spec(name) is not None for name in needed)


def _run(arguments: Sequence[str]) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 (the reader's Python may be any)
        raise InstallationError(
            f"This is Python {sys.version.split()[0]}, and 3.11 or newer is needed; install it, "
            "then start it by name, such as: python3.11 -m rag_helpers install"
        )
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    command = next(command for command in COMMANDS if command.name == options.command)
    if (command.needs_packages or command.name == "check") and not _has_packages():
        if INSTALLATION.python.exists() and not INSTALLATION.is_current:
            return INSTALLATION.become(["rag_helpers", *arguments])
        if command.needs_packages:
            raise InstallationError(
                f"`{command.name}` needs packages that are not installed; run: {PROGRAM} install"
            )
    if command.needs_engines and not _has_engines():
        INSTALLATION.install(scale=True)
        return INSTALLATION.become(["rag_helpers", *arguments])
    return command.run(options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the program's name; by default those it was started with.

    Returns
    -------
    int
        0 on success, 1 when a check or test failed, 2 when the input was
        wrong, 130 when interrupted. Errors are one sentence on stderr.

    Examples
    --------
    >>> main(["ask", "--k", "none"])
    Traceback (most recent call last):
    SystemExit: 2
    """
    for stream in (sys.stdout, sys.stderr):
        # A console that lacks a character shows a question mark rather than a stack trace.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except (RagError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
