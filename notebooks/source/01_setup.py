# %% [markdown]
# # 1 · Set-up: the whole system in one sitting
#
# **Goal:** run a complete RAG system on your own machine, and see it answer one question right, one
# wrong, and meet one that it cannot answer.
# **Time:** the cells take 15 to 45 s on two cores, by the processor, but for a minute or two of
# preparation the first time; reading and exercises take longer. No network. **Needs:** the install
# from the README. **Terms:** [GLOSSARY](GLOSSARY.md).
#
# ![Data flow; every arrow is lit](figures/flow_01.svg)
#
# *Retrieval-augmented generation* (RAG; Lewis et al., 2020) answers a question in two steps: a
# *retriever* finds *passages*, stretches of text that may hold the answer, and a *generator*
# writes the answer from them. The generator is mostly a *language model*: a program that writes by
# predicting the next piece of a word, again and again. The answer can be checked, because it comes
# with *citations*: the passages it was written from.
#
# The course starts from a common *recipe*: a small embedding model, an index, a small language
# model, an API. It runs the recipe as written, measures it, and measures what each change to it
# brings.

# %% [markdown]
# ## Checking the machine
#
# Every line should say OK. A line that says FAIL names its cure.

# %%
from rag_helpers import check_environment

for check in check_environment():
    print("OK  " if check.ok else "FAIL", check.name, "·", check.detail, check.cure)

# %% [markdown]
# A small set-up cell stands in every notebook: results should not depend on luck. The seed fixes
# the random numbers that training and sampling use, so that a second run repeats the first.

# %%
from rag_helpers import set_seed

set_seed(0)

# %% [markdown]
# ## Finding the models
#
# Two models came with the install, as ordinary Python packages. A model is its *weights*: the
# numbers that training has set. The recipe's other models lie on the Hugging Face Hub, a website
# (here: *the hub*), and are used in the same way, if you have them.

# %%
from rag_helpers import list_models

for model in list_models():
    here = "here" if model.is_here else "not here"
    print(f"{model.name:<42} {model.role:<10} {model.size_mb:>5} MB  {model.licence:<11} {here}")

# %% [markdown]
# ## The recipe on three chunks
#
# The whole idea fits in a few cells. First the *corpus*, all texts that may be searched: three
# short ones in a `datasets.Dataset`.

# %%
from datasets import Dataset

texts = [
    "Machine learning builds programs that improve with data instead of being written by hand.",
    "Bread rises because yeast turns sugar into carbon dioxide, which the dough traps.",
    "A glacier is a body of dense ice that moves slowly under its own weight.",
]
dataset = Dataset.from_dict({"text": texts})

# %% [markdown]
# The *retriever* turns each text into a vector of 384 numbers, its *embedding* (Reimers &
# Gurevych, 2019). The vectors are kept in an *index*; FAISS (Johnson et al., 2019), a library for
# that, finds those that lie nearest to the question's.

# %%
import faiss
from sentence_transformers import SentenceTransformer

from rag_helpers import resolve
from rag_helpers.models import quiet_loading

with quiet_loading():
    retriever_model = SentenceTransformer(str(resolve("all-MiniLM-L6-v2")), device="cpu")
embeddings = retriever_model.encode(dataset["text"], convert_to_tensor=True)
index = faiss.IndexFlatL2(embeddings.shape[1])
index.add(embeddings.cpu().numpy())
print(embeddings.shape)

# %%
query = "What is machine learning?"
query_embedding = retriever_model.encode([query], convert_to_tensor=True)
distances, indices = index.search(query_embedding.cpu().numpy(), k=2)
retrieved = [dataset[int(i)]["text"] for i in indices[0]]
for distance, text in zip(distances[0], retrieved, strict=True):
    print(f"{distance:.2f}  {text}")

# %% [markdown]
# The smaller the distance, the nearer. The *prompt*, the text that the generator will read, joins
# the question and what was found:

# %%
prompt_text = f"Question: {query} Context: {' '.join(retrieved)}"
print(prompt_text)

# %% [markdown]
# The recipe's *generator* is `t5-small` or `facebook/bart-base`. Neither is on this disk unless
# you put it there, so the next cell says in one sentence what is missing, and the course goes on
# with a small *chat model* (a language model trained to follow instructions),
# SmolLM2-135M-Instruct, that the install brought.

# %%
from rag_helpers import RagError, Seq2SeqGenerator

try:
    t5 = Seq2SeqGenerator("t5-small", num_beams=4)
    print(t5.name, "is here")
except RagError as error:
    print(str(error).split(". Three ways")[0])

# %%
from rag_helpers import ChatGenerator, Prompt

generator = ChatGenerator("SmolLM2-135M-Instruct")
instruction = "Answer the question in one short sentence, using only the context."
prompt = Prompt(question=query, text=prompt_text, system=instruction)
print(generator.generate([prompt])[0].text)

# %% [markdown]
# That is a complete RAG system. The rest of the course takes each part out, looks at it, measures
# it and tries to make it better.
#
# ## The same through the package
#
# `rag_helpers` has tested parts for all of this. A *chunk* is a piece of a *document*, which is a
# text as it was read, and knows where in it it stood; a *hit* is a chunk that was found. Does the
# package find the same texts as the cells above?

