"""The recipe's own function, with the recipe's meaning.

It works on the recipe's objects, not on this package's; the module does not
know how they were made.
"""

from __future__ import annotations

from typing import Any

from rag_helpers.errors import GeneratorError, InvalidInputError

__all__ = ["rag_pipeline"]


def rag_pipeline(
    query: str,
    retriever: Any,  # noqa: ANN401 (a SentenceTransformer)
    index: Any,  # noqa: ANN401 (a faiss index)
    generator: Any,  # noqa: ANN401 (a transformers encoder-decoder)
    tokenizer: Any,  # noqa: ANN401
    dataset: Any,  # noqa: ANN401 (a datasets.Dataset with a "text" column)
    k: int = 5,
) -> str:
    """Answer a question exactly as the recipe does, on the recipe's own objects.

    Embed the query, search, join the `k` texts with spaces, truncate at 512
    tokens and generate with four beams. What lies past 512 tokens is lost
    without a word: `RagPipeline` budgets passages instead.

    Parameters
    ----------
    query : str
        The question.
    retriever : SentenceTransformer
        Anything with ``encode(list of str)``.
    index : faiss.Index
        Holds one vector per row of `dataset`.
    generator : transformers.PreTrainedModel
        An encoder-decoder such as T5 or BART.
    tokenizer : transformers.PreTrainedTokenizerBase
        The generator's tokenizer.
    dataset : datasets.Dataset
        With a column ``text``.
    k : int, default 5
        How many texts to retrieve; more than there are means all.

    Returns
    -------
    str
        The generated answer.

    Raises
    ------
    InvalidInputError
        When the query is blank, `k` is below 1, or index and dataset differ
        in length.
    GeneratorError
        When `generator` is not an encoder-decoder.
    """
    if not query.strip():
        raise InvalidInputError("The query is empty; ask in at least one word.")
    if k < 1:
        raise InvalidInputError(f"k is {k}; retrieve at least 1 text.")
    if index.ntotal != len(dataset):
        raise InvalidInputError(
            f"The index holds {index.ntotal} vectors and the dataset {len(dataset)} texts; "
            "encode the dataset again so that both are equal."
        )
    if not generator.config.is_encoder_decoder:
        raise GeneratorError(
            f"{type(generator).__name__} is a causal model, and the recipe's pipeline needs an "
            "encoder-decoder such as t5-small or facebook/bart-base; for a causal model use "
            "RagPipeline with a ChatGenerator."
        )
    query_embedding = retriever.encode([query], convert_to_tensor=True)
    _, indices = index.search(query_embedding.cpu().numpy(), min(k, index.ntotal))
    context = " ".join(dataset[int(row)]["text"] for row in indices[0])
    inputs = tokenizer(
        f"Question: {query} Context: {context}",
        return_tensors="pt",
        max_length=512,
        truncation=True,
    ).to(generator.device)
    inputs.pop(
        "token_type_ids", None
    )  # some tokenizers add them, and no encoder-decoder takes them
    outputs = generator.generate(**inputs, max_length=150, num_beams=4, early_stopping=True)
    return str(tokenizer.decode(outputs[0], skip_special_tokens=True))
