"""The command ``scale-demo``: the same steps on several nodes, with what it costs and survives.

The module prints and writes what it is given. It does not know what a cluster is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rag_helpers.commands.ask import count

__all__ = ["add_scale_demo_options", "render", "scale_demo"]

RESULTS = Path(__file__).parents[1] / "data" / "results" / "scaling.json"


def scale_demo(options: argparse.Namespace) -> int:
    """Run the demonstration, print its tables and write its figures.

    Parameters
    ----------
    options : Namespace
        As `add_scale_demo_options` describes them.

    Returns
    -------
    int
        0 when nothing was lost, doubled or wrong, else 1.

    Raises
    ------
    MissingExtraError
        If Ray or Milvus is not installed.
    """
    from rag_helpers.scaling import run_demo

    found = run_demo(
        synthetic=tuple(options.synthetic),
        topics=options.topics,
        questions=options.questions,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(render(found))
    if options.write:
        draft = RESULTS.with_suffix(".json.new")
        draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        draft.replace(RESULTS)
    return 0 if is_whole(found) else 1


def is_whole(found: Mapping[str, Any]) -> bool:
    """Tell whether nothing was lost, doubled or wrong."""
    embedding, serving = found["kills"]["embedding"], found["kills"]["serving"]
    same = found["equality"]["dense: same ten hits"] == found["equality"]["questions"]
    grown = all(row["in Milvus"] == row["chunks"] and not row["doubled"] for row in found["growth"])
    kept = not embedding["chunks lost"] and not embedding["doubled"] and not serving["wrong"]
    return bool(same and grown and kept)


def render(found: Mapping[str, Any]) -> str:
    """Return the tables of equality and throughput, as text.

    Parameters
    ----------
    found : mapping
        As `rag_helpers.scaling.run_demo` returns it.

    Returns
    -------
    str
    """
    alone, cluster = found["throughput"]["one process"], found["throughput"]["cluster"]
    embedding, serving = found["kills"]["embedding"], found["kills"]["serving"]
    equality = found["equality"]
    lines = [f"On {found['processor']}, {found['seconds']:.0f} s in all.", "", "Throughput"]
    lines += [
        f"  {name:<42}{row['chunks']:>9,} chunks {row['seconds']:>8.1f} s {row['chunks/s']:>9.1f}/s"
        for name, row in (
            ("help topics, one process", alone),
            (f"help topics, cluster ({cluster['seconds until the first part']:.0f} s to start)",
             cluster),
            ("help topics, cluster, a node killed", embedding),
            *(("synthetic vectors, cluster", row) for row in found["growth"]),
        )
    ]  # fmt: skip
    lines += ["", "Equality"]
    lines += [
        f"  dense: the same ten hits for {equality['dense: same ten hits']} of "
        f"{equality['questions']} questions (fp32, flat; ties within 1e-5)"
    ]
    for name, row in equality["hybrid"].items():
        shown = ", ".join(
            f"{metric} {row[metric]['value']:.3f} [{row[metric]['low']:.3f}, "
            f"{row[metric]['high']:.3f}]"
            for metric in ("recall@5", "mrr@10")
        )
        lines.append(f"  hybrid, {name}: {shown}")
    lines += ["", "Kills"]
    lines += [
        f"  while embedding: {embedding['chunks lost']} chunks lost, {embedding['doubled']} "
        f"doubled; {embedding['shards equal to the last bit']} of {embedding['shards']} shards "
        "equal to the last bit",
        f"  while serving: {serving['wrong']} of {serving['asked']} answers wrong, "
        f"{serving['asked again']} asked again, the longest wait {serving['longest_s']:.1f} s",
    ]
    lines += ["", "Growth (synthetic vectors in Milvus Lite)"]
    lines += [
        f"  {row['chunks']:>9,}: Milvus {row['milvus_peak_mb']:,} MB, the ingesting process "
        f"{row['driver_peak_mb']:,} MB, shards {row['shards_mb']:,.0f} MB, a flat search "
        f"{row['search_ms']:.0f} ms"
        for row in found["growth"]
    ]
    return "\n".join(lines)


def add_scale_demo_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``scale-demo`` understands to a parser.

    Parameters
    ----------
    parser : ArgumentParser
        Changed in place.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_scale_demo_options(parser)
    >>> parser.parse_args(["--synthetic", "1000"]).synthetic
    [1000]
    """
    parser.add_argument(
        "--synthetic", type=count, nargs="+", default=[10_000, 100_000], metavar="N",
        help="synthetic chunks to ingest, one index each; default: 10000 100000",
    )  # fmt: skip
    parser.add_argument("--topics", type=count, metavar="N", help="help topics; default: all")
    parser.add_argument(
        "--questions", type=count, default=60, metavar="N", help="asked over HTTP; default: 60"
    )
    parser.add_argument(
        "--write", action="store_true", help="keep the figures in rag_helpers/data/results"
    )
