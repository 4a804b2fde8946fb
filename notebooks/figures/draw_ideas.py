"""Draws one picture for each idea that is hard to see in code: chunk_overlap.svg and its like.

They speak the language of draw_flow.py: what is spoken of is blue, what happens to it is orange,
the rest is grey. Every number in a picture is computed here, from a toy that the notebook shows.

Run it from anywhere: ``python notebooks/figures/draw_ideas.py``.
"""

from html import escape
from itertools import pairwise
from math import cos, hypot, radians, sin
from pathlib import Path

WIDTH, CARD = 1008, "#fbfaf6"
INK, NOTE, REST, BLUE, ORANGE = "#112233", "#444444", "#666666", "#1f5f99", "#b3540e"
LIT = f"fill='#dbe9f6' stroke='{BLUE}'"
DIM = "fill='#eeeeea' stroke='#a9a9a2'"
PLAIN = "fill='#ffffff' stroke='#a9a9a2'"
# Hatching, so that a fill is told from another without colour.
HATCH = (
    "<defs><pattern id='hatch' width='7' height='7' patternUnits='userSpaceOnUse' "
    "patternTransform='rotate(45)'><rect width='7' height='7' fill='#fbe3cf'/>"
    f"<path d='M0 0 V7' stroke='{ORANGE}' stroke-width='1.6'/></pattern></defs>"
)
SHARED = f"fill='url(#hatch)' stroke='{ORANGE}'"


def picture(height, title, description, *parts):
    """Put the parts on a card of their own, which keeps them readable on any page."""
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' role='img' "
            f"aria-labelledby='title' aria-describedby='description'>",
            f"<title id='title'>{escape(title)}</title>",
            f"<desc id='description'>{escape(description)}</desc>",
            f"<rect width='{WIDTH}' height='{height}' rx='8' fill='{CARD}'/>",
            write(14, 25, title, NOTE),
            *parts,
            "</svg>\n",
        ]
    )


def write(x, y, text, ink=INK, *, at="start", size=15, weight="normal"):
    return (
        f"<text x='{x:g}' y='{y:g}' text-anchor='{at}' font-family='sans-serif' "
        f"font-size='{size}' font-weight='{weight}' fill='{ink}'>{escape(text)}</text>"
    )


def box(x, y, width, height, text="", look=PLAIN, ink=INK):
    return (f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' rx='6' {look}/>") + (
        write(x + width / 2, y + height / 2 + 5, text, ink, at="middle") if text else ""
    )


def line(x, y, to_x, to_y, ink=NOTE, width=1.2, dash=""):
    dashed = f" stroke-dasharray='{dash}'" if dash else ""
    return (
        f"<path d='M{x:.1f} {y:.1f} L{to_x:.1f} {to_y:.1f}' stroke='{ink}' "
        f"stroke-width='{width}' fill='none'{dashed}/>"
    )


def arrow(x, y, to_x, to_y, ink=ORANGE, width=2.5, dash=""):
    length = hypot(to_x - x, to_y - y)
    along_x, along_y = (to_x - x) / length, (to_y - y) / length
    foot_x, foot_y = to_x - 10 * along_x, to_y - 10 * along_y
    head = (
        f"<path d='M{to_x:.1f} {to_y:.1f} L{foot_x - 6 * along_y:.1f} {foot_y + 6 * along_x:.1f} "
        f"L{foot_x + 6 * along_y:.1f} {foot_y - 6 * along_x:.1f} z' fill='{ink}'/>"
    )
    return line(x, y, foot_x, foot_y, ink, width, dash) + head


def dot(x, y, fill=BLUE, radius=7):
    return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{radius}' fill='{fill}'/>"


def diamond(x, y, fill=ORANGE):
    return f"<path d='M{x:.1f} {y - 10:.1f} l10 10 l-10 10 l-10 -10 z' fill='{fill}'/>"


