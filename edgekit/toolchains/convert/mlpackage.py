"""A coremltools model in, an .mlpackage on disk out: the same model gives the same bytes every time."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

DATED = "com.github.apple.coremltools.conversion_date"


def save(model: Any, spec: Any, path: Path) -> None:
    """Write the model's package with this specification. The conversion's date and random identifiers, which coremltools puts in, are left out."""
    spec.description.metadata.userDefined.pop(DATED, None)
    build = spec.mlProgram.attributes["buildInfo"].immediateValue.dictionary if "buildInfo" in spec.mlProgram.attributes else None
    if build is not None:
        keep = [entry for entry in build.values if DATED not in entry.key.immediateValue.tensor.strings.values]
        del build.values[:]
        build.values.extend(keep)
    model.save(str(path))
    (path / "Data/com.apple.CoreML/model.mlmodel").write_bytes(spec.SerializeToString(deterministic=True))
    manifest = path / "Manifest.json"
    described = json.loads(manifest.read_text())
    names = {old: str(uuid.uuid5(uuid.NAMESPACE_URL, entry["path"])).upper() for old, entry in described["itemInfoEntries"].items()}
    described["itemInfoEntries"] = {names[old]: entry for old, entry in described["itemInfoEntries"].items()}
    described["rootModelIdentifier"] = names[described["rootModelIdentifier"]]
    manifest.write_text(json.dumps(described, indent=4, sort_keys=True) + "\n")
