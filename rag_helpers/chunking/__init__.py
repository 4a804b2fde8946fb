"""Step 2: documents are cut into chunks.

Every strategy returns chunks for which ``document.text[c.start:c.end] ==
c.text``, and between them the chunks hold every character that is not white
space. The package knows text and offsets; tokens are counted by a callable that
the caller gives. It knows nothing of models, files, vectors or retrieval.
"""

from rag_helpers.chunking.headings import Heading, find_headings
from rag_helpers.chunking.sentences import split_by_sentences, split_sentences
from rag_helpers.chunking.structure import split_by_structure
from rag_helpers.chunking.supporting import supporting_sentences
from rag_helpers.chunking.unread import UnreadReport, report_unread
from rag_helpers.chunking.windows import split_by_tokens, split_by_words

__all__ = [
    "Heading",
    "UnreadReport",
    "find_headings",
    "report_unread",
    "split_by_sentences",
    "split_by_structure",
    "split_by_tokens",
    "split_by_words",
    "split_sentences",
    "supporting_sentences",
]
