"""The records that flow through the seven steps, and the protocols that move them.

``Document`` is split into ``Chunk``; a question finds ``Hit``; hits fill a
``Prompt``; a generator turns it into a ``Generation``; the pipeline returns an
``Answer``; a ``GoldQuestion`` says what the answer should have been.

Records are frozen and hold data only. The module knows nothing of files,
models, tokenizers or metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    FloatArray: TypeAlias = npt.NDArray[np.float32]
else:
    # Steps 2 and 4 run where no package is installed: nothing but the type's name needs numpy.
    FloatArray: TypeAlias = Any

__all__ = [
    "Answer",
    "Chunk",
    "Citation",
    "Document",
    "Embedder",
    "FloatArray",
    "Generation",
    "Generator",
    "GoldQuestion",
    "Hit",
    "Metadata",
    "Prompt",
    "QuestionKind",
    "Retriever",
]

Metadata: TypeAlias = Mapping[str, str | int | float | bool]
QuestionKind: TypeAlias = Literal[
    "fact", "definition", "howto", "behaviour", "error", "unanswerable"
]


@dataclass(frozen=True, slots=True)
class Document:
    """One text of the knowledge base, cleaned.

    Parameters
    ----------
    text : str
        The cleaned text; chunk offsets count its characters.
    source : str
        Name by which the document is cited, unique in a corpus: a help topic
        such as ``"compound"``, or a path relative to the corpus folder.
    title : str
        Human-readable title; may be empty.
    metadata : Mapping
        Flat values that a search may filter on.
    pages : tuple of int
        Offset at which each page begins, in characters; empty when the
        document has no pages.
    source_map : tuple of (int, int)
        Break points ``(offset in text, offset in the raw source)`` in rising
        order; between two of them both advance together. Empty means that the
        text is the raw source.

    Examples
    --------
    >>> Document(text="Colourless green ideas.", source="ideas.txt").source
    'ideas.txt'
    """

    text: str
    source: str
    title: str = ""
    metadata: Metadata = field(default_factory=dict)
    pages: tuple[int, ...] = ()
    source_map: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A contiguous part of a document: ``document.text[start:end] == text``.

    Parameters
    ----------
    text : str
        The part itself, unchanged.
    source : str
        ``Document.source`` of the document it was cut from.
    start, end : int
        Offsets into ``Document.text`` in characters, end exclusive.
    title : str
        Title of the document.
    heading : str
        Nearest heading above the chunk; empty when there is none.
    metadata : Mapping
        The document's metadata, and ``page`` where the document has pages.

    Examples
    --------
    >>> chunk = Chunk(text="green ideas", source="ideas.txt", start=11, end=22)
    >>> chunk.id
    'ideas.txt#11-22'
    """

    text: str
    source: str
    start: int
    end: int
    title: str = ""
    heading: str = ""
    metadata: Metadata = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Name of the chunk, unique in a corpus cut in one way."""
        return f"{self.source}#{self.start}-{self.end}"


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a retriever found.

    Parameters
    ----------
    chunk : Chunk
        What was found.
    score : float
        The retriever's own score; higher is better. Scores of different
        retrievers are not comparable.
    rank : int
        Place in the result list, counted from 1.
    retriever : str
        Name of the retriever that gave the score.
    """

    chunk: Chunk
    score: float
    rank: int
    retriever: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a generator reads: the question and the passages that fit.

    Parameters
    ----------
    question : str
        The question, never shortened.
    text : str
        The filled template (for chat models, the user's message).
    system : str
        System message for chat models; empty when there is none.
    hits : tuple of Hit
        The hits whose passages stand in ``text``, in that order.
    passages : tuple of str
        Their text as it stands in ``text``, perhaps shortened.
    dropped : tuple of Hit
        Hits that did not fit the token budget.
    shortened : tuple of Hit
        Hits of which only the beginning fitted.
    tokens : int
        Length of ``system`` and ``text`` in the generator's tokens.
    """

    question: str
    text: str
    system: str = ""
    hits: tuple[Hit, ...] = ()
    passages: tuple[str, ...] = ()
    dropped: tuple[Hit, ...] = ()
    shortened: tuple[Hit, ...] = ()
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Generation:
    """What a generator wrote.

    Parameters
    ----------
    text : str
        The new text alone, without the prompt and special tokens.
    tokens : int
        How many tokens were generated.
    mean_log_probability : float or None
        Mean natural-log probability of the generated tokens under the model;
        None when the generator has no such notion.
    """

    text: str
    tokens: int = 0
    mean_log_probability: float | None = None


@dataclass(frozen=True, slots=True)
class Citation:
    """The sentence of a hit that supports an answer.

    Parameters
    ----------
    hit : Hit
        The passage.
    text : str
        The supporting sentence, as it stands in the document.
    start, end : int
        Offsets of the sentence in ``Document.text``, in characters.
    score : float
        How well the sentence supports the answer, from 0 to 1.
    """

    hit: Hit
    text: str
    start: int
    end: int
    score: float

    @property
    def source(self) -> str:
        """Name of the cited document."""
        return self.hit.chunk.source


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question, with everything it rests on.

    Parameters
    ----------
    question : str
        The question as asked.
    text : str
        The answer shown to the reader.
    citations : tuple of Citation
        Best support first; empty when nothing supports the answer.
    hits : tuple of Hit
        What the retriever found.
    prompt : Prompt
        What the generator read.
    confidence : float
        From 0 to 1: how likely the corpus holds the answer.
    abstained : bool
        Whether the confidence was below the pipeline's threshold.
    timings_ms : Mapping of str to float
        Milliseconds per stage: ``retrieve``, ``prompt``, ``generate``,
        ``cite`` and ``total``.
    retriever, generator : str
        Names of what produced the answer.
    """

    question: str
    text: str
    citations: tuple[Citation, ...]
    hits: tuple[Hit, ...]
    prompt: Prompt
    confidence: float
    abstained: bool
    timings_ms: Mapping[str, float]
    retriever: str
    generator: str


@dataclass(frozen=True, slots=True)
class GoldQuestion:
    """A question with a known answer.

    Parameters
    ----------
    id : str
        Unique name.
    question : str
        The question in a learner's words.
    answers : tuple of str
        Accepted answers; empty when the corpus does not hold one.
    evidence : str or None
        The passage that holds the answer, whole or elided as
        ``"opening words … closing words"``; None when unanswerable.
    source : str or None
        Document in which the evidence was found.
    kind : str
        One of `QuestionKind`.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    evidence: str | None
    source: str | None
    kind: QuestionKind


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors."""

    def embed(self, texts: Sequence[str], *, titles: Sequence[str] | None = None) -> FloatArray:
        """Return one row per text, shape ``(len(texts), dimension)``."""
        ...


@runtime_checkable
class Retriever(Protocol):
    """Finds the chunks that may answer a question."""

    def search(self, question: str, k: int = 5, *, where: Metadata | None = None) -> list[Hit]:
        """Return at most `k` hits, best first."""
        ...


@runtime_checkable
class Generator(Protocol):
    """Turns prompts into text."""

    def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """Return one generation per prompt, in the same order."""
        ...
