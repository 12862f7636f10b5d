"""A model's own outputs and labels in; its accuracy out, and what labels that have nothing to do with the samples would give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.hub import parity

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job


def run(job: Job) -> dict[str, Any]:
    """`reference` (tensor folder of outputs), `labels` (int [n]) → `top1`, `chance`, `n`.

    `chance` is `parity.chance`; `top1` is None where the first output is no scores of classes.
    """
    scores, labels = parity.open_tensor(job.inputs["reference"], 0), np.load(job.inputs["labels"], allow_pickle=False)
    n = int(labels.shape[0])
    if not parity.is_scores(scores):
        return {"top1": None, "chance": 0.0, "n": n}
    answers = parity.top1(scores)
    return {"top1": float(np.mean(answers == labels)), "chance": parity.chance(answers, labels, int(scores.shape[-1])), "n": n}
