"""DFT, STFT, CumProd and Einsum in, products with stored matrices, masks and reductions out."""

from __future__ import annotations

import math

import numpy as np
from onnx import NodeProto

from edgekit.hub.graph import attribute
from edgekit.hub.lower import Lowering


def dft(graph: Lowering, node: NodeProto) -> None:
    """DFT-17 and DFT-20: the axis times the matrix of exp(∓2πi·jk/n), for real and complex input, one-sided and inverse."""
    x, shape = node.input[0], graph.shape(node.input[0])
    rank = len(shape)
    axis = attribute(node, "axis", 1)
    if (name := graph.given(node, 2)) is not None:
        stored = graph.value(name)
        if stored is None:
            graph.refuse(node, "has an axis that is computed: export it with a stored one")
        axis = int(stored.ravel()[0])
    axis %= rank
    inverse, onesided = bool(attribute(node, "inverse", 0)), bool(attribute(node, "onesided", 0))
    after = graph.shape(node.output[0])
    length = after[axis] if inverse or not onesided else shape[axis]
    if (name := graph.given(node, 1)) is not None:
        stored = graph.value(name)
        if stored is None:
            graph.refuse(node, "has a length that is computed: export it with a stored one")
        length = int(stored.ravel()[0])
    order = [one for one in range(rank - 1) if one != axis] + [axis]
    spectrum = complex_product(graph, x, shape, axis, order, length, after[axis], inverse=inverse, onesided=onesided)
    back = [int(place) for place in np.argsort(order)] + [rank - 1]
    real_only = after[-1] == 1
    parts = [graph.add("Unsqueeze", [part, graph.ints(rank - 1)]) for part in (spectrum[:1] if real_only else spectrum)]
    whole = parts[0] if real_only else graph.add("Concat", parts, axis=rank - 1)
    graph.add("Transpose", [whole], node.output, perm=back)


