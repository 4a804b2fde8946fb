"""Builds one folder from which a room of people installs the course without a network.

Works with the standard library alone; pip fetches the wheels and uv says which ones another
system needs. The package knows nothing of what the course teaches, and does not install anything:
that is the folder's own ``install.py``.
"""

from rag_helpers.workshop.checksums import SUMS_NAME, find_changes, write_sums
from rag_helpers.workshop.folder import WorkshopReport, build_workshop
from rag_helpers.workshop.targets import PLATFORMS, Target, this_target

__all__ = [
    "PLATFORMS",
    "SUMS_NAME",
    "Target",
    "WorkshopReport",
    "build_workshop",
    "find_changes",
    "this_target",
    "write_sums",
]
