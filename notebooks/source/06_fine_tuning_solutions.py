# %% [markdown]
# # 6 · Exercises: fine-tuning
#
# Four exercises to notebook 06. Replace each `raise NotImplementedError(…)` by your code and run the
# check below it. No model is needed: what is trained here is a matrix of 16 × 16 numbers.

# %% [markdown]
# ## Exercise 6.1 · The contrastive loss (recall)
#
# **Aim:** know what training a retriever pushes at.
# **Look back at:** *The retriever's lesson: a toy first*.
#
# `scores[i, j]` says how well question *i* fits passage *j*; passage *i* is right. Return the mean over
# the questions of minus the logarithm of the right passage's share, where the shares of a row are
# proportional to exp(score). Scores of 1000 must not overflow.
# %%
import numpy as np


def loss(scores):
    # solution 6.1: return the mean cross-entropy of the rows
    shifted = scores - scores.max(axis=1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(axis=1)) - shifted.diagonal()).mean())
    # end of solution


# %%
from rag_helpers.exercises import check_6_1

check_6_1(loss)

# %% [markdown]
# ## Exercise 6.2 · Negatives that are not right (apply)
#
# **Aim:** teach nothing false. **Look back at:** *Hard negatives, and false ones*.
#
# `hits` are texts, the best first. Return the first `count` of them that do not hold the evidence,
# each text once. Capitals, line breaks and double spaces must not hide the evidence.


# %%
def mine(hits, evidence, count):
    # solution 6.2: return the hardest passages that are wrong
    def plain(text):
        return " ".join(text.split()).casefold()

    wrong = [hit for hit in hits if plain(evidence) not in plain(hit)]
    return list(dict.fromkeys(wrong))[:count]
    # end of solution


# %%
from rag_helpers.exercises import check_6_2

check_6_2(mine)

# %% [markdown]
# ## Exercise 6.3 · A split that leaks (break and mend)
#
# **Aim:** measure on what was not taught. **Look back at:** *Is anything in both sets?*.
#
# This split takes every fourth pair for dev. But several questions are about the same passage:


# %%
def broken_split(pairs):
    dev = pairs[::4]
    return [pair for pair in pairs if pair not in dev], dev


toy = [(f"question {n}", f"passage {n // 2}") for n in range(12)]
train, dev = broken_split(toy)
print("in both:", sorted({passage for _, passage in train} & {passage for _, passage in dev}))

# %% [markdown]
# Write one that returns train and dev so that no passage stands on both sides, every pair is on one,
# and dev holds about a quarter (0.15 to 0.35). The same pairs must be split in the same way, in
# whatever order they come.


# %%
def split(pairs):
    # solution 6.3: return train and dev without a common passage
    passages = sorted({passage for _, passage in pairs})
    held_out = set(passages[::4])
    train = [pair for pair in pairs if pair[1] not in held_out]
    return train, [pair for pair in pairs if pair[1] in held_out]
    # end of solution


# %%
from rag_helpers.exercises import check_6_3

check_6_3(split)

# %% [markdown]
# ## Exercise 6.4 · Training that carries over (open-ended)
#
# **Aim:** train something that helps on questions it never saw.
# **Look back at:** *Overfitting, on purpose*.
#
# `questions` and `passages` are arrays of the same shape, a vector of 16 numbers a row; row *i* of one
# belongs to row *i* of the other. Return a matrix of 16 × 16 such that `questions @ matrix` lies close
# to the passages. The check trains on 60 pairs and asks 140 others: at least 60 % must find their own
# passage first.


# %%
def train_matrix(questions, passages):
    # solution 6.4: return a matrix that takes questions to their passages
    squares = questions.T @ questions + 1.0 * np.eye(questions.shape[1])
    return np.linalg.solve(squares, questions.T @ passages)
    # end of solution


# %%
from rag_helpers.exercises import check_6_4

check_6_4(train_matrix)

# %% [markdown]
# ## How far are you?

# %%
from rag_helpers.exercises import ProgressBoard

ProgressBoard()
