"""Retrievers over five documents and a one-hot embedder, so that every score can be worked out."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_helpers.chunking import split_by_words
from rag_helpers.errors import InvalidInputError
from rag_helpers.index import ChunkIndex
from rag_helpers.records import Chunk, Document, Hit, Retriever
from rag_helpers.retriever import (
    DenseRetriever,
    ExpandedRetriever,
    HybridRetriever,
    KeywordRetriever,
    RerankedRetriever,
    build_retriever,
    collapse_duplicates,
    diversify,
    embed_chunks,
    embed_windows,
    expand_with_glossary,
    expand_with_hits,
    fuse_ranks,
    fuse_scores,
    keyword,
    merge_neighbours,
    rerank,
    split_terms,
)

# Twelve words, so that two such texts share 8 of 8 runs of five words.
COPY = "the same twelve words stand in every one of these three documents"


def chunk(source: str, text: str = "text", **fields) -> Chunk:
    return Chunk(text=text, source=source, start=0, end=len(text), **fields)


def hits_of(*pairs) -> list[Hit]:
    """Hits from (source, score) pairs, ranked in the order given."""
    return [
        Hit(chunk(name, f"text {name}"), score, rank)
        for rank, (name, score) in enumerate(pairs, start=1)
    ]


def sources(hits) -> list[str]:
    return [hit.chunk.source for hit in hits]


class Fixed:
    """A retriever that returns the hits it was given, and remembers what it was asked."""

    name = "fixed"

    def __init__(self, hits):
        self.hits, self.asked = hits, []

    def search(self, question, k=5, *, where=None):
        self.asked.append((question, k, where))
        return self.hits[:k]


@pytest.fixture
def index(toy_documents, toy_embedder) -> ChunkIndex:
    chunks = split_by_words(toy_documents)
    built = ChunkIndex(toy_embedder.dimension, model=toy_embedder.name)
    built.add(chunks, embed_chunks(chunks, toy_embedder))
    return built


@pytest.fixture(params=["dense", "keyword", "hybrid"])
def retriever(request, index, toy_embedder):
    return build_retriever(request.param, index, toy_embedder)


# What every retriever promises


def test_the_document_about_the_keyword_comes_first(retriever):
    assert isinstance(retriever, Retriever)
    for word in ("ice", "tea", "bridge", "moon", "bread"):
        hits = retriever.search(f"Tell us about {word}.")
        assert hits[0].chunk.source == f"{word}.txt"
        assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
        assert {hit.retriever for hit in hits} == {retriever.name}
        assert all(a.score >= b.score for a, b in itertools.pairwise(hits))


@pytest.mark.parametrize("question", ["", "  \n\t", None, 7])
def test_a_blank_question_is_refused(retriever, question):
    with pytest.raises(InvalidInputError, match="The question is"):
        retriever.search(question)


@pytest.mark.parametrize("k", [0, -2, 2.5])
def test_k_below_one_is_refused(retriever, k):
    with pytest.raises(InvalidInputError, match="k is"):
        retriever.search("ice", k)


def test_k_beyond_the_corpus_is_no_error(retriever):
    # Vectors are near or far; what compares words finds the one document that shares one.
    expected = 5 if retriever.name in ("dense", "hybrid") else 1
    assert len(retriever.search("ice", 10_000)) == expected


def test_a_very_long_question_is_no_error(retriever):
    assert retriever.search("moon " * 50_000, 1)[0].chunk.source == "moon.txt"


def test_a_filter_limits_what_is_found(retriever):
    found = retriever.search("ice and tea", where={"source": ["tea.txt", "moon.txt"]})
    assert found[0].chunk.source == "tea.txt"
    assert "ice.txt" not in sources(found)
    assert retriever.search("ice", where={"title": "nowhere"}) == []
    with pytest.raises(InvalidInputError, match=r"'page'.*heading, source, title"):
        retriever.search("ice", where={"page": 3})


@pytest.mark.parametrize("name", ["dense", "keyword", "hybrid"])
def test_an_empty_corpus_finds_nothing(name, toy_embedder):
    empty = ChunkIndex(toy_embedder.dimension)
    assert build_retriever(name, empty, toy_embedder).search("ice", where={"page": 1}) == []


def test_changes_of_the_index_are_followed(retriever, index, toy_embedder):
    index.remove(["tea.txt"])
    assert "tea.txt" not in sources(retriever.search("tea", 5))
    added = chunk("new.txt", "Tea again.")
    index.add([added], embed_chunks([added], toy_embedder))
    assert retriever.search("tea", 1)[0].chunk == added


def test_copies_make_room_for_other_passages(index, toy_embedder):
    copies = [chunk(f"copy{n}", f"{COPY} about ice") for n in range(3)]
    index.add(copies, embed_chunks(copies, toy_embedder))
    for name in ("dense", "keyword", "hybrid"):
        found = sources(build_retriever(name, index, toy_embedder).search("ice", 2))
        # "Ice melts …" and one of the copies; without collapsing three copies would fill both.
        assert "ice.txt" in found and sum(n.startswith("copy") for n in found) == 1, name
    apart = DenseRetriever(index, toy_embedder, collapse=False).search("ice", 4)
    assert sources(apart) == ["ice.txt", "copy0", "copy1", "copy2"]
    apart = KeywordRetriever(index.chunks, collapse=False).search("ice twelve", 3)
    assert sources(apart) == ["copy0", "copy1", "copy2"]


def test_collapsing_fetches_as_deep_as_it_must(index, toy_embedder):
    copies = [chunk(f"copy{n}", f"ice ice ice {COPY}") for n in range(20)]
    index.add(copies, embed_chunks(copies, toy_embedder))
    index.remove(["ice.txt"])
    # 20 copies stand before the first other passage: two fetches of 4 and 8 are not enough.
    found = DenseRetriever(index, toy_embedder).search("ice", 2)
    assert sources(found) == ["copy0", "tea.txt"]


def test_whole_and_windows_stand_behind_the_heading_of_their_chunk(toy_embedder):
    tea = chunk("tea", "Tea is hot. Ice is cold.", title="Drinks")
    blank = chunk("blank", "   ")
    seen = []

    class Recorder:
        def embed(self, texts, *, titles=None):
            seen.extend(texts)
            return toy_embedder.embed(texts)

    vectors, counts = embed_windows([tea, blank], Recorder(), max_words=3)
    whole, *windows = "Drinks\n" + tea.text, "Drinks\nTea is hot.", "Drinks\nIce is cold."
    assert seen == [whole, *windows, "   "]  # nothing is empty, and what is short stands once
    assert counts == [3, 1] and len(vectors) == 4
    index = ChunkIndex(toy_embedder.dimension)
    index.add([tea, blank], vectors, counts=counts)
    # The window about ice is nearest, and the whole chunk comes back.
    (hit, _) = DenseRetriever(index, toy_embedder).search("ice")
    assert hit.chunk == tea and hit.score == pytest.approx(1.0)
    seen.clear()
    _, counts = embed_windows([tea, blank], Recorder(), max_words=3, with_whole=False)
    assert seen == [*windows, "   "] and counts == [2, 1]
    with pytest.raises(InvalidInputError, match="max_words is 0"):
        embed_windows([tea], toy_embedder, max_words=0)


def test_hybrid_adds_up_both_halves_before_it_collapses(toy_embedder):
    # Dense search puts copy a first: its vector says ice and nothing else. Keyword search puts
    # copy b first: it says "freezing" as well.
    # Of b's 29 runs of five words a has 26.
    rest = " ".join(f"word{number}" for number in range(30))
    texts = {"a": f"ice {rest}", "b": f"ice moon freezing {rest}"}
    chunks = [chunk(name, text) for name, text in texts.items()]
    index = ChunkIndex(toy_embedder.dimension)
    index.add(chunks, embed_chunks(chunks, toy_embedder))
    (hit,) = build_retriever("hybrid", index, toy_embedder).search("freezing ice")
    # Standard scores: a 1 and b -1 in the dense half, the reverse in the keyword half, which
    # weighs 0.5. A half that had dropped a copy would have one hit, of standard score 0.
    assert hit.chunk.source == "a"
    assert hit.score == pytest.approx((1 - 0.5) / 1.5)


def test_unknown_retriever_lists_the_known_ones(index, toy_embedder):
    with pytest.raises(InvalidInputError, match=r"'bm42'.*dense, keyword, hybrid"):
        build_retriever("bm42", index, toy_embedder)


# Dense


def test_dense_scores_are_cosines(index, toy_embedder):
    hits = DenseRetriever(index, toy_embedder).search("Is ice tea made of tea?", 3)
    # The question is (1, 1, 0, 0, 0)/√2: cosine 1/√2 with "ice" and "tea", 0 with the rest, and
    # equal scores stand in the order of the corpus.
    assert sources(hits) == ["ice.txt", "tea.txt", "bridge.txt"]
    assert [hit.score for hit in hits] == pytest.approx([0.5**0.5, 0.5**0.5, 0.0], abs=1e-6)


def test_dense_refuses_an_embedder_of_another_size(index):
    class Small:
        def embed(self, texts, *, titles=None):
            return np.ones((len(texts), 2), dtype=np.float32)

    with pytest.raises(InvalidInputError, match=r"dimension 5 from 'keywords'"):
        DenseRetriever(index, Small()).search("ice")


def test_embed_chunks_gives_titles_and_puts_headings_before_the_text():
    class Recorder:
        def embed(self, texts, *, titles=None):
            self.got = (list(texts), list(titles))
            return np.zeros((len(texts), 1), dtype=np.float32)

    chunks = [
        chunk("a", title="Ice", heading="Heat"),
        chunk("b", title="Tea", heading="Tea"),
        chunk("c", heading="Heat"),
        chunk("d"),
    ]
    recorder = Recorder()
    embed_chunks(chunks, recorder)
    assert recorder.got == (["text"] * 4, ["Ice", "Tea", "", ""])
    embed_chunks(chunks, recorder, with_heading=True)
    assert recorder.got[0] == ["Ice > Heat\ntext", "Tea\ntext", "Heat\ntext", "text"]
    assert embed_chunks([], recorder).shape == (0, 1)


# Keyword


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("What does the @ symbol mean?", ["@", "symbol", "mean"]),
        ("x := y ** 2", ["x", ":=", "y", "**", "2"]),
        ("a//b -> c != d", ["//", "b", "->", "c", "!=", "d"]),  # "a" is a stop word
        ("is, in, and not if for", ["is", "in", "and", "not", "if", "for"]),  # Python's keywords
        ("__init__", ["__init__", "init"]),
        ("os.path.join", ["os.path.join", "os", "path", "join"]),
        ("ZeroDivisionError", ["zerodivisionerror", "zero", "divis", "error"]),
        ("dividing divided divides", ["divid"] * 3),
        ("Python's don’t", ["python", "don’t"]),
        ("====== **** ------", []),  # lines under headings
        ("Größe 3.14 中文", ["größe", "3.14", "3", "14", "中文"]),
        ("(...) [1:2] {}", ["...", "1", "2"]),
        ("_ x_", ["_", "x_", "x"]),
        ("", []),
    ],
)
def test_terms(text, terms):
    assert split_terms(text) == terms


def test_unstemmed_terms_stay_whole():
    assert split_terms("dividing ZeroDivision", stem=False) == [
        "dividing",
        "zerodivision",
        "zero",
        "division",
    ]


@given(st.text())
def test_any_text_has_terms_without_white_space(text):
    for term in split_terms(text):
        assert term and not re.search(r"\s", term)


def test_a_missing_stemmer_is_said_and_survived(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "Stemmer", None)
    keyword._load_stemmer.cache_clear()
    try:
        with pytest.warns(UserWarning, match="unstemmed.*pip install PyStemmer"):
            assert split_terms("dividing") == ["dividing"]
    finally:
        keyword._load_stemmer.cache_clear()


def bm25(texts: list[str], question: str, k1: float, b: float) -> list[float]:
    """BM25 in Lucene's form, written from the formula and sharing nothing with bm25s."""
    documents = [split_terms(text) for text in texts]
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for terms in documents:
        score, counts = 0.0, Counter(terms)
        for term in split_terms(question):
            holding = sum(term in other for other in documents)
            idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
            length = 1 - b + b * len(terms) / mean
            score += idf * counts[term] / (counts[term] + k1 * length)
        scores.append(score)
    return scores


