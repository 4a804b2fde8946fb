"""The measurements, on variants whose speed and quality are known beforehand."""

import gc
import sys
import time
import weakref

import numpy as np
import pytest

from rag_helpers.errors import InvalidInputError, MissingExtraError
from rag_helpers.generator import ReadAhead
from rag_helpers.optimization import (
    CTranslate2Generator,
    build_kind,
    choose_variant,
    imitate_vectors,
    load_reader_study,
    measure_embedders,
    measure_generators,
    measure_indexes,
    model_size_mb,
    move_to_gpus,
    quantize_dynamic,
    quantize_torchao,
)
from rag_helpers.pipeline import loading
from rag_helpers.records import Generation, Prompt

PROMPTS = [Prompt(question, "") for question in ("a", "b", "c", "d")]
GOLD = [["one two"], ["three"], ["four"], ["five"]]


class FakeGenerator:
    def __init__(self, texts, seconds=0.0):
        self.texts = dict(zip("abcd", texts, strict=True))
        self.seconds = seconds
        self.calls = []

    def generate(self, prompts):
        self.calls.append([prompt.question for prompt in prompts])
        time.sleep(self.seconds)
        return [Generation(self.texts[prompt.question], tokens=10) for prompt in prompts]


class FakeEmbedder:
    def __init__(self, rows):
        self.rows = np.asarray(rows, dtype=np.float32)

    def embed(self, texts, *, titles=None):
        return self.rows[: len(texts)]


class TestGenerators:
    def test_quality_is_scored_against_gold_and_against_the_first_variant(self):
        right, wrong = (
            FakeGenerator(["one", "three", "4", "5"]),
            FakeGenerator(["one", "3", "4", "5"]),
        )
        rows = measure_generators({"a": lambda: right, "b": lambda: wrong}, PROMPTS, GOLD)
        assert [row.name for row in rows] == ["a", "b"]
        # "one" against "one two": precision 1, recall 1/2, F1 2/3; "three" is right: 5/3 of four.
        assert rows[0].f1.value == pytest.approx(5 / 12)
        assert rows[1].f1.value == pytest.approx(2 / 12)
        assert [row.exact_match.value for row in rows] == [0.25, 0.0]
        assert [row.identical.value for row in rows] == [1.0, 0.75]
        assert rows[1].identical.low < 0.75 < rows[1].identical.high
        assert rows[1].texts == ("one", "3", "4", "5")

    def test_times_are_a_prompts_own_and_leave_the_warm_up_out(self):
        slow = FakeGenerator("wxyz", seconds=0.02)
        [row] = measure_generators({"slow": lambda: slow}, PROMPTS, GOLD)
        assert slow.calls == [["a"], ["a"], ["b"], ["c"], ["d"]]
        assert 20 <= row.p50_ms <= row.p95_ms
        # 10 tokens in 20 ms or a little more.
        assert 50 < row.tokens_per_s <= 500

    def test_prompts_at_once_share_their_time(self):
        slow = FakeGenerator("wxyz", seconds=0.03)
        [row] = measure_generators({"slow": lambda: slow}, PROMPTS, GOLD, at_once=3)
        assert slow.calls == [["a"], ["a", "b", "c"], ["d"]]
        assert 10 <= row.p50_ms < 30 <= row.p95_ms + 5
        with pytest.raises(InvalidInputError, match="at_once is 0"):
            measure_generators({"slow": lambda: slow}, PROMPTS, GOLD, at_once=0)

    def test_loading_is_timed_apart(self):
        def load():
            time.sleep(0.05)
            return FakeGenerator("wxyz")

        [row] = measure_generators({"late": load}, PROMPTS, GOLD)
        assert row.load_s >= 0.05
        assert row.p95_ms < 50

    def test_variants_are_loaded_one_after_another(self):
        events = []

        class Noisy(FakeGenerator):
            def __init__(self, name):
                super().__init__("wxyz")
                self.name = name
                events.append(f"load {name}")

            def __del__(self):
                events.append(f"drop {self.name}")

        measure_generators({"a": lambda: Noisy("a"), "b": lambda: Noisy("b")}, PROMPTS, GOLD)
        assert events[:3] == ["load a", "drop a", "load b"]

    @pytest.mark.parametrize(("prompts", "gold"), [([], []), (PROMPTS, GOLD[:3])])
    def test_prompts_and_answers_must_pair_up(self, prompts, gold):
        with pytest.raises(InvalidInputError, match=rf"{len(prompts)} prompts and {len(gold)}"):
            measure_generators({"a": lambda: FakeGenerator("wxyz")}, prompts, gold)

    def test_there_must_be_a_reference(self):
        with pytest.raises(InvalidInputError, match="0 variants"):
            measure_generators({}, PROMPTS, GOLD)


