"""Nodes with the names of their weights in; for each the one name out by which people know that layer, as near to their own source as can be told.

Exporters name weights and nodes in many ways: `features.3.weight`, `/features/3/Conv`, `model/conv2d_1/Conv2D`, `node_Conv_36`, `const_fold_opt__110`.
What a person looks for is the layer itself: `features.3`, `model/conv2d_1`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

FACTORS = (".u", ".core", ".v")
"""What `lowrank` puts behind the names of a layer and of its weights."""

OPERATORS = (
    r"Conv(Transpose|[123]D(Transpose|BackpropInput)?)?|convolution|conv_transpose|merged_input|(?<!separable_conv2d/)depthwise|"
    r"DepthwiseConv2dNative|Gemm|(Batch)?MatMul(V2)?|Tensordot|einsum|BiasAdd|Cast|ReadVariableOp|ExpandDims|Reshape|Add|Relu6?|"
    r"batchnorm/(mul|add)|LSTM|GRU|RNN|while_loop(/[WR])?|Gather"
)
"""Ends of names that say what is computed, not where; a number may follow."""

ENDS = re.compile(rf"(/({OPERATORS})(_\d+)?|/transposed|/negated|/inner|[._/]weight|[./]kernel)+$")
NORMALISED = re.compile(r"/batchnorm/|/BatchNormalization_")
"""In the name of weights that a normalisation went into: it is a layer of its own to people, and not the one whose weights they are."""
GENERATED = re.compile(r"|\d+|(node_|val_|getitem|const_fold_opt|onnx::|initializer|Constant).*|.*__\d+", re.IGNORECASE)
"""What no person called a layer: numbers, and what PyTorch's exporter, tf2onnx and onnxslim make up."""
TELLING = 3
"""Characters from which on a name says more than `w1`."""


def layer_names(found: Sequence[tuple[str, str, str, str]]) -> list[str]:
    """A name for each layer; layers of other weights never have the same.

    Args:
        found: of each layer its node's name, its operator, its weights' name, and which of the node's several weights they are (`W`, `R`, or nothing).
    """
    choices = [candidates(*each) for each in found]
    taken: dict[str, set[str]] = {}
    for (_, _, weight, _), names in zip(found, choices, strict=True):
        for name in names:
            taken.setdefault(name, set()).add(weight)
    return [next((name for name in names if len(taken[name]) == 1), names[-1]) for names in choices]


def candidates(node: str, kind: str, weight: str, part: str) -> list[str]:
    """What a layer could be called, the best first."""
    end = next((one for one in FACTORS if weight.endswith(one)), "")
    node, weight, part = node.removesuffix(end), weight.removesuffix(end), f".{part}" if part else ""
    told: dict[str, tuple[bool, bool, str]] = {}
    for name, behind in ((weight, ""), (node, part)):
        if not made_up(at := place(name), kind, name):
            told[at] = bool(NORMALISED.search(name)), len(at) < TELLING, at + behind
    known = [name for _, _, name in sorted(told.values(), key=lambda one: one[:2])]
    return [name + end for name in dict.fromkeys([*known, node + part, weight]) if name]


def place(name: str) -> str:
    """A name without what says only what is computed there: `features/3/Conv` → `features/3`, `body.0.weight` → `body.0`."""
    first = re.sub(r":\d+(?=/|_|$)", "", name.partition(";")[0]).strip("/")  # TensorFlow Lite joins the names of what it fused by semicolons
    return ENDS.sub("", first).lstrip(".")


def made_up(name: str, kind: str, whole: str) -> bool:
    """Whether the place that a whole name tells says nothing to a person: a number, an operator; `Conv1` of `Conv1/convolution` is a layer."""
    return bool(GENERATED.fullmatch(name) or (re.fullmatch(rf"{kind}_*\d*", name) and not whole.startswith(f"{name}/")))
