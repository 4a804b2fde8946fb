"""The report on one screen: ready or not, what is lacking, and the code for a teacher.

The module does not look at the machine; it is told what was found.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rag_helpers.environment.codes import describe_machine, encode
from rag_helpers.environment.report import CheckResult

__all__ = ["summarize"]

MAX_LINES, WIDTH = 24, 80
# Lines that are shown also when all is well; of the others there are too many.
_ALWAYS = (".venv", "Python", "free disk", "memory", "cores", "device", "cache folder", "Colab")
_NAME_WIDTH = 20


def summarize(results: Sequence[CheckResult]) -> list[str]:
    """Write a report on one screen.

    Parameters
    ----------
    results : sequence of CheckResult
        As `check_environment` returns them.

    Returns
    -------
    list of str
        At most 24 lines of at most 80 characters: the verdict, the failed checks with their
        cures, what machine this is, and the code.

    Examples
    --------
    >>> summarize([CheckResult("Python", True, "3.11.9")])[0]
    'READY: the course runs on this machine.'
    """
    failed = [result for result in results if not result.ok]
    passed = [result for result in results if result.ok]
    others = [result.name for result in passed if result.name not in _ALWAYS]
    if failed:
        verdict = f"NOT READY: {len(failed)} of {len(results)} checks failed."
    else:
        verdict = "READY: the course runs on this machine."
    tail = [_line("OK", result) for result in passed if result.name in _ALWAYS]
    if others:
        tail.append(_cut(f"OK    {len(others)} more: {', '.join(others)}"))
    tail += ["", f"Code for the teacher: {encode(describe_machine(results))}"]
    room = MAX_LINES - len(tail) - 2
    body = [_line("FAIL", result) for result in failed]
    # One cure usually mends many lines.
    cures = list(dict.fromkeys(result.cure for result in failed if result.cure))
    advice = [line for cure in cures for line in _wrap(cure)]
    if len(body) + len(advice) > room:
        advice = advice[: max(room - 2, 0) // 2]
        shown = max(room - len(advice) - 1, 0)
        body = [*body[:shown], f"and {len(body) - shown} more; `check --all` lists them."]
    return [verdict, "", *body, *advice, *tail]


def _line(word: str, result: CheckResult) -> str:
    return _cut(f"{word:<6}{result.name:<{_NAME_WIDTH}}  {result.detail}")


def _cut(text: str) -> str:
    line = " ".join(text.splitlines())
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


def _wrap(cure: str) -> list[str]:
    # Not every character that ends a line is white space to textwrap; to split() it is.
    text = " ".join(cure.split())
    return textwrap.wrap(
        text, WIDTH, initial_indent="  ->  ", subsequent_indent="      ", break_on_hyphens=False
    )
