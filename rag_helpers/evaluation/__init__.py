"""Step 5: gold questions, metrics with intervals, error attribution, abstention.

The package knows records and errors only. Retrievers and pipelines come in as
callables; corpora come in as lists of documents.
"""

from __future__ import annotations

from rag_helpers.evaluation.abstention import (
    Calibration,
    RiskCoverage,
    auroc,
    auroc_interval,
    fit_calibration,
    risk_coverage,
)
from rag_helpers.evaluation.attribution import Outcome, attribute, count_outcomes
from rag_helpers.evaluation.evidence import (
    EvidenceSpan,
    Judge,
    holds_evidence,
    normalize_quote,
    resolve_evidence,
)
from rag_helpers.evaluation.gold import gold_from_rows, load_gold, load_squad_gold
from rag_helpers.evaluation.intervals import (
    Interval,
    PairedTest,
    bootstrap_interval,
    paired_test,
)
from rag_helpers.evaluation.metrics import (
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
from rag_helpers.evaluation.project_gold import (
    example_questions,
    load_gold_split,
    load_practice_questions,
)
from rag_helpers.evaluation.rating import (
    CRITERIA,
    BlindItem,
    Rating,
    WinRate,
    blind_items,
    cohen_kappa,
    kappa_between,
    win_rates,
)
from rag_helpers.evaluation.rating_file import append_rating, load_ratings
from rag_helpers.evaluation.report import (
    ANSWER_METRICS,
    RETRIEVAL_METRICS,
    Report,
    compare,
    summarize,
)
from rag_helpers.evaluation.results import QuestionResult, ResultsFile
from rag_helpers.evaluation.run import BatchAnswerer, evaluate

__all__ = [
    "ANSWER_METRICS",
    "CRITERIA",
    "RETRIEVAL_METRICS",
    "BatchAnswerer",
    "BlindItem",
    "Calibration",
    "EvidenceSpan",
    "Interval",
    "Judge",
    "Outcome",
    "PairedTest",
    "QuestionResult",
    "Rating",
    "Report",
    "ResultsFile",
    "RiskCoverage",
    "WinRate",
    "answer_in_context",
    "append_rating",
    "attribute",
    "auroc",
    "auroc_interval",
    "blind_items",
    "bootstrap_interval",
    "cohen_kappa",
    "compare",
    "contains_answer",
    "corpus_bleu",
    "count_outcomes",
    "evaluate",
    "exact_match",
    "example_questions",
    "fit_calibration",
    "gold_from_rows",
    "holds_evidence",
    "kappa_between",
    "load_gold",
    "load_gold_split",
    "load_practice_questions",
    "load_ratings",
    "load_squad_gold",
    "ndcg_at",
    "normalize_answer",
    "normalize_quote",
    "paired_test",
    "recall_at",
    "reciprocal_rank_at",
    "resolve_evidence",
    "risk_coverage",
    "rouge_l",
    "sentence_bleu",
    "summarize",
    "supported_by_citation",
    "token_f1",
    "win_rates",
    "words_per_hit",
]
