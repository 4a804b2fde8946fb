"""Interactive widgets of the course, over callables and data.

Each widget is a ``VBox`` whose parts are attributes, so that a test or a cell
can set ``widget.question.value`` and call ``widget.button.click()``. While a
widget works its controls are disabled and its status line says so; an error
appears there as a sentence. Every text that comes from a document, a question
or a model is escaped before it reaches HTML.

The package owns no retrieval logic: it does not know how anything it is given
searches, writes or scores. ipywidgets 7.7.1 and 8.1 both work.
"""

from rag_helpers.widgets.boxes import (
    ChunkExplorer,
    CompareBox,
    GeneratorPlayground,
    QuestionBox,
    SearchBox,
)
from rag_helpers.widgets.choices import Choice, ChoiceBox, Option, build_choice_box, load_choices
from rag_helpers.widgets.choosing import IndexChooser
from rag_helpers.widgets.rating import RatingBox
from rag_helpers.widgets.rendering import (
    render_chunks,
    render_citations,
    render_hits,
    render_status,
)
from rag_helpers.widgets.training import TrainingChart, render_training

__all__ = [
    "Choice",
    "ChoiceBox",
    "ChunkExplorer",
    "CompareBox",
    "GeneratorPlayground",
    "IndexChooser",
    "Option",
    "QuestionBox",
    "RatingBox",
    "SearchBox",
    "TrainingChart",
    "build_choice_box",
    "load_choices",
    "render_chunks",
    "render_citations",
    "render_hits",
    "render_status",
    "render_training",
]
