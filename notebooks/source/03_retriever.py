# %% [markdown]
# # 3 · Retriever: finding the right passage
#
# **Goal:** choose a retriever, and see each one alone win, and fusion lose.
# **Time:** the cells take half a minute to a minute and a half on two cores, by the processor, the
# corpus being embedded already; reading and exercises take longer. No network.
# **Needs:** notebook 02. **Terms:** [GLOSSARY](GLOSSARY.md).
#
# ![Data flow; lit in this notebook: embed, index, search](figures/flow_03.svg)
#
# A *dense retriever* turns texts into vectors such that texts with similar meaning lie close
# together; a *keyword retriever* counts words. We build both, join them, and measure.

# %% [markdown]
# ## Vectors: a toy first
#
# The embedder maps a text to 384 numbers. Close in meaning should be close in space:

# %%
from rag_helpers import SentenceEmbedder

embedder = SentenceEmbedder("all-MiniLM-L6-v2")
texts = ["How do I divide numbers?", "Division of integers yields a float.", "Cats sleep a lot."]
vectors = embedder.embed(texts)
print(vectors.shape, vectors.dtype)
print((vectors @ vectors.T).round(2))

# %% [markdown]
# The numbers are *cosines*: 1 means the same direction. The question (first row) lies closer to
# the sentence about division than to the one about cats, although it shares no word with either.
#
# ![A question, a passage near to it and one far away, as arrows of length 1: a small angle is a short distance](figures/embedding_space.svg)
#
# ## An index by hand
#
# The recipe uses FAISS `IndexFlatL2`: it compares the question with every vector and returns the
# smallest squared Euclidean distances (*L2*). In NumPy that is two lines:

# %%
import faiss
import numpy as np

question = embedder.embed(["splitting a number"])
distances = ((vectors - question) ** 2).sum(axis=1)
by_hand = np.argsort(distances)

index = faiss.IndexFlatL2(vectors.shape[1])
index.add(vectors)
found_distances, found = index.search(question, k=3)
print(by_hand.tolist() == found[0].tolist(), np.allclose(distances[by_hand], found_distances[0]))

# %% [markdown]
# `ChunkIndex` keeps the chunks beside their vectors, so that a hit is a passage and not a row
# number. Its score is `1 - distance / 2`, which for vectors of length 1 is the cosine:

# %%
from rag_helpers import Chunk, ChunkIndex

toy = ChunkIndex(embedder.dimension, metric="l2", model=embedder.name)
toy.add([Chunk(t, f"toy{i}", 0, len(t)) for i, t in enumerate(texts)], vectors)
hits = toy.search(question, k=3)[0]
print([hit.chunk.source for hit in hits], [round(hit.score, 3) for hit in hits])
print(np.allclose([hit.score for hit in hits], (vectors @ question[0])[by_hand], atol=1e-5))

# %% [markdown]
# ## The real corpus
#
# The first time, all help topics are embedded. The index is then kept in the cache folder, so the
# next notebook need not wait for it.

# %%
from rag_helpers import load_help_topics
from rag_helpers.pipeline import load_index

documents = load_help_topics()
index = load_index(documents)
print(f"{len(index)} chunks, {index.dimension} dimensions, metric {index.metric}")

# %%
from rag_helpers import DenseRetriever

dense = DenseRetriever(index, embedder)
for hit in dense.search("What happens when I divide by zero?", k=3):
    print(
        f"{hit.rank}. {hit.score:.3f} {hit.chunk.source}: {' '.join(hit.chunk.text.split())[:80]}"
    )

# %% [markdown]
# ## A map of the corpus
#
# 384 dimensions do not fit on paper. A *principal component analysis* keeps the two directions in
# which the chunks differ most; expect some hits to look far away that are near in truth.

# %%
from rag_helpers.plots import plot_map

query = "What happens when I divide by zero?"
hits = dense.search(query, k=5)
row = {chunk.id: number for number, chunk in enumerate(index.chunks)}
axes = plot_map(index.vectors(), embedder.embed([query])[0], [row[h.chunk.id] for h in hits])