WORDS = st.lists(st.sampled_from(["ice", "tea", "moon", "@", ":=", "x"]), max_size=8).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(WORDS, min_size=1, max_size=8), question=WORDS, k1=st.sampled_from([0.9, 1.5])
)
def test_keyword_scores_agree_with_the_formula(texts, question, k1):
    if not any(texts) or not question:
        return
    chunks = [chunk(str(n), text) for n, text in enumerate(texts)]
    retriever = KeywordRetriever(chunks, k1=k1, b=0.6, collapse=False)
    found = {int(hit.chunk.source): hit.score for hit in retriever.search(question, 50)}
    expected = {n: s for n, s in enumerate(bm25(texts, question, k1, 0.6)) if s > 0}
    assert found == pytest.approx(expected, rel=1e-5)
    # Equal texts have equal scores, and then stand in the order of the corpus.
    ranks = sorted(found, key=lambda n: (-found[n], n))
    assert list(found) == ranks


def test_title_and_heading_count_as_words_of_the_chunk():
    chunks = [chunk("a", "melts", title="Ice", heading="Heat"), chunk("b", "ice")]
    assert sources(KeywordRetriever(chunks).search("heat")) == ["a"]
    assert sources(KeywordRetriever(chunks).search("ice")) == ["b", "a"]  # b is shorter
    assert KeywordRetriever(chunks, with_heading=False).search("heat") == []
    index = ChunkIndex(1)
    index.add(chunks, [[1.0], [2.0]])
    assert KeywordRetriever.following(index, with_heading=False).search("heat") == []


