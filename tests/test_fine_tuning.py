"""Fine-tuning on tiny models of the real architectures, built here and trained for seconds.

What is measured is exact: losses are compared with torch's and the library's own, resumed runs
with uninterrupted ones, weight by weight.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_helpers.embedding import SentenceEmbedder, load_embedders
from rag_helpers.errors import (
    GeneratorError,
    InvalidInputError,
    ModelIntegrityError,
    ModelNotFoundError,
    TrainingError,
)
from rag_helpers.evaluation import Judge
from rag_helpers.fine_tuning import (
    NOT_IN_CONTEXT,
    GeneratorPair,
    QuestionLessons,
    RetrieverPair,
    build_generator_pairs,
    build_question_lessons,
    build_retriever_pairs,
    check_overlap,
    check_pairs,
    check_room,
    compatible_batches,
    evidence_texts,
    generator_training,
    lessons_from_teacher,
    mine_hard_negatives,
    pairs_from_headings,
    train_generator,
    train_question_side,
    train_retriever,
    train_seq2seq,
)
from rag_helpers.fine_tuning.generator_training import _answer_loss, _collate, _encode
from rag_helpers.fine_tuning.runs import TrainingRun, out_of_room
from rag_helpers.generator import ChatGenerator, Seq2SeqGenerator
from rag_helpers.index import ChunkIndex
from rag_helpers.prompting import RECIPE, PromptTemplate
from rag_helpers.records import Chunk, Document, GoldQuestion, Hit, Prompt

# --- a corpus in which the same passage stands twice -----------------------------------------

ICE = "Ice melts at zero degrees Celsius when the air around it is warm enough."
TEA = "Tea is brewed with water that has just boiled, for three to five minutes."
MOON = "The moon turns around the earth once a month and always shows one face."
BREAD = "Bread rises because yeast makes gas that is caught inside the dough."
DOCUMENTS = [
    Document(f"{ICE}\n\n{TEA}", "kitchen"),
    Document(f"{ICE}\n\n{MOON}", "nature"),
    Document(BREAD, "bakery"),
]


def chunk_of(document: Document, text: str) -> Chunk:
    start = document.text.index(text)
    return Chunk(text, document.source, start, start + len(text))


CHUNKS = [
    chunk_of(DOCUMENTS[0], ICE),
    chunk_of(DOCUMENTS[0], TEA),
    chunk_of(DOCUMENTS[1], ICE),
    chunk_of(DOCUMENTS[1], MOON),
    chunk_of(DOCUMENTS[2], BREAD),
]
GOLD = [
    GoldQuestion("ice", "When does ice melt?", ("zero degrees Celsius",), ICE, "nature", "fact"),
    GoldQuestion("tea", "How long is tea brewed?", ("five minutes",), TEA, "kitchen", "fact"),
    GoldQuestion("moon", "How fast is the moon?", ("once a month",), MOON, "nature", "fact"),
    GoldQuestion("mars", "How fast is Mars?", (), None, None, "unanswerable"),
]  # fmt: skip


def search(question: str, k: int) -> list[Hit]:
    """Find all chunks in the order of the corpus: the ice first, whatever was asked."""
    return [Hit(chunk, 1 / (n + 1), n + 1) for n, chunk in enumerate(CHUNKS)][:k]


# --- pairs ------------------------------------------------------------------------------------


def test_questions_meet_the_chunk_that_holds_their_evidence():
    pairs = build_retriever_pairs(GOLD, DOCUMENTS, CHUNKS)
    assert [(pair.id, pair.passage) for pair in pairs] == [
        ("ice", ICE),
        ("tea", TEA),
        ("moon", MOON),
    ]


def test_passages_carry_their_headings_as_the_index_embeds_them():
    headed = [replace(chunk, title="Things", heading="Facts") for chunk in CHUNKS]
    pairs = build_retriever_pairs(GOLD, DOCUMENTS, headed)
    assert pairs[0].passage == f"Things > Facts\n{ICE}"
    hits = [Hit(chunk, 1.0, n) for n, chunk in enumerate(headed, start=1)]
    mined = mine_hard_negatives(pairs, lambda question, k: hits[:k], count=1)
    assert mined[0].negatives == (f"Things > Facts\n{TEA}",)
    bare = build_retriever_pairs(GOLD, DOCUMENTS, headed, with_heading=False)
    assert bare[0].passage == ICE


def test_without_any_evidence_there_are_no_pairs():
    with pytest.raises(TrainingError, match="none of 4 questions"):
        build_retriever_pairs(GOLD, DOCUMENTS, CHUNKS[4:])


def test_a_copy_of_the_right_passage_is_no_hard_negative():
    # 14 of the 15 words stand in both, in the same order: 10 of 11 runs of five words are shared.
    nearly = ICE.replace("enough.", "today.")
    copy = Chunk(nearly, "elsewhere", 0, len(nearly))
    pairs = build_retriever_pairs(GOLD, DOCUMENTS, [*CHUNKS, copy])
    hits = [Hit(c, 1.0, n) for n, c in enumerate([copy, *CHUNKS], start=1)]
    mined = mine_hard_negatives(pairs, lambda question, k: hits[:k], count=2)
    # For the ice: the copy and both ice chunks are passed over, tea and moon remain.
    assert mined[0].negatives == (TEA, MOON)
    # For the tea the ice is wrong, and the copy of the ice as well.
    assert mined[1].negatives == (nearly, ICE)


def test_no_mined_negative_holds_the_evidence():
    judge = Judge(DOCUMENTS, GOLD)
    pairs = mine_hard_negatives(build_retriever_pairs(GOLD, DOCUMENTS, CHUNKS), search, count=5)
    assert all(pair.negatives for pair in pairs)
    assert not any(judge.holds(pair.id, text) for pair in pairs for text in pair.negatives)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"depth": 0}])
def test_mining_refuses_numbers_below_one(wrong):
    with pytest.raises(TrainingError, match="is 0; give at least 1"):
        mine_hard_negatives([], search, **wrong)


def test_headings_become_questions_and_leave_the_passage():
    text = "The if statement\n================\n\n" + "It is used for conditional execution. " * 4
    chunk = Chunk(text, "if", 0, len(text), title="Compound statements", heading="The if statement")
    other = replace(chunk, text="No heading here. " * 10)
    short = replace(chunk, text="The if statement\n\nToo short.")
    (pair,) = pairs_from_headings([chunk, other, short])
    assert pair.question == "Compound statements: The if statement"
    assert pair.passage.startswith("It is used") and "statement" not in pair.passage
    # The chunk itself would be a false negative.
    assert pair.right == {pair.passage, text}


def build(**options):
    return build_generator_pairs(
        GOLD, DOCUMENTS, CHUNKS, count_tokens=lambda text: len(text.split()), **options
    )


def test_prompts_hold_the_answer_or_it_is_declined():
    judge = Judge(DOCUMENTS, GOLD)
    pairs = build(search=search, passages=2, unanswerable=0.5)
    for pair in pairs:
        name = pair.id.split()[0]
        holds = name != "mars" and any(judge.holds(name, text) for text in pair.prompt.passages)
        assert holds == (pair.answer != NOT_IN_CONTEXT)
    declined = [pair for pair in pairs if pair.answer == NOT_IN_CONTEXT]
    # Three are answered; half of all are to be declined, so three: Mars and two asked twice.
    assert len(pairs) - len(declined) == 3 == len(declined)
    assert "mars" in {pair.id for pair in declined}
    assert {len(pair.prompt.passages) for pair in pairs if pair.id in {"ice", "tea"}} == {2}


def test_prompts_repeat_with_the_seed_and_differ_without():
    assert build(passages=3, seed=1) == build(passages=3, seed=1)
    assert build(passages=3, seed=1) != build(passages=3, seed=2)


def test_a_prompt_that_lost_its_evidence_is_left_out():
    # System message 24 words, frame 2, question 4 or 5: at most 10 words of 40 are left, and no
    # passage has fewer than 11.
    pairs = build(token_budget=40, unanswerable=0)
    assert [pair.id for pair in pairs] == ["mars"]


@pytest.mark.parametrize("wrong", [{"passages": 0}, {"unanswerable": 1.0}, {"unanswerable": -0.1}])
def test_prompts_refuse_numbers_out_of_range(wrong):
    with pytest.raises(TrainingError, match="give"):
        build(**wrong)


# --- checks -----------------------------------------------------------------------------------


def plain_pairs(count: int = 8) -> list[RetrieverPair]:
    return [RetrieverPair(f"q{n}", f"Question {n}?", f"Passage {n}.") for n in range(count)]


def test_good_pairs_pass():
    check_pairs(plain_pairs())
    check_pairs([GeneratorPair(f"q{n}", Prompt("?", "text"), "yes") for n in range(8)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": " \n"}, "'q0' has a blank question"),
        ({"passage": ""}, "'q0' has a blank passage"),
        ({"negatives": ("fine", "\t")}, "'q0' has a blank negative 2"),
        ({"id": "q1"}, "Two pairs are called 'q1'"),
        ({"negatives": ("Passage 0.",)}, "'q0' has a right passage among its negatives"),
        ({"negatives": ("x",), "right": frozenset("x")}, "right passage among its negatives"),
    ],
)
def test_bad_pairs_are_refused(change, message):
    first, *rest = plain_pairs()
    with pytest.raises(TrainingError, match=message):
        check_pairs([replace(first, **change), *rest])


def test_too_few_pairs_are_refused():
    with pytest.raises(TrainingError, match="There are 7 pairs and at least 8"):
        check_pairs(plain_pairs(7))


def test_blank_answers_are_refused():
    with pytest.raises(TrainingError, match="blank answer"):
        check_pairs([GeneratorPair("a", Prompt("?", "text"), "")], least=1)


def test_overlap_is_found_by_passage_and_by_id():
    evidence = evidence_texts(GOLD, DOCUMENTS)
    assert set(evidence) == {"ice", "tea", "moon"}
    check_overlap({"ice": ICE}, {"tea": TEA})
    with pytest.raises(TrainingError, match="'ice' is in the training set and held out"):
        check_overlap(evidence, {"ice": BREAD})
    # Part of it, in another setting: all its runs of five words stand in the other.
    with pytest.raises(TrainingError, match="'tea' is that of held-out question 'new'"):
        check_overlap(evidence, {"new": f"As they say: {TEA} So they do."})
    # Two alike within one set are no overlap.
    check_overlap({"a": ICE, "b": ICE}, {"c": TEA})


def test_room_is_checked_before_work(tmp_path):
    check_room(tmp_path / "not" / "there yet", disk_mb=1, memory_mb=1)
    with pytest.raises(TrainingError, match=r"MB free and checkpoints need 1000000000"):
        check_room(tmp_path, disk_mb=1e9, memory_mb=1)
    with pytest.raises(TrainingError, match=r"memory are free and training needs about 1000000000"):
        check_room(tmp_path, disk_mb=1, memory_mb=1e9)


# --- batches ----------------------------------------------------------------------------------

texts = st.sampled_from([f"passage {letter}" for letter in "abcdef"])


@st.composite
def any_pairs(draw):
    pairs = []
    for n in range(draw(st.integers(1, 20))):
        passage = draw(texts)
        right = draw(st.frozensets(texts, max_size=2)) | {passage}
        negatives = tuple(draw(st.sets(texts, max_size=2)) - right)
        pairs.append(RetrieverPair(f"q{n}", "?", passage, negatives, right))
    return pairs


@settings(max_examples=100, deadline=None)
@given(any_pairs(), st.integers(1, 6), st.integers(0, 3))
def test_no_batch_calls_a_right_passage_wrong(pairs, size, seed):
    batches = compatible_batches(pairs, size, seed=seed)
    dealt = [i for batch in batches for i in batch]
    assert len(dealt) == len(set(dealt))
    for batch in batches:
        assert 1 <= len(batch) <= size
        for i in batch:
            others = {t for j in batch if j != i for t in (pairs[j].passage, *pairs[j].negatives)}
            assert not others & pairs[i].right
    # Nobody is left out who could stand alone somewhere: the first batch always takes one.
    assert dealt


def test_batches_differ_by_seed_and_repeat():
    pairs = plain_pairs(20)
    assert compatible_batches(pairs, 5, seed=1) == compatible_batches(pairs, 5, seed=1)
    assert compatible_batches(pairs, 5, seed=1) != compatible_batches(pairs, 5, seed=2)
    assert sorted(map(len, compatible_batches(pairs, 6))) == [5, 5, 5, 5]


# --- runs on disk -----------------------------------------------------------------------------


def test_a_result_appears_whole_and_leaves_nothing_else(tmp_path):
    run = TrainingRun(tmp_path / "out", {"rank": 4})
    run.publish(lambda place: (place / "weights").write_text("new"), {"steps": 3})
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record == {"settings": {"rank": 4}, "steps": 3}
    again = TrainingRun(tmp_path / "out", {"rank": 8})
    again.publish(lambda place: (place / "weights").write_text("newer"), {})
    assert (tmp_path / "out" / "weights").read_text() == "newer"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failed_save_leaves_the_old_result(tmp_path):
    TrainingRun(tmp_path / "out", {}).publish(lambda place: (place / "w").write_text("old"), {})

    def fail(place):
        (place / "w").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    run = TrainingRun(tmp_path / "out", {})
    with pytest.raises(TrainingError, match="disk is full"), out_of_room(run):
        run.publish(fail, {})
    assert (tmp_path / "out" / "w").read_text() == "old"
    assert run.work.is_dir()


def test_what_was_not_trained_here_is_never_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("Dear …")
    with pytest.raises(TrainingError, match="was not trained here"):
        TrainingRun(tmp_path / "mine", {})
    with pytest.raises(TrainingError, match="was not trained here"):
        TrainingRun(tmp_path / "mine" / "letter.txt", {})
    TrainingRun(tmp_path / "empty", {})


def test_other_settings_do_not_go_on_with_a_run(tmp_path):
    TrainingRun(tmp_path / "out", {"rank": 4, "seed": 0})
    TrainingRun(tmp_path / "out", {"rank": 4, "seed": 0})
    with pytest.raises(TrainingError, match=r"rank was 4 and is now 8.*resume=False"):
        TrainingRun(tmp_path / "out", {"rank": 8, "seed": 0})
    TrainingRun(tmp_path / "out", {"rank": 8, "seed": 0}, resume=False)


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    run = TrainingRun(tmp_path / "out", {})
    lock = run.work / "process"
    assert lock.read_text() == str(os.getpid())
    lock.write_text(str(os.getppid()))  # alive, and not this process
    with pytest.raises(TrainingError, match=f"Process {os.getppid()} trains in"):
        TrainingRun(tmp_path / "out", {})
    lock.write_text("999999999")  # no system numbers its processes so high
    TrainingRun(tmp_path / "out", {})


def test_half_checkpoints_are_passed_over(tmp_path):
    run = TrainingRun(tmp_path / "out", {})
    for step, state in ((2, "{}"), (10, "{}"), (11, '{"epoch'), (12, None)):
        place = run.work / f"checkpoint-{step}"
        place.mkdir()
        if state is not None:
            (place / "trainer_state.json").write_text(state)
    assert run.last_checkpoint() == run.work / "checkpoint-10"
    assert not (run.work / "checkpoint-11").exists()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError("no more"), "Memory ran out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "Memory ran out"),
        (RuntimeError("CUDA out of memory"), "Memory ran out"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "disk is full"),
    ],
)
def test_exhaustion_becomes_a_sentence_that_says_what_is_kept(tmp_path, error, message):
    run = TrainingRun(tmp_path / "out", {})
    told = f"{message}.*start again with the same settings"
    with pytest.raises(TrainingError, match=told), out_of_room(run):
        raise error


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), OSError(errno.EACCES, "no")])
def test_other_errors_stay_what_they_are(tmp_path, error):
    with pytest.raises(type(error)), out_of_room(TrainingRun(tmp_path / "out", {})):
        raise error


# --- tiny models ------------------------------------------------------------------------------

FACTS = [
    ("When does ice melt?", ICE, "zero degrees"),
    ("How long is tea brewed?", TEA, "five minutes"),
    ("How fast is the moon?", MOON, "once a month"),
    ("Why does bread rise?", BREAD, "yeast makes gas"),
    ("What colour is grass?", "Grass is green because of the chlorophyll in it.", "green"),
    ("Who wrote Hamlet?", "Hamlet was written by William Shakespeare about 1600.", "Shakespeare"),
    ("What do bees make?", "Bees make honey from the nectar of flowers.", "honey"),
    ("Where do fish live?", "Fish live in the water of rivers, lakes and seas.", "in the water"),
]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TINY = PromptTemplate("tiny", "{context} {question}", system="Answer.")


def make_tokenizer(kind: str):
    """Give a byte-level BPE, trained on the facts, the special tokens of `kind`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = {
        "llama": {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<pad>"},
        "t5": {"eos_token": "</s>", "pad_token": "<pad>"},
        "bart": {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
        "bert": {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"},
    }[kind]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        [part for fact in FACTS for part in fact],
        trainers.BpeTrainer(
            vocab_size=500,
            special_tokens=list(special.values()),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    frame = {"t5": "$A </s>", "bart": "<s> $A </s>", "bert": "[CLS] $A [SEP]"}.get(kind)
    if frame:
        core.post_processor = processors.TemplateProcessing(
            single=frame,
            special_tokens=[(t, core.token_to_id(t)) for t in special.values() if t in frame],
        )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, **special)
    if kind == "llama":
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_checkpoint(kind: str, folder: Path) -> Path:
    """Save an untrained model of the real architecture."""
    import torch
    import transformers as tf

    torch.manual_seed(0)
    tokenizer = make_tokenizer(kind)
    ids = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    end = {"eos_token_id": tokenizer.eos_token_id}
    if kind == "llama":
        model = tf.LlamaForCausalLM(
            tf.LlamaConfig(
                hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=256,
                bos_token_id=tokenizer.bos_token_id, **ids, **end,
            )
        )  # fmt: skip
        # The last layer stays as it is in LoRA: at its random size no token could become likely.
        model.lm_head.weight.data *= 30
    elif kind == "t5":
        model = tf.T5ForConditionalGeneration(
            tf.T5Config(
                d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, dropout_rate=0.0,
                decoder_start_token_id=tokenizer.pad_token_id, **ids, **end,
            )
        )  # fmt: skip
    elif kind == "bart":
        model = tf.BartForConditionalGeneration(
            tf.BartConfig(
                d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4,
                decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, dropout=0.0,
                max_position_embeddings=128, bos_token_id=tokenizer.bos_token_id,
                decoder_start_token_id=tokenizer.eos_token_id,
                forced_bos_token_id=tokenizer.bos_token_id, **ids, **end,
            )
        )  # fmt: skip
    else:
        model = tf.BertModel(
            tf.BertConfig(
                hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                max_position_embeddings=128, hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0, **ids,
            )
        )  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return make_checkpoint("llama", tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A sentence encoder: a tiny BERT with mean pooling."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    root = tmp_path_factory.mktemp("models")
    inner = Transformer(str(make_checkpoint("bert", root / "bert")), max_seq_length=64)
    encoder = SentenceTransformer(
        modules=[inner, Pooling(inner.get_embedding_dimension())], device="cpu"
    )
    encoder.save_pretrained(str(root / "tiny-bert"))
    return root / "tiny-bert"


def retriever_pairs() -> list[RetrieverPair]:
    every = [passage for _, passage, _ in FACTS]
    return [
        RetrieverPair(f"q{n}", q, p, (every[n - 1], every[n - 2]), frozenset({p}))
        for n, (q, p, _) in enumerate(FACTS)
    ]


def generator_pairs(template: PromptTemplate) -> list[GeneratorPair]:
    return [
        GeneratorPair(f"q{n}", Prompt(q, template.fill(q, [p]), template.system), answer)
        for n, (q, p, answer) in enumerate(FACTS)
    ]


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return {
        f"{file.name} {name}": value
        for file in sorted(folder.glob("*.safetensors"))
        for name, value in load_file(file).items()
    }


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = weights_of(one), weights_of(other)
    assert first and first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


class StopError(Exception):
    """Stands for whatever ends a process in the middle of a training."""


def stop_at(step: int):
    def on_step(row):
        if row.step == step and row.loss is not None:
            raise StopError

    return on_step


# --- the retriever ----------------------------------------------------------------------------


def own_passage_first(embed) -> float:
    """Return the share of questions whose own passage is nearest."""
    questions = embed([q for q, _, _ in FACTS])
    passages = embed([p for _, p, _ in FACTS])
    return float((np.argmax(questions @ passages.T, axis=1) == np.arange(len(FACTS))).mean())


@pytest.mark.seconds
@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_retriever_learns(bert, tmp_path, method):
    told = []
    result = train_retriever(
        retriever_pairs(), tmp_path / "out", model=bert, method=method, epochs=40, batch_size=8,
        learning_rate=5e-3, score=own_passage_first, evaluate_every=20, on_step=told.append,
    )  # fmt: skip
    # Untrained, a question finds its passage by chance: about one in eight.
    assert result.scores[-1][1] == 1.0
    assert result.losses[-1][1] < result.losses[0][1] / 3
    assert [step for step, _ in result.scores] == [20, 40]
    assert [row.step for row in told if row.loss is not None] == list(range(1, 41))
    files = {path.name for path in result.folder.rglob("*") if path.is_file()}
    assert not {name for name in files if name.endswith((".bin", ".pt", ".pth", ".pkl"))}
    assert ("adapter_model.safetensors" in files) == (method == "lora")
    assert ("model.safetensors" in files) == (method == "full")
    share = result.trained_parameters / result.parameters
    assert share == 1.0 if method == "full" else share < 0.5
    assert result.seconds > 0 < result.peak_memory_mb
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.seconds
def test_the_embedder_merges_what_was_trained(bert, tmp_path):
    seen = []

    def last_vectors(embed) -> float:
        seen.append(embed([passage for _, passage, _ in FACTS]))
        return float(len(seen))  # rises, so that the last weights are the best

    result = train_retriever(
        retriever_pairs(), tmp_path / "out", model=bert, epochs=4, batch_size=8,
        learning_rate=5e-3, negatives=0, evaluate_every=4, score=last_vectors,
    )  # fmt: skip
    passages = [passage for _, passage, _ in FACTS]
    plain, tuned = SentenceEmbedder(bert), SentenceEmbedder(bert, adapter=result.folder)
    np.testing.assert_allclose(tuned.embed(passages), seen[-1], atol=1e-5)
    assert np.abs(plain.embed(passages) - seen[-1]).max() > 0.01
    assert plain.name == "tiny-bert"
    assert re.fullmatch(r"tiny-bert\+adapter-[0-9a-f]{8}", tuned.name)


@pytest.mark.seconds
def test_the_embedder_refuses_an_adapter_of_another_model(bert, llama, tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"holds no adapter_model.safetensors"):
        SentenceEmbedder(bert, adapter=tmp_path)
    other = train_retriever(retriever_pairs(), tmp_path / "out", model=bert, batch_size=8, rank=4)
    config = json.loads((other.folder / "adapter_config.json").read_text())
    (other.folder / "adapter_config.json").write_text(json.dumps({**config, "r": 8}))
    with pytest.raises(ModelIntegrityError, match="does not fit the encoder"):
        SentenceEmbedder(bert, adapter=other.folder)
    assert SentenceEmbedder(bert, adapter="auto").name == "tiny-bert"  # none is shipped for it


@pytest.mark.seconds
def test_the_loss_is_the_cross_entropy_of_scaled_cosines(bert, tmp_path):
    from sentence_transformers import SentenceTransformer

    pairs = retriever_pairs()
    result = train_retriever(
        pairs, tmp_path / "out", model=bert, epochs=1, batch_size=8, negatives=1
    )
    encoder = SentenceTransformer(str(bert), device="cpu")
    questions = encoder.encode([p.question for p in pairs], normalize_embeddings=True)
    # The last passage of pair n is a negative of pair n+1, so those two never meet in a batch:
    # eight pairs in a circle deal into one batch that holds no two neighbours.
    (batch,) = compatible_batches(
        [replace(p, negatives=p.negatives[:1]) for p in pairs], 8, seed=0
    )[:1]
    passages = encoder.encode([pairs[i].passage for i in batch], normalize_embeddings=True)
    negatives = encoder.encode([pairs[i].negatives[0] for i in batch], normalize_embeddings=True)
    logits = 20 * questions[batch] @ np.concatenate([passages, negatives]).T
    by_hand = [math.log(np.exp(row).sum()) - row[n] for n, row in enumerate(logits)]
    assert result.losses[0][1] == pytest.approx(np.mean(by_hand), rel=1e-4)


@pytest.mark.seconds
def test_the_cached_loss_gives_the_same_weights(bert, tmp_path):
    options = {"model": bert, "epochs": 3, "batch_size": 8, "learning_rate": 1e-3, "negatives": 0}
    whole = train_retriever(retriever_pairs(), tmp_path / "whole", mini_batch_size=None, **options)
    parts = train_retriever(retriever_pairs(), tmp_path / "parts", mini_batch_size=3, **options)
    # Sums are taken in another order: equal up to rounding.
    assert [loss for _, loss in parts.losses] == pytest.approx(
        [loss for _, loss in whole.losses], abs=1e-4
    )


@pytest.mark.seconds
@pytest.mark.parametrize("stop", [3, 4, 7])
def test_a_stopped_retriever_goes_on_to_the_same_weights(bert, tmp_path, stop):
    # Four steps an epoch: 3 stops within the first, 4 at its end, 7 within the second.
    options = {
        "model": bert, "epochs": 3, "batch_size": 2, "evaluate_every": 2, "negatives": 0,
        "score": own_passage_first,
    }  # fmt: skip
    whole = train_retriever(retriever_pairs(), tmp_path / "whole", **options)
    with pytest.raises(StopError):
        train_retriever(retriever_pairs(), tmp_path / "cut", on_step=stop_at(stop), **options)
    assert not (tmp_path / "cut").exists()
    told = []
    again = train_retriever(retriever_pairs(), tmp_path / "cut", on_step=told.append, **options)
    assert min(row.step for row in told) == stop - (stop - 1) % 2
    assert again.history == whole.history
    assert_same_weights(whole.folder, again.folder)


@pytest.mark.seconds
def test_the_best_weights_are_kept_and_training_stops_early(bert, tmp_path):
    scores = iter([0.2, 0.9, 0.5, 0.4, 0.3, 0.1])
    result = train_retriever(
        retriever_pairs(), tmp_path / "out", model=bert, epochs=10, batch_size=8, negatives=0,
        evaluate_every=1, patience=2, score=lambda embed: next(scores),
    )  # fmt: skip
    assert [score for _, score in result.scores] == [0.2, 0.9, 0.5, 0.4]
    assert result.best_step == 2
    # The learning rate depends on the steps planned, so the comparison plans ten as well.
    scores = iter([0.2, 0.9, 0.5, 0.4])
    stopped = train_retriever(
        retriever_pairs(), tmp_path / "other", model=bert, epochs=10, batch_size=8, negatives=0,
        evaluate_every=1, patience=1, score=lambda embed: next(scores),
    )  # fmt: skip
    assert_same_weights(result.folder, stopped.folder)


@pytest.mark.seconds
@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "prompt"}, {"rank": 0}, {"negatives": -1}, {"epochs": 0}, {"batch_size": 0},
        {"learning_rate": 0.0}, {"evaluate_every": 0},
    ],
)  # fmt: skip
def test_the_retriever_refuses_what_makes_no_sense(bert, tmp_path, wrong):
    with pytest.raises(TrainingError, match=str(next(iter(wrong)))):
        train_retriever(retriever_pairs(), tmp_path / "out", **{"model": bert, **wrong})


# --- the questions' side alone ----------------------------------------------------------------


def question_lessons(bert) -> QuestionLessons:
    """Eight questions over eight passages; the first passage has a second vector."""
    passages = [passage for _, passage, _ in FACTS]
    index = ChunkIndex(SentenceEmbedder(bert).dimension, model="tiny-bert")
    index.add(
        [Chunk(text, f"doc{n}", 0, len(text)) for n, text in enumerate(passages)],
        SentenceEmbedder(bert).embed([passages[0], *passages]),
        counts=[2] + [1] * (len(passages) - 1),
    )
    ids = tuple(f"q{n}" for n in range(len(FACTS)))
    right = tuple((n,) for n in range(len(FACTS)))
    return QuestionLessons(ids, tuple(q for q, _, _ in FACTS), right, index)


def test_lessons_take_every_chunk_that_holds_the_evidence():
    chunks = [Chunk(d.text, d.source, 0, len(d.text)) for d in DOCUMENTS]
    index = ChunkIndex(1)
    index.add(chunks, [[float(n)] for n in range(len(chunks))])
    ice = GoldQuestion("q1", "When does ice melt?", ("zero",), ICE, "kitchen", "fact")
    nobody = GoldQuestion("q2", "Who?", (), None, None, "unanswerable")
    lessons = build_question_lessons([ice, nobody], DOCUMENTS, index)
    holders = tuple(n for n, document in enumerate(DOCUMENTS) if ICE in document.text)
    assert (lessons.ids, lessons.right) == (("q1",), (holders,))
    # The vectors are 0, 1, 2, …: a question at 1 likes the last best.
    last = len(chunks) - 1
    assert lessons.ranks(np.array([[1.0]], dtype=np.float32)) == [last - max(holders) + 1]


@pytest.mark.seconds
def test_the_loss_is_the_cross_entropy_over_the_whole_corpus(bert, tmp_path):
    lessons = question_lessons(bert)
    result = train_question_side([lessons], tmp_path / "out", model=bert, epochs=1, batch_size=8)
    encoder = SentenceEmbedder(bert)
    passages = encoder.embed([passage for _, passage, _ in FACTS])
    logits = 20 * encoder.embed(list(lessons.questions)) @ passages.T
    by_hand = [math.log(np.exp(row).sum()) - row[n] for n, row in enumerate(logits)]
    assert result.losses[0][1] == pytest.approx(np.mean(by_hand), rel=1e-4)


def taught_lessons(bert) -> QuestionLessons:
    """The same questions, each with a teacher who prefers the passage after its own, 3 to 1."""
    lessons = question_lessons(bert)
    count = len(lessons.ids)
    right = tuple(((n + 1) % count, n) for n in range(count))
    return replace(lessons, right=right, weights=((0.75, 0.25),) * count)


@pytest.mark.seconds
def test_the_loss_with_a_teacher_is_the_cross_entropy_of_its_shares(bert, tmp_path):
    lessons = taught_lessons(bert)
    result = train_question_side([lessons], tmp_path / "out", model=bert, epochs=1, batch_size=8)
    encoder = SentenceEmbedder(bert)
    passages = encoder.embed([passage for _, passage, _ in FACTS])
    logits = 20 * encoder.embed(list(lessons.questions)) @ passages.T
    by_hand = []
    for row, places in zip(logits, lessons.right, strict=True):
        shares = np.exp(row[list(places)]) / np.exp(row[list(places)]).sum()
        by_hand.append(-(0.75 * math.log(shares[0]) + 0.25 * math.log(shares[1])))
    assert result.losses[0][1] == pytest.approx(np.mean(by_hand), rel=1e-4)


@pytest.mark.seconds
def test_the_question_side_takes_over_what_its_teacher_prefers(bert, tmp_path):
    lessons = taught_lessons(bert)
    result = train_question_side(
        [lessons], tmp_path / "out", model=bert, epochs=60, batch_size=8, learning_rate=5e-3
    )
    _, questions = load_embedders(bert, adapter=result.folder)
    scores = questions.embed(list(lessons.questions)) @ lessons.index.vectors()[1:].T
    differences = [
        20 * (row[a] - row[b]) for row, (a, b) in zip(scores, lessons.right, strict=True)
    ]
    # Shares of 3 to 1 are a difference of log 3 in the logits.
    assert differences == pytest.approx([math.log(3)] * len(differences), abs=0.3)


def test_a_teacher_is_asked_for_candidates_and_scores():
    chunks = [Chunk(d.text, d.source, 0, len(d.text)) for d in DOCUMENTS]
    index = ChunkIndex(1)
    index.add(chunks, [[float(n)] for n in range(len(chunks))])
    found = {
        "Ice?": [Hit(chunks[1], 3.0, 1), Hit(chunks[0], 1.0, 2)],
        "Bread?": [Hit(chunks[2], 1.0, 1)],
        "Alike?": [Hit(chunks[0], 1.0, 1), Hit(chunks[2], 1.0, 2)],
    }
    asked = {"q1": "Ice?", "q2": "Bread?", "q3": "Alike?"}
    lessons = lessons_from_teacher(asked, index, lambda question, k: found[question][:k])
    # One candidate teaches nothing. Two scores lie one deviation from their mean, so 2 apart:
    # times 2, the shares are as e⁴ to 1; equal scores are equal shares.
    assert (lessons.ids, lessons.right) == (("q1", "q3"), ((1, 0), (0, 2)))
    assert lessons.weights[0][0] == pytest.approx(math.exp(4) / (1 + math.exp(4)))
    assert lessons.weights[1] == (0.5, 0.5)


@pytest.mark.parametrize(
    ("options", "message"), [({"depth": 1}, "depth is 1"), ({"sharpness": 0}, "sharpness 0")]
)
def test_a_teacher_needs_candidates_to_compare(options, message):
    with pytest.raises(TrainingError, match=message):
        lessons_from_teacher({}, ChunkIndex(1), lambda question, k: [], **options)


def test_a_teacher_of_another_index_is_refused():
    chunk = Chunk("Tea.", "tea", 0, 4)
    hits = [Hit(chunk, 1.0, 1), Hit(chunk, 0.5, 2)]
    with pytest.raises(TrainingError, match="in none of the 0 chunks"):
        lessons_from_teacher({"q": "Tea?"}, ChunkIndex(1), lambda question, k: hits)


@pytest.mark.seconds
def test_questions_learn_and_passages_stay(bert, tmp_path):
    lessons = question_lessons(bert)
    result = train_question_side(
        [lessons], tmp_path / "out", model=bert, epochs=30, batch_size=8, learning_rate=5e-3
    )
    passages, questions = load_embedders(bert, adapter=result.folder)
    before = lessons.ranks(passages.embed(list(lessons.questions)))
    after = lessons.ranks(questions.embed(list(lessons.questions)))
    assert sum(after) < sum(before)
    assert passages.name == lessons.index.model and questions.name != passages.name
    np.testing.assert_array_equal(passages.embed([ICE]), SentenceEmbedder(bert).embed([ICE]))


@pytest.mark.seconds
@pytest.mark.parametrize("stop", [3, 4, 7])
def test_a_stopped_question_side_goes_on_to_the_same_weights(bert, tmp_path, stop):
    lessons = question_lessons(bert)
    options = {
        "model": bert, "epochs": 3, "batch_size": 2, "evaluate_every": 2,
        "score": own_passage_first,
    }  # fmt: skip
    whole = train_question_side([lessons], tmp_path / "whole", **options)
    with pytest.raises(StopError):
        train_question_side([lessons], tmp_path / "cut", on_step=stop_at(stop), **options)
    again = train_question_side([lessons], tmp_path / "cut", **options)
    assert again.history == whole.history
    assert_same_weights(whole.folder, again.folder)


@pytest.mark.seconds
def test_the_question_side_refuses_what_cannot_be_learnt(bert, tmp_path):
    lessons = question_lessons(bert)
    few = QuestionLessons(lessons.ids[:2], lessons.questions[:2], lessons.right[:2], lessons.index)
    for taught, options, message in (
        ([few], {}, "2 questions with a right chunk"),
        ([lessons, lessons], {}, "share an id"),
        ([lessons], {"rank": 0}, "rank is 0"),
        ([lessons], {"epochs": 0}, "epochs is 0"),
        ([replace(lessons, weights=((0.5, 0.5),) * 8)], {}, "1 candidates and 2 weights"),
    ):
        with pytest.raises(TrainingError, match=message):
            train_question_side(taught, tmp_path / "out", model=bert, **options)
    lessons.index.model = "another"
    with pytest.raises(TrainingError, match="made by 'another'"):
        train_question_side([lessons], tmp_path / "out", model=bert)


# --- the generator ----------------------------------------------------------------------------


@pytest.mark.seconds
def test_the_generator_learns_and_its_adapter_answers(llama, tmp_path):
    pairs = generator_pairs(TINY)
    result = train_generator(
        pairs, tmp_path / "out", model=llama, rank=16, epochs=120, batch_size=8,
        learning_rate=2e-2, dtype="float32", evaluate_every=1000,
    )  # fmt: skip
    assert result.losses[-1][1] < 0.05
    assert {path.name for path in result.folder.iterdir()} >= {
        "adapter_config.json", "adapter_model.safetensors", "training.json",
    }  # fmt: skip
    options = {"template": TINY, "dtype": "float32", "max_new_tokens": 12}
    tuned = ChatGenerator(llama, adapter=result.folder, **options)
    answers = [g.text for g in tuned.generate([pair.prompt for pair in pairs])]
    assert answers == [pair.answer for pair in pairs]
    plain = ChatGenerator(llama, **options)
    assert [g.text for g in plain.generate([pair.prompt for pair in pairs])] != answers


@pytest.mark.seconds
def test_the_loss_is_that_of_the_answer_alone(llama, tmp_path):
    import torch

    pairs = generator_pairs(TINY)
    result = train_generator(
        pairs, tmp_path / "out", model=llama, batch_size=8, dtype="float32", epochs=1
    )
    # The library's own loss, with everything but answers and their ends masked, row by row so
    # that nothing is padded; a batch's loss is the mean over its answers.
    generator = ChatGenerator(llama, template=TINY, dtype="float32")
    total, count = 0.0, 0
    for pair in pairs:
        head = generator.tokenizer.apply_chat_template(
            [
                {"role": "system", "content": pair.prompt.system},
                {"role": "user", "content": pair.prompt.text},
            ],
            add_generation_prompt=True,
        )["input_ids"]
        tail = generator.tokenizer(f"{pair.answer}<|im_end|>")["input_ids"]
        with torch.no_grad():
            loss = generator.model(
                input_ids=torch.tensor([head + tail]),
                labels=torch.tensor([[-100] * len(head) + tail]),
            ).loss
        total, count = total + float(loss), count + 1
    assert result.losses[0][1] == pytest.approx(total / count, rel=1e-4)


@pytest.mark.seconds
def test_a_generator_may_stop_before_its_epochs_are_over(llama, tmp_path):
    result = train_generator(
        generator_pairs(TINY), tmp_path / "out", model=llama, epochs=4, batch_size=4,
        stop_after=3,
    )  # fmt: skip
    # Eight pairs make two steps an epoch: eight were planned.
    assert [row.step for row in result.history] == [1, 2, 3]
    assert result.history[-1].steps == 8
    with pytest.raises(TrainingError, match="stop_after is 0"):
        train_generator(generator_pairs(TINY), tmp_path / "no", model=llama, stop_after=0)


@pytest.mark.seconds
@pytest.mark.parametrize("stop", [3, 4, 7])
def test_a_stopped_generator_goes_on_to_the_same_weights(llama, tmp_path, stop):
    pairs = generator_pairs(TINY)
    # Four steps an epoch: 3 stops within the first, 4 at its end, 7 within the second.
    options = {
        "model": llama, "epochs": 3, "batch_size": 2, "evaluate_every": 2, "dtype": "float32",
        "held_out": [replace(pair, id=f"held out {pair.id}") for pair in pairs[:2]],
    }  # fmt: skip
    whole = train_generator(pairs, tmp_path / "whole", **options)
    with pytest.raises(StopError):
        train_generator(pairs, tmp_path / "cut", on_step=stop_at(stop), **options)
    again = train_generator(pairs, tmp_path / "cut", **options)
    assert again.history == whole.history
    assert_same_weights(whole.folder, again.folder)


@pytest.mark.seconds
def test_the_weights_of_the_lowest_loss_are_kept(llama, tmp_path):
    pairs = generator_pairs(TINY)
    # What is held out contradicts what is trained, so that its loss rises before long.
    held_out = [replace(pair, id=f"held out {pair.id}", answer="never") for pair in pairs[:4]]
    result = train_generator(
        pairs, tmp_path / "out", model=llama, epochs=60, batch_size=8, learning_rate=2e-2,
        dtype="float32", held_out=held_out, evaluate_every=5, patience=2,
    )  # fmt: skip
    scores = dict(result.scores)
    assert scores[result.best_step] == min(scores.values())
    assert result.history[-1].step == result.best_step + 10 < 60


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": 0}, "rank is 0"),
        ({"max_tokens": 10}, "'q0' has .* tokens and max_tokens is 10"),
        ({"held_out": generator_pairs(TINY)[:1]}, "'q0' is trained on and held out"),
        ({"epochs": -1.0}, "epochs is -1"),
    ],
)
def test_the_generator_refuses_what_makes_no_sense(llama, tmp_path, change, message):
    with pytest.raises(TrainingError, match=message):
        train_generator(generator_pairs(TINY), tmp_path / "out", model=llama, **change)


