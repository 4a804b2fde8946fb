"""The recipe as written, the course's default, and llama.cpp, end to end: ``make bench``.

Every system runs in a process of its own, with an empty cache, over the same questions with the
same cap of new tokens as the default; writes ``bench.json`` beside this file, and `make results`
then brings RESULTS.md in step. llama.cpp reads the very prompts that the default reads, with the
same weights, adapter merged, at 8 and at 4 bits. It is compiled here once (some minutes) into the
cache folder; where that fails its rows say "not run".

``ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2`` switches off what most laptops do not have,
and llama.cpp is compiled accordingly.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILE = Path(__file__).with_name("bench.json")
QUESTION = "What happens when I divide by zero?"
LLAMA_CPP = ("llama-cpp-python==0.3.36", "diskcache==5.6.3")
IS_AVX2 = os.environ.get("ATEN_CPU_CAPABILITY") == "avx2"
AVX2_BUILD = "-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON"
# What transformers calls the tensors that llama.cpp calls blk.N.….
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
WHOLE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
}


def recipe(documents):
    """Return the recipe: 150 words, flat L2, five joined, cut at 512 tokens, four beams."""
    import faiss
    from sentence_transformers import SentenceTransformer

    from rag_helpers.chunking import split_by_words
    from rag_helpers.generator import ChatGenerator
    from rag_helpers.models import resolve
    from rag_helpers.prompting import RECIPE
    from rag_helpers.records import Prompt

    chunks = split_by_words(documents, size=150)
    encoder = SentenceTransformer(str(resolve("all-MiniLM-L6-v2")), local_files_only=True)
    began = time.perf_counter()
    vectors = encoder.encode([chunk.text for chunk in chunks])
    per_s = len(chunks) / (time.perf_counter() - began)
    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors)
    model = ChatGenerator(
        dtype="float32",
        num_beams=4,
        max_new_tokens=150,
        first_line_only=False,
        batch_size=4,
        token_budget=1024,
    )

    def answer(question):
        _, found = index.search(encoder.encode([question]), 5)
        text = RECIPE.fill(question, [" ".join(chunks[place].text for place in found[0])])
        return model.generate([Prompt(question, cut(text, model))])[0].text

    return answer, {"indexing, vectors/s": per_s}


def cut(text, model, tokens=512):
    """Return as many leading characters as fit into 512 tokens, as truncation keeps them."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        fits = model.count_tokens(text[:middle]) <= tokens
        low, high = (middle, high) if fits else (low, middle - 1)
    return text[:low]


def default(documents, change=lambda pipeline, index: {}):
    """Return the course's system, asked for a few words as a benchmark's answers are."""
    from rag_helpers.pipeline import WINDOW_WORDS, load_index, pipeline_over

    began = time.perf_counter()
    index = load_index(documents, window_words=WINDOW_WORDS)
    per_s = len(index.vectors()) / (time.perf_counter() - began)
    pipeline = pipeline_over(index, style="short")
    more = change(pipeline, index)
    return lambda question: pipeline.answer(question).text, {"indexing, vectors/s": per_s, **more}


def unoptimized(documents):
    """Return the course's system with its reader in float32 and nothing reused."""
    from rag_helpers.generator import ChatGenerator

    def change(pipeline, _):
        pipeline.generator = ChatGenerator(adapter="auto", dtype="float32", reuse_opening=False)
        return {}

    return default(documents, change)


def read_ahead(documents):
    """Return the course's system after it has read all passages, kept on disk."""
    from rag_helpers.generator import ReadAhead

    def change(pipeline, index):
        # In a folder of the cache, which goes when the measurement ends.
        kept = ReadAhead(Path(os.environ["RAG_CACHE"], "read_ahead"))
        pipeline.generator = pipeline.generator.with_options(read_ahead=kept)
        began = time.perf_counter()
        passages = sum(1 for _ in pipeline.read_ahead(index.chunks))
        size = sum(file.stat().st_size for file in kept.folder.iterdir())
        return {
            "passages read ahead": passages,
            "reading ahead, s": time.perf_counter() - began,
            "kept on disk, MB": size / 1e6,
        }

    return default(documents, change)


def llama(kind):
    """Return a function that builds the default with its reader in llama.cpp."""

    def build(documents):
        def change(pipeline, _):
            from rag_helpers.generator import ChatGenerator

            whole = ChatGenerator(adapter="auto", dtype="float32")
            pipeline.generator = LlamaCpp(whole, kind)
            return {}

        return default(documents, change)

    return build


class LlamaCpp:
    """The reader with its weights written as GGUF and run by llama.cpp, greedily."""

    def __init__(self, original, kind):
        from llama_cpp import Llama

        self.name, self.template = f"llama.cpp {kind}", original.template
        self.token_budget, self.count_tokens = original.token_budget, original.count_tokens
        self._original, self._most = original, original.max_new_tokens
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "model.gguf")
            write_gguf(original.model.state_dict(), kind, file)
            self._engine = Llama(
                str(file), n_ctx=2048, n_threads=2, n_threads_batch=2, use_mmap=False, verbose=False
            )
        original.model = None

    def generate(self, prompts):
        """Write the answer to each prompt; what it shares with the last one is reused."""
        from rag_helpers.records import Generation

        written = []
        for prompt in prompts:
            ids = []
            for token in self._engine.generate(
                self._original._chat_ids(prompt.system, prompt.text),
                temp=0.0,
                top_k=1,
                repeat_penalty=1.0,
            ):
                ids.append(token)
                over = len(ids) >= self._most or token in self._original._end_ids
                if over or self._original._is_complete(ids):
                    break
            ids = self._original._cut(ids)
            written.append(Generation(self._original._decode(ids), tokens=len(ids)))
        return written


