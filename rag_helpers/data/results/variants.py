"""Measures variants of the tuned reader side by side: how fast, how large, how good, how alike.

``python rag_helpers/data/results/variants.py`` writes ``variants.json`` beside this file: once on
the processor as it is, and once as if it had AVX2 and nothing newer, which is what most laptops
have. Every variant runs in a process of its own, so that its peak of memory is its own, and reads
what the default pipeline would give it first for the dev questions. The first variant is what the
others should agree with. What is not installed is "not run": see the extra ``fast``.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILE = Path(__file__).with_name("variants.json")
# Each library has its own word for the same wish.
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "FBGEMM_ENABLE_AVX512": "0",
    "CT2_FORCE_CPU_ISA": "AVX2",
}
FOLDERS, PREPARED = [], {}
PROCESSORS = {"as it is": {}, "AVX2 only": AVX2}


def reader(**options):
    """Load the tuned reader, asked for a few words."""
    from rag_helpers.generator import ChatGenerator

    return ChatGenerator(adapter="auto", **{"dtype": "float32", **options})


def after_opening(change, prompts):
    """Let float32 read what all prompts begin with, and only then change the model."""
    whole = reader()
    whole.generate(prompts[:1])
    return change(whole)


def ahead(prompts, **options):
    """Let the reader read all that comes before the questions first, kept on disk."""
    from rag_helpers.generator import ReadAhead

    FOLDERS.append(tempfile.TemporaryDirectory())  # goes when the process ends
    folder = Path(FOLDERS[-1].name)
    whole = reader(read_ahead=ReadAhead(folder), **options)
    began = time.perf_counter()
    for _ in whole.read_beginnings(prompts):
        pass
    seconds = time.perf_counter() - began
    size = [file.stat().st_size for file in folder.iterdir()]
    PREPARED["ms a passage beforehand"] = round(1000 * seconds / len(prompts))
    PREPARED["MB a passage on disk"] = round(sum(size) / len(size) / 1e6, 1)
    return whole


def build(prompts):
    """Return the variants: name → (function that loads it, prompts at once)."""
    from rag_helpers.environment import cpu_has_bf16
    from rag_helpers.generator import HALF_WEIGHTS
    from rag_helpers.generator.half_weights import half_weights_run_here
    from rag_helpers.optimization import CTranslate2Generator, quantize_dynamic, quantize_torchao
    from rag_helpers.pipeline import GUESSES

    guessing = {"prompt_lookup": GUESSES}
    variants = {
        "fp32, nothing reused": (lambda: reader(reuse_opening=False), 1),
        "fp32, opening reused": (reader, 1),
        "fp32, eight at once": (reader, 8),
        "fp32, prompt lookup": (lambda: reader(**guessing), 1),
        "fp32, passages read ahead": (lambda: ahead(prompts), 1),
    }
    if half_weights_run_here():
        half = {"dtype": HALF_WEIGHTS}
        variants["half weights"] = (lambda: reader(**half), 1)
        variants["half weights, prompt lookup"] = (lambda: reader(**half, **guessing), 1)
        variants["half weights, lookup, read ahead"] = (
            lambda: ahead(prompts, **half, **guessing),
            1,
        )
    if cpu_has_bf16():
        bfloat16 = {"dtype": "bfloat16"}
        variants["bf16, opening reused"] = (lambda: reader(**bfloat16), 1)
        variants["bf16, prompt lookup"] = (lambda: reader(**bfloat16, **guessing), 1)
        variants["bf16, lookup, read ahead"] = (lambda: ahead(prompts, **bfloat16, **guessing), 1)
    variants |= {
        "torch int8 (the recipe's)": (lambda: quantize_dynamic(reader(reuse_opening=False)), 1),
        "torch int8 after an fp32 opening": (lambda: after_opening(quantize_dynamic, prompts), 1),
        "torchao int8": (lambda: quantize_torchao(reader(reuse_opening=False)), 1),
        "CTranslate2 int8": (lambda: CTranslate2Generator(reader()), 1),
    }
    return variants


def ask(count):
    """Return prompts and known answers: what the default pipeline reads first."""
    from rag_helpers.evaluation import load_gold_split
    from rag_helpers.pipeline import load_pipeline
    from rag_helpers.prompting import build_prompt

    pipeline = load_pipeline(style="short")
    questions = [question for question in load_gold_split("dev") if question.answers]
    questions = random.Random(0).sample(questions, min(count, len(questions)))  # noqa: S311
    prompts = [
        build_prompt(
            one.question,
            pipeline.retriever.search(one.question, k=1),
            template=pipeline.template,
            count_tokens=pipeline.generator.count_tokens,
            token_budget=pipeline.token_budget,
        )
        for one in questions
    ]
    return prompts, [list(one.answers) for one in questions]


def measure(name, file):
    """Measure one variant in this process, and print what was found."""
    import pickle

    from rag_helpers.errors import MissingExtraError
    from rag_helpers.optimization import measure_generators

    prompts, gold = pickle.loads(Path(file).read_bytes())  # noqa: S301 (written by `main`)
    load, at_once = build(prompts)[name]
    sizes = []

    def remembering():
        generator = load()
        sizes.append(getattr(generator, "size_mb", None))
        return generator

    try:
        [row] = measure_generators({name: remembering}, prompts, gold, at_once=at_once)
    except MissingExtraError as error:
        print(json.dumps({"not run": str(error)}))
        return
    found = {
        "size MB": round(sizes[0] or row.size_mb),
        "load s": round(row.load_s, 1),
        "tokens/s": round(row.tokens_per_s, 1),
        "p50 ms": round(row.p50_ms),
        "p95 ms": round(row.p95_ms),
        "peak memory MB": round(peak_memory_mb()),
        "exact match": interval(row.exact_match),
        "F1": interval(row.f1),
        "texts": row.texts,
        **PREPARED,
    }
    print(json.dumps(found))


def peak_memory_mb():
    """Return this process' own peak (Linux); ru_maxrss would begin with its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def interval(found):
    """Return an interval as JSON keeps it."""
    return {"value": found.value, "low": found.low, "high": found.high}


