"""Several nodes and a Milvus server on this one machine, to see what a cluster does.

Every node is a set of processes of its own, so that one can be killed while the
others go on. Everything listens on 127.0.0.1 alone and ends with the block that
it was started in. The module does not know what the cluster computes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from rag_helpers.errors import InvalidInputError, ScalingError
from rag_helpers.scaling.engines import import_part, import_pymilvus, import_ray, refuse_unreachable

__all__ = ["LocalCluster", "LocalMilvus", "free_port"]

_OBJECT_STORE_BYTES = 200_000_000
# Ray 2.60's raylet now and then aborts in its first seconds, mostly on a busy machine.
_TRIES = 3


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LocalCluster:
    """A Ray cluster of several nodes on this machine, and this process connected to it.

    Parameters
    ----------
    nodes : int
        How many, the head node included.
    cpus : int
        *Logical* CPUs of each node: how many tasks and actors it takes. Below 3 Ray
        Data can wait for itself for ever.

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    InvalidInputError
        If a number is out of range.
    ScalingError
        If this process is connected to a cluster already, or a node does not start.

    Notes
    -----
    Ray's own test class (``ray.cluster_utils.Cluster``) starts the nodes. Its ports
    let whoever reaches them run code. Here only programs of this machine can, and
    they need a token that is made anew for each cluster.
    """

    def __init__(self, nodes: int = 2, *, cpus: int = 3) -> None:
        if nodes < 1 or cpus < 3:
            raise InvalidInputError(
                f"nodes is {nodes} and cpus is {cpus}: give at least 1 node and 3 logical CPUs."
            )
        self._wanted, self._cpus = nodes, cpus
        self._ray: Any = None
        self._cluster: Any = None
        self._workers: list[Any] = []
        self._folder = ""
        self._before: dict[str, str | None] = {}

    @property
    def address(self) -> str:
        """Of the head node, ``"host:port"``."""
        return str(self._cluster.address)

    @property
    def nodes(self) -> int:
        """How many live, the head node included."""
        return 1 + len(self._workers)

    def __enter__(self) -> Self:
        ray = self._ray = import_ray()
        if ray.is_initialized():
            raise ScalingError(
                "This process is connected to a Ray cluster already: call ray.shutdown() first."
            )
        from ray.cluster_utils import Cluster

        # Short, because the paths of sockets may have 107 characters only.
        self._folder = tempfile.mkdtemp(prefix="rag", dir="/tmp" if os.name == "posix" else None)  # noqa: S108
        Path(self._folder, "ray").mkdir()
        self._set_variables(
            RAY_TMPDIR=self._folder,
            RAY_AUTH_MODE="token",
            RAY_AUTH_TOKEN=secrets.token_hex(32),
            # Ray would take 127.0.0.1 for the address of the network card; so it does elsewhere.
            RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
        )
        try:
            self._cluster = Cluster()
            for number in range(self._wanted):
                node = self._start_node(head=number == 0)
                if number:
                    self._workers.append(node)
            with _in_a_sentence("The cluster"):
                self._cluster.wait_for_nodes(timeout=60)
                self._ray.init(
                    address=self._cluster.address,
                    log_to_driver=False,
                    logging_level="ERROR",
                    _node_ip_address="127.0.0.1",
                )
        except BaseException:
            self._stop()
            raise
        return self

    def _start_node(self, *, head: bool = False) -> Any:  # noqa: ANN401 (an untyped library)
        for _ in range(_TRIES - 1):
            with contextlib.suppress(ScalingError):
                return self._try_node(head)
        return self._try_node(head)

    def _try_node(self, head: bool) -> Any:  # noqa: ANN401 (an untyped library)
        before = _own_programs()
        try:
            with _in_a_sentence("A node of the cluster"):
                return self._cluster.add_node(
                    num_cpus=self._cpus,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    node_ip_address="127.0.0.1",
                    include_dashboard=False if head else None,
                    # Nobody reads the collected logs, and no nodes are to be had from a cloud.
                    include_log_monitor=False,
                    no_monitor=True,
                )
        except ScalingError:
            for program in _own_programs() - before:  # else it might still join the cluster
                with contextlib.suppress(psutil.NoSuchProcess):
                    program.kill()
            raise

    def _set_variables(self, **values: str | None) -> None:
        """Set variables that nodes inherit, and note what they were; None removes one."""
        self._before = {name: os.environ.get(name) for name in values}
        for name, value in values.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        # Ray has read them when it was imported, and remembers the token.
        constants: Any = import_module("ray._private.ray_constants")
        core: Any = import_module("ray._raylet")
        wanted = os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")
        constants.ENABLE_RAY_CLUSTER = sys.platform == "linux" and wanted != "0"
        core.Config.initialize("")
        core.AuthenticationTokenLoader.instance().reset_cache()

    def add_node(self) -> str:
        """Start a further node; return its id. In the main thread alone: Ray sets a signal.

        Raises
        ------
        ScalingError
            If it does not start.
        """
        self._workers.append(self._start_node())
        return str(self._workers[-1].node_id)

    def kill_node(self) -> str:
        """Kill the newest node that is not the head, with all its processes; return its id.

        Raises
        ------
        InvalidInputError
            If only the head is left.
        """
        if not self._workers:
            raise InvalidInputError("Only the head node is left: add a node before killing one.")
        node = self._workers.pop()
        self._cluster.remove_node(node, allow_graceful=False)
        return str(node.node_id)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._ray.is_initialized() and "ray.serve" in sys.modules:
            with contextlib.suppress(Exception):  # what follows must happen in any case
                import_part("serve").shutdown()
        self._ray.shutdown()
        if self._cluster is not None:
            self._cluster.shutdown()
            self._cluster = None
        self._workers = []
        self._set_variables(**self._before)
        shutil.rmtree(self._folder, ignore_errors=True)


def _own_programs() -> set[psutil.Process]:
    """Return Ray's own programs among the children of this process."""
    found = set()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it may end meanwhile
            if child.name() in ("raylet", "gcs_server"):
                found.add(child)
    return found


