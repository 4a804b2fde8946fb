"""Reading and cleaning texts that nobody vouches for."""

import bz2
import gzip
import importlib
import json
import lzma
import os
import random
import re
import subprocess
import sys
import time
import unicodedata
import warnings
import zipfile
import zlib

import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_helpers import corpus
from rag_helpers.chunking import split_by_words
from rag_helpers.corpus import (
    STOP_WORDS,
    clean_pages,
    clean_text,
    containment,
    describe,
    find_near_duplicates,
    find_title,
    fingerprint,
    from_dataset,
    load_dataset_documents,
    load_files,
    load_help_topics,
    load_squad,
    remove_stop_words,
)
from rag_helpers.corpus.pdf import read_pdf
from rag_helpers.errors import CorpusError, InvalidInputError
from rag_helpers.records import Document

# --- the help topics -------------------------------------------------------


def test_the_help_topics_are_documents():
    topics = {document.source: document for document in load_help_topics()}
    assert topics["compound"].title == "Compound statements"
    assert topics["formatstrings"].title == "Format String Syntax"
    assert "ZeroDivisionError" in topics["binary"].text
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    metadata = {"corpus": "python-help-topics", "python": python}
    assert all(document.metadata == metadata for document in topics.values())
    # No topic is so plain that it lacks a heading and is called by its name.
    assert all(document.title != document.source for document in topics.values())


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the topics differ by version")
def test_the_report_counts_the_corpus_of_the_reference_version():
    # 79 topics and 65,501 words were counted with len and str.split.
    report = describe(load_help_topics())
    assert report.startswith("79 documents, 65,501 words, ")
    assert report.endswith("Help topics of Python 3.11.")


def test_the_report_warns_of_another_python():
    metadata = {"corpus": "python-help-topics", "python": "3.14"}
    report = describe([Document("one two", "x", metadata=metadata)])
    assert "Help topics of Python 3.14." in report
    assert "measured on Python 3.11" in report
    assert "figures will differ" in report


def test_a_python_without_topics_names_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(CorpusError, match="load_files"):
        load_help_topics()


# --- cleaning --------------------------------------------------------------

MARKS = (
    "aAe \n\r\t\u0301\u0323\u0f73\u3099か한ᄒ\u1161\u11abé\u0958\u2003\x07\ud800\f\xa0\u200b\u202e"
)
RAW = st.one_of(st.text(st.characters(), max_size=30), st.text(st.sampled_from(MARKS), max_size=30))
PAGES = st.lists(st.sampled_from(["h\nbody\n1", "h\n\nb\n2", "", "h", " \n", "x\fy"]), max_size=6)
HTML_PIECES = [
    "<p>", "</p>", "<b>", "</b>", "<li>", "<h2>", "</h2>", "<br>", "<pre>", "</pre>", "<td>",
    "<script>", "</script>", "<title>", "</title>", "<!--", "-->", "<!", ">", "<", "&amp;", "&#65;",
    "&copy;", "&", '<a x="', "'", '"', "word", "é", "e\u0301", " ", "\n", "=",
]  # fmt: skip
HTML = st.lists(st.sampled_from(HTML_PIECES), max_size=40).map("".join)


def cluster_around(raw, place):
    """The characters that compose with the one at `place`, and what stands between them."""

    def joins(character):
        return (
            unicodedata.combining(unicodedata.normalize("NFD", character)[0])
            or "\u1160" <= character < "\u1200"
            or unicodedata.category(character) in ("Cc", "Cf", "Mc")
        )

    start, end = place, place + 1
    while start and joins(raw[start]):
        start -= 1
    while end < len(raw) and joins(raw[end]):
        end += 1
    return raw[start:end]


def check_map(cleaned, raw):
    offsets = [offset for offset, _ in cleaned.source_map]
    assert offsets == sorted(set(offsets))
    places = [cleaned.raw_offset(offset) for offset in range(len(cleaned.text))]
    assert places == sorted(places)
    assert all(0 <= place < len(raw) for place in places)
    return places


@given(RAW)
@settings(deadline=None, max_examples=300)
def test_every_clean_character_leads_to_its_source(raw):
    cleaned = clean_text(raw)
    for character, place in zip(cleaned.text, check_map(cleaned, raw), strict=True):
        source = raw[place]
        if character == "\n":
            assert source.isspace() or source in "\x1c\x1d\x1e"
        elif character in " \t":
            assert source.isspace()
        elif character == "\ufffd":
            assert source == character or "\ud800" <= source <= "\udfff"
        else:
            parts = unicodedata.normalize("NFD", character)
            assert set(parts) <= set(unicodedata.normalize("NFD", cluster_around(raw, place)))


