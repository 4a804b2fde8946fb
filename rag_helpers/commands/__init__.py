"""The commands that use the seven steps, a module each, and those of whoever teaches.

Each is a function from parsed options to an exit code, beside one that adds its
options to a parser. Heavy modules are imported when a command runs, so that
``--help`` works before anything is installed.
"""

from __future__ import annotations

from rag_helpers.commands.adapters import adapters, add_adapters_options
from rag_helpers.commands.ask import add_ask_options, ask
from rag_helpers.commands.bench import add_bench_options, bench
from rag_helpers.commands.building import (
    add_clean_options,
    add_install_options,
    add_lab_options,
    add_notebooks_options,
    delete,
    install,
    lab,
    notebooks,
    run_checks,
)
from rag_helpers.commands.check import add_check_options, check
from rag_helpers.commands.evaluate import add_evaluate_options, evaluate
from rag_helpers.commands.index import add_index_options, index
from rag_helpers.commands.load import add_load_options, load
from rag_helpers.commands.results import results
from rag_helpers.commands.scale_demo import add_scale_demo_options, scale_demo
from rag_helpers.commands.serve import add_serve_options, serve
from rag_helpers.commands.teaching import (
    add_test_colab_options,
    add_workshop_options,
    book,
    slides,
    test_colab,
    workshop,
)

__all__ = [
    "adapters",
    "add_adapters_options",
    "add_ask_options",
    "add_bench_options",
    "add_check_options",
    "add_clean_options",
    "add_evaluate_options",
    "add_index_options",
    "add_install_options",
    "add_lab_options",
    "add_load_options",
    "add_notebooks_options",
    "add_scale_demo_options",
    "add_serve_options",
    "add_test_colab_options",
    "add_workshop_options",
    "ask",
    "bench",
    "book",
    "check",
    "delete",
    "evaluate",
    "index",
    "install",
    "lab",
    "load",
    "notebooks",
    "results",
    "run_checks",
    "scale_demo",
    "serve",
    "slides",
    "test_colab",
    "workshop",
]