@pytest.mark.seconds
def test_the_loss_weighs_short_answers_and_long_ones_the_same(llama):
    from peft import LoraConfig, get_peft_model

    generator = ChatGenerator(llama, dtype="float32")
    adapted = get_peft_model(
        generator.model, LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear")
    )
    prompt = generator_pairs(TINY)[0].prompt
    pairs = [GeneratorPair("a", prompt, "ice"), GeneratorPair("b", prompt, "ice and tea and ice")]
    rows = [_encode(generator, pair, 200) for pair in pairs]

    def mean_loss(row):
        # By the model's own loss, one row at a time and without padding.
        ids = torch.tensor([row["input_ids"]])
        labels = ids.clone()
        labels[:, : -len(row["answer_ids"])] = -100
        return float(adapted(input_ids=ids, labels=labels).loss)

    with torch.no_grad():
        together = float(_answer_loss(adapted, _collate(rows, generator)))
        alone = [mean_loss(row) for row in rows]
    assert len(rows[0]["answer_ids"]) != len(rows[1]["answer_ids"])
    assert together == pytest.approx(sum(alone) / 2, rel=1e-4)


@pytest.mark.seconds
def test_memory_is_asked_for_by_the_rows_at_once_and_the_longest_pair(llama, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        generator_training, "check_room", lambda *_, **wanted: asked.append(wanted["memory_mb"])
    )
    pairs = generator_pairs(TINY)
    config = ChatGenerator(llama).model.config
    width = config.num_hidden_layers * (config.hidden_size + config.intermediate_size)
    generator = ChatGenerator(llama, dtype="float32")
    longest = max(len(_encode(generator, pair, 200)["input_ids"]) for pair in pairs)
    for batch_size, at_once in ((8, 4), (6, 2), (3, 1)):
        train_generator(
            pairs, tmp_path / str(batch_size), model=llama, batch_size=batch_size, dtype="float32"
        )
        assert asked[-1] == pytest.approx(at_once * longest * width * 47 / 1e6)


