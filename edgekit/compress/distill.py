"""A model's hub and another, smaller one in; the smaller one with the model's own boundary out, to be taught by the model (`distill:FILE`)."""

from __future__ import annotations

from typing import Any

from onnx import ModelProto, ValueInfoProto

from edgekit.hub.figures import figures
from edgekit.hub.graph import Refusal, output_names, reads, spec, walk


def student(teacher: ModelProto, given: ModelProto) -> list[str]:
    """Give a student (a hub, changed in place) the names of its teacher's inputs and outputs, so that files made of it are drop-in.

    Returns:
        A note where it is the larger of the two.

    Raises:
        Refusal: it has other inputs or outputs (as many, of the same shapes and dtypes, in the same order, are needed).
    """
    for kind, mine, wanted in (("input", given.graph.input, teacher.graph.input), ("output", given.graph.output, teacher.graph.output)):
        have, want = [form(value) for value in mine], [form(value) for value in wanted]
        if have != want:
            raise Refusal(f"the student has the {kind}s {told(mine)}, and the model {told(wanted)}: give a student of the same boundary")
    ends = zip([*given.graph.input, *given.graph.output], [*teacher.graph.input, *teacher.graph.output], strict=True)
    rename(given, {own.name: wanted.name for own, wanted in ends})
    return larger(figures(teacher), figures(given))


def larger(teacher: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """What to say of a student that saves nothing."""
    more = [name for name in ("parameters", "macs") if given[name] > teacher[name]]
    if not more:
        return []
    which = "larger than" if len(more) == 2 else "smaller than, but slower than," if more == ["macs"] else "faster than, but larger than,"
    sizes = [f"{one['parameters']:,} parameters and {one['macs']:,} multiply-accumulates" for one in (given, teacher)]
    return [f"the student is {which} the model that teaches it: {sizes[0]} against {sizes[1]}"]


def form(value: ValueInfoProto) -> tuple[str, list[int]]:
    described = spec(value)
    return described["dtype"], described["shape"]


def told(values: object) -> str:
    return ", ".join(f"{name!r} {dtype} {shape}" for value in values for name, (dtype, shape) in [(value.name, form(value))])  # type: ignore[attr-defined]


def rename(model: ModelProto, names: dict[str, str]) -> None:
    """Rename tensors everywhere; one that has a wanted name already, and is another, makes room."""
    graph = model.graph
    known = {name for node in walk(graph.node) for name in (*reads(node), *node.output)} | {tensor.name for tensor in graph.initializer}
    known |= {value.name for value in graph.input} | {*output_names(graph)}
    whole = dict(names)
    for wanted in set(names.values()) & (known - set(names)):
        fresh = wanted
        while fresh in known or fresh in names.values():
            fresh += "_"
        whole[wanted] = fresh
    for node in walk(graph.node):
        for names_of in (node.input, node.output):
            for place, name in enumerate(names_of):
                names_of[place] = whole.get(name, name)
    for value in [*graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        value.name = whole.get(value.name, value.name)
