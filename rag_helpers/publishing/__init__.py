"""What strangers meet first: the public address, Colab's cell, the book and the slides.

The package reads notebooks and documents; it runs no cell and knows nothing of what they teach.
"""

from rag_helpers.publishing.address import Address, read_address
from rag_helpers.publishing.book import build_book
from rag_helpers.publishing.colab import add_colab, colab_badge, colab_cell, readme_block
from rag_helpers.publishing.links import find_dead_links, find_outside_assets
from rag_helpers.publishing.slides import build_slides

__all__ = [
    "Address",
    "add_colab",
    "build_book",
    "build_slides",
    "colab_badge",
    "colab_cell",
    "find_dead_links",
    "find_outside_assets",
    "read_address",
    "readme_block",
]