def write_gguf(weights, kind, file):
    """Write merged weights in the layout of the published GGUF file, at another precision."""
    import gguf
    import numpy as np

    from rag_helpers.environment import SMOLLM2_WHEEL

    published = gguf.GGUFReader(str(SMOLLM2_WHEEL.path()))
    heads = {
        "attn_q": int(published.fields["llama.attention.head_count"].contents()),
        "attn_k": int(published.fields["llama.attention.head_count_kv"].contents()),
    }
    writer = gguf.GGUFWriter(str(file), "llama")
    for field in published.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], inner)
    for tensor in published.tensors:
        name, part = WHOLE.get(tensor.name), None
        if name is None:
            _, layer, part, _ = tensor.name.split(".")
            name = f"model.layers.{layer}.{LAYER[part]}.weight"
        values = weights[name].float().numpy()
        if part in heads:  # llama.cpp keeps the halves of a rotation side by side
            rows, columns = values.shape
            split = values.reshape(heads[part], 2, rows // heads[part] // 2, columns)
            values = split.swapaxes(1, 2).reshape(rows, columns)
        values = np.ascontiguousarray(values, dtype=np.float32)
        if values.ndim == 1:
            writer.add_tensor(tensor.name, values)
            continue
        # The published file keeps the word vectors at 8 bits too.
        own = gguf.GGMLQuantizationType["Q8_0" if part is None else kind]
        writer.add_tensor(tensor.name, gguf.quants.quantize(values, own), raw_dtype=own)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


SYSTEMS = {
    "recipe as written": recipe,
    "default, fp32, nothing reused": unoptimized,
    "default": default,
    "default, passages read ahead": read_ahead,
    "llama.cpp Q8_0": llama("Q8_0"),
    "llama.cpp Q4_1": llama("Q4_1"),
}
REFERENCE = "default, fp32, nothing reused"


def measure(name, count):
    """Measure one system in this process, and print what was found."""
    began = time.perf_counter()
    from rag_helpers.corpus import load_help_topics
    from rag_helpers.evaluation import bootstrap_interval, exact_match, load_gold_split, token_f1

    answer, more = SYSTEMS[name](load_help_topics())
    answer(QUESTION)
    first_s = time.perf_counter() - began
    dev = [question for question in load_gold_split("dev") if question.answers]
    asked = random.Random(0).sample(dev, count)  # noqa: S311 (a sample)
    seconds, texts = [], []
    for question in asked:
        started = time.perf_counter()
        texts.append(answer(question.question))
        seconds.append(time.perf_counter() - started)
    row = {
        "first answer, nothing cached, s": round(first_s, 1),
        **{name: round(value, 1) for name, value in more.items()},
        "p50 s": round(statistics.median(seconds), 3),
        "p95 s": round(sorted(seconds)[int(0.95 * (len(seconds) - 1))], 3),
        "peak memory MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    for metric, score in (("exact match", exact_match), ("F1", token_f1)):
        found = bootstrap_interval([score(t, q.answers) for t, q in zip(texts, asked, strict=True)])
        row[metric] = {"value": found.value, "low": found.low, "high": found.high}
    print(json.dumps({**row, "texts": texts}))


def install_llama_cpp():
    """Compile llama.cpp into the cache folder, once; return the folder, or why not."""
    from rag_helpers.environment import cache_folder

    folder = cache_folder() / "bench" / ("llama-cpp-avx2" if IS_AVX2 else "llama-cpp")
    done = folder / "installed"
    if not done.exists():
        print("Compiling llama.cpp once; this takes some minutes.", flush=True)
        command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        # pip would reuse a wheel that was compiled for another processor.
        command += ["--no-cache-dir"]
        command += ["--no-deps", "--upgrade", "--target", str(folder), *LLAMA_CPP]
        variables = {"CMAKE_ARGS": AVX2_BUILD} if IS_AVX2 else {}
        try:
            subprocess.run(command, check=True, env={**os.environ, **variables}, timeout=1800)
        except (subprocess.SubprocessError, OSError) as error:
            return None, f"llama-cpp-python could not be compiled ({type(error).__name__})"
        done.touch()
    return folder, ""


def run(name, count, path):
    """Measure a system in a process of its own, with an empty cache but for the models."""
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [sys.executable, __file__, "--system", name, "--questions", str(count)],
            env={**os.environ, "RAG_CACHE": cache, "PYTHONPATH": path},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Measure every system, write the file and print the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--questions", type=int, default=12, help="to ask each system (12)")
    parser.add_argument("--system", choices=SYSTEMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.system:
        measure(options.system, options.questions)
        return
    from rag_helpers.environment import describe_processor, versions
    from rag_helpers.evaluation import bootstrap_interval

    llama_cpp, why_not = install_llama_cpp()
    rows, texts, own = {}, {}, os.environ.get("PYTHONPATH", "")
    for name in SYSTEMS:
        if "llama" in name and llama_cpp is None:
            rows[name] = {"not run": why_not}
            continue
        path = os.pathsep.join(filter(None, [own, str(llama_cpp) if "llama" in name else ""]))
        rows[name] = run(name, options.questions, path)
        texts[name] = rows[name].pop("texts")
        print(name, rows[name], flush=True)
    for name in texts:
        same = [float(a == b) for a, b in zip(texts[name], texts[REFERENCE], strict=True)]
        found = bootstrap_interval(same)
        rows[name]["identical"] = {"value": found.value, "low": found.low, "high": found.high}
        rows[name]["times as slow as the default"] = round(
            rows[name]["p50 s"] / rows["default"]["p50 s"], 1
        )
    found = {
        "n": options.questions,
        "rows": rows,
        "processor": describe_processor(),
        "versions": versions(),
    }
    draft = FILE.with_suffix(".new")
    draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draft.replace(FILE)
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