@contextlib.contextmanager
def _in_a_sentence(what: str) -> Iterator[None]:
    """Ray gives a node 30 seconds, and raises a bare Exception."""
    try:
        yield
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")[:300]
        raise ScalingError(
            f"{what} did not start ({reason}): close other programs that compute, then begin "
            "again with a new LocalCluster."
        ) from error


class LocalMilvus:
    """Milvus Lite as a server of its own, so that several processes can use one index.

    Parameters
    ----------
    folder : str or Path
        Where it keeps its data. Made when missing.
    timeout_s : float
        Longest wait for its start, in seconds.

    Attributes
    ----------
    uri : str
        What `MilvusIndex` takes.
    process : subprocess.Popen
        The server.

    Raises
    ------
    MissingExtraError
        If Milvus is not installed.
    ScalingError
        If it does not start.
    """

    def __init__(self, folder: str | Path, *, timeout_s: float = 60.0) -> None:
        import_pymilvus()
        self._folder, self._timeout_s = Path(folder), timeout_s
        self._port = free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / "server.log"
        command = [sys.executable, "-m", "milvus_lite", "server", "--host", "127.0.0.1"]
        command += ["--port", str(self._port), "--data-dir", str(self._folder / "data")]
        with log.open("wb") as output:
            self.process = subprocess.Popen(  # noqa: S603 (our own Python, no shell)
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                refuse_unreachable(self.uri, "Milvus Lite", timeout_s=1.0)
                return self
            except ScalingError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self._stop()
                    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
                    raise ScalingError(
                        f"Milvus Lite did not start in {self._folder} within {self._timeout_s:g} "
                        f"seconds ({lines[-1][:200] if lines else 'it said nothing'}): see that "
                        "no other process holds the folder."
                    ) from None
                time.sleep(0.1)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)  # Ctrl-C: it then writes what it holds in memory
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
