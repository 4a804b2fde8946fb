"""Makes the environment that everything else runs in, and starts programs in it.

Works with the standard library alone, so that a fresh clone can install itself.
The package knows nothing of the seven steps, and imports no installed package.
"""

from rag_helpers.installation.programs import Stage, clean, open_lab, run_stages, stages
from rag_helpers.installation.venv import Installation, InstallationError

__all__ = [
    "Installation",
    "InstallationError",
    "Stage",
    "clean",
    "open_lab",
    "run_stages",
    "stages",
]
