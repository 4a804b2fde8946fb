# %% [markdown]
# # 7 · Deployment: faster, smaller, and behind an API
#
# **Goal:** serve the system, and see a fast variant that is wrong and an overload answered by 429.
# **Time:** the cells take one to three minutes on two cores, by the processor; reading and exercises
# take longer. No network. **Needs:** notebook 05. **Terms:** [GLOSSARY](GLOSSARY.md).
#
# ![Data flow; the whole of it is served in this notebook](figures/flow_07.svg)
#
# The recipe ends with two pieces of advice: *quantize the model* (store its weights in fewer bits)
# and *wrap it in an API* (a program that answers questions sent over HTTP). Both can go wrong
# silently. So we measure quality beside every speed, and then ask the API more than it can answer.

# %%
from rag_helpers import ChatGenerator, RagPipeline, build_prompt, load_help_topics, set_seed
from rag_helpers.embedding import SentenceEmbedder
from rag_helpers.pipeline import load_index
from rag_helpers.retriever import build_retriever

set_seed(0)
index = load_index(load_help_topics())
embedder = SentenceEmbedder()
retriever = build_retriever("dense", index, embedder)

# %% [markdown]
# ## Eight bits: a toy first
#
# A weight usually takes 32 bits. *Quantization* divides a matrix by a *scale*, rounds to whole
# numbers from -127 to 127, and keeps these 8 bits and the scale. Multiplying back shows the loss:

# %%
import torch

weights = torch.tensor([[0.12, -0.50, 0.33], [0.08, 0.91, -0.27]])
scale = weights.abs().max() / 127
rounded = (weights / scale).round()
restored = rounded * scale
print(rounded.int().tolist())
print(f"largest error {(restored - weights).abs().max():.4f}, half a step is {scale / 2:.4f}")

# %% [markdown]
# PyTorch's own function does the same, there and back:

# %%
official = torch.fake_quantize_per_tensor_affine(weights, scale.item(), 0, -127, 127)
print(torch.allclose(official, restored))

# %% [markdown]
# One scale serves the whole matrix, so one large number makes the steps coarse for all others.
# Language models have such *outliers*, in what flows through their layers above all (Dettmers et
# al., 2022):
#
# ![Six weights above three rulers: the larger the largest weight, the fewer marks are left for them](figures/quantization.svg)

# %%
for largest in (1, 10, 100):
    with_outlier = torch.cat([weights, torch.tensor([[float(largest), 0, 0]])])
    step = with_outlier.abs().max() / 127
    error = ((weights / step).round() * step - weights).abs() / weights.abs()
    print(f"largest weight {largest:>3}: mean relative error {error.mean():.1%}")

# %% [markdown]
# ## Variants of the generator
#
# - *fp32* (float32): 32 bits a weight. Our model file holds 4-bit weights (Q4_1) that were
#   expanded once, so "fp32" here means de-quantized Q4_1.
# - *bf16*: 16 bits. Fast only where the processor multiplies it natively; left out elsewhere.
# - *half weights*: 16 bits in memory, 32 in arithmetic. A token needs every weight once, and
#   fetching them from memory takes longer than multiplying them. On x86 processors alone.
# - *opening reused*: all prompts begin with the same instructions. What the model computed for
#   them is kept and copied; the answers should stay the same.
# - *int8*: the recipe's `torch.quantization`, in its *dynamic* form, on every linear layer:
#   weights are rounded as above, and the *activations*, the numbers that flow between layers, as
#   they come.
# - *int8 later*: float32 reads the instructions, and eight bits take over behind them. Why that
#   should matter comes below.

# %%
from rag_helpers.environment import cpu_has_bf16
from rag_helpers.generator.half_weights import half_weights_run_here
from rag_helpers.optimization import quantize_dynamic


def load(dtype="float32", **options):
    return ChatGenerator(dtype=dtype, max_new_tokens=24, **options)


