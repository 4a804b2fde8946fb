# %% [markdown]
# # 2 · Chunking: cutting documents into passages
#
# **Goal:** cut text without losing a character, and see the words that the embedder never reads.
# **Time:** the cells take 15 to 45 s on two cores, by the processor; reading and exercises take
# longer. No network. **Needs:** notebook 01. **Terms:** [GLOSSARY](GLOSSARY.md).
#
# ![Data flow; lit in this notebook: split](figures/flow_02.svg)
#
# A *document* is too long for two readers: the *embedder*, the model that turns a text into an
# embedding and stops after a fixed number of *tokens* (the words and pieces of words that a model
# reads), and the *generator*, whose prompt we must keep short. So we cut documents into *chunks*.
# What a cut tears apart, later steps can hardly mend.

# %%
from rag_helpers import load_help_topics

documents = load_help_topics()
words = sum(len(document.text.split()) for document in documents)
print(f"{len(documents)} documents, {words:,} words")
print(documents[0].source, "·", documents[0].title)

# %% [markdown]
# ## Cleaning before cutting
#
# Files bring markup, odd spaces and control characters. Cleaning changes the text, so it keeps a
# *source map*: for every position in the clean text, where it stood in the file. Without one, a
# citation would point at the wrong place.

# %%
from rag_helpers.corpus import clean_text

raw = "<h1>Tea</h1>\n<p>Water&nbsp;boils   at\u200b 100&deg;C.</p><script>alert('hi')</script>"
clean = clean_text(raw, markup=True)
print(repr(clean.text))
print("break points (clean, raw):", clean.source_map[:4])

# %% [markdown]
# ## Cutting by words: a toy first
#
# The recipe asks for chunks of 100–200 words. Neighbours may share some words, the *overlap*, so
# that a sentence cut by one border stands whole in the next chunk.
#
# ![Three chunks of seven words below one sentence; where two of them share words, they are hatched](figures/chunk_overlap.svg)
#
# Here is the whole idea:

# %%
import re

text = "The cat sat on the mat. The dog slept. Rain fell all night on the old roof."


def cut_by_words(text, size, overlap):
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    pieces = []
    for first in range(0, len(spans), size - overlap):
        window = spans[first : first + size]
        pieces.append((window[0][0], window[-1][1]))
        if first + size >= len(spans):
            break
    return pieces


for start, end in cut_by_words(text, size=7, overlap=2):
    print(f"{start:>3}–{end:<3}", text[start:end])

# %% [markdown]
# Note what is kept: not the words, but *offsets* into the text. Line breaks, indentation and code
# survive, and every chunk can say exactly where it came from. The package's function does the same:

# %%
from rag_helpers import Document, split_by_words

chunks = split_by_words(Document(text, source="toy"), size=7, overlap=2)
print([(chunk.start, chunk.end) for chunk in chunks] == cut_by_words(text, 7, 2))
print(all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks))

# %% [markdown]
# And on the real corpus:

# %%
chunks = split_by_words(documents, size=150, overlap=0)
by_source = {document.source: document for document in documents}
faithful = all(by_source[c.source].text[c.start : c.end] == c.text for c in chunks)
print(f"{len(chunks)} chunks; each equal to its part of the document: {faithful}")
print(chunks[40].id, "·", chunks[40].heading)

# %% [markdown]
# The recipe keeps its chunks in a `datasets.Dataset`, a table on disk that later steps can map,
# filter and shuffle. One line turns our records into it:

# %%
from datasets import Dataset

dataset = Dataset.from_dict({"text": [c.text for c in chunks], "id": [c.id for c in chunks]})
print(dataset)

# %% [markdown]
# ## Words are not tokens
#
# `all-MiniLM-L6-v2` reads 256 tokens and ignores the rest, without a warning. How many tokens are
# 150 words of *this* text?

# %%
from rag_helpers import SentenceEmbedder

embedder = SentenceEmbedder("all-MiniLM-L6-v2")
sentence = "The __getitem__() method is called by x[i]."
print(len(sentence.split()), "words,", embedder.count_tokens(sentence), "tokens")

# %%
from rag_helpers.chunking import report_unread
from rag_helpers.plots import plot_token_lengths

report = report_unread(chunks, count_tokens=embedder.count_tokens, max_tokens=embedder.max_tokens)
print(report)
axes = plot_token_lengths([embedder.count_tokens(c.text) for c in chunks], embedder.max_tokens)

# %% [markdown]
# In a language reference, full of names, brackets and tables, a word is often several tokens, and
# about half of the chunks of 150 words pass the limit. **A limit in words is not a limit in what
# is read.**

# %% [markdown]
# ## Other places to cut
#
# Four strategies, one promise: `document.text[chunk.start:chunk.end] == chunk.text`.
#
# | strategy | cuts | good for |
# | --- | --- | --- |
# | words | every n words | even sizes |
# | sentences | between sentences | prose |
# | tokens | where a model stops reading | nothing unread |
# | structure | at headings, paragraphs, entries | reference text |
#
# Only the third can promise that all is read; the others go by words.

# %%
from rag_helpers import split_by_sentences, split_by_structure, split_by_tokens

