"""An Artifact and what it was made from in, the lineage beside its file out: enough to make it again and to check it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgekit.files import write_text
from edgekit.records import Artifact, Model, Samples
from edgekit.records_json import to_json
from edgekit.samples import Reference
from edgekit.write.wishes import Wishes


def lineage_path(artifact: Path) -> Path:
    """`model.w8a8.tflite` → `model.w8a8.tflite.json`."""
    return artifact.with_name(artifact.name + ".json")


def write_lineage(model: Model, samples: Samples, reference: Reference, artifact: Artifact, wishes: Wishes, tried: Mapping[str, str]) -> None:
    """Write the lineage of a file beside it.

    Args:
        tried: route → `taken`, or why it was left, in the order in which they were tried.
    """
    content: dict[str, Any] = {
        "schema": "edgekit.lineage/1",
        "edgekit": version("edgekit-mobile"),
        "model": {"path": str(model.path), "source": model.source, "sha256": model.sha256, "hub_sha256": model.hub_sha256},
        "inputs": [to_json(spec) for spec in model.inputs],
        "outputs": [to_json(spec) for spec in model.outputs],
        "samples": {
            "origin": samples.origin,
            "calibration": samples.n_calibration,
            "evaluation": samples.n_evaluation,
            "training": samples.n_training,
        },
        "reference": reference.runtime,
        "wishes": dict(wishes.told),
        "routes": [{"name": name, "outcome": outcome} for name, outcome in tried.items()],
        "artifact": {**to_json(artifact), "path": artifact.path.name},
    }
    write_text(lineage_path(artifact.path), json.dumps(content, indent=1) + "\n")
