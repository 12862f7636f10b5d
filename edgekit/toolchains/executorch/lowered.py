"""A lowered program in; out, which of it XNNPACK runs, in integers and in float32, and which ExecuTorch's own kernels."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from executorch.backends.xnnpack.utils.quant_utils import is_dequant, is_qparam, is_quant, is_tagged_as_implicit_q_dq
from executorch.exir.lowered_backend_module import executorch_call_delegate, get_lowered_submodules

LAYERS = ("convolution", "linear", "mm", "addmm")


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs a program."""

    delegated: int
    """Parts that XNNPACK runs."""
    others: int
    """Operators of ExecuTorch's own kernels."""
    layers: int
    """Convolutions and linear layers."""
    whole: int
    """Those of them that XNNPACK computes in integers."""
    floats: tuple[str, ...]
    """Other operators, in a program with integers, that are computed in float32."""
    left: frozenset[str]
    """Stored integers that no integer kernel took."""

    @property
    def notes(self) -> list[str]:
        said = [
            f"XNNPACK runs {self.delegated} part{'s' * (self.delegated != 1)} of the program, "
            f"ExecuTorch's own kernels {self.others} operator{'s' * (self.others != 1)}"
        ]
        if self.whole:
            said.append(f"XNNPACK computes {self.whole} of {self.layers} convolutions and linear layers in integers")
        if self.whole and self.floats:
            said.append(f"computed in float32: {', '.join(self.floats)}")
        return said


def parts_of(program: Any) -> Parts:
    """
    Args:
        program: an ExportedProgram after the partitioner.
    """
    outer = calls(program.graph.nodes)
    inner = [node for _, module, _ in get_lowered_submodules(program.graph_module) for node in calls(module.original_module.graph.nodes)]
    others = [node for node in outer if node.target is not executorch_call_delegate]
    layers = [node for node in [*inner, *others] if kind_of(node) in LAYERS]
    whole = [node for node in layers if node in inner and in_integers(node)]
    plain = [node for node in [*inner, *others] if not (is_conversion(node) or node in whole or in_integers(node))]
    names = program.graph_signature.inputs_to_buffers
    left = {names[node.args[0].name] for node in others if is_dequant(node) and node.args[0].name in names}
    kinds = sorted({kind for kind in map(kind_of, plain) if not kind.endswith("_copy")})
    parts = sum(node.target is executorch_call_delegate for node in outer)
    return Parts(parts, len(others), len(layers), len(whole), tuple(kinds), frozenset(left))


def calls(nodes: Iterable[Any]) -> list[Any]:
    return [node for node in nodes if node.op == "call_function" and node.target is not operator.getitem]


def kind_of(node: Any) -> str:
    """`convolution` of `aten.convolution.default`."""
    return str(node.target.__name__).split(".")[-2].strip("_")


def is_conversion(node: Any) -> bool:
    return bool(is_quant(node) or is_dequant(node) or is_qparam(node))


def in_integers(node: Any) -> bool:
    """Whether the conversions before an operator, or, of one that is part of the layer before it, behind it are part of its kernel."""
    around = [*node.all_input_nodes, *node.users]
    return any((is_quant(one) or is_dequant(one)) and is_tagged_as_implicit_q_dq(one) for one in around)
