"""Tests that look at notebooks as a reader does: in JupyterLab, in a real browser."""

import os

import pytest

from rag_helpers.widget_pictures import find_chromium

CURE = "No Chromium is installed; on Debian and Ubuntu the cure is: sudo apt install chromium"


def chromium_or_skip():
    """Return the browser; skip without one, or fail where RAG_REQUIRE_BROWSER is set."""
    chromium = find_chromium()
    if chromium is None:
        if os.environ.get("RAG_REQUIRE_BROWSER"):
            pytest.fail(CURE)
        pytest.skip(CURE)
    return chromium