def test_one_score_by_hand():
    chunks = [chunk("a", "ice ice tea"), chunk("b", "tea")]
    hit = KeywordRetriever(chunks).search("ice")[0]
    # N=2, df=1: idf = ln(1 + 1.5/1.5) = ln 2. Mean length 2, length 3:
    # norm = 1.5 * (0.25 + 0.75 * 1.5) = 2.0625; tf 2: ln 2 * 2 / 4.0625 = 0.3412…
    assert hit.score == pytest.approx(math.log(2) * 2 / 4.0625, rel=1e-5)


@pytest.mark.parametrize("texts", [[], ["", "  "], ["====="], ["the of to"]])
def test_a_corpus_without_words_finds_nothing(texts):
    chunks = [chunk(str(n), text) for n, text in enumerate(texts)]
    assert KeywordRetriever(chunks).search("ice") == []


def test_a_question_without_known_words_finds_nothing():
    retriever = KeywordRetriever([chunk("a", "ice")])
    assert retriever.search("zebra") == []
    assert retriever.search("what is this?") == []
    assert retriever.search("???") == []


def test_following_starts_with_the_index_as_it_is_and_counts_anew_only_after_changes(index):
    retriever = KeywordRetriever.following(index)
    words = retriever._words
    retriever.search("ice")
    assert retriever._words is words
    index.remove(["moon.txt"])
    # N falls from 5 to 4, so that every idf changes.
    before = KeywordRetriever(words.chunks).search("ice")[0].score
    assert retriever.search("ice")[0].score < before