def chunk_overlap():
    text = "The cat sat on the mat. The dog slept. Rain fell all night on the old roof."
    size, overlap = 7, 2
    words = text.split()
    windows = [
        words[first : first + size] for first in range(0, len(words) - overlap, size - overlap)
    ]
    # A character takes the same room everywhere, so that the bars stand under their words.
    left, wide = 40, 12.4
    parts, begins = [HATCH], []
    for word in words:
        begins.append(text.index(word, begins[-1] + 1 if begins else 0))
    spans = []
    for number, window in enumerate(windows):
        first = number * (size - overlap)
        spans.append((begins[first], begins[first + len(window) - 1] + len(window[-1])))
    shared = [(later[0], earlier[1]) for earlier, later in pairwise(spans)]
    for start, end in shared:
        x, width = left + start * wide - 4, (end - start) * wide + 2
        parts.append(f"<rect x='{x:g}' y='46' width='{width:g}' height='200' fill='#fbe3cf'/>")
    for word, begin in zip(words, begins, strict=True):
        parts.append(write(left + (begin + len(word) / 2) * wide, 72, word, at="middle", size=17))
    for number, (start, end) in enumerate(spans):
        y, x, width = 92 + 50 * number, left + start * wide - 4, (end - start) * wide + 2
        parts.append(box(x, y, width, 38, look=LIT))
        for begin, stop in shared:
            if start <= begin and stop <= end:
                parts.append(
                    box(left + begin * wide - 4, y, (stop - begin) * wide + 2, 38, look=SHARED)
                )
        inner = [max([start, *(e for b, e in shared if b == start)])]
        inner.append(min([end, *(b for b, e in shared if e == end)]))
        middle = left + sum(inner) / 2 * wide
        parts.append(
            write(
                middle, y + 24, f"chunk {number + 1}: [{start}:{end}]", at="middle", weight="bold"
            )
        )
    for start, end in shared:
        middle = left + (start + end) / 2 * wide
        parts.append(write(middle, 266, "overlap", ORANGE, at="middle", weight="bold"))
    return picture(
        280,
        f"Chunks of {size} words that share {overlap}: the offsets say where each was cut",
        f"The sentence {text!r} with {len(spans)} bars below it, one for each chunk: characters "
        + ", ".join(f"{start} to {end}" for start, end in spans)
        + ". Where two bars lie below the same words, they are hatched: that is the overlap.",
        *parts,
    )


def embedding_space():
    x, y, radius = 300, 330, 265
    at = {"question": 72, "near": 44, "far": -4}

    def place(name, share=1.0):
        angle = radians(at[name])
        return x + share * radius * cos(angle), y - share * radius * sin(angle)

    arc = (
        f"<path d='M{x + radius * cos(radians(-8)):.1f} {y - radius * sin(radians(-8)):.1f} "
        f"A{radius} {radius} 0 0 0 {x + radius * cos(radians(98)):.1f} "
        f"{y - radius * sin(radians(98)):.1f}' fill='none' stroke='#a9a9a2' stroke-dasharray='3 4'/>"
    )
    (qx, qy), (nx, ny), (fx, fy) = place("question"), place("near"), place("far")
    (ax, ay), (bx, by) = place("question", 0.3), place("near", 0.3)
    angle = (
        f"<path d='M{ax:.1f} {ay:.1f} A{0.3 * radius} {0.3 * radius} 0 0 1 {bx:.1f} {by:.1f}' "
        f"fill='none' stroke='{NOTE}' stroke-width='1.5'/>"
    )
    rays = [
        arrow(x, y, *place(name, 0.965), ink, 1.8)
        for name, ink in zip(at, (ORANGE, BLUE, REST), strict=True)
    ]
    return picture(
        386,
        "Embedding space (schematic: 2 of 384 directions): close in meaning, close in space",
        "Three arrows of length 1 from one point. The question's arrow and that of the passage "
        "about division have a small angle, so the distance between their tips is short. The "
        "passage about cats lies at a wide angle and far away.",
        arc,
        *rays,
        angle,
        line(qx, qy, nx, ny, ORANGE, 3),
        line(qx, qy, fx, fy, REST, 1.8, "7 5"),
        dot(x, y, NOTE, 4),
        diamond(qx, qy),
        dot(nx, ny),
        dot(fx, fy, REST),
        write(qx + 18, qy - 6, "question: How do I divide numbers?", ORANGE, weight="bold"),
        write(
            nx + 16, ny + 3, "passage: Division of integers yields a float.", BLUE, weight="bold"
        ),
        write(nx + 16, ny + 25, "short distance, small angle: large cosine", NOTE),
        write(fx + 16, fy - 4, "passage: Cats sleep a lot.", REST, weight="bold"),
        write(fx + 16, fy + 18, "long distance, wide angle: small cosine", NOTE),
        write(14, 120, "Every vector has length 1,", NOTE),
        write(14, 142, "so both measures agree:", NOTE),
        write(14, 172, "distance² = 2 − 2 · cosine", INK, weight="bold"),
        write(14, 202, "The index returns the", NOTE),
        write(14, 224, "passages whose distance", NOTE),
        write(14, 246, "to the question is least.", NOTE),
    )


