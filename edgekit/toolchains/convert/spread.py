"""A hub, samples and several ways to compress its layers in; out, for each way, how far the outputs go and what the weights take."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import onnx
from onnx import ModelProto

from edgekit.compress.layers import distinct, layers
from edgekit.compress.steps import read_step
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Spec
from edgekit.hub.graph import Refusal
from edgekit.toolchains.convert.runtime.runners import CannotRunError
from edgekit.toolchains.convert.sensitivity import Trial, worst_db

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job


def run(job: Job) -> dict[str, Any]:
    """`hub`, `samples`, `labels`? with `ways` (each: weight → steps; the other layers stay as they are) and `most` samples → `found`, one for each
    way: `sqnr_db`, `agreement`, `top1`, `bytes` of all weights, or `refused`; `top1` of the hub itself, `samples`.
    """
    model = onnx.load(job.inputs["hub"])
    trial, every = Trial(model, job), {layer.weight for layer in distinct(layers(model))}
    found: list[dict[str, Any]] = []
    for number, way in enumerate(job.options["ways"]):
        job.progress("trying ways to spread it", number / len(job.options["ways"]))
        changed, spec = ModelProto(), Spec()
        changed.CopyFrom(model)
        try:
            compress(changed, spec, way, every)
            outputs = trial.outputs(changed)
        except (Refusal, CannotRunError) as exc:
            found.append({"sqnr_db": None, "agreement": None, "top1": None, "bytes": 0, "refused": str(exc)})
            continue
        told = {"sqnr_db": worst_db(trial.expected, outputs), "agreement": trial.agreement(outputs), "top1": trial.hits(outputs)}
        found.append({**told, "bytes": sum(trial.coded(changed, spec)), "refused": None})
    return {"found": found, "top1": trial.top1, "samples": trial.n}


def compress(model: ModelProto, spec: Spec, way: Mapping[str, str], every: set[str]) -> None:
    """Each layer by its own steps: a technique at a time, in the order that makes sense."""
    strengths: dict[tuple[int, str], dict[str, str]] = {}
    for weight, steps in way.items():
        for text in steps.split("+"):
            step = read_step(text)
            assert step is not None, text
            strengths.setdefault((step.technique.stage, step.technique.name), {})[weight] = step.strength
    for (_, name), own in sorted(strengths.items()):
        wish = Wish(per_layer=True, overrides=own, skip=frozenset(every - own.keys()))
        importlib.import_module(f"edgekit.compress.{name}").apply(model, spec, next(iter(own.values())), wish)
