"""Questions made up by a model: which are kept, and what they teach."""

from __future__ import annotations

import numpy as np
import pytest

from rag_helpers.errors import TrainingError
from rag_helpers.fine_tuning import lessons_from_pairs, pairs_from_model
from rag_helpers.index import ChunkIndex
from rag_helpers.records import Chunk, Generation, Hit

ICE = "Ice melts at zero degrees Celsius when the air around it is warm enough."
TEA = "Tea is brewed with water that has just boiled, for three to five minutes."
MOON = "The moon goes around the earth about once a month and shows one side."


def chunk(text, source, title=None):
    return Chunk(text, source, 0, len(text), title=title)


CHUNKS = [
    chunk(ICE, "ice", "Ice"), chunk(TEA, "tea"), chunk(ICE, "copy of ice"), chunk("Hot.", "short"),
]  # fmt: skip


def finds(*places):
    """Return a search that finds these chunks, whatever is asked."""
    return lambda question, k: [Hit(CHUNKS[p], 1.0, n) for n, p in enumerate(places[:k], start=1)]


def says(*texts):
    """Return a model that writes these texts, one a prompt; it remembers the prompts."""
    left, seen = iter(texts), []

    def generate(prompts):
        seen.extend(prompt.text for prompt in prompts)
        return [Generation(next(left)) for _ in prompts]

    generate.seen = seen
    return generate


def test_a_question_is_kept_when_it_finds_its_chunk_or_a_copy_of_it():
    model = says("When does ice melt?", "How is it brewed?", "Why is ice so cold?")
    pairs = pairs_from_model(CHUNKS, model, finds(2), least_words=5, batch_size=2)
    # Tea is not among the hits; the copy of ice counts for ice, and the short chunk is not asked.
    assert [pair.question for pair in pairs] == ["When does ice melt?", "Why is ice so cold?"]
    assert pairs[0].passage == "Ice\n" + ICE and pairs[0].right == {"Ice\n" + ICE, ICE}
    assert len(model.seen) == 3 and ICE in model.seen[0]
    assert (
        pairs_from_model(CHUNKS, says(*["Is it hot or cold?"] * 3), finds(3), least_words=5) == []
    )


def test_depth_is_how_far_the_round_trip_looks():
    texts = ["When does ice melt?"] * 3
    assert pairs_from_model(CHUNKS[:1], says(*texts), finds(1, 0), depth=1, least_words=5) == []
    assert len(pairs_from_model(CHUNKS[:1], says(*texts), finds(1, 0), depth=2, least_words=5)) == 1
    with pytest.raises(TrainingError, match="depth is 0"):
        pairs_from_model(CHUNKS, says(), finds(), depth=0)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Sure! When does ice melt? It melts.", "When does ice melt?"),
        ('"When does ice melt?"', "When does ice melt?"),
        ("Question: When does ice melt?", "When does ice melt?"),
        ("Ice melts.", None),
        ("Melts it?", None),
        ("What does the passage say about ice?", None),
        (" ".join(["very"] * 30) + " cold?", None),
        ("", None),
    ],
)
def test_only_what_a_learner_could_ask_is_kept(text, kept):
    pairs = pairs_from_model(CHUNKS[:1], says(text), finds(0), least_words=5)
    assert [pair.question for pair in pairs] == ([kept] if kept else [])


def test_the_same_question_is_kept_once():
    texts = ["When does it melt?", "WHEN does it melt?", "when does it melt?"]
    (pair,) = pairs_from_model(CHUNKS, says(*texts), finds(0, 1, 2), least_words=5)
    # The chunk that was asked about first keeps it.
    assert (pair.question, pair.passage) == ("When does it melt?", "Ice\n" + ICE)


def test_pairs_become_lessons_over_an_index():
    model = says("When does ice melt?", "How is it brewed?", "Why is ice so cold?")
    pairs = pairs_from_model(CHUNKS, model, finds(0, 1), least_words=5)
    index = ChunkIndex(4)
    index.add(CHUNKS, np.eye(4))
    lessons = lessons_from_pairs(pairs, index)
    assert lessons.questions == tuple(pair.question for pair in pairs)
    assert lessons.right == ((0, 2), (1,), (0, 2))
    assert lessons.ranks(np.eye(4, dtype=np.float32)[[0, 1, 3]]) == [1, 1, 2]
    index.remove(["tea"])
    with pytest.raises(TrainingError, match="passage of 'made up tea#0-"):
        lessons_from_pairs(pairs, index)