# Fusion


def test_reciprocal_ranks_by_hand():
    first = hits_of(("a", 0.9), ("b", 0.8), ("c", 0.7))
    second = hits_of(("c", 12.0), ("b", 11.0), ("d", 1.0))
    fused = fuse_ranks([first, second])
    # a: 1/61; b: 1/62 + 1/62; c: 1/63 + 1/61; d: 1/63.
    expected = {"c": 1 / 63 + 1 / 61, "b": 2 / 62, "a": 1 / 61, "d": 1 / 63}
    assert sources(fused) == list(expected)
    assert [hit.score for hit in fused] == pytest.approx(list(expected.values()))
    assert [hit.rank for hit in fused] == [1, 2, 3, 4]


def test_weights_and_constant_change_the_order():
    first, second = hits_of(("a", 1.0), ("b", 0.5)), hits_of(("b", 1.0), ("a", 0.5))
    # Equal weights tie; then the one met first leads.
    assert sources(fuse_ranks([first, second])) == ["a", "b"]
    assert sources(fuse_ranks([first, second], weights=[1, 2])) == ["b", "a"]
    # With constant 0 a first place alone (1/1) beats a second and a third (1/2 + 1/3).
    lists = [hits_of(("a", 3), ("b", 2)), hits_of(("c", 3), ("d", 2), ("b", 1))]
    assert sources(fuse_ranks(lists, constant=0))[:2] == ["a", "c"]
    assert sources(fuse_ranks(lists, constant=60))[0] == "b"