def prompt_and_answer():
    found = [
        "1  Tea is a drink.",
        "2  Tea is grown in Assam.",
        "3  Tea is old. It came …",
        "4  Coffee is not tea.",
    ]
    looks = [(LIT, INK), (LIT, INK), (LIT, INK), (f"{DIM} stroke-dasharray='5 4'", REST)]
    parts = [write(120, 62, "passages found", at="middle", weight="bold")]
    for number, (text, (look, ink)) in enumerate(zip(found, looks, strict=True)):
        y = 80 + 56 * number
        parts.append(box(20, y, 205, 40, text, look, ink))
        if number < 3:
            parts.append(arrow(230, y + 20, 322, 138 + 46 * number))
    parts += [
        write(122, 306, "no room: dropped", REST, at="middle"),
        write(455, 62, "prompt: no more than the budget", at="middle", weight="bold"),
        box(318, 74, 274, 206),
        box(330, 84, 250, 30, "Question: Where is tea grown?", DIM),
        box(330, 122, 250, 34, "Tea is a drink.", LIT),
        box(330, 168, 250, 34, "", LIT),
        # The copied word is framed, not only coloured.
        f"<rect x='501' y='172' width='62' height='26' rx='4' fill='#ffffff' stroke='{ORANGE}' stroke-width='2'/>",
        write(494, 190, "Tea is grown in", at="end"),
        write(532, 190, "Assam.", ORANGE, at="middle", weight="bold"),
        box(330, 214, 250, 34, "Tea is old.", LIT),
        write(455, 269, "shortened at a sentence end", REST, at="middle", size=14),
        write(880, 62, "answer", at="middle", weight="bold"),
        box(806, 160, 148, 50, "", "fill='#ffffff' stroke='#b3540e' stroke-width='2'"),
        write(880, 191, "Assam", ORANGE, at="middle", weight="bold", size=17),
        arrow(568, 185, 803, 185, ORANGE, 6),
        line(584, 139, 804, 172, BLUE, 1.5, "6 4"),
        line(584, 231, 804, 198, BLUE, 1.5, "6 4"),
        line(584, 99, 812, 158, BLUE, 1.5, "6 4"),
        write(650, 205, "copied", ORANGE, at="middle", weight="bold"),
        write(724, 254, "The model attends (dashed) to", NOTE),
        write(724, 276, "all of it, to some parts more.", NOTE),
        write(992, 306, "Schematic: no attention was measured.", NOTE, at="end"),
    ]
    return picture(
        322,
        "From passages to an answer: what the prompt has room for, and where the answer is copied from",
        "Four passages were found. The prompt holds the question, two passages whole and the third "
        "shortened at a sentence end; the fourth is dropped. Lines run from all parts of the prompt "
        "to the answer, Assam, the thick one from the passage in which that word stands. The "
        "lines are schematic.",
        *parts,
    )


