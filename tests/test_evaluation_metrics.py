"""Every metric agrees with a library that others wrote, and with values worked out by hand."""

from __future__ import annotations

import math
import random

import pytest

from rag_helpers.errors import EvaluationError
from rag_helpers.evaluation import (
    answer_in_context,
    contains_answer,
    corpus_bleu,
    exact_match,
    ndcg_at,
    normalize_answer,
    recall_at,
    reciprocal_rank_at,
    rouge_l,
    sentence_bleu,
    supported_by_citation,
    token_f1,
    words_per_hit,
)
from rag_helpers.records import Answer, Chunk, Citation, Hit, Prompt

PLACES = [1, 2, 3, 5, 6, 10, 11, None]
PAIRS = [
    ("ZeroDivisionError", ["ZeroDivisionError"]),
    ("It raises a ZeroDivisionError.", ["ZeroDivisionError", "the ZeroDivisionError exception"]),
    ("The finally clause runs the finally clause", ["finally clause", "the clause"]),
    ("nothing in common", ["other words entirely"]),
    ("", ["something"]),
    ("errors are raised", ["an error raises"]),
    ("An apple, a pear", ["apple pear"]),
    ("sys.path and __init__", ["sys.path"]),
    ("Ogród Saski in the very heart of Warsaw", ["the Ogród Saski in the heart of Warsaw"]),
]


@pytest.mark.parametrize("k", [1, 3, 5, 10])
def test_rank_metrics_agree_with_ir_measures(k):
    import ir_measures
    from ir_measures import RR, Success, nDCG

    qrels = [ir_measures.Qrel(str(place), "right", 1) for place in PLACES]
    run = [
        ir_measures.ScoredDoc(str(place), "right" if rank == place else f"d{rank}", -float(rank))
        for place in PLACES
        for rank in range(1, 13)
    ]
    theirs = ir_measures.calc_aggregate([Success @ k, RR @ k, nDCG @ k], qrels, run)

    def mean(metric):
        return sum(metric(k, place) for place in PLACES) / len(PLACES)

    assert mean(recall_at) == pytest.approx(theirs[Success @ k])
    assert mean(reciprocal_rank_at) == pytest.approx(theirs[RR @ k])
    assert mean(ndcg_at) == pytest.approx(theirs[nDCG @ k])


@pytest.mark.seconds
def test_rank_metrics_and_squad_agree_with_torchmetrics():
    import torch
    from torchmetrics.retrieval import RetrievalHitRate, RetrievalMRR, RetrievalNormalizedDCG
    from torchmetrics.text import SQuAD

    for ours, theirs in (
        (recall_at, RetrievalHitRate(top_k=5)),
        (reciprocal_rank_at, RetrievalMRR(top_k=5)),
        (ndcg_at, RetrievalNormalizedDCG(top_k=5)),
    ):
        for place in PLACES:
            target = torch.tensor([rank == place for rank in range(1, 13)])
            value = theirs(torch.arange(12, 0, -1.0), target, torch.zeros(12, dtype=torch.long))
            assert ours(5, place) == pytest.approx(value.item()), (ours, place)
    squad = SQuAD()
    for prediction, answers in PAIRS:
        told = squad(
            {"prediction_text": prediction, "id": "1"},
            {"answers": {"answer_start": [0] * len(answers), "text": answers}, "id": "1"},
        )
        assert exact_match(prediction, answers) * 100 == told["exact_match"].item()
        assert token_f1(prediction, answers) * 100 == pytest.approx(told["f1"].item(), abs=1e-4)


@pytest.mark.seconds
def test_rouge_agrees_with_rouge_score_for_the_best_answer():
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    for prediction, answers in PAIRS:
        told = scorer.score_multi(answers, prediction)["rougeL"].fmeasure
        assert rouge_l(prediction, answers) == pytest.approx(told)


def test_bleu_agrees_with_sacrebleu():
    import sacrebleu

    for prediction, answers in PAIRS:
        told = sacrebleu.sentence_bleu(prediction, answers).score
        assert sentence_bleu(prediction, answers) == pytest.approx(told / 100)
    predictions, [*answers] = zip(*PAIRS, strict=True)
    # The largest number of accepted answers is two; where there is one, the second is absent.
    streams = [[a[0] for a in answers], [a[1] if len(a) > 1 else None for a in answers]]
    told = sacrebleu.corpus_bleu(list(predictions), streams).score
    assert 0 < told < 100
    assert corpus_bleu(predictions, answers) == pytest.approx(told / 100)