def test_standard_scores_by_hand():
    first = hits_of(("a", 3.0), ("b", 1.0))  # z: 1, -1
    second = hits_of(("c", 30.0), ("b", 20.0), ("d", 10.0))  # z: √1.5, 0, -√1.5
    fused = fuse_scores([first, second])
    high = 1.5**0.5
    expected = {
        "c": (-1 + high) / 2,  # not in the first list: its lowest, -1
        "a": (1 - high) / 2,
        "b": (-1 + 0) / 2,
        "d": (-1 - high) / 2,
    }
    assert {hit.chunk.source: hit.score for hit in fused} == pytest.approx(expected)
    assert sources(fused) == sorted(expected, key=lambda name: -expected[name])


def test_standard_scores_do_not_depend_on_the_unit():
    first, second = hits_of(("a", 3.0), ("b", 1.0)), hits_of(("b", 0.2), ("c", 0.1))
    scaled = [Hit(hit.chunk, 1000 * hit.score + 7, hit.rank) for hit in second]
    assert sources(fuse_scores([first, second])) == sources(fuse_scores([first, scaled]))


def test_equal_scores_tell_nothing():
    assert [hit.score for hit in fuse_scores([hits_of(("a", 5.0), ("b", 5.0)), []])] == [0.0, 0.0]
    assert fuse_scores([[], []]) == fuse_ranks([[], []]) == []


def test_hybrid_asks_deep_and_answers_shallow():
    first, second = Fixed(hits_of(("a", 1.0))), Fixed(hits_of(("b", 1.0), ("a", 0.5)))
    found = HybridRetriever([first, second], depth=7).search("ice", 1, where={"source": "a"})
    assert sources(found) == ["a"]  # 1/61 + 1/62 beats 1/61
    assert first.asked == second.asked == [("ice", 7, {"source": "a"})]


