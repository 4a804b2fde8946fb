"""Makes the environment that everything else runs in, and starts programs in it.

Works with the standard library alone, so that a fresh clone can install itself.
The package knows nothing of the seven steps, and imports no installed package.
"""

from rag_helpers.installation.colab import make_other_environment
from rag_helpers.installation.programs import Stage, clean, open_lab, run_stages, stages
from rag_helpers.installation.venv import (
    CPU_WHEELS,
    Installation,
    InstallationError,
    pinned_pip,
    say,
)

__all__ = [
    "CPU_WHEELS",
    "Installation",
    "InstallationError",
    "Stage",
    "clean",
    "make_other_environment",
    "open_lab",
    "pinned_pip",
    "run_stages",
    "say",
    "stages",
]
