"""Gold questions and chunks → what both halves learn from.

The retriever learns from a question beside the chunk that holds its evidence,
and from *hard negatives*: chunks that are found for the question and do not
hold it. The generator learns from a filled prompt beside the answer it should
write, "not in the context" among them.

The module knows nothing of models or training: a search comes in as a callable.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from rag_helpers.corpus import containment, find_near_duplicates
from rag_helpers.environment import progress_bar
from rag_helpers.errors import TrainingError
from rag_helpers.evaluation import Judge
from rag_helpers.prompting import CHAT, NOT_IN_CONTEXT, PromptTemplate, build_prompt
from rag_helpers.records import Chunk, Document, GoldQuestion, Hit, Prompt
from rag_helpers.retriever.passages import headed_text

__all__ = [
    "NOT_IN_CONTEXT",
    "GeneratorPair",
    "RetrieverPair",
    "Search",
    "build_generator_pairs",
    "build_retriever_pairs",
    "evidence_texts",
    "find_copies",
    "is_right",
    "mine_hard_negatives",
    "pairs_from_headings",
]

Search: TypeAlias = Callable[[str, int], Sequence[Hit]]

_COPY = 0.8
"""Share of five-word runs from which on a text is a copy of another."""


@dataclass(frozen=True, slots=True)
class RetrieverPair:
    """A question, a passage that answers it, and passages that do not.

    Parameters
    ----------
    id : str
        Id of the question.
    question : str
        What is asked.
    passage : str
        Text of a chunk that holds the evidence.
    negatives : tuple of str
        Texts that look right and are not, the nearest first.
    right : frozenset of str
        Texts of all chunks that must not be taught as wrong: they hold the
        evidence, or are copies of one that does. `passage` is one of them.

    Examples
    --------
    >>> RetrieverPair("q1", "What melts?", "Ice melts.", ("Tea is hot.",)).right
    frozenset()
    """

    id: str
    question: str
    passage: str
    negatives: tuple[str, ...] = ()
    right: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class GeneratorPair:
    """A filled prompt and the text that should be written for it.

    Parameters
    ----------
    id : str
        Id of the question.
    prompt : Prompt
        What the generator reads.
    answer : str
        What it should write.

    Examples
    --------
    >>> GeneratorPair("q1", Prompt("What melts?", "Context: Ice melts. What melts?"), "Ice").answer
    'Ice'
    """

    id: str
    prompt: Prompt
    answer: str


def build_retriever_pairs(
    gold: Sequence[GoldQuestion],
    documents: Sequence[Document],
    chunks: Sequence[Chunk],
    *,
    with_heading: bool = True,
) -> list[RetrieverPair]:
    """Put each answerable question beside a chunk that holds its evidence.

    Parameters
    ----------
    gold : sequence of GoldQuestion
        Training questions; unanswerable ones have no passage and are left out,
        and so are those whose evidence stands in no chunk.
    documents : sequence of Document
        The corpus, in which evidence is found.
    chunks : sequence of Chunk
        The corpus as it is searched.
    with_heading : bool
        Whether passages carry their title and heading, as `build_index` embeds
        them.

    Returns
    -------
    list of RetrieverPair
        Without negatives, in the order of `gold`. Of several chunks that hold
        the evidence, one of the document that the question names is taken.

    Raises
    ------
    TrainingError
        If no question has a chunk.

    Examples
    --------
    >>> text = "Ice melts at zero degrees Celsius. Tea is brewed with hot water."
    >>> question = GoldQuestion("q1", "When does ice melt?", ("zero degrees",),
    ...                         "Ice melts at zero degrees Celsius.", "facts", "fact")
    >>> chunk = Chunk(text[:34], "facts", 0, 34)
    >>> build_retriever_pairs([question], [Document(text, "facts")], [chunk])[0].passage
    'Ice melts at zero degrees Celsius.'
    """
    text_of = headed_text if with_heading else _bare_text
    judge = Judge(documents, gold)
    copies = find_copies([chunk.text for chunk in chunks])
    pairs = []
    for question in gold:
        if question.id not in judge.spans:
            continue
        holders = [i for i, chunk in enumerate(chunks) if judge.holds(question.id, chunk.text)]
        if not holders:
            continue
        own = [i for i in holders if chunks[i].source == judge.spans[question.id].source]
        right = {text_of(chunks[j]) for i in holders for j in (i, *copies.get(i, ()))}
        passage = text_of(chunks[(own or holders)[0]])
        pairs.append(RetrieverPair(question.id, question.question, passage, right=frozenset(right)))
    if not pairs:
        raise TrainingError(
            f"The evidence of none of {len(gold)} questions stands in the {len(chunks)} chunks; "
            "give the corpus that the questions were written for."
        )
    return pairs


def _bare_text(chunk: Chunk) -> str:
    return chunk.text


def find_copies(texts: Sequence[str]) -> dict[int, list[int]]:
    """Return, for each text that has any, the places of its near duplicates.

    Examples
    --------
    >>> find_copies(["the same six words stand here"] * 2 + ["tea"])
    {0: [1], 1: [0]}
    """
    copies: dict[int, list[int]] = {}
    for i, j in find_near_duplicates(texts, threshold=_COPY):
        copies.setdefault(i, []).append(j)
        copies.setdefault(j, []).append(i)
    return copies


def mine_hard_negatives(
    pairs: Sequence[RetrieverPair],
    search: Search,
    *,
    count: int = 2,
    depth: int = 20,
    with_heading: bool = True,
) -> list[RetrieverPair]:
    """Give each pair the best hits that do not hold its evidence.

    Hits that are right after all are *false negatives*: the evidence stands in
    several documents, and teaching that a right passage is wrong undoes the
    training. They are passed over, and so are their copies (Qu et al., 2021,
    "RocketQA", measured how much false negatives cost).

    Parameters
    ----------
    pairs : sequence of RetrieverPair
        As `build_retriever_pairs` makes them.
    search : callable
        ``search(question, k)`` returns hits, best first: an untuned retriever.
    count : int
        Negatives per question, at least 1.
    depth : int
        Hits to look at.
    with_heading : bool
        As the pairs were built.

    Returns
    -------
    list of RetrieverPair
        In the same order; a pair may get fewer negatives than `count`.

    Raises
    ------
    TrainingError
        If `count` or `depth` is below 1.

    Examples
    --------
    >>> texts = ["Ice melts at zero.", "Water boils.", "Snow is ice."]
    >>> hits = [Hit(Chunk(t, "facts", 0, len(t)), 0.9, i + 1) for i, t in enumerate(texts)]
    >>> pair = RetrieverPair("q1", "When does ice melt?", texts[0], right=frozenset(texts[:1]))
    >>> mine_hard_negatives([pair], lambda question, k: hits[:k])[0].negatives
    ('Water boils.', 'Snow is ice.')
    """
    for name, value in (("count", count), ("depth", depth)):
        if value < 1:
            raise TrainingError(f"{name} is {value}; give at least 1.")
    text_of = headed_text if with_heading else _bare_text
    mined = []
    for pair in progress_bar(pairs, label="Mining hard negatives"):
        found = [text_of(hit.chunk) for hit in search(pair.question, depth)]
        wrong = [text for text in found if not is_right(pair, text)]
        mined.append(replace(pair, negatives=tuple(wrong[:count])))
    return mined


def is_right(pair: RetrieverPair, text: str) -> bool:
    """Tell whether a text must not be taught as wrong for the pair's question.

    Parameters
    ----------
    pair : RetrieverPair
        With its right passages.
    text : str
        Text of a hit.

    Returns
    -------
    bool
        Whether the text is right or a copy of a right one, in either direction.
    """
    return (
        text == pair.passage
        or text in pair.right
        or any(
            containment(text, right) >= _COPY or containment(right, text) >= _COPY
            for right in pair.right
        )
    )


def pairs_from_headings(chunks: Sequence[Chunk], *, least_words: int = 20) -> list[RetrieverPair]:
    r"""Make pairs without anybody's questions: a section's heading, and what stands below it.

    Parameters
    ----------
    chunks : sequence of Chunk
        Cut by structure, so that they know their headings.
    least_words : int
        Words below the heading that make a passage worth learning from.

    Returns
    -------
    list of RetrieverPair
        One per chunk that opens with its heading and has enough below it. The
        passage lacks the heading: finding its very words would teach nothing.

    Examples
    --------
    >>> text = "The if statement\n****\n\nIt is used for conditional execution."
    >>> chunk = Chunk(text, "if", 0, len(text), title="if", heading="The if statement")
    >>> pairs_from_headings([chunk], least_words=5)[0].passage
    'It is used for conditional execution.'
    """
    pairs = []
    for chunk in chunks:
        lines = chunk.text.split("\n")
        if not chunk.heading or lines[0].strip() != chunk.heading.strip():
            continue
        # The line below a heading is its underline where it holds no word.
        below = lines[2:] if len(lines) > 1 and not any(map(str.isalnum, lines[1])) else lines[1:]
        passage = "\n".join(below).strip()
        if len(passage.split()) < least_words:
            continue
        topic = f"{chunk.title}: " if chunk.title and chunk.title != chunk.heading else ""
        pairs.append(
            RetrieverPair(
                f"heading {chunk.id}",
                f"{topic}{chunk.heading}",
                passage,
                right=frozenset({passage, chunk.text}),
            )
        )
    return pairs


def build_generator_pairs(
    gold: Sequence[GoldQuestion],
    documents: Sequence[Document],
    chunks: Sequence[Chunk],
    *,
    count_tokens: Callable[[str], int],
    search: Search | None = None,
    template: PromptTemplate = CHAT,
    token_budget: int = 640,
    passages: int = 1,
    unanswerable: float = 0.25,
    answer_for: Callable[[GoldQuestion, str], str] | None = None,
    seed: int = 0,
) -> list[GeneratorPair]:
    """Put filled prompts beside the answers that should be written for them.

    An answerable question is asked once with a chunk that holds its evidence,
    among wrong ones when `passages` is above 1, at any place. A share of them
    is asked once more with wrong passages alone, and every unanswerable
    question with what is found for it: the answer to these is
    `NOT_IN_CONTEXT` (Rajpurkar et al., 2018, "Know What You Don't Know").

    Parameters
    ----------
    gold : sequence of GoldQuestion
        Training questions.
    documents : sequence of Document
        The corpus, in which evidence is found.
    chunks : sequence of Chunk
        The corpus as it is searched.
    count_tokens : callable
        Length of a text in the generator's tokens.
    search : callable, optional
        ``search(question, k)`` returns hits, best first; wrong passages are the
        best of them that do not hold the evidence. Without it they are drawn
        from all chunks, which is easier to tell.
    template : PromptTemplate
        As the generator will be prompted.
    token_budget : int
        Longest prompt in tokens. A question whose evidence does not fit is
        left out.
    passages : int
        Passages per prompt.
    unanswerable : float
        Least share of prompts whose answer is `NOT_IN_CONTEXT`, from 0 to below 1;
        unanswerable questions count, and are kept if they are more.
    answer_for : callable, optional
        ``answer_for(question, passage)`` returns what should be written; by default
        the first known answer. See `rag_helpers.chunking.supporting_sentences`.
    seed : int
        Draws places, wrong passages and the questions asked twice.

    Returns
    -------
    list of GeneratorPair
        Mixed.

    Raises
    ------
    TrainingError
        If a number is out of range, or no question's evidence stands in a chunk.
    """
    if passages < 1:
        raise TrainingError(f"passages is {passages}; give at least 1.")
    if not 0 <= unanswerable < 1:
        raise TrainingError(f"unanswerable is {unanswerable}; give a share from 0 to below 1.")
    drawn = random.Random(seed)  # noqa: S311 (not for secrets)
    found_pairs = build_retriever_pairs(gold, documents, chunks, with_heading=False)
    by_id = {pair.id: pair for pair in found_pairs}
    chunk_of = {chunk.text: chunk for chunk in chunks}

    def wrong_hits(question: GoldQuestion, count: int) -> list[Hit]:
        pair = by_id.get(question.id)
        if search is not None:
            found = search(question.question, count + 15)
        else:
            picked = drawn.sample(range(len(chunks)), min(count + 15, len(chunks)))
            found = [Hit(chunks[i], 0.0, rank) for rank, i in enumerate(picked, start=1)]
        return [hit for hit in found if pair is None or not is_right(pair, hit.chunk.text)][:count]

    def filled(question: GoldQuestion, hits: Sequence[Hit]) -> Prompt:
        return build_prompt(
            question.question,
            hits,
            template=template,
            count_tokens=count_tokens,
            token_budget=token_budget,
        )

    answered, declined = [], []
    for question in progress_bar(gold, label="Building prompts"):
        if question.id in by_id:
            pair = by_id[question.id]
            hits = wrong_hits(question, passages - 1)
            hits.insert(drawn.randint(0, len(hits)), Hit(chunk_of[pair.passage], 1.0, 1))
            prompt = filled(question, hits)
            if any(text == pair.passage for text in prompt.passages):
                answer = answer_for(question, pair.passage) if answer_for else question.answers[0]
                answered.append(GeneratorPair(question.id, prompt, answer))
        elif not question.answers and (hits := wrong_hits(question, passages)):
            declined.append(GeneratorPair(question.id, filled(question, hits), NOT_IN_CONTEXT))
    wanted = round(len(answered) * unanswerable / (1 - unanswerable)) - len(declined)
    twice = [question for question in gold if question.id in by_id]
    for question in drawn.sample(twice, min(max(wanted, 0), len(twice))):
        if hits := wrong_hits(question, passages):
            declined.append(
                GeneratorPair(f"{question.id} elsewhere", filled(question, hits), NOT_IN_CONTEXT)
            )
    pairs = [*answered, *declined]
    drawn.shuffle(pairs)
    return pairs


def evidence_texts(
    gold: Sequence[GoldQuestion], documents: Sequence[Document]
) -> Mapping[str, str]:
    """Return the evidence of each answerable question, as it stands in the corpus.

    Examples
    --------
    >>> question = GoldQuestion("q1", "Hot?", ("tea",), "Tea … is quite hot.", "tea", "fact")
    >>> evidence_texts([question], [Document("Tea is hot.", "tea")])
    {}
    """
    return {name: span.text for name, span in Judge(documents, gold).spans.items()}
