# %% [markdown]
# # 8 · Past one machine (optional)
#
# **Goal:** run the same steps on several nodes, kill one, and work out what a larger corpus takes.
# **Time:** the cells take one to three minutes on two cores, by the processor; reading takes
# longer. No network. **Needs:** notebooks 05 and 07, and once
# `python -m rag_helpers install --scale` (Ray and Milvus, about 350 MB).
#
# ![Data flow; in this appendix it runs on several nodes](figures/flow_07.svg)
#
# An index in one process ends where its memory ends. Past that, existing engines do the work:
# *Ray* spreads it over machines and *Milvus* keeps the vectors. Nothing distributed is written in
# this course. The records, the retrievers and the evaluation stay; two lines change.
#
# This machine plays the cluster: every node is a set of processes of its own, so that one can be
# killed while the others go on.

# %%
from importlib.util import find_spec

READY = all(find_spec(name) for name in ("ray", "pymilvus", "milvus_lite"))
if READY:
    print("Ray and Milvus are here.")
else:
    print("Without Ray and Milvus the cells that need them are passed over; to get them:")
    print("python -m rag_helpers install --scale")

# %% [markdown]
# ## One process first
#
# The index and the search that you know:

# %%
from rag_helpers import load_help_topics, set_seed
from rag_helpers.embedding import SentenceEmbedder
from rag_helpers.pipeline import load_index
from rag_helpers.retriever import build_retriever

set_seed(0)
documents = load_help_topics()
index = load_index(documents)
embedder = SentenceEmbedder()
retriever = build_retriever("hybrid", index, embedder)
for hit in retriever.search("What happens when I divide by zero?", k=3):
    print(f"{hit.score:.3f} {hit.chunk.source}")

# %% [markdown]
# ## The two lines
#
# `MilvusIndex` has the `search` of `ChunkIndex`, and `build_milvus_retriever` gives the same three
# retrievers. A path ending in `.db` means *Milvus Lite*, inside this process; a server's address,
# such as `http://milvus.example:19530`, means a cluster, and no other line changes.

# %%
import contextlib
import tempfile
from pathlib import Path

from rag_helpers.scaling import LocalMilvus, MilvusIndex, build_milvus_retriever

stack = contextlib.ExitStack()  # the last cell closes what is opened here
folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
if READY:
    server = stack.enter_context(LocalMilvus(folder / "milvus"))
    milvus = stack.enter_context(
        MilvusIndex(server.uri, dimension=index.dimension, model=index.model)  # line one
    )
    milvus.add(index.chunks, index.vectors())
    scaled = build_milvus_retriever("hybrid", milvus, embedder)  # line two
    for hit in scaled.search("What happens when I divide by zero?", k=3):
        print(f"{hit.score:.3f} {hit.chunk.source}")

# %% [markdown]
# Are they the same? For dense search we want the same ten hits in the same order; only where two
# scores differ by less than 0.00001 may chunks change places, since both engines round.

# %%
from rag_helpers.evaluation import load_gold_split
from rag_helpers.scaling import same_hits

gold = [question for question in load_gold_split("dev") if question.answers]
if READY:
    vectors = embedder.embed([question.question for question in gold])
    same = [same_hits(index.search(v, 10)[0], milvus.search(v, 10)[0]) for v in vectors]
    print(f"the same ten hits for {sum(same)} of {len(same)} questions")

# %% [markdown]
# Words are counted by Milvus' own BM25, which may weigh a rare word a little otherwise: Milvus Lite
# counts in each of its segments by itself. So hybrid search is compared by what it finds:

# %%
from rag_helpers.evaluation import evaluate

if READY:
    for name, one in (("one process", retriever), ("Milvus", scaled)):
        report = evaluate(None, gold, documents, search=one.search)
        mrr = report.metrics["mrr@10"]
        print(f"{name:<12} MRR@10 {mrr.value:.3f} [{mrr.low:.3f}, {mrr.high:.3f}] n = {len(gold)}")

# %% [markdown]
# ## Embedding on several nodes
#
# `ingest` streams documents through Ray Data: tasks read, clean and cut them, a pool of *actors*
# embeds them, each with an encoder of its own. A part of the corpus becomes one Parquet file, a
# *shard*. Its name is the hash of the content and the settings, so the same work has the same name
# on every node.

# %%
from functools import partial

from rag_helpers.scaling import DocumentSource, LocalCluster, ingest

source = DocumentSource(documents[:12], documents_per_part=2)
if READY:
    cluster = stack.enter_context(LocalCluster(nodes=2))
    topics = stack.enter_context(
        MilvusIndex(server.uri, "topics", dimension=index.dimension, model=index.model)
    )
    step = partial(ingest, source, folder / "shards", topics, SentenceEmbedder)
    print(f"{cluster.nodes} nodes, {len(list(source.parts()))} parts to embed")

# %% [markdown]
# Now the worst moment: as soon as two parts are done, a node is killed with all its processes. What
# begins with `(raylet)` below is Ray's own report of it.

# %%
killed = []


def kill_once(done, parts):
    if done == 2 and not killed:
        killed.append(cluster.kill_node())


if READY:
    report = step(window_words=None, progress=kill_once)
    print(f"{report.chunks} chunks of {report.parts} parts in {report.seconds:.0f} s")
    print(f"Milvus holds {len(topics)}; {len(killed)} node was killed")

# %% [markdown]
# Nothing was lost and nothing is there twice: Ray does the lost parts again on the node that is
# left, and a chunk that comes again replaces itself, since its row is named by the hash of its
# content. For the same reason a second call has nothing to do:

# %%
if READY:
    again = step(window_words=None)
    print(f"{again.passed_over} of {again.parts} parts were done, {again.chunks} chunks written")

