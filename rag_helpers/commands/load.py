"""The command ``load``: 64 clients for a minute, and every reply checked.

It starts ``serve`` in a process of its own, as a learner would, and watches that
process. The module does not know how replies are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rag_helpers.commands.ask import count
from rag_helpers.commands.results import RESULTS
from rag_helpers.errors import InvalidInputError

__all__ = ["add_load_options", "faults", "load"]

_START_S = 600  # the first start converts a model and makes an index
_STOP_S = 90
_BETWEEN_SAMPLES_S = 0.25
MOST_GROWTH = 0.05
"""Share of its memory by which the service may grow from the third quarter of the time to the
last."""


def load(options: argparse.Namespace) -> int:
    """Load a service of this machine, and write and print what it did.

    Parameters
    ----------
    options : Namespace
        As `add_load_options` describes them.

    Returns
    -------
    int
        Exit code 0, or 1 when the service did not keep what `faults` asks for.

    Raises
    ------
    InvalidInputError
        When the service does not become ready, or a question gets no answer.
    """
    from rag_helpers.deployment.load import ask_alone, ask_at_once
    from rag_helpers.environment import describe_processor, versions
    from rag_helpers.evaluation import load_gold_split

    asked = [one.question for one in load_gold_split("dev") if one.answers]
    questions = list(dict.fromkeys(asked))[: options.questions]
    with _service(options) as (service, url):
        alone = ask_alone(url, questions)
        with _memory_of(service.pid) as memory:
            report = ask_at_once(url, alone, clients=options.clients, seconds=options.seconds)
        service.terminate()
        stopped = service.wait(_STOP_S)
    quarter = max(1, len(memory) // 4)
    third, last = memory[-2 * quarter : -quarter], memory[-quarter:]
    found = {
        "clients": options.clients,
        "seconds": options.seconds,
        "questions": len(questions),
        "generator": alone[questions[0]]["generator"],
        "replies": sum(report.statuses.values()),
        "statuses": {str(status): n for status, n in sorted(report.statuses.items())},
        "lost": len(report.lost),
        "mixed up": len(report.mixed_up),
        "reworded": len(report.reworded),
        "seconds to the last reply": round(report.elapsed_s, 1),
        "answers/s": round(len(report.waits_s) / report.elapsed_s, 2),
        "p50 s alone": round(
            statistics.median(one["timings_ms"]["total"] for one in alone.values()) / 1000, 2
        ),
        "p50 s": round(report.quantile_s(0.5), 2),
        "p95 s": round(report.quantile_s(0.95), 2),
        "memory MB": {
            "start": round(memory[0]),
            "peak": round(max(memory)),
            "end": round(memory[-1]),
            "growth, third to last quarter": round(
                statistics.mean(last) - statistics.mean(third), 1
            ),
        },
        "exit code after SIGTERM": stopped,
        "processor": describe_processor(),
        "versions": versions(),
    }
    text = json.dumps(found, indent=1) + "\n"
    draft = options.output.with_suffix(".json.new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(options.output)
    print(text, end="")
    for example in (*report.lost[:3], *report.mixed_up[:3]):
        print(f"for example: {example}", file=sys.stderr)
    broken = faults(found)
    for fault in broken:
        print(f"FAIL: {fault}", file=sys.stderr)
    return 1 if broken else 0


def faults(found: Mapping[str, Any]) -> list[str]:
    """Name what a service under load must not do, and did.

    Parameters
    ----------
    found : Mapping
        What ``load.json`` holds.

    Returns
    -------
    list of str
        Empty when all is well.

    Examples
    --------
    >>> well = {"statuses": {"200": 5, "429": 9}, "lost": 0, "mixed up": 0,
    ...         "memory MB": {"end": 900, "growth, third to last quarter": 1.0},
    ...         "exit code after SIGTERM": 0}
    >>> faults(well)
    []
    >>> faults({**well, "lost": 2})
    ['2 questions got no reply']
    """
    broken = []
    if others := sorted(set(found["statuses"]) - {"200", "429"}):
        broken.append(f"replies other than 200 and 429: {', '.join(others)}")
    if not found["statuses"].get("200"):
        broken.append("nothing was answered")
    if found["lost"]:
        broken.append(f"{found['lost']} questions got no reply")
    if found["mixed up"]:
        broken.append(f"{found['mixed up']} replies belong to another question")
    memory = found["memory MB"]
    growth = memory["growth, third to last quarter"]
    if growth > MOST_GROWTH * memory["end"]:
        broken.append(f"memory grew by {growth} MB between the third and the last quarter")
    # Windows has no signal that lets a process end in its own way.
    if found["exit code after SIGTERM"] != 0 and os.name != "nt":
        broken.append(f"the service ended with {found['exit code after SIGTERM']} after SIGTERM")
    return broken


def add_load_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``load`` understands to a parser.

    Parameters
    ----------
    parser : ArgumentParser
        Changed in place.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_load_options(parser)
    >>> parser.parse_args(["--clients", "8"]).clients
    8
    """
    parser.add_argument("--clients", type=count, default=64, metavar="N", help="default: 64")
    parser.add_argument("--seconds", type=count, default=60, metavar="N", help="default: 60")
    parser.add_argument(
        "--questions", type=count, default=64, metavar="N", help="different ones (default: 64)"
    )
    parser.add_argument("--retriever", metavar="NAME", help="as for serve")
    parser.add_argument("--generator", metavar="NAME", help="as for serve")
    parser.add_argument("--corpus", metavar="PATH", help="as for serve")
    parser.add_argument(
        "--output",
        type=Path,
        default=RESULTS / "load.json",
        metavar="FILE",
        help="what is written (default: the file that RESULTS.md shows)",
    )


