"""What clients send and receive, as pydantic models with limits and examples.

The module knows records; it does not know how they come about.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
)

from rag_helpers.pipeline import AnswerStyle
from rag_helpers.records import Answer, Hit

__all__ = [
    "AnswerList",
    "AnswerMessage",
    "AnswerRequest",
    "CitationMessage",
    "Fault",
    "HitMessage",
    "Question",
    "RecipeResponse",
    "SearchRequest",
    "SearchResponse",
    "State",
]

MAX_QUESTION_CHARACTERS = 2000
MAX_QUESTIONS = 16
MAX_K = 20


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("the question is empty; ask in at least one word")
    return text


Question: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=MAX_QUESTION_CHARACTERS), AfterValidator(_not_blank)
]
_Questions: TypeAlias = Annotated[
    Annotated[Question, Tag("text")]
    | Annotated[list[Question], Field(min_length=1, max_length=MAX_QUESTIONS), Tag("list")],
    # Told apart by type, so that an error speaks of the one that was meant.
    Discriminator(lambda value: "list" if isinstance(value, list) else "text"),
]
_Name: TypeAlias = Annotated[StrictStr, Field(max_length=200)]
_Value: TypeAlias = (
    _Name
    | StrictBool
    | Annotated[StrictInt, Field(ge=-(2**53), le=2**53)]
    | Annotated[StrictFloat, Field(allow_inf_nan=False)]
)
_Where: TypeAlias = Annotated[
    dict[_Name, _Value],
    Field(max_length=8, description="Values that every passage's metadata must have."),
]
_K: TypeAlias = Annotated[int, Field(ge=1, le=MAX_K, description="Passages to retrieve.")]

_Style: TypeAlias = Annotated[
    AnswerStyle,
    Field(description="A few words, a sentence or two, or (auto) as the question asks."),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AnswerRequest(_Strict):
    """One question or several, with options."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"question": "What happens when I divide by zero?"},
                {"question": ["What is a decorator?", "What does pass do?"], "k": 3},
            ]
        }
    )

    question: _Questions
    k: _K | None = None
    where: _Where | None = None
    style: _Style | None = None
    stream: bool = Field(default=False, description="Send the answer as server-sent events.")


class SearchRequest(_Strict):
    """A question to find passages for."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"question": "How do I stop a loop?", "k": 3}]}
    )

    question: Question
    k: _K = 5
    where: _Where | None = None


class CitationMessage(BaseModel):
    """The sentence of a passage that supports the answer; offsets count characters."""

    source: str
    text: str
    start: int
    end: int
    score: float
    passage: str
    passage_start: int


class AnswerMessage(BaseModel):
    """An answer and what it rests on."""

    question: str
    text: str
    citations: list[CitationMessage]
    confidence: float
    abstained: bool
    timings_ms: dict[str, float]
    retriever: str
    generator: str

    @classmethod
    def of(cls, answer: Answer) -> AnswerMessage:
        """Return the message of a record."""
        return cls(
            question=answer.question,
            text=answer.text,
            citations=[
                CitationMessage(
                    source=citation.source,
                    text=citation.text,
                    start=citation.start,
                    end=citation.end,
                    score=citation.score,
                    passage=citation.hit.chunk.text,
                    passage_start=citation.hit.chunk.start,
                )
                for citation in answer.citations
            ],
            confidence=answer.confidence,
            abstained=answer.abstained,
            timings_ms=dict(answer.timings_ms),
            retriever=answer.retriever,
            generator=answer.generator,
        )


class AnswerList(BaseModel):
    """Answers in the order of the questions."""

    answers: list[AnswerMessage]


class HitMessage(BaseModel):
    """A passage that was found; offsets count characters."""

    source: str
    title: str
    heading: str
    text: str
    start: int
    end: int
    score: float
    rank: int

    @classmethod
    def of(cls, hit: Hit) -> HitMessage:
        """Return the message of a record."""
        chunk = hit.chunk
        return cls(
            source=chunk.source,
            title=chunk.title,
            heading=chunk.heading,
            text=chunk.text,
            start=chunk.start,
            end=chunk.end,
            score=hit.score,
            rank=hit.rank,
        )


class SearchResponse(BaseModel):
    """Passages, best first."""

    hits: list[HitMessage]


class RecipeResponse(BaseModel):
    """The answer's text alone."""

    response: str


class State(BaseModel):
    """What the service is doing."""

    status: str


class Fault(BaseModel):
    """What went wrong, in a sentence."""

    error: str