def load_later():
    whole = load()
    whole.generate(prompts[:1])  # reads the instructions
    return quantize_dynamic(whole)


variants = {
    "fp32": lambda: load(reuse_opening=False),
    "opening reused": load,
    "int8": lambda: quantize_dynamic(load(reuse_opening=False)),
    "int8 later": load_later,
}
if cpu_has_bf16():
    variants["bf16"] = lambda: load("bfloat16")
if half_weights_run_here():
    variants["half weights"] = lambda: load("half-weights")

# %% [markdown]
# All of them read the same eight prompts. That few keeps the cell short and makes the intervals
# wide; `n` stands in every figure.

# %%
from rag_helpers.evaluation import load_gold_split
from rag_helpers.prompting import CHAT

generator = load("auto")
asked = [q for q in load_gold_split("dev") if q.answers][:8]
prompts = [
    build_prompt(
        q.question,
        retriever.search(q.question, k=2),
        template=CHAT,
        count_tokens=generator.count_tokens,
        token_budget=256,
    )
    for q in asked
]

# %%
from rag_helpers.optimization import measure_generators

rows = measure_generators(variants, prompts, [q.answers for q in asked])
print(f"{'variant':<14}{'MB':>5}{'load s':>8}{'tokens/s':>10}{'p50 ms':>8}{'p95 ms':>8}{'same':>6}")
for r in rows:
    print(
        f"{r.name:<14}{r.size_mb:>5.0f}{r.load_s:>8.1f}{r.tokens_per_s:>10.1f}"
        f"{r.p50_ms:>8.0f}{r.p95_ms:>8.0f}{r.identical.value:>6.0%}"
    )

# %% [markdown]
# *p50* and *p95*: half of the questions, and 95 of 100, took no longer. The last column is the
# share of answers equal to fp32's, letter for letter. Drawn, the good variants are those at the
# top left:

# %%
from rag_helpers.plots import plot_tradeoff

axes = plot_tradeoff(
    {r.name: (r.p50_ms, r.identical.value) for r in rows},
    xlabel="median milliseconds a question",
    ylabel=f"answers equal to fp32's (n = {len(prompts)})",
)

# %% [markdown]
# "Different" need not mean "worse", so we also score the answers. And we read them:

# %%
from rag_helpers.plots import plot_intervals

scores = {r.name: (r.f1.value, r.f1.low, r.f1.high) for r in rows}
axes = plot_intervals(scores, xlabel="token F1", n=len(prompts))

# %%
for number, q in enumerate(asked[:3]):
    print(q.question)
    for r in (rows[0], rows[2]):
        print(f"  {r.name:<5}", r.texts[number][:100])

# %% [markdown]
# ### Where eight bits go wrong
#
# Activations share one scale too, and language models have *massive activations* on their first
# token (Sun et al., 2024). How much larger than a typical one is the largest number that enters
# each layer's last matrix, at the first token and at all others?

# %%
largest = []
hooks = [
    layer.mlp.down_proj.register_forward_pre_hook(
        lambda _, inputs: largest.append(inputs[0][0].abs().amax(dim=1) / inputs[0].abs().median())
    )
    for layer in generator.model.model.layers
]
with torch.inference_mode():
    generator.model(torch.tensor([generator.tokenizer(prompts[0].text).input_ids]))
for hook in hooks:
    hook.remove()

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 2.8), facecolor="white", layout="constrained")
axes.semilogy([float(tokens[0]) for tokens in largest], marker="o", label="first token")
axes.semilogy([float(tokens[1:].max()) for tokens in largest], marker="s", label="all others")
axes.set(xlabel="layer", ylabel="largest / median activation", title="What eight bits must span")
axes.legend()
axes.grid(alpha=0.3)
# %% [markdown]
# Where one number is a thousand times as large as the typical one, 255 steps leave nothing for the
# typical one. With the instructions read in float32, the first token is never rounded (a simple
# form of PrefixQuant; Chen et al., 2024). Compare *int8* and *int8 later* above: does it help, and
# does it make eight bits the same?
#
# ### Guessing and checking
#
# One word at a time, every word fetches all weights anew. An answer often quotes its passage, so
# the next words can be guessed: by what followed the last ones earlier in the text (*prompt lookup
# decoding*; Saxena, 2023).