class TestEmbedders:
    def test_the_cosine_is_each_vectors_with_its_own_reference(self):
        # Lengths do not matter; the second text's vector is turned by 60°, whose cosine is 1/2.
        turned = [[4.0, 0.0], [np.sqrt(3) / 2, 0.5]]
        rows = measure_embedders(
            {"a": lambda: FakeEmbedder([[2, 0], [0, 1]]), "b": lambda: FakeEmbedder(turned)},
            ["x", "y"],
        )
        assert (rows[0].mean_cosine, rows[0].min_cosine) == (1.0, 1.0)
        assert (rows[1].mean_cosine, rows[1].min_cosine) == pytest.approx((0.75, 0.5))
        assert rows[1].texts_per_s > 0

    def test_there_must_be_texts(self):
        with pytest.raises(InvalidInputError, match="0 texts"):
            measure_embedders({"a": lambda: FakeEmbedder([[1, 0]])}, [])


@pytest.fixture(scope="module")
def points():
    # Eight far corners with fifty points around each.
    random = np.random.default_rng(0)
    corners = np.eye(8, dtype=np.float32) * 10
    noise = random.normal(size=(400, 8)).astype(np.float32)
    return np.repeat(corners, 50, axis=0) + noise * 0.1


class TestIndexes:
    def test_an_exact_index_finds_all_and_one_list_of_many_does_not(self, points):
        kinds = {
            "flat": ("Flat", {}),
            "one list": ("IVF8,Flat", {"nprobe": 1}),
            "all lists": ("IVF8,Flat", {"nprobe": 8}),
        }
        # Between two corners: the neighbours lie in two lists.
        queries = (points[:5] + points[50:55]) / 2
        flat, one, every = measure_indexes(points, queries, kinds)
        assert (flat.recall.value, every.recall.value) == (1.0, 1.0)
        assert one.recall.low <= one.recall.value <= one.recall.high < 1.0
        # 400 vectors of 8 numbers of 4 bytes, and a header.
        assert 0.0128 <= flat.size_mb < 0.0140
        assert min(flat.queries_per_s, flat.build_s) > 0

    @pytest.mark.parametrize(
        ("kind", "parameters"),
        [("Flatt", {}), ("Flat", {"nprobe": 1}), ("IVF500,Flat", {}), ("IVF8,Flat", {"probes": 1})],
    )
    def test_what_faiss_refuses_is_named(self, points, kind, parameters):
        with pytest.raises(InvalidInputError, match="FAISS cannot build"):
            measure_indexes(points, points[:1], {"x": (kind, parameters)})

    @pytest.mark.parametrize("k", [0, 401])
    def test_k_lies_within_the_vectors(self, points, k):
        with pytest.raises(InvalidInputError, match=f"k is {k}, and there are 400"):
            measure_indexes(points, points[:1], {"flat": ("Flat", {})}, k=k)

    def test_there_must_be_a_query(self, points):
        with pytest.raises(InvalidInputError, match="0 queries"):
            measure_indexes(points, points[:0], {"flat": ("Flat", {})})

    def test_the_size_is_that_of_the_file(self, points):
        import faiss

        for kind in ("Flat", "IVF8,SQ8", "HNSW8,Flat"):
            [row] = measure_indexes(points, points[:2], {"x": (kind, {})})
            written = faiss.serialize_index(build_kind(points, kind))
            assert row.size_mb == len(written) / 1e6

    def test_copies_stand_for_each_other(self):
        # Twelve times the same vector: which ten of them are found is chance.
        copies = np.repeat(np.eye(3, dtype=np.float32), 12, axis=0)
        found = measure_indexes(copies, copies[::12], {"lists": ("IVF3,Flat", {"nprobe": 1})})
        assert found[0].recall.value == 1.0

    def test_settings_of_one_kind_are_built_once(self, points, monkeypatch):
        from rag_helpers.optimization import indexes

        built = []

        def build(vectors, kind, **options):
            built.append(kind)
            return build_kind(vectors, kind, **options)

        monkeypatch.setattr(indexes, "build_kind", build)
        kinds = {
            "a": ("IVF8,Flat", {"nprobe": 8}),
            "b": ("IVF8,Flat", {"nprobe": 1}),
            "c": ("IVF8,SQ8", {"nprobe": 1}),
            "d": ("IVF8,SQ8", {}),
        }
        a, b, *_ = measure_indexes(points, (points[:5] + points[50:55]) / 2, kinds)
        # Without parameters FAISS' own defaults have to be back.
        assert built == ["IVF8,Flat", "IVF8,SQ8", "IVF8,SQ8"]
        assert a.recall.value > b.recall.value

    def test_an_index_can_be_trained_on_some_of_the_vectors(self, points):
        # Ten vectors are too few for 64 lists, which shows that no more were used.
        with pytest.raises(InvalidInputError, match="'IVF64,Flat' from 10 vectors"):
            build_kind(points, "IVF64,Flat", training=10)
        index = build_kind(points, "IVF8,Flat", {"nprobe": 8}, training=100)
        assert index.ntotal == len(points)
        assert index.nprobe == 8

    def test_without_a_gpu_the_cure_is_named(self, points):
        import faiss

        if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus():
            pytest.skip("there is a GPU here")
        with pytest.raises((MissingExtraError, InvalidInputError), match="keep the index where"):
            move_to_gpus(build_kind(points, "Flat"))

    def test_a_gpu_finds_the_same(self, points):
        import faiss

        if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
            pytest.skip("there is no GPU here")
        index = build_kind(points, "Flat")
        moved = move_to_gpus(index)
        assert np.array_equal(moved.search(points[:9], 3)[1], index.search(points[:9], 3)[1])


