"""Started by the command line: ``python -m rag_helpers.publishing book|slides FOLDER``.

It says where the pages are and what they weigh, and knows nothing else.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rag_helpers.errors import RagError
from rag_helpers.publishing.book import build_book
from rag_helpers.publishing.slides import build_slides

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what was asked for; return 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(prog="python -m rag_helpers.publishing")
    parser.add_argument("kind", choices=("book", "slides"))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    try:
        if options.kind == "book":
            first = build_book(ROOT, options.folder)
        else:
            first = build_slides(options.folder)[0]
    except RagError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    size = sum(path.stat().st_size for path in first.parent.rglob("*") if path.is_file())
    seconds = time.perf_counter() - began
    sys.stdout.write(f"{first}: {size / 1e6:.1f} MB in its folder, built in {seconds:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
