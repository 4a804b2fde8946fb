"""The widgets themselves: controls, a status line and an output around a callable.

The module does not know how what it is given searches, writes or scores, and
leaves all HTML to `rendering`.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

import ipywidgets as ipw

from rag_helpers.errors import InvalidInputError, RagError
from rag_helpers.records import Answer, Chunk, Document, Hit, Prompt, Retriever
from rag_helpers.widgets.rendering import (
    render_chunks,
    render_citations,
    render_hits,
    render_status,
)

__all__ = ["ChunkExplorer", "CompareBox", "GeneratorPlayground", "QuestionBox", "SearchBox"]

_WIDE = {"width": "98%"}
# Wide enough for the longest label; the default cuts labels off.
_LABEL = {"description_width": "100px"}


class _Box(ipw.VBox):
    """Controls, a status line and an output around one piece of work."""

    def __init__(self, rows: Sequence[ipw.Widget], controls: Sequence[ipw.Widget]) -> None:
        self.status, self.output = ipw.HTML(), ipw.HTML()
        self._controls = controls
        super().__init__([*rows, self.status, self.output])

    def run(self) -> None:
        """Do the work once; errors become a sentence in the status line."""
        for control in self._controls:
            control.disabled = True
        self.status.value = render_status("Working …")
        try:
            self.status.value = render_status(self._work())
        except RagError as error:
            self.status.value = render_status(str(error), failed=True)
        except Exception as error:  # otherwise only logged, where no learner looks
            self.status.value = render_status(f"{type(error).__name__}: {error}", failed=True)
        except KeyboardInterrupt:
            self.status.value = render_status("Stopped.")
            raise
        finally:
            for control in self._controls:
                control.disabled = False

    def _work(self) -> str:
        """Fill `output`, and return the sentence for the status line."""
        raise NotImplementedError


class _Panel(_Box):
    """A box that works on a question, when a button or Enter is pressed."""

    def __init__(
        self, label: str, *, examples: Sequence[str], controls: Sequence[ipw.Widget]
    ) -> None:
        self.question = ipw.Text(
            value=examples[0] if examples else "",
            description="Question",
            placeholder="Ask in your own words, then press Enter",
            layout=_WIDE,
            style=_LABEL,
        )
        self.button = ipw.Button(description=label, button_style="primary", tooltip=label)
        self.examples = ipw.Dropdown(
            options=[("try one of these …", ""), *((text, text) for text in examples)],
            value="",
            description="Examples",
            layout=_WIDE,
            style=_LABEL,
        )
        self.button.on_click(lambda _: self._run_from(self.button))
        self.examples.observe(self._take_example, names="value")
        with warnings.catch_warnings():
            # Deprecated in 8, and still the only event for Enter in 7.7 and 8.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.question.on_submit(lambda _: self._run_from(self.question))
        top = [self.question, self.examples] if examples else [self.question]
        row = ipw.HBox([*controls, self.button], layout={"flex_flow": "row wrap"})
        super().__init__([*top, row], [self.question, self.examples, self.button, *controls])

    def _take_example(self, change: Mapping[str, str]) -> None:
        if change["new"]:
            self.question.value = change["new"]

    def _run_from(self, control: ipw.Widget) -> None:
        self.run()
        # Browsers take the keyboard away from what is disabled; ipywidgets 7 cannot give it back.
        if hasattr(control, "focus"):
            control.focus()

    def _work(self) -> str:
        self.output.value = ""  # an old result under a new question misleads
        if not self.question.value.strip():
            raise InvalidInputError("The question is empty; write one, then press Enter.")
        began = time.perf_counter()
        self._answer(self.question.value)
        return f"Done in {time.perf_counter() - began:.1f} s."

    def _answer(self, question: str) -> None:
        raise NotImplementedError


def _slider(label: str, value: int, low: int, high: int, step: int = 1) -> ipw.IntSlider:
    return ipw.IntSlider(
        value=value,
        min=low,
        max=max(high, value),
        step=step,
        description=label,
        continuous_update=False,
        style=_LABEL,
    )


class ChunkExplorer(_Box):
    """Cut a passage again with every move of the sliders.

    Parameters
    ----------
    document : Document
        What to cut.
    split : callable
        ``split(document, size=…, overlap=…)`` returns the chunks.
    unread : callable, optional
        See `render_chunks`.
    shown : int, default 3500
        Only chunks that begin within so many characters are drawn.

    Raises
    ------
    InvalidInputError
        If the document holds no text.
    """

    def __init__(
        self,
        document: Document,
        split: Callable[..., list[Chunk]],
        *,
        unread: Callable[[str], int] | None = None,
        shown: int = 3500,
    ) -> None:
        if not document.text.strip():
            raise InvalidInputError(
                f"Document {document.source!r} holds 0 words to cut; choose another one."
            )
        self._document, self._split, self._unread = document, split, unread
        self._shown = shown
        self.size = _slider("Words", 150, 20, 400, 10)
        self.overlap = _slider("Overlap", 20, 0, 100, 5)
        sliders = [self.size, self.overlap]
        super().__init__([ipw.HBox(sliders, layout={"flex_flow": "row wrap"})], sliders)
        for slider in sliders:
            slider.observe(lambda _: self.run(), names="value")
        self.run()

    def _work(self) -> str:
        with self.output.hold_sync():  # one message, so that the page does not jump
            self.output.value = ""
            chunks = self._split(self._document, size=self.size.value, overlap=self.overlap.value)
            near = [chunk for chunk in chunks if chunk.start < self._shown]
            text = self._document.text[: max((chunk.end for chunk in near), default=0)]
            self.output.value = render_chunks(text, near, self._unread)
        legend = "Dark: stands in two chunks or more."
        if self._unread is None:
            return f"{len(chunks)} chunks. {legend}"
        cut = sum(self._unread(chunk.text) < len(chunk.text) for chunk in chunks)
        return (
            f"{len(chunks)} chunks; the embedder does not read the end of {cut}. "
            f"{legend} Struck out: never read."
        )


class SearchBox(_Panel):
    """Search with a choice of retrievers and see the hits.

    Parameters
    ----------
    retrievers : Mapping of str to Retriever
        Name shown → retriever.
    examples : sequence of str
        Questions to offer; the first one is filled in.
    k : int, default 3
        Hits to show at first.

    Raises
    ------
    InvalidInputError
        If there is no retriever.
    """

    def __init__(
        self, retrievers: Mapping[str, Retriever], *, examples: Sequence[str] = (), k: int = 3
    ) -> None:
        if not retrievers:
            raise InvalidInputError("There are 0 retrievers to choose from; pass at least one.")
        self._retrievers = retrievers
        self.retriever = ipw.Dropdown(
            options=list(retrievers), description="Retriever", style=_LABEL
        )
        self.k = _slider("Hits (k)", k, 1, 10)
        self.hits: list[Hit] = []
        super().__init__("Search", examples=examples, controls=[self.retriever, self.k])

    def _answer(self, question: str) -> None:
        self.hits = []
        self.hits = self._retrievers[self.retriever.value].search(question, self.k.value)
        self.output.value = render_hits(self.hits, question)


class GeneratorPlayground(_Panel):
    """See the prompt, turn the parameters, watch the answer being written.

    Parameters
    ----------
    build : callable
        ``build(question, k)`` returns the `Prompt`.
    stream : callable
        ``stream(prompt, max_new_tokens, num_beams)`` yields the text's pieces.
    examples : sequence of str
        Questions to offer; the first one is filled in.
    """

    def __init__(
        self,
        build: Callable[[str, int], Prompt],
        stream: Callable[[Prompt, int, int], Iterator[str]],
        *,
        examples: Sequence[str] = (),
    ) -> None:
        self._build, self._stream = build, stream
        self.k = _slider("Passages", 2, 0, 5)
        self.tokens = _slider("New tokens", 32, 4, 150)
        self.beams = _slider("Beams", 1, 1, 4)
        super().__init__("Generate", examples=examples, controls=[self.k, self.tokens, self.beams])

    def _answer(self, question: str) -> None:
        prompt = self._build(question, self.k.value)
        shown = f"{prompt.system}\n\n{prompt.text}".strip()
        head = (
            f"<details open><summary>Prompt: {prompt.tokens} tokens, "
            f"{len(prompt.passages)} passages, {len(prompt.dropped)} dropped</summary>"
            "<div tabindex='0' style='white-space:pre-wrap;line-height:1.4;max-height:16em;"
            f"overflow:auto;padding:4px 16px'>{escape(shown)}</div></details>"
        )
        text, self.output.value = "", head
        for piece in self._stream(prompt, self.tokens.value, self.beams.value):
            text += piece
            self.output.value = f"{head}<p style='white-space:pre-wrap'>{escape(text)}</p>"


class QuestionBox(_Panel):
    """Ask, watch the answer arrive, and open its citations.

    Parameters
    ----------
    ask : callable
        ``ask(question, k=…)`` yields pieces of text and at last an `Answer`,
        as `RagPipeline.stream` does.
    examples : sequence of str
        Questions to offer; the first one is filled in.
    k : int, default 5
        Passages to retrieve at first.
    """

    def __init__(
        self,
        ask: Callable[..., Iterator[str | Answer]],
        *,
        examples: Sequence[str] = (),
        k: int = 5,
    ) -> None:
        self._ask = ask
        self.k = _slider("Passages (k)", k, 1, 10)
        self.answer: Answer | None = None
        super().__init__("Ask", examples=examples, controls=[self.k])

    def _answer(self, question: str) -> None:
        self.answer, text = None, ""
        for piece in self._ask(question, k=self.k.value):
            if isinstance(piece, Answer):
                self.answer = piece
                self.output.value = (
                    "<p style='font-size:1.15em;white-space:pre-wrap'>"
                    f"<b>{escape(piece.text)}</b></p>"
                    f"<p>Confidence {piece.confidence:.2f}; {escape(piece.retriever)} retriever, "
                    f"{escape(piece.generator)}.</p>{render_citations(piece)}"
                )
            else:
                text += piece
                self.output.value = f"<p style='white-space:pre-wrap'>{escape(text)}</p>"


class CompareBox(_Panel):
    """Ask several systems the same question, and read their answers side by side.

    Parameters
    ----------
    systems : Mapping of str to callable
        Name shown → ``ask(question)``, which returns an `Answer`.
    examples : sequence of str
        Questions to offer; the first one is filled in.
    """

    def __init__(
        self, systems: Mapping[str, Callable[[str], Answer]], *, examples: Sequence[str] = ()
    ) -> None:
        if not systems:
            raise InvalidInputError("There is no system to ask; give at least one.")
        self._systems = dict(systems)
        self.answers: dict[str, Answer] = {}
        super().__init__("Ask all", examples=examples, controls=[])

    def _answer(self, question: str) -> None:
        self.answers = {}
        columns = ""
        for name, ask in self._systems.items():
            began = time.perf_counter()
            answer = self.answers[name] = ask(question)
            columns += (
                "<div style='flex:1 1 240px;padding:4px 12px'>"
                f"<p>{escape(name)}, {time.perf_counter() - began:.1f} s:</p>"
                "<p style='font-size:1.15em;white-space:pre-wrap'>"
                f"<b>{escape(answer.text)}</b></p>{render_citations(answer)}</div>"
            )
            self.output.value = f"<div style='display:flex;flex-wrap:wrap'>{columns}</div>"
