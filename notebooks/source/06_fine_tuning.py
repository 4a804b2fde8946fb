# %% [markdown]
# # 6 · Fine-tuning: both halves, on a laptop, with proof
#
# **Goal:** train the retriever and the generator, and see what got better, what got worse, and what
# a better prompt alone gives.
# **Time:** the cells take two to five minutes on two cores (quick profile), by the processor;
# reading and exercises take longer. No network. **Needs:** notebook 05. **Terms:** [GLOSSARY](GLOSSARY.md).
#
# ![Data flow; lit in this notebook: embed, generate](figures/flow_06.svg)
#
# *Fine-tuning* goes on with a model's training, on examples of your own. It is optional, and it is
# easy to fool oneself with: so everything here is measured on questions that were not trained on,
# before and after.

# %%
import os

from rag_helpers import load_help_topics, set_seed

set_seed(0)
profile = os.environ.get("RAG_PROFILE", "quick")
quick = profile != "full"
sizes = {
    "retriever pairs": 64 if quick else 10_000,
    "retriever epochs": 2 if quick else 6,
    "generator pairs": 48 if quick else 10_000,
    "questions to read": 62 if quick else 150,
}
print(profile, sizes)

# %% [markdown]
# The quick profile trains the generator on 48 examples and the retriever for two *epochs* (rounds
# over all examples). Start Jupyter with the environment variable `RAG_PROFILE=full` for all of
# them.

# %%
from rag_helpers.evaluation import Judge, load_gold_split
from rag_helpers.pipeline import WINDOW_WORDS, load_index

documents = load_help_topics()
index = load_index(documents, window_words=WINDOW_WORDS)
train, dev = load_gold_split("train"), load_gold_split("dev")
print(len(train), "questions to train on,", len(dev), "to measure on;", len(index), "chunks")

# %% [markdown]
# ## Is anything in both sets?
#
# A question about the same passage in both sets would make every figure below too good. The check
# compares the evidence by its runs of five words, and refuses to go on when it finds any.

# %%
from rag_helpers.fine_tuning import check_overlap, evidence_texts

check_overlap(evidence_texts(train, documents), evidence_texts(dev, documents))
print("no passage stands in both")

# %% [markdown]
# ## The retriever's lesson: a toy first
#
# Training makes a number smaller, the *loss*. *Contrastive* training (van den Oord et al., 2018)
# pulls a question towards its own passage and pushes the others away.
#
# ![A question pulled to its passage and pushed from two others; a table of cosines whose diagonal is pulled up](figures/contrastive_loss.svg)
#
# Take three questions and
# three passages as vectors of two numbers; their products are the scores, the diagonal is right.
# The loss is the mean *cross-entropy*: minus the logarithm of the probability that a row gives to
# its right passage.

# %%
import numpy as np
import torch

questions = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
passages = np.array([[0.8, 0.6], [0.0, 1.0], [1.0, 0.0]])
scores = 20 * questions @ passages.T
probability = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
by_hand = -np.log(probability.diagonal()).mean()
by_torch = torch.nn.functional.cross_entropy(torch.tensor(scores), torch.arange(3))
print(probability.round(2), np.isclose(by_hand, float(by_torch)), round(by_hand, 2), sep="\n")

# %% [markdown]
# The second question prefers its own passage already, the diagonal says. The first and the third
# prefer each other's: they give nearly all of the loss, and so nearly all of the push. The factor 20
# sharpens cosines, which lie close together.
#
# ## Pairs from the corpus
#
# Each training question stands beside the chunk that holds its evidence.

# %%
from rag_helpers.fine_tuning import build_retriever_pairs

answerable = [question for question in train if question.answers]
pairs = build_retriever_pairs(answerable[: sizes["retriever pairs"]], documents, index.chunks)
print(len(pairs), "pairs;", pairs[0].question, "→", " ".join(pairs[0].passage.split())[:90])

# %% [markdown]
# ## Pairs without anybody's questions
#
# You have no questions yet? A heading asks for what stands below it, and a language model can make
# questions up. Those are kept only when the retriever finds their chunk again: the *round trip*
# (Alberti et al., 2019, who checked with a reader).