# %%
from rag_helpers.generator.greedy import look_up

text = "The break statement ends the nearest loop. What ends it? The break"
ids = generator.tokenizer(text).input_ids
print(repr(generator.tokenizer.decode(look_up(ids, 4))))

# %% [markdown]
# The model reads all four guesses in one step and keeps those that it would have written itself
# (Leviathan et al., 2023). A wrong guess costs a little time, and never changes the text.
#
# ### The reader that answers by default
#
# So much for the model as published. The trained reader writes a few words, and was measured in
# more ways than fit here (`rag_helpers/data/results/variants.py`), on two machines: one as it is,
# with bfloat16 in hardware, and a slower one with AVX2 alone, what most laptops have:

# %%
from rag_helpers.optimization import load_reader_study

study = load_reader_study()
for name, found in study.items():
    axes = plot_tradeoff(
        {variant: (row["p50 ms"], row["identical"]["value"]) for variant, row in found.items()},
        xlabel="median milliseconds a question",
        ylabel="answers equal to fp32's (n = 30)",
    )
    axes.set_title(name)
# %% [markdown]
# The default follows a rule: the fastest whose F1 is within one point of float32's and which gives
# at least 95 % of its answers.

# %%
from rag_helpers.optimization import choose_variant

for name, found in study.items():
    print(f"{name}: {choose_variant(found)}")

# %% [markdown]
# ### Reading before anybody asks
#
# The passage stands before the question, so what the reader computes for it is the same whatever
# the question will be. It can be read today and kept on disk (RAGCache; Jin et al., 2024):

# %%
import tempfile
import time
from pathlib import Path

from rag_helpers.generator import ReadAhead

kept = tempfile.TemporaryDirectory()
tuned = ChatGenerator(adapter="auto", read_ahead=ReadAhead(kept.name))
pipeline = RagPipeline(retriever, tuned, turns=1)
passages = [hit.chunk for q in asked[:4] for hit in retriever.search(q.question, k=1)]

# %%
began = time.perf_counter()
print(f"{sum(1 for _ in pipeline.read_ahead(passages))} passages", end=" ")
print(f"in {time.perf_counter() - began:.1f} s,", end=" ")
sizes = [file.stat().st_size for file in Path(kept.name).iterdir()]
print(f"{sum(sizes) / 1e6 / len(sizes):.1f} MB each")

# %%
plain = RagPipeline(retriever, tuned.with_options(read_ahead=None), turns=1)
for q in asked[:4]:
    before, after = plain.answer(q.question), pipeline.answer(q.question)
    ms = [answer.timings_ms["generate"] for answer in (before, after)]
    print(f"{ms[0]:4.0f} → {ms[1]:4.0f} ms, same: {before.text == after.text}, {after.text[:50]}")
kept.cleanup()

# %% [markdown]
# The price is time beforehand and some megabytes a passage, of use to this model with this adapter
# alone. So it is not the default; a service keeps what it reads with `RAG_READ_AHEAD_MB=4000`.
# Where passages may be read ahead, the same rule chooses:

# %%
for name, found in study.items():
    chosen = choose_variant(found, prepared=True)
    print(f"{name}: {chosen}, {found[chosen]['p50 ms']} ms")

# %% [markdown]
# ## The same for the embedder
#
# A changed vector is harmless only if it points the same way. 1 is the same direction:

# %%
from rag_helpers.optimization import measure_embedders

texts = [chunk.text for chunk in index.chunks[:48]]
kinds = {"fp32": SentenceEmbedder, "int8": lambda: quantize_dynamic(SentenceEmbedder())}
if cpu_has_bf16():
    kinds["bf16"] = lambda: SentenceEmbedder(dtype="bfloat16")
