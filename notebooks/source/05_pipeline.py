# %% [markdown]
# # 5 · Pipeline: the whole system, and how good it is
#
# **Goal:** evaluate a RAG system, and say whether retrieval, prompt or reader failed.
# **Time:** the cells take one to three minutes on two cores, by the processor; reading and exercises
# take longer. No network. **Needs:** notebook 04. **Terms:** [GLOSSARY](GLOSSARY.md).
#
# ![Data flow; every arrow is lit](figures/flow_05.svg)
#
# A pipeline is short. Knowing how good it is takes more: questions with known answers, *metrics*
# (rules that turn an answer into a number) that can fail, and an interval around every number.

# %%
from rag_helpers import load_help_topics, load_pipeline, set_seed
from rag_helpers.pipeline import load_index

set_seed(0)
documents = load_help_topics()
index = load_index(documents)
pipeline = load_pipeline(generator="SmolLM2-135M-Instruct", adapters=False)
pipeline.generator = pipeline.generator.with_options(max_new_tokens=32)

# %% [markdown]
# ## The pipeline in a few lines
#
# Retrieve, fill, generate. By hand, with the parts of the earlier notebooks:

# %%
from rag_helpers import build_prompt

question = "What happens when I divide by zero?"
hits = pipeline.retriever.search(question, k=5)
prompt = build_prompt(
    question,
    hits,
    template=pipeline.generator.template,
    count_tokens=pipeline.generator.count_tokens,
    token_budget=pipeline.generator.token_budget,
)
by_hand = pipeline.generator.generate([prompt])[0].text
print(by_hand)

# %% [markdown]
# `RagPipeline` does the same, and adds citations, a confidence and the time of each stage:

# %%
answer = pipeline.answer(question)
print("same text:", answer.text == by_hand, f"· confidence {answer.confidence:.2f}")
for citation in answer.citations:
    print(
        f"[{citation.source}, support {citation.score:.2f}]", " ".join(citation.text.split())[:90]
    )

# %% [markdown]
# ## The recipe's function
#
# `rag_pipeline` has the recipe's signature and meaning. It wants an encoder–decoder such as
# `t5-small`; a chat model is refused in a sentence rather than left to answer nonsense.

# %%
import faiss
from datasets import Dataset
from sentence_transformers import SentenceTransformer

from rag_helpers import RagError, rag_pipeline, resolve
from rag_helpers.models import quiet_loading

dataset = Dataset.from_dict({"text": [chunk.text for chunk in index.chunks]})
flat = faiss.IndexFlatL2(384)
flat.add(index.vectors())
with quiet_loading():
    encoder = SentenceTransformer(str(resolve("all-MiniLM-L6-v2")), device="cpu")

# %%
chat = pipeline.generator
try:
    rag_pipeline(question, encoder, flat, chat.model, chat.tokenizer, dataset)
except RagError as error:
    print(error)

# %% [markdown]
# ## Metrics: a toy first
#
# *Exact match* (EM) and *token F1* compare an answer with the known one after lower-casing and
# dropping punctuation and articles (Rajpurkar et al., 2016). *ROUGE-L* (Lin, 2004) looks for the
# longest common sequence of words, gaps allowed, *BLEU* (Papineni et al., 2002) for shared runs of
# up to four words.

# %%
from rag_helpers.evaluation import exact_match, rouge_l, sentence_bleu, token_f1

gold_answer = ["a ZeroDivisionError exception"]
print(f"{'answer':<44}{'EM':>6}{'F1':>6}{'ROUGE-L':>9}{'BLEU':>6}")
for text in ("ZeroDivisionError exception", "It raises a ZeroDivisionError.", "Nothing happens."):
    scores = [
        metric(text, gold_answer) for metric in (exact_match, token_f1, rouge_l, sentence_bleu)
    ]
    print(f"{text:<44}" + "".join(f"{score:>7.2f}" for score in scores))

# %% [markdown]
# F1 by hand is the harmonic mean of precision (the share of the answer's words that are in the
# known one) and recall (the share of the known one's words that are in the answer):

# %%
from collections import Counter


def f1_by_hand(text, gold):
    shared = sum((Counter(text.split()) & Counter(gold.split())).values())
    precision, recall = shared / len(text.split()), shared / len(gold.split())
    return 2 * precision * recall / (precision + recall)


pair = "it raises zerodivisionerror", "zerodivisionerror exception"
print(f1_by_hand(*pair) == token_f1(pair[0], [pair[1]]))

# %% [markdown]
# The library `evaluate` fetches a script from a hub for each metric and fails without network. A
# metric kept in a folder works offline; this one calls our own functions. The course needs no more
# of the library than that.

# %%
import evaluate