@contextmanager
def _service(options: argparse.Namespace) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run ``serve`` on a free port until the end of the block; yield it when it is ready."""
    names = ("retriever", "generator", "corpus")
    given = [(name, getattr(options, name)) for name in names]
    words = [word for name, value in given if value for word in (f"--{name}", value)]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log.jsonl")
        with log.open("wb") as file:
            service = subprocess.Popen(  # noqa: S603 (this program)
                [sys.executable, "-m", "rag_helpers", "serve", "--port", "0", *words],
                stdout=file,
                stderr=file,
            )
        try:
            yield service, _address_when_ready(service, log)
        finally:
            service.kill()
            service.wait()


def _address_when_ready(service: subprocess.Popen[bytes], log: Path) -> str:
    """Read the address from the service's log, since the system chose the port."""
    deadline, lines = time.monotonic() + _START_S, []
    while time.monotonic() < deadline and service.poll() is None:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        running = [line for line in lines if '"Uvicorn running on ' in line]
        if any('"event": "load failed"' in line for line in lines):
            break
        if running and _is_ready(url := json.loads(running[0])["event"].split()[3]):
            return str(url)
        time.sleep(0.2)
    raise InvalidInputError(
        f"The service was not ready within {_START_S} s, or ended before: start `serve` to see"
        f" why. Its log ends with: {' '.join(lines[-3:])}"
    )


def _is_ready(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/readyz", timeout=5).close()  # noqa: S310 (our own address)
    except (urllib.error.URLError, OSError):
        return False
    return True


@contextmanager
def _memory_of(process: int) -> Iterator[list[float]]:
    """Note a process's memory in MB, again and again, until the end of the block."""
    import psutil

    watched, ended = psutil.Process(process), threading.Event()
    samples = [watched.memory_info().rss / 1e6]

    def watch() -> None:
        with suppress(psutil.NoSuchProcess):  # a service that dies is seen by its clients
            while not ended.wait(_BETWEEN_SAMPLES_S):
                samples.append(watched.memory_info().rss / 1e6)

    watcher = threading.Thread(target=watch, name="rag memory")
    watcher.start()
    try:
        yield samples
    finally:
        ended.set()
        watcher.join()