for r in measure_embedders(kinds, texts):
    print(f"{r.name:<5} {r.size_mb:>4.0f} MB {r.texts_per_s:>6.1f} passages/s", end="  ")
    print(f"cosine to fp32: mean {r.mean_cosine:.4f}, least {r.min_cosine:.4f}")

# %% [markdown]
# Nothing need be rounded to save work that was never needed. `encode`, as the recipe calls it, pads
# each batch of 32 to its longest text and computes on the padding too. `SentenceEmbedder` lays a few
# texts end to end instead, 1,024 tokens at once, and lets each attend to itself alone. The weights
# are the same, and the vectors too but for the last digits:

# %%
from sentence_transformers import SentenceTransformer

from rag_helpers.models import quiet_loading, resolve

with quiet_loading():
    recipe = SentenceTransformer(str(resolve("all-MiniLM-L6-v2")), device="cpu")
for name, encode in (("recipe", recipe.encode), ("ours", embedder.embed)):
    began = time.perf_counter()
    vectors = encode(texts)
    print(f"{name:<7}{len(texts) / (time.perf_counter() - began):>6.1f} passages/s")
print(f"least cosine {(recipe.encode(texts[:8]) * vectors[:8]).sum(axis=1).min():.6f}")

# %% [markdown]
# The fastest vector is the one you have already. A *content hash* is a short fingerprint of what a
# vector was made from: the text, the weights, the settings. A toy: five words, three of them new.

# %%
from hashlib import sha256

kept = {}
for word in ["ice", "tea", "ice", "moon", "tea"]:
    key = sha256(word.encode()).hexdigest()[:8]
    print(word, key, "found" if key in kept else "computed")
    kept[key] = f"the vector of {word}"

# %% [markdown]
# `CachedEmbedder` does this with a file in the cache folder; `load_index` and the command `index`
# use it. Here in a folder of its own, twice, and then with one passage edited:

# %%
from rag_helpers.embedding import CachedEmbedder, EmbeddingStore

folder = tempfile.TemporaryDirectory()
cached = CachedEmbedder(embedder, EmbeddingStore(Path(folder.name)))
edited = [texts[0] + " And more.", *texts[1:]]
for name, corpus in (("first", texts), ("again", texts), ("one edited", edited)):
    began = time.perf_counter()
    cached.embed(corpus)
    print(f"{name:<11}{time.perf_counter() - began:>6.2f} s")
folder.cleanup()

# %% [markdown]
# ## A faster search: a toy first
#
# A *flat index* compares the question with every vector. An *inverted file* (IVF; Jégou et al.,
# 2011) sorts the vectors into lists around centres, and looks only into the lists nearest to the
# question. By hand, with the centres that FAISS found:

# %%
import faiss
import numpy as np

