"""Wrong answers to the exercises of notebook 05."""

import re
import string
from collections import Counter
from dataclasses import replace

import numpy as np

from rag_helpers.records import GoldQuestion


def _words(text):
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def _f1(shared, ours, theirs):
    if not shared:
        return 0.0
    return 2 * (shared / ours) * (shared / theirs) / (shared / ours + shared / theirs)


def as_written(text, gold):
    ours, theirs = text.split(), gold.split()
    shared = (Counter(ours) & Counter(theirs)).total()
    return _f1(shared, len(ours), len(theirs))


def as_sets(text, gold):
    ours, theirs = set(_words(text)), set(_words(gold))
    return _f1(len(ours & theirs), len(ours), len(theirs))


def recall_alone(text, gold):
    ours, theirs = Counter(_words(text)), Counter(_words(gold))
    return (ours & theirs).total() / theirs.total()


def divides_by_nothing(text, gold):
    ours, theirs = Counter(_words(text)), Counter(_words(gold))
    shared = (ours & theirs).total()
    precision, recall = shared / ours.total(), shared / theirs.total()
    return 2 * precision * recall / (precision + recall)


def with_articles(text, gold):
    ours, theirs = (
        "".join(c for c in one.lower() if c not in string.punctuation).split()
        for one in (text, gold)
    )
    return _f1((Counter(ours) & Counter(theirs)).total(), len(ours), len(theirs))


def _holds(evidence, texts):
    return any(" ".join(evidence.split()) in " ".join(text.split()) for text in texts)


def letter_by_letter(evidence, hits, passages, is_right):
    if is_right:
        return "right"
    if not any(evidence in hit for hit in hits):
        return "retrieval"
    return "reader" if any(evidence in passage for passage in passages) else "prompt"


def blames_the_reader(evidence, hits, passages, is_right):
    if is_right:
        return "right"
    return "reader" if hits and passages else "retrieval"


def blames_the_prompt(evidence, hits, passages, is_right):
    if is_right:
        return "right"
    if not _holds(evidence, passages):
        return "prompt"
    return "reader"


def never_right(evidence, hits, passages, is_right):
    if not _holds(evidence, hits):
        return "retrieval"
    return "reader" if _holds(evidence, passages) else "prompt"


def says_model(evidence, hits, passages, is_right):
    return "right" if is_right else "the model"


def unpaired(before, after):
    random = np.random.default_rng(0)
    old = random.choice(before, (2000, len(before))).mean(axis=1)
    new = random.choice(after, (2000, len(after))).mean(axis=1)
    low, high = np.percentile(new - old, [2.5, 97.5])
    return np.mean(after) - np.mean(before), low, high


def _paired(change, ends=(2.5, 97.5), seed=0):
    draws = np.random.default_rng(seed).integers(0, len(change), (4000, len(change)))
    low, high = np.percentile(change[draws].mean(axis=1), ends)
    return change.mean(), low, high


def wrong_sign(before, after):
    return _paired(np.array(before) - np.array(after))


def ninety_per_cent(before, after):
    return _paired(np.array(after) - np.array(before), (5, 95))


def without_a_seed(before, after):
    return _paired(np.array(after) - np.array(before), seed=None)


def spread_of_questions(before, after):
    change = np.array(after) - np.array(before)
    low, high = np.percentile(change, [2.5, 97.5])
    return change.mean(), low, high


BREAK = GoldQuestion(
    "mine-1",
    "What ends the innermost loop at once?",
    ("break",),
    "“break” may only occur syntactically nested in a “for” or “while” loop",
    "break",
    "fact",
)
PASS = GoldQuestion(
    "mine-2",
    "What does a statement do that does nothing?",
    ("nothing happens",),
    "“pass” is a null operation — when it is executed, nothing happens.",
    "pass",
    "behaviour",
)
NOWHERE = GoldQuestion("mine-3", "How do I open a window?", (), None, None, "unanswerable")


def nothing_unanswerable():
    return [BREAK, PASS, replace(PASS, id="mine-4", question="What does pass do?")]


def from_memory():
    return [replace(BREAK, evidence="The break statement ends the loop at once"), PASS, NOWHERE]


def answer_not_in_evidence():
    return [replace(BREAK, answers=("the keyword that ends it",)), PASS, NOWHERE]


def one_topic():
    return [BREAK, replace(BREAK, id="mine-4", question="Which word ends a loop?"), NOWHERE]


def same_id():
    return [BREAK, replace(PASS, id="mine-1"), NOWHERE]


MISTAKES = {
    "5.1": [
        (as_written, "Capitals do not count"),
        (as_sets, "A word counts as shared as often as"),
        (recall_alone, "f1('It raises a ZeroDivisionError.', 'ZeroDivisionError')"),
        (divides_by_nothing, "raised ZeroDivisionError"),
        (with_articles, "The articles a, an and the do not count"),
    ],
    "5.2": [
        (letter_by_letter, "Line breaks and double spaces must not matter"),
        (blames_the_reader, "You said 'reader', but no hit holds the evidence"),
        (blames_the_prompt, "You said 'prompt', but no hit holds the evidence"),
        (never_right, "a right answer needs no culprit"),
        (says_model, "one of the four words"),
    ],
    "5.3": [
        (unpaired, "Draw questions, not scores"),
        (wrong_sign, "after minus before"),
        (ninety_per_cent, "which percentiles end it?"),
        (without_a_seed, "fix the seed inside"),
        (spread_of_questions, "which percentiles end it?"),
    ],
    "5.4": [
        (nothing_unanswerable, "a system that never declines"),
        (from_memory, "does not stand in 'break'"),
        (answer_not_in_evidence, "stands in its evidence"),
        (one_topic, "ask about at least two"),
        (same_id, "share an id"),
    ],
}