# %%
from rag_helpers import ChatGenerator, DenseRetriever, SentenceEmbedder
from rag_helpers.fine_tuning import pairs_from_headings, pairs_from_model

embedder = SentenceEmbedder("all-MiniLM-L6-v2")
untuned = DenseRetriever(index, embedder)
generator = ChatGenerator("SmolLM2-135M-Instruct", max_new_tokens=24, batch_size=24)

headed = pairs_from_headings(index.chunks)
print(len(headed), "from headings, such as", repr(headed[5].question))
some = index.chunks[10:22]
made_up = pairs_from_model(some, generator.generate, untuned.search)
print(f"{len(made_up)} of {len(some)} made-up questions kept:")
print("\n".join(f"  {pair.question}" for pair in made_up[:4]))

# %% [markdown]
# Compare them with the train questions above: do they sound like what somebody would ask?
#
# ## Hard negatives, and false ones
#
# A wrong passage that *looks* right, a *hard negative*, teaches more than one picked at random
# (Xiong et al., 2021). We take them from what the untuned retriever finds. But some of that is
# right after all, the more so as the same passage stands in several topics here (on such *false
# negatives*: Qu et al., 2021). How many of the best hits?

# %%
from rag_helpers.fine_tuning import is_right, mine_hard_negatives
from rag_helpers.retriever.passages import headed_text

found = [(pair, hit) for pair in pairs for hit in untuned.search(pair.question, k=3)]
false = sum(is_right(pair, headed_text(hit.chunk)) for pair, hit in found)
print(f"{false} of the {len(found)} best hits are right: taught as wrong, they would undo the rest")

# %%
pairs = mine_hard_negatives(pairs, untuned.search, count=1)
print("?", pairs[1].question)
print("+", " ".join(pairs[1].passage.split())[:100])
print("-", " ".join(pairs[1].negatives[0].split())[:100])

# %% [markdown]
# ## Two ways to train
#
# Trained on such triples, the encoder changes for *both* sides: every passage gets a new vector, and
# the corpus must be embedded again. Or the *question side* learns alone (Lee et al., 2021). The
# passages' vectors stay, so the index stays, and instead of a few hard negatives a question can be
# told from **all** chunks of the corpus at once: that is one matrix product.

# %%
from rag_helpers.fine_tuning import build_question_lessons

watched = 60
question_lessons = build_question_lessons(answerable[:-watched], documents, index)
name = question_lessons.questions[0]
right = [index.chunks[place].id for place in question_lessons.right[0]]
print(len(question_lessons.questions), "questions, such as", repr(name), "→", right)

# %% [markdown]
# ## Training the question side
#
# All 22.7 million weights could be trained. *LoRA* (Hu et al., 2022) leaves them as they are and
# puts two thin matrices beside layers of the model: far fewer numbers. Together they are the
# *adapter*, a file small enough to mail.
#
# The chart grows while it trains. Its recall is that of 60 train questions that were kept aside.

# %%
from rag_helpers.widgets import TrainingChart

chart = TrainingChart("recall@5", title="The question side")
chart

# %%
from pathlib import Path

from rag_helpers.fine_tuning import train_question_side

aside = build_question_lessons(answerable[-watched:], documents, index)


def recall_at_5(embed):
    return float(np.mean(np.array(aside.ranks(embed(aside.questions))) <= 5))


folder = Path("my_adapters")
tuned = train_question_side(
    [question_lessons],
    folder / "questions",
    epochs=sizes["retriever epochs"],
    score=recall_at_5,
    evaluate_every=5,
    on_step=chart,
)
print(f"kept: step {tuned.best_step} of {tuned.history[-1].step}")

# %%
print(f"{tuned.trained_parameters:,} of {tuned.parameters:,} numbers trained")
print(f"{tuned.seconds:.0f} s, peak memory {tuned.peak_memory_mb / 1000:.1f} GB")
size = (tuned.folder / "adapter_model.safetensors").stat().st_size
print(f"adapter: {size / 1e6:.1f} MB")

# %% [markdown]
# ## Did it get better?
#
# Both retrievers search the same index with the same dev questions; only the questions' vectors
# differ.

# %%
from rag_helpers.embedding import load_embedders

