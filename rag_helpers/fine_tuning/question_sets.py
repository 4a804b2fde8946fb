"""What the shipped adapters learn from and are measured on.

The module knows which questions are for what; it trains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rag_helpers.chunking import split_by_structure
from rag_helpers.corpus import load_help_topics
from rag_helpers.embedding import SentenceEmbedder
from rag_helpers.evaluation import load_gold_split, load_practice_questions
from rag_helpers.fine_tuning.checks import check_overlap
from rag_helpers.fine_tuning.pairs import Search, evidence_texts
from rag_helpers.fine_tuning.question_training import QuestionLessons, build_question_lessons
from rag_helpers.fine_tuning.xquad import LICENCE, load_xquad_part
from rag_helpers.pipeline import WINDOW_WORDS, load_index, whole_documents
from rag_helpers.records import Chunk, Document, GoldQuestion
from rag_helpers.retriever import DenseRetriever

__all__ = ["ENCODER", "QuestionSet", "cut_set", "evidence_of", "load_question_sets"]

ENCODER = "all-MiniLM-L6-v2"


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions with the corpus they are about, as it is searched.

    Parameters
    ----------
    name : str
        As a card names it.
    licence : str
        Of the questions and the texts.
    gold : tuple of GoldQuestion
        The questions.
    documents : tuple of Document
        The corpus.
    chunks : tuple of Chunk
        The corpus, cut.
    """

    name: str
    licence: str
    gold: tuple[GoldQuestion, ...]
    documents: tuple[Document, ...]
    chunks: tuple[Chunk, ...]

    def lessons(self) -> QuestionLessons:
        """Return the questions beside the chunks that answer them, as the pipeline embeds them."""
        index = load_index(
            self.documents, model=ENCODER, chunks=self.chunks, window_words=WINDOW_WORDS
        )
        return build_question_lessons(self.gold, self.documents, index)

    def search_with(self, embedder: SentenceEmbedder) -> Search:
        """Return a dense search over the chunks; the index is kept in the cache."""
        index = load_index(self.documents, model=ENCODER, chunks=self.chunks)
        return DenseRetriever(index, embedder).search


def load_question_sets(
    squad: str | Path | None = None,
) -> tuple[list[QuestionSet], list[QuestionSet]]:
    """Load what is trained on, and what is measured on.

    Parameters
    ----------
    squad : str or Path, optional
        XQuAD's English file, or its name; see `load_xquad_part`.

    Returns
    -------
    tuple of list of QuestionSet
        For training, for measuring.

    Raises
    ------
    TrainingError
        If evidence stands in both, or the file holds none of the articles.
    """
    help_topics = tuple(load_help_topics())
    chunks = tuple(split_by_structure(help_topics))
    topics, own = "Python help topics", "questions MIT, texts PSF-2.0"
    train, measure = (
        [QuestionSet(f"{topics}, {split}", own, tuple(load_gold_split(split)), help_topics, chunks)]
        for split in ("train", "dev")
    )
    train[0] = replace(
        train[0],
        name=f"{topics}, train and practice",
        gold=(*train[0].gold, *load_practice_questions()),
    )
    if squad is not None:
        for sets, part in ((train, "train"), (measure, "choose")):
            asked, texts = load_xquad_part(squad, part)
            name = f"XQuAD (English), {part} articles"
            sets.append(QuestionSet(name, LICENCE, asked, texts, tuple(whole_documents(texts))))
    for one in train:
        for other in measure:
            check_overlap(evidence_of(one), evidence_of(other))
    return train, measure


def evidence_of(questions: QuestionSet) -> Mapping[str, str]:
    """Return the text of each question's evidence, by its id."""
    return evidence_texts(questions.gold, questions.documents)


def cut_set(questions: QuestionSet, limit: int) -> QuestionSet:
    """Return the same set with at most `limit` questions."""
    return QuestionSet(
        questions.name,
        questions.licence,
        questions.gold[:limit],
        questions.documents,
        questions.chunks,
    )
