"""What the student and the teacher give for a batch in, one number to make small out.

Sources: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2 (softened outputs); Romero et al. 2015, "FitNets", section 2.1
(tensors on the way, where both have them in one shape).
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from onnx import ModelProto

from edgekit.compress.layers import layers
from edgekit.hub import chance, parity
from edgekit.hub.graph import Refusal, makers, spec, static_shapes

Tensor = Any
Tensors = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """One output: what is matched of it, and how."""

    mine: str
    """The student's tensor: the output itself, or the logits before its softmax."""
    theirs: str
    """The teacher's."""
    classes: int | None
    """How many, where it scores classes; None: numbers."""
    labelled: bool = False


def heads(model: ModelProto, teacher: ModelProto, labels: Tensor | None) -> list[Head]:
    """The float outputs; the first that the labels fit is the labelled one.

    An output [1, n] scores classes if it is a softmax, or if class indices fit it.

    Raises:
        Refusal: labels that fit no output; no float output.
    """
    integer = labels is not None and not labels.dtype.is_floating_point
    found: list[Head] = []
    shapes = []
    for value in model.graph.output:
        said = spec(value)
        name, shape = said["name"], said["shape"] or []
        if not said["dtype"].startswith("float"):
            continue
        shapes.append(f"{name} {shape}")
        mine, theirs = before_softmax(model, name), before_softmax(teacher, name)
        vector = len(shape) == 2 and shape[1] > 1
        fits = labels is not None and not any(head.labelled for head in found)
        if integer and labels is not None:
            fits = fits and vector and int(labels.max()) < shape[1]
        elif labels is not None:
            fits = fits and list(labels.shape[1:]) in (shape[1:], [size for size in shape[1:] if size != 1])
        scores = vector and ((mine, theirs) != (name, name) or (fits and integer))
        found.append(Head(mine, theirs, shape[1] if scores else None, fits))
    if not found:
        raise Refusal("the model has no float output that could be matched to the original's", kind="convert")
    if labels is not None and not any(head.labelled for head in found):
        told = f"class indices up to {int(labels.max())}" if integer else f"numbers of shape {list(labels.shape[1:])}"
        raise Refusal(f"the labels do not fit the outputs ({', '.join(shapes)}): they are {told}, so give labels of this model, or none")
    return found


def before_softmax(model: ModelProto, output: str) -> str:
    """The logits of an output that is a softmax; the output itself if it is none."""
    node = makers(model.graph).get(output)
    return node.input[0] if node is not None and node.op_type in ("Softmax", "LogSoftmax") else output


def features(model: ModelProto, teacher: ModelProto, chosen: Sequence[str] | None = None) -> tuple[str, ...]:
    """The tensors on the way that are matched: those chosen, or what the last layer reads, if the teacher has one of that name and shape.

    Raises:
        Refusal: a tensor that was chosen is not in both, or not in one shape.
    """
    mine, theirs = static_shapes(model.graph), static_shapes(teacher.graph)
    if chosen is not None:
        made = makers(model.graph)
        both = [name for name in mine if name in made and mine[name] == theirs.get(name)]
        for name in chosen:
            if name not in both:
                near = ", ".join(difflib.get_close_matches(name, both, 8, 0)) or "there are none"
                raise Refusal(f"{name!r} cannot be matched, as the original and the compressed network have no such tensor in one shape: name one of {near}")
        return tuple(chosen)
    stored = {tensor.name for tensor in model.graph.initializer} | {value.name for value in model.graph.input}
    read = [layer.node.input[0] for layer in layers(model) if layer.kind in ("Gemm", "MatMul", "Conv") and layer.node.input[0] not in stored]
    return tuple(name for name in read[-1:] if name in mine and mine[name] == theirs.get(name))


@dataclass(frozen=True, slots=True)
class Loss:
    """Distance of the outputs, of tensors on the way, and of the labels."""

    heads: tuple[Head, ...]
    features: tuple[str, ...]
    spread: Tensors
    """Variance of each of the teacher's tensors, by which a squared error is divided."""
    temperature: float
    task: float
    """Share of the task loss in an output that has labels."""
    feature: float

    @property
    def mine(self) -> tuple[str, ...]:
        """The student's tensors that are needed."""
        return tuple(dict.fromkeys([*(head.mine for head in self.heads), *self.features]))

    @property
    def theirs(self) -> tuple[str, ...]:
        """The teacher's."""
        return tuple(dict.fromkeys([*(head.theirs for head in self.heads), *self.features]))

    @property
    def classed(self) -> Head | None:
        """The output whose classes are told as the metric."""
        return next((head for head in self.heads if head.classes and head.labelled), next((head for head in self.heads if head.classes), None))

    def metric(self, labelled: bool) -> str | None:
        """What share the history tells of."""
        if self.classed is None:
            return None
        return "accuracy" if labelled and self.classed.labelled else "agreement with the original"

    def right(self, student: Tensors, teacher: Tensors, labels: Tensor | None) -> int | None:
        """How many samples of a batch are classified as their labels, or without labels the teacher, say."""
        head = self.classed
        if head is None:
            return None
        meant = labels if labels is not None and head.labelled else teacher[head.theirs].argmax(1)
        return int((student[head.mine].argmax(1) == meant).sum())

    def doubt(self, teacher: list[Tensors], batches: list[Any]) -> list[str]:
        """What to think of labels that the original does not give more often than if they were dealt out at random (`hub.chance`).

        Args:
            teacher: its tensors for each of the batches, which have `labels`.
        """
        head = self.classed
        if head is None or not head.labelled or not batches or batches[0].labels is None:
            return []
        labels = torch.cat([batch.labels for batch in batches])
        answers = torch.cat([tensors[head.theirs].argmax(1) for tensors in teacher])
        n, right = len(labels), int((labels == answers).sum())
        words = chance.doubt(right, n, parity.chance(answers.numpy(), labels.numpy(), head.classes or 1))
        return [] if words is None else [f"the original gives {right / n:.1%} of the labels to train with, and {words}; give others, or leave them out"]

    def __call__(self, student: Tensors, teacher: Tensors, labels: Tensor | None) -> Tensor:
        total = torch.zeros(())
        for head in self.heads:
            found, wanted = student[head.mine], teacher[head.theirs]
            matched = self.softened(found, wanted) if head.classes else self.squared(head.theirs, found, wanted)
            if head.labelled and labels is not None:
                matched = (1 - self.task) * matched + self.task * self.of_task(head, found, labels)
            total = total + matched
        for name in self.features:
            total = total + self.feature / len(self.features) * self.squared(name, student[name], teacher[name])
        return total

    def softened(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Kullback-Leibler divergence of softened outputs, its gradient as large as that of hard ones (Hinton et al. 2015, section 2)."""
        log, heat = torch.nn.functional.log_softmax, self.temperature
        return torch.nn.functional.kl_div(log(found / heat, 1), log(wanted / heat, 1), log_target=True, reduction="batchmean") * heat**2

    def squared(self, name: str, found: Tensor, wanted: Tensor) -> Tensor:
        return ((found - wanted) ** 2).mean() / self.spread[name]

    def of_task(self, head: Head, found: Tensor, labels: Tensor) -> Tensor:
        if head.classes:
            return torch.nn.functional.cross_entropy(found, labels)
        return ((found.reshape(labels.shape) - labels) ** 2).mean() / self.spread[head.theirs]


def variance(values: Tensor) -> Tensor:
    return values.var(unbiased=False).clamp_min(1e-12)
