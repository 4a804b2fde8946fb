"""Score one ranking or one answer, between 0 and 1.

Every function scores a single question; means and their intervals are for
`rag_helpers.evaluation.intervals`. The module knows nothing of retrievers,
generators or gold files: it takes places, texts and accepted answers.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from rag_helpers.errors import EvaluationError
from rag_helpers.records import Answer, Hit

__all__ = [
    "answer_in_context",
    "contains_answer",
    "corpus_bleu",
    "exact_match",
    "ndcg_at",
    "normalize_answer",
    "recall_at",
    "reciprocal_rank_at",
    "rouge_l",
    "sentence_bleu",
    "supported_by_citation",
    "token_f1",
    "words_per_hit",
]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def recall_at(k: int, first_right: int | None) -> float:
    """Return 1 if a right hit is among the first `k`, else 0.

    With one right passage a question, recall@k is the same as success@k.

    Parameters
    ----------
    k : int
        How many hits count, at least 1.
    first_right : int or None
        Place of the first right hit, counted from 1; None if there is none.

    Returns
    -------
    float
        0.0 or 1.0.

    Raises
    ------
    EvaluationError
        If `k` or `first_right` is below 1.

    Examples
    --------
    >>> recall_at(5, 3), recall_at(1, 3), recall_at(5, None)
    (1.0, 0.0, 0.0)
    """
    return float(_within(k, first_right))


def reciprocal_rank_at(k: int, first_right: int | None) -> float:
    """Return 1 divided by the place of the first right hit among the first `k`.

    Its mean over questions is MRR@k (Voorhees, "The TREC-8 question answering
    track report", 1999).

    Parameters
    ----------
    k : int
        How many hits count, at least 1.
    first_right : int or None
        Place of the first right hit, counted from 1; None if there is none.

    Returns
    -------
    float
        From 0 to 1; 0 if no right hit is among the first `k`.

    Raises
    ------
    EvaluationError
        If `k` or `first_right` is below 1.

    Examples
    --------
    >>> reciprocal_rank_at(10, 4), reciprocal_rank_at(3, 4)
    (0.25, 0.0)
    """
    return 1 / first_right if _within(k, first_right) and first_right else 0.0


def ndcg_at(k: int, first_right: int | None) -> float:
    """Return nDCG@k for one right passage of gain 1.

    The ideal ranking has the passage at place 1, so its discounted gain is 1.
    Where several hits hold the same passage (duplicates, overlapping chunks)
    only the first counts: repeating a passage is no gain to a reader. The
    measure is that of Järvelin and Kekäläinen, "Cumulated gain-based
    evaluation of IR techniques", 2002, with the logarithm to base 2.

    Parameters
    ----------
    k : int
        How many hits count, at least 1.
    first_right : int or None
        Place of the first right hit, counted from 1; None if there is none.

    Returns
    -------
    float
        ``1 / log2(1 + first_right)``, or 0 beyond `k`.

    Raises
    ------
    EvaluationError
        If `k` or `first_right` is below 1.

    Examples
    --------
    >>> ndcg_at(10, 1), ndcg_at(10, 3), ndcg_at(10, None)
    (1.0, 0.5, 0.0)
    """
    return 1 / math.log2(1 + first_right) if _within(k, first_right) and first_right else 0.0


def words_per_hit(hits: Sequence[Hit]) -> float:
    """Return the mean number of words in a hit.

    Long chunks flatter recall, so this stands beside it.

    Parameters
    ----------
    hits : sequence of Hit
        What was found.

    Returns
    -------
    float
        Words, split at white space; 0 without hits.

    Examples
    --------
    >>> from rag_helpers.records import Chunk
    >>> words_per_hit([Hit(Chunk("two words", "a", 0, 9), 1.0, 1)])
    2.0
    """
    if not hits:
        return 0.0
    return sum(len(hit.chunk.text.split()) for hit in hits) / len(hits)


def normalize_answer(text: str) -> str:
    """Lower the case, drop ASCII punctuation and articles, collapse white space.

    The rules are those of the evaluation of SQuAD (Rajpurkar et al., 2016).

    Parameters
    ----------
    text : str
        An answer or a passage.

    Returns
    -------
    str
        The normalized text; empty if it held nothing else, as for ``"@"``.

    Examples
    --------
    >>> normalize_answer("The  __init__() method.")
    'init method'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """Return 1 if the prediction equals an accepted answer, else 0.

    Both are normalized as for SQuAD. An answer of punctuation alone, such as
    ``":="``, would normalize to nothing and equal an empty prediction: it is
    compared as it is, but for white space and quotation marks around it.

    Parameters
    ----------
    prediction : str
        What the system wrote.
    answers : sequence of str
        Accepted answers.

    Returns
    -------
    float
        0.0 or 1.0.

    Raises
    ------
    EvaluationError
        If there is no accepted answer.

    Examples
    --------
    >>> exact_match("a ZeroDivisionError.", ["ZeroDivisionError"]), exact_match("", [":="])
    (1.0, 0.0)
    """
    return max(float(_key(prediction, answer)) for answer in _some(answers))


def token_f1(prediction: str, answers: Sequence[str]) -> float:
    """Return the best F1 between the words of the prediction and of an answer.

    Words are compared as bags after SQuAD's normalization (Rajpurkar et al.,
    2016). Without words on either side the value is `exact_match`.

    Parameters
    ----------
    prediction : str
        What the system wrote.
    answers : sequence of str
        Accepted answers.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    EvaluationError
        If there is no accepted answer.

    Examples
    --------
    >>> round(token_f1("raises a ZeroDivisionError", ["ZeroDivisionError"]), 3)
    0.667
    """
    return max(_f1(prediction, answer) for answer in _some(answers))


def contains_answer(text: str, answers: Sequence[str]) -> float:
    """Return 1 if an accepted answer stands in the text, whole words only.

    Beside exact match it tells a change of format from a gain in reading.

    Parameters
    ----------
    text : str
        What the system wrote, or a passage.
    answers : sequence of str
        Accepted answers.

    Returns
    -------
    float
        0.0 or 1.0.

    Raises
    ------
    EvaluationError
        If there is no accepted answer.

    Examples
    --------
    >>> contains_answer("It raises a ZeroDivisionError.", ["ZeroDivisionError"])
    1.0
    >>> contains_answer("It is zeroed.", ["zero"])
    0.0
    """
    inside = f" {normalize_answer(text)} "
    return float(
        any(
            f" {key} " in inside if (key := normalize_answer(answer)) else _bare(answer) in text
            for answer in _some(answers)
        )
    )


def answer_in_context(passages: Iterable[str], answers: Sequence[str]) -> float:
    """Return 1 if an accepted answer stands in a passage that the generator read.

    It bounds what a reader can extract, and is more generous than evidence:
    a short answer may stand in an unrelated passage.

    Parameters
    ----------
    passages : iterable of str
        ``Prompt.passages``, or the texts of hits.
    answers : sequence of str
        Accepted answers.

    Returns
    -------
    float
        0.0 or 1.0.

    Raises
    ------
    EvaluationError
        If there is no accepted answer.

    Examples
    --------
    >>> answer_in_context(["Tea is hot.", "Ice melts at 0 degrees."], ["0 degrees"])
    1.0
    """
    accepted = _some(answers)
    return max((contains_answer(passage, accepted) for passage in passages), default=0.0)


def supported_by_citation(answer: Answer) -> float:
    """Return the largest share of the answer's words that one citation holds.

    It asks no gold answer: a wrong answer copied from its citation scores 1,
    a right one that cites something else scores low.

    Parameters
    ----------
    answer : Answer
        With the citations that it rests on.

    Returns
    -------
    float
        From 0 to 1; 0 without citations or for an empty answer.

    Examples
    --------
    >>> from rag_helpers.records import Chunk, Citation, Prompt
    >>> hit = Hit(Chunk("Ice melts at 0 degrees.", "ice", 0, 23), 1.0, 1)
    >>> cited = (Citation(hit, "Ice melts at 0 degrees.", 0, 23, 1.0),)
    >>> supported_by_citation(Answer("When?", "at 0 kelvin", cited, (hit,), Prompt("When?", ""),
    ...                              1.0, False, {}, "dense", "fake"))
    0.6666666666666666
    """
    words = Counter(normalize_answer(answer.text).split())
    if not words:
        return 0.0
    shares = (
        (words & Counter(normalize_answer(citation.text).split())).total() / words.total()
        for citation in answer.citations
    )
    return max(shares, default=0.0)


def rouge_l(prediction: str, answers: Sequence[str]) -> float:
    """Return the best ROUGE-L F-measure against an accepted answer.

    Computed by the package ``rouge-score``, without stemming (Lin, "ROUGE: a
    package for automatic evaluation of summaries", 2004).

    Parameters
    ----------
    prediction : str
        What the system wrote.
    answers : sequence of str
        Accepted answers.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    EvaluationError
        If there is no accepted answer.

    Examples
    --------
    >>> round(rouge_l("raises a ZeroDivisionError", ["a ZeroDivisionError"]), 3)
    0.8
    """
    scorer = _rouge_scorer()
    return max(
        float(scorer.score(answer, prediction)["rougeL"].fmeasure) for answer in _some(answers)
    )


def sentence_bleu(prediction: str, answers: Sequence[str]) -> float:
    """Return BLEU of one answer against all accepted answers, from 0 to 1.

    Computed by ``sacrebleu`` with the effective order, since answers are often
    shorter than four words (Post, "A call for clarity in reporting BLEU
    scores", 2018), and divided by 100.

    Parameters
    ----------
    prediction : str
        What the system wrote.
    answers : sequence of str
        Accepted answers.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    EvaluationError
        If there is no accepted answer.

    Examples
    --------
    >>> round(sentence_bleu("the finally clause runs", ["the finally clause runs"]), 3)
    1.0
    """
    score = _bleu(effective_order=True).sentence_score(prediction, _some(answers)).score
    return min(float(score) / 100, 1.0)  # sacrebleu's logarithms overshoot 100 by 1e-13


def corpus_bleu(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> float:
    """Return BLEU over many answers at once, from 0 to 1.

    N-gram counts are summed before dividing, so this is not the mean of
    `sentence_bleu`. Computed by ``sacrebleu`` (Post, 2018), divided by 100.

    Parameters
    ----------
    predictions : sequence of str
        What the system wrote, one text a question.
    answers : sequence of sequence of str
        Accepted answers of each question, in the same order.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    EvaluationError
        If there is no prediction, the lengths differ, or a question has no
        accepted answer.

    Examples
    --------
    >>> corpus_bleu(["the finally clause always runs"], [["the finally clause always runs"]])
    1.0
    """
    if not predictions or len(predictions) != len(answers):
        raise EvaluationError(
            f"{len(predictions)} predictions stand against {len(answers)} lists of answers; "
            "give as many of both, at least one"
        )
    most = max(len(_some(accepted)) for accepted in answers)
    streams = [
        [accepted[place] if place < len(accepted) else None for accepted in answers]
        for place in range(most)
    ]
    return min(float(_bleu().corpus_score(list(predictions), streams).score) / 100, 1.0)


def _within(k: int, first_right: int | None) -> bool:
    if k < 1 or (first_right is not None and first_right < 1):
        raise EvaluationError(
            f"k is {k} and the first right place {first_right}, but places count from 1; "
            "give whole numbers of at least 1 (None where no hit is right)"
        )
    return first_right is not None and first_right <= k


def _some(answers: Sequence[str]) -> list[str]:
    if isinstance(answers, str):
        raise EvaluationError(f"the accepted answers are the text {answers!r}; give a list of them")
    if not answers:
        raise EvaluationError(
            "there is no accepted answer to compare with; score unanswerable questions "
            "by whether the system abstains"
        )
    return list(answers)


def _key(prediction: str, answer: str) -> bool:
    key = normalize_answer(answer)
    if key:
        return normalize_answer(prediction) == key
    return _bare(prediction) == _bare(answer)


def _bare(text: str) -> str:
    """Return text that is compared with its punctuation, without quotation marks around it."""
    collapsed = " ".join(text.split())
    return collapsed.strip("'\"`‘’“” ") or collapsed


def _f1(prediction: str, answer: str) -> float:
    said, wanted = (Counter(normalize_answer(text).split()) for text in (prediction, answer))
    if not said or not wanted:
        return float(_key(prediction, answer))
    return 2 * (said & wanted).total() / (said.total() + wanted.total())


@lru_cache(maxsize=1)
def _rouge_scorer() -> Any:  # noqa: ANN401 (rouge-score has no types)
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=False)


@lru_cache(maxsize=2)
def _bleu(*, effective_order: bool = False) -> Any:  # noqa: ANN401 (its types are skipped)
    from sacrebleu.metrics import BLEU

    return BLEU(effective_order=effective_order)