_, questions = load_embedders("all-MiniLM-L6-v2", adapter=tuned.folder)
retuned = DenseRetriever(index, questions)

# %%
judge = Judge(documents, dev)
asked = [question for question in dev if question.id in judge.spans]


def reciprocal_ranks(retriever):
    ranks = [judge.first_right(q.id, retriever.search(q.question, k=10)) for q in asked]
    return np.array([1 / rank if rank else 0.0 for rank in ranks])


before, after = reciprocal_ranks(untuned), reciprocal_ranks(retuned)

# %% [markdown]
# A gain is worth telling only with its interval, and the interval must be *paired*: the same
# questions, before and after.

# %%
from rag_helpers.evaluation import paired_test


def tell(name, old, new):
    gain = paired_test(new, old)
    print(f"{name}: {np.mean(old):.3f} → {np.mean(new):.3f}, gain {gain.difference}, n = {gain.n}")
    if gain.difference.low <= 0 <= gain.difference.high:
        print(
            "The interval includes 0: this says neither that it got better nor that it got worse."
        )


tell("recall@5", before >= 1 / 5, after >= 1 / 5)
tell("MRR@10", before, after)

# %% [markdown]
# And on the questions it was trained on? The gain there is usually larger, and says nothing about
# new questions: ask which of the two it is when somebody shows you theirs.

# %%
seen = [
    np.array(question_lessons.ranks(side.embed(question_lessons.questions)))
    for side in (embedder, questions)
]
tell("MRR on training questions", *(1 / ranks for ranks in seen))

# %% [markdown]
# Does the gain survive in the default retriever, which adds keywords?

# %%
from rag_helpers.retriever import build_retriever

tell("hybrid MRR@10", *(
    reciprocal_ranks(build_retriever("hybrid", index, side)) for side in (embedder, questions)
))  # fmt: skip

# %% [markdown]
# A mean hides what it is a mean of. Some questions got better, others worse:

# %%
change = after - before
print((change > 0).sum(), "better,", (change < 0).sum(), "worse,", (change == 0).sum(), "the same")
for place in [*np.argsort(-change)[:3], *np.argsort(change)[:3]]:
    print(f"{before[place]:.2f} → {after[place]:.2f}  {asked[place].question}")

# %% [markdown]
# ## A teacher instead of labels
#
# A slow judge can teach a fast one. The chat model says how likely it finds the question after
# each candidate; the question side then learns to divide its scores in the same way
# (*distillation*, Hinton et al., 2015; of this kind, Sachan et al., 2023). Nobody had to say which
# passage is right.

# %%
from rag_helpers.fine_tuning import lessons_from_teacher
from rag_helpers.pipeline import QuestionLikelihood
from rag_helpers.retriever import RerankedRetriever

teacher = RerankedRetriever(untuned, QuestionLikelihood(generator), depth=5)
asked_of_teacher = {question.id: question.question for question in answerable[:2]}
taught = lessons_from_teacher(asked_of_teacher, index, teacher.search, depth=5)
for question, places, shares in zip(taught.questions, taught.right, taught.weights, strict=True):
    print(question)
    for place, share in zip(places, shares, strict=True):
        print(f"   {share:.0%} {index.chunks[place].id}")

# %% [markdown]
# `train_question_side` takes these lessons as it takes those with labels. RESULTS.md has what the
# teacher, made-up questions and labels brought on dev questions, each with its interval.
#
# ## Overfitting, on purpose
#
# A model is *overfitted* when it fits its training examples at the cost of all others. Eight
# pairs, every weight free, eight long steps: the training loss falls to almost nothing. What
# happens to questions that were not trained on? (The passages are the bare evidence here, to be
# quick.)

# %%
from rag_helpers.fine_tuning import RetrieverPair, train_retriever

unseen = asked[:60]
texts = [" ".join(judge.spans[question.id].text.split()) for question in unseen]
evidence = evidence_texts(train, documents)
few = [RetrieverPair(q.id, q.question, evidence[q.id]) for q in answerable if q.id in evidence][:8]


def score(embed):
    similarity = embed([question.question for question in unseen]) @ embed(texts).T
    return float((similarity.argmax(axis=1) == np.arange(len(unseen))).mean())


