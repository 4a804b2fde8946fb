"""What is checked before any long work: the pairs, the split, disk and memory.

The module does not know how anything is trained.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rag_helpers.corpus import find_near_duplicates
from rag_helpers.errors import TrainingError
from rag_helpers.fine_tuning.pairs import GeneratorPair, RetrieverPair

__all__ = ["activations_mb", "check_overlap", "check_pairs", "check_room"]

_BYTES = 47  # per token, layer and unit of width, as measured
LEAST_PAIRS = 8
"""Fewer pairs are learnt by heart before anything general is."""


def check_pairs(
    pairs: Sequence[RetrieverPair] | Sequence[GeneratorPair], *, least: int = LEAST_PAIRS
) -> None:
    """Refuse pairs that cannot be learnt from.

    Parameters
    ----------
    pairs : sequence of RetrieverPair or GeneratorPair
        What is trained on.
    least : int
        Fewest pairs.

    Raises
    ------
    TrainingError
        If there are too few, a text is blank, an id stands twice, or a passage
        stands among the negatives of its own question.

    Examples
    --------
    >>> check_pairs([RetrieverPair("q1", "Why?", " ")], least=1)
    Traceback (most recent call last):
    rag_helpers.errors.TrainingError: Pair 'q1' has a blank passage; leave the pair out or fill it.
    """
    if len(pairs) < least:
        raise TrainingError(
            f"There are {len(pairs)} pairs and at least {least} are needed; give more questions, "
            "or make pairs from headings."
        )
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:
            raise TrainingError(f"Two pairs are called {pair.id!r}; give each its own id.")
        seen.add(pair.id)
        if isinstance(pair, GeneratorPair):
            texts = {"prompt": pair.prompt.text, "answer": pair.answer}
        else:
            texts = {"question": pair.question, "passage": pair.passage}
            texts |= {f"negative {n}": text for n, text in enumerate(pair.negatives, start=1)}
            if pair.passage in pair.negatives or pair.right & set(pair.negatives):
                raise TrainingError(
                    f"Pair {pair.id!r} has a right passage among its negatives; mine them with "
                    "mine_hard_negatives, which passes such hits over."
                )
        for name, text in texts.items():
            if not text.strip():
                raise TrainingError(
                    f"Pair {pair.id!r} has a blank {name}; leave the pair out or fill it."
                )


def check_overlap(
    train: Mapping[str, str], held_out: Mapping[str, str], *, threshold: float = 0.8
) -> None:
    """Refuse a training set that holds what the test asks for.

    A figure on questions whose evidence was trained on says nothing about
    questions that nobody has asked yet.

    Parameters
    ----------
    train, held_out : Mapping of str to str
        Evidence by question id, as it stands in the corpus.
    threshold : float
        Share of five-word runs, in either direction, from which on two
        passages are the same; above 0 and at most 1.

    Raises
    ------
    TrainingError
        Naming the first pair of ids that share an id or a passage.

    Examples
    --------
    >>> check_overlap({"a": "Ice melts at zero degrees."}, {"b": "Tea is hot."})
    >>> check_overlap({"a": "Ice melts at zero degrees."}, {"b": "Ice melts at zero degrees."})
    Traceback (most recent call last):
    rag_helpers.errors.TrainingError: The evidence of training question 'a' is that of held-out \
question 'b'; leave one of them out.
    """
    if shared := sorted(set(train) & set(held_out)):
        raise TrainingError(
            f"Question {shared[0]!r} is in the training set and held out; take it out of one."
        )
    names = [*train, *held_out]
    texts = [*train.values(), *held_out.values()]
    for i, j in find_near_duplicates(texts, threshold=threshold):
        if i < len(train) <= j:
            raise TrainingError(
                f"The evidence of training question {names[i]!r} is that of held-out question "
                f"{names[j]!r}; leave one of them out."
            )


def activations_mb(config: Any, tokens: int) -> float:  # noqa: ANN401
    """Return about how much memory a training step needs beside the weights.

    What every layer computed is kept for the way back, for every token that is
    read at once. Fitted with LoRA on SmolLM2-135M: the process held 3.7 GB at most
    with 680 tokens at once (float32, notebook 06) and 11.6 GB with 3,336 (bfloat16,
    the shipped adapter's card), which is 3.0 MB a token more.

    Parameters
    ----------
    config : PretrainedConfig
        Of a transformer: its layers and widths.
    tokens : int
        Rows computed at once times the longest.

    Returns
    -------
    float
        Megabytes.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> small = SimpleNamespace(num_hidden_layers=30, hidden_size=576, intermediate_size=1536)
    >>> round(activations_mb(small, 800))
    2382
    """
    width = config.hidden_size + config.intermediate_size
    return tokens * config.num_hidden_layers * width * _BYTES / 1e6


def check_room(folder: Path, *, disk_mb: float, memory_mb: float) -> None:
    """Refuse to start what would end for lack of disk or memory.

    Parameters
    ----------
    folder : Path
        Where checkpoints will be written; it need not exist yet.
    disk_mb, memory_mb : float
        What is needed, in megabytes.

    Raises
    ------
    TrainingError
        Naming what there is and what is needed.

    Examples
    --------
    >>> check_room(Path("."), disk_mb=0, memory_mb=0)
    """
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free_mb = shutil.disk_usage(place).free / 1e6
    if free_mb < disk_mb:
        raise TrainingError(
            f"{place} has {free_mb:.0f} MB free and checkpoints need {disk_mb:.0f}; free some "
            "space, or give a folder on another disk."
        )
    import psutil

    available_mb = psutil.virtual_memory().available / 1e6
    if available_mb < memory_mb:
        raise TrainingError(
            f"{available_mb:.0f} MB of memory are free and training needs about {memory_mb:.0f}; "
            "close other programs, give a smaller batch_size, or use a machine with more."
        )