# %% [markdown]
# ## Serving from several nodes
#
# `serve_on_ray` runs the application of notebook 07, unchanged, in *replicas*. Each has a queue of
# its own. If a replica dies, Serve starts another; whoever was waiting for its answer asks again,
# which is safe because an answer changes nothing. `ask` does that.

# %%
from rag_helpers import ExtractiveGenerator, RagPipeline
from rag_helpers.deployment import load_settings
from rag_helpers.scaling import ask, serve_on_ray
from rag_helpers.scaling.cluster import free_port


def load_served(uri):
    found = MilvusIndex(uri, "chunks")
    words = build_milvus_retriever("keyword", found, None)
    return RagPipeline(words, ExtractiveGenerator())


if READY:
    cluster.add_node()
    settings = load_settings(host="127.0.0.1", port=free_port(), api_key=None)
    url = serve_on_ray(partial(load_served, server.uri), settings, replicas=2, per_node=1)
    print(ask(url, "What does break do in a loop?").message["text"])

# %%
if READY:
    cluster.kill_node()
    replies = [ask(url, question.question) for question in gold[:10]]
    print(f"{len(replies)} answers, {sum(one.tries > 1 for one in replies)} asked again")

# %% [markdown]
# ## What it costs
#
# A cluster on one machine is slower than one process on the same cores: it starts processes, copies
# data between them and loads an encoder per actor. It pays only when there are more cores than one
# machine has, or more vectors than its memory. `make scale-demo` measured both ways:

# %%
from rag_helpers.errors import InvalidInputError
from rag_helpers.scaling import load_measured

try:
    measured = load_measured()
    for name, row in measured["throughput"].items():
        print(f"{name:<12} {row['chunks']} chunks in {row['seconds']:.0f} s")
    for row in measured["growth"]:
        print(f"{row['chunks']:>9,} synthetic chunks: Milvus {row['milvus_peak_mb']:,} MB", end="")
        print(f", a flat search {row['search_ms']:,.0f} ms")
except InvalidInputError as error:
    print(error)

# %% [markdown]
# ## A million, a hundred million
#
# The rest is arithmetic. A vector of 384 numbers takes 4 bytes each; a *flat* index keeps them all
# in memory and compares the question with each one. What else there is:
#
# - *HNSW* (Malkov and Yashunin, 2020) adds 64 links per vector and walks along them: more memory,
#   far fewer comparisons.
# - *PQ* (Jégou, Douze and Schmid, 2011) keeps a code of 48 bytes instead of the vector: little
#   memory, and some neighbours are missed.
# - *DiskANN* (Subramanya et al., 2019) keeps codes in memory, and vectors and links on a fast disk.
#
# By hand, for a million chunks with one vector each:

# %%
from rag_helpers.scaling import INDEX_KINDS, vector_bytes

for kind in INDEX_KINDS:
    memory, disk = (1_000_000 * size / 1e9 for size in vector_bytes(kind, 384))
    print(f"{kind:<8} {memory:6.2f} GB of memory {disk:6.2f} GB of disk")

# %% [markdown]
# `plan_capacity` multiplies the measured rates. What a node has and what it costs are *assumptions*,
# and yours to change: the two prices below are round numbers, not anybody's offer.

# %%
from rag_helpers.scaling import Node, Prices, load_rates, plan_capacity

node = Node(cores=16, memory_gb=64, disk_gb=1000)
prices = Prices(node_hour=1.0, disk_gb_month=0.1)


def describe(chunks, kind):
    plan = plan_capacity(chunks, load_rates(), node, kind=kind, prices=prices)
    scan = "measure it" if plan.scan_ms is None else f"{plan.scan_ms:,.0f} ms"
    return [
        ("vectors", f"{plan.vectors:,}"),
        ("memory, one copy", f"{plan.memory_gb:,.1f} GB on {plan.nodes} nodes"),
        ("disk", f"{plan.disk_gb:,.1f} GB"),
        ("embedding", f"{plan.embed_core_hours:,.0f} core hours, {plan.cost_once:,.0f} once"),
        ("a search", scan),
        ("a month", f"{plan.cost_month:,.0f}"),
        ("gives out first", plan.bottleneck),
    ]


# %%
import ipywidgets as ipw

exponent = ipw.IntSlider(value=6, min=4, max=9, description="chunks 10^")
kind = ipw.Dropdown(options=INDEX_KINDS, description="index")
shown = ipw.HTML()


def show(_=None):
    try:
        rows = describe(10**exponent.value, kind.value)
    except InvalidInputError as error:
        rows = [("not yet", str(error))]
    shown.value = "".join(f"<div>{name}: <b>{value}</b></div>" for name, value in rows)


for control in (exponent, kind):
    control.observe(show, "value")
show()
ipw.VBox([exponent, kind, shown])

# %% [markdown]
# Move the slider from 6 to 8. At a million chunks nearly everything fits; at a hundred million the
# answer is *sharding* (each node searches its part, and the best of all are taken), *codes instead
# of vectors*, *replicas* for more questions a second, and loading shards in bulk instead of row by
# row. `MilvusIndex(…, index_type="HNSW")` or, on a server, `"IVF_PQ"` and `"DISKANN"` choose the
# index; what they miss must be measured as in notebook 07.

# %%
stack.close()
print("The nodes and the server have ended.")

# %% [markdown]
# **Think about it.** Choose an answer, press *Check*, and read why.

# %%
from rag_helpers.widgets import build_choice_box

build_choice_box("08_scaling")

# %% [markdown]
# ## Main take-away
#
# - Name work by its content: then it can be done twice and is there once.
# - A cluster on the same cores is slower. It buys memory, cores and survival.
# - Work out on paper what gives out first; then measure that.
