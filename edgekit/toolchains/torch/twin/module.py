"""A hub in, a PyTorch module out that computes the same, for any number of samples, and whose weights go back to a hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, NodeProto, numpy_helper
from torch import fx

from edgekit.hub.graph import Refusal, constants
from edgekit.hub.lower import expand, lower
from edgekit.toolchains.torch.twin.build import FAULTS, Build
from edgekit.toolchains.torch.twin.operators import OPERATORS
from edgekit.toolchains.torch.twin.samples import differs, mapped, one_by_one, random, together
from edgekit.toolchains.torch.twin.weights import trainable

Operator = Callable[[Build, NodeProto], Any]

PROGRAMS = 8
"""Compiled variants that are kept: training and evaluation, with and without captured tensors."""


class Twin(torch.nn.Module):  # type: ignore[misc]
    """The network of a hub.

    `forward` takes the hub's inputs by position and gives its outputs as a tuple. Samples lie along axis 0: where the hub has [1, 3, 224, 224], the twin
    takes [n, 3, 224, 224]. Where a hub cannot run several samples at once (`apart` says why), they run one by one, with the same result; an input
    of shape [4, 7] in the hub is then [n·4, 7], and so are outputs; an output without axes is [n].

    Args:
        more: operators beside the twin's own, ONNX name → the function that adds it to the graph.

    Attributes:
        weights: initializer's name → torch.nn.Parameter, of all that is trained.
        statistics: initializer's name → tensor, the means and variances of BatchNormalization, which `train()` re-estimates.
        tensor_names: inputs and computed tensors by their ONNX names, in the graph's order.
        weight_through: initializer's name → function, applied to a weight in each forward (fake quantization, masks).
        tensor_through: name of an input or computed tensor → function, applied to it before anything reads it.
        apart: why the graph does not run several samples at once, and what is done instead, in words; None where it does.

    Raises:
        Refusal: the hub has an operator, or a form of one, that the twin cannot compute; named.
    """

    def __init__(self, hub: ModelProto, more: Mapping[str, Operator] = MappingProxyType({})) -> None:
        super().__init__()
        operators = {**OPERATORS, **more}
        built = Build(written_out(hub, operators), operators, trainable(hub.graph))
        self.weights: dict[str, Any] = {}
        self.statistics: dict[str, Any] = {}
        for attribute, (name, tensor) in built.weights.items():
            self.register_parameter(attribute, torch.nn.Parameter(tensor))
            self.weights[name] = getattr(self, attribute)
        means = {name for node in hub.graph.node if node.op_type == "BatchNormalization" for name in node.input[3:5]}
        for attribute, (name, tensor) in built.buffers.items():
            self.register_buffer(attribute, tensor)
            if name in means:
                self.statistics[name] = tensor
        computed = {name: value.node for name, value in built.tensors.items() if value.node.op != "get_attr"}
        self.tensor_names = list(computed)
        self.weight_through: dict[str, Callable[[Any], Any]] = {}
        self.tensor_through: dict[str, Callable[[Any], Any]] = {}
        self._graph = built.graph
        self._nodes = {**computed, **{name: built.tensors[name].node for name in self.weights}}
        self._shapes = [built.tensors[name].shape for name in built.inputs]
        self._outputs = len(built.outputs)
        self._programs: dict[Any, Any] = {}
        self.apart, self._way = self._try(built.reason, [built.tensors[name].one for name in built.inputs])

    def forward(self, *inputs: Any) -> tuple[Any, ...]:
        """The hub's outputs, of n samples along axis 0 of each input."""
        return self._run(self._program(()), inputs)

    def forward_with(self, names: Iterable[str], *inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The hub's outputs, and the tensors of these ONNX names as their readers see them (after `tensor_through`)."""
        wanted = tuple(names)
        unknown = next((name for name in wanted if name not in self._nodes), None)
        if unknown is not None:
            raise KeyError(f"the hub computes no tensor {unknown!r}")
        found = self._run(self._program(wanted), inputs)
        return found[: self._outputs], dict(zip(wanted, found[self._outputs :], strict=True))

    def write_back(self, model: ModelProto, *, through: bool = False) -> ModelProto:
        """Put the weights, and the statistics of BatchNormalization, into a hub (in place; each keeps its dtype), and give it back.

        `through`: as `weight_through` makes them, else as they are.
        """
        stored = {tensor.name: tensor for tensor in model.graph.initializer}
        for name, value in [*self.weights.items(), *self.statistics.items()]:
            hook = self.weight_through.get(name) if through else None
            with torch.no_grad():
                values = (hook(value) if hook else value).detach().cpu().numpy()
            if name not in stored:
                raise Refusal(f"the hub has no initializer {name!r} to put its trained values in: use steps without tune", kind="convert")
            kind = numpy_helper.to_array(stored[name]).dtype
            stored[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, kind), name))
        return model

    def _run(self, program: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        n = next((len(value) // shape[0] for value, shape in zip(inputs, self._shapes, strict=True) if shape), 1)
        if n == 1:
            return tuple(program(*inputs))
        try:
            return tuple(self._way(program, inputs, self._shapes))
        except RuntimeError:
            if self._way is not mapped:
                raise
            self._way = one_by_one  # a hook, or statistics of batches, that vmap does not take
            return one_by_one(program, inputs, self._shapes)

    def _program(self, wanted: tuple[str, ...]) -> Any:
        key = (bool(self.training), wanted, tuple(self.weight_through.items()), tuple(self.tensor_through.items()))
        found = self._programs.get(key)
        if found is None:
            if len(self._programs) >= PROGRAMS:
                self._programs.pop(next(iter(self._programs)))
            found = self._programs[key] = self._compiled(wanted, training=self.training)
        return found

    def _compiled(self, wanted: tuple[str, ...], *, training: bool) -> Any:
        """The graph with the hooks that are set now, as generated code that shares this module's tensors."""
        graph = fx.Graph()
        made: dict[Any, Any] = {}
        hooks = {self._nodes[name]: hook for name, hook in [*self.weight_through.items(), *self.tensor_through.items()]}
        for node in self._graph.nodes:
            if node.op == "output":
                results = [made[one] for one in node.args[0]] + [made[self._nodes[name]] for name in wanted]
                graph.output(tuple(results))
                continue
            made[node] = graph.node_copy(node, lambda one: made[one])
            if node.target is torch.nn.functional.batch_norm:
                made[node].update_kwarg("training", training)
            if node in hooks:
                made[node] = graph.call_function(through(hooks[node]), (made[node],))
        return fx.GraphModule(self, graph, "Twin")

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        found = super()._apply(fn, recurse)
        self._programs.clear()  # they hold the buffers as they were
        return found

    def _try(self, reason: str | None, inputs: list[Any]) -> tuple[str | None, Any]:
        """The first way to run several samples that gives on two what each gives alone (random inputs, a fixed seed); and why the first is not it.

        Raises:
            Refusal: PyTorch lacks the operators for the graph's dtypes.
        """
        drawn = torch.Generator().manual_seed(0)
        given = tuple(torch.cat(pair) if pair[0].dim() else pair[0] for pair in (random(value, drawn) for value in inputs))
        program = self._compiled((), training=False)
        with torch.no_grad():
            try:
                expected = one_by_one(program, given, self._shapes)
            except NotImplementedError as exc:
                raise Refusal(f"the model cannot be trained, because PyTorch lacks a part of it ({exc}): use steps without tune", kind="convert") from exc
            except FAULTS as exc:  # 0 and 1 are no indices here, say
                return f"random inputs do not run ({' '.join(str(exc).split())[:160]}), so samples run one by one", one_by_one
            if not self._shapes or not all(self._shapes):
                return (reason or "it has no inputs") + ": samples run one by one", one_by_one
            for way, words in ((together, None), (mapped, "vmap runs it over samples"), (one_by_one, "samples run one by one")):
                if way is together and reason is not None:
                    continue
                try:
                    problem = differs(way(program, given, self._shapes), expected)
                except FAULTS as exc:
                    problem = " ".join(str(exc).split())[:160]
                if problem is None:
                    return f"{reason}: {words}" if words else None, way
                reason = reason or problem
        raise Refusal("samples run one by one give another result each time: the model draws random numbers, so use steps without tune", kind="convert")


def written_out(hub: ModelProto, operators: Mapping[str, Operator]) -> ModelProto:
    """The hub; where it has operators that the twin lacks, a copy with these in their definition's own operators (Attention, RMSNormalization …)."""
    missing = {node.op_type for node in hub.graph.node if node.op_type not in operators}
    if not missing:
        return hub
    plain = ModelProto()
    plain.CopyFrom(hub)
    lower(plain, dict.fromkeys(missing, expand))
    lost = sorted(trainable(hub.graph) - set(constants(plain.graph)))
    if lost:
        raise Refusal(f"{lost[0]!r} cannot be trained, as {' and '.join(sorted(missing))} use it in another form: use steps without tune", kind="convert")
    return plain


def through(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A hook as torch.fx takes it: a function with a name."""

    def through(value: Any) -> Any:
        return hook(value)

    return through
