"""Runs a notebook's cells in a kernel of its own.

Knows neither where notebooks come from nor what becomes of their outputs.
"""

from __future__ import annotations

import math
import os
import queue
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rag_helpers.errors import RagError
from rag_helpers.notebook_sources import Notebook

__all__ = ["NotebookError", "execute"]

# Where Jupyter and IPython keep what they write, below the repository's .jupyter.
JUPYTER_FOLDERS = {
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "IPYTHONDIR": "ipython",
    "MPLCONFIGDIR": "matplotlib",
}
Message = dict[str, Any]


class NotebookError(RagError):
    """A notebook failed, or is out of step with its source."""


@contextmanager
def _jupyter_inside(repository: Path) -> Iterator[None]:
    """Keep what Jupyter writes in the repository, as long as notebooks run."""
    before = {name: os.environ.get(name) for name in JUPYTER_FOLDERS}
    for name, folder in JUPYTER_FOLDERS.items():
        path = repository / ".jupyter" / folder
        path.mkdir(parents=True, exist_ok=True)  # IPython writes elsewhere if it is not there
        os.environ[name] = str(path)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


async def _look_each_second(
    get_msg: Callable[..., Awaitable[Message]], timeout: float | None = None
) -> Message:
    """Wait for a message of a kernel's in pieces of a second."""
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    while True:
        left = deadline - time.monotonic()
        try:
            return await get_msg(timeout=max(0.0, min(1.0, left)))
        except queue.Empty:
            if left <= 1.0:
                raise


def execute(notebook: Notebook, folder: Path, timeout: int) -> None:
    """Run every cell of a notebook in place.

    Parameters
    ----------
    notebook : Notebook
        Its outputs are replaced.
    folder : Path
        Where its kernel runs; what Jupyter writes goes beside it, into ``.jupyter``.
    timeout : int
        Seconds that a cell may take.

    Raises
    ------
    NotebookError
        If a cell failed or took longer, or the kernel died.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    class Client(NotebookClient):
        """Looks again: it can sleep through a reply while it sends for an output (nbclient#312)."""

        async def async_start_new_kernel_client(self) -> Any:  # noqa: ANN401 (an untyped library)
            client = await super().async_start_new_kernel_client()
            for channel in (client.shell_channel, client.iopub_channel):
                channel.get_msg = partial(_look_each_second, channel.get_msg)
            return client

    client = Client(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=True,
    )
    try:
        with _jupyter_inside(folder.parent):
            client.execute()
    except CellExecutionError as error:
        raise NotebookError(f"A cell failed:\n{error}") from error
    except CellTimeoutError as error:
        raise NotebookError(f"A cell took over {timeout} s; make it do less.") from error
    except DeadKernelError as error:
        raise NotebookError("The kernel died, perhaps for want of memory; use less.") from error
