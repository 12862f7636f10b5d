"""A twin, what its weights must hold and the grids of its activations in; one thing to train, to snapshot and to write back, out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from onnx import ModelProto

from edgekit.compress.layers import distinct, layers
from edgekit.hub.compressed import Spec
from edgekit.toolchains.torch.tuning.constraints import Constrained
from edgekit.toolchains.torch.tuning.grids import FixedGrid, TensorGrid
from edgekit.toolchains.torch.tuning.samples import Samples
from edgekit.toolchains.torch.tuning.shared import Palette
from edgekit.toolchains.torch.tuning.sites import Site

Tensor = Any
Tensors = dict[str, Any]
OnGrid = TensorGrid | FixedGrid

CALIBRATION = 256
"""Samples that ranges of activations begin with (Krishnamoorthi 2018, section 3: 100 or more)."""
CALIBRATION_BATCH = 32
WIDEST = 1e6
SEEN = 20_000
"""Values of a tensor, at most, from which the first step size is searched."""


class Student:
    """What is tuned.

    Args:
        twin: of the compressed hub; its hooks are taken.
        constraints: weight → what it must hold.
    """

    def __init__(self, twin: Any, model: ModelProto, constraints: Mapping[str, Constrained]) -> None:
        self.twin, self.constraints = twin, dict(constraints)
        self.outputs = [value.name for value in model.graph.output]
        self.sites: dict[Site, OnGrid] = {}
        for name, one in self.constraints.items():
            twin.weights[name].data.copy_(one.start)
            twin.weight_through[name] = one

    def __call__(self, inputs: Iterable[Tensor], names: Iterable[str]) -> Tensors:
        """The named tensors for a batch."""
        return captured(self.twin, self.outputs, list(inputs), list(names))

    def floating(self, samples: Samples) -> list[str]:
        """The tensors that a grid can hold: floats of a range that integers divide sensibly (not those with −1e9 for what is masked)."""
        self.twin.eval()
        with torch.no_grad():
            found = self(samples.rows(torch.arange(2)).inputs, self.twin.tensor_names)
        return [name for name, value in found.items() if value.is_floating_point() and value.numel() and float(value.abs().max()) < WIDEST]

    def put_on_grids(self, found: Iterable[Site], samples: Samples, bits: int) -> None:
        """Give each site a grid whose range is what the first samples make of it."""
        self.twin.eval()
        wanted = list(found)
        names = [name for site in wanted for name in site.places]
        seen: dict[str, list[Tensor]] = {name: [] for name in names}
        with torch.no_grad():
            some = samples.rows(torch.arange(min(CALIBRATION, len(samples))))
            for batch in some.batches(CALIBRATION_BATCH):
                values = self(batch.inputs, names)
                for name in names:
                    flat = values[name].flatten()
                    lowest, highest = flat.aminmax()
                    every = max(1, flat.numel() * -(-len(some) // CALIBRATION_BATCH) // SEEN)
                    seen[name].append(torch.cat([flat[::every], lowest[None], highest[None]]))
        for site in wanted:
            if site.fixed is not None and bits == 8:
                grid: OnGrid = FixedGrid(bits, *site.fixed)
            else:
                values_ = torch.cat([one for name in site.places for one in seen[name]])
                grid = TensorGrid(bits, float(values_.min()), float(values_.max()), values_)
            self.sites[site] = grid
            for name in site.places:
                self.twin.tensor_through[name] = grid

    def parameters(self) -> Tensors:
        """All that the optimiser moves, named."""
        return {**self.twin.weights, **self.steps()}

    def steps(self) -> Tensors:
        """Step sizes, palettes and scales, which are learned beside the weights."""
        found = {f"{name}:{part}": value for name, one in self.constraints.items() for part, value in one.learned.items()}
        return found | {f"{site.places[0]}:{part}": value for site, grid in self.sites.items() for part, value in grid.learned.items()}

    def masks(self) -> Tensors:
        return {f"{name}:kept": one.mask.kept for name, one in self.constraints.items() if one.mask is not None}

    def advance(self, done: float) -> None:
        """Zeros as they are due after a share of the training."""
        for name, one in self.constraints.items():
            if one.mask is not None:
                one.mask.advance(self.twin.weights[name], done)

    def unready(self) -> bool:
        """Whether there are fewer zeros yet than there are to be."""
        return any(one.mask is not None and not one.mask.complete for one in self.constraints.values())

    @property
    def prunes(self) -> bool:
        """Whether weights become zero bit by bit."""
        return any(one.mask is not None and one.mask.gradual for one in self.constraints.values())

    @property
    def shares_values(self) -> bool:
        return any(isinstance(one.palette, Palette) for one in self.constraints.values())

    def snapshot(self) -> Tensors:
        return {name: value.detach().clone() for name, value in (self.twin.weights | self.steps() | self.twin.statistics | self.masks()).items()}

    def restore(self, snapshot: Tensors) -> None:
        with torch.no_grad():
            for name, value in (self.twin.weights | self.steps() | self.twin.statistics).items():
                value.copy_(snapshot[name])
        for name, one in self.constraints.items():
            if one.mask is not None:
                one.mask.kept = snapshot[f"{name}:kept"].clone()

    def write_back(self, model: ModelProto, spec: Spec) -> None:
        """Put the values that count into the hub, and what holds of them into the Spec."""
        for name, one in self.constraints.items():
            values, held = one.settle(self.twin.weights[name].detach())
            self.twin.weights[name].data.copy_(torch.from_numpy(values))
            spec.tensors[name] = held
            del self.twin.weight_through[name]
        for site, grid in self.sites.items():
            for name in site.tensors:
                spec.activations[name] = grid.grid()
        self.twin.write_back(model)


def weighed(model: ModelProto) -> dict[str, Any]:
    """Weight → its layer; tables that are looked up are not among them."""
    return {layer.weight: layer for layer in distinct(layers(model)) if not layer.is_table}


def captured(twin: Any, outputs: list[str], inputs: list[Tensor], names: list[str]) -> Tensors:
    """The named tensors that a twin computes for a batch."""
    inner = [name for name in names if name not in outputs]
    found, tensors = twin.forward_with(inner, *inputs)
    return {**dict(zip(outputs, found, strict=True)), **tensors}
