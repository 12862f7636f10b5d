"""A Program and its hub in, one frozen TensorFlow function out: what converters take, with every variable a constant in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.toolchains.tensorflow.source import load, tf

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgekit.toolchains.worker import Job

INPUT = "edgekit_in_"
"""TensorFlow alters names that it dislikes, so inputs are numbered, in the hub's order."""


def frozen(job: Job, hub: ModelProto) -> Any:
    """The model that the job gives under `model` at the hub's shapes: a ConcreteFunction of inputs `edgekit_in_<n>`, in the hub's orders.

    The converters' own short cuts (a Keras object, a SavedModel's folder) lose names and orders, and leave Keras 3's variables outside the file.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    program = load(job)
    shapes = {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in hub.graph.input}
    program.unroll(shapes)
    order, wanted = list(shapes), [program.outputs.index(value.name) for value in hub.graph.output]
    signature = [tf.TensorSpec(shapes[name], program.inputs[name][0], name=f"{INPUT}{index}") for index, name in enumerate(order)]

    def call(*flat: Any) -> list[Any]:
        given = dict(zip(order, flat, strict=True))
        found = program.call([given[name] for name in program.inputs])
        return [tf.identity(found[position]) for position in wanted]

    try:
        function = tf.function(call, input_signature=signature).get_concrete_function()
        return convert_variables_to_constants_v2(function, lower_control_flow=False)
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as exc:
        job.refuse(f"TensorFlow cannot freeze this model ({' '.join(str(exc).split())[:300]}): check --shape")
