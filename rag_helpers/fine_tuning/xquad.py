"""XQuAD's English articles, each for one use: to train on, to choose by, or the last look.

XQuAD (Artetxe et al., 2020) is 240 paragraphs of 48 articles of Wikipedia, taken from SQuAD 1.1.
The module knows which articles are for what; it does not know what is made of them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from rag_helpers.corpus import load_dataset_rows, load_squad
from rag_helpers.errors import TrainingError
from rag_helpers.evaluation import gold_from_rows, load_squad_gold
from rag_helpers.records import Document, GoldQuestion

__all__ = ["LICENCE", "load_xquad_part"]

LICENCE = "CC-BY-SA-4.0"
# Articles that stand in neither are for the last look alone.
_TITLES = {
    "train": frozenset(
        {
            "Chloroplast",
            "Civil_disobedience",
            "Computational_complexity_theory",
            "Economic_inequality",
            "Force",
            "Huguenot",
            "Immune_system",
            "Kenya",
            "Normans",
            "Prime_number",
            "Southern_California",
            "Victoria_and_Albert_Museum",
            "Warsaw",
            "Yuan_dynasty",
        }
    ),
    "choose": frozenset({"Black_Death", "Geology", "Oxygen", "Sky_(United_Kingdom)"}),
}
# Checksums of the paragraphs of these articles: on the hub the set has no titles.
_CHECKSUMS = files("rag_helpers") / "data" / "gold" / "xquad_parts.json"


def load_xquad_part(
    source: str | Path, part: str
) -> tuple[tuple[GoldQuestion, ...], tuple[Document, ...]]:
    """Load the questions and paragraphs of the articles that are for one use.

    Parameters
    ----------
    source : str or Path
        XQuAD's English file in SQuAD's format; or ``"xquad"``, or a
        folder, by which `datasets` finds it.
    part : {"train", "choose"}
        The use.

    Returns
    -------
    tuple
        Questions, and the paragraphs that they are about.

    Raises
    ------
    TrainingError
        If none of those articles is there.
    CorpusError, EvaluationError
        If the file or the set cannot be read.
    """
    if Path(source).suffix == ".json" or Path(source).is_file():
        gold, documents = load_squad_gold(source), load_squad(source)
        ours = {d.source for d in documents if d.source.rpartition("#")[0] in _TITLES[part]}
    else:
        gold = gold_from_rows(load_dataset_rows(str(source)))
        paragraphs = list(dict.fromkeys(str(question.evidence) for question in gold))
        documents = [Document(text, f"paragraph {n}") for n, text in enumerate(paragraphs, start=1)]
        name_of = {document.text: document.source for document in documents}
        gold = [replace(question, source=name_of[str(question.evidence)]) for question in gold]
        known = set(json.loads(_CHECKSUMS.read_text(encoding="utf-8"))[part])
        ours = {document.source for document in documents if _checksum(document.text) in known}
    asked = tuple(question for question in gold if question.source in ours)
    if not asked:
        raise TrainingError(
            f"{source} holds none of XQuAD's articles for {part!r}, such as {min(_TITLES[part])}; "
            "give xquad.en.json, or xquad where the hub can be reached, or leave it out."
        )
    return asked, tuple(document for document in documents if document.source in ours)


def _checksum(text: str) -> str:
    return sha256(" ".join(text.split()).encode()).hexdigest()[:12]
