"""scaled_dot_product_attention: query, key, value [..., L, E] in, [..., L, E_value] out."""

from __future__ import annotations

import numpy as np

from .arguments import Arguments, Array, Function


def scaled_dot_product_attention(a: Arguments) -> Array:
    """softmax(Q Kᵀ / √E + mask) V; a boolean mask keeps where it is true."""
    query, mask = a["query"], a.get("attn_mask")
    scores = query @ a["key"].swapaxes(-1, -2) / np.float32(np.sqrt(query.shape[-1]))
    if mask is not None:
        scores = np.where(mask, scores, np.float32(-np.inf)) if mask.dtype == bool else scores + mask
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    attended: Array = e / e.sum(axis=-1, keepdims=True) @ a["value"]
    return attended


OPS: dict[str, Function] = {"scaled_dot_product_attention": scaled_dot_product_attention}
