"""A model and `--shape` values in, the model with every shape fixed and inferred out."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import onnx
from onnx import ModelProto, TensorProto

from edgekit.hub.axes import Span, Wanted, span
from edgekit.hub.graph import Refusal, dims, makers, static_shape, static_shapes, title

LOOP_CURE = "let the loop carry tensors of one shape from turn to turn, or give it a fixed number of turns (recurrent layers: export them as LSTM and GRU)"

Dims = Sequence[int | str | None]
"""A declared shape: int where fixed, str where the axis is named, None where it is open."""

LARGE_BYTES = 4096
"""Stored tensors above it are weights: shape inference reads the values of small ones only (axes, shapes, pads)."""

USUAL_SIZE = {3: 224, 4: 224, 5: 112}
"""What the example in a message uses for an open axis, by rank: image sizes; else 128."""


def skeleton(model: ModelProto) -> ModelProto:
    """The model with its large tensors turned into inputs: all that checking and inference look at, without copying the weights."""
    thin = ModelProto()
    thin.ir_version = max(model.ir_version, 4)  # before 4 each initializer has to be an input too
    thin.opset_import.extend(model.opset_import)
    thin.functions.extend(model.functions)
    graph = thin.graph
    graph.name = model.graph.name or "graph"
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    stored = {tensor.name for tensor in model.graph.initializer}  # what was noted of a tensor before it was computed says less than the tensor
    graph.value_info.extend(value for value in model.graph.value_info if value.name not in stored)
    graph.sparse_initializer.extend(model.graph.sparse_initializer)
    declared = {value.name for value in graph.input}
    for tensor in model.graph.initializer:
        if tensor.ByteSize() <= LARGE_BYTES:
            graph.initializer.append(tensor)
        elif tensor.name not in declared:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return thin


def infer(model: ModelProto) -> None:
    """Give every tensor its shape and type, as far as they follow from the inputs.

    Raises:
        Refusal: shapes or types of the graph contradict each other.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(skeleton(model), check_type=True, strict_mode=True, data_prop=True)
        while keep_shapes(inferred):
            inferred = onnx.shape_inference.infer_shapes(inferred, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as exc:
        words = " ".join(str(exc).split())[:300]
        raise Refusal(f"the shapes of the model do not fit together ({words}): check --shape, or export the model again") from exc
    del model.graph.value_info[:]
    model.graph.value_info.extend(inferred.graph.value_info)
    outputs = list(inferred.graph.output)
    del model.graph.output[:]
    model.graph.output.extend(outputs)


def keep_shapes(model: ModelProto) -> bool:
    """Note that a GroupNormalization gives its input's shape, which ONNX's own inference does not know. Whether any was new."""
    graph = model.graph
    nodes = [node for node in graph.node if node.op_type == "GroupNormalization" and node.domain == ""]
    values = {value.name: value for value in [*graph.input, *graph.output, *graph.value_info]} if nodes else {}
    changed = False
    for node in nodes:
        before, after = values.get(node.input[0]), values.get(node.output[0])
        if before is None or not before.type.tensor_type.HasField("shape") or (after is not None and after.type.tensor_type.HasField("shape")):
            continue
        if after is None:
            after = graph.value_info.add(name=node.output[0])
        after.type.CopyFrom(before.type)
        values[after.name] = after
        changed = True
    return changed


def fix_inputs(model: ModelProto, shapes: Mapping[str, Wanted]) -> list[str]:
    """Fix the shape of every input, and return notes of what was chosen. Shapes noted inside the graph are dropped, to be inferred anew.

    Raises:
        Refusal: see `choose`.
    """
    fixed, notes = choose({value.name: dims(value) for value in model.graph.input}, shapes)
    for value in model.graph.input:
        kind = value.type.tensor_type
        kind.ClearField("shape")
        kind.shape.SetInParent()
        for size in fixed[value.name]:
            kind.shape.dim.add().dim_value = size
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return notes


def choose(declared: Mapping[str, Dims | None], shapes: Mapping[str, Wanted]) -> tuple[dict[str, list[int]], list[str]]:
    """A fixed shape for every input: as `shapes` says (a flexible axis at its default), an open first axis at 1; and notes of what was chosen.

    Open axes that share a name share their size.

    Raises:
        Refusal: `shapes` names an input that is not there, contradicts the model, or leaves an axis open.
    """
    named: dict[str, int | str] = {}
    for name, wanted in shapes.items():
        if name not in declared:
            near = difflib.get_close_matches(name, declared, n=1, cutoff=0.0)
            listed = ", ".join(f"{known} ({written(found)})" for known, found in declared.items())
            raise Refusal(f"--shape {name}=… names no input of the model: did you mean {near[0]!r}? The inputs are {listed}")
        check_wanted(name, declared[name], wanted)
        for axis, size in asked_of(declared[name], wanted):
            if named.setdefault(axis, size) != size:
                raise Refusal(f"--shape gives axis {axis or 0!r} as {named[axis]} and as {size}: give it one size in every input that has it")
    fixed, notes = {}, []
    for name, found in declared.items():
        if name in shapes:
            fixed[name] = [default(size, axis, len(shapes[name])) for axis, size in enumerate(shapes[name])]
            notes += [f"axis {axis} of input {name!r} is {fixed[name][axis]} by default" for axis, size in enumerate(shapes[name]) if size == "?" and axis]
        elif found is None:
            raise Refusal(f"input {name!r} has no shape at all: give it, such as --shape {name}=1x3x224x224")
        else:
            fixed[name] = fill(name, found, named)
    return fixed, notes


def asked_of(found: Dims | None, wanted: Wanted) -> Iterator[tuple[str, int | str]]:
    """What is asked of axes that other inputs may share: by name; a first axis without one has the name "", where it is to be flexible."""
    for place, (axis, size) in enumerate(zip(found or (), wanted, strict=False)):
        if isinstance(axis, str) or (axis is None and place == 0 and isinstance(size, str)):
            yield axis or "", size


def default(size: int | str, axis: int, rank: int) -> int:
    """The size of an axis as asked for; of one that may have any size, 1 for the first axis and the usual for the others."""
    if isinstance(size, int):
        return size
    return span_of(size).default or (1 if axis == 0 else USUAL_SIZE.get(rank, 128))


def span_of(size: str) -> Span:
    """
    Raises:
        Refusal: not a form of the grammar.
    """
    found = span(size)
    if found is None:
        raise Refusal(f"{size!r} is no size of an axis: give a number, a range such as 16..128, a list such as 1|4|8, or ? for any size")
    return found


def check_wanted(name: str, found: Dims | None, wanted: Wanted) -> None:
    """Refuse a `--shape` that has another rank than the input, contradicts a fixed axis, or is not positive."""
    given = f"--shape {name}={written(wanted)}"
    if any(isinstance(size, int) and size < 1 for size in wanted):
        raise Refusal(f"{given} has an axis below 1: every axis needs at least one element")
    if found is None:
        return
    if len(found) != len(wanted):
        raise Refusal(f"{given} has {len(wanted)} axes, and input {name!r} has {len(found)} ({written(found)}): give all {len(found)}")
    for axis, (size, want) in enumerate(zip(found, wanted, strict=True)):
        if isinstance(size, int) and isinstance(want, str):
            what = f"{given} asks for a flexible axis {axis}, which the model has fixed at {size} ({written(found)})"
            raise Refusal(f"{what}: give {size} there, or export the model with that axis open")
        if isinstance(size, int) and size != want:
            raise Refusal(f"{given} contradicts the model, where axis {axis} of {name!r} is fixed at {size} ({written(found)}): give {size} there")


def fill(name: str, found: Dims, named: Mapping[str, int | str]) -> list[int]:
    """Fixed sizes for an input's axes: the first, if open, is 1.

    Raises:
        Refusal: another axis is open; the message holds the `--shape` to give.
    """
    fixed: list[int] = []
    example: list[int | str] = []
    flexible: list[int | str] = []
    still_open = False
    for axis, size in enumerate(found):
        wanted = size if isinstance(size, int) else named.get(size or "") if size or axis == 0 else None
        known = None if wanted is None else default(wanted, axis, len(found))
        if known is None and axis == 0:
            known = 1
        still_open |= known is None
        usual = USUAL_SIZE.get(len(found), 128)
        example.append(usual if known is None else known)
        flexible.append(f"{usual}..{2 * usual}" if known is None else known)
        fixed.append(known or 0)
    if still_open:
        told = f"--shape {name}={written(example)}, or --shape {name}={written(flexible)} to keep it flexible where the format can"
        raise Refusal(f"input {name!r} has the open shape {written(found)}, and a file needs a size to begin with: give it, such as {told}")
    return fixed


def flexible_axes(declared: Mapping[str, Dims | None], shapes: Mapping[str, Wanted]) -> list[dict[str, Any]]:
    """The axes that may stay flexible, after `choose` has taken the same arguments: those that `shapes` says, and open first axes that it does not name.

    Axes of one `symbol` have one size: those that share a name in the model, all unnamed first axes, and unnamed ones at the same
    place that were asked for in the same words. Each is `{"input", "axis", "symbol", "default", "low", "high", "listed", "asked"}`.
    """
    fixed, _ = choose(declared, shapes)
    named = dict(pair for name, wanted in shapes.items() for pair in asked_of(declared[name], wanted))
    found = []
    for name, dimensions in declared.items():
        for axis, size in enumerate(dimensions or [None] * len(fixed[name])):
            if isinstance(size, int):
                continue
            shared = size or ("" if axis == 0 else None)
            words = shapes[name][axis] if name in shapes else named.get(shared or "", "?")
            if isinstance(words, str):
                one, asked = span_of(words), name in shapes or shared in named
                symbol = size or ("batch" if axis == 0 else f"axis{axis}_{words}")
                sizes = {"default": fixed[name][axis], "low": one.low, "high": one.high, "listed": list(one.listed)}
                found.append({"input": name, "axis": axis, "symbol": symbol, **sizes, "asked": asked})
    return found


def check_static(model: ModelProto) -> None:
    """Refuse a graph with a Scan, or in which a tensor's shape is known only when it runs.

    Raises:
        Refusal: names the first such node.
    """
    fixed = static_shapes(model.graph)
    for kind, values in (("input", model.graph.input), ("output", model.graph.output)):
        for value in values:
            if 0 in fixed.get(value.name, ()):
                raise Refusal(
                    f"{kind} {value.name!r} has the shape {written(fixed[value.name])}, which holds nothing: give it with --shape, or export it again"
                )
    for node in model.graph.node:
        if node.op_type == "Scan":
            message = f"node {title(node)!r} is a Scan, which no mobile format carries"
            raise Refusal(f"{message}: export recurrent layers unrolled, or as LSTM and GRU", kind="convert", op=node.op_type, node=title(node))
        for name in node.output:
            if name and name not in fixed:
                message = f"node {title(node)!r} ({node.op_type}) gives {name!r}, whose shape is known only when the model runs"
                cure = LOOP_CURE if node.op_type == "Loop" else "export the model without it"
                raise Refusal(f"{message}: mobile formats need fixed shapes, so {cure}", kind="convert", op=node.op_type, node=title(node))
    made = makers(model.graph)
    for output in model.graph.output:
        if static_shape(output) is None and output.name not in made:
            raise Refusal(f"output {output.name!r} is given by no node: export the model again")


def restore_types(model: ModelProto, stored: Mapping[str, TensorProto]) -> None:
    """Declare stored tensors that are outputs themselves, which inference leaves without a shape."""
    for output in model.graph.output:
        tensor = stored.get(output.name)
        if tensor is not None:
            output.CopyFrom(onnx.helper.make_tensor_value_info(output.name, tensor.data_type, tensor.dims))


def written(shape: Dims | None) -> str:
    """`1x3x224x224`, open axes by their name or `?`."""
    if shape is None:
        return "no shape"
    return "x".join("?" if size is None else str(size) for size in shape) or "a scalar"
