"""Sphinx settings of the book; `python -m rag_helpers book` lays the pages out beside this file."""

project = "Building a RAG system, step by step"
copyright = "2026, the rag-helpers authors, MIT licence"  # noqa: A001 (Sphinx calls it so)
extensions = ["myst_nb"]
html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_copy_source = False
html_show_sourcelink = False
language = "en"

# The notebooks were executed when they were built: their outputs are shown as they are.
nb_execution_mode = "off"
# Pages load nothing from elsewhere. There are no live widgets: each is a picture of itself.
nb_ipywidgets_js = {}
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
# Notebooks begin with their title, and every other page too.
suppress_warnings = ["myst.header"]
