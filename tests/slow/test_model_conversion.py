"""The conversion of the generator's GGUF, in full: half a gigabyte."""

from __future__ import annotations

import time

import gguf
import pytest
import torch

from rag_helpers.environment import SMOLLM2_WHEEL
from rag_helpers.models import folders, quiet_loading, resolve

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def count_calls(function, calls):
    def counted(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return counted


@pytest.mark.slow
@pytest.mark.models
def test_the_converted_generator_is_the_one_in_the_gguf(monkeypatch, tmp_path, capfd):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    read = []
    monkeypatch.setattr(gguf, "GGUFReader", reader := count_calls(gguf.GGUFReader, read))
    monkeypatch.setenv("RAG_CACHE", str(tmp_path))
    folder = resolve("SmolLM2-135M-Instruct")
    # In a notebook a bar of transformers' would be a widget that stays in the saved file.
    captured = capfd.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == "" and line.startswith("Converting ") and line.endswith("of a minute.")
    assert len(read) == 1 and gguf.GGUFReader is reader  # read once, and nothing stays replaced
    seconds = []
    for _ in range(3):
        folders._checksums.clear()  # as in a fresh process, every file is read and compared
        started = time.process_time()
        assert resolve("SmolLM2-135M-Instruct") == folder
        with quiet_loading():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
        seconds.append(time.process_time() - started)
    # Processor time: what the clock shows where no other program holds the machine up.
    assert min(seconds) < 2

    file = SMOLLM2_WHEEL.path()
    assert file is not None
    with quiet_loading():
        original_tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        original = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32
        )
    prompt, original_prompt = (
        each.apply_chat_template(QUESTION, add_generation_prompt=True, return_tensors="pt")
        for each in (tokenizer, original_tokenizer)
    )
    assert torch.equal(prompt["input_ids"], original_prompt["input_ids"])
    # Same numbers in the same order of operations: equal to the last bit.
    with torch.inference_mode():
        assert torch.equal(model(**prompt).logits, original(**prompt).logits)

    written = model.generate(**prompt, max_new_tokens=30, do_sample=False)[0]
    assert "Paris" in tokenizer.decode(written)
    # The chat ends with <|im_end|>, which is token 2 and stops the generation.
    assert tokenizer.convert_ids_to_tokens(2) == "<|im_end|>"
    assert tokenizer.eos_token_id == model.generation_config.eos_token_id == int(written[-1]) == 2
    # One matrix for reading and writing words, saved once.
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