# %%
overfitted = train_retriever(
    few,
    folder / "overfitted",
    method="full",
    epochs=8,
    batch_size=8,
    learning_rate=6e-4,
    score=score,
    evaluate_every=4,
)
steps, shares = zip(*overfitted.scores, strict=True)
losses = dict(overfitted.losses)
at_start = score(embedder.embed)
print(f"dev questions whose evidence comes first: {at_start:.3f} untuned")
print({step: round(share, 3) for step, share in overfitted.scores})

# %%
from rag_helpers.plots import plot_training

axes = plot_training(
    [0, *steps],
    {
        "training loss": [losses[1], *(losses[step] for step in steps)],
        "share right on unseen questions": [at_start, *shares],
    },
    ylabel="loss, or share",
)

# %% [markdown]
# The loss alone would have told a success story. This is why `train_retriever` takes a `score`, keeps
# the weights of the best one, and stops when `patience` runs out.
#
# ## The generator's lesson
#
# A prompt as it will be asked, and the answer that should follow: short, and copied from the
# context. The full profile adds prompts with a wrong passage, whose answer is *not in the
# context*. The quick one leaves them out: from so few examples a model may learn to decline, and
# little else.

# %%
from rag_helpers import split_by_structure
from rag_helpers.fine_tuning import NOT_IN_CONTEXT, build_generator_pairs

generator = generator.with_options(max_new_tokens=12)
short_chunks = split_by_structure(documents, max_words=40)


def prompts_for(gold, count, **options):
    return build_generator_pairs(
        gold[:count], documents, short_chunks, count_tokens=generator.count_tokens, **options
    )


gold = answerable if quick else train
lessons = prompts_for(gold, sizes["generator pairs"], unanswerable=0 if quick else 0.25)
declined = sum(pair.answer == NOT_IN_CONTEXT for pair in lessons)
print(len(lessons), "prompts,", declined, "of them to be declined")
print("…", " ".join(lessons[0].prompt.text.split())[-160:], "→", lessons[0].answer)

# %% [markdown]
# The *loss* counts the answer's tokens alone. By hand, on one pair: the model's log-probability of
# each token of the answer, given everything before it.

# %%
pair = lessons[0]
likelihood = generator.log_likelihood([pair.prompt], [pair.answer])[0]
print(f"{pair.answer!r}: mean log-probability {likelihood:.2f} per token")
print(
    f"the model gives a token of the right answer {np.exp(likelihood):.1%} on (geometric) average"
)

# %% [markdown]
# ## Before: what a better prompt alone gives
#
# An untuned model can be *asked* for short answers. That costs no training, so it is the baseline
# to beat: without it, a change of format is easily taken for a gain in reading. (Another cheap
# trick, keeping only the first line, is in all rows: `ChatGenerator` stops there.)

# %%
from rag_helpers.prompting import FEW_SHOT, SHORT_ANSWER

exam = {
    name: prompts_for(asked, sizes["questions to read"], unanswerable=0.15, **options)
    for name, options in {
        "plain prompt": {},
        "asked to be short": {"template": SHORT_ANSWER},
        "two examples": {"template": FEW_SHOT},
    }.items()
}
if quick:
    exam["two examples"] = exam["two examples"][:20]
print({name: len(pairs) for name, pairs in exam.items()})

# %%
import time

known = {question.id: question.answers for question in dev}
answers, seconds = {}, {}
for name, exam_pairs in exam.items():
    began = time.perf_counter()
    generations = generator.generate([pair.prompt for pair in exam_pairs])
    seconds[name] = (time.perf_counter() - began) / len(exam_pairs)
    answers[name] = {p.id: g.text for p, g in zip(exam_pairs, generations, strict=True)}

# %% [markdown]
# ## Training the generator

# %%
from rag_helpers.fine_tuning import train_generator

reader_chart = TrainingChart(title="The generator")
reader_chart

# %%
trained = train_generator(lessons, folder / "generator", batch_size=4, on_step=reader_chart)
print(f"{trained.seconds:.0f} s, peak memory {trained.peak_memory_mb / 1000:.1f} GB")
print(f"{trained.trained_parameters:,} of {trained.parameters:,} numbers trained")

