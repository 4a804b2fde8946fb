"""Retriever, prompt and generator put together.

The module does not know how a retriever searches, how a generator writes, or
what the right answer would have been.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

from rag_helpers.errors import InvalidInputError
from rag_helpers.pipeline.citations import cite
from rag_helpers.prompting import (
    NOT_IN_CONTEXT,
    PromptTemplate,
    asks_to_explain,
    build_prompt,
    declines,
)
from rag_helpers.records import Answer, Chunk, Generation, Hit, Metadata, Prompt, Retriever

__all__ = ["AnswerStyle", "ConfidenceFunction", "RagPipeline"]

AnswerStyle: TypeAlias = Literal["auto", "short", "sentences"]
"""A few words, one or two sentences, or (auto) sentences for questions how and why."""
ConfidenceFunction: TypeAlias = Callable[[str, Sequence[Hit], Generation], float]


class RagPipeline:
    """Answer questions from a corpus: retrieve, fill a prompt, generate, cite.

    Parameters
    ----------
    retriever : Retriever
        Finds the passages.
    generator : Generator
        Writes the answer; one of `rag_helpers.generator`, or any object with
        ``generate``, ``template``, ``token_budget`` and ``count_tokens``.
    k : int, default 5
        How many passages to retrieve.
    template : PromptTemplate, optional
        Overrides the generator's own.
    token_budget : int, optional
        Longest prompt in the generator's tokens; overrides its own.
    tokens_per_passage : int, optional
        Longest passage in tokens.
    confidence : callable, optional
        ``confidence(question, hits, generation)`` returns a value from 0 to 1;
        without it the best hit's score, clipped to that range, is used.
    turns : int, optional
        By default one prompt holds all passages that fit. With a number, at most
        so many are read in turn, each in a prompt of its own, until the generator
        does not decline: a small reader answers better from one passage.
    threshold : float, default 0.0
        Below this confidence the answer says that the corpus does not hold it; so
        it does when the generator itself declines with `NOT_IN_CONTEXT`.
    explain : PromptTemplate, optional
        Asks for one or two sentences, such as `rag_helpers.prompting.SENTENCES`.
        Without it every question is asked with `template`.
    style : {"auto", "short", "sentences"}
        Which of the two is used: ``"auto"`` takes `explain` for questions how and why
        (`rag_helpers.prompting.asks_to_explain`), ``"short"`` never, ``"sentences"``
        always.

    Examples
    --------
    >>> from rag_helpers.generator import ExtractiveGenerator
    >>> from rag_helpers.records import Chunk
    >>> from rag_helpers.retriever import KeywordRetriever
    >>> chunks = [Chunk("Ice melts at 0 degrees.", "ice", 0, 23),
    ...           Chunk("Tea is brewed hot.", "tea", 0, 18)]
    >>> pipeline = RagPipeline(KeywordRetriever(chunks), ExtractiveGenerator(), k=1)
    >>> pipeline.answer("When does ice melt?").text
    'Ice melts at 0 degrees.'
    """

    def __init__(
        self,
        retriever: Retriever,
        generator: Any,  # noqa: ANN401 (a Generator with a template and a budget)
        *,
        k: int = 5,
        template: PromptTemplate | None = None,
        token_budget: int | None = None,
        tokens_per_passage: int | None = None,
        turns: int | None = None,
        confidence: ConfidenceFunction | None = None,
        threshold: float = 0.0,
        explain: PromptTemplate | None = None,
        style: AnswerStyle = "auto",
    ) -> None:
        if k < 1:
            raise InvalidInputError(f"k is {k}; retrieve at least 1 passage.")
        if turns is not None and turns < 1:
            raise InvalidInputError(f"turns is {turns}; read at least 1 passage, or give None.")
        if not 0.0 <= threshold <= 1.0:
            raise InvalidInputError(f"threshold is {threshold}; give a value from 0 to 1.")
        self.retriever = retriever
        self.generator = generator
        self.k = k
        self.template = template or generator.template
        self.token_budget = token_budget or generator.token_budget
        self.tokens_per_passage = tokens_per_passage
        self.turns = turns
        self.confidence = confidence
        self.threshold = threshold
        self.explain = explain
        self.style = self._checked(style)

    def answer(
        self,
        question: str,
        *,
        k: int | None = None,
        where: Metadata | None = None,
        style: AnswerStyle | None = None,
    ) -> Answer:
        """Answer one question.

        Parameters
        ----------
        question : str
            What to answer; must hold more than white space.
        k : int, optional
            Overrides the pipeline's number of passages.
        where : Mapping, optional
            Metadata that every passage must match.
        style : {"auto", "short", "sentences"}, optional
            Overrides the pipeline's.

        Returns
        -------
        Answer
            With its citations, prompt, confidence and timings.

        Raises
        ------
        InvalidInputError
            When the question is blank, or too long for the generator, or the style
            is unknown or not to be had.
        """
        return self.answer_many([question], k=k, where=where, style=style)[0]

    def answer_many(
        self,
        questions: Sequence[str],
        *,
        k: int | None = None,
        where: Metadata | None = None,
        style: AnswerStyle | None = None,
    ) -> list[Answer]:
        """Answer several questions, generating in batches.

        ``timings_ms["generate"]`` is then each batch's time divided by the
        number of questions in it.
        """
        found = [self._retrieve(question, k, where, style) for question in questions]
        read: dict[int, tuple[Prompt, Generation]] = {}
        left, turn = list(range(len(found))), 0
        while left:
            prompts = [self._fill(questions[i], found[i], turn) for i in left]
            began = time.perf_counter()
            generations = self.generator.generate(prompts)
            for i, prompt, generation in zip(left, prompts, generations, strict=True):
                read[i] = prompt, generation
                found[i].spend("generate", (time.perf_counter() - began) / len(left))
            turn += 1
            left = [i for i in left if found[i].has(turn) and declines(read[i][1].text)]
        return [self._finish(part, *read[i]) for i, part in enumerate(found)]

    def stream(
        self,
        question: str,
        *,
        k: int | None = None,
        where: Metadata | None = None,
        style: AnswerStyle | None = None,
    ) -> Iterator[str | Answer]:
        """Yield the answer's text piece by piece, and at the end the `Answer`.

        The pieces are what the generator writes, but for words by which it may be
        about to decline; the final `Answer` may say instead that the corpus does
        not hold it.
        """
        found, turn = self._retrieve(question, k, where, style), 0
        while True:
            prompt, text, shown = self._fill(question, found, turn), "", ""
            began = time.perf_counter()
            for piece in self.generator.stream(prompt):
                text += piece
                if not NOT_IN_CONTEXT.startswith(text.strip().casefold()):
                    yield text[len(shown) :]
                    shown = text
            found.spend("generate", time.perf_counter() - began)
            turn += 1
            if not (found.has(turn) and declines(text)):
                break
        if len(shown) < len(text) and not declines(text):
            yield text[len(shown) :]
        yield self._finish(found, prompt, Generation(text.strip()))

    def read_ahead(self, chunks: Sequence[Chunk]) -> Iterator[int]:
        """Have the generator read passages before any question comes.

        Parameters
        ----------
        chunks : sequence of Chunk
            The passages, such as all of an index.

        Yields
        ------
        int
            How many passages are done.

        Raises
        ------
        InvalidInputError
            If passages are not read in turn, or the generator has no ``read_ahead``
            (`rag_helpers.generator.ReadAhead`).
        """
        if self.turns is None or getattr(self.generator, "read_ahead", None) is None:
            raise InvalidInputError(
                f"turns is {self.turns} and the generator is {type(self.generator).__name__}: to "
                "read ahead, read passages in turn and give a ChatGenerator a ReadAhead."
            )
        always, never = self.style == "sentences", self.style == "short"
        templates = [] if always else [self.template]
        if self.explain is not None and not never:
            templates.append(self.explain)
        for done, chunk in enumerate(chunks, start=1):
            parts = [_Found([], [[Hit(chunk, 0.0, 1)]], template) for template in templates]
            # What comes after the passage does not matter, and nothing of it is read.
            for _ in self.generator.read_beginnings([self._fill("?", part, 0) for part in parts]):
                pass
            yield done

    def _checked(self, style: AnswerStyle) -> AnswerStyle:
        if style not in get_args(AnswerStyle):
            raise InvalidInputError(
                f"style is {style!r}; choose one of {', '.join(get_args(AnswerStyle))}."
            )
        if style == "sentences" and self.explain is None:
            raise InvalidInputError(
                "This pipeline has one prompt for all questions; to be answered in sentences, give "
                "RagPipeline(explain=rag_helpers.prompting.SENTENCES), or use another style."
            )
        return style

    def _template(self, question: str, style: AnswerStyle | None) -> PromptTemplate:
        chosen = self.style if style is None else self._checked(style)
        if self.explain is None or chosen == "short":
            return self.template
        explains = chosen == "sentences" or asks_to_explain(question)
        return self.explain if explains else self.template

    def _retrieve(
        self, question: str, k: int | None, where: Metadata | None, style: AnswerStyle | None
    ) -> _Found:
        if not isinstance(question, str) or not question.strip():
            raise InvalidInputError("The question is empty; ask in at least one word.")
        template = self._template(question, style)
        began = time.perf_counter()
        hits = self.retriever.search(question, self.k if k is None else k, where=where)
        turns = [hits] if self.turns is None else [[hit] for hit in hits[: self.turns]]
        found = _Found(hits, turns, template)
        found.spend("retrieve", time.perf_counter() - began)
        return found

    def _fill(self, question: str, found: _Found, turn: int) -> Prompt:
        began = time.perf_counter()
        prompt = build_prompt(
            question,
            # Without a hit there is still a prompt: the question alone.
            found.turns[turn] if found.turns else [],
            template=found.template,
            count_tokens=self.generator.count_tokens,
            token_budget=self.token_budget,
            tokens_per_passage=self.tokens_per_passage,
        )
        found.spend("prompt", time.perf_counter() - began)
        return prompt

    def _finish(self, found: _Found, prompt: Prompt, generation: Generation) -> Answer:
        began = time.perf_counter()
        hits = found.hits
        declined = declines(generation.text)
        # To decline claims nothing; what comes closest to the question is cited then.
        claim, read = ("", hits) if declined else (generation.text, prompt.hits or hits)
        citations = cite(claim, prompt.question, read)
        if self.confidence is not None:
            confidence = self.confidence(prompt.question, hits, generation)
        else:
            confidence = min(max(hits[0].score, 0.0), 1.0) if hits else 0.0
        found.spend("cite", time.perf_counter() - began)
        answer = Answer(
            question=prompt.question,
            text=generation.text,
            citations=citations,
            hits=tuple(hits),
            prompt=prompt,
            confidence=confidence,
            abstained=not hits or confidence < self.threshold or declined,
            timings_ms={**found.timings_ms, "total": sum(found.timings_ms.values())},
            retriever=str(getattr(self.retriever, "name", type(self.retriever).__name__)),
            generator=str(getattr(self.generator, "name", type(self.generator).__name__)),
        )
        if not answer.abstained:
            return answer
        return replace(answer, text=_abstention(answer, sure=confidence >= self.threshold))


@dataclass(slots=True)
class _Found:
    """What retrieval found for one question, how it will be read, and the time spent so far."""

    hits: list[Hit]
    turns: list[list[Hit]]
    template: PromptTemplate
    timings_ms: dict[str, float] = field(default_factory=dict)

    def has(self, turn: int) -> bool:
        return turn < len(self.turns)

    def spend(self, stage: str, seconds: float) -> None:
        self.timings_ms[stage] = self.timings_ms.get(stage, 0.0) + seconds * 1000


def _abstention(answer: Answer, *, sure: bool) -> str:
    if not answer.hits:
        return "Nothing in the corpus matches the question."
    # What is cited below the text and what the text names must be the same.
    cited = answer.citations[0].hit if answer.citations else answer.hits[0]
    if sure:
        return (
            "The passages that were found do not seem to hold the answer, though the corpus may "
            f"(confidence {answer.confidence:.2f}). The closest is in {cited.chunk.source!r}."
        )
    return (
        "The corpus does not seem to hold the answer "
        f"(confidence {answer.confidence:.2f}). The closest passage is in "
        f"{cited.chunk.source!r}; it may not be about this question."
    )
