"""The engines behind the scaled-up steps: here, reachable, and the same on every node.

The module knows names of packages, addresses and versions. It does not know
what is computed on a cluster.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

from rag_helpers.errors import MissingExtraError, ScalingError

__all__ = [
    "SCALE_PACKAGES",
    "check_versions",
    "compare_versions",
    "connect",
    "import_part",
    "import_pymilvus",
    "import_ray",
    "refuse_unreachable",
    "versions_here",
]

SCALE_PACKAGES = ("ray[data,serve]>=2.60,<3", "pymilvus>=3.0,<4", "milvus-lite>=3.2,<4")
"""What the extra ``scale`` installs."""

# Two nodes that differ in one of these may cut, embed or serialize differently.
_COMPARED = ("rag-helpers", "numpy", "torch", "transformers", "sentence-transformers", "pyarrow",
             "ray", "pymilvus", "PyStemmer")  # fmt: skip


def import_ray() -> Any:  # noqa: ANN401 (an untyped library)
    """Return Ray, or say how to install it; it reports nothing to its makers.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    _require("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray warns of a change of its own, and of what Ray Data does, which concern no code of ours.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    return ray


def import_part(name: str) -> Any:  # noqa: ANN401 (an untyped library)
    """Return ``ray.data`` or ``ray.serve``, which then tell of every step in files alone.

    Parameters
    ----------
    name : {"data", "serve"}

    Returns
    -------
    module
    """
    part = import_module(f"{import_ray().__name__}.{name}")
    logging.getLogger(f"ray.{name}").setLevel(logging.ERROR)  # importing it sets another
    return part


def import_pymilvus() -> Any:  # noqa: ANN401 (an untyped library)
    """Return the Milvus client, or say how to install it; it logs nothing of its own.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    _require("pymilvus")
    import pymilvus

    # It logs the stack trace of every failure that it also raises, and that we put into a sentence.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)
    # Milvus Lite runs in this process, and is asked for methods that it does without.
    logging.getLogger("grpc._server").setLevel(logging.CRITICAL + 1)
    return pymilvus


def _require(name: str) -> None:
    if find_spec(name) is None:
        packages = " ".join(f"'{package}'" for package in SCALE_PACKAGES)
        raise MissingExtraError(
            f"Scaling needs {name}, which is not installed: run pip install {packages}, or in a "
            "clone python -m rag_helpers install --scale."
        )


def refuse_unreachable(address: str, what: str, *, timeout_s: float = 5.0) -> None:
    """Raise unless something listens at an address.

    Parameters
    ----------
    address : str
        ``"host:port"``, with or without ``"http://"`` before it.
    what : str
        What should listen there, for the message.
    timeout_s : float
        Longest wait in seconds.

    Raises
    ------
    ScalingError
        If nothing listens, or the address has no host or no port.

    Examples
    --------
    >>> refuse_unreachable("127.0.0.1:1", "Milvus")
    Traceback (most recent call last):
    rag_helpers.errors.ScalingError: Milvus cannot be reached at 127.0.0.1:1 (Connection refused): \
start it, or correct the address.
    """
    host, _, port = address.partition("//")[2].rpartition(":") if "//" in address else (
        address.rpartition(":")
    )  # fmt: skip
    try:
        number = int(port.rstrip("/"))
        with socket.create_connection((host.strip("[]"), number), timeout=timeout_s):
            return
    except (OSError, ValueError, OverflowError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).rstrip(".")
        raise ScalingError(
            f"{what} cannot be reached at {address} ({reason}): start it, or correct the address."
        ) from error


def connect(address: str, *, same_versions: bool = True) -> None:
    """Connect this process to a Ray cluster; being connected already is no error.

    Parameters
    ----------
    address : str
        Of the head node, ``"host:port"``.
    same_versions : bool
        Whether every node must have the versions of this process.

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    ScalingError
        If the cluster cannot be reached, runs another version of Python or Ray, or
        its nodes have other versions of what computes.
    """
    ray = import_ray()
    if not ray.is_initialized():
        refuse_unreachable(address, "The Ray cluster")
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (RuntimeError, ConnectionError) as error:
            raise ScalingError(
                f"The Ray cluster at {address} does not take this process ({error}): run the same "
                "versions of Python and Ray here and there."
            ) from error
    if same_versions:
        check_versions()


def versions_here() -> dict[str, str]:
    """Return the versions that must be equal on all nodes, ``"absent"`` where there is none."""
    import platform

    found = {"python": platform.python_version()}
    for name in _COMPARED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def compare_versions(own: Mapping[str, str], nodes: Mapping[str, Mapping[str, str]]) -> None:
    """Raise when a node differs.

    Parameters
    ----------
    own : mapping of str to str
        Name of a package → its version in this process.
    nodes : mapping of str to mapping
        Name of a node → the same there.

    Raises
    ------
    ScalingError
        Naming the first node that differs, and every package that does.

    Examples
    --------
    >>> compare_versions({"numpy": "2.4.6"}, {"node 7": {"numpy": "1.26.0"}})
    Traceback (most recent call last):
    rag_helpers.errors.ScalingError: node 7 has numpy 1.26.0 (here 2.4.6): install the same \
versions on all nodes, or vectors made there may differ from those made here.
    """
    for node, theirs in nodes.items():
        skewed = [
            f"{name} {theirs.get(name, 'absent')} (here {version})"
            for name, version in own.items()
            if theirs.get(name, "absent") != version
        ]
        if skewed:
            raise ScalingError(
                f"{node} has {', '.join(skewed)}: install the same versions on all nodes, or "
                "vectors made there may differ from those made here."
            )


def check_versions(*, timeout_s: float = 60.0) -> int:
    """Ask every node of the connected cluster for its versions, and compare.

    Parameters
    ----------
    timeout_s : float
        Longest wait for the answers, in seconds.

    Returns
    -------
    int
        How many nodes answered: all that live.

    Raises
    ------
    ScalingError
        If a node differs or does not answer.
    """
    ray = import_ray()
    deadline = time.monotonic() + timeout_s
    while True:
        alive = [node for node in ray.nodes() if node["Alive"]]
        try:
            answers = _ask_versions(alive, max(deadline - time.monotonic(), 0.1))
            break
        except ray.exceptions.RayError as error:
            # A node that has just come or gone is not known everywhere at once: list them anew.
            moved = isinstance(error, ray.exceptions.TaskUnschedulableError)
            if moved and time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            raise ScalingError(
                f"Of {len(alive)} nodes not all told their versions within {timeout_s:g} seconds "
                f"({type(error).__name__}): install rag_helpers on every node, or remove the node."
            ) from error
    compare_versions(versions_here(), answers)
    return len(alive)


def _ask_versions(nodes: Sequence[Mapping[str, Any]], timeout_s: float) -> dict[str, Any]:
    """Return what each of these nodes has, by the node's name."""
    ray = import_ray()
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0)(versions_here)
    asked = {
        f"Node {node['NodeID'][:8]} at {node['NodeManagerAddress']}": ask.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote()
        for node in nodes
    }
    answers = ray.get(list(asked.values()), timeout=timeout_s)
    return dict(zip(asked, answers, strict=True))