def run(arguments, environment):
    """Run this file once more, and return what it printed last."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env={**os.environ, **environment},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Measure every variant on both processors, and write the file."""
    import pickle

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--questions", type=int, default=40, help="to ask each variant (40)")
    parser.add_argument("--only", choices=PROCESSORS, help="measure one group, keep the other")
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    parser.add_argument("--prompts", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant == "list":
        from rag_helpers.environment import describe_processor

        print(json.dumps({"names": list(build([])), "processor": describe_processor()}))
        return
    if options.variant:
        measure(options.variant, options.prompts)
        return
    from rag_helpers.environment import versions
    from rag_helpers.evaluation import bootstrap_interval

    prompts, gold = ask(options.questions)
    groups = json.loads(FILE.read_text(encoding="utf-8"))["groups"] if options.only else {}
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "prompts")
        kept.write_bytes(pickle.dumps((prompts, gold)))
        for group, environment in PROCESSORS.items():
            if options.only not in (None, group):
                continue
            known = run(["--variant", "list"], environment)
            rows, reference = {}, None
            for name in known["names"]:
                row = run(["--variant", name, "--prompts", str(kept)], environment)
                texts = row.pop("texts", None)
                if texts:
                    reference = reference or texts
                    same = [float(a == b) for a, b in zip(texts, reference, strict=True)]
                    row["identical"] = interval(bootstrap_interval(same))
                rows[name] = row
                print(group, name, row, flush=True)
            groups[group] = {"processor": known["processor"], "rows": rows}
    found = {"n": len(prompts), "groups": groups, "versions": versions()}
    draft = FILE.with_suffix(".new")
    draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draft.replace(FILE)


if __name__ == "__main__":
    main()
