"""Measurements as Markdown: the tables of README.md and RESULTS.md.

The module knows what the committed files hold. It does not know how anything was measured, nor
on which page it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "attack_parts",
    "bench_parts",
    "bench_summary",
    "embedder_parts",
    "index_parts",
    "line",
    "load_parts",
    "metric_table",
    "variant_parts",
]

_METRICS = {
    "recall@1": "recall@1",
    "recall@5": "recall@5",
    "recall@10": "recall@10",
    "mrr@10": "MRR@10",
    "exact_match": "exact match",
    "f1": "F1",
    "rougeL": "ROUGE-L",
    "contains_answer": "contains the answer",
    "supported_by_citation": "supported",
    "abstention_auroc": "AUROC",
}


def attack_parts(found: Mapping[str, Any]) -> list[str]:
    """Return the section about documents that give orders."""
    rows = found["rows"]
    shown = [name for name in next(iter(rows.values())) if name != "F1 without attack"]
    header = ["reader", *shown, "F1 without attack"]
    return [
        "## Attacks: a document that tells the reader what to write",
        f"n = {found['n']}; the share of answers that hold the attacker's word.",
        _grid(
            header,
            [
                [reader, *(_interval(row[name]) for name in header[1:])]
                for reader, row in rows.items()
            ],
        ),
    ]


def bench_parts(found: Mapping[str, Any]) -> list[str]:
    """Return the section about whole systems: the recipe, the default and llama.cpp."""
    cells = [
        "times as slow as the default",
        "p50 s",
        "p95 s",
        "first answer, nothing cached, s",
        "indexing, vectors/s",
        "peak memory MB",
        "exact match",
        "F1",
        "identical",
    ]
    return [
        "## Whole systems: the recipe as written, the default, and llama.cpp",
        f"n = {found['n']} dev questions, one at a time, on {found['processor']}; each system in a "
        "process of its own with an empty cache. llama.cpp reads the default's prompts with the "
        "same merged weights. *Identical* compares answers with the reader in float32 that reuses "
        "nothing.",
        _grid(
            ["system", *cells], [[name, *_cells(row, cells)] for name, row in found["rows"].items()]
        ),
        *_preparations(found["rows"]),
    ]


def bench_summary(found: Mapping[str, Any]) -> list[str]:
    """Return what README shows of whole systems: times, their ratios, and what they keep."""
    rows = found["rows"]
    recipe = rows["recipe as written"]["p50 s"]
    cells = ["p50 s", "peak memory MB", "F1", "identical"]
    table = []
    for name, row in rows.items():
        ratio = "–" if "not run" in row else f"{recipe / row['p50 s']:.1f}"
        table.append([name, ratio, *_cells(row, cells)])
    return [
        f"**Speed**, n = {found['n']} dev questions, one at a time, on {found['processor']} "
        "(`make bench`); llama.cpp runs the same merged weights over the same prompts, and "
        "*identical* compares with float32 that reuses nothing:",
        _grid(["system", "times as fast as the recipe", *cells], table),
        *_preparations(rows),
    ]


def _preparations(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        f"*{name}*: {row['passages read ahead']:.0f} passages in {row['reading ahead, s']:.0f} s, "
        f"{row['kept on disk, MB']:,.0f} MB."
        for name, row in rows.items()
        if "reading ahead, s" in row
    ]


def variant_parts(found: Mapping[str, Any]) -> list[str]:
    """Return the section about the tuned reader's variants, a table a processor."""
    cells = ["p50 ms", "p95 ms", "tokens/s", "size MB", "peak memory MB", "load s"]
    cells += ["exact match", "F1", "identical"]
    parts = [
        "## Variants of the tuned reader: how fast, and how alike",
        f"n = {found['n']} dev questions, each over its first passage. The weights are "
        "de-quantized Q4_1 with the adapter merged; *identical* compares answers with the first "
        "row, letter for letter.",
    ]
    for name, group in found["groups"].items():
        rows = [[variant, *_cells(row, cells)] for variant, row in group["rows"].items()]
        parts += [
            f"### The processor {name}",
            f"{group['processor']}. {group.get('note', '')}".rstrip(),
            _grid(["variant", *cells], rows),
            *(
                f"*{variant}*: {row['ms a passage beforehand']} ms and "
                f"{row['MB a passage on disk']} MB a passage beforehand."
                for variant, row in group["rows"].items()
                if "ms a passage beforehand" in row
            ),
            *(
                f"*{variant}*: {row['not run']}."
                for variant, row in group["rows"].items()
                if "not run" in row
            ),
        ]
    return parts


