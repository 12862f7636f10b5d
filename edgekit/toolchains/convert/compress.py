"""A hub (and what is known of it) and one step in; the compressed hub, its `compress.json`, and what that saved out."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import ModelProto

from edgekit.compress.distill import student
from edgekit.compress.layers import layers, names
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import NAME, Spec, load_spec
from edgekit.hub.figures import PARAMETER_TYPES, macs
from edgekit.hub.graph import Refusal, array, static_shapes
from edgekit.hub.save import save

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

Figures = dict[str, int]


def run(job: Job) -> dict[str, Any]:
    """`hub`, `spec`?, `importance`? (.npz: initializer → importance), `student`? (hub), `technique`? (.py) → `out/hub.onnx`, `out/compress.json`.

    Options: `technique` (a file of `edgekit/compress`; None counts alone, `distill` takes `student`'s place), `strength`, and those of a Wish:
    `per_layer`, `overrides`, `seed`, `skip`; `known`: names of layers that the hub must have. Returns `notes`, `held` (what is known of some
    tensor), and `parameters`, `nonzero` and `macs`, each as [before, after]. Refuses what the technique refuses, in its words.
    """
    options = job.options
    model, spec = onnx.load(job.inputs["hub"]), load_spec(job.inputs.get("spec"))
    if unknown := unknown_layer(model, options.get("known", [])):
        job.refuse(unknown, kind="input")
    try:
        before, notes = figures(model), []
        if options["technique"] == "distill":
            job.progress("reading the student")
            teacher, model = model, onnx.load(job.inputs["student"])
            notes = student(teacher, model)
        elif options["technique"] is not None:
            job.progress(f"{options['technique']} {options['strength']}".strip())
            notes = technique(options["technique"], job.inputs.get("technique"))(model, spec, options["strength"], wish_of(job))
        after = figures(model)
    except Refusal as refusal:
        job.refuse(str(refusal), op=refusal.op, node=refusal.node)
    spec.notes += notes
    save(model, job.out / "hub.onnx")
    spec.save(job.out / NAME)
    return {"notes": notes, **{name: [before[name], after[name]] for name in before}, "held": held(spec)}


def held(spec: Spec) -> list[str]:
    """What is known of some tensor: `sparse`, `palette`, `grid`."""
    found = {name for one in spec.tensors.values() for name in ("sparse", "palette", "grid") if getattr(one, name) is not None}
    return sorted(found | ({"grid"} if spec.activations else set()))


def technique(name: str, file: Path | None) -> Callable[..., list[str]]:
    """The function that does it: edgekit's own, or that of a plug-in's file."""
    if file is None:
        return importlib.import_module(f"edgekit.compress.{name}").apply  # type: ignore[no-any-return]
    spec = importlib.util.spec_from_file_location(f"edgekit_pass_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.apply  # type: ignore[no-any-return]


def wish_of(job: Job) -> Wish:
    options, importance = job.options, None
    if "importance" in job.inputs:
        with np.load(job.inputs["importance"], allow_pickle=False) as file:
            importance = {name: file[name] for name in file.files}
    return Wish(options.get("per_layer", False), options.get("overrides", {}), importance, options.get("seed", 0), frozenset(options.get("skip", [])))


def unknown_layer(model: ModelProto, asked: list[str]) -> str | None:
    """The first name that is none of a layer's, and the nearest one."""
    found = layers(model)
    known = {name for layer in found for name in names(layer)}
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(name, [layer.name for layer in found], n=1, cutoff=0.0)
            cure = f"did you mean '{near[0]}'?" if near else "it has none that could be compressed"
            return f"the model has no layer '{name}', which the recipe file names: {cure}; `edgekit sensitivity` lists them"
    return None


def figures(model: ModelProto) -> Figures:
    """Parameters (stored numbers of more than a scalar), those that are not zero, and multiply-accumulates of one run."""
    shapes = static_shapes(model.graph)
    found = {"parameters": 0, "nonzero": 0, "macs": sum(macs(node, shapes) for node in model.graph.node)}
    for tensor in model.graph.initializer:
        if tensor.data_type in PARAMETER_TYPES and len(tensor.dims) > 0:
            values = array(tensor)
            found["parameters"] += values.size
            found["nonzero"] += int(np.count_nonzero(values))
    return found