def test_hybrid_can_fuse_scores():
    lists = hits_of(("a", 9.0), ("b", 1.0)), hits_of(("b", 1.0), ("c", 0.9), ("a", 0.8))
    hybrid = HybridRetriever([Fixed(hits) for hits in lists], fusion="scores")
    # z of the second list: b √1.5, c 0, a -√1.5; a: (1 - √1.5)/2, b: (-1 + √1.5)/2.
    assert sources(hybrid.search("ice", 2)) == ["b", "a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"retrievers": []}, "0 retrievers"),
        ({"constant": -1}, "constant is -1"),
        ({"constant": float("nan")}, "constant is nan"),
        ({"weights": [1]}, "2 lists need one weight each"),
        ({"weights": [0, 0]}, "not all 0"),
        ({"weights": [1, -1]}, "0 or more"),
        ({"depth": 0}, "k is 0"),
        ({"fusion": "votes"}, "'votes' is unknown"),
    ],
)
def test_hybrid_checks_its_arguments(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        HybridRetriever(**{"retrievers": [Fixed([]), Fixed([])], **arguments})


# Duplicates


def test_copies_collapse_into_the_best_one():
    hits = [
        Hit(chunk("if", COPY), 0.9, 1),
        Hit(chunk("while", "another passage that says something else entirely"), 0.8, 2),
        Hit(chunk("compound", f"{COPY.upper()} too"), 0.7, 3),
        Hit(chunk("for", "a third one"), 0.6, 4),
    ]
    kept = collapse_duplicates(hits)
    assert [(hit.chunk.source, hit.score, hit.rank) for hit in kept] == [
        ("if", 0.9, 1),
        ("while", 0.8, 2),
        ("for", 0.6, 3),
    ]


def test_what_says_more_is_no_copy():
    # All 8 runs of the short text stand in the long one, which has 16: half of its own.
    longer = f"{COPY} and eight other words that only this one holds"
    short, long = Hit(chunk("short", COPY), 0.9, 1), Hit(chunk("long", longer), 0.8, 2)
    assert sources(collapse_duplicates([short, long])) == ["short", "long"]
    assert sources(collapse_duplicates([long, short])) == ["long"]


def test_the_threshold_decides():
    # 12 and 12 words share the first 9: 5 of 8 runs of five words, 0.625.
    near = " ".join(COPY.split()[:9]) + " few other texts"
    hits = [Hit(chunk("one", COPY), 0.9, 1), Hit(chunk("two", near), 0.8, 2)]
    assert len(collapse_duplicates(hits)) == 2
    assert len(collapse_duplicates(hits, threshold=0.6)) == 1
    for threshold in (0, 1.1, float("nan")):
        with pytest.raises(InvalidInputError, match="threshold is"):
            collapse_duplicates(hits, threshold=threshold)


# Refining


def by_length(question, passages):
    return [len(passage) for passage in passages]


def test_rerank_blends_standard_scores_by_hand():
    texts = {"a": "x", "b": "xxx", "c": "xx"}
    hits = [
        Hit(chunk(name, texts[name]), score, rank)
        for rank, (name, score) in enumerate([("a", 3.0), ("b", 2.0), ("c", 1.0)], start=1)
    ]
    high = 1.5**0.5  # z of three evenly spaced numbers: √1.5, 0, -√1.5
    found = rerank("ice", hits, by_length, weight=0.75)
    # a: .25 * high - .75 * high; b: .75 * high; c: -.25 * high.
    assert [(hit.chunk.source, hit.rank) for hit in found] == [("b", 1), ("c", 2), ("a", 3)]
    assert [hit.score for hit in found] == pytest.approx([0.75 * high, -0.25 * high, -0.5 * high])
    assert sources(rerank("ice", hits, by_length, weight=0.0)) == ["a", "b", "c"]
    assert sources(rerank("ice", hits, by_length, weight=1.0)) == ["b", "c", "a"]
    assert rerank("ice", [], by_length) == []


def test_reranking_reads_twelve_and_returns_k():
    fixed = Fixed([Hit(chunk(str(n), "x" * n), -n, n) for n in range(1, 31)])
    retriever = RerankedRetriever(fixed, by_length, weight=1.0, name="length")
    hits = retriever.search("ice", 3, where={"source": "a"})
    # The longest of the first twelve; the thirteenth is longer but was not a candidate.
    assert sources(hits) == ["12", "11", "10"]
    assert {hit.retriever for hit in hits} == {retriever.name} == {"fixed+length"}
    assert fixed.asked == [("ice", 12, {"source": "a"})]
    assert len(retriever.search("ice", 20)) == 20


@pytest.mark.parametrize("values", [[1.0], [1.0, float("nan")], [1.0, 2.0, 3.0]])
def test_a_scorer_must_return_one_finite_number_per_passage(values):
    with pytest.raises(InvalidInputError, match="one finite number per passage"):
        rerank("ice", hits_of(("a", 1.0), ("b", 0.5)), lambda *_: values)


def test_shares_are_from_0_to_1():
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidInputError, match="weight is"):
            RerankedRetriever(Fixed([]), by_length, weight=share)
        with pytest.raises(InvalidInputError, match="relevance is"):
            diversify([], [], relevance=share)