def complex_product(
    graph: Lowering, x: str, shape: list[int], axis: int, order: list[int], length: int, places: int, *, inverse: bool, onesided: bool
) -> tuple[str, str]:
    """Real and imaginary part [..., places] of the transform of x [..., axis, ..., 1 or 2], the axis turned to the last."""
    rank = len(shape)
    components = []
    over = graph.store(length, np.float32) if inverse else None
    for component in range(shape[-1]):
        part = graph.add("Gather", [x, graph.store(component, np.int64)], axis=rank - 1)
        turned = graph.add("Transpose", [part], perm=order)
        components.append(graph.add("Div", [turned, over]) if over else turned)
    used = min(shape[axis], length)
    sign = 1 if inverse else -1
    table = np.exp(sign * 2j * np.pi * np.outer(np.arange(shape[axis]), np.arange(places)) / length)
    table[used:] = 0
    if inverse and onesided:  # the half that is left out is the conjugate of the one that is there
        twice = np.array([1 if k == 0 or (length % 2 == 0 and k == length // 2) else 2 for k in range(shape[axis])])
        table *= twice[:, None]
    cosine, sine = graph.store(table.real, np.float32), graph.store(table.imag, np.float32)
    if len(components) == 1:
        return graph.add("MatMul", [components[0], cosine]), graph.add("MatMul", [components[0], sine])
    real = graph.add("Sub", [graph.add("MatMul", [components[0], cosine]), graph.add("MatMul", [components[1], sine])])
    return real, graph.add("Add", [graph.add("MatMul", [components[0], sine]), graph.add("MatMul", [components[1], cosine])])


def stft(graph: Lowering, node: NodeProto) -> None:
    """STFT-17: frames gathered at stored places, times the window, times the matrix of the DFT."""
    signal, shape = node.input[0], graph.shape(node.input[0])
    frames, places = graph.shape(node.output[0])[1:3]
    window_name, step_name = graph.given(node, 2), node.input[1]
    step, window = graph.value(step_name), graph.value(window_name) if window_name else None
    length_name = graph.given(node, 3)
    length = graph.value(length_name) if length_name else None
    if step is None or (window_name and window is None) or (length_name and length is None):
        graph.refuse(node, "has a step, window or length that is computed: export it with stored ones")
    size = int(length.ravel()[0]) if length is not None else len(window) if window is not None else shape[1]
    if places != (size // 2 + 1 if attribute(node, "onesided", 1) else size):
        graph.refuse(node, f"gives {places} frequencies by its declared shape and not those of frames of {size}: set its attribute onesided")
    at = np.arange(frames)[:, None] * int(step.ravel()[0]) + np.arange(size)
    x = graph.add("Gather", [signal, graph.store(at, np.int64)], axis=1)  # [batch, frames, size, 1 or 2]
    components = 1 if len(shape) == 2 else shape[2]
    if len(shape) == 2:
        x = graph.add("Unsqueeze", [x, graph.ints(3)])
    if window is not None:
        x = graph.add("Mul", [x, graph.store(window.reshape(1, 1, -1, 1), np.float32)])
    whole = [shape[0], frames, size, components]
    real, imaginary = complex_product(graph, x, whole, 2, [0, 1, 2], size, places, inverse=False, onesided=False)
    graph.add("Concat", [graph.add("Unsqueeze", [part, graph.ints(3)]) for part in (real, imaginary)], node.output, axis=3)


def cumulative_product(graph: Lowering, node: NodeProto) -> None:
    """CumProd-26: each place is the product of those that a stored triangle keeps."""
    x, shape = node.input[0], graph.shape(node.input[0])
    stored = graph.value(node.input[1])
    if stored is None:
        graph.refuse(node, "has an axis that is computed: export it with a stored one")
    axis = int(stored.ravel()[0]) % len(shape)
    size = shape[axis]
    if size * math.prod(shape) > 1 << 22:
        graph.refuse(node, f"multiplies {size} elements of a large tensor, which would need its square in memory: split the tensor")
    offset = -1 if attribute(node, "exclusive", 0) else 0
    kept = np.tril(np.ones((size, size), bool), offset)
    if attribute(node, "reverse", 0):
        kept = kept[::-1, ::-1]
    order = [one for one in range(len(shape)) if one != axis] + [axis]
    last = graph.add("Transpose", [x], perm=order) if axis != len(shape) - 1 else x
    rows = graph.add("Unsqueeze", [last, graph.ints(len(shape) - 1)])
    masked = graph.add("Where", [graph.store(np.ascontiguousarray(kept)), rows, graph.like(x, 1)])
    product = graph.add("ReduceProd", [masked, graph.ints(len(shape))], keepdims=0)
    graph.add("Transpose", [product], node.output, perm=[int(place) for place in np.argsort(order)])


def einsum(graph: Lowering, node: NodeProto) -> None:
    """Every operand in the order of all letters, multiplied pair by pair, summed over the letters that the result lacks.

    A product of two is a MatMul where each letter stands once in an operand.
    """
    equation = attribute(node, "equation", b"").decode().replace(" ", "")
    left, _, right = equation.partition("->")
    operands = left.split(",")
    ranks = [len(graph.shape(name)) for name in node.input]
    hidden = [rank - len(op.replace("...", "")) if "..." in op else 0 for op, rank in zip(operands, ranks, strict=True)]
    dots = "".join(chr(ord("α") + place) for place in range(max(hidden)))
    terms = [op.replace("...", dots[len(dots) - count :]) for op, count in zip(operands, hidden, strict=True)]
    letters = "".join(dict.fromkeys("".join(terms)))
    if "->" not in equation:
        right = "..." * bool(dots) + "".join(sorted(letter for letter in letters if "".join(terms).count(letter) == 1 and letter not in dots))
    result = right.replace("...", dots)
    sizes = {letter: size for term, name in zip(terms, node.input, strict=True) for letter, size in zip(term, graph.shape(name), strict=True)}
    placed = [diagonal(graph, name, term) for name, term in zip(node.input, terms, strict=True)]
    if len(placed) == 2 and not dots and pair(graph, node, placed, result, sizes):
        return
    summed = [letter for letter in letters if letter not in result]
    order = [*result, *summed]
    total = ""
    for name, term in placed:
        turned = graph.add("Transpose", [name], perm=[term.index(letter) for letter in order if letter in term]) if len(term) > 1 else name
        shaped = graph.add("Reshape", [turned, graph.ints(*[sizes[letter] if letter in term else 1 for letter in order])])
        total = shaped if not total else graph.add("Mul", [total, shaped])
    if summed:
        graph.add("ReduceSum", [total, graph.ints(*range(len(result), len(order)))], node.output, keepdims=0)
    else:
        graph.add("Identity", [total], node.output)


def diagonal(graph: Lowering, name: str, term: str) -> tuple[str, str]:
    """An operand with each letter once: of one that stands twice, the diagonal, by a mask and a sum."""
    shape = graph.shape(name)
    while len(set(term)) < len(term):
        letter = next(one for one in term if term.count(one) > 1)
        first = term.index(letter)
        second = term.index(letter, first + 1)
        mask_shape = [shape[place] if place in (first, second) else 1 for place in range(len(term))]
        eye = np.eye(shape[first], dtype=np.float32).reshape(mask_shape)
        kept = graph.add("Mul", [name, graph.store(eye, graph.numpy_dtype(name) if name in graph.dtypes else np.float32)])
        name = graph.add("ReduceSum", [kept, graph.ints(second)], keepdims=0)
        term, shape = term[:second] + term[second + 1 :], shape[:second] + shape[second + 1 :]
    return name, term


def pair(graph: Lowering, node: NodeProto, placed: list[tuple[str, str]], result: str, sizes: dict[str, int]) -> bool:
    """Two operands as a MatMul [batch, rows, inner] · [batch, inner, columns]; False where a letter of one stands nowhere else."""
    (a, left), (b, right) = placed
    batch = [letter for letter in left if letter in right and letter in result]
    inner = [letter for letter in left if letter in right and letter not in result]
    rows = [letter for letter in left if letter not in right]
    columns = [letter for letter in right if letter not in left]
    if not inner or any(letter not in result for letter in rows + columns):
        return False

    def shaped(name: str, term: str, groups: list[list[str]]) -> str:
        order = [term.index(letter) for group in groups for letter in group]
        turned = name if order == list(range(len(order))) else graph.add("Transpose", [name], perm=order)
        return graph.add("Reshape", [turned, graph.ints(*[math.prod(sizes[letter] for letter in group) for group in groups])])

    product = graph.add("MatMul", [shaped(a, left, [batch, rows, inner]), shaped(b, right, [batch, inner, columns])])
    have = batch + rows + columns
    whole = graph.add("Reshape", [product, graph.ints(*[sizes[letter] for letter in have])])
    if have == list(result):
        graph.add("Identity", [whole], node.output)
    else:
        graph.add("Transpose", [whole], node.output, perm=[have.index(letter) for letter in result])
    return True
