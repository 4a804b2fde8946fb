"""Where the cache is, what models compute on, and what runs the program."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rag_helpers.errors import InvalidInputError

__all__ = [
    "cache_folder",
    "cpu_has_bf16",
    "describe_processor",
    "in_colab",
    "in_notebook",
    "select_device",
    "select_dtype",
]

_DEVICES = ("cpu", "cuda", "mps")
_DTYPES = ("float32", "bfloat16")
# Instruction sets (oneDNN's names) that have no bfloat16 arithmetic.
_ISA_WITHOUT_BF16 = frozenset(
    {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}
)


def cache_folder() -> Path:
    """Return the folder for what can be made or fetched again; it need not exist yet.

    Returns
    -------
    Path
        ``$RAG_CACHE`` where that is set; else ``rag_helpers`` in the user's cache, which is
        ``%LOCALAPPDATA%`` on Windows, ``~/Library/Caches`` on macOS, and ``$XDG_CACHE_HOME`` or
        ``~/.cache`` elsewhere.

    Examples
    --------
    >>> cache_folder().is_absolute()
    True
    """
    if chosen := os.environ.get("RAG_CACHE"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "rag_helpers"


def select_device() -> str:
    """Return the device that models run on.

    Returns
    -------
    str
        ``$RAG_DEVICE`` where that is set; else ``"cuda"`` or ``"mps"`` where torch finds one;
        else ``"cpu"``.

    Raises
    ------
    InvalidInputError
        If ``$RAG_DEVICE`` names no device, or one that is not on this machine.

    Examples
    --------
    >>> select_device() in {"cpu", "cuda", "mps"}
    True
    """
    chosen = os.environ.get("RAG_DEVICE", "").strip().lower()
    if chosen == "cpu":
        return chosen
    if chosen and chosen not in _DEVICES:
        raise InvalidInputError(
            f"RAG_DEVICE is {chosen!r}, but it must be one of {', '.join(_DEVICES)}; "
            "change it, or unset it to have a device chosen."
        )
    import torch

    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if chosen and not here[chosen]:
        raise InvalidInputError(
            f"RAG_DEVICE is {chosen!r}, but torch {torch.__version__} finds no such device here; "
            "set RAG_DEVICE=cpu, or install a torch built for it."
        )
    return chosen or next((name for name, found in here.items() if found), "cpu")


def cpu_has_bf16() -> bool:
    """Tell whether torch multiplies bfloat16 matrices in hardware on this CPU.

    True on x86-64 with AVX512-BF16 or AMX that is not switched off by ``ATEN_CPU_CAPABILITY`` or
    ``ONEDNN_MAX_CPU_ISA``. Elsewhere, ARM included, False: bfloat16 then works, but emulated, and
    far slower than float32.

    Returns
    -------
    bool
        Whether ``dtype="auto"`` means bfloat16 here.

    Examples
    --------
    >>> cpu_has_bf16() in {True, False}
    True
    """
    import torch

    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in _ISA_WITHOUT_BF16:
        return False
    # The capability is what torch chose to use, the two functions are what the CPU has.
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, probe, bool)()) for probe in probes)


def describe_processor() -> str:
    """Say what times of computation depend on most.

    Returns
    -------
    str
        Cores, the instructions that torch uses, and whether bfloat16 is among them.

    Examples
    --------
    >>> "cores" in describe_processor()
    True
    """
    import torch

    instructions = torch.backends.cpu.get_cpu_capability()
    bf16 = "bfloat16 in hardware" if cpu_has_bf16() else "no bfloat16 in hardware"
    return f"{torch.get_num_threads()} cores, {instructions}, {bf16}"


def select_dtype(dtype: str) -> str:
    """Return the number format that weights are loaded in.

    Parameters
    ----------
    dtype : str
        ``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 where the CPU has it in hardware
        and the models run there, else float32.

    Returns
    -------
    str
        ``"float32"`` or ``"bfloat16"``, names of torch's own formats.

    Raises
    ------
    InvalidInputError
        If `dtype` is none of these.

    Examples
    --------
    >>> select_dtype("float32")
    'float32'
    """
    if dtype in _DTYPES:
        return dtype
    if dtype != "auto":
        raise InvalidInputError(
            f"dtype is {dtype!r}, but it must be one of {', '.join(_DTYPES)}, auto."
        )
    return "bfloat16" if select_device() == "cpu" and cpu_has_bf16() else "float32"


def in_colab() -> bool:
    """Tell whether this is Google Colab, in a cell or in a program started from one.

    Examples
    --------
    >>> in_colab() in {True, False}
    True
    """
    return "COLAB_RELEASE_TAG" in os.environ or "google.colab" in sys.modules


def in_notebook() -> bool:
    """Tell whether this code runs in a Jupyter kernel.

    Examples
    --------
    >>> in_notebook()
    False
    """
    ipython = sys.modules.get("IPython")  # inside a kernel it is always loaded
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ in {"ZMQInteractiveShell", "Shell"}  # Colab's is called Shell
