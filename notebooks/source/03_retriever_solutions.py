# %% [markdown]
# # 3 · Exercises: the retriever
#
# Four exercises to notebook 03. Replace each `raise NotImplementedError(…)` by your code and run the
# check below it. No model is needed: vectors are a few numbers, and passages are words.

# %% [markdown]
# ## Exercise 3.1 · Recall and reciprocal rank (recall)
#
# **Aim:** know what the two numbers count.
# **Look back at:** *Measured on questions with known answers*.
#
# `ranks` holds for each question the rank of its first right passage, from 1, or `None` where none
# was found. Return recall@k and MRR@k as a pair. A rank beyond `k` counts as not found.
#
# Example: `score_ranks([1, 4, None], 3)` gives `(1/3, 1/3)`.


# %%
def score_ranks(ranks, k):
    # solution 3.1: return recall@k and MRR@k
    found = [rank if rank is not None and rank <= k else None for rank in ranks]
    recall = sum(rank is not None for rank in found) / len(found)
    mrr = sum(1 / rank for rank in found if rank is not None) / len(found)
    return recall, mrr
    # end of solution


# %%
from rag_helpers.exercises import check_3_1

check_3_1(score_ranks)

# %% [markdown]
# ## Exercise 3.2 · Reciprocal rank fusion (apply)
#
# **Aim:** join lists whose scores cannot be compared. **Look back at:** *Fusion*.
#
# Each list holds names, best first. A name's score is the sum of 1 / (`constant` + rank) over the
# lists it stands in. Return all names, the highest score first; names with equal scores in the order
# in which you met them, list after list.
#
# Example: `fuse([["a", "b"], ["b", "c"]])` gives `["b", "a", "c"]`.


# %%
def fuse(lists, constant=60):
    # solution 3.2: return all names, best first
    score = {}
    for ranking in lists:
        for rank, name in enumerate(ranking, start=1):
            score[name] = score.get(name, 0) + 1 / (constant + rank)
    return sorted(score, key=lambda name: -score[name])
    # end of solution


# %%
from rag_helpers.exercises import check_3_2

check_3_2(fuse)

# %% [markdown]
# ## Exercise 3.3 · Long vectors win (break and mend)
#
# **Aim:** know when inner product and cosine differ. **Look back at:** *Distance or inner product?*.
#
# This search is meant to rank by cosine. It does, as long as all vectors have length 1:

# %%
import numpy as np


def broken_search(vectors, question, k):
    scores = vectors @ question
    return [(int(row), float(scores[row])) for row in np.argsort(-scores)[:k]]


rows = np.array([[1.0, 0.0], [30.0, 40.0]])
print(broken_search(rows, np.array([1.0, 0.0]), 2), "although row 0 is the question itself")

# %% [markdown]
# Write one that returns `(row, cosine)` for the `k` rows with the largest cosine, best first. A row
# of zeros has no direction: its score is 0.


# %%
def search(vectors, question, k):
    # solution 3.3: return (row, cosine) of the k best rows
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(question)
    scores = (vectors @ question) / np.where(lengths == 0, 1.0, lengths)
    return [(int(row), float(scores[row])) for row in np.argsort(-scores, kind="stable")[:k]]
    # end of solution


# %%
from rag_helpers.exercises import check_3_3

check_3_3(search)

# %% [markdown]
# ## Exercise 3.4 · A search of your own (open-ended)
#
# **Aim:** beat counting words, without a model. **Look back at:** *Keywords: BM25*.
#
# `build_search` gets a list of passages and returns a function, which takes a question and returns
# the numbers of the passages, best first. The check asks 20 train questions over four help topics.
# Your MRR@10 must beat by more than 0.05 a search that counts the words which question and passage
# share, split at spaces.

# %%
import math
import re
from collections import Counter

from rag_helpers.corpus import STOP_WORDS


def build_search(passages):
    # solution 3.4: return a function from a question to passage numbers, best first
    def terms(text):
        return [
            word for word in re.findall(r"\w+|[^\w\s]+", text.lower()) if word not in STOP_WORDS
        ]

    counts = [Counter(terms(passage)) for passage in passages]
    holders = Counter(word for count in counts for word in count)
    mean = sum(count.total() for count in counts) / len(counts)

    def weight(word, count):
        rarity = math.log(1 + (len(passages) - holders[word] + 0.5) / (holders[word] + 0.5))
        much = count[word]
        return rarity * much * 2.2 / (much + 1.2 * (0.25 + 0.75 * count.total() / mean))

    def find(question):
        asked = set(terms(question))
        scores = [sum(weight(word, count) for word in asked if word in count) for count in counts]
        return sorted(range(len(passages)), key=lambda number: -scores[number])

    return find
    # end of solution


# %%
from rag_helpers.exercises import check_3_4

check_3_4(build_search)

# %% [markdown]
# ## How far are you?

# %%
from rag_helpers.exercises import ProgressBoard

ProgressBoard()
