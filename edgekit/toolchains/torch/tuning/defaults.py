"""What a job says of a tuning run, and how a student is constrained, in; its Settings out: how long and how fast, where nothing is said."""

from __future__ import annotations

from typing import Any

from edgekit.toolchains.torch.tuning.constraints import Bits
from edgekit.toolchains.torch.tuning.loop import Settings
from edgekit.toolchains.torch.tuning.student import Student

LOSS = {"temperature": 2.0, "task": 0.3, "feature": 0.0}
BATCH = 64
STEPS = 1400
"""Of the optimiser, where neither epochs nor seconds are given."""
FEWEST, MOST = 3, 60
"""Epochs."""
LR = 3e-3
STEP_LR = 3e-3


def settings(options: dict[str, Any], student: Student, samples: int, bits: Bits | None) -> Settings:
    """The options, filled up."""
    batch = int(options.get("batch") or BATCH)
    epochs = int(options.get("epochs") or min(MOST, max(FEWEST, round(STEPS * batch / samples))))
    lr = float(options.get("lr") or LR)
    return Settings(epochs, lr, STEP_LR * lr / LR, batch, int(options.get("seed", 0)), seconds=options.get("seconds"))
