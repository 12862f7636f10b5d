"""A hub and samples in, how much each output channel of each layer matters out: first-order Taylor importance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch

from edgekit.compress.layers import Layer, distinct, layers
from edgekit.hub.graph import Refusal
from edgekit.toolchains.torch.twin import Twin

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

Array = np.ndarray[Any, Any]
BATCH = 16
"""Samples whose gradients are added before they are squared."""
MOST_SAMPLES = 1024
"""The order of channels settles with a few hundred samples (Molchanov et al. 2019, section 4.2)."""


def run(job: Job) -> dict[str, Any]:
    """`hub`, `samples` (tensor folder) → `out/importance.npz`: initializer → float32 [its output channels].

    Options: `seed` (0). Returns `samples` (how many were used), `layers` (how many have scores) and `notes`.
    """
    torch.set_num_threads(1)
    hub = onnx.load(str(job.inputs["hub"]))
    try:
        twin = Twin(hub).eval()
    except Refusal as refusal:
        job.refuse(str(refusal), kind=refusal.kind, op=refusal.op, node=refusal.node)
    if not distinct(layers(hub)):
        job.refuse("the model has no layers with weights to weigh the channels of: leave out channels", kind="input")
    inputs = samples(job.inputs["samples"], len(hub.graph.input))
    found, n = importance(twin, distinct(layers(hub)), inputs, int(job.options.get("seed", 0)), job)
    wrong = next((name for name, scores in found.items() if not np.isfinite(scores).all()), None)
    if wrong is not None:
        job.refuse(f"the gradients of {wrong!r} are not finite: leave Taylor importance out, or give samples as the model was trained on", kind="input")
    held: dict[str, Any] = dict(found)
    np.savez(job.out / "importance.npz", **held)
    notes = [f"channels are weighed by how far the outputs move without them, to first order, on {n} samples"]
    notes += [f"for gradients, {twin.apart}"] if twin.apart else []
    return {"samples": n, "layers": len(found), "notes": notes}


def samples(folder: Path, count: int) -> list[Any]:
    """The arrays [n, *shape] of a tensor folder."""
    return [torch.from_numpy(np.load(folder / f"{index}.npy")) for index in range(count)]


def importance(twin: Twin, found: list[Layer], inputs: list[Any], seed: int, job: Job | None = None) -> tuple[dict[str, Array], int]:
    """Scores of each layer that is trained, and the number of samples used.

    The score of a channel is the mean over batches of (Σ g·w)², over its weights and its bias: what a loss would change by, to first order and
    squared, were the channel 0 (Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", equation 8).

    A trained model is near the minimum of its own loss, and at that of any distance to its own outputs, where gradients vanish. So the loss is
    Σ ε·f(x), ε drawn from N(0, 1) anew for each value of each output: its expected squared score is ‖J·w‖², J the outputs' Jacobian, which is how far
    the outputs move when the channel goes (the Gauss–Newton form of Hassibi and Stork 1993; drawn as Hutchinson 1990 estimates a trace). On digits,
    half of all channels cut and nothing tuned: .925 (CNN) and .562 (depthwise) so, .924 and .180 by cross entropy of the labels, .803 and .286 by
    the weights' energy alone.
    """
    drawn = torch.Generator().manual_seed(seed)
    n = min(len(inputs[0]) if inputs else 0, MOST_SAMPLES)
    picked = torch.randperm(len(inputs[0]), generator=drawn)[:n]
    own = [layer for layer in found if layer.weight in twin.weights]
    weights = [twin.weights[layer.weight] for layer in own]
    biases = [bias_of(twin, layer) for layer in own]
    total = [torch.zeros(layer.shape[layer.output_axis], dtype=torch.float64) for layer in own]
    batches = picked.split(BATCH)
    for index, rows in enumerate(batches):
        outputs = twin(*(array[rows].flatten(0, 1) if array.dim() > 1 else array[rows] for array in inputs))
        floats = [value for value in outputs if value.requires_grad]
        loss = sum((value * torch.randn(value.shape, generator=drawn).to(value.dtype)).sum() / size(value) for value in floats)
        slopes = torch.autograd.grad(loss, [*weights, *(bias for bias in biases if bias is not None)], allow_unused=True)
        given = iter(slopes[len(weights) :])
        for place, (layer, weight, slope, bias) in enumerate(zip(own, weights, slopes, biases, strict=False)):
            beside = None if bias is None else next(given)
            if slope is None:
                continue
            product = (slope * weight).detach().movedim(layer.output_axis, 0).flatten(1).sum(1)
            if bias is not None and beside is not None:
                product = product + (beside * bias).detach()
            total[place] += product.double().square()
        if job is not None:
            job.progress("weighing channels", (index + 1) / len(batches))
    return {layer.weight: (one / max(len(batches), 1)).float().numpy() for layer, one in zip(own, total, strict=True)}, n


def size(value: Any) -> Any:
    """The size of an output, so that outputs of other units weigh the same."""
    return value.detach().square().mean().sqrt().clamp_min(1e-12)


def bias_of(twin: Twin, layer: Layer) -> Any:
    """The bias that goes with a layer's channels, None without one."""
    name = layer.node.input[2] if layer.kind in ("Conv", "ConvTranspose", "Gemm") and len(layer.node.input) > 2 else ""
    bias = twin.weights.get(name)
    return bias if bias is not None and tuple(bias.shape) == (layer.shape[layer.output_axis],) else None