class TestImitation:
    def test_neighbours_are_as_similar_as_the_real_ones(self):
        # Pairs of unit vectors with cosine 0.8, the pairs at right angles to each other.
        axes = np.eye(40, dtype=np.float32)
        twins = 0.8 * axes[::2] + 0.6 * axes[1::2]
        real = np.concatenate([axes[::2], twins])
        made = imitate_vectors(real, 2000)
        assert made.shape == (2000, 40)
        assert made.dtype == np.float32
        assert np.linalg.norm(made, axis=1) == pytest.approx(1, abs=1e-5)
        cosines = made[:200] @ made.T
        np.fill_diagonal(cosines, -1)
        # The nearest of many siblings is somewhat nearer than their mean cosine.
        assert 0.8 < np.median(cosines.max(axis=1)) < 0.95

    def test_directions_have_the_real_covariance(self):
        # No two of these are alike, so that what is made is direction alone.
        real = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
        made = imitate_vectors(real, 40_000)
        # The same law, written down as it is: a normal number for each real vector.
        numbers = np.random.default_rng(1).normal(size=(40_000, 4))
        wanted = numbers @ (real - real.mean(axis=0))
        wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
        assert np.cov(made.T) == pytest.approx(np.cov(wanted.T), abs=0.01)

    def test_blocks_do_not_show(self, monkeypatch):
        from rag_helpers.optimization import imitation

        monkeypatch.setattr(imitation, "_BLOCK", 7)
        monkeypatch.setattr(imitation, "_JUDGED", 5)
        made = imitate_vectors(np.eye(9, dtype=np.float32), 20)
        assert made.shape == (20, 9)
        assert np.linalg.norm(made, axis=1) == pytest.approx(1, abs=1e-5)
        assert len(np.unique(made, axis=0)) == 20

    def test_the_seed_repeats(self):
        real = np.eye(5, dtype=np.float32)
        assert np.array_equal(imitate_vectors(real, 9, seed=3), imitate_vectors(real, 9, seed=3))
        assert not np.array_equal(imitate_vectors(real, 9), imitate_vectors(real, 9, seed=3))

    @pytest.mark.parametrize(("rows", "count"), [(1, 5), (5, 0)])
    def test_there_must_be_something_to_imitate(self, rows, count):
        with pytest.raises(InvalidInputError, match=f"{rows} vectors to imitate and {count}"):
            imitate_vectors(np.eye(5, dtype=np.float32)[:rows], count)


