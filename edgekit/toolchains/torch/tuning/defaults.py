"""What a job says of a tuning run, and how much a network computes, in; its Settings out: how long and how fast, where nothing is said."""

from __future__ import annotations

import math
from typing import Any

from onnx import ModelProto

from edgekit.hub.graph import static_shapes
from edgekit.toolchains.torch.tuning.loop import Settings

LOSS = {"temperature": 2.0, "task": 0.3, "feature": 1.0}
"""On a network of 19 k weights 80 percent pruned, without labels: 0.2 points lost with the last layer's input matched too, 1.1 without."""
LR = 3e-3
"""On a network of 19 k weights 80 percent pruned (one seed), 1e-3 lost 0.7 points more, 6e-3 as much."""
LR_PARAMETERS = 420_000
"""Up to so many; of larger networks it shrinks with the square root of their size, to a few 1e-4 as they are fine-tuned with elsewhere."""
PALETTE_LR = 3e-4
"""Where values are shared: a weight that jumps from one to another moves far."""
STEP_LR = 3e-3
"""Of step sizes and scales, which are logarithms, so that it is a share of them."""
BATCH = 32
"""There, over 24 epochs of 3,600 samples (one seed): 0.0 points lost with 32 samples a step, 1.0 with 64."""
WORK_MACS = 1.4e11
"""Multiply-accumulates of the forward passes of a run, where neither epochs nor seconds are given: about a minute on one core."""
FEWEST, MOST = 6, 30
"""Epochs."""
PRUNING_EPOCHS = 2
"""Times as many where weights are pruned, since half of the steps go by while they still become zero. On a network of 19 k weights, 80 percent pruned, over
three seeds: 0.6 points lost [0.4, 0.9], where 1.0 [0.5, 1.7] were."""
LEAST_PATIENCE = 4
MOST_AT_ONCE = 250
AT_ONCE_BYTES = 600_000_000
"""A worker gets 2 GB at least; MobileNetV2 with two copies of itself took 2.4 GB with twice as much."""
FLOAT_BYTES = 4


def settings(options: dict[str, Any], macs: int, parameters: int, samples: int, *, shared: bool, prunes: bool) -> Settings:
    """The options, filled up.

    Args:
        macs: of one sample.
        shared: whether weights share values of a palette that is learned.
        prunes: whether weights become zero on the way.
    """
    batch = int(options.get("batch") or BATCH)
    plenty = min(MOST, max(FEWEST, round(WORK_MACS / max(1, macs * samples)))) * (PRUNING_EPOCHS if prunes else 1)
    epochs = int(options.get("epochs") or plenty)
    lr = float(options.get("lr") or (PALETTE_LR if shared else LR) * min(1.0, (LR_PARAMETERS / max(1, parameters)) ** 0.5))
    return Settings(
        epochs, lr, STEP_LR / 10 if shared else STEP_LR, batch, int(options.get("seed", 0)), max(LEAST_PATIENCE, epochs // 4), options.get("seconds")
    )


def at_once(model: ModelProto) -> int:
    """How many samples are computed at once: what all of a network's tensors and their gradients take of each is kept until it is trained by."""
    shapes, stored = static_shapes(model.graph), {tensor.name for tensor in model.graph.initializer}
    each = sum(math.prod(shape) for name, shape in shapes.items() if name not in stored) * FLOAT_BYTES * 2
    return max(1, min(MOST_AT_ONCE, AT_ONCE_BYTES // max(1, each)))
