"""A question and the passages found for it → the text that a generator reads.

A template is filled within a budget of tokens. The question always stands
whole; passages enter in rank order, the last one perhaps shortened, and every
one that stays outside is named in the prompt.

The module knows nothing of models, tokenizers or chat formats: tokens are
counted by a callable that the caller gives. It does not defuse control tokens
such as ``<|im_start|>`` inside a passage either: text stays as it stands in the
document, and the generator tokenizes it as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rag_helpers.errors import InvalidInputError
from rag_helpers.records import Chunk, Hit, Prompt

__all__ = [
    "CHAT",
    "CLOSED_BOOK",
    "FEW_SHOT",
    "MIN_PASSAGE_TOKENS",
    "NOT_IN_CONTEXT",
    "RECIPE",
    "SENTENCES",
    "SHORT_ANSWER",
    "TEMPLATES",
    "PromptTemplate",
    "asks_to_explain",
    "build_prompt",
    "declines",
    "question_request",
    "recipe_prompt",
]

MIN_PASSAGE_TOKENS = 16
"""A passage shortened to fewer tokens than this is dropped: a stump of a
sentence costs budget and supports no answer. Passages that are whole may be
shorter."""

_FIELD = re.compile(r"\{(\w+)\}")
_WORD_END = re.compile(r"(?<=\S)(?=\s)")
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s)|(?<=\S)(?=\s*\n\s*\n)")


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    r"""A text with places for the question and the passages.

    Only the named fields are replaced, once, and nothing that is put in is read
    again: braces and percent signs in documents stay what they are.

    Parameters
    ----------
    name : str
        Name shown to the reader.
    text : str
        Holds ``{question}``, and ``{context}`` unless it is closed-book.
    system : str
        System message for chat models.
    passage : str
        How one passage stands in the context. Holds ``{text}``; may hold
        ``{number}`` (from 1), ``{source}``, ``{title}`` and ``{heading}``.
    separator : str
        Put between passages.

    Raises
    ------
    InvalidInputError
        If a place is missing or unknown.

    Examples
    --------
    >>> template = PromptTemplate("mine", "{context}\n\n{question}")
    >>> template.fill("Why {braces}?", ["Because {question}."])
    'Because {question}.\n\nWhy {braces}?'
    """

    name: str
    text: str
    system: str = ""
    passage: str = "{text}"
    separator: str = " "

    def __post_init__(self) -> None:
        _check_fields(self.text, "text", needed="question", known={"question", "context"})
        _check_fields(
            self.passage,
            "passage",
            needed="text",
            known={"text", "number", "source", "title", "heading"},
        )

    @property
    def uses_context(self) -> bool:
        """Whether the text has a place for passages."""
        return "{context}" in self.text

    def fill(
        self, question: str, passages: Sequence[str], chunks: Sequence[Chunk] | None = None
    ) -> str:
        """Return the text with the question and the passages in their places.

        Parameters
        ----------
        question : str
            The question.
        passages : sequence of str
            Texts of the passages, in order.
        chunks : sequence of Chunk, optional
            Where each passage comes from, for ``{source}``, ``{title}`` and
            ``{heading}``; without it these stay empty.

        Returns
        -------
        str
            The filled text.
        """
        parts = []
        for i, passage in enumerate(passages):
            chunk = chunks[i] if chunks is not None else None
            parts.append(
                _replace_fields(
                    self.passage,
                    {
                        "text": passage,
                        "number": str(i + 1),
                        "source": chunk.source if chunk else "",
                        "title": chunk.title if chunk else "",
                        "heading": chunk.heading if chunk else "",
                    },
                )
            )
        return _replace_fields(
            self.text, {"question": question, "context": self.separator.join(parts)}
        )


def _replace_fields(text: str, values: Mapping[str, str]) -> str:
    # One pass with a function: str.format would trip over braces in `text`, and
    # successive str.replace would look for fields inside what was just put in.
    return _FIELD.sub(lambda match: values.get(match[1], match[0]), text)


def _check_fields(text: str, where: str, *, needed: str, known: set[str]) -> None:
    found = set(_FIELD.findall(text))
    if needed not in found:
        raise InvalidInputError(
            f"The {where} of a prompt template needs a place {{{needed}}}, and {text!r} has none: "
            f"write {{{needed}}} where it belongs."
        )
    if found - known:
        raise InvalidInputError(
            f"The {where} of a prompt template has unknown places {sorted(found - known)}: use "
            f"only {sorted(known)}."
        )


RECIPE = PromptTemplate("recipe", "Question: {question} Context: {context}")
"""One line for models that read and rewrite, such as T5 and BART."""

NOT_IN_CONTEXT = "not in the context"
"""What `CHAT` asks a generator to write when no passage holds the answer, and what
fine-tuning teaches it to."""


def declines(text: str) -> bool:
    """Tell whether a text says that the answer is not in the context, and nothing else.

    Parameters
    ----------
    text : str
        What a generator wrote.

    Returns
    -------
    bool

    Examples
    --------
    >>> declines(" Not in the context."), declines("It is not in the context of a loop.")
    (True, False)
    """
    return text.strip().rstrip(".").casefold() == NOT_IN_CONTEXT


def question_request(passage: str, question: str = "") -> Prompt:
    r"""Return a prompt that asks a chat model for a question to a passage.

    Reranking scores a question as the answer to it; made-up questions are what
    the model answers.

    Parameters
    ----------
    passage : str
    question : str
        Kept in the prompt's record; the model does not see it.

    Returns
    -------
    Prompt

    Examples
    --------
    >>> question_request("Tea {is} hot.").text
    'Passage: Tea {is} hot.\nWrite a question that this passage answers.'
    """
    return Prompt(
        question=question,
        text=f"Passage: {passage}\nWrite a question that this passage answers.",
    )


CHAT = PromptTemplate(
    "chat",
    "Context:\n{context}\n\nQuestion: {question}\nAnswer:",
    system=(
        "Answer the question in one short sentence, using only the context. "
        f"If the context does not hold the answer, say: {NOT_IN_CONTEXT}."
    ),
    separator="\n\n",
)
"""The default of chat models.

