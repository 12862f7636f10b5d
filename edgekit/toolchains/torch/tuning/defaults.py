"""What a job says of a tuning run, and how much a network computes, in; its Settings out: how long and how fast, where nothing is said."""

from __future__ import annotations

from typing import Any

from edgekit.toolchains.torch.tuning.loop import Settings

LOSS = {"temperature": 2.0, "task": 0.3, "feature": 0.0}
BATCH = 32
"""On 3,600 digits, 80 percent pruned, 24 epochs: 0.0 points lost with 32 samples a step, 1.0 with 64."""
WORK_MACS = 1.4e11
"""Multiply-accumulates of the forward passes of a run, where neither epochs nor seconds are given: about a minute on one core."""
FEWEST, MOST = 6, 30
"""Epochs."""
LR = 3e-3
STEP_LR = 3e-3


def settings(options: dict[str, Any], macs: int, samples: int) -> Settings:
    """The options, filled up.

    Args:
        macs: of one sample.
    """
    batch = int(options.get("batch") or BATCH)
    epochs = int(options.get("epochs") or min(MOST, max(FEWEST, round(WORK_MACS / max(1, macs * samples)))))
    lr = float(options.get("lr") or LR)
    return Settings(epochs, lr, STEP_LR * lr / LR, batch, int(options.get("seed", 0)), seconds=options.get("seconds"))
