# %% [markdown]
# # 2 · Exercises: chunking
#
# Four exercises to notebook 02. Replace each `raise NotImplementedError(…)` by your code and run the
# check below it. No model is needed.

# %% [markdown]
# ## Exercise 2.1 · Where the windows begin (recall)
#
# **Aim:** know what size and overlap mean. **Look back at:** *Cutting by words: a toy first*.
#
# A text of `words` words is cut into windows of `size` words, and neighbours share `overlap` words.
# Return the number of the first word of every window. The last window is the first one that reaches
# the end; a text without words has no window.
#
# Example: `starts(10, 4, 1)` gives `[0, 3, 6]`.


# %%
def starts(words, size, overlap):
    # solution 2.1: return where each window begins
    found = []
    for first in range(0, words, size - overlap):
        found.append(first)
        if first + size >= words:
            break
    return found
    # end of solution


# %%
from rag_helpers.exercises import check_2_1

check_2_1(starts)

# %% [markdown]
# ## Exercise 2.2 · Cutting between sentences (apply)
#
# **Aim:** cut where the text allows it, by offsets. **Look back at:** *Other places to cut*.
#
# Return `(start, end)` of every piece, in order. A piece holds as many whole sentences, one after the
# other, as fit into `most` words; a sentence that is longer than that stands alone. A sentence ends
# at `.`, `!` or `?` before white space, or with the text. White space between pieces is in none.
#
# Example: `cut_by_sentences("One two. Three. Four.", 3)` gives `[(0, 15), (16, 21)]`.

# %%
import re


def cut_by_sentences(text, most):
    # solution 2.2: return the offsets of pieces made of whole sentences
    sentences = [m.span() for m in re.finditer(r"\S.*?(?:[.!?](?=\s|$)|\Z)", text, re.DOTALL)]
    pieces, words = [], 0
    for start, end in sentences:
        end = start + len(text[start:end].rstrip())
        count = len(text[start:end].split())
        if pieces and words + count <= most:
            pieces[-1] = (pieces[-1][0], end)
            words += count
        else:
            pieces.append((start, end))
            words = count
    return pieces
    # end of solution


# %%
from rag_helpers.exercises import check_2_2

check_2_2(cut_by_sentences)

# %% [markdown]
# ## Exercise 2.3 · Offsets that drift (break and mend)
#
# **Aim:** keep every character where it stood. **Look back at:** *Cutting by words: a toy first*.
#
# This cutter returns `(start, end, piece)`. Its offsets hold only as long as exactly one space stands
# between words:


# %%
def broken_cut(text, size):
    words, pieces, start = text.split(), [], 0
    for first in range(0, len(words), size):
        piece = " ".join(words[first : first + size])
        pieces.append((start, start + len(piece), piece))
        start += len(piece) + 1
    return pieces


code = "def f(x):\n    return x\n\ndef g(x):\n    return x\n"
for start, end, piece in broken_cut(code, 2):
    print(repr(piece), "is not" if code[start:end] != piece else "is", repr(code[start:end]))

# %% [markdown]
# Write one for which `text[start:end] == piece` always holds. A piece begins and ends with a word;
# all but the last have `size` words.


# %%
def cut_by_words(text, size):
    # solution 2.3: return (start, end, piece) with offsets that hold
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    pieces = []
    for first in range(0, len(spans), size):
        window = spans[first : first + size]
        begin, stop = window[0][0], window[-1][1]
        pieces.append((begin, stop, text[begin:stop]))
    return pieces
    # end of solution


# %%
from rag_helpers.exercises import check_2_3

check_2_3(cut_by_words)

# %% [markdown]
# ## Exercise 2.4 · A chunker of your own (open-ended)
#
# **Aim:** find cuts that keep what belongs together. **Look back at:** *What a cut tears apart*.
#
# Write a function from a `Document` to a list of `Chunk`. The check cuts four help topics with it.
# Offsets must hold and no word may be lost; a chunk has at most 200 words, and 120 in the mean; and
# 90 % of the evidence of the train questions about these topics must stand whole in a chunk.
# `Chunk(text, source, start, end)` is what a chunk needs.

# %%
from rag_helpers import Chunk


def my_chunker(document):
    # solution 2.4: return a list of Chunk
    paragraphs = [m.span() for m in re.finditer(r"\S.*?(?=\n\s*\n|\Z)", document.text, re.DOTALL)]
    pieces = []
    for start, end in paragraphs:
        words = [match.span() for match in re.finditer(r"\S+", document.text[start:end])]
        for first in range(0, len(words), 130):
            window = words[first : first + 130]
            begin, stop = start + window[0][0], start + window[-1][1]
            if pieces and len(document.text[pieces[-1][0] : stop].split()) <= 130:
                pieces[-1] = (pieces[-1][0], stop)
            else:
                pieces.append((begin, stop))
    return [Chunk(document.text[a:b], document.source, a, b) for a, b in pieces]
    # end of solution


# %%
from rag_helpers.exercises import check_2_4

check_2_4(my_chunker)

# %% [markdown]
# ## How far are you?

# %%
from rag_helpers.exercises import ProgressBoard

ProgressBoard()
