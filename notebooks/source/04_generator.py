# %% [markdown]
# # 4 · Generator: from passages to an answer
#
# **Goal:** budget a prompt, and edit one fact in a passage to see whether the answer follows.
# **Time:** the cells take one to three minutes on two cores, by the processor; reading and exercises
# take longer. No network. **Needs:** notebook 03. **Terms:** [GLOSSARY](GLOSSARY.md).
#
# ![Data flow; lit in this notebook: fill, generate](figures/flow_04.svg)
#
# A *language model* predicts the next token, again and again. It answers from what it read in
# training and from what stands in its *prompt*. RAG puts the evidence into the prompt. Whether the
# model then uses it is something to measure, not to assume.

# %%
from rag_helpers import load_help_topics, set_seed
from rag_helpers.embedding import load_embedders
from rag_helpers.pipeline import load_index
from rag_helpers.retriever import build_retriever

set_seed(0)
documents = load_help_topics()
index = load_index(documents)
_, questions = load_embedders("all-MiniLM-L6-v2")
retriever = build_retriever("dense", index, questions)
hits = retriever.search("What happens when I divide by zero?", k=5)

# %% [markdown]
# ## Filling a prompt: the recipe's way
#
# The recipe joins the *top k* passages (the k best hits) and lets the tokenizer, which turns text
# into tokens, cut everything after 512 of them. A toy with a limit of 12 words shows what that
# does:

# %%
question, passages = "Where is tea grown?", ["Tea is a drink. " * 2, "Tea is grown in Assam."]
joined = f"Question: {question} Context: {' '.join(passages)}"
print(" ".join(joined.split()[:12]))

# %% [markdown]
# The passage with the answer is gone, and nothing said so. On the real hits:

# %%
from rag_helpers import ChatGenerator
from rag_helpers.prompting import recipe_prompt

generator = ChatGenerator("SmolLM2-135M-Instruct")
whole = recipe_prompt("What happens when I divide by zero?", hits)
print(f"{generator.count_tokens(whole.text)} tokens; the recipe keeps the first 512")

# %% [markdown]
# ## A budget instead
#
# `build_prompt` counts tokens, keeps the question whole, shortens a passage only at a sentence or
# word end, and reports what it dropped. While it writes, the model weighs every token of the prompt
# (*attention*); a good answer is copied from the passage that holds it.
#
# ![Of four passages two stand in the prompt whole, one shortened, one is dropped; the answer is copied from the second](figures/prompt_and_answer.svg)
#
# On the real hits:

# %%
from rag_helpers import build_prompt
from rag_helpers.prompting import RECIPE

prompt = build_prompt(
    "What happens when I divide by zero?",
    hits,
    template=RECIPE,
    count_tokens=generator.count_tokens,
    token_budget=512,
)
print(f"{prompt.tokens} tokens, {len(prompt.passages)} passages,", end=" ")
print(f"{len(prompt.shortened)} shortened, {len(prompt.dropped)} dropped")

# %%
from rag_helpers.plots import plot_prompt_budget

lengths = [generator.count_tokens(passage) for passage in prompt.passages]
axes = plot_prompt_budget(prompt, lengths, budget=512)

# %% [markdown]
# When everything fits, the two ways give the same text, to the character:

# %%
roomy = build_prompt(
    whole.question, hits, template=RECIPE, count_tokens=generator.count_tokens, token_budget=8000
)
print(roomy.text == whole.text)

# %% [markdown]
# ## Three kinds of generator
#
# - *Extractive*: returns the best sentence of the passages. It cannot invent, and cannot rephrase.
# - *Encoder–decoder* (T5, Raffel et al., 2020; BART, Lewis et al., 2020): an encoder reads the
#   whole input, then a decoder writes. The recipe's choice.
# - *Chat model* (SmolLM2): a decoder alone, tuned on instructions; it needs its own chat template.

# %%
from rag_helpers import ExtractiveGenerator, RagError, Seq2SeqGenerator

generators = {"extractive": ExtractiveGenerator(), "SmolLM2": generator}
for name in ("t5-small", "facebook/bart-base"):
    try:
        generators[name] = Seq2SeqGenerator(name, num_beams=4)
    except RagError as error:
        print(str(error).split(" (")[0])