def test_diversity_by_hand():
    hits = hits_of(("a", 1.0), ("a2", 0.9), ("b", 0.6), ("c", 0.0))
    vectors = [[1, 0], [2, 0], [0, 1], [-1, 0]]  # a2 points as a does; length does not matter
    chosen = diversify(hits, vectors, k=3, relevance=0.5)
    # Scaled scores: 1, .9, .6, 0. First a (.5). Then a2: .45 - .5 = -.05; b: .3 - 0 = .3;
    # c: 0 + .5 = .5. Then a2: .45 - .5 = -.05; b: .3 - .5 * max(0, 0) = .3.
    assert sources(chosen) == ["a", "c", "b"]
    assert [hit.score for hit in chosen] == [1.0, 0.0, 0.6]
    assert [hit.rank for hit in chosen] == [1, 2, 3]
    assert sources(diversify(hits, vectors, k=9, relevance=1.0)) == ["a", "a2", "b", "c"]
    assert diversify([], []) == []


def test_diversity_needs_one_vector_per_hit():
    with pytest.raises(InvalidInputError, match=r"shape \(1, 2\) for 2 hits"):
        diversify(hits_of(("a", 1.0), ("b", 0.5)), [[1, 0]])


TEXTS = st.lists(st.sampled_from(["one", "two", "three", "\n", " "]), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(TEXTS.map(" ".join), min_size=1, max_size=3),
    overlap=st.integers(0, 2),
    window=st.integers(0, 2),
    chance=st.randoms(use_true_random=False),
)
def test_merged_neighbours_stand_in_their_document(texts, overlap, window, chance):
    documents = {str(n): Document(text, str(n)) for n, text in enumerate(texts)}
    chunks = split_by_words(list(documents.values()), size=4, overlap=overlap)
    picked = chance.sample(chunks, min(len(chunks), 5))
    hits = [Hit(c, 1.0 / rank, rank) for rank, c in enumerate(picked, start=1)]
    merged = merge_neighbours(hits, chunks, window=window)
    for hit in merged:
        part = documents[hit.chunk.source].text[hit.chunk.start : hit.chunk.end]
        # Left-out white space is filled with line breaks, so that only its kind may differ.
        assert re.sub(r"\s", " ", hit.chunk.text) == re.sub(r"\s", " ", part)
    spans = {(h.chunk.source, h.chunk.start, h.chunk.end) for h in merged}
    # Every hit is inside exactly one merged hit, and what is left does not overlap.
    for hit in hits:
        around = [s for s in spans if s[0] == hit.chunk.source and s[1] <= hit.chunk.start < s[2]]
        assert len(around) >= 1
        if overlap == 0:
            assert len(around) == 1
    assert [hit.rank for hit in merged] == list(range(1, len(merged) + 1))
    assert all(a.score > b.score for a, b in itertools.pairwise(merged))


