"""The course's default pipeline, and the index that it keeps.

The module chooses and joins parts; it does not know how any of them works.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from rag_helpers.chunking import split_by_structure
from rag_helpers.corpus import fingerprint, load_files, load_help_topics
from rag_helpers.embedding import DprEmbedder, cached_embedder, load_embedders
from rag_helpers.environment import cache_folder, cpu_has_bf16, select_device
from rag_helpers.errors import IndexIntegrityError, InvalidInputError
from rag_helpers.generator import HALF_WEIGHTS, ReadAhead, load_generator
from rag_helpers.index import ChunkIndex
from rag_helpers.models import lora_adapter
from rag_helpers.pipeline.confidence import RetrievalConfidence
from rag_helpers.pipeline.rag import AnswerStyle, RagPipeline
from rag_helpers.pipeline.reranking import READER, find_retriever
from rag_helpers.prompting import SENTENCES
from rag_helpers.records import Chunk, Document
from rag_helpers.retriever import embed_chunks, embed_windows

__all__ = [
    "GUESSES",
    "TURNS",
    "WINDOW_WORDS",
    "build_index",
    "load_index",
    "load_pipeline",
    "pipeline_over",
    "whole_documents",
]

WINDOW_WORDS = 40
"""Words of the windows that the default pipeline embeds beside the whole; see `build_index`."""

TURNS = 3
"""Passages that the tuned reader reads in turn; measured in ``data/results/ablation.json``."""

GUESSES = 4
"""Tokens that the tuned reader guesses a step: of 2 to 10 the fastest on dev questions."""

# The confidence is a probability: below one half the corpus more likely lacks the answer.
MIN_CONFIDENCE = 0.5


def build_index(
    documents: Sequence[Document],
    *,
    model: str = "all-MiniLM-L6-v2",
    chunks: Sequence[Chunk] | None = None,
    with_heading: bool = True,
    window_words: int | None = None,
    dtype: str = "auto",
) -> ChunkIndex:
    """Chunk and embed documents into a new index.

    Text that was embedded before is taken from the cache folder (`cached_embedder`), so that an
    index of documents of which few have changed takes seconds.

    Parameters
    ----------
    documents : sequence of Document
        The corpus.
    model : str, default "all-MiniLM-L6-v2"
        Name or folder of the embedder.
    chunks : sequence of Chunk, optional
        Cut in another way; by default by structure, at most 200 words each.
    with_heading : bool, default True
        Whether the title and heading are embedded in front of the text.
    window_words : int, optional
        Embeds each chunk as a whole and in windows of at most so many words, always
        with title and heading (`embed_windows`); by default as a whole alone.
    dtype : str, default "auto"
        ``"float32"``, ``"bfloat16"``, or bfloat16 where the CPU has it: several times as fast, and
        the directions stay (``data/results/embedders.json``). Questions stay in float32.

    Returns
    -------
    ChunkIndex
        Holding every chunk and its vector, or vectors.
    """
    passages, _ = load_embedders(model, dtype=dtype)
    if chunks is None:
        chunks = split_by_structure(documents)
    index = ChunkIndex(passages.dimension, metric=passages.metric, model=passages.name)
    embedder = cached_embedder(passages)
    if window_words is None:
        index.add(chunks, embed_chunks(chunks, embedder, with_heading=with_heading))
    else:
        vectors, counts = embed_windows(chunks, embedder, max_words=window_words)
        index.add(chunks, vectors, counts=counts)
    return index


def load_pipeline(
    *,
    corpus: str | Path | None = None,
    index: str | Path | None = None,
    model: str = "all-MiniLM-L6-v2",
    retriever: str = "hybrid",
    generator: str | None = None,
    k: int = 5,
    style: AnswerStyle = "auto",
    adapters: bool = True,
    read_ahead: ReadAhead | None = None,
) -> RagPipeline:
    """Build the course's default pipeline, ready to answer.

    The index is kept in the cache folder under a name that depends on the
    corpus' text and the model, so that the second call takes seconds.

    Parameters
    ----------
    corpus : str or Path, optional
        A file or folder of documents; by default the Python help topics.
    index : str or Path, optional
        A saved index folder; then `corpus` is not read.
    model : str, default "all-MiniLM-L6-v2"
        Name or folder of the embedder.
    retriever : str, default "hybrid"
        How to search: ``"dense"``, ``"keyword"``, ``"hybrid"``, ``"reranked"`` or a
        cross-encoder; see `find_retriever`.
    generator : str, optional
        ``"extractive"`` (the best sentence), or a model's name or folder. By
        default `READER` with its adapter, or ``"extractive"`` where there is no
        adapter or `adapters` is False: on 40 dev questions the best sentence held
        the known answer for 0.25 of them, and the text of the untuned chat model
        for 0.05 (``data/results/ablation.json``).
    k : int, default 5
        How many passages to retrieve.
    style : {"auto", "short", "sentences"}
        Whether the tuned reader answers in a few words, in one or two sentences, or
        (auto) in sentences where a question asks how or why. Other generators have
        one style: ``"sentences"`` is refused then.
    adapters : bool, default True
        Whether the adapters that come with the course are used; False runs the
        models as published, and so does ``$RAG_ADAPTERS`` set to ``off``.
    read_ahead : ReadAhead, optional
        Where the tuned reader keeps what it has read of passages, so that each is read once;
        `RagPipeline.read_ahead` reads them before any question comes.

    Returns
    -------
    RagPipeline
        With the index, the retriever and the generator loaded.

    Raises
    ------
    InvalidInputError
        If `read_ahead` is given and there is no tuned reader.
    """
    if index is not None:
        passages, _ = load_embedders(model)
        chunk_index = ChunkIndex.load(index, model=passages.name)
    else:
        documents = load_help_topics() if corpus is None else load_files(corpus)
        chunk_index = load_index(documents, model=model, window_words=WINDOW_WORDS)
    return pipeline_over(
        chunk_index,
        model=model,
        retriever=retriever,
        generator=generator,
        k=k,
        style=style,
        adapters=adapters,
        read_ahead=read_ahead,
    )


def pipeline_over(
    index: ChunkIndex,
    *,
    model: str = "all-MiniLM-L6-v2",
    retriever: str = "hybrid",
    generator: str | None = None,
    k: int = 5,
    style: AnswerStyle = "auto",
    adapters: bool = True,
    read_ahead: ReadAhead | None = None,
) -> RagPipeline:
    """Put the course's default parts around an index.

    Parameters
    ----------
    index : ChunkIndex
        What is searched; the pipeline follows its changes.
    model, retriever, generator, k, style, adapters, read_ahead
        As for `load_pipeline`.

    Returns
    -------
    RagPipeline
        Ready to answer.
    """
    passages, questions = load_embedders(model, adapter="auto" if adapters else None)
    # The confidence was fitted on the published encoder. Where one encoder has both sides, that is
    # the passages'; DPR's sides differ, and have no adapter.
    published = questions if isinstance(questions, DprEmbedder) else passages
    shipped = adapters and lora_adapter(generator or READER) is not None
    if read_ahead is not None and not shipped:
        raise InvalidInputError(
            f"read_ahead is given and the generator is {generator or 'extractive'!r}: leave "
            "`generator` and `adapters` as they are, or give read_ahead=None."
        )
    options = _quick_reading(read_ahead) if shipped else {}
    reader = load_generator(generator or (READER if shipped else "extractive"), **options)
    return RagPipeline(
        find_retriever(retriever, index, questions),
        reader,
        k=k,
        turns=TURNS if shipped else None,
        confidence=RetrievalConfidence(index, published),
        threshold=MIN_CONFIDENCE,
        explain=SENTENCES if shipped else None,
        style=style,
    )


def _quick_reading(read_ahead: ReadAhead | None) -> dict[str, Any]:
    """Return how the tuned reader reads: what was fastest, and alike (``variants.json``)."""
    from rag_helpers.generator.half_weights import half_weights_run_here

    # Whole passages are read fastest in bfloat16, where the processor multiplies it.
    reads_whole = cpu_has_bf16() and read_ahead is None
    half = select_device() == "cpu" and half_weights_run_here() and not reads_whole
    return {
        "adapter": "auto",
        "dtype": HALF_WEIGHTS if half else "auto",
        "prompt_lookup": GUESSES,
        "read_ahead": read_ahead,
    }


def load_index(
    documents: Sequence[Document],
    *,
    model: str = "all-MiniLM-L6-v2",
    chunks: Sequence[Chunk] | None = None,
    window_words: int | None = None,
) -> ChunkIndex:
    """Return the index of a corpus, from the cache folder or made anew and kept there.

    Parameters
    ----------
    documents : sequence of Document
        The corpus.
    model : str, default "all-MiniLM-L6-v2"
        Name or folder of the embedder.
    chunks : sequence of Chunk, optional
        Cut in another way; by default by structure, at most 200 words each.
    window_words : int, optional
        As for `build_index`.

    Returns
    -------
    ChunkIndex
        The kept one is found by the corpus, the chunks and the model.

    Warns
    -----
    UserWarning
        When there is no room to keep it; it serves this time all the same.
    """
    if chunks is None:
        chunks = split_by_structure(documents)
    corpus = fingerprint(documents)
    cut = sha256(
        "\n".join([corpus, f"whole and {window_words}", *map(repr, chunks)]).encode()
    ).hexdigest()
    folder = cache_folder() / "indexes" / f"{cut[:16]}-{Path(model).name}"
    if folder.exists():
        try:
            return ChunkIndex.load(folder)
        except IndexIntegrityError:
            # The cache is ours to rebuild; a damaged entry is only lost time.
            pass
    index = build_index(documents, model=model, chunks=chunks, window_words=window_words)
    try:
        index.save(folder, corpus=corpus)
    except OSError as error:  # a full disk, or a folder that is not ours to write to
        warnings.warn(
            f"The index could not be kept in {folder} ({error.strerror or error}), and is made"
            " anew the next time; make room there, or set RAG_CACHE to another folder.",
            stacklevel=2,
        )
    return index


def whole_documents(documents: Sequence[Document]) -> list[Chunk]:
    """Return one chunk per document, for corpora that come in passages already.

    Examples
    --------
    >>> [chunk.id for chunk in whole_documents([Document("Ice melts.", "ice")])]
    ['ice#0-10']
    """
    return [
        Chunk(document.text, document.source, 0, len(document.text), title=document.title)
        for document in documents
    ]
