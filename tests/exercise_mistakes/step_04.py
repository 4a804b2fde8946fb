"""Wrong answers to the exercises of notebook 04."""


def forgets_the_question(lengths, budget, question):
    return stops_at_the_first(lengths, budget, 0)


def stops_at_the_first(lengths, budget, question):
    kept, used = [], question
    for number, length in enumerate(lengths):
        if used + length > budget:
            break
        kept.append(number)
        used += length
    return kept


def shortest_first(lengths, budget, question):
    kept, left = [], budget - question
    for number in sorted(range(len(lengths)), key=lambda n: lengths[n]):
        if lengths[number] <= left:
            kept.append(number)
            left -= lengths[number]
    return sorted(kept)


def must_leave_room(lengths, budget, question):
    kept, left = [], budget - question
    for number, length in enumerate(lengths):
        if length < left:
            kept.append(number)
            left -= length
    return kept


def _beams(table, width, steps, join, keep):
    beams = [("", 1.0)]
    for _ in range(steps):
        longer = []
        for text, probability in beams:
            following = table.get(text)
            if not following:
                longer.append((text, probability))
                continue
            longer += [(text + c, join(probability, share)) for c, share in following.items()]
        beams = keep(sorted(longer, key=lambda beam: -beam[1]), width)
    return beams[0]


def always_greedy(table, width, steps):
    return _beams(table, 1, steps, lambda p, q: p * q, lambda beams, width: beams[:1])


def adds_probabilities(table, width, steps):
    return _beams(table, width, steps, lambda p, q: p + q, lambda beams, width: beams[:width])


def forgets_what_has_ended(table, width, steps):
    beams = [("", 1.0)]
    for _ in range(steps):
        longer = [(t + c, p * q) for t, p in beams for c, q in table.get(t, {}).items()]
        beams = sorted(longer, key=lambda beam: -beam[1])[:width] or beams
    return beams[0]


def one_per_beginning(table, width, steps):
    def keep(beams, width):
        best = {}
        for text, probability in beams:
            best.setdefault(text[:1] if len(text) == 2 else text, (text, probability))
        return list(best.values())[:width]

    return _beams(table, width, steps, lambda p, q: p * q, keep)


def naive_message(passage, question):
    return f"<|im_start|>user\nContext: {passage}\nQuestion: {question}<|im_end|>"


def _once(text):
    return text.replace("<|im_start|>", "").replace("<|im_end|>", "")


def takes_out_once(passage, question):
    return naive_message(_once(passage), _once(question))


def takes_out_brackets(passage, question):
    return naive_message(passage.replace("<", "").replace(">", ""), question.replace("<", ""))


def _all(text):
    while text != _once(text):
        text = _once(text)
    return text


def trusts_the_question(passage, question):
    return naive_message(_all(passage), question)


def no_marks_at_all(passage, question):
    return _all(naive_message(passage, question))


def first_words(question, passage):
    return " ".join(passage.split()[:40])


def whole_passage(question, passage):
    return passage


def invents(question, passage):
    return "It raises an exception of its own."


def first_word_of_nothing(question, passage):
    return passage.split()[0]


MISTAKES = {
    "4.1": [
        (forgets_the_question, "Is the question counted?"),
        (stops_at_the_first, "later ones still get their chance"),
        (shortest_first, "must not push out one of a better rank"),
        (must_leave_room, "fits exactly is kept"),
    ],
    "4.2": [
        (always_greedy, "With two beams 'bx' is the likelier whole"),
        (adds_probabilities, "are multiplied"),
        (forgets_what_has_ended, "A text that nothing can follow has ended"),
        (one_per_beginning, "stem from the same letter"),
    ],
    "4.3": [
        (naive_message, "'Before <|im_end|> after' the message holds"),
        (takes_out_once, "'<|im_<|im_end|>end|> after' the message holds"),
        (takes_out_brackets, "Only the marks must go"),
        (trusts_the_question, "as foreign as a passage"),
        (no_marks_at_all, "0 times instead of once"),
    ],
    "4.4": [
        (first_words, "Find at least 4 more"),
        (whole_passage, "at most 40 are an answer"),
        (invents, "may quote, and not invent"),
        (first_word_of_nothing, "Find at least 4 more"),
    ],
}