# %%
def ask(question, generator, k=3):
    found = retriever.search(question, k=k)
    filled = build_prompt(
        question,
        found,
        template=generator.template,
        count_tokens=generator.count_tokens,
        token_budget=generator.token_budget,
    )
    return generator.generate([filled])[0]


# %%
for question in ("What happens when I divide by zero?", "How do I skip to the next loop cycle?"):
    print(question)
    for name, one in generators.items():
        print(f"  {name:<11}", " ".join(ask(question, one).text.split())[:140])

# %% [markdown]
# ## What the model sees
#
# A chat model was trained on messages between marks such as `<|im_start|>`. The tokenizer's *chat
# template* sets them; a passage that holds such a mark must not be able to end the message.

# %%
from rag_helpers.prompting import CHAT

chat_prompt = build_prompt(
    "What happens when I divide by zero?",
    hits[:1],
    template=CHAT,
    count_tokens=generator.count_tokens,
    token_budget=400,
)
print(chat_prompt.system, "\n---\n", chat_prompt.text[:300], "…")

# %% [markdown]
# ## Beam search: a toy first
#
# *Greedy* decoding takes the likeliest token at every step. *Beam search* keeps several beginnings
# and can find a likelier whole. Here the greedy path starts with "a" and ends worse:

# %%
steps = {"": {"a": 0.6, "b": 0.4}, "a": {"x": 0.5, "y": 0.5}, "b": {"x": 0.9, "y": 0.1}}


def beam_search(width):
    beams = [("", 1.0)]
    for _ in range(2):
        longer = [(t + c, p * q) for t, p in beams for c, q in steps[t].items()]
        beams = sorted(longer, key=lambda beam: -beam[1])[:width]
    return beams[0]


print("greedy:", beam_search(1), "· two beams:", beam_search(2))

# %% [markdown]
# On the model, four beams cost time. Do they buy anything here?

# %%
import time

for beams in (1, 4):
    variant = generator.with_options(num_beams=beams, max_new_tokens=24)
    began = time.perf_counter()
    text = variant.generate([chat_prompt])[0].text
    print(f"{beams} beams: {time.perf_counter() - began:.1f} s  {text}")

# %% [markdown]
# ## Does the answer follow the passage?
#
# An answer is *grounded* when it rests on the passages. To test for grounding we take a passage,
# change one fact in it, and ask again (as Longpre et al., 2021). If the model reads, the answer
# changes with the passage. If it recites what it knows from training, it does not.

# %%
from dataclasses import replace

short = generator.with_options(max_new_tokens=24)


def edit(hit, old, new):
    return replace(hit, chunk=replace(hit.chunk, text=hit.chunk.text.replace(old, new)))


def fill(question, passages, template=CHAT, budget=400):
    return build_prompt(
        question,
        passages,
        template=template,
        count_tokens=generator.count_tokens,
        token_budget=budget,
    )


def answer_from(question, passages):
    return short.generate([fill(question, passages)])[0].text


# %%
question = "Which exception is raised when I divide by zero?"
right = [hit for hit in hits if "ZeroDivisionError" in hit.chunk.text][:1]
changed = [edit(hit, "ZeroDivisionError", "BananaError") for hit in right]
print("as written:", answer_from(question, right))
print("edited:    ", answer_from(question, changed))

# %% [markdown]
# One example proves nothing. We do the same for questions whose answer is a single name, replace
# the name by an invented one, and count. Beside it stands the *closed book* (Roberts et al.,
# 2020): the same question without any passage.

# %%
from rag_helpers import Chunk, Hit
from rag_helpers.evaluation import Judge, load_gold_split

names = [q for q in load_gold_split("dev") if q.answers and q.answers[0].isidentifier()]
judge = Judge(documents, names)
names = [q for q in names if q.id in judge.spans][:12]


def passage_for(question):
    span = judge.spans[question.id]
    text = span.text
    return Hit(Chunk(text, span.source, span.start, span.end), 1.0, 1)


# %%
from rag_helpers.prompting import CLOSED_BOOK