class TestQuantization:
    @pytest.fixture
    def part(self):
        import torch

        class Part:
            def __init__(self):
                torch.manual_seed(0)
                self.name = "part"
                self.model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU())

        return Part()

    def test_the_copy_is_smaller_and_close_and_the_original_unchanged(self, part):
        import torch

        inputs = torch.randn(16, 64, generator=torch.Generator().manual_seed(1))
        before = part.model(inputs)
        small = quantize_dynamic(part)
        assert (type(small), small.name) == (type(part), "part")
        assert torch.equal(part.model(inputs), before)
        after = small.model(inputs)
        assert not torch.equal(after, before)
        # 8 bits keep about two digits: the largest of these outputs is near 1.
        assert (after - before).abs().max() < 0.05
        # 64 × 32 weights: 4 bytes each, then 1 byte each; the 32 biases keep 4 bytes.
        assert model_size_mb(part) == pytest.approx((64 * 32 + 32) * 4 / 1e6)
        assert model_size_mb(small) == pytest.approx((64 * 32 + 32 * 4) / 1e6, rel=0.05)

    def test_shared_weights_count_once(self, part):
        part.model.append(part.model[0])
        assert model_size_mb(part) == pytest.approx((64 * 32 + 32) * 4 / 1e6)

    def test_only_float32_models_are_quantized(self, part):
        import torch

        part.model.to(torch.bfloat16)
        with pytest.raises(InvalidInputError, match="not in float32"):
            quantize_dynamic(part)
        with pytest.raises(InvalidInputError, match="FakeGenerator holds no torch model"):
            quantize_dynamic(FakeGenerator("wxyz"))


@pytest.mark.models
def test_eight_bits_turn_the_embedders_vectors():
    from rag_helpers.embedding import SentenceEmbedder

    texts = ["Division by zero raises an exception.", "A loop ends at break."]
    variants = {"fp32": SentenceEmbedder, "int8": lambda: quantize_dynamic(SentenceEmbedder())}
    fp32, int8 = measure_embedders(variants, texts)
    # Far from another text's vector, and visibly not the same.
    assert 0.8 < int8.min_cosine < 0.999
    # 22.7 million parameters of 4 bytes; the word vectors, 30,522 × 384, stay as they are.
    assert fp32.size_mb == pytest.approx(90.9, abs=1)
    assert int8.size_mb == pytest.approx(46.9 + (90.9 - 46.9) / 4, abs=1)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A chat model of two layers with random weights, and a real tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from rag_helpers.generator import ChatGenerator
    from rag_helpers.models import resolve

    folder = tmp_path_factory.mktemp("llama")
    source = resolve("SmolLM2-135M-Instruct")
    for file in source.glob("*token*"):
        (folder / file.name).write_bytes(file.read_bytes())
    for file in source.glob("*.jinja"):
        (folder / file.name).write_bytes(file.read_bytes())
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=2,
        pad_token_id=2,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return ChatGenerator(folder, dtype="float32", max_new_tokens=12, first_line_only=False)