# %% [markdown]
# ## Distance or inner product?
#
# MiniLM's vectors are *normalized* to length 1, and then L2 and inner product rank alike. Without
# normalization they need not. DPR, *dense passage retrieval* (Karpukhin et al., 2020), was trained
# for inner product on raw vectors, so an L2 index is the wrong one for it.

# %%
raw_embedder = SentenceEmbedder("all-MiniLM-L6-v2", normalize=False)
sample = [chunk.text for chunk in index.chunks[:150]]
raw, asked = raw_embedder.embed(sample), raw_embedder.embed([query])


def same_order(vectors, question):
    by_distance = np.argsort(((vectors - question) ** 2).sum(axis=1), kind="stable")[:10]
    by_product = np.argsort(-(vectors @ question.T)[:, 0], kind="stable")[:10]
    return by_distance.tolist() == by_product.tolist()


unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
print("lengths from", np.linalg.norm(raw, axis=1).min().round(2), "to",
      np.linalg.norm(raw, axis=1).max().round(2))  # fmt: skip
print("normalized, same top 10:", same_order(unit, asked), "· raw:", same_order(raw, asked))

# %% [markdown]
# ## DPR, where it can be had
#
# DPR is the recipe's other retriever. It has two *encoders* (models that turn text into vectors),
# one for passages and one for questions. It does not come with the install, so this cell needs the
# hub once. Without it, one sentence says so.

# %%
from rag_helpers import RagError
from rag_helpers.embedding import load_embedders

try:
    passages, questions = load_embedders("facebook/dpr-ctx_encoder-single-nq-base")
    print(passages.dimension, passages.metric)
except RagError as error:
    print(str(error).split(" (")[0])

# %% [markdown]
# ## Keywords: BM25
#
# BM25 (Robertson & Zaragoza, 2009) scores a passage by the question's words it holds: rare words
# count more, repeats count less and less, long passages are held back. The *tokenizer* decides
# what a word is. Some drop `@` and `:=`, which this corpus explains; ours keeps them, and cuts
# words to their stems.

# %%
from rag_helpers import KeywordRetriever
from rag_helpers.retriever import split_terms

print(split_terms("What does the @ symbol above a function mean? x := __init__"))
keyword = KeywordRetriever(index.chunks)
for hit in keyword.search("What does the @ symbol above a function mean?", k=3):
    print(f"{hit.rank}. {hit.score:.2f} {hit.chunk.source}")

# %% [markdown]
# ## Fusion
#
# *Fusion* joins the lists of several retrievers, as our *hybrid* does. Their scores are not
# comparable, ranks are. *Reciprocal rank fusion* (Cormack et al., 2009) gives each passage the sum
# of 1 / (60 + rank) over the lists it stands in:

# %%
lists = [["a", "b", "c"], ["c", "a", "d"]]
score = {}
for ranking in lists:
    for rank, name in enumerate(ranking, start=1):
        score[name] = score.get(name, 0) + 1 / (60 + rank)
print(sorted(score, key=score.get, reverse=True))

# %%
from rag_helpers import HybridRetriever
from rag_helpers.retriever import build_retriever

hybrid = HybridRetriever([dense, keyword])
retrievers = {"dense": dense, "keyword": keyword, "hybrid": hybrid}

# %% [markdown]
# ## Measured on questions with known answers
#
# *Recall@k*: the share of questions with a right passage among the first k (elsewhere also *hit
# rate* or *success@k*). *MRR@10*, the mean reciprocal rank: the mean of 1 / rank of the first
# right passage, 0 where the first ten hold none. Dev questions only: the test questions are for
# the last look.

# %%
from rag_helpers.evaluation import Judge, bootstrap_interval, load_gold_split

gold = [q for q in load_gold_split("dev") if q.answers]
judge = Judge(documents, gold)
gold = [q for q in gold if q.id in judge.spans]


def first_right_ranks(retriever, k=10, questions=gold):
    return {q.id: judge.first_right(q.id, retriever.search(q.question, k)) for q in questions}


ranks = {name: first_right_ranks(retriever) for name, retriever in retrievers.items()}

