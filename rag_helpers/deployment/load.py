"""Many clients at once, and a check of every reply: what a service does under load.

The module knows the service's messages alone. It does not know how questions are
answered, nor in which process.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from rag_helpers.errors import InvalidInputError

__all__ = ["LoadReport", "ask_alone", "ask_at_once"]

_TIMEOUT_S = 120.0
_LONGEST_PAUSE_S = 1.0


@dataclass
class LoadReport:
    """What many clients got.

    Parameters
    ----------
    elapsed_s : float
        From the first question to the last reply.
    statuses : Counter
        How often which HTTP status came.
    waits_s : list of float
        Seconds to each answer with status 200.
    lost : list of str
        Errors of questions that got no reply, or half of one.
    mixed_up : list of str
        Questions whose reply was that of another one.
    reworded : list of str
        Questions that were answered from the same passages as alone, in other
        words.
    """

    elapsed_s: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    waits_s: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    mixed_up: list[str] = field(default_factory=list)
    reworded: list[str] = field(default_factory=list)

    def quantile_s(self, share: float) -> float:
        """Return the time within which a share of the answers came, in seconds.

        Examples
        --------
        >>> LoadReport(waits_s=[3.0, 1.0, 2.0]).quantile_s(0.5)
        2.0
        """
        waits = sorted(self.waits_s)
        return waits[min(int(len(waits) * share), len(waits) - 1)] if waits else float("nan")


def ask_alone(url: str, questions: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Ask a service one question after the other.

    Parameters
    ----------
    url : str
        Where it listens, such as ``http://127.0.0.1:8000``.
    questions : sequence of str
        Without repeats.

    Returns
    -------
    dict of str to dict
        The message that answers each question.

    Raises
    ------
    InvalidInputError
        If one of them is not answered: then nothing can be compared.

    Examples
    --------
    >>> answers = ask_alone("http://127.0.0.1:8000", ["What does pass do?"])  # doctest: +SKIP
    """
    client = _Client(url)
    answers = {}
    for question in questions:
        status, message, _ = client.ask(question)
        if status != 200:
            raise InvalidInputError(
                f"{url} answered {question!r} with status {status} ({message.get('error')}), and"
                " 200 is needed: ask a service that is ready and does nothing else."
            )
        answers[question] = message
    client.close()
    return answers


def ask_at_once(
    url: str, alone: Mapping[str, Mapping[str, Any]], *, clients: int = 64, seconds: float = 60.0
) -> LoadReport:
    """Ask a service from many clients, each again and again, and check every reply.

    Each client starts at another question. Whoever is turned away comes back
    after the time that the service names, but after a second at the latest, so
    that the queue stays full.

    Parameters
    ----------
    url : str
        Where it listens.
    alone : mapping of str to mapping
        What `ask_alone` returned: the questions, and what is right.
    clients : int, default 64
        How many ask at the same time, each in a thread and with a connection
        of its own.
    seconds : float, default 60.0
        How long; questions that are under way then are waited for.

    Returns
    -------
    LoadReport
        A reply is right when it names the question, and its text and citations
        are those that the question got alone. Where the text differs, the
        passages must still be the same ones, in their order: batches of other
        shapes round differently, which may turn a word.

    Examples
    --------
    >>> report = ask_at_once("http://127.0.0.1:8000", answers, clients=8)  # doctest: +SKIP
    """
    report, lock = LoadReport(), threading.Lock()
    began = time.monotonic()
    until = began + seconds
    threads = [
        threading.Thread(target=_be_a_client, args=(url, alone, number, until, report, lock))
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report.elapsed_s = time.monotonic() - began
    return report


def _be_a_client(
    url: str,
    alone: Mapping[str, Mapping[str, Any]],
    turn: int,
    until: float,
    report: LoadReport,
    lock: threading.Lock,
) -> None:
    questions, client = list(alone), _Client(url)
    while time.monotonic() < until:
        question = questions[turn % len(questions)]
        turn += 1
        try:
            status, message, waited_s = client.ask(question)
        except (OSError, ValueError, http.client.HTTPException) as error:
            with lock:
                report.lost.append(f"{question}: {type(error).__name__}: {error}")
            client.close()
            continue
        with lock:
            report.statuses[status] += 1
            if status == 200:
                report.waits_s.append(waited_s)
                _check(question, message, alone[question], report)
        if status != 200:
            time.sleep(min(float(message["retry_after_s"]), _LONGEST_PAUSE_S))
    client.close()


def _check(
    question: str, message: Mapping[str, Any], right: Mapping[str, Any], report: LoadReport
) -> None:
    if all(message[key] == right[key] for key in ("question", "text", "citations")):
        return
    same_place = message["question"] == question and _passages(message) == _passages(right)
    (report.reworded if same_place else report.mixed_up).append(question)


def _passages(message: Mapping[str, Any]) -> set[tuple[str, int]]:
    return {(one["source"], one["passage_start"]) for one in message["citations"]}


class _Client:
    """One connection that stays open, as a browser's does."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            place.hostname or "127.0.0.1", place.port, timeout=_TIMEOUT_S
        )

    def ask(self, question: str) -> tuple[int, dict[str, Any], float]:
        """Return status, message and seconds."""
        began = time.perf_counter()
        body = json.dumps({"question": question})
        self._connection.request("POST", "/v1/answers", body, {"Content-Type": "application/json"})
        reply = self._connection.getresponse()
        message: dict[str, Any] = json.loads(reply.read())
        message["retry_after_s"] = reply.headers.get("Retry-After", "1")
        return reply.status, message, time.perf_counter() - began

    def close(self) -> None:
        self._connection.close()