# %%
tuned_generator = ChatGenerator(
    "SmolLM2-135M-Instruct", adapter=trained.folder, max_new_tokens=12, batch_size=24
)
began = time.perf_counter()
generations = tuned_generator.generate([pair.prompt for pair in exam["plain prompt"]])
seconds["tuned"] = (time.perf_counter() - began) / len(generations)
answers["tuned"] = {p.id: g.text for p, g in zip(exam["plain prompt"], generations, strict=True)}

# %% [markdown]
# ## After: the same questions, side by side

# %%
from rag_helpers.evaluation import bootstrap_interval, contains_answer, exact_match, token_f1

answered = [pair.id for pair in exam["plain prompt"] if pair.answer != NOT_IN_CONTEXT]
values = {
    metric.__name__: {
        name: np.array([metric(texts[i], known[i]) for i in answered if i in texts])
        for name, texts in answers.items()
    }
    for metric in (exact_match, token_f1, contains_answer)
}
for metric, by_system in values.items():
    row = "  ".join(f"{name} {value.mean():.2f}" for name, value in by_system.items())
    print(f"{metric:<16} {row}")
print("n =", {name: len(value) for name, value in values["token_f1"].items()})

# %%
from rag_helpers.plots import plot_intervals

rows = {
    f"{name} ({len(value)})": bootstrap_interval(value)
    for name, value in values["token_f1"].items()
}
axes = plot_intervals(
    {name: (row.value, row.low, row.high) for name, row in rows.items()},
    xlabel="token F1 (number of questions in brackets)",
    n=len(answered),
)

# %%
for metric, by_system in values.items():
    prompts = [
        name for name in by_system if name != "tuned" and len(by_system[name]) == len(answered)
    ]
    best_prompt = max(prompts, key=lambda name: by_system[name].mean())
    tell(f"{metric}, {best_prompt} → tuned", by_system[best_prompt], by_system["tuned"])

# %% [markdown]
# *Exact match* and *F1* reward the format as well as the reading. *Contains the answer* asks for
# no format, but favours long answers. Where all three gain, and no interval holds 0, the model has
# become a better reader; where only the first two do, it may be the format.
#
# Here every answer is cut after 12 tokens, to be quick. That hurts the untuned model most, which
# writes more words; the cards of the shipped adapters, below, compare with 32 tokens.
#
# Does it decline when the passage is a wrong one, and only then?

# %%
for name, texts in answers.items():
    says_no = {i: "not in the context" in text.lower() for i, text in texts.items()}
    wrong = [no for i, no in says_no.items() if i not in set(answered)]
    right = [says_no[i] for i in answered if i in says_no]
    print(
        f"{name:<18} declines {np.mean(wrong):.2f} of wrong passages, {np.mean(right):.2f} of right"
    )

# %%
f1 = values["token_f1"]
order = np.argsort(f1["tuned"] - f1["plain prompt"])
for place in [order[-1], order[-2], order[0], order[1]]:
    name = answered[place]
    question = next(question for question in dev if question.id == name)
    print(f"{question.question}  (known: {question.answers[0]})")
    for system in ("plain prompt", "tuned"):
        print(f"   {system:<13} {' '.join(answers[system][name].split())[:90]}")

# %% [markdown]
# ## What it cost

# %%
for name, value in seconds.items():
    print(f"{name:<18} {value:.2f} s an answer")
for name, run in {"retriever": tuned, "generator": trained}.items():
    print(f"training the {name:<9} {run.seconds:.0f} s, {run.peak_memory_mb / 1000:.1f} GB")

# %% [markdown]
# No answer may have more than 12 tokens here, so being short saves little.
#
# ## Encoder–decoders: the recipe's path
#
# T5 and BART (notebook 04) are trained with `Seq2SeqTrainer`, every weight of them. Where the
# model is not on this disk, one sentence says so.

# %%
from rag_helpers import RagError
from rag_helpers.fine_tuning import train_seq2seq
from rag_helpers.prompting import RECIPE

try:
    recipe_lessons = prompts_for(answerable, sizes["generator pairs"], template=RECIPE)
    train_seq2seq(recipe_lessons, folder / "t5-small", model="t5-small", epochs=1)
except RagError as error:
    print("Not here:", str(error).splitlines()[0][:150])