def test_bleu_of_an_equal_answer_is_exactly_one():
    assert sentence_bleu("the cat", ["the cat"]) == 1.0
    with pytest.raises(EvaluationError, match="2 predictions stand against 1"):
        corpus_bleu(["a", "b"], [["a"]])


def test_ndcg_counts_the_first_right_hit_alone():
    # By hand: the gain 1 at place 2 is divided by log2(3); the ideal is 1 at place 1.
    assert ndcg_at(10, 2) == pytest.approx(1 / math.log2(3))


@pytest.mark.parametrize(("k", "place"), [(0, 1), (5, 0), (-1, None)])
def test_places_below_one_are_refused(k, place):
    with pytest.raises(EvaluationError, match="places count from 1"):
        recall_at(k, place)


def test_normalization_drops_articles_as_words_only():
    # "anthem" and "a1" keep their letters; "A" alone goes.
    assert normalize_answer("A  theatre, an Anthem\nand the a1!") == "theatre anthem and a1"


def test_an_answer_of_punctuation_alone_is_compared_as_it_is():
    assert exact_match(" := ", [":="]) == token_f1(":=", [":="]) == 1.0
    assert exact_match("", [":="]) == token_f1("", [":="]) == 0.0
    assert exact_match("@", [":="]) == 0.0
    # Quotation marks around it are a matter of style, unless they are all there is.
    assert (
        exact_match("‘^’", ["'^'"]) == exact_match("^", ["'^'"]) == exact_match('"', ['"']) == 1.0
    )
    assert exact_match("'", ['"']) == 0.0
    assert contains_answer("use := here", [":="]) == 1.0
    assert contains_answer("use = here", [":="]) == 0.0


def test_contains_answer_asks_for_whole_words_in_one_run():
    assert contains_answer("an (Apple) pear, he said", ["banana", "apple pear"]) == 1.0
    assert contains_answer("apple or pear", ["apple pear"]) == 0.0
    assert contains_answer("pineapple pear", ["apple pear"]) == 0.0


def test_the_context_holds_an_answer_if_one_passage_does():
    assert answer_in_context(["nothing", "it is blue"], ["red", "blue"]) == 1.0
    # Not across passages, and not without any.
    assert answer_in_context(["apple", "pear"], ["apple pear"]) == 0.0
    assert answer_in_context([], ["blue"]) == 0.0


def _answer(text, *citations):
    hit = Hit(Chunk("c", "s", 0, 1), 1.0, 1)
    cited = tuple(Citation(hit, citation, 0, 1, 1.0) for citation in citations)
    return Answer("q", text, cited, (hit,), Prompt("q", "q"), 1.0, False, {}, "", "")


def test_support_is_the_share_of_the_answers_words_in_its_best_citation():
    # "blue", "blue", "sky": the second citation holds "blue" once and "sky": two of three.
    answer = _answer("The blue, blue sky", "a blue car", "The sky is blue")
    assert supported_by_citation(answer) == pytest.approx(2 / 3)
    assert supported_by_citation(_answer("blue")) == 0.0
    assert supported_by_citation(_answer(" the ", "the")) == 0.0


def test_words_per_hit_is_a_mean_over_hits():
    hits = [Hit(Chunk(text, "s", 0, 1), 1.0, 1) for text in ("one", "one two\nthree")]
    assert words_per_hit(hits) == 2.0
    assert words_per_hit([]) == 0.0


@pytest.mark.parametrize("metric", [exact_match, token_f1, contains_answer, rouge_l, sentence_bleu])
def test_without_accepted_answers_there_is_nothing_to_score(metric):
    with pytest.raises(EvaluationError, match="no accepted answer"):
        metric("text", [])
    with pytest.raises(EvaluationError, match="give a list"):
        metric("text", "text")


def test_random_answers_score_within_bounds_and_in_order():
    chance = random.Random(0)
    vocabulary = ["a", "the", "x.y", "b", "c", "d"]
    for _ in range(200):
        said, wanted = (" ".join(chance.choices(vocabulary, k=4)) for _ in range(2))
        f1, em = token_f1(said, [wanted]), exact_match(said, [wanted])
        assert em <= contains_answer(said, [wanted]) <= 1
        assert em <= f1 <= 1