def contrastive_loss():
    questions = [(1.0, 0.0), (0.0, 1.0), (0.6, 0.8)]
    passages = [(0.8, 0.6), (0.0, 1.0), (1.0, 0.0)]
    scores = [[a * c + b * d for c, d in passages] for a, b in questions]
    left, top, wide, high = 640, 96, 106, 54
    parts = [write(left + 1.5 * wide, 60, "the batch: cosines of the toy below", NOTE, at="middle")]
    for column in range(3):
        parts.append(
            write(left + (column + 0.5) * wide, top - 10, f"passage {column + 1}", at="middle")
        )
    for row, line_of_scores in enumerate(scores):
        parts.append(write(left - 12, top + row * high + 32, f"question {row + 1}", at="end"))
        for column, score in enumerate(line_of_scores):
            x, y = left + column * wide, top + row * high
            own = row == column
            harder = not own and score > line_of_scores[row]
            look = LIT.replace("stroke=", "stroke-width='3' stroke=") if own else PLAIN
            parts.append(box(x + 4, y + 3, wide - 8, high - 6, look=look))
            word = "pull" if own else "push hard" if harder else "push"
            ink = BLUE if own else ORANGE if harder else REST
            parts.append(write(x + wide / 2, y + 23, f"{score:.2f}", at="middle"))
            weight = "bold" if own or harder else "normal"
            parts.append(
                write(x + wide / 2, y + 42, word, ink, at="middle", weight=weight, size=14)
            )
    parts.append(
        write(
            left + 1.5 * wide,
            284,
            "Push hard: nearer than the right passage.",
            NOTE,
            at="middle",
            size=14,
        )
    )
    qx, qy = 235, 170
    parts += [
        write(235, 60, "one question (schematic)", NOTE, at="middle"),
        arrow(qx, qy, 98, 216, BLUE, 4),
        diamond(qx, qy),
        write(qx - 12, qy - 18, "question 1", ORANGE, at="middle", weight="bold"),
        dot(82, 221),
        write(24, 250, "passage 1, its own: pulled", BLUE, weight="bold"),
        # Pushed: the arrow points away from the question.
        dot(310, 138, REST),
        arrow(324, 132, 384, 107),
        write(322, 160, "passage 3: pushed hard", ORANGE, weight="bold"),
        dot(345, 222, REST),
        arrow(359, 228, 396, 244, REST, 1.8),
        write(300, 270, "passage 2: pushed", REST),
    ]
    return picture(
        302,
        "Contrastive loss: each question is pulled to its own passage and pushed from the others in the batch",
        "Left: a question with an arrow to its own passage, and two other passages with arrows "
        "away from it. Right: the cosines of three questions with three passages: "
        + "; ".join(", ".join(f"{score:.2f}" for score in row) for row in scores)
        + ". The diagonal is pulled up, everything else is pushed down, hardest where a wrong "
        "passage has a higher cosine than the right one.",
        *parts,
    )