Chosen among ten wordings on 12 questions, each over the one help-topic passage
that answers it: untuned SmolLM2-135M-Instruct named the expected word in 7 of 12
answers with this one, in 6 without the closing ``Answer:`` or with the request
after the question, in 5 with the question first, and in 4 when three passages
stood in the context. One run in bfloat16; a difference of one question means
little."""

SHORT_ANSWER = PromptTemplate(
    "short answer",
    "Context:\n{context}\n\nQuestion: {question}\nShort answer:",
    system="Copy the few words of the context that answer the question. Write nothing else.",
    separator="\n\n",
)
"""Asks for a few words of the context, as exact-match scores expect."""

SENTENCES = PromptTemplate(
    "sentences",
    "Context:\n{context}\n\nQuestion: {question}\nAnswer in full:",
    system=(
        "Answer the question with the one or two sentences of the context that explain it. "
        f"If the context does not hold the answer, say: {NOT_IN_CONTEXT}."
    ),
    separator="\n\n",
)
"""Asks for what explains an answer: how to do something, or why it is so."""

_ASKS_TO_EXPLAIN = re.compile(
    r"\b(?:how|why)\b(?!\s+(?:many|much|long|often|old|far|big|large|deep|wide|high)\b)"
    r"|\bexplain\b|\bwhat (?:happens|should i|do i|must i|can i)\b",
    re.IGNORECASE,
)


def asks_to_explain(question: str) -> bool:
    """Tell whether a question asks how or why, so that a few words hardly answer it.

    Parameters
    ----------
    question : str

    Returns
    -------
    bool

    Examples
    --------
    >>> asks_to_explain("How do I end a loop early?"), asks_to_explain("How many bits has a byte?")
    (True, False)
    """
    return _ASKS_TO_EXPLAIN.search(question) is not None


FEW_SHOT = PromptTemplate(
    "few shot",
    "Context: Water boils at 100 degrees Celsius at sea level.\n"
    "Question: At what temperature does water boil?\n"
    "Answer: 100 degrees Celsius\n\n"
    "Context: The library opens at nine. On Sundays it is closed.\n"
    "Question: Who founded the library?\n"
    "Answer: not in the context\n\n"
    "Context: {context}\n"
    "Question: {question}\n"
    "Answer:",
    system="Answer each question from its context, in a few words.",
    separator="\n\n",
)
"""Shows the form of an answer, and of declining, by two examples."""

CLOSED_BOOK = PromptTemplate(
    "closed book",
    "Question: {question}",
    system="Answer the question in one short sentence.",
)
"""No context: shows what the model knows, or makes up, by itself."""

TEMPLATES: Mapping[str, PromptTemplate] = {
    template.name: template
    for template in (RECIPE, CHAT, SENTENCES, SHORT_ANSWER, FEW_SHOT, CLOSED_BOOK)
}
"""The templates by name."""


def build_prompt(
    question: str,
    hits: Sequence[Hit],
    *,
    template: PromptTemplate,
    count_tokens: Callable[[str], int],
    token_budget: int,
    tokens_per_passage: int | None = None,
) -> Prompt:
    """Fill `template` with the question and as many passages as fit.

    Passages enter in the order of `hits`. One that is longer than
    `tokens_per_passage`, or than what is left of the budget, is shortened to the
    longest beginning that fits: up to the end of a sentence if that keeps at
    least half of it, else up to the end of a word. What would keep fewer than
    `MIN_PASSAGE_TOKENS` tokens is dropped, and later passages still get their
    chance to fit whole.

    Parameters
    ----------
    question : str
        The question; it is never shortened.
    hits : sequence of Hit
        What a retriever found, best first. A template without ``{context}`` has
        no place for them, and then the prompt lists none.
    template : PromptTemplate
        What is filled.
    count_tokens : callable
        Length of a text in the generator's tokens.
    token_budget : int
        Most tokens that system message and text may have together.
    tokens_per_passage : int, optional
        Most tokens of one passage; None shares the budget out by rank alone.

    Returns
    -------
    Prompt
        With ``tokens <= token_budget``, and every hit in ``hits`` or ``dropped``.

    Raises
    ------
    InvalidInputError
        If the question is empty, a limit is below 1, or the question and the
        template alone pass the budget.

    Examples
    --------
    >>> chunk = Chunk("Green ideas sleep. They also dream.", "ideas.txt", 0, 35)
    >>> prompt = build_prompt(
    ...     "What sleeps?",
    ...     [Hit(chunk, 0.9, 1)],
    ...     template=RECIPE,
    ...     count_tokens=lambda text: len(text.split()),
    ...     token_budget=40,
    ... )
    >>> prompt.text
    'Question: What sleeps? Context: Green ideas sleep. They also dream.'
    >>> prompt.tokens, prompt.dropped
    (10, ())
    """
    if not question.strip():
        raise InvalidInputError("The question is empty: write at least one word.")
    for name, limit in (("token_budget", token_budget), ("tokens_per_passage", tokens_per_passage)):
        if limit is not None and limit < 1:
            raise InvalidInputError(f"{name} is {limit}: give at least 1.")

    system_tokens = count_tokens(template.system) if template.system else 0

    def total(passages: Sequence[str], kept: Sequence[Hit]) -> int:
        text = template.fill(question, passages, [hit.chunk for hit in kept])
        return system_tokens + count_tokens(text)

    alone = total([], [])
    if alone > token_budget:
        raise InvalidInputError(
            f"The question and the {template.name!r} template take {alone} tokens, and the budget "
            f"is {token_budget}: shorten the question or raise token_budget."
        )

    passages: list[str] = []
    kept: list[Hit] = []
    dropped: list[Hit] = []
    shortened: list[Hit] = []
    for hit in hits if template.uses_context else ():

        def fits(text: str, hit: Hit = hit) -> bool:
            if tokens_per_passage is not None and count_tokens(text) > tokens_per_passage:
                return False
            return total([*passages, text], [*kept, hit]) <= token_budget

        whole = hit.chunk.text
        if fits(whole):
            passages.append(whole)
        else:
            part = _shorten(whole, fits)
            if count_tokens(part) < MIN_PASSAGE_TOKENS:
                dropped.append(hit)
                continue
            passages.append(part)
            shortened.append(hit)
        kept.append(hit)

    return Prompt(
        question=question,
        text=template.fill(question, passages, [hit.chunk for hit in kept]),
        system=template.system,
        hits=tuple(kept),
        passages=tuple(passages),
        dropped=tuple(dropped),
        shortened=tuple(shortened),
        tokens=total(passages, kept),
    )


def _shorten(text: str, fits: Callable[[str], bool]) -> str:
    """Return a beginning of `text` that fits, empty when none does."""
    ends = [match.start() for match in _WORD_END.finditer(text)]
    # Bisection; `text[: ends[low - 1]]` has been seen to fit whenever low > 0, so
    # the result fits even where a tokenizer does not count monotonically.
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        if fits(text[: ends[middle]]):
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return ""
    end = ends[low - 1]
    sentence_ends = [match.end() for match in _SENTENCE_END.finditer(text, 0, end + 1)]
    for sentence_end in reversed(sentence_ends):
        if end / 2 <= sentence_end <= end and fits(text[:sentence_end]):
            return text[:sentence_end]
    return text[:end]


def recipe_prompt(question: str, hits: Sequence[Hit]) -> Prompt:
    """Join all passages with spaces, as the common recipe does, without a budget.

    What is too long is cut off by the tokenizer later, from the end: the last
    passages go unread. `build_prompt` is the cure. Tokens are not counted here,
    so ``Prompt.tokens`` is 0.

    Parameters
    ----------
    question : str
        The question.
    hits : sequence of Hit
        What a retriever found, best first.

    Returns
    -------
    Prompt
        Filled from `RECIPE`, with every passage whole.

    Examples
    --------
    >>> hits = [Hit(Chunk(text, "ideas.txt", 0, 5), 0.5, 1) for text in ("Green", "ideas")]
    >>> recipe_prompt("Why?", hits).text
    'Question: Why? Context: Green ideas'
    """
    passages = tuple(hit.chunk.text for hit in hits)
    return Prompt(
        question=question,
        text=RECIPE.fill(question, passages),
        system=RECIPE.system,
        hits=tuple(hits),
        passages=passages,
    )
