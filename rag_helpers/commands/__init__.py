"""The commands that use the seven steps: a module each.

Each is a function from parsed options to an exit code, beside one that adds its
options to a parser. Heavy modules are imported when a command runs, so that
``--help`` works before anything is installed.
"""

from __future__ import annotations

from rag_helpers.commands.adapters import adapters, add_adapters_options
from rag_helpers.commands.ask import add_ask_options, ask
from rag_helpers.commands.evaluate import add_evaluate_options, evaluate
from rag_helpers.commands.index import add_index_options, index
from rag_helpers.commands.results import results
from rag_helpers.commands.scale_demo import add_scale_demo_options, scale_demo
from rag_helpers.commands.serve import add_serve_options, serve

__all__ = [
    "adapters",
    "add_adapters_options",
    "add_ask_options",
    "add_evaluate_options",
    "add_index_options",
    "add_scale_demo_options",
    "add_serve_options",
    "ask",
    "evaluate",
    "index",
    "results",
    "scale_demo",
    "serve",
]
