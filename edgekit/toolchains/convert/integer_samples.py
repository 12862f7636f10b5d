"""A tensor folder of numbers in, the integers that a file with integer inputs takes for them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.hub.integers import folder_to_integers

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job


def run(job: Job) -> dict[str, Any]:
    """`samples` with `how` (of each input scale, zero point and dtype, or None) → `out/*.npy`."""
    folder_to_integers(job.inputs["samples"], job.out, job.options["how"])
    return {}
