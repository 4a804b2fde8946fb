"""Wrong answers to the exercises of notebook 02."""

import re

from rag_helpers import Chunk

_SENTENCE = r"\S.*?(?:[.!?](?=\s|$)|\Z)"


def without_overlap(words, size, overlap):
    return list(range(0, words, size))


def one_window_more(words, size, overlap):
    return list(range(0, words, size - overlap))


def too_few(words, size, overlap):
    return list(range(0, max(words - size, 1), size - overlap))[: words or 0]


def a_window_of_nothing(words, size, overlap):
    return [0]


def a_sentence_a_piece(text, most):
    return [m.span() for m in re.finditer(_SENTENCE, text, re.DOTALL)]


def _gather(text, most, longest):
    pieces = []
    for match in re.finditer(_SENTENCE, text, re.DOTALL):
        start, end = match.span()
        if pieces and len(text[pieces[-1][0] : end].split()) <= longest:
            pieces[-1] = (pieces[-1][0], end)
        else:
            pieces.append((start, end))
    return pieces


def one_word_too_many(text, most):
    return _gather(text, most, most + 1)


def needs_an_end_mark(text, most):
    return [m.span() for m in re.finditer(r"\S[^.!?]*[.!?]", text)]


def finds_by_words(text, most):
    return [
        (text.find(m.group()), text.find(m.group()) + len(m.group()))
        for m in re.finditer(_SENTENCE, text, re.DOTALL)
    ]


def every_few_words(text, most):
    spans = [m.span() for m in re.finditer(r"\S+", text)]
    return [
        (spans[n][0], spans[min(n + most, len(spans)) - 1][1]) for n in range(0, len(spans), most)
    ]


def joins_with_spaces(text, size):
    words, pieces, start = text.split(), [], 0
    for first in range(0, len(words), size):
        piece = " ".join(words[first : first + size])
        pieces.append((start, start + len(piece), piece))
        start += len(piece) + 1
    return pieces


def searches_for_the_first_word(text, size):
    spans = [m.span() for m in re.finditer(r"\S+", text)]
    pieces = []
    for first in range(0, len(spans), size):
        window = spans[first : first + size]
        piece = text[window[0][0] : window[-1][1]]
        pieces.append((text.find(piece), text.find(piece) + len(piece), piece))
    return pieces


def drops_the_rest(text, size):
    spans = [m.span() for m in re.finditer(r"\S+", text)]
    pieces = []
    for first in range(0, len(spans) - size + 1, size):
        begin, end = spans[first][0], spans[first + size - 1][1]
        pieces.append((begin, end, text[begin:end]))
    return pieces


def keeps_the_space_behind(text, size):
    return [(m.start(), m.end(), m.group()) for m in re.finditer(rf"(?:\S+\s*){{1,{size}}}", text)]


def whole_document(document):
    end = len(document.text)
    return [Chunk(document.text, document.source, 0, end)]


def _every(document, size):
    spans = [m.span() for m in re.finditer(r"\S+", document.text)]
    chunks = []
    for n in range(0, len(spans), size):
        start, end = spans[n][0], spans[min(n + size, len(spans)) - 1][1]
        chunks.append(Chunk(document.text[start:end], document.source, start, end))
    return chunks


def ten_words_each(document):
    return _every(document, 10)


def every_hundred_words(document):
    return _every(document, 100)


def a_little_too_long(document):
    return _every(document, 180)


def joined_again(document):
    return [
        Chunk(" ".join(c.text.split()), c.source, c.start, c.end) for c in _every(document, 100)
    ]


def without_short_lines(document):
    return [
        Chunk(m.group(), document.source, m.start(), m.end())
        for m in re.finditer(r"\S.{20,}", document.text)
    ]


def texts_alone(document):
    return [chunk.text for chunk in _every(document, 100)]


MISTAKES = {
    "2.1": [
        (without_overlap, "should share 1"),
        (one_window_more, "repeats words and adds none"),
        (too_few, "the last words are in none"),
        (a_window_of_nothing, "the last words are in none"),
    ],
    "2.2": [
        (a_sentence_a_piece, "would still have fitted"),
        (one_word_too_many, "more than one sentence"),
        (needs_an_end_mark, "is in no piece"),
        (finds_by_words, "They may stand in the text twice"),
        (every_few_words, "tears a sentence apart"),
    ],
    "2.3": [
        (joins_with_spaces, "Are the spaces between the words as they were?"),
        (searches_for_the_first_word, "found at the wrong place"),
        (drops_the_rest, "words went in and"),
        (keeps_the_space_behind, "begins or ends with a space"),
    ],
    "2.4": [
        (whole_document, "The longest chunk has"),
        (ten_words_each, "The offsets hold, but only"),
        (every_hundred_words, "stands whole in a chunk"),
        (a_little_too_long, "words in the mean"),
        (joined_again, "not what stands between its offsets"),
        (without_short_lines, "is in no chunk"),
        (texts_alone, "Return a list of Chunk"),
    ],
}