# %%
from rag_helpers import Chunk, ChunkIndex, DenseRetriever, SentenceEmbedder

embedder = SentenceEmbedder("all-MiniLM-L6-v2")
toy = ChunkIndex(embedder.dimension, metric="l2", model=embedder.name)
toy.add([Chunk(t, f"text {i}", 0, len(t)) for i, t in enumerate(texts)], embedder.embed(texts))
hits = DenseRetriever(toy, embedder).search(query, k=2)
print([hit.chunk.text for hit in hits] == retrieved)

# %% [markdown]
# ## A real corpus
#
# Three sentences are a toy. The course's corpus is Python's own help topics: a part of the language
# reference that lies on your disk already, long and messy enough that every step matters.

# %%
from rag_helpers import load_help_topics
from rag_helpers.corpus import describe

documents = load_help_topics()
print(describe(documents))

# %%
names = [document.source for document in documents]
for start in range(0, len(names), 8):
    print(", ".join(names[start : start + 8]))

# %%
from rag_helpers.plots import plot_lengths

lengths = {document.source: len(document.text.split()) for document in documents}
axes = plot_lengths(lengths, xlabel="words", most=15)

# %% [markdown]
# A few topics hold most of the text. They are far too long to be one passage each, which is why
# notebook 02 cuts them into chunks.
#
# A *pipeline* is retriever, prompt and generator behind one function; `load_pipeline` builds it.
# The first call cuts and embeds the corpus, and with that the first answer takes a minute or two
# on two cores. Then the index lies in a cache folder. `adapters=False` runs both models as they were
# published: what training adds is for notebook 06.

# %%
from rag_helpers import load_pipeline

pipeline = load_pipeline(adapters=False)
print(pipeline.retriever.name, "+", pipeline.generator.name)

# %% [markdown]
# ## Right, wrong, and not there
#
# This pipeline returns the best *sentence* of the passages, and no words of the chat model's: that
# one gets its turn below. First a question that goes well:

# %%
answer = pipeline.answer("What happens when I divide by zero?")
print(answer.text)
for citation in answer.citations:
    print(f"  [{citation.source}] {' '.join(citation.text.split())[:100]}")

# %% [markdown]
# Then one that does not. The help topic `formatstrings` says what the `z` option does, but look at
# what comes back:

# %%
wrong = pipeline.answer("What does the z option do in a format spec?")
print(" ".join(wrong.text.split())[:200])
print("the sentence we wanted was found:", any("negative zero" in h.chunk.text for h in wrong.hits))

# %% [markdown]
# And one that nobody could answer from this corpus. The help topics of Python 3.11 describe `:=`
# but never call it a walrus; the last line says whether yours do:

# %%
absent = pipeline.answer("What is the walrus operator?")
print(absent.text)
print("walrus" in " ".join(document.text for document in documents))

# %% [markdown]
# The *confidence* is a probability that the corpus holds the answer, fitted on questions of which
# we know that. Notebook 05 measures how far it can be trusted.
#
# ## The same passages, read by a language model
#
# SmolLM2 (Ben Allal et al., 2025) has 135 million weights; GPT-3 had 175 billion (Brown et al.,
# 2020). It gets the very same passages for the first question:

# %%
from rag_helpers import RagPipeline

chat = RagPipeline(pipeline.retriever, generator)
print(chat.answer("What happens when I divide by zero?").text)

# %% [markdown]
# Compare it with the sentence above: on an easy question the two may say the same. One question
# proves nothing, and a language model can write fluently without having read well. Notebooks 04
# and 05 measure how well it reads, and notebook 06 trains it.
#
# How near were the passages? The *rank* is a hit's place in the list, the *score* its nearness:

# %%
from rag_helpers.plots import plot_scores_by_rank

shown = {f"{a.question[:34]}…": a.hits for a in (answer, wrong, absent)}
axes = plot_scores_by_rank(shown)

# %% [markdown]
# ## Where the time goes
#
# For the chat model most of it goes into generating:

# %%
from rag_helpers.plots import plot_stages

times = [chat.answer(a.question).timings_ms for a in (answer, wrong, absent)]
axes = plot_stages(times)

# %% [markdown]
# ## Ask it yourself
#
# Twenty questions whose answers stand in the corpus are in the list; your own are better. Open a
# citation to see the sentence that supports the answer, marked in its passage.

# %%
from rag_helpers.evaluation import example_questions
from rag_helpers.widgets import QuestionBox

box = QuestionBox(pipeline.stream, examples=[q.question for q in example_questions(20)])
box.run()
box

# %% [markdown]
# **Think about it.** Choose an answer, press *Check*, and read why.
# The [exercises](exercises/01_setup_exercises.ipynb) to this notebook check themselves.

# %%
from rag_helpers.widgets import build_choice_box

build_choice_box("01_setup")

# %% [markdown]
# ## Main take-away
#
# - RAG is retrieve, fill a prompt, generate; each part can be swapped alone.
# - An answer that cites its passage can be checked; without a citation you would have to search.
# - A fluent answer says nothing about whether the corpus held it.
#
# **What's next:** notebook 02 cuts the documents into passages, without losing a character.
