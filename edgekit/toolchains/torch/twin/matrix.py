"""MatMul, Gemm and Einsum in, torch.nn.functional.linear and torch.matmul out."""

from __future__ import annotations

import torch
from onnx import NodeProto
from torch.nn import functional as F

from edgekit.hub.graph import attribute
from edgekit.toolchains.torch.twin.build import Build, Value


def gemm(build: Build, node: NodeProto) -> Value:
    a, b, c = build.of(node.input[0]), build.of(node.input[1]), build.given(node, 2)
    alpha, beta = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
    if attribute(node, "transA", 0):
        a = build.call(torch.t, a)
    if attribute(node, "transB", 0) and alpha == beta == 1.0 and (c is None or len(c.shape) == 1):
        return build.call(F.linear, a, b, c)
    product = build.call(torch.matmul, a, build.call(torch.t, b) if attribute(node, "transB", 0) else b)
    product = product if alpha == 1.0 else build.call(torch.mul, product, alpha)
    if c is None:
        return product
    return build.call(torch.add, product, c if beta == 1.0 else build.call(torch.mul, c, beta))


def matmul(build: Build, node: NodeProto) -> Value:
    return build.call(torch.matmul, *build.all(node))


def einsum(build: Build, node: NodeProto) -> Value:
    return build.call(torch.einsum, attribute(node, "equation").decode(), *build.all(node))


OPERATORS = {"Gemm": gemm, "MatMul": matmul, "Einsum": einsum}