@given(RAW)
@settings(deadline=None, max_examples=300)
def test_clean_text_is_composed_and_stays_clean(raw):
    text = clean_text(raw).text
    assert unicodedata.is_normalized("NFC", text)
    assert clean_text(text).text == text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\ud800-\udfff]", text)
    assert not re.search(r"[ \t]\n|\n\n\n|^\n|\s$(?!\n)", text)
    # Letters and digits are neither lost nor invented.
    kept = [c for c in unicodedata.normalize("NFC", text) if c.isalnum()]
    stripped = "".join(c for c in raw if c not in "\x07\u200b\u202e")
    assert kept == [c for c in unicodedata.normalize("NFC", stripped) if c.isalnum()]


@given(HTML)
@settings(deadline=None, max_examples=300)
def test_every_letter_of_a_page_leads_to_its_source(raw):
    cleaned = clean_text(raw, markup=True)
    for character, place in zip(cleaned.text, check_map(cleaned, raw), strict=True):
        if character.isalpha() and character not in "é" and raw[place] != "&":
            assert raw[place] == character


@given(PAGES)
@settings(deadline=None)
def test_pages_begin_where_they_say(pages):
    cleaned = clean_pages(pages)
    raw = "\f".join(page.replace("\f", "\n") for page in pages)
    check_map(cleaned, raw)
    assert list(cleaned.pages) == sorted(cleaned.pages)
    starts = [0]
    for page in pages[:-1]:
        starts.append(starts[-1] + len(page) + 1)
    for offset, character in enumerate(cleaned.text):
        if not character.isspace():
            clean_page = sum(start <= offset for start in cleaned.pages)
            raw_page = sum(start <= cleaned.raw_offset(offset) for start in starts)
            assert clean_page == raw_page


def test_clean_text_leaves_clean_text_alone():
    text = "Tea\n===\n\n    code:\tindented\n\n* café – “quoted”"
    cleaned = clean_text(text)
    assert (cleaned.text, cleaned.source_map) == (text, ())


def test_direction_overrides_and_half_characters_go():
    assert clean_text("a\u202eb\ud83dc").text == "ab\ufffdc"


def test_a_tower_of_marks_is_no_danger():
    # Composed at once, 40,000 marks on one letter took 1.6 s, and twice as many four times that.
    start = time.perf_counter()
    assert len(clean_text("a" + "\u0301\u0323" * 100_000).text) > 100_000
    assert time.perf_counter() - start < 10


def test_a_page_becomes_text():
    page = """<!DOCTYPE html><html><head><title>Tea &amp;
        more</title><style>p > a {}</style></head><body>
        <h1>Green <em>tea</em></h1><!-- <p>hidden</p> -->
        <p title="a > b">One&nbsp;cup,
          two</p><script>var a = "<p>no</p>";</script>
        <ul><li>boil</li><li><p>steep</p></li></ul>
        <pre>def f():
    return 1 &lt; 2</pre>
        <table><tr><td>k</td><td>v</td></tr><tr><td>1</td><td>2</td></tr></table>
        5 < 6 and I </3 it</body></html>"""
    cleaned = clean_text(page, markup=True)
    assert cleaned.title == "Tea & more"
    assert cleaned.text == (
        "# Green tea\n\nOne cup, two\n\n* boil\n* steep\n\ndef f():\n    return 1 < 2\n\n"
        "k v\n1 2\n\n5 < 6 and I </3 it"
    )
    # The way back leads to the same word in the page.
    for word in ("tea", "cup", "steep", "return", "it"):
        place = cleaned.raw_offset(cleaned.text.index(word))
        assert page.startswith(word, place)


def test_pages_have_the_words_that_an_independent_parser_finds():
    generator = random.Random(0)
    pieces = [
        p for p in HTML_PIECES if p not in ("<!--", "-->", "<!", ">", "<", '<a x="', "'", '"')
    ]
    pieces = [p for p in pieces if "script" not in p and "title" not in p]
    for _ in range(200):
        page = "<p>" + "".join(generator.choices(pieces, k=30)) + "</p>"
        expected = BeautifulSoup(page, "html.parser").get_text()
        expected = unicodedata.normalize("NFC", re.sub(r"\s", "", expected))
        found = re.sub(r"\s|^\* ?|^## ?", "", clean_text(page, markup=True).text, flags=re.M)
        assert found == expected, page


HOSTILE = [
    "<a ", "<!--", "<!-- >", "<!", "<?", "</", '<a x="', '<a x=">" ', "<script>", "<![foo[", "&#",
]  # fmt: skip


