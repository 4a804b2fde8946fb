"""Checks of the exercises to notebook 02: cutting text without losing a character.

They need no model. The module does not know the solutions.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from rag_helpers.corpus import load_help_topics
from rag_helpers.evaluation import Judge, load_gold_split
from rag_helpers.exercises.checking import Attempt, Hint, exercise, require, show
from rag_helpers.records import Chunk, Document

__all__ = ["check_2_1", "check_2_2", "check_2_3", "check_2_4"]

# Four topics that many train questions are about, and what a chunker of the course keeps of them.
_CORNER = ("debugger", "string-methods", "formatstrings", "attribute-access")
_MOST_WORDS, _MEAN_WORDS, _LEAST_KEPT = 200, 120, 0.9


@exercise("2.1", "Where the windows begin", "recall")
def check_2_1(starts: Attempt) -> None:
    """Check the first words of overlapping windows."""
    for words, size, overlap in [
        (10, 4, 1),
        (10, 4, 0),
        (17, 7, 2),
        (8, 4, 0),
        (4, 4, 3),
        (3, 10, 2),
        (1, 1, 0),
        (0, 5, 1),
        (100, 20, 15),
    ]:
        got = starts(words, size, overlap)
        case = f"{words} words, size {size}, overlap {overlap}"
        require(isinstance(got, list), f"Return a list of numbers; this is {show(got)}.")
        if words == 0:
            require(not got, "A text of 0 words has no window at all.")
            continue
        require(got and got[0] == 0, f"{case}: the first window begins at word 0, not {show(got)}.")
        for first, second in pairwise(got):
            require(
                second - first == size - overlap,
                f"{case}: windows at {first} and {second} share {max(0, first + size - second)} "
                f"words and should share {overlap}.",
            )
        require(
            got[-1] + size >= words,
            f"{case}: your last window begins at {got[-1]}, so the last words are in none.",
        )
        for before in got[:-1]:
            require(
                before + size < words,
                f"{case}: the window at {before} reached the end, so the next one repeats words "
                "and adds none.",
            )


@exercise("2.2", "Cutting between sentences", "apply")
def check_2_2(cut_by_sentences: Attempt) -> None:
    """Check whole sentences, gathered up to a number of words."""
    cases = [
        ("One two three. Four five. Six seven eight nine. Ten.", 6),
        ("Yes. Yes. No! Yes. Why? Yes.", 2),
        ("A sentence that is far too long for the limit stands alone. Short one.", 5),
        ("First line.\n\n  Second line,\n  indented. Third   one.", 4),
        ("No end mark at all", 10),
        ("It ends. without an end mark", 3),
        ("", 3),
    ]
    for text, most in cases:
        spans = [tuple(span) for span in cut_by_sentences(text, most)]
        pieces = [text[start:end] for start, end in spans]
        case = f"For {show(text)} with at most {most} words"
        _check_cover(text, spans, case)
        sentences = [m.group() for m in re.finditer(r"\S.*?(?:[.!?](?=\s|$)|$)", text, re.DOTALL)]
        for piece in pieces:
            inside = list(re.findall(r"\S.*?(?:[.!?](?=\s|$)|\Z)", piece, re.DOTALL))
            require(
                all(one in sentences for one in inside),
                f"{case} the piece {piece!r} tears a sentence apart.",
            )
            require(
                len(inside) == 1 or len(piece.split()) <= most,
                f"{case} the piece {piece!r} has {len(piece.split())} words and more than one "
                "sentence.",
            )
    for text, most in cases:
        case = f"For {show(text)} with at most {most} words"
        pieces = [text[start:end] for start, end in cut_by_sentences(text, most)]
        for one, two in pairwise(pieces):
            after = re.match(r"\S.*?(?:[.!?](?=\s|$)|\Z)", two, re.DOTALL)
            joined = len(one.split()) + len(after.group().split() if after else [])
            require(
                joined > most,
                f"{case} the sentence after {one!r} would still have fitted into that piece.",
            )


def _check_cover(text: str, spans: list[Any], case: str) -> None:
    """Require offsets in order, that do not overlap and leave out white space alone."""
    place = 0
    for start, end in spans:
        require(
            start >= place,
            f"{case} the piece at {start} begins before the one before it ends ({place}). Was it "
            "searched for by its words? They may stand in the text twice.",
        )
        require(start < end <= len(text), f"{case} the offsets {start}–{end} hold no text.")
        require(
            not text[place:start].strip(),
            f"{case} the characters {text[place:start].strip()!r} are in no piece.",
        )
        place = end
    require(not text[place:].strip(), f"{case} the end, {text[place:].strip()!r}, is in no piece.")


@exercise("2.3", "Offsets that drift", "break and mend")
def check_2_3(cut_by_words: Attempt) -> None:
    """Check a cutter by words whose pieces must stand in the document as they are."""
    texts = [
        "one two three four five six seven",
        "one  two\n\nthree\tfour five",
        "  starts with spaces, ends with them  ",
        "def f(x):\n    return x\n\ndef g(x):\n    return x\n",
        "one",
        "the cat and the cat and the cat and the end",
        "",
    ]
    for text in texts:
        for size in (1, 2, 3, 50):
            pieces = list(cut_by_words(text, size))
            case = f"For {show(text)} and size {size}"
            for start, end, piece in pieces:
                require(
                    text[start:end] == piece,
                    f"{case}, text[{start}:{end}] is {show(text[start:end])}, and the piece is "
                    f"{show(piece)}. Are the spaces between the words as they were?",
                )
                require(piece == piece.strip(), f"{case}: {piece!r} begins or ends with a space.")
            starts = [start for start, _, _ in pieces]
            require(
                starts == sorted(set(starts)),
                f"{case}: the pieces begin at {starts}. A piece whose words stood in the text "
                "before was found at the wrong place.",
            )
            words = [word for _, _, piece in pieces for word in piece.split()]
            require(
                words == text.split(),
                f"{case}: {len(text.split())} words went in and {len(words)} came out.",
            )
            require(
                all(len(piece.split()) == size for _, _, piece in pieces[:-1]),
                f"{case}: only the last piece may have fewer than {size} words.",
            )


@exercise("2.4", "A chunker of your own", "open-ended")
def check_2_4(my_chunker: Attempt) -> None:
    """Check offsets, cover, sizes and how much evidence a chunker keeps whole."""
    odd = Document("  one\n\ntwo  three.\n\n\nfour", "odd")
    corner = [document for document in load_help_topics() if document.source in _CORNER]
    kept_chunks: list[Chunk] = []
    for document in [odd, *corner]:
        chunks = my_chunker(document)
        if not isinstance(chunks, list) or not all(isinstance(c, Chunk) for c in chunks):
            raise Hint(f"Return a list of Chunk; this is {show(chunks)}.")
        place = 0
        for chunk in chunks:
            require(chunk.source == document.source, f"{chunk.id} does not name its document.")
            require(
                document.text[chunk.start : chunk.end] == chunk.text,
                f"{chunk.id}: its text is not what stands between its offsets. Was it stripped, or "
                "joined again?",
            )
            lost = document.text[place : chunk.start].strip()
            require(not lost, f"{document.source}: {show(lost)} is in no chunk.")
            place = max(place, chunk.end)
        lost = document.text[place:].strip()
        require(not lost, f"{document.source}: the end, {show(lost)}, is in no chunk.")
        kept_chunks += chunks if document is not odd else []
    lengths = [len(chunk.text.split()) for chunk in kept_chunks]
    require(
        max(lengths) <= _MOST_WORDS,
        f"The longest chunk has {max(lengths)} words; at most {_MOST_WORDS} are allowed.",
    )
    mean = sum(lengths) / len(lengths)
    require(
        mean <= _MEAN_WORDS,
        f"A chunk has {mean:.0f} words in the mean; at most {_MEAN_WORDS} are allowed.",
    )
    gold = [q for q in load_gold_split("train") if q.answers and q.source in _CORNER]
    judge = Judge(corner, gold, share=1.0)
    gold = [question for question in gold if question.id in judge.spans]
    held = [any(judge.holds(q.id, chunk.text) for chunk in kept_chunks) for q in gold]
    share = sum(held) / len(held)
    require(
        share >= _LEAST_KEPT,
        f"The offsets hold, but only {share:.0%} of the evidence of {len(gold)} train questions "
        f"stands whole in a chunk; {_LEAST_KEPT:.0%} are needed. Where do the cuts fall?",
    )