strategies = {
    "words": split_by_words(documents, size=150),
    "sentences": split_by_sentences(documents, max_words=150),
    "tokens": split_by_tokens(documents, count_tokens=embedder.count_tokens, max_tokens=256),
    "structure": split_by_structure(documents, max_words=150),
}
for name, cut in strategies.items():
    unread = report_unread(cut, count_tokens=embedder.count_tokens, max_tokens=256)
    average = sum(len(c.text.split()) for c in cut) / len(cut)
    print(f"{name:<10} {len(cut):>4} chunks, {average:>4.0f} words each, {unread.share:.1%} unread")

# %% [markdown]
# ## What a cut tears apart
#
# For each of our *gold questions* (questions whose answer we know) there is a passage, the
# *evidence*, that answers it. A chunk is useful only if it holds the evidence whole. We count how
# often each chunk size keeps it, and how much text goes unread. No retriever is needed for this.
#
# The questions come in three sets: *train* to learn from, *dev* to choose by, and *test*, which
# stays shut until the last look. Other questions would give other shares, so each share has an
# *interval* in brackets: draw as many questions from these, with repeats, again and again, and 95
# of 100 shares lie within (the *bootstrap*; Efron, 1979).

# %%
from rag_helpers.evaluation import Judge, bootstrap_interval, load_gold_split

gold = [question for question in load_gold_split("dev") if question.answers]
judge = Judge(documents, gold, share=1.0)


def evidence_kept(chunks):
    return bootstrap_interval([float(any(judge.holds(q.id, c.text) for c in chunks)) for q in gold])


print(f"{len(gold)} questions;", "150 words:", evidence_kept(strategies["words"]))

# %%
from rag_helpers.plots import plot_settings

sizes = [50, 100, 150, 200, 300, 400]
curves, unread_share = {}, []
for overlap in (0, 25):
    cuts = [split_by_words(documents, size=size, overlap=overlap) for size in sizes]
    kept = [evidence_kept(cut) for cut in cuts]
    curves[f"overlap {overlap} words"] = [(i.value, i.low, i.high) for i in kept]
axes = plot_settings(sizes, curves, xlabel="words in a chunk", ylabel="evidence kept", n=len(gold))

# %%
for size in sizes:
    cut = split_by_words(documents, size=size)
    lost = [
        report_unread(cut, count_tokens=embedder.count_tokens, max_tokens=limit).share
        for limit in (256, 512)
    ]
    print(f"{size:>4} words: {lost[0]:>6.1%} of tokens unread, {lost[1]:>6.1%} if 512 were read")

# %% [markdown]
# MiniLM's own limit is 256 tokens; its positions go to 512, and `SentenceEmbedder(max_tokens=512)`
# uses them. It was not trained on texts that long, so that too is measured in notebook 03.
#
# Larger chunks tear less apart, and leave more unread. Overlap helps small chunks most, and stores
# the shared words twice. Neither number says which size *retrieves* best: notebook 03 measures
# that.

# %% [markdown]
# ## Try it: the chunk explorer
#
# Move the sliders. Colours are chunks, dark is overlap, struck-out text is never read by the
# embedder.

# %%
from rag_helpers.widgets import ChunkExplorer

topic = by_source["comparisons"]
explorer = ChunkExplorer(topic, split_by_words, unread=embedder.count_characters_read)
explorer

# %% [markdown]
# **Think about it.** Set the overlap to 100 and the size to 120, and look. Then choose an answer, press *Check*, and read why.
# The [exercises](exercises/02_chunking_exercises.ipynb) to this notebook check themselves.

# %%
from rag_helpers.widgets import build_choice_box

build_choice_box("02_chunking")

# %% [markdown]
# ## The same text twice
#
# Real corpora repeat themselves. Two chunks are *near duplicates* when at least 80 % of the
# five-word windows of one stand in the other (*containment*; Broder, 1997).

# %%
from rag_helpers.corpus import containment, find_near_duplicates

structure = strategies["structure"]
pairs = find_near_duplicates([chunk.text for chunk in structure])
repeated = {j for _, j in pairs}
print(f"{len(pairs)} pairs; {len(repeated)} of {len(structure)} chunks repeat another one")
first, second = pairs[0]
print(structure[first].id, "≈", structure[second].id)
print(f"containment {containment(structure[second].text, structure[first].text):.2f}")

# %% [markdown]
# ## Stop words: the recipe's advice
#
# *Stop words* are so common that some leave them out before searching, as the recipe suggests. It
# saves tokens, but look at what is left. Notebook 03 measures what it does to retrieval.

# %%
from rag_helpers.corpus import remove_stop_words

print(remove_stop_words("This is not what you should do if the list is not empty."))

# %% [markdown]
# ## Main take-away
#
# - Cut by offsets, and you lose nothing and can cite everything.
# - Count tokens, not words: what passes the embedder's limit is never read.
# - Reference text can be cut where its authors cut it: at headings, paragraphs and entries.
#   Notebook 05 shows what that brought to retrieval.
#
# **What's next:** notebook 03 turns chunks into vectors and finds the right ones.
