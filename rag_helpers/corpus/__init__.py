"""Step 2: texts become cleaned documents.

What is read, cleaned and compared here is text; the package does not know of
chunks, tokens, vectors or models.
"""

from rag_helpers.corpus.cleaning import (
    STOP_WORDS,
    CleanText,
    clean_pages,
    clean_text,
    find_title,
    remove_stop_words,
)
from rag_helpers.corpus.duplicates import containment, find_near_duplicates, fingerprint
from rag_helpers.corpus.files import SUFFIXES, find_files, load_files, load_squad, read_file
from rag_helpers.corpus.help_topics import REFERENCE_PYTHON, describe, load_help_topics
from rag_helpers.corpus.pdf import MAX_PDF_SECONDS
from rag_helpers.corpus.reading import MAX_FILE_MB
from rag_helpers.corpus.tables import from_dataset, load_dataset_documents, load_dataset_rows

__all__ = [
    "MAX_FILE_MB",
    "MAX_PDF_SECONDS",
    "REFERENCE_PYTHON",
    "STOP_WORDS",
    "SUFFIXES",
    "CleanText",
    "clean_pages",
    "clean_text",
    "containment",
    "describe",
    "find_files",
    "find_near_duplicates",
    "find_title",
    "fingerprint",
    "from_dataset",
    "load_dataset_documents",
    "load_dataset_rows",
    "load_files",
    "load_help_topics",
    "load_squad",
    "read_file",
    "remove_stop_words",
]
