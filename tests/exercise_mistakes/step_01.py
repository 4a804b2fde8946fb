"""Wrong answers to the exercises of notebook 01."""

import numpy as np

RIGHT = ["cut", "embed", "index", "search", "fill", "generate"]


def generate_first():
    return ["cut", "embed", "index", "search", "generate", "fill"]


def search_before_index():
    return ["cut", "embed", "search", "index", "fill", "generate"]


def one_forgotten():
    return [step for step in RIGHT if step != "index"]


def unknown_word():
    return ["split", *RIGHT[1:]]


def farthest(vectors, question, k):
    return np.argsort(-((vectors - question) ** 2).sum(axis=1))[:k].tolist()


def by_product(vectors, question, k):
    return np.argsort(-(vectors @ question), kind="stable")[:k].tolist()


def distances_themselves(vectors, question, k):
    return sorted(((vectors - question) ** 2).sum(axis=1))[:k]


def refuses_large_k(vectors, question, k):
    if k > len(vectors):
        return []
    return np.argsort(((vectors - question) ** 2).sum(axis=1), kind="stable")[:k].tolist()


def formats_twice(question, passages):
    context = " ".join(passages)
    return f"Question: {question} Context: {context}".format(question=question, context=context)


def strips_braces(question, passages):
    context = " ".join(passages).replace("{", "").replace("}", "")
    return f"Question: {question} Context: {context}"


def replaces_in_turn(question, passages):
    template = "Question: {question} Context: {context}"
    return template.replace("{question}", question).replace("{context}", " ".join(passages))


def lines_between(question, passages):
    return f"Context: {' '.join(passages)} Question: {question}"


QUOTE = "It terminates the nearest enclosing loop, skipping the optional"


def invented_quote():
    return "How do I end a loop?", "break", "The break statement ends every loop there is."


def no_such_topic():
    return "How do I end a loop?", "loops", QUOTE


def copied_question():
    return "What terminates the nearest enclosing loop?", "break", QUOTE


def no_question():
    return "Ending a loop early", "break", QUOTE


MISTAKES = {
    "1.1": [
        (generate_first, "'generate' comes too early"),
        (search_before_index, "'search' comes too early"),
        (one_forgotten, "1 of the six steps are missing"),
        (unknown_word, "none of the words given"),
    ],
    "1.2": [
        (farthest, "farthest rows come first"),
        (by_product, "prefers long vectors"),
        (distances_themselves, "not distances"),
        (refuses_large_k, "k is larger than the number of rows"),
    ],
    "1.3": [
        (formats_twice, "Your function raised"),
        (strips_braces, "The passage '{1, 2} is a set' does not stand whole"),
        (replaces_in_turn, "The question 'Which is {context}?'"),
        (lines_between, "not in the form of the task"),
    ],
    "1.4": [
        (invented_quote, "does not stand in 'break' word for word"),
        (no_such_topic, "no help topic 'loops'"),
        (copied_question, "copied from the quote"),
        (no_question, "question mark"),
    ],
}
