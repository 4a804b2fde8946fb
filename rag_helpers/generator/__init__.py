"""A prompt → the text of an answer: extractive, encoder-decoder and chat generators.

All of them have ``name``, ``template``, ``token_budget``, ``count_tokens(text)``,
``generate(prompts)`` and ``stream(prompt)``, and give the same text for the same
prompt every time unless a temperature is set.

The package does not know where passages come from, how a prompt was filled or
whether an answer is right.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rag_helpers.generator.chat import ChatGenerator
from rag_helpers.generator.extractive import ExtractiveGenerator
from rag_helpers.generator.language_model import LanguageModelGenerator
from rag_helpers.generator.loading import HALF_WEIGHTS, model_kind
from rag_helpers.generator.reading_ahead import ReadAhead
from rag_helpers.generator.seq2seq import Seq2SeqGenerator

__all__ = [
    "HALF_WEIGHTS",
    "ChatGenerator",
    "ExtractiveGenerator",
    "LanguageModelGenerator",
    "ReadAhead",
    "Seq2SeqGenerator",
    "load_generator",
]


def load_generator(
    name: str | Path,
    **options: Any,  # noqa: ANN401 (each class documents its own)
) -> ExtractiveGenerator | Seq2SeqGenerator | ChatGenerator:
    """Return the generator of that name, of whichever class its model needs.

    Parameters
    ----------
    name : str or Path
        ``"extractive"``, a model that `rag_helpers.models.list_models` names, or
        a folder with a model of either architecture.
    **options
        Passed to the class, such as ``num_beams=1``.

    Returns
    -------
    ExtractiveGenerator, Seq2SeqGenerator or ChatGenerator
        Ready to generate.

    Raises
    ------
    ModelNotFoundError
        If there is no such model here.
    GeneratorError
        If the model is of a kind that does not write text, such as an encoder.

    Examples
    --------
    >>> load_generator("extractive").name
    'extractive'
    """
    if name == "extractive":
        return ExtractiveGenerator(**options)
    from rag_helpers.models import resolve

    kind = model_kind(resolve(name))
    return (Seq2SeqGenerator if kind == "encoder-decoder" else ChatGenerator)(name, **options)
