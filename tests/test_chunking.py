"""Cutting text without losing a character."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_helpers.chunking import (
    find_headings,
    report_unread,
    split_by_sentences,
    split_by_structure,
    split_by_tokens,
    split_by_words,
    split_sentences,
    supporting_sentences,
)
from rag_helpers.corpus import load_help_topics
from rag_helpers.errors import InvalidInputError
from rag_helpers.records import Chunk, Document

# Any character at all, half surrogate pairs too; and text made of what the
# rules look at, so that they meet in every order.
PIECES = [
    *"aZ9 .!?。\t\n*-=#(){}\"'’…\u3000\u0301",
    "\n\n",
    "\r\n",
    "e.g. ",
    "1. ",
    "* ",
    "===",
    "```",
]
TEXTS = st.one_of(
    st.text(st.characters()), st.lists(st.sampled_from(PIECES), max_size=60).map("".join)
)
SIZES = st.integers(1, 12)
# A new chunker joins these: what must hold for all is then proved for it.
CHUNKERS = (split_by_words, split_by_sentences, split_by_structure)


def count_words(text):
    return len(text.split())


def check(document, chunks, *, overlaps=False):
    """Every chunk is where it says; together they hold all but white space, in order."""
    for chunk in chunks:
        assert document.text[chunk.start : chunk.end] == chunk.text
        assert chunk.text == chunk.text.strip() != ""
        assert chunk.source == document.source
    for before, after in pairwise(chunks):
        assert before.start < after.start
        assert before.end < after.end
        assert overlaps or before.end <= after.start
    held = {place for chunk in chunks for place in range(chunk.start, chunk.end)}
    lost = [c for i, c in enumerate(document.text) if i not in held and not c.isspace()]
    assert lost == []


@pytest.mark.parametrize("split", CHUNKERS)
@given(text=TEXTS)
@settings(deadline=None)
def test_every_chunker_loses_nothing(split, text):
    document = Document(text, "any")
    check(document, split(document))


@given(TEXTS, SIZES, st.data())
@settings(deadline=None)
def test_words_lose_nothing(text, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    document = Document(text, "any")
    chunks = split_by_words(document, size=size, overlap=overlap)
    check(document, chunks, overlaps=True)
    assert all(count_words(chunk.text) <= size for chunk in chunks)


@given(TEXTS, SIZES, st.data())
@settings(deadline=None)
def test_sentences_lose_nothing(text, max_words, data):
    overlap = data.draw(st.integers(0, max_words - 1))
    document = Document(text, "any")
    chunks = split_by_sentences(document, max_words=max_words, overlap=overlap)
    check(document, chunks, overlaps=True)
    assert all(count_words(chunk.text) <= max_words for chunk in chunks)


@given(TEXTS, SIZES)
@settings(deadline=None)
def test_structure_loses_nothing_and_keeps_to_its_heading(text, max_words):
    document = Document(text, "any")
    chunks = split_by_structure(document, max_words=max_words)
    check(document, chunks)
    headings = find_headings(text)
    for chunk in chunks:
        assert count_words(chunk.text) <= max_words
        # A heading within a chunk has nothing but headings before it there.
        inside = [h for h in headings if chunk.start < h.start < chunk.end]
        before = [h for h in headings if h.start <= chunk.start < h.end] + inside
        end = chunk.start
        for heading in before:
            assert not text[end : max(end, heading.start)].strip()
            end = heading.end


@given(TEXTS, st.integers(2, 9), st.sampled_from([len, lambda text: 1 + len(text.split())]))
@settings(deadline=None)
def test_tokens_lose_nothing_and_never_exceed_the_limit(text, max_tokens, count_tokens):
    document = Document(text, "any")
    chunks = split_by_tokens(document, count_tokens=count_tokens, max_tokens=max_tokens)
    check(document, chunks)
    assert all(count_tokens(chunk.text) <= max_tokens for chunk in chunks)


@given(TEXTS)
@settings(deadline=None)
def test_sentence_offsets_lose_nothing(text):
    spans = split_sentences(text)
    check(Document(text, "any"), [Chunk(text[a:b], "any", a, b) for a, b in spans])


@given(TEXTS, SIZES, st.data())
@settings(deadline=None)
def test_words_agree_with_a_plain_implementation(text, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    words = text.split()
    expected = []
    for start in range(0, len(words), size - overlap):
        expected.append(words[start : start + size])
        if start + size >= len(words):
            break
    chunks = split_by_words(Document(text, "any"), size=size, overlap=overlap)
    assert [chunk.text.split() for chunk in chunks] == expected


def test_tokens_take_as_many_words_as_fit():
    # With a characters' count the longest run of words within 11 is found by hand.
    document = Document("one two three four five six", "count")
    chunks = split_by_tokens(document, count_tokens=len, max_tokens=11)
    assert [chunk.text for chunk in chunks] == ["one two", "three four", "five six"]


def test_tokens_are_counted_few_times():
    calls = []

    def count_tokens(text):
        calls.append(len(text))
        return len(text.split())

    text = "word " * 10_000
    chunks = split_by_tokens(Document(text, "long"), count_tokens=count_tokens, max_tokens=100)
    assert len(chunks) == 100
    # Two measurements show that 100 words fit and 101 do not; reading on to the
    # end of the text for each would have measured 5,000 characters and more.
    assert len(calls) <= 4 * len(chunks)
    assert max(calls) <= 4 * 500


def test_a_word_too_long_for_the_model_is_cut_between_characters():
    chunks = split_by_tokens(Document("ab abcdefg", "long"), count_tokens=len, max_tokens=3)
    assert [chunk.text for chunk in chunks] == ["ab", "abc", "def", "g"]


def test_a_limit_below_one_character_is_refused():
    with pytest.raises(
        InvalidInputError, match=r"max_tokens=2 .* takes 3 tokens; raise max_tokens"
    ):
        split_by_tokens(Document("a", "x"), count_tokens=lambda text: len(text) + 2, max_tokens=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 5, "overlap": 5}, "overlap=5 .* less than size=5"),
        ({"size": 5, "overlap": -1}, "overlap=-1"),
        ({"size": 0}, "size=0"),
    ],
)
def test_sizes_that_cannot_work_are_named(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        split_by_words(Document("a b", "x"), **arguments)


def test_other_limits_are_checked_too():
    document = Document("a b", "x")
    with pytest.raises(InvalidInputError, match="max_words=0"):
        split_by_structure(document, max_words=0)
    with pytest.raises(InvalidInputError, match=r"overlap=9 .* max_words=9"):
        split_by_sentences(document, max_words=9, overlap=9)
    with pytest.raises(InvalidInputError, match="max_tokens=0"):
        split_by_tokens(document, count_tokens=len, max_tokens=0)


def test_text_that_is_no_document_is_refused():
    with pytest.raises(InvalidInputError, match="A str was given"):
        split_by_words(["just text"])


def test_a_document_without_words_has_no_chunks():
    document = Document(" \n\t ", "blank")
    for split in CHUNKERS:
        assert split(document) == []
    assert split_by_tokens(document, count_tokens=len) == []


def test_many_documents_keep_their_order():
    documents = [Document("a b", "one"), Document("", "none"), Document("c", "two")]
    chunks = split_by_words(documents, size=1)
    assert [(chunk.source, chunk.text) for chunk in chunks] == [
        ("one", "a"),
        ("one", "b"),
        ("two", "c"),
    ]


def test_chunks_carry_title_metadata_and_page():
    # Page 2 begins at "three" (offset 8), page 3 at "four" (offset 14).
    document = Document(
        "one two three four", "x.pdf", "Counting", {"format": "pdf"}, pages=(0, 8, 14)
    )
    chunks = split_by_words(document, size=1)
    assert [chunk.metadata["page"] for chunk in chunks] == [1, 1, 2, 3]
    assert {chunk.title for chunk in chunks} == {"Counting"}
    assert {chunk.metadata["format"] for chunk in chunks} == {"pdf"}
    assert "page" not in document.metadata
    # A chunk over a page break is cited by the page it begins on.
    assert [chunk.metadata["page"] for chunk in split_by_words(document, size=3)] == [1, 3]


def test_sentences_repeat_only_whole_ones():
    text = "One two. Three four five. Six seven. Eight."
    chunks = split_by_sentences(Document(text, "x"), max_words=5, overlap=3)
    # "Three four five." is three words, so it is repeated; then 3 + 2 = 5 fit.
    # "Six seven." is repeated before "Eight.", since both sentences are 5 words.
    assert [chunk.text for chunk in chunks] == [
        "One two. Three four five.",
        "Three four five. Six seven.",
        "Six seven. Eight.",
    ]


def test_repeated_sentences_leave_room_for_the_next():
    text = "One two three. Four five. Six seven eight nine."
    chunks = split_by_sentences(Document(text, "x"), max_words=5, overlap=3)
    # Two words may be repeated by the overlap, but 2 + 4 would pass 5.
    assert [count_words(chunk.text) for chunk in chunks] == [5, 4]


def test_a_sentence_that_is_too_long_is_cut_at_words():
    chunks = split_by_sentences(Document("a b c d e. F.", "x"), max_words=2)
    assert [chunk.text for chunk in chunks] == ["a b", "c d", "e. F."]


@pytest.mark.parametrize(
    "sentences",
    [
        ["Use lists, e.g. [1], i.e. a literal.", "See cf. Section 2 too."],
        ["Call x.y or os.path.join.", "It returns a str."],
        ["Dr. Ada B. Smith wrote it in version 3.11.", "Who read it?", "Nobody!"],
        ['He said "stop."', '"Why?" she asked.'],
        ["It ends… or not.", "It went on ... and on."],
        ["The steps:", "1. Boil water.", "2. Steep the tea.", "* Drink."],
        ["A paragraph without an end", "Another one"],
        ["水を沸かす。", "茶を入れる。"],
        ["The U.S. Army and Fig. 3 are left whole."],
        ["A (nested.)", "Then more."],
    ],
)
def test_sentences_end_where_a_reader_ends_them(sentences):
    separator = {"The steps:": "\n", "A paragraph without an end": "\n\n", "水を沸かす。": ""}
    text = separator.get(sentences[0], " ").join(sentences)
    assert [text[start:end] for start, end in split_sentences(text)] == sentences


def test_headings_of_two_markup_languages():
    text = (
        "=====\nTitle\n=====\n\nintro\n\nPart\n----\n\n## Marked ##\n\n```\n# a comment\n```\n"
        "shorter than its text\n---\n\n***\n---\n    Indented\n    ========\n"
    )
    assert [heading.text for heading in find_headings(text)] == ["Title", "Part", "Marked"]


def test_chunks_carry_the_heading_above_them():
    text = "before\n\nTea\n===\n\nboil\n\nCoffee\n======\n\ngrind\n"
    chunks = split_by_words(Document(text, "x"), size=1)
    headings = {chunk.text: chunk.heading for chunk in chunks}
    assert (headings["before"], headings["boil"], headings["grind"]) == ("", "Tea", "Coffee")


def test_structure_never_crosses_a_heading():
    text = "before\n\nDrinks\n======\n\nTea\n---\n\nboil\n\nCoffee\n------\n\ngrind\n"
    chunks = split_by_structure(Document(text, "x"))
    # "Drinks" has no text of its own, so it stands with the first part below it.
    assert [(chunk.heading, chunk.text.split()[0]) for chunk in chunks] == [
        ("", "before"),
        ("Tea", "Drinks"),
        ("Coffee", "Coffee"),
    ]


def test_structure_keeps_a_signature_with_what_it_defines():
    text = (
        "Intro of four words.\n\n"
        "f(x)\n\n   First of f here.\n\n   Second of f here.\n\n"
        "g(x)\n\n   All of g here.\n"
    )
    chunks = split_by_structure(Document(text, "x"), max_words=8)
    # f(x) has 1 + 4 + 4 words: too many for one chunk of 8, so its signature
    # goes with its first paragraph, and the second is packed with nothing,
    # since g(x) with its 5 words would make 9.
    assert [chunk.text.split()[0] for chunk in chunks] == ["Intro", "f(x)", "Second", "g(x)"]
    assert chunks[1].text.endswith("First of f here.")


def test_structure_cuts_long_lists_between_entries():
    text = "Steps:\n\n* one two three\n* four five six\n* seven eight nine\n"
    chunks = split_by_structure(Document(text, "x"), max_words=8)
    # The lead-in has one word, an entry four with its bullet: two entries fit in 8.
    assert [chunk.text.count("*") for chunk in chunks] == [1, 2]


def test_structure_keeps_a_list_entry_with_what_is_below_it():
    text = "* one two\n* three four\n\n  five six seven\n"
    chunks = split_by_structure(Document(text, "x"), max_words=6)
    # The second entry has 3 + 3 words; packed from the top, its first line
    # would stand with the first entry and its second paragraph alone.
    assert [chunk.text.split()[1] for chunk in chunks] == ["one", "three"]


def test_a_line_over_a_title_belongs_to_it():
    text = "before\n\n====\nTea\n====\n\nboil\n"
    chunks = split_by_structure(Document(text, "x"))
    assert [chunk.text[:4] for chunk in chunks] == ["befo", "===="]


@pytest.mark.seconds
def test_deep_indentation_is_no_danger():
    text = "\n\n".join(" " * depth + "x y z" for depth in range(3000))
    chunks = split_by_structure(Document(text, "deep"), max_words=7)
    check(Document(text, "deep"), chunks)


@pytest.mark.seconds
def test_hostile_texts_are_cut_in_reasonable_time():
    # Each of these took quadratic time in some naive rule; all are quick when
    # the rules are linear, and the time limit of the test run ends them if not.
    for text in (
        " " * 200_000 + "x",
        "\n" * 200_000 + "x",
        "=" * 200_000,
        ". " * 100_000,
        "a\n" * 99_999,
    ):
        document = Document(text, "hostile")
        for split in CHUNKERS:
            split(document)
    blob = Document("x" * 300_000, "blob")
    assert len(split_by_tokens(blob, count_tokens=len, max_tokens=300)) == 1000


def test_unread_tokens_are_counted():
    document = Document("a b c d e f g h", "x")
    chunks = split_by_words(document, size=5)  # 5 and 3 words
    report = report_unread(chunks, count_tokens=count_words, max_tokens=4)
    assert (report.chunks, report.past_limit, report.tokens, report.tokens_lost) == (2, 1, 8, 1)
    assert (report.longest, report.share) == (5, 1 / 8)
    assert str(report) == (
        "1 of 2 chunks pass the limit of 4 tokens (the longest has 5):"
        " 1 of 8 tokens (12%) are never read."
    )


def test_nothing_unread_is_said_so():
    report = report_unread([], count_tokens=len, max_tokens=4)
    assert (report.share, report.longest) == (0, 0)
    chunks = split_by_words(Document("a b", "x"))
    report = report_unread(chunks, count_tokens=count_words, max_tokens=2)
    assert str(report) == "All 1 chunks fit into 2 tokens."
    with pytest.raises(InvalidInputError, match="max_tokens=0"):
        report_unread(chunks, count_tokens=len, max_tokens=0)


@pytest.fixture(scope="module")
def topics():
    return load_help_topics()


@pytest.mark.parametrize("split", [split_by_words, split_by_sentences, split_by_structure])
def test_the_help_topics_lose_nothing(topics, split):
    chunks = split(topics)
    for document in topics:
        check(document, [chunk for chunk in chunks if chunk.source == document.source])
    assert max(count_words(chunk.text) for chunk in chunks) <= 200
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    # Every topic opens with its title, so every chunk stands below a heading.
    assert all(chunk.heading for chunk in chunks)


def test_the_help_topics_are_cut_into_full_windows(topics):
    # A topic of n words makes ceil(n / 150) windows.
    expected = sum(-(-len(document.text.split()) // 150) for document in topics)
    assert len(split_by_words(topics)) == expected


def test_definitions_of_the_help_topics_stay_whole(topics):
    customization = [d for d in topics if d.source == "customization"]
    chunks = split_by_structure(customization)
    (chunk,) = [c for c in chunks if "object.__bool__(self)" in c.text]
    assert "truth value testing" in chunk.text
    assert chunk.heading == "Basic customization"


@pytest.mark.models
def test_tokens_of_the_real_model_fit(topics):
    from transformers import AutoTokenizer

    from rag_helpers.models import resolve

    tokenizer = AutoTokenizer.from_pretrained(resolve("all-MiniLM-L6-v2"))
    calls = 0

    def count_tokens(text):
        nonlocal calls
        calls += 1
        return len(tokenizer(text, truncation=False, verbose=False)["input_ids"])

    compound = [document for document in topics if document.source == "compound"]
    chunks = split_by_tokens(compound, count_tokens=count_tokens)
    # Measured on all topics: 5.8 counts per chunk.
    assert calls <= 10 * len(chunks)
    check(compound[0], chunks)
    assert max(count_tokens(chunk.text) for chunk in chunks) <= 256
    unread = report_unread(split_by_words(compound), count_tokens=count_tokens, max_tokens=256)
    assert unread.past_limit > 0


def test_a_blank_line_ends_a_sentence_whatever_follows():
    text = "It is removed.\n\nstr.find(sub)\n\n   Return the place, e.g.\n\nzero."
    assert [text[start:end] for start, end in split_sentences(text)] == [
        "It is removed.",
        "str.find(sub)",
        "Return the place, e.g.",
        "zero.",
    ]


# --- what an answer in full should say -------------------------------------------------------

PASSAGE = """Loops
*****

A loop ends with "break". The else clause is skipped then.

It goes on otherwise, e.g. after "continue"."""


@pytest.mark.parametrize(
    ("quote", "expected"),
    [
        ('loop ends with "break"', 'A loop ends with "break".'),
        (
            'ends with "break". The else clause is skipped',
            'A loop ends with "break". The else clause is skipped then.',
        ),
        # White space does not matter, nor punctuation and capitals at the ends of words.
        ("it goes\non otherwise", 'It goes on otherwise, e.g. after "continue".'),
        # What shares no three words in a row with the passage stands for itself.
        ("Nothing of\nthe kind.", "Nothing of the kind."),
    ],
)
def test_supporting_sentences_are_the_fewest_that_hold_the_quote(quote, expected):
    assert supporting_sentences(PASSAGE, quote) == expected


def test_sentences_that_are_too_long_give_way_to_the_quote():
    passage = " ".join(["first", *["word"] * 70, "the", "quote", "here"]) + "."
    assert supporting_sentences(passage, "word the  quote here") == "word the quote here"