@pytest.mark.seconds
@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_page_costs_no_more_than_its_length(piece):
    # The parser of the standard library took 319 s for 150 KB of "<a ".
    start = time.perf_counter()
    clean_text(piece * (600_000 // len(piece)), markup=True)
    assert time.perf_counter() - start < 10


@pytest.mark.seconds
@pytest.mark.parametrize(
    "piece", ["<div>", "<td><p></td>", "<li><pre>", "</h1><br>", "<table><tr>"]
)
def test_elements_without_text_cost_no_more_than_their_number(piece):
    # What tags leave behind grew with each of them: 49 MB of "<div>" were not read in 200 s.
    start = time.perf_counter()
    text = clean_text(piece * (3_000_000 // len(piece)) + "deep", markup=True).text
    assert text in {"deep", " deep", "* deep"}
    assert time.perf_counter() - start < 30


def test_what_is_not_closed_is_not_lost():
    assert clean_text("<p>a <script>b", markup=True).text == "a b"
    assert clean_text("<p>a <!-- b > c", markup=True).text == "a c"
    assert clean_text("<p>a <b", markup=True).text == "a <b"


def test_the_first_title_and_no_empty_entries():
    cleaned = clean_text("<title>a</title><title>b</title><li></li><li>c</li>", markup=True)
    assert (cleaned.title, cleaned.text) == ("a", "* c")
    assert clean_text("<ul><li></li></ul>after", markup=True).text == "after"


def test_repeated_headers_and_footers_go():
    pages = [f"The Tea Book\nLine {n} one\nline {n} two\nPage {n} of 3\n" for n in (1, 2, 3)]
    cleaned = clean_pages(pages)
    # "Line 1 one" stands under the header, so it is no first line, numbers or not.
    assert cleaned.text == "\n".join(f"Line {n} one\nline {n} two" for n in (1, 2, 3))
    assert [cleaned.text[start:].split("\n")[0] for start in cleaned.pages] == [
        "Line 1 one",
        "Line 2 one",
        "Line 3 one",
    ]


def test_lines_that_two_pages_share_stay():
    assert clean_pages(["Tea\na", "Tea\nb"]).text == "Tea\na\nTea\nb"


def test_titles_are_found_in_both_markup_languages():
    assert find_title("text\n\nGreen tea\n=========\n") == "Green tea"
    assert find_title("text\n\n## Green tea ##\n") == "Green tea"
    assert find_title("long line\n---\n") == ""


def test_stop_words_are_removed_and_what_asks_is_kept():
    assert remove_stop_words("What does it NOT do, and why?") == "What NOT , why?"
    assert remove_stop_words("Theory of the if-then x.of any(a)") == "Theory if-then x.of any()"
    assert {"not", "no", "what", "how", "why", "which"}.isdisjoint(STOP_WORDS)
    assert 100 <= len(STOP_WORDS) <= 140


# --- duplicates ------------------------------------------------------------


def test_containment_counts_shingles():
    # a has the shingles 1-5, 2-6, 3-7 of words 1 to 7; b has 2-6 and 3-7.
    a, b = "one two three four five six seven", "TWO three, four five\nsix seven"
    assert containment(a, b) == 2 / 3
    assert containment(b, a) == 1
    assert containment("", a) == 0 == containment(a, "")
    assert containment("two words", "Two words!") == 1
    assert containment(a, b, words=1) == 6 / 7
    with pytest.raises(InvalidInputError, match="words=0"):
        containment(a, b, words=0)


@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=12).map(" ".join), max_size=8),
    st.sampled_from([0.05, 0.5, 0.8, 1.0]),
)
@settings(deadline=None)
def test_near_duplicates_agree_with_comparing_all_with_all(texts, threshold):
    expected = [
        (i, j)
        for i in range(len(texts))
        for j in range(i + 1, len(texts))
        if max(containment(texts[i], texts[j]), containment(texts[j], texts[i])) >= threshold
    ]
    assert find_near_duplicates(texts, threshold=threshold) == expected


@pytest.mark.parametrize("threshold", [0, -1, 1.01])
def test_a_threshold_that_makes_no_sense_is_refused(threshold):
    with pytest.raises(InvalidInputError, match="threshold="):
        find_near_duplicates(["a"], threshold=threshold)


@pytest.mark.seconds
def test_the_same_passages_of_the_help_topics_are_found():
    topics = load_help_topics()
    names = [document.source for document in topics]
    pairs = find_near_duplicates([document.text for document in topics])
    found = {(names[i], names[j]) for i, j in pairs}
    # "if" and "else" are the same text, which "compound" holds too.
    assert {("else", "if"), ("compound", "else"), ("compound", "if")} <= found
    assert ("assert", "lambda") not in found


@pytest.mark.seconds
def test_near_duplicates_of_many_texts_are_found_without_comparing_all():
    # All 3,000 share their first words: comparing all with all is 4.5 million pairs.
    texts = [
        " ".join(f"w{n}x{i}" if i > 9 else f"licence{i}" for i in range(60)) for n in range(3000)
    ]
    start = time.perf_counter()
    assert find_near_duplicates([*texts, texts[7]]) == [(7, 3000)]
    assert time.perf_counter() - start < 20


def test_the_fingerprint_tells_corpora_apart():
    a, b = Document("text", "a"), Document("other", "b")
    assert fingerprint([a, b]) == fingerprint([b, a])
    prints = [
        fingerprint(documents)
        for documents in (
            [], [a], [b], [a, b], [a, a], [Document("text", "b")],
            # The border between source and text counts.
            [Document("btext", "a")], [Document("text", "ab")],
        )
    ]  # fmt: skip
    assert len(set(prints)) == len(prints)
    assert fingerprint([Document("\ud800", "half")])


def test_shingles_of_passages_are_kept_and_those_of_long_documents_are_not():
    kept = importlib.import_module("rag_helpers.corpus.duplicates")._kept_shingles
    kept.cache_clear()
    assert containment("a passage of five words", "a passage of five words more") == 1
    assert kept.cache_info().currsize == 2
    containment("a passage of five words", "a passage of five words more")
    assert kept.cache_info().hits == 2
    assert containment("word " * 10_000, "another text") == 0
    assert kept.cache_info().currsize == 3


# --- files -----------------------------------------------------------------


def write_pdf(path, pages, *, title=""):
    """Write a PDF of one line of text per line, small enough to read."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    kids = []
    for page in pages:
        lines = "".join(f"({line}) Tj 0 -20 Td " for line in page.split("\n") if line)
        stream = f"BT /F1 12 Tf 50 700 Td {lines}ET".encode()
        objects.append(b"<< /Length %d >> stream\n%s\nendstream" % (len(stream), stream))
        kids.append(len(objects) + 1)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents %d 0 R"
            b" /Resources << /Font << /F1 3 0 R >> >> >>" % len(objects)
        )
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (
        len(kids), b" ".join(b"%d 0 R" % kid for kid in kids),
    )  # fmt: skip
    objects.append(f"<< /Title ({title}) >>".encode())
    data, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    data += b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table)
    data += b"trailer << /Size %d /Root 1 0 R /Info %d 0 R >>\n" % (size, size - 1)
    data += b"startxref\n%d\n%%%%EOF" % data.rindex(b"xref")
    path.write_bytes(data)


def test_a_folder_of_every_format(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "no.txt").write_text("hidden")
    (tmp_path / ".no.txt").write_text("hidden")
    (tmp_path / "a.txt").write_text("Plain text.", encoding="utf-8")
    (tmp_path / "sub" / "b.md").write_text("# Green\n\ntea", encoding="utf-8")
    (tmp_path / "c.HTML").write_text("<title>Page</title><p>text", encoding="utf-8")
    (tmp_path / "d.csv").write_text('text,title,year\n"one, two",First,1999\nthree,,x\n')
    (tmp_path / "e.jsonl").write_text('{"text": "four", "source": "own"}\n\n{"text": "five"}\n')
    write_pdf(tmp_path / "f.pdf", ["Head\nOne\n1", "Head\nTwo\n2", "Head\nThree\n3"], title="Book")
    documents = load_files(tmp_path)
    assert [(d.source, d.title, d.text) for d in documents] == [
        ("a.txt", "a", "Plain text."),
        ("c.HTML", "Page", "text"),
        ("d.csv#1", "First", "one, two"),
        ("d.csv#2", "", "three"),
        ("own", "", "four"),
        ("e.jsonl#3", "", "five"),
        ("f.pdf", "Book", "One\nTwo\nThree"),
        ("sub/b.md", "Green", "# Green\n\ntea"),
    ]
    assert documents[0].metadata == {"file": "a.txt", "format": "txt"}
    assert documents[2].metadata == {"file": "d.csv", "format": "csv", "year": "1999"}
    # "One" is on page 1, "Two" on page 2, "Three" on page 3, and citations say so.
    chunks = split_by_words(documents[6], size=1)
    assert [(c.text, c.metadata["page"]) for c in chunks] == [("One", 1), ("Two", 2), ("Three", 3)]


def test_parquet_rows_become_documents(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"text": ["one", "two"], "title": ["First", None], "year": [1999, 2000]})
    pq.write_table(table, tmp_path / "rows.parquet")
    documents = load_files(tmp_path / "rows.parquet")
    assert [(d.source, d.title, d.text) for d in documents] == [
        ("rows.parquet#1", "First", "one"),
        ("rows.parquet#2", "", "two"),
    ]
    assert documents[1].metadata == {"file": "rows.parquet", "format": "parquet", "year": 2000}


def test_a_broken_parquet_file_is_named(tmp_path):
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(CorpusError, match=r"^rows\.parquet is not a Parquet file"):
        load_files(tmp_path)


def test_patterns_choose_files(tmp_path):
    for name in ("a.txt", "b.md", "guide.txt"):
        (tmp_path / name).write_text(name)
    assert [d.source for d in load_files(tmp_path, patterns=["*.MD", "guide*"])] == [
        "b.md",
        "guide.txt",
    ]


def test_a_single_file_is_named_by_its_name(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    assert [d.source for d in load_files(tmp_path / "a.txt")] == ["a.txt"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_marked_encodings_are_recognised(tmp_path, encoding):
    (tmp_path / "a.txt").write_text("Café ☕", encoding=encoding)
    (document,) = load_files(tmp_path)
    assert document.text == "Café ☕"


def test_other_encodings_are_named_and_cured(tmp_path):
    (tmp_path / "a.txt").write_bytes("Café".encode("cp1252"))
    with pytest.raises(CorpusError, match=r"a\.txt is not encoded in utf-8 .*encoding='cp1252'"):
        load_files(tmp_path)
    assert load_files(tmp_path, encoding="cp1252")[0].text == "Café"
    with pytest.raises(InvalidInputError, match="encoding='nonsense'"):
        load_files(tmp_path, encoding="nonsense")


def test_text_with_null_characters_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_text("Tea", encoding="utf-16-le")
    with pytest.raises(CorpusError, match=r"a\.txt holds null characters.*utf-16-le"):
        load_files(tmp_path)
    assert load_files(tmp_path, encoding="utf-16-le")[0].text == "Tea"


def test_empty_and_foreign_files_are_named_once(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.txt").write_text(" \n")
    (tmp_path / "c.docx").write_text("text")
    (tmp_path / "d.pdf").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"b\.txt, c\.docx, d\.pdf") as caught:
        documents = load_files(tmp_path)
    assert len(caught) == 1
    assert [d.source for d in documents] == ["a.txt"]


def test_a_folder_without_any_text_is_an_error(tmp_path):
    with pytest.raises(CorpusError, match=r"no file matches.*\.pdf"):
        load_files(tmp_path)
    for number in range(7):
        (tmp_path / f"{number}.txt").write_text("")
    with (
        warnings.catch_warnings(action="error"),
        pytest.raises(CorpusError, match=r"0\.txt, .*4\.txt and 2 more"),
    ):
        load_files(tmp_path)


def test_foreign_and_missing_paths_are_named(tmp_path):
    (tmp_path / "a.docx").write_text("text")
    with pytest.raises(CorpusError, match=r"a\.docx is not of a format.*\.csv, .*\.txt"):
        load_files(tmp_path / "a.docx")
    with pytest.raises(CorpusError, match="neither a file nor a folder"):
        load_files(tmp_path / "nowhere")


def link(path, target):
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("this system makes no symbolic links")


def test_links_out_of_the_folder_are_refused(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (inside / "a.txt").write_text("text")
    link(inside / "b.txt", inside / "a.txt")
    assert len(load_files(inside)) == 2
    link(inside / "c.txt", outside / "secret.txt")
    with pytest.raises(CorpusError, match=r"c\.txt is a link to .*secret\.txt, outside"):
        load_files(inside)
    (inside / "c.txt").unlink()
    link(inside / "folder", outside)
    with pytest.raises(CorpusError, match="folder is a link to"):
        load_files(inside)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(CorpusError, match="not a regular file"):
        load_files(tmp_path)


@pytest.mark.parametrize("suffix", corpus.SUFFIXES)
def test_large_files_are_refused_before_they_are_read(tmp_path, suffix):
    with (tmp_path / f"huge{suffix}").open("wb") as file:
        file.truncate(100_000_000)  # takes no room on the disk
    start = time.perf_counter()
    with pytest.raises(CorpusError, match=rf"huge\{suffix} has 100 MB, more than the 50 MB"):
        load_files(tmp_path)
    assert time.perf_counter() - start < 1


def test_a_squad_file_that_is_too_large_is_refused_too(tmp_path):
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(corpus.MAX_FILE_MB * 1_000_000 + 1)
    with pytest.raises(CorpusError, match=r"huge\.json has 50 MB, more than the 50 MB"):
        load_squad(tmp_path / "huge.json")


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("name", "head", "tail"),
    [("a.txt", "", ""), ("a.md", "# ", ""), ("a.html", "<p>", ""), ("a.jsonl", '{"text": "', '"}')],
)
def test_a_line_of_megabytes_is_read(tmp_path, name, head, tail):
    # 49 MB take 7 to 10 s and at most 0.4 GB on two cores.
    (tmp_path / name).write_text(head + "word " * 2_000_000 + tail)
    start = time.perf_counter()
    assert len(load_files(tmp_path)[0].text) >= 9_999_999
    assert time.perf_counter() - start < 30


ARCHIVES = {
    ".zip": b"PK\x03\x04", ".gz": b"\x1f\x8b", ".docx": b"PK\x03\x04", ".tar.bz2": b"BZh",
    ".7z": b"7z\xbc\xaf\x27\x1c", ".epub": b"PK\x03\x04", ".txt.xz": b"\xfd7zXZ\x00",
}  # fmt: skip


def test_archives_are_named_and_never_unpacked(tmp_path, monkeypatch):
    for module in (gzip, bz2, lzma):
        monkeypatch.setattr(module, "open", lambda *_, **__: pytest.fail("unpacked"))
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_, **__: pytest.fail("unpacked"))
    for suffix, data in ARCHIVES.items():
        (tmp_path / f"a{suffix}").write_bytes(data)
    (tmp_path / "b.txt").write_text("Ice melts.")
    with pytest.warns(UserWarning, match="not of a format that is read") as caught:
        assert [document.source for document in load_files(tmp_path)] == ["b.txt"]
    assert "a.zip" in str(caught[0].message) or "2 more" in str(caught[0].message)
    with pytest.raises(CorpusError, match="not of a format that is read"):
        load_files(tmp_path / "a.docx")


@pytest.mark.seconds
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.jsonl", "a.csv", "a.pdf"])
def test_an_archive_under_another_name_is_no_text(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(b"\0" * 100_000_000, 1))
    with pytest.raises(CorpusError):
        load_files(tmp_path)


@pytest.mark.parametrize("name", ["data.jsonl.gz", "data.jsonl", "data.zip"])
def test_a_data_set_with_compressed_files_is_refused(tmp_path, name):
    """The library for data sets unpacks by content, not by name, and without a limit."""
    data = gzip.compress(b'{"text": "Ice melts."}\n')
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("data.jsonl", '{"text": "Ice melts."}')
    else:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(CorpusError, match=r"is compressed \(\w+\).*unpack it yourself"):
        load_dataset_documents(str(tmp_path))


@settings(max_examples=150, deadline=None)
@given(
    data=st.binary(max_size=300) | st.text(max_size=200).map(str.encode),
    head=st.sampled_from(
        [b"", b"%PDF-1.4\n", b'{"text": "', b"text\n", b"\xff\xfe", b"\x1f\x8b", b"<"]
    ),
    suffix=st.sampled_from(corpus.SUFFIXES),
)
def test_any_bytes_are_read_or_refused_in_a_sentence(tmp_path_factory, data, head, suffix):
    path = tmp_path_factory.mktemp("any") / f"a{suffix}"
    path.write_bytes(head + data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            documents = load_files(path)
        except CorpusError as error:
            assert "a." in str(error)
        else:
            assert all(document.text for document in documents)


@pytest.mark.parametrize(
    "data", [b"%PDF-1.4 nothing more", b"not a PDF at all", b"%PDF-1.4\nxref\n0 1\ntrailer <<>>"]
)
def test_broken_pdfs_are_named(tmp_path, data):
    (tmp_path / "a.pdf").write_bytes(data)
    with pytest.raises(CorpusError, match=r"a\.pdf is not a PDF that can be read"):
        load_files(tmp_path)


def test_every_truncated_pdf_is_read_or_named(tmp_path):
    whole = tmp_path / "whole.pdf"
    write_pdf(whole, ["One two three", "Four five six"])
    data = whole.read_bytes()
    path = tmp_path / "a.pdf"
    outcomes = set()
    for end in range(0, len(data), 37):
        path.write_bytes(data[:end])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                outcomes.add(load_files(path)[0].text)
            except CorpusError as error:
                outcomes.add("refused")
                assert "a.pdf" in str(error)
    assert "refused" in outcomes
    assert outcomes <= {"refused", "One two three", "One two three\nFour five six"}


def pdf_of(contents, *, pages=1, resources=b"", objects=()):
    """A PDF whose pages all draw the same stream; `objects` are numbered from 4."""
    first = 4 + len(objects)
    page = (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 3 0 R /Resources << %s >> >>"
    )
    kids = b" ".join(b"%d 0 R" % (first + number) for number in range(pages))
    every = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, pages),
        contents,
        *objects,
        *[page % resources] * pages,
    ]
    data, offsets = bytearray(b"%PDF-1.5\n"), []
    for number, content in enumerate(every, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(every) + 1
    tail = b"xref\n0 %d\n0000000000 65535 f \n%strailer << /Size %d /Root 1 0 R >>\n" % (
        size, table, size,
    )  # fmt: skip
    return bytes(data) + tail + b"startxref\n%d\n%%%%EOF" % len(data)


def stream_of(data, more=b"", filters=b"/FlateDecode"):
    return b"<< /Length %d /Filter %s %s >>\nstream\n%s\nendstream" % (
        len(data), filters, more, data,
    )  # fmt: skip


def packed(piece, times):
    """Compress many copies without holding them."""
    packer, block = zlib.compressobj(9), piece * (1_000_000 // len(piece))
    copies = max(1, times * len(piece) // len(block))
    return b"".join(packer.compress(block) for _ in range(copies)) + packer.flush()


WORDS_DRAWN = b"BT /F 1 Tf (word word) Tj ET\n"
FONT = b"/Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >>"
BOMBS = {
    # 1 MB that unpacks to a thousand times its size, and 2 KB to a million times.
    "one stream": lambda: pdf_of(stream_of(packed(b" ", 10**9)), resources=FONT),
    "a stream in a stream": lambda: pdf_of(
        stream_of(zlib.compress(packed(b" ", 10**9)), filters=b"[/FlateDecode /FlateDecode]"),
        resources=FONT,
    ),
    "operations without end": lambda: pdf_of(stream_of(packed(WORDS_DRAWN, 10**6)), resources=FONT),
    # 30 KB that order a megabyte of drawing again and again.
    "pages that share": lambda: pdf_of(
        stream_of(packed(WORDS_DRAWN, 34_000)), pages=300, resources=FONT
    ),
    "forms that share": lambda: pdf_of(
        stream_of(zlib.compress(b"/X Do " * 4900)),
        resources=b"/XObject << /X 4 0 R >>",
        objects=[
            stream_of(
                packed(WORDS_DRAWN, 34_000),
                b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << %s >>" % FONT,
            )
        ],
    ),
    "a font without end": lambda: pdf_of(
        stream_of(zlib.compress(WORDS_DRAWN)),
        resources=b"/Font << /F 4 0 R >>",
        objects=[
            b"<< /Type /Font /Subtype /Type0 /Encoding /Identity-H /ToUnicode 5 0 R >>",
            stream_of(zlib.compress(b"1 beginbfrange\n<00000000> <FFFFFFFF> <0000>\nendbfrange")),
        ],
    ),
}
READ_AND_MEASURE = """
import json, pathlib, sys, time
from rag_helpers.corpus import load_files, pdf
pdf.MAX_PDF_SECONDS = 3.0
start = time.perf_counter()
try:
    said = f"{len(load_files(sys.argv[1])[0].text)} characters"
except Exception as error:
    said = f"{type(error).__name__}: {error}"
# ru_maxrss is inherited from the process that starts this one; this high mark is our own.
status = pathlib.Path("/proc/self/status").read_text()
peak_mb = int(status.split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps([said, time.perf_counter() - start, peak_mb]))
"""


@pytest.mark.seconds
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted otherwise elsewhere")
@pytest.mark.parametrize("kind", BOMBS)
def test_a_pdf_that_unpacks_without_end_is_refused_within_bounds(tmp_path, kind):
    path = tmp_path / "bomb.pdf"
    path.write_bytes(BOMBS[kind]())
    assert path.stat().st_size < 1_100_000
    reply = subprocess.run(
        [sys.executable, "-c", READ_AND_MEASURE, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    said, seconds, peak_mb = json.loads(reply.stdout)
    assert re.match(
        r"CorpusError: bomb\.pdf (is not a PDF .*[Ll]imit|takes longer .* 3 s)", said
    ), said
    assert ("takes longer" in said) == ("share" in kind)
    assert seconds < 60 and peak_mb < 1000, (seconds, peak_mb)


def test_the_time_of_a_pdf_is_counted_over_all_its_pages(tmp_path):
    write_pdf(tmp_path / "a.pdf", ["One two three", "Four five six"])
    data = (tmp_path / "a.pdf").read_bytes()
    pages = [page.strip() for page in read_pdf(data, "a.pdf").pages]
    assert pages == ["One two three", "Four five six"]
    with pytest.raises(CorpusError, match=r"a\.pdf takes longer to read than the 0 s"):
        read_pdf(data, "a.pdf", max_seconds=0)


def test_an_encrypted_pdf_is_named(tmp_path):
    pypdf = pytest.importorskip("pypdf")
    write_pdf(tmp_path / "plain.pdf", ["Secret"])
    writer = pypdf.PdfWriter(clone_from=tmp_path / "plain.pdf")
    writer.encrypt("password", algorithm="RC4-128")
    writer.write(tmp_path / "a.pdf")
    with pytest.raises(CorpusError, match=r"a\.pdf is encrypted"):
        load_files(tmp_path / "a.pdf")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "x"}\n{"text": ', r"a\.jsonl, line 2 is not JSON"),
        ("a.jsonl", "[1]", r"a\.jsonl, line 1 is a list, not an object"),
        ("a.jsonl", '{"body": "x"}', r"line 1 has nothing where column 'text'.*body.*text="),
        ("a.jsonl", '{"text": 3}', "line 1 has a int where"),
        ("a.jsonl", "[" * 100_000, "line 1 is not JSON"),
        ("a.csv", "body,title\nx,y\n", "row 1 has nothing where column 'text'"),
        ("a.csv", "text\nx,y\n", "row 1 has more values than the header"),
        ("a.csv", "title,text\nx\n", "row 1 has a NoneType where"),
        ("a.csv", "text\n" + "x" * 200_000, r"a\.csv, row 1 is not CSV \(field larger"),
        ("a.csv", 'text\n"open', "is not CSV"),
    ],
)
def test_broken_rows_are_named_with_their_place(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(CorpusError, match=message):
        load_files(tmp_path)


def test_columns_may_have_other_names(tmp_path):
    (tmp_path / "a.csv").write_text("body,id,head\nx,one,Head\ny,one,\n")
    documents = load_files(tmp_path, text="body", source="id", title="head")
    assert [(d.source, d.title, d.text) for d in documents] == [
        ("one", "Head", "x"),
        ("one#2", "", "y"),
    ]


def test_half_characters_from_json_do_not_pass(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud800b", "title": "\\ud800"}')
    (document,) = load_files(tmp_path)
    assert (document.text, document.title) == ("a\ufffdb", "\ufffd")


# --- SQuAD, data sets ------------------------------------------------------


def test_squad_paragraphs_are_documents(tmp_path):
    data = [
        {"title": "Green_tea", "paragraphs": [{"context": "Steep."}, {"context": "Drink."}]},
        {"title": "Coffee", "paragraphs": [{"context": "Grind.", "qas": []}]},
    ]
    path = tmp_path / "tea.json"
    path.write_text(json.dumps({"version": "1.1", "data": data}))
    assert [(d.source, d.title, d.text) for d in load_squad(path)] == [
        ("Green_tea#1", "Green tea", "Steep."),
        ("Green_tea#2", "Green tea", "Drink."),
        ("Coffee#1", "Coffee", "Grind."),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"data": 1}',
        '{"data": [{"title": "x"}]}',
        '{"data": [1]}',
        "nonsense",
        '{"data": []}',
    ],
)
def test_json_that_is_no_squad_is_named(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(CorpusError, match=r"x\.json"):
        load_squad(path)


def test_a_dataset_becomes_documents():
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict(
        {"text": ["Boil  water.\n", "", "Steep."], "name": ["a", "b", "a"], "n": [1, 2, 3]}
    )
    assert [d.source for d in from_dataset(dataset)] == ["row-1", "row-3"]
    documents = from_dataset(dataset, source="name", title="name")
    assert [(d.source, d.title, d.metadata) for d in documents] == [
        ("a", "a", {"n": 1}),
        ("a#2", "a", {"n": 3}),
    ]
    with pytest.raises(InvalidInputError, match=r"no column 'body' \(it has text, name, n\)"):
        from_dataset(dataset, text="body")
    with pytest.raises(InvalidInputError, match=r'several splits \(train\).*dataset\["train"\]'):
        from_dataset(datasets.DatasetDict(train=dataset))
    with pytest.raises(CorpusError, match="row 1 has a int where column 'n'"):
        from_dataset(dataset, text="n")


def test_a_dataset_without_text_is_an_error():
    with pytest.raises(CorpusError, match="no text in any row"):
        from_dataset([{"text": " "}])


def test_long_values_and_lists_are_no_metadata():
    row = {"text": "a", "n": 1.5, "short": "x" * 200, "long": "x" * 201, "tags": ["b"]}
    (document,) = from_dataset([row])
    assert document.metadata == {"n": 1.5, "short": "x" * 200}


def test_sources_that_return_never_collide():
    rows = [{"text": t, "id": s} for t, s in zip("abcd", ["x", "x#2", "x", "x"], strict=True)]
    assert [d.source for d in from_dataset(rows, source="id")] == ["x", "x#2", "x#3", "x#4"]


def run_offline(code, cache):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "RAG_CACHE": str(cache)}
    environment["PYTHONWARNINGS"] = "ignore"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240
    )
    return result.stdout + result.stderr


@pytest.mark.seconds
def test_a_hub_data_set_offline_names_the_cures(tmp_path):
    pytest.importorskip("datasets")
    code = """
from rag_helpers.corpus import load_dataset_documents
from rag_helpers.errors import CorpusError
for name in ("squad", "wikipedia"):
    try:
        load_dataset_documents(name, limit=2)
    except CorpusError as error:
        print("refused:", error)
"""
    output = run_offline(code, tmp_path)
    assert output.count("refused:") == 2, output
    assert "'rajpurkar/squad'" in output
    assert "HF_HUB_OFFLINE" in output
    assert "load_squad(path)" in output
    assert "Traceback" not in output


@pytest.mark.seconds
def test_a_folder_of_data_files_is_a_data_set_by_name(tmp_path):
    pytest.importorskip("datasets")
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [{"context": c, "title": t} for c, t in ("ax", "ax", "bx", "cy")]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code = f"""
from rag_helpers.corpus import load_dataset_documents
for limit in (None, 3):
    documents = load_dataset_documents({str(folder)!r}, text="context", title="title", limit=limit)
    print([(d.source, d.text) for d in documents])
"""
    output = run_offline(code, tmp_path / "cache")
    # The passage "a" stands in two rows; "x" returns as a source and is numbered.
    assert "[('x', 'a'), ('x#2', 'b'), ('y', 'c')]" in output, output
    assert "[('x', 'a'), ('x#2', 'b')]" in output, output
    # Code beside the data is not run, whoever put it there.
    (folder / "data.py").write_text("print('code was run')")
    output = run_offline(code, tmp_path / "cache")
    assert "CorpusError" in output
    assert "\ncode was run" not in output


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(InvalidInputError, match="limit=0"):
        load_dataset_documents("squad", limit=0)


def test_the_package_loads_no_heavy_library():
    code = "import rag_helpers.corpus, rag_helpers.chunking, sys; print(sorted(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert "rag_helpers.corpus" in output
    for name in ("torch", "datasets", "pypdf", "pandas"):
        assert f"'{name}'" not in output


def test_every_public_name_exists():
    module = importlib.import_module("rag_helpers.corpus")
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
