"""BERT over texts laid end to end, so that nothing is computed on padding.

A batch of texts is usually padded to its longest, and a mask keeps the padding out of attention.
Here the tokens of all texts stand in one row; attention is computed text by text, everything else
at once. The vectors are the same but for rounding, and come sooner: `RESULTS.md` says by how much.

The module does not know how texts become tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

__all__ = ["is_ragged_ready", "mean_states", "prepare_ragged"]

# Larger batches fall out of the processor's caches, smaller ones leave its cores waiting.
_TOKENS_AT_ONCE = 1024
_ATTENTION = "rag_helpers_ragged"


def is_ragged_ready(model: Any) -> bool:  # noqa: ANN401 (from an untyped library)
    """Tell whether a sentence-transformers model is one whose padding can be left out.

    Parameters
    ----------
    model : SentenceTransformer
        As loaded, its `Normalize` module taken off.

    Returns
    -------
    bool
        True for BERT on the CPU with mean pooling and nothing behind it.
    """
    parts = list(model.children())
    if len(parts) != 2 or type(parts[1]).__name__ != "Pooling":
        return False
    encoder, pooling = parts
    mode = getattr(pooling, "pooling_mode", None) or pooling.get_pooling_mode_str()
    return bool(
        mode == "mean"
        and model.device.type == "cpu"
        and type(encoder.auto_model).__name__ == "BertModel"
        and not encoder.auto_model.config.is_decoder
        # What would be put in front of every text, or change it.
        and not model.default_prompt_name
        and not getattr(encoder, "do_lower_case", False)
    )


def prepare_ragged(bert: Any) -> None:  # noqa: ANN401 (from an untyped library)
    """Let a BERT model attend text by text; it then takes `mean_states` alone.

    Parameters
    ----------
    bert : BertModel
        Changed in place.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(_ATTENTION, _attend)
    bert.set_attn_implementation(_ATTENTION)


def mean_states(bert: Any, rows: Sequence[Sequence[int]]) -> Any:  # noqa: ANN401
    """Return the mean of each text's last states.

    Parameters
    ----------
    bert : BertModel
        After `prepare_ragged`.
    rows : sequence of sequence of int
        The tokens of each text, special tokens included.

    Returns
    -------
    Tensor of float32, shape (len(rows), hidden size)
        In the order of the rows.

    Examples
    --------
    >>> import torch
    >>> from transformers import BertConfig, BertModel
    >>> sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}
    >>> bert = BertModel(BertConfig(vocab_size=9, num_hidden_layers=1, **sizes)).eval()
    >>> with torch.inference_mode():
    ...     expected = bert(torch.tensor([[1, 2, 3]])).last_hidden_state.mean(dim=1)
    ...     prepare_ragged(bert)
    ...     found = mean_states(bert, [[4, 5], [1, 2, 3]])
    >>> torch.allclose(found[1:], expected, atol=1e-5)
    True
    """
    import torch

    pooled = []
    with torch.inference_mode():
        for part in _parts(rows):
            lengths = [len(row) for row in part]
            output = bert(
                input_ids=torch.tensor([[token for row in part for token in row]]),
                position_ids=torch.cat([torch.arange(length) for length in lengths])[None],
                # Not the buffer's, which would be cut to the positions of one text.
                token_type_ids=torch.zeros((1, sum(lengths)), dtype=torch.long),
                text_lengths=lengths,
            )
            states = output.last_hidden_state[0].float().split(lengths)
            pooled += [state.mean(dim=0) for state in states]
        return torch.stack(pooled)


def _parts(rows: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    part: list[Sequence[int]] = []
    tokens = 0
    for row in rows:
        if part and tokens + len(row) > _TOKENS_AT_ONCE:
            yield part
            part, tokens = [], 0
        part.append(row)
        tokens += len(row)
    if part:
        yield part


def _attend(  # what transformers calls; torch is not imported here
    module: Any,  # noqa: ANN401
    query: Any,  # noqa: ANN401
    key: Any,  # noqa: ANN401
    value: Any,  # noqa: ANN401
    attention_mask: Any,  # noqa: ANN401
    *,
    text_lengths: Sequence[int],
    scaling: float | None = None,
    **_: object,
) -> Any:  # noqa: ANN401
    """Attend inside each text: query, key and value have shape (1, heads, tokens, width)."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    heads, width = query.shape[1], query.shape[3]
    attended = torch.empty((1, query.shape[2], heads, width), dtype=query.dtype)
    begin = 0
    # Neighbours of one length go together.
    for length, same in groupby(text_lengths):
        count = len(list(same))
        end = begin + count * length
        q, k, v = (
            states[0, :, begin:end].view(heads, count, length, width).transpose(0, 1)
            for states in (query, key, value)
        )
        found = scaled_dot_product_attention(q, k, v, scale=scaling)
        attended[0, begin:end] = found.transpose(1, 2).reshape(count * length, heads, width)
        begin = end
    return attended, None
