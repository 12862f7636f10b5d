"""A Keras file or a SavedModel in, its ONNX graph out, by tf2onnx: boundary and layout as the model has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.hub.graph import Refusal
from edgekit.hub.names import name_boundary
from edgekit.hub.save import save
from edgekit.hub.shapes import choose, flexible_axes
from edgekit.toolchains.tensorflow.source import Program, load, tf

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgekit.toolchains.worker import Job

OPSET = 18


def run(job: Job) -> dict[str, Any]:
    """`model` (.keras, .h5, .hdf5, SavedModel folder), option `shapes` → `out/raw.onnx` at fixed `shapes`; `source`, `notes` and `flexible` (axes)."""
    job.progress("loading the model in TensorFlow")
    program = load(job)
    try:
        declared, wanted = {name: shape for name, (_, shape) in program.inputs.items()}, job.options.get("shapes", {})
        shapes, notes = choose(declared, wanted)
    except Refusal as refusal:
        job.refuse(str(refusal), kind=refusal.kind)
    job.progress("writing it as ONNX")
    save(to_onnx(job, program, shapes), job.out / "raw.onnx")
    return {"source": program.kind, "notes": notes, "shapes": shapes, "flexible": flexible_axes(declared, wanted)}


def to_onnx(job: Job, program: Program, shapes: dict[str, list[int]]) -> ModelProto:
    """The program at fixed shapes as ONNX, with its own input and output names."""
    import onnx
    import tf2onnx

    position = {f"edgekit_in_{index}": name for index, name in enumerate(program.inputs)}  # TensorFlow alters names that it dislikes
    signature = [tf.TensorSpec(shapes[name], program.inputs[name][0], name=safe) for safe, name in position.items()]
    function = tf.function(lambda *flat: [tf.identity(value) for value in program.call(list(flat))], input_signature=signature)
    try:
        handlers: dict[str, tuple[Any, list[Any]]] = {"Erfc": (erfc, [])}
        model: ModelProto = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET, custom_op_handlers=handlers)[0]
    except (ValueError, TypeError, KeyError, AssertionError, RuntimeError, NotImplementedError, tf.errors.OpError) as exc:
        words = " ".join(str(exc).split())[:300]
        job.refuse(f"tf2onnx cannot write this model ({words}): check --shape, or export the model to ONNX yourself")
    given = {value.name for value in model.graph.input}
    names = {}
    for spec, (safe, name) in zip(signature, position.items(), strict=True):
        names[next((found for found in (safe, f"{safe}:0") if found in given), safe)] = name
        if not given.intersection((safe, f"{safe}:0")):  # tf2onnx leaves out inputs that nothing reads
            elem_type = onnx.helper.np_dtype_to_tensor_dtype(spec.dtype.as_numpy_dtype)
            model.graph.input.append(onnx.helper.make_tensor_value_info(safe, elem_type, shapes[name]))
    name_boundary(model, names, program.outputs)
    order = list(program.inputs)
    inputs = sorted(model.graph.input, key=lambda value: order.index(value.name))
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model


def erfc(context: Any, node: Any, name: str, args: list[Any]) -> None:
    """Erfc(x), which Keras' gelu is made of and tf2onnx does not write, as 1 - Erf(x)."""
    node.type, node.domain = "Erf", ""
    one = context.make_const(f"{name}/one", np.array(1, np.float32))
    result = node.output[0]
    less = context.insert_new_node_on_output("Sub", result, name=f"{name}/complement")
    context.replace_inputs(less, [one.output[0], result])
