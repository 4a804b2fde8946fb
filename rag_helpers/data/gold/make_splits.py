"""Splits the gold questions so that no passage, nor its near duplicate, is in two splits.

Run it after the questions change: ``python rag_helpers/data/gold/make_splits.py``.
"""

import json
import random
from pathlib import Path

from rag_helpers.corpus import containment, load_help_topics
from rag_helpers.evaluation import Judge, load_gold
from rag_helpers.evaluation.project_gold import GOLD_FILE

SHARES = {"train": 0.5, "dev": 0.2, "test": 0.3}
SEED = 20261122


def group_by_passage() -> list[list[str]]:
    """Return lists of question ids that must stay together."""
    gold = load_gold(GOLD_FILE)
    judge = Judge(load_help_topics(), gold)
    parent = {question.id: question.id for question in gold}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    spans = list(judge.spans.items())
    for i, (one, a) in enumerate(spans):
        for other, b in spans[i + 1 :]:
            overlaps = a.source == b.source and a.start < b.end and b.start < a.end
            if overlaps or max(containment(a.text, b.text), containment(b.text, a.text)) >= 0.8:
                parent[root(other)] = root(one)
    groups: dict[str, list[str]] = {}
    for name in parent:
        groups.setdefault(root(name), []).append(name)
    return list(groups.values())


def split(groups: list[list[str]]) -> dict[str, list[str]]:
    """Deal whole groups out at random, answerable and unanswerable in the same shares."""
    gold = {question.id: question for question in load_gold(GOLD_FILE)}
    chance = random.Random(SEED)  # noqa: S311 (a split, not a secret)
    splits: dict[str, list[str]] = {name: [] for name in SHARES}
    for answerable in (True, False):
        pool = [group for group in groups if bool(gold[group[0]].answers) is answerable]
        total = sum(len(group) for group in pool)
        chance.shuffle(pool)
        filled = dict.fromkeys(SHARES, 0)
        for group in pool:
            name = min(SHARES, key=lambda split: filled[split] / (SHARES[split] * total))
            splits[name] += group
            filled[name] += len(group)
    for names in splits.values():
        chance.shuffle(names)
    return splits


if __name__ == "__main__":
    target = Path(str(GOLD_FILE).replace(".jsonl", ".splits.json"))
    target.write_text(json.dumps(split(group_by_passage()), indent=1) + "\n", encoding="utf-8")
