# %% [markdown]
# # Capstone: your own documents, your own assistant
#
# **Goal:** take a folder of documents to an assistant that is evaluated and served, and leave with a
# report of what was measured.
# **Needs:** notebooks 01 to 05 and 07. Two cores, no network. **Terms:** [GLOSSARY](GLOSSARY.md).
#
# Run it once as it is, on some help topics. Then put your own files into the folder, write your own
# questions, and run it again.

# %% [markdown]
# ## 1 · Documents
#
# Text, Markdown, HTML, PDF, CSV and JSON lines are read. Where the folder is missing, the next cell
# fills it with fifteen short help topics; a folder that is there is left alone.

# %%
from pathlib import Path

from rag_helpers import load_files, set_seed
from rag_helpers.exercises.capstone import write_starter_documents

set_seed(0)
home = Path("my_capstone")
folder = home / "documents"
write_starter_documents(folder)
documents = load_files(folder)
print(len(documents), "documents,", sum(len(d.text.split()) for d in documents), "words")
print(", ".join(document.source for document in documents[:8]), "…")

# %% [markdown]
# ## 2 · Chunks, and what the embedder would not read
#
# Cut at headings and paragraphs. Look at the share of tokens that is never read; if it is large,
# cut smaller.

# %%
from rag_helpers import SentenceEmbedder, split_by_structure
from rag_helpers.chunking import report_unread

embedder = SentenceEmbedder("all-MiniLM-L6-v2")
chunks = split_by_structure(documents, max_words=150)
print(report_unread(chunks, count_tokens=embedder.count_tokens, max_tokens=embedder.max_tokens))

# %% [markdown]
# ## 3 · An index
#
# Each chunk is embedded as a whole and in windows of 40 words, as the course's default does.

# %%
from rag_helpers.pipeline import WINDOW_WORDS, load_index

index = load_index(documents, chunks=chunks, window_words=WINDOW_WORDS)
print(len(index), "chunks,", len(index.vectors()), "vectors")

# %% [markdown]
# ## 4 · Five gold questions
#
# Ask as those will ask who have not read the documents. A gold question has an id, the question,
# its answers, the evidence, the file that holds it, and a kind. Evidence is copied from the
# document, or elided as `"opening words … closing words"`. One question must have no answer here.
# The check says what is wrong, a sentence each.

# %%
from rag_helpers import GoldQuestion

gold = [
    GoldQuestion(
        "mine-1",
        "How do I get out of a loop before it is finished?",
        ("break",),
        "A “break” statement executed in the first suite terminates the loop",
        "while.txt",
        "howto",
    ),
    GoldQuestion(
        "mine-2",
        "What is raised when a condition that I assert does not hold?",
        ("AssertionError",),
        "if not expression: raise AssertionError",
        "assert.txt",
        "error",
    ),
    GoldQuestion(
        "mine-3",
        "What must not stand in a function that has no name?",
        ("statements or annotations",),
        "functions created with lambda expressions cannot contain statements or annotations",
        "lambda.txt",
        "fact",
    ),
    GoldQuestion(
        "mine-4",
        "What does a statement do that does nothing?",
        ("nothing happens",),
        "“pass” is a null operation — when it is executed, nothing happens.",
        "pass.txt",
        "behaviour",
    ),
    GoldQuestion("mine-5", "How do I draw a circle on the screen?", (), None, None, "unanswerable"),
]

# %%
from rag_helpers.exercises.capstone import check_gold, save_gold

faults = check_gold(gold, documents)
print("\n".join(faults) or "all five can be used")
save_gold(gold, home / "gold.jsonl")

# %% [markdown]
# ## 5 · How many passages?
#
# The quick reader, the best sentence, measures what each *k* finds. With so few questions the
# intervals are nearly as wide as the scale: they tell you to write more.

# %%
from rag_helpers import ExtractiveGenerator, RagPipeline
from rag_helpers.evaluation import evaluate
from rag_helpers.retriever import build_retriever

