"""Quotes resolve to the shortest match, and hits are judged by the quote they hold."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rag_helpers.errors import EvaluationError
from rag_helpers.evaluation import Judge, holds_evidence, normalize_quote, resolve_evidence
from rag_helpers.records import Chunk, Document, GoldQuestion, Hit

WORDS = st.sampled_from(["a", "ab", "the", "don’t", "“x”", "rose", "rose,", "is_"])
SPACES = st.sampled_from([" ", "  ", "\n", "\t ", "\u00a0", "\n\n   "])
# So few different words that openings and closings stand in most texts, many times.
FEW_WORDS = st.sampled_from(["a", "ab", "“x”"])
PARTS = st.lists(FEW_WORDS, min_size=3, max_size=4)


@st.composite
def spaced_texts(draw, *, words=WORDS, min_size=1, max_size=40):
    """Return words and a text that holds them with any white space between."""
    written = draw(st.lists(words, min_size=min_size, max_size=max_size))
    return written, "".join(draw(SPACES) + word for word in written) + draw(SPACES)


def _straight(words: list[str]) -> list[str]:
    return [word.translate(str.maketrans("“”’", '""\'')) for word in words]


def _shortest(words: list[str], opening: list[str], closing: list[str]) -> int | None:
    """Try every pair of places, the slow and plain way; length in characters."""
    lengths = [
        len(" ".join(words[start : end + len(closing)]))
        for start in range(len(words))
        for end in range(start + len(opening), len(words))
        if words[start : start + len(opening)] == opening
        and words[end : end + len(closing)] == closing
    ]
    return min(lengths, default=None)


@given(spaced_texts(), st.data())
def test_every_run_of_words_is_found_whatever_its_white_space_and_quotes(written, data):
    words, text = written
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    found = resolve_evidence(" ".join(_straight(words[start:end])), text)
    assert found is not None
    assert normalize_quote(text[slice(*found)]) == " ".join(_straight(words[start:end]))
    # The offsets hold the quote and no white space beside it.
    assert text[slice(*found)] == text[slice(*found)].strip()


@pytest.mark.seconds
@given(spaced_texts(words=FEW_WORDS, min_size=20, max_size=60), PARTS, PARTS)
def test_an_elided_quote_resolves_to_the_shortest_stretch(written, opening, closing):
    words, text = written
    opening, closing = _straight(opening), _straight(closing)
    found = resolve_evidence(f"{' '.join(opening)} … {' '.join(closing)}", text)
    wanted = _shortest(_straight(words), opening, closing)
    if wanted is None:
        assert found is None
    else:
        assert found is not None
        stretch = normalize_quote(text[slice(*found)])
        assert len(stretch) == wanted
        assert stretch.startswith(" ".join(opening))
        assert stretch.endswith(" ".join(closing))


@given(spaced_texts(min_size=8), st.data())
def test_any_elision_of_a_text_resolves_inside_it(written, data):
    words, text = written
    cut = data.draw(st.integers(3, len(words) - 5))
    resume = data.draw(st.integers(cut, len(words) - 3))
    elided = f"{' '.join(words[:cut])}…{' '.join(words[resume:])}"
    found = resolve_evidence(elided, text)
    assert found is not None
    assert normalize_quote(text[slice(*found)]).startswith(" ".join(_straight(words[:cut])))


@given(st.text(max_size=200), st.text(max_size=60))
def test_arbitrary_unicode_gives_offsets_inside_the_text_or_none(text, evidence):
    assume(evidence.split())
    found = resolve_evidence(evidence, text)
    if found is not None:
        start, end = found
        assert 0 <= start < end <= len(text)
        if "…" not in evidence:
            assert normalize_quote(text[start:end]) == normalize_quote(evidence)


def test_of_two_openings_the_later_and_of_two_closings_the_earlier_bounds_the_match():
    text = "if the test fails, if the test fails again, stop right there. Do stop right there."
    start, end = resolve_evidence("if the test … stop right there", text)
    assert text[start:end] == "if the test fails again, stop right there"


def test_an_elision_may_stand_for_nothing_but_its_sides_never_overlap():
    assert resolve_evidence("a b c … d e f", "a b c d e f") == (0, 11)
    assert resolve_evidence("a b c … b c d", "a b c d") is None


def test_a_quote_that_holds_the_sign_of_elision_itself_is_found_whole_first():
    text = "one two three and so on four five six; one two three … four five six"
    start, _ = resolve_evidence("one two three … four five six", text)
    assert start == text.index(";") + 2


@pytest.mark.parametrize(
    "evidence", ["two words … and then three", "a b c … d e f … g h i", "x … y"]
)
def test_elisions_that_are_too_short_or_several_resolve_to_nothing(evidence):
    assert resolve_evidence(evidence, "two words a b c and then three d e f g h i x y") is None


def test_a_match_never_begins_or_ends_inside_a_word():
    assert resolve_evidence("the cat", "breathe cat, the category") is None
    assert resolve_evidence("the cat", "the category of the cat.") == (16, 23)
    # Chinese writes no spaces: a quote may begin anywhere.
    assert resolve_evidence("天空是蓝色", "今天天空是蓝色的") == (2, 7)


def test_an_empty_quote_is_an_error_with_a_cure():
    with pytest.raises(EvaluationError, match="holds no word"):
        resolve_evidence(" \n", "some text")
    with pytest.raises(EvaluationError, match="holds no word"):
        holds_evidence("some text", "")


EVIDENCE = [f"w{number}" for number in range(10)]  # 60 % of ten words are six


@pytest.mark.parametrize(
    ("words", "right"),
    [
        (["x", *EVIDENCE, "y"], True),  # whole
        (["x", *EVIDENCE[:6]], True),  # six words, cut by the end of the chunk
        (["x", *EVIDENCE[:5]], False),  # five
        ([*EVIDENCE[4:], "x"], True),  # six, cut by the beginning
        ([*EVIDENCE[5:], "x"], False),  # five
        (EVIDENCE[2:8], True),  # the chunk lies within the quote
        (EVIDENCE[2:7], False),
        (["x", *EVIDENCE[:9], "y"], False),  # no boundary cuts it: another text
        (["x", *EVIDENCE[:3], "z", *EVIDENCE[3:7]], False),  # seven words, not in one run
        ([*EVIDENCE[7:], "x", *EVIDENCE[:5]], False),  # both ends hold a part, neither enough
        ([*EVIDENCE[:6], "y", *EVIDENCE[:6]], True),  # the second run reaches the end
    ],
)
def test_a_passage_is_right_with_the_quote_or_most_of_it_at_a_boundary(words, right):
    assert holds_evidence("\n ".join(words), "  ".join(EVIDENCE)) is right


def test_words_that_a_boundary_cuts_do_not_count():
    quote = "alpha beta gamma delta epsilon"  # three of five are enough
    assert holds_evidence("x alpha beta gamma del", quote)
    assert not holds_evidence("x alpha beta gam", quote)
    assert holds_evidence("pha beta gamma delta eps", quote)
    assert not holds_evidence("pha beta gamma del", quote)


def test_a_share_that_floating_point_overshoots_asks_for_no_word_more():
    quote = [f"w{number}" for number in range(25)]
    assert 0.56 * 25 > 14  # by rounding: 14 words are 56 % of 25
    assert holds_evidence(" ".join(["x", *quote[:14]]), " ".join(quote), share=0.56)


@given(st.integers(1, 30), st.integers(0, 40), st.integers(0, 40), st.sampled_from([0.5, 0.6, 1.0]))
def test_any_window_is_right_exactly_when_it_holds_the_share(length, left, right, share):
    quote = [f"w{number}" for number in range(length)]
    text = [*(f"l{number}" for number in range(20)), *quote, *(f"r{n}" for n in range(20))]
    start, end = min(left, len(text)), max(0, len(text) - right)
    assume(start < end)
    window = text[start:end]
    held = sum(word.startswith("w") for word in window)
    wanted = held * 10 >= length * round(share * 10)
    assert holds_evidence(" ".join(window), " ".join(quote), share) is (wanted and held > 0)


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(EvaluationError, match="share is"):
        holds_evidence("text", "text", share)


def _question(name, evidence, source="a", answers=("x",)):
    kind = "fact" if answers else "unanswerable"
    return GoldQuestion(name, f"{name}?", answers, evidence, source, kind)


def _hits(*texts):
    return [
        Hit(Chunk(text, "any", 0, len(text)), 1.0, rank) for rank, text in enumerate(texts, start=1)
    ]


def test_the_judge_prefers_the_named_source_and_falls_back_to_any_other():
    documents = [Document("zero one two three", "a"), Document("one  two\nthree", "b")]
    judge = Judge(
        documents,
        [
            _question("named", "one two three", "b"),
            _question("moved", "one two three", "gone"),
            _question("lost", "four five six", "a"),
            _question("bare", None, None),
            _question("none", None, None, answers=()),
        ],
    )
    assert (judge.spans["named"].source, judge.spans["named"].text) == ("b", "one  two\nthree")
    assert (judge.spans["moved"].source, judge.spans["moved"].start) == ("a", 5)
    # "bare" has an answer but names no evidence; "none" needs none.
    assert judge.unresolved == ("lost", "bare")


def test_documents_that_share_a_name_are_all_searched():
    judge = Judge(
        [Document("one two", "a"), Document("three four", "a")], [_question("q", "three four")]
    )
    assert judge.spans["q"].text == "three four"


def test_an_elided_quote_is_judged_by_all_the_words_it_stands_for():
    text = "one two three four five six seven eight nine ten"
    judge = Judge([Document(text, "a")], [_question("q", "one two three … eight nine ten")])
    hits = _hits("one two three", "two three four five six seven", text, text)
    # Six of ten words are enough; three are not, though they are the opening.
    assert judge.relevance("q", hits) == [False, True, True, True]
    assert judge.first_right("q", hits) == 2
    assert judge.first_right("q", hits[:1]) is None


def test_asking_about_a_question_without_evidence_is_an_error():
    judge = Judge([Document("text", "a")], [_question("q", "not there")])
    with pytest.raises(EvaluationError, match=r"'q' has no evidence .* Judge\.unresolved"):
        judge.holds("q", "text")