def quantization():
    weights = [0.12, -0.50, 0.33, 0.08, 0.91, -0.27]
    middle, unit = 595, 380  # the ruler shows -1 to 1
    parts, lost = [], {}
    for row, largest in enumerate((1, 10, 100)):
        y, step = 112 + 106 * row, largest / 127
        parts.append(write(14, y - 16, f"largest weight {largest}", weight="bold"))
        parts.append(write(14, y + 6, f"a step is {step:.4f}", NOTE))
        marks = range(-int(1 / step + 1e-9), int(1 / step + 1e-9) + 1)
        lost[largest] = (len(marks), sum(round(weight / step) == 0 for weight in weights))
        parts.append(write(14, y + 28, f"{len(marks)} of 255 marks here", NOTE))
        tall = 16 if len(marks) < 30 else 9
        path = " ".join(f"M{middle + mark * step * unit:.1f} {y} v{tall}" for mark in marks)
        parts.append(
            f"<path d='M{middle - unit} {y} H{middle + unit} {path}' stroke='{NOTE}' fill='none'/>"
        )
        for weight in weights:
            x, to = middle + weight * unit, middle + round(weight / step) * step * unit
            parts.append(arrow(x, y - 26, to, y - 2, ORANGE, 1.8))
            parts.append(dot(x, y - 28, BLUE, 6))
            if row == 0:
                # Two weights lie so close together that their labels would touch.
                side = {0.08: "end", 0.12: "start"}.get(weight, "middle")
                label = f"{weight:.2f}".replace("-", "−")
                parts.append(write(x, y - 42, label, BLUE, at=side))
        if largest > 1:
            parts.append(
                write(
                    950, y + 36, f"the outlier {largest} lies far to the right →", ORANGE, at="end"
                )
            )
    for mark in (-1, 0, 1):
        parts.append(
            write(
                middle + mark * unit, 112 + 212 + 36, str(mark).replace("-", "−"), NOTE, at="middle"
            )
        )
    return picture(
        376,
        "255 marks for all weights of a matrix: one outlier spreads them, and small weights fall on 0",
        "Six weights between -1 and 1 above three rulers; an arrow leads from each to the nearest "
        "mark. "
        + " ".join(
            f"Where the largest weight is {largest}, {count} of the 255 marks lie between -1 and 1, "
            f"and {zeros} of the six weights become 0."
            for largest, (count, zeros) in lost.items()
        ),
        *parts,
    )


def bounded_queue():
    parts = []
    for number in range(4):
        parts.append(
            box(
                24,
                62 + 46 * number,
                112,
                34,
                "question",
                LIT if number < 3 else SHARED.replace("url(#hatch)", "#ffffff"),
            )
        )
    parts += [
        write(372, 66, "queue: two places", at="middle", weight="bold"),
        box(270, 78, 204, 68, look=PLAIN),
        box(280, 90, 88, 44, "waits", LIT),
        box(376, 90, 88, 44, "waits", LIT),
        write(680, 66, "one thread owns the model", at="middle", weight="bold"),
        box(590, 78, 180, 68, "answers", LIT),
        write(893, 66, "reply", at="middle", weight="bold"),
        box(838, 90, 110, 44, "200", LIT),
        *(arrow(140, 79 + 46 * number, 266, 100 + 12 * number, BLUE) for number in range(3)),
        arrow(478, 112, 586, 112, BLUE),
        write(532, 102, "together", BLUE, at="middle", size=14),
        arrow(774, 112, 834, 112, BLUE),
        arrow(140, 217, 586, 217, ORANGE),
        write(372, 205, "the queue is full", ORANGE, at="middle", weight="bold"),
        box(
            590,
            195,
            358,
            44,
            "429 at once, with Retry-After",
            f"fill='#ffffff' stroke='{ORANGE}' stroke-width='2'",
        ),
    ]
    return picture(
        262,
        "A bounded queue: who finds no place is told so at once, and when to come again",
        "Three questions go into the service: one is being answered by the single thread that owns "
        "the model, two wait in a queue with two places and are answered with status 200. A fourth "
        "finds the queue full and is answered at once by status 429 with the header Retry-After.",
        *parts,
    )


IDEAS = [
    chunk_overlap,
    embedding_space,
    prompt_and_answer,
    contrastive_loss,
    quantization,
    bounded_queue,
]

if __name__ == "__main__":
    for idea in IDEAS:
        path = Path(__file__).parent / f"{idea.__name__}.svg"
        path.write_text(idea(), encoding="utf-8", newline="\n")
