"""MatMul, Gemm, Einsum, Det: matrices (and batches of them) in, one tensor out."""

from __future__ import annotations

import numpy as np
from coremltools.converters.mil import Builder as mb

from edgekit.toolchains.convert.coreml.node import Lowering, Node, Var, is_float, like, reshaped, select, transposed


def product(x: Var, y: Var) -> Var:
    """numpy's matmul: a vector is a row on the left and a column on the right."""
    row, column = len(x.shape) == 1, len(y.shape) == 1
    if row:
        x = mb.expand_dims(x=x, axes=[0])
    if column:
        y = mb.expand_dims(x=y, axes=[1])
    made = mb.matmul(x=x, y=y)
    if row and column:
        return mb.reshape(x=made, shape=[1]) if len(made.shape) == 2 else made
    if row or column:
        rank = len(made.shape)
        return mb.squeeze(x=made, axes=[rank - 2 if row else rank - 1])
    return made


def matmul(node: Node) -> Var:
    x, y = node.input(0), node.input(1)
    if not node.made_shape():
        return mb.reduce_sum(x=mb.mul(x=x, y=y), axes=[0], keep_dims=False)
    return product(x, y)


def gemm(node: Node) -> Var:
    """alpha · A B + beta · C, A and B transposed where asked."""
    a, b = node.input(0), node.input(1)
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    turned_a, turned_b = bool(node.attribute("transA", 0)), bool(node.attribute("transB", 0))
    weight, bias = node.value(1), node.value(2)
    stored_bias = not node.given(2) or (bias is not None and bias.size in (1, int(b.shape[0])) and list(bias.shape) in ([], [1], [int(b.shape[0])]))
    if weight is not None and turned_b and not turned_a and alpha == beta == 1 and stored_bias and is_float(a):
        given = {} if bias is None else {"bias": like(a, np.broadcast_to(bias.reshape(-1), int(b.shape[0])))}
        return mb.linear(x=a, weight=b, **given)
    y = mb.matmul(x=a, y=b, transpose_x=turned_a, transpose_y=turned_b)
    if alpha != 1:
        y = mb.mul(x=y, y=like(y, alpha))
    if not node.given(2) or beta == 0:
        return y
    c = node.input(2)
    return mb.add(x=y, y=c if beta == 1 else mb.mul(x=c, y=like(y, beta)))


def einsum(node: Node) -> Var:
    """Operands from left to right, each pair as one batched matrix product over what neither the result nor a later operand needs."""
    equation = node.attribute("equation", "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    operands = node.inputs()
    around = max((len(x.shape) - len(term.replace("...", "")) for x, term in zip(operands, terms, strict=True) if "..." in term), default=0)
    letters = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation][:around]
    spelled = [spell(term, len(x.shape), letters) for x, term in zip(operands, terms, strict=True)]
    if arrow:
        result = right.replace("...", "".join(letters))
    else:
        once = sorted({c for term in spelled for c in term if sum(t.count(c) for t in spelled) == 1 and c not in letters})
        result = "".join(letters) + "".join(once)
    x, labels = diagonal(operands[0], spelled[0])
    for index in range(1, len(operands)):
        y, others = diagonal(operands[index], spelled[index])
        kept = set(result).union(*spelled[index + 1 :])
        x, labels = contracted(x, labels, y, others, kept)
    x, labels = summed(x, labels, set(result))
    return transposed(x, [labels.index(c) for c in result]) if result else x


def spell(term: str, rank: int, letters: list[str]) -> str:
    """A term with a letter for every axis that an ellipsis stands for, counted from the last."""
    named = len(term.replace("...", ""))
    return term.replace("...", "".join(letters[len(letters) - (rank - named) :]))


def diagonal(x: Var, labels: str) -> tuple[Var, str]:
    """x with each repeated label once: the diagonal of those axes."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first, second = labels.index(label), labels.rindex(label)
            n = int(x.shape[first])
            eye = np.eye(n, dtype=bool).reshape([n if i in (first, second) else 1 for i in range(len(labels))])
            zeros = like(x, np.zeros([1] * len(labels)))
            x = mb.reduce_sum(x=select(eye, a=x, b=zeros), axes=[second], keep_dims=False)
            labels = labels[:second] + labels[second + 1 :]
    return x, labels


def summed(x: Var, labels: str, kept: set[str]) -> tuple[Var, str]:
    """x summed over the labels that nothing needs any more."""
    gone = [i for i, label in enumerate(labels) if label not in kept]
    return (mb.reduce_sum(x=x, axes=gone, keep_dims=False), "".join(c for c in labels if c in kept)) if gone else (x, labels)


def contracted(x: Var, left: str, y: Var, right: str, kept: set[str]) -> tuple[Var, str]:
    """One product of two operands, over the labels that both have and nothing else needs."""
    x, left = summed(x, left, kept | set(right))
    y, right = summed(y, right, kept | set(left))
    both = [c for c in left if c in right]
    batch, inner = [c for c in both if c in kept], [c for c in both if c not in kept]
    rows, columns = [c for c in left if c not in both], [c for c in right if c not in both]
    sizes = {c: int(n) for c, n in [*zip(right, y.shape, strict=True), *zip(left, x.shape, strict=True)]}
    for c, n in zip(right, y.shape, strict=True):  # a size of 1 is broadcast
        sizes[c] = max(sizes[c], int(n))

    def count(labels: list[str]) -> int:
        return int(np.prod([sizes[c] for c in labels], dtype=np.int64))

    outer = [sizes[c] for c in batch]
    if len(batch) > 3:
        outer = [count(batch)]
    a = reshaped(transposed(x, [left.index(c) for c in batch + rows + inner]), [*outer, count(rows), count(inner)])
    b = reshaped(transposed(y, [right.index(c) for c in batch + inner + columns]), [*outer, count(inner), count(columns)])
    labels = "".join(batch + rows + columns)
    return reshaped(mb.matmul(x=a, y=b), [sizes[c] for c in labels]), labels


def determinant(node: Node) -> Var:
    """By cofactors, up to 4 × 4."""
    x = node.input(0)
    n, rank = int(x.shape[-1]), len(x.shape)
    if n > 4:
        node.refuse(f"its matrices are {n} × {n}, and determinants are written up to 4 × 4; compute it outside the model")
    entries = [[mb.slice_by_index(x=x, begin=[0] * (rank - 2) + [i, j], end=[0] * (rank - 2) + [i + 1, j + 1],
                                  begin_mask=[True] * (rank - 2) + [False, False], end_mask=[True] * (rank - 2) + [False, False],
                                  squeeze_mask=[False] * (rank - 2) + [True, True]) for j in range(n)] for i in range(n)]  # fmt: skip
    return cofactors(entries)


def cofactors(entries: list[list[Var]]) -> Var:
    if len(entries) == 1:
        return entries[0][0]
    total = None
    for j, entry in enumerate(entries[0]):
        term = mb.mul(x=entry, y=cofactors([[*row[:j], *row[j + 1 :]] for row in entries[1:]]))
        total = term if total is None else (mb.sub if j % 2 else mb.add)(x=total, y=term)
    return total


OPS: dict[str, Lowering] = {"Det": determinant, "Einsum": einsum, "Gemm": gemm, "MatMul": matmul}