class TestEngines:
    @pytest.mark.models
    def test_ctranslate2_writes_scores_and_streams_what_the_original_does(self, small):
        pytest.importorskip("ctranslate2")
        prompts = [Prompt("?", text, system="Answer.") for text in ("Tea.", "Ice is cold.", "A")]
        other = CTranslate2Generator(small, compute_type="float32")
        found, expected = other.generate(prompts), small.generate(prompts)
        assert [one.text for one in found] == [one.text for one in expected]
        assert [one.tokens for one in found] == [one.tokens for one in expected]
        for one, known in zip(found, expected, strict=True):
            assert one.mean_log_probability == pytest.approx(known.mean_log_probability, abs=1e-3)
        assert "".join(other.stream(prompts[1])) == found[1].text
        assert other.with_options(max_new_tokens=3).generate(prompts[:1])[0].tokens == 3
        assert (other.token_budget, other.name) == (small.token_budget, small.name)

    @pytest.mark.models
    def test_what_the_engine_calls_back_does_not_hold_the_engine(self, small):
        """Else its own thread may be the last to hold it, and abort the process at the end."""
        pytest.importorskip("ctranslate2")
        held = []

        class Listening:
            def __init__(self, engine):
                self.engine = engine

            def generate_batch(self, *arguments, callback, **options):
                held.append(callback)
                return self.engine.generate_batch(*arguments, callback=callback, **options)

        other = CTranslate2Generator(small)
        other._engine = Listening(other._engine)
        ended = weakref.ref(other._engine)
        other.generate([Prompt("?", "Tea.", system="Answer.")])
        del other
        gc.collect()
        assert held
        assert ended() is None

    @pytest.mark.models
    def test_what_ctranslate2_cannot_do_is_refused(self, small):
        pytest.importorskip("ctranslate2")
        with pytest.raises(InvalidInputError, match="compute_type is 'int3'"):
            CTranslate2Generator(small, compute_type="int3")
        with pytest.raises(InvalidInputError, match="num_beams is 2"):
            CTranslate2Generator(small.with_options(num_beams=2))
        with pytest.raises(InvalidInputError, match="does not score"):
            CTranslate2Generator(small).log_likelihood([], [])

    def test_an_engine_that_is_not_installed_names_the_command(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "ctranslate2", None)
        monkeypatch.setitem(sys.modules, "torchao.quantization", None)
        for use in (CTranslate2Generator, quantize_torchao):
            with pytest.raises(MissingExtraError, match=r"pip install 'rag-helpers\[fast\]'"):
                use(FakeGenerator("wxyz"))

    @pytest.mark.models
    def test_torchao_changes_a_copy_alone(self, small):
        pytest.importorskip("torchao")
        prompt = Prompt("?", "Tea.", system="Answer.")
        before = small.generate([prompt])
        changed = quantize_torchao(small)
        assert changed.generate([prompt])[0].tokens == before[0].tokens
        assert small.generate([prompt]) == before
        with pytest.raises(InvalidInputError, match="holds no torch model"):
            quantize_torchao(FakeGenerator("wxyz"))


class TestChoice:
    def test_the_default_reader_is_what_the_rule_chooses(self, monkeypatch, tmp_path):
        study = load_reader_study()
        assert choose_variant(study["as it is"]) == "bf16, prompt lookup"
        assert choose_variant(study["AVX2 only"]) == "half weights, prompt lookup"
        # Whoever has the disk for it can have more.
        ahead = choose_variant(study["AVX2 only"], prepared=True)
        assert ahead == "half weights, lookup, read ahead"
        monkeypatch.setattr(loading, "select_device", lambda: "cpu")
        packs = "rag_helpers.generator.half_weights.half_weights_run_here"
        kept = ReadAhead(tmp_path)
        for packed, has_bf16, read_ahead, dtype in (
            (True, False, None, "half-weights"),
            (True, False, kept, "half-weights"),
            (True, True, None, "auto"),
            (True, True, kept, "half-weights"),
            (False, False, None, "auto"),
            (False, True, kept, "auto"),
        ):
            monkeypatch.setattr(packs, lambda packed=packed: packed)
            monkeypatch.setattr(loading, "cpu_has_bf16", lambda has_bf16=has_bf16: has_bf16)
            chosen = loading._quick_reading(read_ahead)
            assert (chosen["dtype"], chosen["read_ahead"]) == (dtype, read_ahead)
            assert chosen["prompt_lookup"] == loading.GUESSES > 0

    def test_neither_lower_scores_nor_other_answers_are_chosen(self):
        def row(ms, f1, same):
            return {"p50 ms": ms, "F1": {"value": f1}, "identical": {"value": same}}

        rows = {"fp32": row(9, 0.50, 1), "worse": row(1, 0.48, 1), "other": row(2, 0.6, 0.9)}
        assert choose_variant(rows) == "fp32"
        assert choose_variant({**rows, "fine": row(5, 0.495, 0.95)}) == "fine"
        ahead = {"ahead": {**row(1, 0.5, 1), "ms a passage beforehand": 400}}
        assert choose_variant({**rows, **ahead}) == "fp32"
        assert choose_variant({**rows, **ahead}, prepared=True) == "ahead"
        with pytest.raises(InvalidInputError, match="no variants"):
            choose_variant({})

    def test_a_file_that_is_no_study_is_named(self, tmp_path):
        with pytest.raises(InvalidInputError, match=r"none\.json holds no measurements"):
            load_reader_study(tmp_path / "none.json")