def embedder_parts(found: Mapping[str, Any]) -> list[str]:
    """Return a section per processor: speed beside what it changes, and what the cache saves."""
    parts = ["## Embedders: how fast, and how faithful"]
    header = ["embedder", "MB", "load, s", "passages/s", "× recipe", "mean cosine", "least cosine"]
    header += ["recall@5", "MRR@10"]
    for name, group in found["groups"].items():
        rows = [
            [
                way,
                f"{row['size_mb']:.0f}",
                f"{row['load_s']:.1f}",
                f"{row['passages_per_s']:.1f}",
                f"{row['times_encode']:.2f}",
                f"{row['mean_cosine']:.4f}",
                f"{row['min_cosine']:.4f}",
                _interval(row["recall@5"]),
                _interval(row["mrr@10"]),
            ]
            for way, row in group["rows"].items()
        ]
        cache = group["cache"]
        times = ", ".join(f"{what} {seconds} s" for what, seconds in cache["seconds"].items())
        parts += [
            f"### {name[0].upper()}{name[1:]}",
            f"{group['processor']}. {group['passages']} passages of 150 words, medians of three "
            f"rounds in turn; cosines with the first row; dense search alone, n = "
            f"{group['questions']}.",
            "\n".join(map(line, [header, ["---"] * len(header), *rows])),
            f"The default index ({cache['vectors']:,} vectors of {cache['topics']} topics, the "
            f"model loaded anew each time) with embeddings kept by content: {times}; the file "
            f"takes {cache['file_mb']} MB.",
        ]
    return parts


def index_parts(study: Mapping[str, Any]) -> list[str]:
    """Return the parts about kinds of FAISS index, and about how a saved one is loaded."""
    alike, loading = study["likeness"], study["mapping"]
    setting = ", ".join(f"{name} {value}" for name, value in alike["parameters"].items())
    hardness = "; ".join(f"{name} {_interval(value, 3)}" for name, value in alike["recall"].items())
    parts = [
        "## Indexes: kinds of FAISS index, by number of vectors",
        f"FAISS {study['versions']['faiss-cpu']} with {study['simd']} on "
        f"{study['versions']['cores']} cores, dimension {study['groups'][0]['dimension']}, one "
        f"question at a time; recall@{study['k']} is against an exact search, and 10⁶ bytes are "
        f"a MB. How hard the synthetic vectors are beside the real ones, at {alike['n']:,} each, "
        f"{alike['kind']} with {setting}: recall@{study['k']} of {hardness}.",
    ]
    for group in study["groups"]:
        flat = group["rows"][0]["queries_per_s"]
        origin = "**synthetic** vectors" if group["synthetic"] else "vectors"
        header = ["kind", "setting", f"recall@{study['k']}", "questions/s", "times flat", "MB"]
        lines = [line([*header, "built in s"]), line(["---"] * 7)]
        for row in group["rows"]:
            setting = ", ".join(f"{name} {value}" for name, value in row["parameters"].items())
            speed = row["queries_per_s"]
            cells = [row["kind"], setting or "–", _interval(row["recall"], 3), f"{speed:,.0f}"]
            cells += [f"{speed / flat:,.1f}", f"{row['size_mb']:,.1f}", f"{row['build_s']:,.1f}"]
            lines.append(line(cells))
        parts += [
            f"{group['n']:,} {origin} ({group['vectors']}), {group['queries']} questions:",
            "\n".join(lines),
        ]
    names = {
        "load_s": "loaded in s",
        "private_mb": "memory of its own, MB",
        "shared_mb": "shared with other processes, MB",
        "shared_after_search_mb": "shared after a search, MB",
        "peak_mb": "peak, MB",
    }
    lines = [line(["vectors", *names.values()]), line(["---"] * (len(names) + 1))]
    for way, row in loading["rows"].items():
        lines.append(line([way, *(f"{row[name]:,.1f}" for name in names)]))
    return [
        *parts,
        f"A saved index of {loading['n']:,} chunks with a synthetic vector each "
        f"({loading['file_mb']:,.0f} MB), opened in a new process; the text of the chunks, a few "
        "words each, is held in memory either way:",
        "\n".join(lines),
    ]