# %%
print(f"n = {len(gold)}, 95 % bootstrap intervals")
for name, found in ranks.items():
    at_5 = bootstrap_interval([float(r is not None and r <= 5) for r in found.values()])
    mrr = bootstrap_interval([1 / r if r else 0.0 for r in found.values()])
    print(f"{name:<8} recall@5 {at_5}   MRR@10 {mrr}")

# %%
from rag_helpers.plots import plot_settings

curves = {}
for name, found in ranks.items():
    at = [
        bootstrap_interval([float(bool(r) and r <= k) for r in found.values()])
        for k in (1, 3, 5, 10)
    ]
    curves[name] = [(i.value, i.low, i.high) for i in at]
axes = plot_settings([1, 3, 5, 10], curves, xlabel="k", ylabel="recall@k", n=len(gold))

# %% [markdown]
# ## Who wins where
#
# An average hides that each retriever finds passages that the others miss.


# %%
def better(one, others):
    return [q.question for q in gold
            if (ranks[one][q.id] or 99) < min(ranks[o][q.id] or 99 for o in others)]  # fmt: skip


for one in retrievers:
    wins = better(one, [other for other in retrievers if other != one])
    print(f"\n{one} alone is best on {len(wins)} questions, such as")
    print("\n".join(f"  · {question}" for question in wins[:3]))

# %%
lost = [q for q in gold if (ranks["hybrid"][q.id] or 99) > (ranks["dense"][q.id] or 99)]
print(f"Fusion ranks the right passage lower than dense alone on {len(lost)} of {len(gold)}:")
for q in lost[:3]:
    print(f"  · {q.question} (dense {ranks['dense'][q.id]}, hybrid {ranks['hybrid'][q.id]})")

# %% [markdown]
# When one retriever is right and the other has no idea, fusion dilutes the right list. It can help
# on average where both are often right, on different questions. By kind of question, few of each:

# %%
kinds = sorted({q.kind for q in gold})
print(f"{'recall@5':<12}" + "".join(f"{name:>10}" for name in retrievers))
for kind in kinds:
    ids = [q.id for q in gold if q.kind == kind]
    shares = [sum(bool(r[i]) and r[i] <= 5 for i in ids) / len(ids) for r in ranks.values()]
    print(f"{kind:<12}" + "".join(f"{share:>10.2f}" for share in shares) + f"   n = {len(ids)}")

# %% [markdown]
# ## Small to big
#
# A question asks for one sentence, and a passage holds ten. So the default index holds several
# vectors per chunk: one of the whole, and one for each *window* of at most 40 words, behind the
# title and heading. A chunk is as near as the nearest of them; what is returned is still the whole
# chunk. Hardly a window passes the embedder's 256 tokens, so little goes unread.

# %%
from rag_helpers.pipeline import WINDOW_WORDS

windows = load_index(documents, window_words=WINDOW_WORDS)
print(f"{len(windows)} chunks, {sum(windows.counts)} vectors")
retrievers["windows"] = DenseRetriever(windows, embedder)
ranks["windows"] = first_right_ranks(retrievers["windows"])

# %% [markdown]
# ## Better fusion
#
# Ranks throw away how much better the first hit is than the second. The package's default instead
# standardizes each list's scores (mean 0, deviation 1) and adds them, the keywords' at half
# weight. The choice was made on train and dev questions; here it is beside the others on dev
# alone, which therefore flatters it.

# %%
default = build_retriever("hybrid", windows, embedder)
retrievers["default"] = default
ranks["default"] = first_right_ranks(default)
for name, found in ranks.items():
    mrr = bootstrap_interval([1 / r if r else 0.0 for r in found.values()])
    print(f"{name:<8} MRR@10 {mrr}")

# %% [markdown]
# Intervals that overlap do not settle it. Both systems answered the same questions, so compare
# them *paired*, question by question. *p* is how often chance alone gives a difference as large:
# the signs are flipped at random, ten thousand times (Fisher's randomization test; Smucker et al.,
# 2007).

# %%
from rag_helpers.evaluation import paired_test