@pytest.mark.seconds
def test_rows_at_once_change_memory_and_not_what_is_learnt(llama, tmp_path, monkeypatch):
    losses = []
    for at_once in (8, 2):
        monkeypatch.setattr(generator_training, "_ROWS_AT_ONCE", at_once)
        result = train_generator(
            generator_pairs(TINY), tmp_path / str(at_once), model=llama, epochs=3, batch_size=8,
            learning_rate=1e-2, dtype="float32",
        )  # fmt: skip
        losses.append([loss for _, loss in result.losses])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert losses[0][-1] < losses[0][0]


# --- the recipe's path ------------------------------------------------------------------------


@pytest.mark.seconds
@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_encoder_decoders_learn_and_answer(tmp_path, kind):
    folder = make_checkpoint(kind, tmp_path / f"tiny-{kind}")
    pairs = generator_pairs(RECIPE)
    held_out = [replace(pair, id=f"held out {pair.id}") for pair in pairs]
    result = train_seq2seq(
        pairs, tmp_path / "out", model=folder, epochs=150, batch_size=8, learning_rate=1e-2,
        held_out=held_out, evaluate_every=50, max_input_tokens=100,
    )  # fmt: skip
    assert result.losses[-1][1] < 0.1
    assert result.trained_parameters == result.parameters
    generator = Seq2SeqGenerator(
        result.folder, num_beams=1, max_new_tokens=20, max_input_tokens=100
    )
    answers = [g.text for g in generator.generate([pair.prompt for pair in pairs])]
    assert answers == [pair.answer for pair in pairs]


