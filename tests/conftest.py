"""What the tests share: a corpus small enough to check by eye, and an embedder without a model."""

import os
import re
from importlib.util import find_spec

if "PYTEST_XDIST_WORKER" in os.environ:
    # Processes that share the cores: threads of each would wait for those of the others.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

from rag_helpers.records import Document

# Groups of slow tests that take longest, and are begun first; else one process ends long before the
# other. Every other file is a group.
LONG_GROUPS = ("cluster", "workshop")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    """Group and order the tests; skip the example that needs Milvus where it is not installed."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.name))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group").args[0] not in LONG_GROUPS)
    if find_spec("milvus_lite") is None:
        skip = pytest.mark.skip(reason="Milvus is not installed: rag_helpers install --scale")
        for item in items:
            if item.name == "rag_helpers.scaling.milvus.MilvusIndex":
                item.add_marker(skip)


def pytest_terminal_summary(terminalreporter):
    """Say why tests were repeated: the list of them has names alone."""
    for report in terminalreporter.stats.get("rerun", []):
        crash = getattr(report.longrepr, "reprcrash", None)
        why = f"{crash.path}:{crash.lineno}: {crash.message}" if crash else report.longrepr
        terminalreporter.write_line(f"{report.nodeid} was repeated for: {why}"[:2000])


class KeywordEmbedder:
    """Gives each text a one-hot vector per keyword in it, so that every score can be worked out.

    Texts that share no keyword have inner product 0; of unit length unless no keyword occurs.
    """

    metric = "l2"
    max_tokens = 256

    def __init__(self, keywords, name="keywords"):
        self.keywords = tuple(keywords)
        self.name = name
        self.dimension = len(self.keywords)

    def embed(self, texts, *, titles=None):
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            words = set(re.findall(r"\w+", text.lower()))
            row[:] = [keyword in words for keyword in self.keywords]
            row /= max(np.linalg.norm(row), 1.0)
        return rows

    def count_tokens(self, text):
        return len(text.split())


@pytest.fixture
def toy_documents():
    """Five documents; each holds one keyword of `toy_embedder`, named by its source."""
    return [
        Document("Ice melts at zero degrees.", "ice.txt", "Ice"),
        Document("Tea is brewed with hot water.", "tea.txt", "Tea"),
        Document("A bridge carries a road over a river.", "bridge.txt", "Bridges"),
        Document("The moon turns once a month.", "moon.txt", "The moon"),
        Document("Bread rises because yeast makes gas.", "bread.txt", "Bread"),
    ]


@pytest.fixture
def toy_embedder():
    return KeywordEmbedder(["ice", "tea", "bridge", "moon", "bread"])