ours, dense_alone = ([1 / r if r else 0.0 for r in ranks[n].values()] for n in ("default", "dense"))
gain = paired_test(ours, dense_alone)
print(f"default minus dense, paired: {gain.difference}, p = {gain.p:.4f}, n = {gain.n}")

# %% [markdown]
# ## Chunk size, measured
#
# Notebook 02 asked which chunk size keeps evidence whole. Which one is *found* best? The recipe's
# cut, in other sizes, over four topics that many questions are about. `FULL = True` takes every
# topic, and far longer.

# %%
from rag_helpers import split_by_words
from rag_helpers.corpus import remove_stop_words

FULL = False
corner = {"debugger", "string-methods", "formatstrings", "attribute-access"}
part = [document for document in documents if FULL or document.source in corner]
asked = [q for q in gold if FULL or q.source in corner]


def measure(size, clean=str):
    chunks = split_by_words(part, size=size)
    fresh = ChunkIndex(embedder.dimension)
    fresh.add(chunks, embedder.embed([clean(chunk.text) for chunk in chunks]))
    found = first_right_ranks(DenseRetriever(fresh, embedder, collapse=False), questions=asked)
    return [1 / r if r else 0.0 for r in found.values()]


# %%
sizes = [50, 100, 200, 400]
scores = {size: measure(size) for size in sizes}
means = {size: bootstrap_interval(each) for size, each in scores.items()}
curve = {"MRR@10": [(means[size].value, means[size].low, means[size].high) for size in sizes]}
axes = plot_settings(sizes, curve, xlabel="words in a chunk", ylabel="MRR@10", n=len(asked))

# %% [markdown]
# So few questions cannot tell neighbouring sizes apart. The whole corpus and the train questions
# too, from a file of results that comes with the course:

# %%
import json
from importlib.resources import files

kept = json.loads(files("rag_helpers").joinpath("data/results/ablation.json").read_text("utf-8"))
title, table = next((t, rows) for t, rows in kept["tables"].items() if t.startswith("chunks"))
print(f"{title}; n = {table['n']}")
for name, row in table["rows"].items():
    recall, mrr = row["recall@5"], row["mrr@10"]
    print(
        f"{name:<28} recall@5 {recall['value']:.2f}   MRR@10 {mrr['value']:.2f} "
        f"[{mrr['low']:.2f}, {mrr['high']:.2f}]   {row['words_per_hit']:.0f} words a hit"
    )

# %% [markdown]
# Long chunks flatter recall: a hit of 400 words holds more of everything, and the reader must read
# it. The mean words of a hit therefore stand beside every result. Chunks beyond 256 tokens have an
# unread end; the last rows let the embedder read 512, which brought no gain here.
#
# Now the recipe's tip to remove stop words, on the same four topics, question by question. If the
# interval holds 0, these few questions show neither a gain nor a loss:

# %%
gain = paired_test(measure(200, clean=remove_stop_words), scores[200])
print(f"without stop words minus with: {gain.difference}, p = {gain.p:.2f}, n = {gain.n}")

# %% [markdown]
# ## Try it: the search box

# %%
from rag_helpers.widgets import SearchBox

examples = ["What does the z option do in a format spec?", "How do I throw my own error?",
            "What does the @ symbol above a function mean?", "What is a decorator?"]  # fmt: skip
box = SearchBox(retrievers, examples=examples)
box.run()
box

# %% [markdown]
# **Think about it.** Choose an answer, press *Check*, and read why.
# The [exercises](exercises/03_retriever_exercises.ipynb) to this notebook check themselves.

# %%
from rag_helpers.widgets import build_choice_box

build_choice_box("03_retriever")

# %% [markdown]
# ## Main take-away
#
# - Dense search compares meaning, keyword search words and symbols; each alone wins somewhere.
# - Fusion loses on single questions; whether it gains on average depends on how scores are joined.
# - Search small, return big: here, windows found the right passages more often than whole chunks
#   did.
# - Normalized vectors make L2 and inner product rank alike; raw ones need not.
#
# **What's next:** notebook 04 turns the passages into an answer.
