# %% [markdown]
# # 7 · Exercises: deployment
#
# Four exercises to notebook 07. Replace each `raise NotImplementedError(…)` by your code and run the
# check below it. No model is needed.

# %% [markdown]
# ## Exercise 7.1 · Eight bits by hand (recall)
#
# **Aim:** know what quantization keeps. **Look back at:** *Eight bits: a toy first*.
#
# Return the whole numbers, from -127 to 127, and the scale by which they are multiplied to come back.
# The largest weight becomes 127 or -127. A matrix of zeros stays one.
# %%
import numpy as np


def quantize(weights):
    # solution 7.1: return whole numbers and their scale
    scale = np.abs(weights).max() / 127 or 1.0
    return np.round(weights / scale).astype(np.int8), scale
    # end of solution


# %%
from rag_helpers.exercises import check_7_1

check_7_1(quantize)

# %% [markdown]
# ## Exercise 7.2 · Looking into a few lists (apply)
#
# **Aim:** see what an inverted file does not look at. **Look back at:** *A faster search: a toy first*.
#
# Every vector lives in the list of the centre that is nearest to it. Look only into the `probes` lists
# whose centres are nearest to the question, and return the numbers of the `k` nearest vectors found
# there, nearest first; fewer when there are fewer.


# %%
def ivf_search(vectors, centres, question, probes, k):
    # solution 7.2: return the k nearest vectors of the lists looked into
    homes = ((vectors[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    open_lists = ((centres - question) ** 2).sum(axis=1).argsort(kind="stable")[:probes]
    inside = np.flatnonzero(np.isin(homes, open_lists))
    distances = ((vectors[inside] - question) ** 2).sum(axis=1)
    return inside[distances.argsort(kind="stable")[:k]].tolist()
    # end of solution


# %%
from rag_helpers.exercises import check_7_2

check_7_2(ivf_search)

# %% [markdown]
# ## Exercise 7.3 · A queue without an end (break and mend)
#
# **Aim:** say no early instead of late to everybody. **Look back at:** *More than it can answer*.
#
# One worker takes `seconds` for each request. This service lets everybody wait:


# %%
def broken_serve(arrivals, seconds, size):
    free, finished = 0.0, []
    for arrival in arrivals:
        free = max(free, arrival) + seconds
        finished.append(free)
    return finished


print("the hundredth waits", broken_serve([0.0] * 100, 2.0, 2)[-1], "s")

# %% [markdown]
# Write one with a queue of `size` places beside the request being served. `arrivals` come in order.
# Return for each request when it is finished, or `429` when it found the queue full. A request leaves
# the queue when its work begins, and a worker that ends at this very moment is free.


# %%
def serve(arrivals, seconds, size):
    # solution 7.3: return when each request is finished, or 429
    free, begins, outcome = 0.0, [], []
    for arrival in arrivals:
        waiting = sum(begin > arrival for begin in begins)
        if free > arrival and waiting >= size:
            outcome.append(429)
            continue
        begin = max(free, arrival)
        begins.append(begin)
        free = begin + seconds
        outcome.append(free)
    return outcome
    # end of solution


# %%
from rag_helpers.exercises import check_7_3

check_7_3(serve)

# %% [markdown]
# ## Exercise 7.4 · A smaller file of your own (open-ended)
#
# **Aim:** spend few bits, and spend them where the outliers are not.
# **Look back at:** *Eight bits: a toy first*.
#
# `pack` turns a float32 matrix into bytes, `unpack` turns them back into a matrix of the given shape.
# The check allows 9 bits a weight, everything included. Where one weight in a thousand is an outlier,
# your mean error must be at most half that of int8 with one scale for the whole matrix; where there
# is none, at most 1.1 times.


# %%
def pack(weights):
    # solution 7.4: return the weights as few bytes
    flat = weights.reshape(-1)
    blocks = np.pad(flat, (0, -flat.size % 64)).reshape(-1, 64)
    scales = (np.abs(blocks).max(axis=1, keepdims=True) / 127).astype(np.float16)
    safe = np.where(scales == 0, 1, scales).astype(np.float32)
    whole = np.clip(np.round(blocks / safe), -127, 127).astype(np.int8)
    return scales.tobytes() + whole.tobytes()
    # end of solution


def unpack(data, shape):
    # solution 7.4: return the matrix that pack was given, or nearly
    blocks = -(-int(np.prod(shape)) // 64)
    scales = np.frombuffer(data[: 2 * blocks], np.float16).astype(np.float32)[:, None]
    whole = np.frombuffer(data[2 * blocks :], np.int8).reshape(blocks, 64)
    return (whole * scales).reshape(-1)[: int(np.prod(shape))].reshape(shape)
    # end of solution


# %%
from rag_helpers.exercises import check_7_4

check_7_4(pack, unpack)

# %% [markdown]
# ## How far are you?

# %%
from rag_helpers.exercises import ProgressBoard

ProgressBoard()
