"""Draws flow_01.svg … flow_07.svg: the data flow with one notebook's arrows lit.

Run it from anywhere: ``python notebooks/figures/draw_flow.py``.
"""

from pathlib import Path

RECORDS = ["Document", "Chunk", "vectors", "index", "Hit", "Prompt", "Answer", "Report"]
ARROWS = ["split", "embed", "index", "search", "fill", "generate", "score"]
# Which arrows each notebook is about; 01 and 05 to 07 walk the whole line.
LIT = {1: range(7), 2: {0}, 3: {1, 2, 3}, 4: {4, 5}, 5: range(7), 6: {1, 5}, 7: {1, 3, 5}}
NAMES = ["set-up", "chunking", "retriever", "generator", "pipeline", "fine-tuning", "deployment"]
BOX, GAP, TOP = 78, 52, 40


def draw(step: int) -> str:
    """Return the picture for one notebook as SVG text."""
    width = len(RECORDS) * BOX + (len(RECORDS) - 1) * GAP + 20
    lit = LIT[step]
    title = ", ".join(ARROWS[i] for i in sorted(lit))
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} 110' role='img' "
        f"aria-label='Data flow from document to report; lit in this notebook: {title}'>",
        "<title>Data flow from document to report</title>"
        f"<desc>Lit in this notebook: {title}</desc>",
        f"<rect width='{width}' height='110' rx='8' fill='#fbfaf6'/>",
        f"<text x='12' y='22' font-family='sans-serif' font-size='13' fill='#444'>"
        f"Step {step} of 7: {NAMES[step - 1]}</text>",
    ]
    for i, record in enumerate(RECORDS):
        x = 10 + i * (BOX + GAP)
        fill, edge, ink = ("#eeeeea", "#a9a9a2", "#666")
        if i in lit or i - 1 in lit:
            fill, edge, ink = ("#dbe9f6", "#1f5f99", "#123")
        parts.append(
            f"<rect x='{x}' y='{TOP}' width='{BOX}' height='36' rx='6' "
            f"fill='{fill}' stroke='{edge}'/>"
            f"<text x='{x + BOX / 2}' y='{TOP + 23}' text-anchor='middle' font-size='13' "
            f"font-family='sans-serif' fill='{ink}'>{record}</text>"
        )
        if i < len(ARROWS):
            on = i in lit
            weight = "bold" if on else "normal"
            colour, start, end = ("#b3540e" if on else "#a9a9a2"), x + BOX + 3, x + BOX + GAP - 9
            parts.append(
                f"<path d='M{start} {TOP + 18} H{end} m0 -5 l7 5 l-7 5 z' stroke='{colour}' "
                f"fill='{colour}' stroke-width='{2.5 if on else 1.2}'/>"
                f"<text x='{(start + end) / 2 + 3}' y='{TOP + 56}' text-anchor='middle' "
                f"font-size='12' font-family='sans-serif' font-weight='{weight}' "
                f"fill='{colour if on else '#666'}'>{ARROWS[i]}</text>"
            )
    return "\n".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    for number in LIT:
        path = Path(__file__).parent / f"flow_{number:02d}.svg"
        path.write_text(draw(number), encoding="utf-8", newline="\n")
