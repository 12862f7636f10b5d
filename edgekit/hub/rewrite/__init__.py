"""A hub in, the same hub in its normal form out: the forms that every writer turns into its best operators.

Each rule says the same computation in other words: a constant MatMul of rank 2 is a Gemm with weights [out, in]; a mean over
all of an image is a GlobalAveragePool; views of views are one view; a transpose goes down until it meets its inverse.
"""

from __future__ import annotations

from onnx import ModelProto

from edgekit.hub.rewrite.linear import add_into_gemm, matmul_to_gemm
from edgekit.hub.rewrite.padding import explicit_padding
from edgekit.hub.rewrite.pooling import mean_through_transpose, mean_to_global_pool, reshape_to_flatten
from edgekit.hub.rewrite.signs import negation_into_convolution
from edgekit.hub.rewrite.transposes import merge_permutations, sink_transposes
from edgekit.hub.rewrite.views import merge_views

RULES = (
    explicit_padding,
    mean_through_transpose,
    mean_to_global_pool,
    merge_views,
    merge_permutations,
    sink_transposes,
    negation_into_convolution,
    matmul_to_gemm,
    add_into_gemm,
    reshape_to_flatten,
)


def rewrite(model: ModelProto) -> bool:
    """Apply all rules. Whether anything changed."""
    changed = [rule(model) for rule in RULES]  # all of them: any() over a generator would stop at the first
    return any(changed)