retriever = build_retriever("hybrid", index, embedder)
numbers = [1, 2, 3, 5]
by_k = {}
for k in numbers:
    system = RagPipeline(retriever, ExtractiveGenerator(), k=k)
    by_k[k] = evaluate(system, gold, documents, search=retriever.search)
    print(f"k = {k}: found in the passages {by_k[k].metrics['answer_in_context']}")

# %%
from rag_helpers.plots import plot_settings

curves = {}
for metric in ("answer_in_context", "contains_answer"):
    means = [by_k[k].metrics[metric] for k in numbers]
    curves[metric] = [(m.value, m.low, m.high) for m in means]
n = by_k[1].n_answerable
axes = plot_settings(numbers, curves, xlabel="k", ylabel="share of questions", n=n)

# %% [markdown]
# The smallest *k* that finds as much as any other: more passages cost the reader time.

# %%
found = {k: by_k[k].metrics["answer_in_context"].value for k in numbers}
best_k = min(k for k in numbers if found[k] == max(found.values()))
print("k =", best_k)

# %% [markdown]
# ## 6 · Which reader?
#
# The best sentence against the course's trained reader, on the same passages, in pairs.

# %%
from rag_helpers.evaluation import compare
from rag_helpers.pipeline import pipeline_over

systems = {
    f"best sentence, k = {best_k}": RagPipeline(retriever, ExtractiveGenerator(), k=best_k),
    f"trained reader, k = {best_k}": pipeline_over(index, k=best_k),
}
reports = {
    name: evaluate(system, gold, documents, search=system.retriever.search)
    for name, system in systems.items()
}
first, second = reports.values()
gain = compare(second, first, "contains_answer")
print(f"trained minus best sentence, contains the answer: {gain.difference}, n = {gain.n}")

# %% [markdown]
# The one whose answers contain the known one more often, and among equals the one with the better F1.
# Look at the outcomes as well: a short accepted answer such as "break" stands in many a sentence.


# %%
def quality(report):
    return [report.metrics[metric].value for metric in ("contains_answer", "f1")]


name, chosen = max(reports.items(), key=lambda item: quality(item[1]))
print(name, chosen.attribution)
for result in chosen.results:
    print(f"{result.id}: {result.outcome:<17} {' '.join((result.text or '').split())[:80]}")

# %% [markdown]
# ## 7 · Serve it, and ask
#
# `BackgroundServer` listens on a free port of this machine until it is stopped.

# %%
import json
import urllib.parse
import urllib.request

from rag_helpers.deployment import BackgroundServer

served = {}
with BackgroundServer(systems[name]) as api:
    for question in (gold[0].question, gold[-1].question):
        query = urllib.parse.urlencode({"query": question})
        with urllib.request.urlopen(f"{api.url}/rag?{query}", timeout=60) as reply:
            served[question] = json.load(reply)["response"]
for question, answer in served.items():
    print(question, "→", " ".join(answer.split())[:100])

# %% [markdown]
# ## 8 · The report
#
# Written from what was measured above, as a notebook beside your documents.

# %%
from rag_helpers.exercises.capstone import write_report

command = f"python -m rag_helpers evaluate --gold gold.jsonl --corpus documents --k {best_k}"
write_report(
    home / "report.ipynb",
    title="My assistant",
    documents=documents,
    chunks=len(index),
    gold=gold,
    reports={f"best sentence, k = {k}": report for k, report in by_k.items()} | reports,
    chosen=name,
    reason=f"At k = {best_k} no other reader contains the answer more often, and among equals none "
    "has a better F1. Mind the intervals.",
    served=served,
    command=command + (" --generator extractive" if name.startswith("best") else ""),
)
print((home / "report.ipynb").stat().st_size, "bytes in", home / "report.ipynb")

# %% [markdown]
# ## What next
#
# - Write fifty questions, better those that people really ask, and run this again.
# - From a terminal: `python -m rag_helpers serve --corpus my_capstone/documents`.
# - When the reader fails on passages that were found, notebook 06 trains it.
