# %% [markdown]
# # 5 · Exercises: the pipeline and how good it is
#
# Four exercises to notebook 05. Replace each `raise NotImplementedError(…)` by your code and run the
# check below it. No model is needed.

# %% [markdown]
# ## Exercise 5.1 · Token F1 by hand (recall)
#
# **Aim:** know what the score rewards. **Look back at:** *Metrics: a toy first*.
#
# Lower-case both texts, drop the ASCII punctuation and the words a, an and the, and split at spaces.
# F1 is the harmonic mean of precision and recall over words; a word is shared as often as it stands
# in both texts. Without a shared word it is 0.
#
# Example: `f1("It raises a ZeroDivisionError.", "ZeroDivisionError")` gives `0.5`.
# %%
import re
import string
from collections import Counter


def f1(text, gold):
    # solution 5.1: return the token F1 of two texts
    def words(one):
        one = "".join(c for c in one.lower() if c not in string.punctuation)
        return Counter(re.sub(r"\b(a|an|the)\b", " ", one).split())

    ours, theirs = words(text), words(gold)
    shared = (ours & theirs).total()
    if not shared:
        return 0.0
    precision, recall = shared / ours.total(), shared / theirs.total()
    return 2 * precision * recall / (precision + recall)
    # end of solution


# %%
from rag_helpers.exercises import check_5_1

check_5_1(f1)

# %% [markdown]
# ## Exercise 5.2 · Which step failed? (apply)
#
# **Aim:** blame the first step that lost the evidence. **Look back at:** *Which step failed?*.
#
# Return `"right"` when the answer is right, wherever it came from. Otherwise name the step that lost
# the evidence: `"retrieval"` when no hit holds it, `"prompt"` when a hit does and no passage of the
# prompt, `"reader"` when it stood in the prompt. `hits` and `passages` are lists of texts. Line breaks
# and double spaces must not matter.


# %%
def which_step(evidence, hits, passages, is_right):
    # solution 5.2: return "right", "retrieval", "prompt" or "reader"
    def holds(texts):
        return any(" ".join(evidence.split()) in " ".join(text.split()) for text in texts)

    if is_right:
        return "right"
    if not holds(hits):
        return "retrieval"
    return "reader" if holds(passages) else "prompt"
    # end of solution


# %%
from rag_helpers.exercises import check_5_2

check_5_2(which_step)

# %% [markdown]
# ## Exercise 5.3 · An interval of a difference (break and mend)
#
# **Aim:** compare two systems on the same questions. **Look back at:** *Is a difference real?*.
#
# This bootstrap draws the scores of both systems apart from each other. It forgets that question 7 is
# hard for both, so its interval is far too wide:

# %%
import numpy as np


def broken_gain(before, after):
    random = np.random.default_rng(0)
    old = random.choice(before, (2000, len(before))).mean(axis=1)
    new = random.choice(after, (2000, len(after))).mean(axis=1)
    low, high = np.percentile(new - old, [2.5, 97.5])
    return np.mean(after) - np.mean(before), low, high


scores = np.linspace(0, 0.9, 30)
print("every question gains 0.1:", np.round(broken_gain(scores, scores + 0.1), 2))

# %% [markdown]
# Write one that returns the mean gain, after minus before, with the ends of its 95 % interval, and
# keeps the two scores of a question together. The same scores must give the same interval.


# %%
def gain(before, after):
    # solution 5.3: return the mean gain and the ends of its paired interval
    change = np.array(after) - np.array(before)
    draws = np.random.default_rng(0).integers(0, len(change), (4000, len(change)))
    low, high = np.percentile(change[draws].mean(axis=1), [2.5, 97.5])
    return change.mean(), low, high
    # end of solution


# %%
from rag_helpers.exercises import check_5_3

check_5_3(gain)

# %% [markdown]
# ## Exercise 5.4 · Gold questions of your own (open-ended)
#
# **Aim:** write questions that can tell systems apart.
# **Look back at:** *Asking questions with known answers*.
#
# Return at least three `GoldQuestion`s about the help topics. Evidence is copied from the topic, or
# elided as `"opening words … closing words"`; each answer has at most twelve words and stands in its
# evidence. Ask about at least two topics, and ask at least one question that the corpus cannot
# answer: no answers, no evidence, no source, kind `"unanswerable"`.

# %%
from rag_helpers import GoldQuestion


def my_gold():
    # solution 5.4: return at least three gold questions
    return [
        GoldQuestion(
            "mine-1",
            "What ends the innermost loop at once?",
            ("break",),
            "“break” may only occur syntactically nested in a “for” or “while” loop",
            "break",
            "fact",
        ),
        GoldQuestion(
            "mine-2",
            "What does a statement do that does nothing?",
            ("nothing happens",),
            "“pass” is a null operation — when it is executed, nothing happens.",
            "pass",
            "behaviour",
        ),
        GoldQuestion(
            "mine-3",
            "How do I open a window with a button in it?",
            (),
            None,
            None,
            "unanswerable",
        ),
    ]
    # end of solution


# %%
from rag_helpers.exercises import check_5_4

check_5_4(my_gold)

# %% [markdown]
# ## How far are you?

# %%
from rag_helpers.exercises import ProgressBoard

ProgressBoard()