vectors = index.vectors()
question = embedder.embed(["What happens when I divide by zero?"])
ivf = faiss.index_factory(vectors.shape[1], "IVF8,Flat")
ivf.train(vectors)
ivf.add(vectors)
centres = ivf.quantizer.reconstruct_n(0, 8)
homes = ((vectors[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
near = ((question - centres) ** 2).sum(axis=1).argmin()
inside = np.flatnonzero(homes == near)
order = ((vectors[inside] - question) ** 2).sum(axis=1).argsort()
print(f"looked at {len(inside)} of {len(vectors)} vectors")
print(inside[order[:3]].tolist() == ivf.search(question, 3)[1][0].tolist())

# %% [markdown]
# What it never looks at, it cannot find: the index is *approximate*. *HNSW* (Malkov & Yashunin,
# 2020) is another kind: it links each vector to near ones, and walks along these links. So here
# too: speed beside quality (*recall@10* is now the share of the ten nearest vectors that are
# found), on our own vectors and on 20,000 *synthetic* ones that crowd together like them.

# %%
from rag_helpers.optimization import choose_lists, imitate_vectors, measure_indexes

queries = embedder.embed([q.question for q in load_gold_split("dev")[:100]])
many = imitate_vectors(vectors, 20_000)


def compare_kinds(searched):
    inverted = f"IVF{choose_lists(len(searched))},Flat"
    kinds = {"flat": ("Flat", {}), "HNSW": ("HNSW32,Flat", {"efSearch": 32})}
    for probes in (1, 4):
        kinds[f"IVF, {probes} of {choose_lists(len(searched))}"] = inverted, {"nprobe": probes}
    return measure_indexes(searched, queries, kinds)


ours, large = compare_kinds(vectors), compare_kinds(many)

# %%
figure, panels = plt.subplots(1, 2, figsize=(9, 3.2), facecolor="white", layout="constrained")
names = f"ours (n = {len(vectors)})", f"synthetic (n = {len(many):,})"
for panel, found, title in zip(panels, (ours, large), names, strict=True):
    points = {r.name: (r.queries_per_s, r.recall.value) for r in found}
    plot_tradeoff(points, xlabel="questions/s, one at a time", ylabel="recall@10", axes=panel)
    panel.set(title=title, xscale="log")

# %% [markdown]
# For a corpus of this size the flat index is exact and takes a fraction of a millisecond, where
# the generator takes hundreds of milliseconds. An approximate index starts to pay when *n* grows.
# How much, was measured once and written down.
#
# More kinds are in it: *SQ8* keeps 8 bits of each number, *PQ48* 48 bytes of each vector (product
# quantization; Jégou et al., 2011; *np*: without a training that this search has no use for).
# Points on a line are settings of the same index: look into more lists, or follow the links for
# longer. The questions are real, the vectors synthetic; `RESULTS.md` says how hard these are
# beside the real ones.

# %%
from rag_helpers.optimization import load_index_study

study = [group for group in load_index_study() if group.synthetic]
figure, panels = plt.subplots(
    1, 3, figsize=(11, 3.8), sharey=True, facecolor="white", layout="constrained"
)
for panel, group in zip(panels, study, strict=True):
    lines = {}
    for row in group.rows:
        lines.setdefault(row.family, []).append((row.queries_per_s, row.recall.value))
    plot_tradeoff(lines, xlabel="questions/s, one at a time", ylabel="recall@10", axes=panel)
    panel.set(title=f"synthetic (n = {group.n:,})", xscale="log")
    panel.get_legend().remove()
    panel.label_outer()
handles = panels[0].get_legend_handles_labels()
_ = figure.legend(*handles, loc="outside lower center", ncols=7, frameon=False, fontsize=8)
# %% [markdown]
# At a million, a question to the flat index takes a fifth of a second, and the inverted file
# answers far more of them while it misses almost nothing. The graph (HNSW), so good on our own
# vectors, does worse the more of these there are. A likely reason: they crowd in tight groups
# around the real ones, and links inside a group lead nowhere else. Yours may lie otherwise, so
# measure.
#
# Memory decides as well, and time to build:

# %%
largest = study[-1]
print(f"{largest.n:,} vectors\n{'kind':<16}{'MB':>6}{'built in s':>12}")
for kind, row in {row.kind: row for row in largest.rows}.items():
    print(f"{kind:<16}{row.size_mb:>6,.0f}{row.build_s:>12,.0f}")

# %% [markdown]
# `recommend_index` reads the same table: of what fits into the memory, reaches the recall and
# answers within five milliseconds it takes the most complete. Move the sliders:

# %%
from rag_helpers.optimization import recommend_index
from rag_helpers.widgets import IndexChooser

chooser = IndexChooser(recommend_index)
chooser

# %% [markdown]
# Where several processes serve the same index, each would hold a copy of its vectors. With
# `memory_map` they stay in their file, and the operating system shares them. Every byte is
# compared with its checksum first, as before. The price: such an index does not change.

# %%
from rag_helpers import Chunk, ChunkIndex, RagError

with tempfile.TemporaryDirectory() as folder:
    index.save(folder)
    mapped = ChunkIndex.load(folder, memory_map=True)
    print(mapped.search(question, k=3) == index.search(question, k=3))
    try:
        mapped.add([Chunk("New text.", "new.txt", 0, 9)], question)
    except RagError as error:
        print(str(error).replace(folder, "folder"))
    del mapped  # Windows removes no folder whose files are mapped

# %% [markdown]
# The recipe also names `faiss-gpu`. It is another build of the same library, installed *instead of*
# `faiss-cpu`. `move_to_gpus` copies an index to all GPUs of a machine; we have none to try it on.

# %%
from rag_helpers.optimization import move_to_gpus

try:
    print(type(move_to_gpus(ivf)).__name__)
except RagError as error:
    print(error)

# %% [markdown]
# ## The recipe's API
#
# The recipe's service in its own few lines:

# %%
from fastapi import FastAPI

pipeline = RagPipeline(retriever, generator, k=2, token_budget=256)
recipe_app = FastAPI()


@recipe_app.get("/rag")
def get_response(query: str):
    return {"response": pipeline.answer(query).text}


print(get_response("What happens when I divide by zero?"))

# %% [markdown]
# It works, for one polite user. FastAPI runs such a function in up to 40 threads at once: forty
# questions would run the model forty times at the same moment, on two cores. Nothing limits what is
# sent, nobody is turned away, and anyone who reaches the port may ask.
#
# `create_app` has the same route with the same answer, and more: **one** thread owns the model, a
# *bounded queue* (a line of fixed length) stands before it, and questions that wait together are
# answered together.
#
# ![Three questions are taken and answered; a fourth finds the queue full and is answered by 429](figures/bounded_queue.svg)
#
# `BackgroundServer` runs it beside this notebook on a free port of this machine.

# %%
import json
import urllib.error
import urllib.parse
import urllib.request

from rag_helpers.deployment import BackgroundServer, load_settings

api = BackgroundServer(pipeline, load_settings(queue_size=2, batch_size=2)).start()
query = urllib.parse.urlencode({"query": "What happens when I divide by zero?"})
with urllib.request.urlopen(f"{api.url}/rag?{query}") as reply:
    print(json.load(reply) == get_response("What happens when I divide by zero?"))

# %% [markdown]
# `POST /v1/answers` returns the citations too:

# %%


def post(path, **body):
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(api.url + path, json.dumps(body).encode(), headers)
    return urllib.request.urlopen(request, timeout=120)


message = json.load(post("/v1/answers", question="What is a decorator?", k=2))
print(message["text"][:110])
print([(one["source"], one["start"], one["end"]) for one in message["citations"]])
print({stage: round(ms) for stage, ms in message["timings_ms"].items()})

# %% [markdown]
# With `stream`, pieces come as they are written, as *server-sent events*:

# %%
with post("/v1/answers", question="What is a decorator?", k=2, stream=True) as reply:
    for line, _ in zip(reply, range(6), strict=False):
        print(line.decode().rstrip()[:100])

# %% [markdown]
# ## Asking it from a widget
#
# The widget of notebook 05 takes any callable. This one asks over HTTP. The service also has a
# small page of its own: open its address in a browser.

# %%
from rag_helpers.widgets import QuestionBox


def ask_service(question, k):
    with post("/v1/answers", question=question, k=k, stream=True) as reply:
        for line in reply:
            if line.startswith(b"data: "):
                data = json.loads(line[6:])
                sources = [one["source"] for one in data.get("citations", [])]
                yield f" [{', '.join(sources)}]" if sources else data.get("text", "")


box = QuestionBox(ask_service, examples=["What does pass do?", "How do I stop a loop early?"], k=2)
box.run()
box

# %% [markdown]
# ## More than it can answer
#
# The queue of our service holds two questions. Ten come at once:

# %%
from collections import Counter
from concurrent.futures import ThreadPoolExecutor


def status_of(number):
    try:
        with post("/v1/answers", question=f"What is a loop? ({number})", k=2) as reply:
            return reply.status, None
    except urllib.error.HTTPError as error:
        wait = error.headers["Retry-After"]
        return error.code, f"{json.load(error)['error']} Retry after {wait} s."


with ThreadPoolExecutor(10) as clients:
    outcomes = list(clients.map(status_of, range(10)))
print(Counter(status for status, _ in outcomes))
print(next(sentence for _, sentence in outcomes if sentence))

# %% [markdown]
# Status 200 means *OK*, 429 *too many requests*. A quick "come back in a few seconds" is better
# than a slow failure for everybody: those who were let in got their answers. What is malformed or
# too long is refused before it reaches the model:

# %%
for body in ({"question": " "}, {"question": "x" * 2001}, {"question": "x" * 100_000}):
    try:
        post("/v1/answers", **body)
    except urllib.error.HTTPError as error:
        print(error.code, json.load(error)["error"])

# %% [markdown]
# `RAG_RATE_PER_MINUTE` limits what a single client may ask. And how is it doing? `/metrics` counts
# routes, statuses and times in the format of Prometheus, a program that watches services; no
# question is in it:

# %%
with urllib.request.urlopen(f"{api.url}/metrics") as reply:
    lines = reply.read().decode().splitlines()
print("\n".join(line for line in lines if line.startswith("rag_requests_total")))

# %% [markdown]
# ## Who may ask?
#
# By default only programs on this machine. To listen elsewhere the service insists on a key:

# %%
try:
    load_settings(host="0.0.0.0", api_key=None)
except RagError as error:
    print(error)

# %% [markdown]
# Stopping lets those end whose questions were taken, and then closes the port:

# %%
with ThreadPoolExecutor(2) as clients:
    last = clients.submit(status_of, 99)
    time.sleep(0.2)  # the question is on its way
    api.stop()
print("the last question:", last.result()[0])
try:
    urllib.request.urlopen(api.url + "/healthz", timeout=5)
except urllib.error.URLError as error:
    print("afterwards:", type(error.reason).__name__)

# %% [markdown]
# The widget above has nobody to ask now, so another service takes over until the kernel ends:

# %%
api = BackgroundServer(pipeline, load_settings(queue_size=2, batch_size=2)).start()
print(api.url.startswith("http://127.0.0.1:"))

# %% [markdown]
# From a terminal, `make serve` (or `python -m rag_helpers serve`) does the same in the foreground;
# its settings come from variables such as `RAG_PORT` and `RAG_API_KEY`. The repository has a
# `Dockerfile` and a `compose.yaml` that wrap it, and `SECURITY.md` says what it defends against.
#
# The recipe names Flask as well. It is not installed with this course, which only tests these lines;
# there the route reads
#
# ```python
# from flask import Flask, request
#
# app = Flask(__name__)
#
#
# @app.get("/rag")
# def get_response():
#     return {"response": pipeline.answer(request.args["query"]).text}
# ```
#
# with the same gaps: queue, limits and key would be yours to add. A request without `query` gets
# 400 and a page in HTML from Flask, where FastAPI names the missing field in JSON with 422. A
# blank question ends both in 500, since nobody turns our error into a status; `create_app` answers
# 422.
#
# **Think about it.** Choose an answer, press *Check*, and read why.
# The [exercises](exercises/07_deployment_exercises.ipynb) to this notebook check themselves.

# %%
from rag_helpers.widgets import build_choice_box

build_choice_box("07_deployment")

# %% [markdown]
# ## Main take-away
#
# - Report a speed only with its quality beside it; "faster" may mean "wrong".
# - Choose an index by measuring recall at your own size; small corpora need nothing but flat.
# - A service needs a bounded queue and a way to say no.
#
# **What's next:** your own documents. `python -m rag_helpers serve --corpus my_documents` takes a
# folder; notebook 05 shows how to tell whether its answers are any good.