# %% [markdown]
# ## The adapters that come with the course
#
# Notebooks 01 to 05 run the models as published. The course ships adapters that were trained as
# above, on all train questions, 682 more for practice, and articles of XQuAD (questions on
# Wikipedia paragraphs; Artetxe et al., 2020). Each has a card with its data and its figures.
# `load_pipeline()` uses them from here on, as the command line and the API do. `RAG_ADAPTERS=off`
# turns them off everywhere.

# %%
from rag_helpers.models import lora_adapter

shipped = {name: lora_adapter(name) for name in ("all-MiniLM-L6-v2", "SmolLM2-135M-Instruct")}
for name, place in shipped.items():
    card = (place / "README.md").read_text(encoding="utf-8").splitlines() if place else []
    print(f"{name:<24}", "here" if place else "not here: `python -m rag_helpers adapters`")
    print("\n".join(f"   {line[2:100]}" for line in card if line.startswith(("- MRR", "- F1"))))

# %% [markdown]
# ## Short answers, and answers in full
#
# Exact match and F1 suit answers of a few words. Who asks *how* or *why* wants a sentence or two.
# The shipped adapter learnt both, each with its own prompt; the pipeline chooses by the question,
# or by `style`.

# %%
from rag_helpers import load_pipeline

new = load_pipeline()
for question in ("How do I stop a loop early?", "Why can a list not be the key of a dictionary?"):
    print(question)
    for style in ("short", "sentences"):
        print(f"   {style:<10} {new.answer(question, style=style).text}")

# %% [markdown]
# Read them beside the passages: an answer in full can be as wrong as a short one, and sounds surer.
#
# How good are the sentences? *ROUGE-L* (notebook 05) compares them with the sentences of the
# evidence; *supported* is the largest share of an answer's words that one citation holds. From the
# results that come with the course, on dev questions that ask how or why:

# %%
import json
from importlib.resources import files

kept = json.loads((files("rag_helpers") / "data/results/ablation.json").read_text("utf-8"))
table = kept["tables"]["reader: questions how and why, in sentences"]
for system, row in table["rows"].items():
    rouge, supported = row["rougeL"], row["supported_by_citation"]
    print(
        f"{system:<30} ROUGE-L {rouge['value']:.2f} [{rouge['low']:.2f}, {rouge['high']:.2f}]  "
        f"supported {supported['value']:.2f}  {row['ms']:.0f} ms"
    )
gain = table["rows"]["tuned, in sentences (default)"]["gain"]
print(
    f"last row minus first: {gain['value']:+.2f} [{gain['low']:+.2f}, {gain['high']:+.2f}], paired"
)
print("n =", table["n"])

# %% [markdown]
# The trained model's mean is above the published one's, and not above that of picking the best
# sentence, which takes no language model at all: look at the last interval before you pay for one.
# (`generator="extractive"` is the first row.)

# %% [markdown]
# ## Ask old and new the same question

# %%
from rag_helpers import RagPipeline
from rag_helpers.evaluation import example_questions
from rag_helpers.widgets import CompareBox

as_published = generator.with_options(max_new_tokens=64)
old = RagPipeline(build_retriever("hybrid", index, embedder), as_published)
compare_box = CompareBox(
    {"as published": old.answer, "tuned": new.answer},
    examples=[question.question for question in example_questions(12)],
)
compare_box

# %%
for name, pipeline in {"as published": old, "tuned": new}.items():
    answer = pipeline.answer("What happens when I divide by zero?")
    print(f"{name:<13} {answer.text}")

# %% [markdown]
# **Think about it.** Ask both something of your own. Then choose an answer, press *Check*, and read why.
# The [exercises](exercises/06_fine_tuning_exercises.ipynb) to this notebook check themselves.

# %%
from rag_helpers.widgets import build_choice_box

build_choice_box("06_fine_tuning")

# %% [markdown]
# ## Main take-away
#
# - Measure on questions that were not trained on, paired, with an interval; say so when it holds 0.
# - Passages that are right elsewhere in the corpus must not be taught as wrong.
# - Try a better prompt first; it needs no training.
# - A falling training loss does not show that anything got better on new questions.
#
# **What's next:** notebook 07 makes the system fast and puts it behind an API.
