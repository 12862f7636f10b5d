"""What the student and the teacher give for a batch in, one number to make small out.

Sources: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2 (softened outputs); Romero et al. 2015, "FitNets", section 2.1
(tensors on the way, where both have them in one shape).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from onnx import ModelProto

from edgekit.compress.layers import layers
from edgekit.hub.graph import Refusal, makers, spec, static_shapes

Tensor = Any
Tensors = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """One output: the tensor that is matched, and how."""

    output: str
    matched: str
    """The output itself, or the logits before its softmax."""
    classes: int | None
    """How many, where it scores classes; None: numbers."""
    labelled: bool = False


def heads(model: ModelProto, teacher: ModelProto, labels: Tensor | None) -> list[Head]:
    """The float outputs; the first that class indices fit is the labelled one.

    Raises:
        Refusal: labels that fit no output.
    """
    made, before = makers(model.graph), makers(teacher.graph)
    found: list[Head] = []
    shapes = []
    integer = labels is not None and not labels.dtype.is_floating_point
    for value in model.graph.output:
        said = spec(value)
        name, shape = said["name"], said["shape"] or []
        if not said["dtype"].startswith("float"):
            continue
        node = made.get(name)
        soft = node is not None and node.op_type in ("Softmax", "LogSoftmax") and name in before and before[name].op_type == node.op_type
        shapes.append(f"{name} {shape}")
        inside = node.input[0] if soft and node is not None and node.input[0] == before[name].input[0] else name
        vector = len(shape) == 2 and shape[1] > 1
        fits = labels is not None and not any(head.labelled for head in found)
        if integer and labels is not None:
            fits = fits and vector and int(labels.max()) < shape[1]
        elif labels is not None:
            fits = fits and list(labels.shape[1:]) in (shape[1:], [size for size in shape[1:] if size != 1])
        found.append(Head(name, inside, shape[1] if vector and (inside != name or (fits and integer)) else None, fits))
    if labels is not None and not any(head.labelled for head in found):
        told = f"class indices up to {int(labels.max())}" if integer else f"targets of shape {list(labels.shape[1:])}"
        raise Refusal(f"the labels do not fit the outputs ({', '.join(shapes)}): they are {told}, so give labels of this model, or none")
    if not found:
        raise Refusal("the model has no float output that could be matched to the teacher's", kind="convert")
    return found


def features(model: ModelProto, teacher: ModelProto) -> tuple[str, ...]:
    """The tensor that the last layer reads, if the teacher has one of that name and shape."""
    mine, theirs = static_shapes(model.graph), static_shapes(teacher.graph)
    stored = {tensor.name for tensor in model.graph.initializer} | {value.name for value in model.graph.input}
    read = [layer.node.input[0] for layer in layers(model) if layer.kind in ("Gemm", "MatMul", "Conv") and layer.node.input[0] not in stored]
    return tuple(name for name in read[-1:] if name in mine and mine[name] == theirs.get(name))


@dataclass(frozen=True, slots=True)
class Loss:
    """Distance of the outputs, of tensors on the way, and of the labels."""

    heads: tuple[Head, ...]
    features: tuple[str, ...]
    spread: Tensors
    """Variance of each matched tensor of the teacher, by which its squared error is divided."""
    temperature: float
    task: float
    """Share of the task loss in an output that has labels."""
    feature: float

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*(head.matched for head in self.heads), *self.features]))

    @property
    def classed(self) -> Head | None:
        """The output whose classes are told as the metric."""
        return next((head for head in self.heads if head.classes and head.labelled), next((head for head in self.heads if head.classes), None))

    def metric(self, labelled: bool) -> str | None:
        """What share the history tells of."""
        if self.classed is None:
            return None
        return "accuracy" if labelled and self.classed.labelled else "agreement with the original"

    def __call__(self, student: Tensors, teacher: Tensors, labels: Tensor | None) -> Tensor:
        total = torch.zeros(())
        for head in self.heads:
            found, wanted = student[head.matched], teacher[head.matched]
            matched = self.softened(found, wanted) if head.classes else self.squared(head.matched, found, wanted)
            if head.labelled and labels is not None:
                matched = (1 - self.task) * matched + self.task * self.of_task(head, found, labels)
            total = total + matched
        for name in self.features:
            total = total + self.feature / len(self.features) * self.squared(name, student[name], teacher[name])
        return total

    def softened(self, found: Tensor, wanted: Tensor) -> Tensor:
        log = torch.nn.functional.log_softmax
        return (
            torch.nn.functional.kl_div(log(found / self.temperature, 1), log(wanted / self.temperature, 1), log_target=True, reduction="batchmean")
            * self.temperature**2
        )

    def squared(self, name: str, found: Tensor, wanted: Tensor) -> Tensor:
        return ((found - wanted) ** 2).mean() / self.spread[name]

    def of_task(self, head: Head, found: Tensor, labels: Tensor) -> Tensor:
        if head.classes:
            return torch.nn.functional.cross_entropy(found, labels)
        return ((found.reshape(labels.shape) - labels) ** 2).mean() / self.spread[head.matched]


def variance(values: Tensor) -> Tensor:
    return values.var(unbiased=False).clamp_min(1e-12)