@pytest.mark.seconds
def test_a_stopped_encoder_decoder_goes_on_to_the_same_weights(tmp_path):
    folder = make_checkpoint("t5", tmp_path / "tiny-t5")
    options = {"model": folder, "epochs": 3, "batch_size": 2, "evaluate_every": 2}
    whole = train_seq2seq(generator_pairs(RECIPE), tmp_path / "whole", **options)
    with pytest.raises(StopError):
        train_seq2seq(generator_pairs(RECIPE), tmp_path / "cut", on_step=stop_at(7), **options)
    again = train_seq2seq(generator_pairs(RECIPE), tmp_path / "cut", **options)
    assert again.history == whole.history
    assert_same_weights(whole.folder, again.folder)


def test_batches_of_like_length_hold_every_row_and_differ_by_epoch():
    from rag_helpers.fine_tuning.generator_training import _ByLength

    sampler = _ByLength([10, 300, 12, 310, 14, 305, 11], 2, seed=0)
    orders = []
    for epoch in range(6):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        assert sorted(orders[-1]) == list(range(7))
        short = [i in (0, 2, 4, 6) for i in orders[-1]]
        # Four short rows make two batches, two long ones the third; a long one is left over.
        assert all(short[at] == short[at + 1] for at in (0, 2, 4))
    assert len({tuple(order) for order in orders}) > 1
    sampler.set_epoch(0)
    assert list(sampler) == orders[0]


