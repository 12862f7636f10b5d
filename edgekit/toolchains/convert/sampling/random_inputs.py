"""A model's inputs in, seeded samples of them out: for parity where there is no data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgekit.toolchains.convert.sampling.training import Array, Spec

RANDOM_SAMPLES = 4
"""More than one, so that a file that is right once and wrong after is seen; few, because each runs in every format."""


def random_samples(inputs: list[Spec], bounds: dict[str, int], seed: int) -> tuple[list[Array], str]:
    """Seeded inputs for a model whose data is not known, and a sentence that says what they are."""
    draw = np.random.default_rng(seed)
    arrays: list[Array] = []
    told: list[str] = []
    for spec in inputs:
        dtype, shape = np.dtype(spec["dtype"]), (RANDOM_SAMPLES, *spec["shape"])
        if dtype.kind == "f":
            # Of zero mean: a large common part would hide what is small beside it in float32, in spectra for one.
            arrays.append(draw.standard_normal(shape).astype(dtype))
            told.append(f"{spec['name']} normal with mean 0 and deviation 1")
        elif dtype.kind == "b":
            arrays.append(draw.random(shape) < 0.5)
            told.append(f"{spec['name']} true or false")
        elif spec["name"] in bounds:
            arrays.append(draw.integers(0, bounds[spec["name"]], shape).astype(dtype))
            told.append(f"{spec['name']} indices below {bounds[spec['name']]}")
        elif dtype.itemsize == 1:
            limits = np.iinfo(np.uint8 if dtype.kind == "u" else np.int8)
            arrays.append(draw.integers(limits.min, limits.max + 1, shape).astype(dtype))
            told.append(f"{spec['name']} uniform in {limits.min}..{limits.max}")
        else:  # a mask or a length: 1 is valid for both
            arrays.append(np.ones(shape, dtype))
            told.append(f"{spec['name']} all 1")
    return arrays, f"{RANDOM_SAMPLES} random samples, seed {seed}: {', '.join(told)}; the range that the model was trained on is not known"


def index_bounds(hub: Path | None) -> dict[str, int]:
    """Input name → how many rows the smallest stored table has that it indexes (Gather), followed through what keeps values."""
    if hub is None:
        return {}
    import onnx

    from edgekit.hub.graph import attribute, readers, static_shapes

    graph = onnx.load(str(hub), load_external_data=False).graph
    read, shapes = readers(graph), static_shapes(graph)
    bounds: dict[str, int] = {}
    for value in graph.input:
        waiting, seen = [value.name], set[str]()
        while waiting:
            name = waiting.pop()
            seen.add(name)
            for node in read.get(name, []):
                if node.op_type == "Gather" and node.input[1] == name and node.input[0] in shapes:
                    rows = shapes[node.input[0]][attribute(node, "axis", 0)]
                    bounds[value.name] = min(rows, bounds.get(value.name, rows))
                elif node.op_type in ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose") and node.input[0] == name:
                    waiting += [out for out in node.output if out not in seen]
    return bounds
