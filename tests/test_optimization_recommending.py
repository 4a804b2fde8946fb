"""The recommendation, against the committed study and against indexes that are really built."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_helpers.errors import InvalidInputError
from rag_helpers.optimization import (
    build_kind,
    choose_lists,
    estimate_size_mb,
    imitate_vectors,
    load_index_study,
    measure_indexes,
    recommend_index,
)

STUDY = load_index_study()
ROWS = [(group, row) for group in STUDY for row in group.rows]


class TestStudy:
    def test_all_sizes_and_families_are_there(self):
        assert [group.n for group in STUDY if group.synthetic] == [10_000, 100_000, 1_000_000]
        assert [group.synthetic for group in STUDY] == [False, True, True, True]
        families = {"Flat", "SQ8", "PQ48np", "PQ96np", "IVF,Flat", "IVF,SQ8", "HNSW32,Flat"}
        for group in STUDY:
            assert {row.family for row in group.rows} == families
            assert group.rows[0].kind == "Flat"
            assert group.rows[0].recall.value == 1.0

    def test_at_a_million_an_inverted_file_is_a_hundred_times_as_fast_as_flat(self):
        group = STUDY[-1]
        fast = [
            row.recall.low
            for row in group.rows
            if row.queries_per_s >= 100 * group.rows[0].queries_per_s and "IVF" in row.kind
        ]
        assert max(fast) >= 0.95

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"groups": [{"n": 1}]}'])
    def test_what_is_no_study_is_refused(self, tmp_path, text):
        path = tmp_path / "indexes.json"
        with pytest.raises(InvalidInputError, match=r"FileNotFoundError.*index_study\.py"):
            load_index_study(path)
        path.write_text(text)
        with pytest.raises(InvalidInputError, match="holds no study"):
            load_index_study(path)


class TestSizes:
    @pytest.mark.parametrize(
        ("group", "row"), ROWS, ids=lambda value: getattr(value, "kind", getattr(value, "n", None))
    )
    def test_estimates_agree_with_the_study(self, group, row):
        estimate = estimate_size_mb(row.kind, group.n, group.dimension)
        assert estimate == pytest.approx(row.size_mb, rel=0.02)

    @pytest.mark.parametrize("kind", ["Flat", "SQ8", "IVF16,Flat", "IVF16,SQ8", "HNSW16,SQ8"])
    @pytest.mark.parametrize("dimension", [64, 256])
    def test_estimates_agree_with_what_is_built(self, kind, dimension):
        vectors = np.random.default_rng(0).normal(size=(2000, dimension)).astype(np.float32)
        [row] = measure_indexes(vectors, vectors[:1], {"": (kind, {})})
        assert estimate_size_mb(kind, 2000, dimension) == pytest.approx(row.size_mb, rel=0.03)

    @pytest.mark.parametrize("kind", ["", "Flat,Flat", "LSH", "OPQ16,PQ16"])
    def test_other_kinds_are_refused(self, kind):
        with pytest.raises(InvalidInputError, match=r"size of .* is not known"):
            estimate_size_mb(kind, 10, 10)

    @given(st.integers(1, 10**8))
    def test_lists_are_a_power_of_two_with_enough_vectors_each(self, count):
        lists = choose_lists(count)
        assert lists & (lists - 1) == 0
        assert lists == 1 or count / lists >= 39
        # Never more than half an octave off 2√n, but where vectors are few.
        assert lists <= 2 * count**0.5 * 2**0.5 + 1e-6


class TestRecommendation:
    @given(
        count=st.integers(1, 10_000_000),
        budgets=st.tuples(st.floats(0.001, 20_000), st.floats(0.001, 20_000)),
        recall=st.floats(0, 1),
        device=st.sampled_from(["cpu", "cuda"]),
        max_ms=st.floats(0.05, 1000),
    )
    def test_more_memory_never_gives_a_worse_recall(self, count, budgets, recall, device, max_ms):
        less, more = sorted(budgets)
        options = {"recall": recall, "device": device, "max_ms": max_ms}
        try:
            tight = recommend_index(count, memory_mb=less, **options)
        except InvalidInputError as error:
            assert "No kind of index" in str(error)
            return
        wide = recommend_index(count, memory_mb=more, **options)
        free = recommend_index(count, **options)
        assert recall <= tight.recall.low
        assert tight.recall.value <= wide.recall.value <= free.recall.value
        assert tight.memory_mb <= less
        assert 1000 / tight.queries_per_s <= max_ms

    @pytest.mark.parametrize("count", [3_000, 10_000, 100_000, 1_000_000])
    @pytest.mark.parametrize("max_ms", [0.2, 5.0, 1000.0])
    def test_recall_climbs_with_memory_in_small_steps(self, count, max_ms):
        flat_mb = estimate_size_mb("Flat", count, 384)
        recalls = []
        for share in np.geomspace(0.02, 2, 40):
            try:
                found = recommend_index(count, memory_mb=share * flat_mb, recall=0, max_ms=max_ms)
            except InvalidInputError:
                assert not recalls, "once there is an answer, more memory has one too"
            else:
                recalls.append(found.recall.value)
        assert recalls == sorted(recalls)
        assert recalls

    @pytest.mark.parametrize("row", STUDY[-1].rows, ids=lambda row: f"{row.kind} {row.parameters}")
    def test_the_lower_end_of_the_interval_has_to_reach_the_recall(self, row):
        options = {"recall": row.recall.value, "max_ms": 1001 / row.queries_per_s}
        try:
            assert recommend_index(STUDY[-1].n, **options).recall.low >= row.recall.value
        except InvalidInputError as error:
            assert "No kind of index" in str(error)

    @given(
        count=st.integers(1, 10_000_000),
        memory_mb=st.floats(0.001, 5000),
        recall=st.floats(0, 1),
        max_ms=st.floats(0.01, 100),
    )
    def test_who_follows_a_named_cure_is_answered(self, count, memory_mb, recall, max_ms):
        options = {"memory_mb": memory_mb, "recall": recall, "max_ms": max_ms}
        try:
            recommend_index(count, **options)
            return
        except InvalidInputError as error:
            sentence = str(error).replace(",", "")
        cures = {
            "memory_mb": r": .*allow (\d+) MB",
            "recall": r"recall of ([\d.]*\d)",
            "max_ms": r"allow ([\d.]*\d) ms",
        }
        found = {name: re.search(pattern, sentence) for name, pattern in cures.items()}
        for name, match in found.items():
            if match:
                assert recommend_index(count, **{**options, name: float(match[1])})
        if not any(found.values()):
            flat = re.search(r"finds all in (\d+) MB and (\d+) ms", sentence)
            options["memory_mb"], options["max_ms"] = map(float, flat.groups())
            assert recommend_index(count, **options).recall.value >= recall

    @pytest.mark.parametrize(("count", "max_ms"), [(3_000, 0.2), (20_000, 0.5), (999_999, 3.0)])
    def test_between_two_sizes_the_worse_recall_counts(self, count, max_ms):
        below = [group for group in STUDY if group.n < count][-1]
        above = next(group for group in STUDY if group.n > count)
        found = recommend_index(count, max_ms=max_ms)
        assert found.kind != "Flat"
        measured = [
            row.recall.value
            for group in (below, above)
            for row in group.rows
            if row.parameters == found.parameters
            and row.family == re.sub(r"IVF\d+", "IVF", found.kind)
        ]
        assert found.recall.value == min(measured)
        assert f"{below.n:,}" in " ".join(found.reasons) or len(measured) == 1
        assert f"{above.n:,}" in " ".join(found.reasons)

    def test_few_vectors_stay_flat(self):
        found = recommend_index(10_000)
        assert (found.kind, found.parameters) == ("Flat", {})
        assert any("exact" in reason for reason in found.reasons)

    def test_no_kind_is_recommended_that_a_gpu_does_not_know(self):
        for count in (1_000, 100_000, 1_000_000):
            for memory_mb in (None, 0.5 * count / 1000):
                kind = recommend_index(count, memory_mb=memory_mb, device="cuda").kind
                assert kind == "Flat" or kind.startswith("IVF")

    def test_reasons_say_what_was_not_measured(self):
        found = " ".join(recommend_index(2_000_000, dimension=768, device="cuda").reasons)
        for words in ("1,000,000 vectors", "dimension 384", "no GPU"):
            assert words in found

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"count": 0}, "count is 0"),
            ({"count": 10_000_001}, "count is 10000001.*measure"),
            ({"dimension": 0}, "dimension is 0"),
            ({"recall": 1.1}, "recall is 1.1"),
            ({"recall": float("nan")}, "recall is nan"),
            ({"memory_mb": 0}, "memory_mb is 0"),
            ({"max_ms": -1}, "max_ms is -1"),
            ({"device": "tpu"}, "device is 'tpu'"),
        ],
    )
    def test_values_out_of_range_are_named(self, options, message):
        with pytest.raises(InvalidInputError, match=message):
            recommend_index(**{"count": 1000, **options})

    @pytest.mark.seconds
    @pytest.mark.parametrize("memory_mb", [None, 6.0])
    @pytest.mark.parametrize("max_ms", [5.0, 0.2])
    def test_what_is_recommended_at_ten_thousand_reaches_its_recall(self, memory_mb, max_ms):
        random = np.random.default_rng(0)
        # Forty far apart groups, so that there is something to imitate.
        real = random.normal(size=(40, 384)).repeat(20, axis=0) + random.normal(size=(800, 384))
        real = (real / np.linalg.norm(real, axis=1, keepdims=True)).astype(np.float32)
        vectors, queries = imitate_vectors(real, 10_000), imitate_vectors(real, 200, seed=1)
        found = recommend_index(10_000, memory_mb=memory_mb, max_ms=max_ms)
        [row] = measure_indexes(vectors, queries, {"": (found.kind, found.parameters)})
        assert row.recall.value >= 0.95
        assert row.size_mb == pytest.approx(found.memory_mb, rel=0.03)
        assert build_kind(vectors, found.kind, found.parameters).ntotal == 10_000


def test_the_study_says_how_it_was_made():
    from rag_helpers.optimization.recommending import STUDY as PATH

    found = json.loads(PATH.read_text(encoding="utf-8"))
    assert found["simd"] == "AVX2"
    assert found["threads"] == 2
    assert {"processor", "versions", "likeness", "mapping"} <= found.keys()