def test_neighbours_by_hand():
    parts = [
        Chunk(word, "a", 4 * n, 4 * n + 3, heading=word)
        for n, word in enumerate(["one", "two", "thr", "fou", "fiv", "six"])
    ]
    other = chunk("b", "else")
    hits = [Hit(parts[5], 0.9, 1), Hit(other, 0.8, 2), Hit(parts[2], 0.7, 3), Hit(parts[4], 0.6, 4)]
    merged = merge_neighbours(hits, [*parts, other], window=0)
    # "fiv" joins "six", which was found first; "thr" touches neither.
    assert [(h.chunk.text, h.chunk.heading, h.score) for h in merged] == [
        ("fiv\nsix", "six", 0.9),
        ("else", "", 0.8),
        ("thr", "thr", 0.7),
    ]
    # With one neighbour on each side "thr" (two–fou) meets "six" (fiv–six).
    wide = merge_neighbours(hits, [*parts, other], window=1)
    assert [h.chunk.text for h in wide] == ["two\nthr\nfou\nfiv\nsix", "else"]
    assert wide[0].chunk.id == "a#4-23"


def test_a_hit_may_close_the_gap_between_two():
    parts = [Chunk(word, "a", 4 * n, 4 * n + 3) for n, word in enumerate(["one", "two", "thr"])]
    hits = [Hit(parts[place], 1.0, rank) for rank, place in enumerate([2, 0, 1], start=1)]
    assert [h.chunk.text for h in merge_neighbours(hits, parts, window=0)] == ["one\ntwo\nthr"]


def test_merging_refuses_strangers_and_negative_windows():
    hit = hits_of(("a", 1.0))
    with pytest.raises(InvalidInputError, match="'a#0-6' is not among the 0 chunks"):
        merge_neighbours(hit, [])
    with pytest.raises(InvalidInputError, match="window is -1"):
        merge_neighbours(hit, [hit[0].chunk], window=-1)


# Expansion


@pytest.mark.parametrize(
    ("question", "added"),
    [
        ("What does the @ symbol mean?", " decorator"),
        ("What is @?", " decorator"),
        ("What does 2**3 give?", " power"),
        ("What does x **= 2 do?", ""),  # a longer operator, with a meaning of its own
        ("Is := new, and what is ->?", " assignment expression return annotation"),
        ("What is a decorator, this @ thing?", ""),  # said already
        ("What is a list?", ""),
    ],
)
def test_symbols_gain_their_names(question, added):
    assert expand_with_glossary(question) == question + added


def test_a_glossary_of_words_matches_whole_words():
    glossary = {"heap": "priority queue"}
    assert expand_with_glossary("What is a heap?", glossary).endswith("? priority queue")
    assert expand_with_glossary("What is a heapq?", glossary) == "What is a heapq?"


def test_feedback_appends_what_the_hits_share():
    texts = ["melting point of water", "the melting point differs", "point taken, water lost"]
    hits = [Hit(chunk(str(n), text), 1.0, n) for n, text in enumerate(texts, start=1)]
    # In three hits: point; in two: melting, water; "differs", "taken", "lost" in one only.
    assert expand_with_hits("Why ice?", hits) == "Why ice? point melting water"
    assert expand_with_hits("Why water?", hits, terms=1) == "Why water? point"
    assert expand_with_hits("Why ice?", []) == "Why ice?"
    with pytest.raises(InvalidInputError, match="terms is 0"):
        expand_with_hits("Why?", hits, terms=0)


def test_an_expanded_question_is_what_is_searched():
    fixed = Fixed(hits_of(("a", 1.0)))
    retriever = ExpandedRetriever(fixed, lambda question: f"{question} more", name="more")
    assert sources(retriever.search("ice", 3, where={"source": "a"})) == ["a"]
    assert fixed.asked == [("ice more", 3, {"source": "a"})]
    assert retriever.name == "fixed+more"
    with pytest.raises(InvalidInputError, match="The question is ''"):
        retriever.search("")
