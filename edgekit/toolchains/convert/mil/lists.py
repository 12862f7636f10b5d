"""make_list, list_read, list_write, list_gather, list_scatter, list_length: lists of tensors in and out, as TensorFlow's loops write them."""

from __future__ import annotations

import numpy as np

from .arguments import Arguments, Array, Function, TensorList, WrongArgument, affordable


def make_list(a: Arguments) -> TensorList:
    """`init_length` tensors of zeros of `elem_shape`; a size that is open there is 0 until something is written."""
    shape = [max(0, int(size)) for size in a.tensors("elem_shape")]
    length = a.integer("init_length", 1)
    affordable([length, *shape])
    return TensorList([np.zeros(shape, np.float32)] * length)


def place(a: Arguments, index: int, dynamic: bool = False) -> int:
    length = len(a.tensors("ls"))
    if not 0 <= index < length + dynamic:
        raise WrongArgument(f"index {index} is outside a list of {length}")
    return index


def list_read(a: Arguments) -> Array:
    return a.tensors("ls")[place(a, a.integer("index"))]


def replaced(a: Arguments, index: int, value: Array) -> TensorList:
    """The list with one element replaced, or one more at its end."""
    held = list(a.tensors("ls"))
    held[place(a, index, dynamic=True) : index + 1] = [value]
    return TensorList(held)


def list_scatter(a: Arguments) -> TensorList:
    held = a
    for index, value in zip(a.ints("indices"), a["value"], strict=True):
        held = Arguments({**held.values, "ls": replaced(held, index, value)})
    return held.tensors("ls")


OPS: dict[str, Function] = {
    "list_gather": lambda a: np.stack([a.tensors("ls")[place(a, i)] for i in a.ints("indices")]),
    "list_length": lambda a: np.array(len(a.tensors("ls")), np.int32),
    "list_read": list_read,
    "list_scatter": list_scatter,
    "list_write": lambda a: replaced(a, a.integer("index"), a["value"]),
    "make_list": make_list,
}
