# %% [markdown]
# # 1 · Exercises: set-up
#
# Four exercises to notebook 01: recall, apply, break and mend, and one of your own. Replace each
# `raise NotImplementedError(…)` by your code and run the check below it. A check runs hidden cases
# and says what is wrong, not how to do it. Try as often as you like. No model is needed.

# %% [markdown]
# ## Exercise 1.1 · The order of the steps (recall)
#
# **Aim:** know which step needs what. **Look back at:** *The recipe on three chunks*.
#
# Return a list with these six words in the order in which a RAG system works, from documents to an
# answer: `"fill"` (a prompt), `"embed"`, `"generate"`, `"cut"`, `"search"`, `"index"`.


# %%
def steps():
    # solution 1.1: return the six words in order
    return ["cut", "embed", "index", "search", "fill", "generate"]
    # end of solution


# %%
from rag_helpers.exercises import check_1_1

check_1_1(steps)

# %% [markdown]
# ## Exercise 1.2 · The nearest vectors (apply)
#
# **Aim:** see that a flat index is no magic. **Look back at:** *The recipe on three chunks*.
#
# Return the numbers of the `k` rows of `vectors` whose squared distance to `question` is smallest,
# nearest first; all rows when `k` is larger. Rows that are equally near keep their order.
#
# Example: `nearest(np.array([[0, 0], [2, 0]]), np.array([2, 1]), 1)` gives `[1]`.

# %%
import numpy as np


def nearest(vectors, question, k):
    # solution 1.2: return the numbers of the k nearest rows
    distances = ((vectors - question) ** 2).sum(axis=1)
    return np.argsort(distances, kind="stable")[:k].tolist()
    # end of solution


# %%
from rag_helpers.exercises import check_1_2

check_1_2(nearest)

# %% [markdown]
# ## Exercise 1.3 · A prompt that survives braces (break and mend)
#
# **Aim:** treat what stands in a document as text, never as a template.
# **Look back at:** *The recipe on three chunks*.
#
# This function works until a passage holds a brace, as Python's own documentation often does:


# %%
def broken_fill(question, passages):
    context = " ".join(passages)
    return f"Question: {question} Context: {context}".format(question=question, context=context)


try:
    broken_fill("What is a set?", ["{1, 2} is a set"])
except (IndexError, KeyError, ValueError) as error:
    print(type(error).__name__, error)

# %% [markdown]
# Write one that gives `Question: … Context: …` for every question and every list of passages, each
# to the letter, passages joined by a space.


# %%
def fill(question, passages):
    # solution 1.3: fill the prompt so that braces stay what they are
    return "Question: " + question + " Context: " + " ".join(passages)
    # end of solution


# %%
from rag_helpers.exercises import check_1_3

check_1_3(fill)

# %% [markdown]
# ## Exercise 1.4 · A question of your own (open-ended)
#
# **Aim:** ask as somebody who has not read the passage. **Look back at:** *A real corpus*.
#
# Read a help topic (`print(load_help_topics()[3].text)`), then return three texts: a question, the
# topic's name, and the words of the topic that answer it (5 to 60 words, copied). At most 60 % of the
# question's words, stop words aside, may stand in the quote.


# %%
def my_question():
    # solution 1.4: return your question, its topic and the words that answer it
    return (
        "How can I leave a loop before it is finished?",
        "break",
        "It terminates the nearest enclosing loop, skipping the optional",
    )
    # end of solution


# %%
from rag_helpers.exercises import check_1_4

check_1_4(my_question)

# %% [markdown]
# ## How far are you?

# %%
from rag_helpers.exercises import ProgressBoard

ProgressBoard()