def load_parts(found: Mapping[str, Any]) -> list[str]:
    """Return the section about many clients at once."""
    statuses, memory = found["statuses"], found["memory MB"]
    rows = [
        ("what", "value"),
        ("---", "---"),
        *((f"replies with {status}", f"{n:,}") for status, n in statuses.items()),
        ("share of 429", f"{statuses.get('429', 0) / found['replies']:.0%}"),
        *((name, f"{found[name]:,}") for name in ("lost", "mixed up", "reworded")),
        *((name, str(found[name])) for name in ("answers/s", "p50 s alone", "p50 s", "p95 s")),
        *((f"memory at the {name}, MB", f"{memory[name]:,}") for name in ("start", "peak", "end")),
        ("growth, third to last quarter, MB", str(memory["growth, third to last quarter"])),
        ("exit code after SIGTERM", str(found["exit code after SIGTERM"])),
    ]
    return [
        "## Load: many clients at once, every reply checked",
        f"{found['clients']} clients for {found['seconds']} s on {found['processor']}, "
        f"{found['questions']} different questions, answered by {found['generator']}. Each reply "
        "is compared with what its question got alone: *reworded* ones are from the same passages "
        "in other words, *mixed up* ones from others. Whoever gets 429 comes back within a second.",
        "\n".join(map(line, rows)),
    ]


def metric_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table of systems by those metrics that any of them has."""
    shown = {
        name: title
        for name, title in _METRICS.items()
        if any(row.get(name) is not None for row in rows.values())
    }
    timed = ["ms"] if all("ms" in row for row in rows.values()) else []
    gains = [row["gain"] for row in rows.values() if "gain" in row]
    gained = [f"{_METRICS[gains[0]['metric']]} more than the first row"] if gains else []
    header = ["system", *shown.values(), *gained, "words a hit", *timed]
    lines = [line(header), line(["---"] * len(header))]
    for system, row in rows.items():
        cells = [_interval(row.get(name)) for name in shown]
        cells += [_gain(row.get("gain")) for _ in gained]
        cells += [f"{row['words_per_hit']:.0f}", *(f"{row[name]:.0f}" for name in timed)]
        lines.append(line([system, *cells]))
    return "\n".join(lines)


def _cells(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    if "not run" in row:
        return ["not run", *["–"] * (len(names) - 1)]
    values = [row[name] for name in names]
    return [_interval(one) if isinstance(one, Mapping) else f"{one:,}" for one in values]


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(map(line, [header, ["---"] * len(header), *rows]))


def _gain(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return "–"
    return f"{value['value']:+.3f} [{value['low']:+.3f}, {value['high']:+.3f}]"


def line(cells: Sequence[str]) -> str:
    """Return one line of a Markdown table.

    Examples
    --------
    >>> line(["a", "b"])
    '| a | b |'
    """
    return f"| {' | '.join(cells)} |"


def _interval(value: Mapping[str, float] | None, digits: int = 2) -> str:
    if value is None:
        return "–"
    shown, low, high = (f"{value[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{shown} [{low}, {high}]"
