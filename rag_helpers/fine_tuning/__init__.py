"""Step 6: both halves trained, on a laptop, with proof."""

from __future__ import annotations

from rag_helpers.fine_tuning.checks import check_overlap, check_pairs, check_room
from rag_helpers.fine_tuning.distillation import lessons_from_teacher
from rag_helpers.fine_tuning.dpr_training import train_dpr
from rag_helpers.fine_tuning.generator_training import train_generator
from rag_helpers.fine_tuning.pairs import (
    NOT_IN_CONTEXT,
    GeneratorPair,
    RetrieverPair,
    build_generator_pairs,
    build_retriever_pairs,
    evidence_texts,
    is_right,
    mine_hard_negatives,
    pairs_from_headings,
)
from rag_helpers.fine_tuning.question_training import (
    QuestionLessons,
    build_question_lessons,
    train_question_side,
)
from rag_helpers.fine_tuning.retriever_training import compatible_batches, train_retriever
from rag_helpers.fine_tuning.runs import TrainingResult, TrainingStep
from rag_helpers.fine_tuning.seq2seq_training import train_seq2seq
from rag_helpers.fine_tuning.synthetic import lessons_from_pairs, pairs_from_model

__all__ = [
    "NOT_IN_CONTEXT",
    "GeneratorPair",
    "QuestionLessons",
    "RetrieverPair",
    "TrainingResult",
    "TrainingStep",
    "build_generator_pairs",
    "build_question_lessons",
    "build_retriever_pairs",
    "check_overlap",
    "check_pairs",
    "check_room",
    "compatible_batches",
    "evidence_texts",
    "is_right",
    "lessons_from_pairs",
    "lessons_from_teacher",
    "mine_hard_negatives",
    "pairs_from_headings",
    "pairs_from_model",
    "train_dpr",
    "train_generator",
    "train_question_side",
    "train_retriever",
    "train_seq2seq",
]
