"""A teacher in, a student out: the same graph at a share of its width everywhere; and whether a given student fits its teacher.

`student:width50` keeps half of the channels of every group, the most important ones, with the teacher's weights for a start (as Sanh et al. 2019,
"DistilBERT", section 3, begin with layers of the teacher). Tuning then teaches it to answer as the teacher does (Hinton et al. 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnx import ModelProto, ValueInfoProto

from edgekit.compress.channels import remove
from edgekit.compress.steps import share
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Spec
from edgekit.hub.graph import Refusal, spec


def apply(model: ModelProto, known: Spec, strength: str, wish: Wish) -> list[str]:
    """Cut the model to a share of its width, in place: `width50` keeps 50 percent of every group of channels.

    Raises:
        Refusal: no channel can go, or the width is not between 1 and 99 percent.
    """
    width = share(strength)
    if not 0 < width < 1:
        raise Refusal(f"student:{strength} is {'nothing' if width == 0 else 'the teacher itself'}: give a width from 1 to 99 percent")
    return remove(model, known, 1 - width, replace(wish, per_layer=True))


def check_student(teacher: ModelProto, student: ModelProto) -> None:
    """See that a given hub can take the place of its teacher: inputs and outputs of the same names, shapes and types, in the same order.

    Raises:
        Refusal: it cannot; the message says where they differ.
    """
    for side, theirs, own in (("input", teacher.graph.input, student.graph.input), ("output", teacher.graph.output, student.graph.output)):
        wanted, found = [spec(value) for value in theirs], [spec(value) for value in own]
        if wanted != found:
            raise Refusal(
                f"the student's {side}s ({words(own)}) are not the teacher's ({words(theirs)}): give a student that reads and gives the same tensors, "
                "by name, in the same order"
            )


def words(values: Sequence[ValueInfoProto]) -> str:
    """Inputs or outputs as a person reads them."""
    told = [spec(value) for value in values]
    return ", ".join(f"{one['name']} {one['dtype']} {'x'.join(map(str, one['shape']))}" for one in told)