prompts, wanted = {"names the fact": [], "follows the edit": [], "closed book": []}, []
for q in names:
    fact, made_up = q.answers[0], "Banana" + q.answers[0].strip("_").capitalize()
    hit = passage_for(q)
    prompts["names the fact"].append(fill(q.question, [hit]))
    prompts["follows the edit"].append(fill(q.question, [edit(hit, fact, made_up)]))
    prompts["closed book"].append(fill(q.question, [], CLOSED_BOOK))
    wanted.append({"names the fact": fact, "follows the edit": made_up, "closed book": fact})

# %%
counts = {}
for name, filled in prompts.items():
    texts = [generation.text for generation in short.generate(filled)]
    counts[name] = sum(want[name] in text for want, text in zip(wanted, texts, strict=True))

# %%
from rag_helpers.evaluation import bootstrap_interval
from rag_helpers.plots import plot_intervals

rows = {}
for name, count in counts.items():
    share = bootstrap_interval([1.0] * count + [0.0] * (len(names) - count))
    rows[name] = (share.value, share.low, share.high)
    print(f"{name:<17} {share}")
axes = plot_intervals(rows, xlabel="share of answers", n=len(names))

# %% [markdown]
# The first row less the third is what the right passage is worth to this model. Where the second
# row is lower than the first, the model recites, or fails to copy the strange name. With a dozen
# questions each is worth 0.08: gaps within the intervals say nothing.
#
# ## Generators side by side, and what else changes an answer
#
# The same questions again, now also beside another passage that was found and is wrong. Does the
# place of the right one matter (Liu et al., 2024)? Do four beams, or a shorter answer? And what
# does the extractive generator make of it?


# %%
def distractor_for(question):
    found = retriever.search(question.question, k=6)
    return next(hit for hit in found if not judge.holds(question.id, hit.chunk.text))


alone = [fill(q.question, [passage_for(q)]) for q in names]
first = [fill(q.question, [passage_for(q), distractor_for(q)], budget=700) for q in names]
last = [fill(q.question, [distractor_for(q), passage_for(q)], budget=700) for q in names]
variants = {
    "the passage alone": (short, alone),
    "four beams": (short.with_options(num_beams=4), alone),
    "at most 8 tokens": (short.with_options(max_new_tokens=8), alone),
    "first of two": (short, first),
    "last of two": (short, last),
    "extractive, last of two": (ExtractiveGenerator(), last),
}

# %%
rows = {}
for name, (one, filled) in variants.items():
    began = time.perf_counter()
    texts = [generation.text for generation in one.generate(filled)]
    each = [float(q.answers[0] in text) for q, text in zip(names, texts, strict=True)]
    share = bootstrap_interval(each)
    rows[name] = (share.value, share.low, share.high)
    print(f"{name:<26} {share}   {(time.perf_counter() - began) / len(names):.2f} s an answer")
axes = plot_intervals(rows, xlabel="answers that name the fact", n=len(names))

# %% [markdown]
# A dozen questions, so read the intervals before the order. The times are clearer: on our machine
# the second passage cost more than the sixteen further tokens of an answer, and four beams several
# times as much as one.

# %% [markdown]
# ## Try it: the generator playground

# %%
from rag_helpers.widgets import GeneratorPlayground


def build(question, k):
    found = retriever.search(question, k=k) if k else []
    return build_prompt(
        question,
        found,
        template=CHAT if k else CLOSED_BOOK,
        count_tokens=generator.count_tokens,
        token_budget=1000,
    )


def stream(prompt, max_new_tokens, num_beams):
    return generator.with_options(max_new_tokens=max_new_tokens, num_beams=num_beams).stream(prompt)


# %%
examples = ["What happens when I divide by zero?", "How do I stop a loop early?"]
playground = GeneratorPlayground(build, stream, examples=examples)
playground.run()
playground

# %% [markdown]
# **Think about it.** Set the passages to 0 and ask again. Then choose an answer, press *Check*, and read why.
# The [exercises](exercises/04_generator_exercises.ipynb) to this notebook check themselves.

# %%
from rag_helpers.widgets import build_choice_box

build_choice_box("04_generator")

# %% [markdown]
# ## Main take-away
#
# - Budget the prompt by passage; joining and truncating drops evidence without a word.
# - Whether an answer follows its passage can be tested: edit a fact and look.
# - Beams and more passages cost time; measure what they buy.
#
# **What's next:** notebook 05 puts the parts together and asks how good the whole is.