@pytest.mark.seconds
def test_a_causal_model_is_sent_elsewhere(llama, tmp_path):
    with pytest.raises(GeneratorError, match="train it with train_generator"):
        train_seq2seq(generator_pairs(RECIPE), tmp_path / "out", model=llama)


# --- old and new, side by side ----------------------------------------------------------------


def test_the_comparison_asks_every_system_and_escapes_what_they_say():
    from rag_helpers.generator import ExtractiveGenerator
    from rag_helpers.pipeline import RagPipeline
    from rag_helpers.retriever import KeywordRetriever
    from rag_helpers.widgets import CompareBox

    hostile = Chunk("Ice melts <img src=x onerror=alert(1)> at zero.", "<b>ice</b>", 0, 47)
    pipeline = RagPipeline(KeywordRetriever([hostile]), ExtractiveGenerator(), k=1)
    box = CompareBox({"old": pipeline.answer, "<i>new": pipeline.answer}, examples=["Ice melts?"])
    box.button.click()
    assert list(box.answers) == ["old", "<i>new"]
    assert "Done in" in box.status.value
    assert "<img" not in box.output.value and "&lt;img" in box.output.value
    assert "<i>new" not in box.output.value and "<b>ice" not in box.output.value
    box.question.value = " "
    box.button.click()
    assert "The question is empty" in box.status.value and not box.output.value
    with pytest.raises(InvalidInputError, match="no system to ask"):
        CompareBox({})