metric = evaluate.load("./metrics/word_overlap")
print(
    metric.compute(predictions=["ZeroDivisionError"], references=["a ZeroDivisionError exception"])
)

# %% [markdown]
# ## Asking questions with known answers
#
# Thirty dev questions, twenty answerable and ten not, keep this cell short. So few questions give
# wide intervals, and the intervals say so.

# %%
from rag_helpers.evaluation import evaluate as evaluate_rag
from rag_helpers.evaluation import load_gold_split

dev = load_gold_split("dev")
answerable = [q for q in dev if q.answers][:20]
unanswerable = [q for q in dev if not q.answers][:10]
report = evaluate_rag(
    pipeline, answerable + unanswerable, documents, search=pipeline.retriever.search
)

# %%
for name in ("recall@5", "mrr@10", "exact_match", "f1", "contains_answer", "rougeL"):
    print(f"{name:<16} {report.metrics[name]}")
print(f"n = {len(answerable)} answerable, 95 % intervals")

# %% [markdown]
# Exact match of an untuned chat model is near zero, since it writes sentences where the known
# answer is a few words. *Contains the answer* (is the known answer in it anywhere?) helps to tell
# a long answer from a wrong one.
#
# ## Which step failed?
#
# For each question: did the retriever miss the passage, did the prompt drop it, or did the reader
# have it and miss the answer?

# %%
from rag_helpers.plots import plot_attribution

print(report.attribution)
axes = plot_attribution(report.attribution)

# %% [markdown]
# ## Baselines
#
# A number means little alone. *Closed book*: no passage. *Best sentence*: no language model.
# *Oracle*: the right passage is handed over, so only the reader can fail.

# %%
from rag_helpers import Chunk, ExtractiveGenerator, Hit, RagPipeline
from rag_helpers.evaluation import Judge
from rag_helpers.prompting import CLOSED_BOOK

judge = Judge(documents, answerable)
by_text = {q.question: judge.spans[q.id] for q in answerable if q.id in judge.spans}


class Oracle:
    name = "oracle"

    def search(self, question, k=5, *, where=None):
        span = by_text[question]
        return [Hit(Chunk(span.text, span.source, span.start, span.end), 1.0, 1)]


systems = {
    "closed book": RagPipeline(pipeline.retriever, chat, template=CLOSED_BOOK),
    "best sentence": RagPipeline(pipeline.retriever, ExtractiveGenerator()),
    "oracle passage": RagPipeline(Oracle(), chat),
}

# %%
from rag_helpers.plots import plot_intervals

reports = {"pipeline": report}
for name, system in systems.items():
    reports[name] = evaluate_rag(system, answerable, documents)
metrics = {name: r.metrics["contains_answer"] for name, r in reports.items()}
rows = {name: (m.value, m.low, m.high) for name, m in metrics.items()}
axes = plot_intervals(rows, xlabel="answers that contain the known one", n=len(answerable))

# %% [markdown]
# A better prompt is a baseline too: asking for a short answer, showing two examples, keeping the
# first line only. And so is the reader that notebook 06 trains. From the file of results:

# %%
import json
from importlib.resources import files

kept = json.loads(files("rag_helpers").joinpath("data/results/ablation.json").read_text("utf-8"))
title, table = next((t, rows) for t, rows in kept["tables"].items() if t.startswith("reader"))
rows = {
    name: tuple(row["f1"][part] for part in ("value", "low", "high"))
    for name, row in table["rows"].items()
}
axes = plot_intervals(rows, xlabel=f"F1; {title}", n=table["n"])

# %% [markdown]
# Look at F1 *and* at "contains the answer" (RESULTS.md has both): where a prompt that shortens answers
# raises the first and leaves the second, it is a gain in format, not in reading.
#
# ## Is a difference real?
#
# Two systems answered the same questions, so compare them question by question: a *paired* test,
# as in notebook 03. While the interval holds 0, the difference may be chance.

# %%
from rag_helpers.evaluation import compare

gain = compare(reports["oracle passage"], report, "contains_answer")
print(f"oracle minus pipeline: {gain.difference}, p = {gain.p:.3f}, n = {gain.n}")

# %% [markdown]
# ## Asking people
#
# Metrics count words. A person can say whether an answer is right, whether the passage says so,
# and whether it reads well. The box hides who wrote what, saves every click and goes on where you
# stopped. Let a second person rate too: *Cohen's kappa* (Cohen, 1960) is their agreement beyond
# chance.

# %%
from rag_helpers.evaluation import blind_items
from rag_helpers.widgets import RatingBox

