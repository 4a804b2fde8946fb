"""DPR's two encoders, trained: tiny ones of the real architecture, built here."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from test_fine_tuning import (
    FACTS,
    StopError,
    assert_same_weights,
    make_tokenizer,
    retriever_pairs,
    stop_at,
)

from rag_helpers.embedding import load_embedders
from rag_helpers.errors import TrainingError
from rag_helpers.fine_tuning import compatible_batches, train_dpr

pytestmark = pytest.mark.seconds


@pytest.fixture(scope="module")
def dpr(tmp_path_factory):
    """Return the passage encoder's folder; the question encoder's lies beside it."""
    import torch
    from transformers import DPRConfig, DPRContextEncoder, DPRQuestionEncoder

    root = tmp_path_factory.mktemp("dpr")
    tokenizer = make_tokenizer("bert")
    config = DPRConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=128, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, initializer_range=0.3,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    for side, encoder in (("ctx", DPRContextEncoder), ("question", DPRQuestionEncoder)):
        encoder(config).save_pretrained(root / f"dpr-{side}_encoder-tiny")
        tokenizer.save_pretrained(root / f"dpr-{side}_encoder-tiny")
    return root / "dpr-ctx_encoder-tiny"


def right_first(folder) -> float:
    passages, questions = load_embedders(folder)
    asked = questions.embed([question for question, _, _ in FACTS])
    scores = asked @ passages.embed([passage for _, passage, _ in FACTS]).T
    return float((scores.argmax(axis=1) == np.arange(len(FACTS))).mean())


def test_both_encoders_learn_and_are_found_as_a_pair(dpr, tmp_path):
    before = right_first(dpr)
    result = train_dpr(
        retriever_pairs(), tmp_path / "out", model=dpr, epochs=40, batch_size=8,
        learning_rate=1e-3, negatives=0,
    )  # fmt: skip
    assert before < 0.5 and right_first(result.folder / "dpr-ctx_encoder") == 1.0
    assert result.trained_parameters == result.parameters
    files = {path.name for path in result.folder.rglob("*") if path.is_file()}
    assert "model.safetensors" in files
    assert not {name for name in files if name.endswith((".bin", ".pt", ".pkl"))}
    # The sides went different ways: each is an encoder of its own.
    passages, questions = load_embedders(result.folder / "dpr-ctx_encoder")
    text = [FACTS[0][0]]
    assert np.abs(passages.embed(text) - questions.embed(text)).max() > 0.01


def test_the_loss_is_the_cross_entropy_of_inner_products(dpr, tmp_path):
    # Negatives of their own, so that all eight fit into one batch.
    pairs = [replace(p, negatives=(f"tea and moon {n}",)) for n, p in enumerate(retriever_pairs())]
    result = train_dpr(pairs, tmp_path / "out", model=dpr, batch_size=8, negatives=1)
    passages, questions = load_embedders(dpr)
    (batch,) = compatible_batches(pairs, 8, seed=0)
    asked = questions.embed([pairs[i].question for i in batch])
    texts = [pairs[i].passage for i in batch] + [pairs[i].negatives[0] for i in batch]
    logits = asked @ passages.embed(texts).T
    by_hand = [math.log(np.exp(row).sum()) - row[n] for n, row in enumerate(logits)]
    assert result.losses[0][1] == pytest.approx(np.mean(by_hand), rel=1e-4)


@pytest.mark.parametrize("stop", [3, 4])
def test_a_stopped_run_goes_on_to_the_same_weights(dpr, tmp_path, stop):
    options = {
        "model": dpr, "epochs": 2, "batch_size": 4, "evaluate_every": 2, "negatives": 0,
        "held_out": [replace(pair, id=f"held {pair.id}") for pair in retriever_pairs()[6:]],
    }  # fmt: skip
    pairs = retriever_pairs()
    whole = train_dpr(pairs, tmp_path / "whole", **options)
    assert [step for step, _ in whole.scores] == [2, 4]
    with pytest.raises(StopError):
        train_dpr(pairs, tmp_path / "cut", on_step=stop_at(stop), **options)
    again = train_dpr(pairs, tmp_path / "cut", **options)
    for name in ("dpr-ctx_encoder", "dpr-question_encoder"):
        assert_same_weights(whole.folder / name, again.folder / name)


def test_what_makes_no_sense_is_refused_before_any_work(dpr, tmp_path):
    for wrong in ({"epochs": 0}, {"batch_size": 1}, {"negatives": -1}):
        with pytest.raises(TrainingError, match=next(iter(wrong))):
            train_dpr(retriever_pairs(), tmp_path / "out", **{"model": dpr, **wrong})
    with pytest.raises(TrainingError, match="one encoder for both sides"):
        train_dpr(retriever_pairs(), tmp_path / "out", model="all-MiniLM-L6-v2")