texts = {
    name: {r.id: r.text for r in reports[name].results if r.answerable}
    for name in ("pipeline", "best sentence")
}
rating_box = RatingBox(
    blind_items(texts)[:10],
    {q.id: q.question for q in answerable},
    passages={q.id: span.text for q in answerable if (span := by_text.get(q.question))},
    file="my_ratings/ratings.jsonl",
    rater="me",
)
rating_box

# %%
print(rating_box.summary())

# %% [markdown]
# ## What is each part worth?
#
# Take the recipe's retriever and add one part after the other. Several rows need an index of their
# own, so this plots a file of results that comes with the course; the script beside that file
# measures it anew. Train and dev questions, no trained adapter.

# %%
title, table = next(iter(kept["tables"].items()))
rows = {
    name: tuple(row["mrr@10"][part] for part in ("value", "low", "high"))
    for name, row in table["rows"].items()
}
axes = plot_intervals(rows, xlabel=f"MRR@10; {title}", n=table["n"])

# %%
for name, row in table["rows"].items():
    print(f"{name:<38} recall@5 {row['recall@5']['value']:.2f}, {row['ms']:>4.0f} ms")

# %% [markdown]
# ## How many passages?
#
# The recipe's tip is to adjust *k*. More passages hold the evidence more often, and give the reader
# more to get lost in. With the best-sentence reader, which is quick enough for sixty questions:

# %%
from rag_helpers.plots import plot_settings

asked, numbers = [q for q in dev if q.answers][:60], [1, 2, 3, 5, 10]
curves = {"answer_in_context": [], "contains_answer": [], "f1": []}
for k in numbers:
    one = RagPipeline(pipeline.retriever, ExtractiveGenerator(), k=k)
    found = evaluate_rag(one, asked, documents).metrics
    for metric, points in curves.items():
        points.append((found[metric].value, found[metric].low, found[metric].high))
axes = plot_settings(numbers, curves, xlabel="k", ylabel="share of questions", n=len(asked))

# %% [markdown]
# The first curve can only rise. Whether the second follows it is the reader's doing: what lies
# between the two curves was found and not read. The language model pays for every passage with
# time. Does it read worse, too? From the file of results, over the tuned retriever, with intervals
# that overlap:

# %%
title, table = next((t, rows) for t, rows in kept["tables"].items() if t.startswith("k:"))
print(f"{title}; n = {table['n']}")
for name, row in table["rows"].items():
    f1 = row["f1"]
    print(
        f"{name:<22} F1 {f1['value']:.2f} [{f1['low']:.2f}, {f1['high']:.2f}] {row['ms']:>6.0f} ms"
    )

# %% [markdown]
# ## Knowing when not to answer
#
# Sorted by confidence, the first answers should be the better ones. The *risk–coverage curve*
# (El-Yaniv & Wiener, 2010) shows the share of wrong answers among those kept. *AUROC* (Hanley &
# McNeil, 1982) is the chance that an answerable question gets more confidence than an unanswerable
# one (0.5 is a coin).

# %%
import matplotlib.pyplot as plt

every = asked + [q for q in dev if not q.answers]
sure = RagPipeline(pipeline.retriever, ExtractiveGenerator(), confidence=pipeline.confidence)
curve = evaluate_rag(sure, every, documents).risk_coverage()
_, axes = plt.subplots(figsize=(6.4, 3.2), facecolor="white", layout="constrained")
axes.step(curve.coverage, curve.risk, where="post")
axes.set_xlabel("share of questions answered, the surest first")
axes.set_ylabel("share of them wrong")
_ = axes.set(title=f"best sentence, n = {len(every)}", ylim=(0, 1))

# %%
print("AUROC", report.metrics["abstention_auroc"])
for q in unanswerable[:3]:
    answer = pipeline.answer(q.question)
    print(f"{answer.confidence:.2f}  {q.question}\n      {' '.join(answer.text.split())[:100]}")

# %% [markdown]
# ## Where the time goes

# %%
from rag_helpers.plots import plot_stages

axes = plot_stages([r.timings_ms for r in report.results])

# %% [markdown]
# ## Ask it yourself

# %%
from rag_helpers.evaluation import example_questions
from rag_helpers.widgets import QuestionBox

box = QuestionBox(pipeline.stream, examples=[q.question for q in example_questions(20)])
box.run()
box

# %% [markdown]
# **Think about it.** Choose an answer, press *Check*, and read why.
# The [exercises](exercises/05_pipeline_exercises.ipynb) to this notebook check themselves.

# %%
from rag_helpers.widgets import build_choice_box

build_choice_box("05_pipeline")

# %% [markdown]
# ## Main take-away
#
# - Score retrieval and answers apart, and ask which step lost each question.
# - A number needs its n, its interval and a baseline beside it.
# - A metric can confuse a change of format with a gain in reading: look at several.
#
# **What's next:** notebook 06 trains both halves on a laptop.
