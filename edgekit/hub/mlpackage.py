"""A coremltools model in, an .mlpackage on disk out: the same model gives the same bytes every time, under names that the model has.

Nothing of coremltools is imported here: what it made is handed in.
"""

from __future__ import annotations

import itertools
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESERVED = {
    "any", "bool", "program", "func", "tensor", "list", "dict", "tuple", "true", "false", "string", "bf16", "fp16", "fp32", "fp64",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "state",
}  # fmt: skip
"""Words of the Model Intermediate Language, which no value may have as its name."""

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


def identifiers(names: Sequence[str]) -> dict[str, str]:
    """Name → identifier of Core ML. A name that is one already, and no word of MIL, stays; no two names become the same."""
    wanted = {name: re.sub(r"[^A-Za-z0-9_]", "_", name) for name in names}
    wanted = {name: f"_{one}" if one[:1].isdigit() or not one or one in RESERVED else one for name, one in wanted.items()}
    chosen = {name: name for name, identifier in wanted.items() if identifier == name}
    taken = set(chosen)
    for name, identifier in wanted.items():
        if name not in chosen:
            tries = itertools.chain([identifier], (f"{identifier}_{n}" for n in itertools.count(1)))
            chosen[name] = next(one for one in tries if one not in taken)
            taken.add(chosen[name])
    return chosen


def boundary_notes(spec: Any, names: Mapping[str, str], tensors: Sequence[Mapping[str, Any]]) -> list[str]:
    """Put names that could not be kept into a specification's metadata; what differs from the model, in sentences.

    Args:
        names: the model's name → the package's.
        tensors: `{"name", "dtype", "shape"}` of the model's inputs and outputs, in the package's order.
    """
    notes = []
    features = [("input", feature) for feature in spec.description.input] + [("output", feature) for feature in spec.description.output]
    for (side, feature), tensor in zip(features, tensors, strict=True):
        name = tensor["name"]
        if names[name] != name:
            spec.description.metadata.userDefined[f"edgekit.name.{feature.name}"] = name
            notes.append(f"{side} {name!r} is called {feature.name!r}: names in Core ML are identifiers")
        kind = feature.type.multiArrayType
        now = kind.ArrayDataType.Name(kind.dataType).lower()
        if now != tensor["dtype"]:
            notes.append(f"{side} {name!r} is {now} for {tensor['dtype']}, which Core ML does not have")
    return notes


def rename_inside(spec: Any, old: str, new: str) -> None:
    """Rename a value where the bodies of cond and while_loop read it: coremltools' `rename_feature` looks at the outermost block only."""
    blocks = [block for function in spec.mlProgram.functions.values() for block in function.block_specializations.values()]
    while blocks:
        for operation in blocks.pop().operations:
            blocks += operation.blocks
            for block in operation.blocks:
                block.outputs[:] = [new if name == old else name for name in block.outputs]
                for inner in block.operations:
                    for argument in inner.inputs.values():
                        for binding in argument.arguments:
                            if binding.name == old:
                                binding.name = new


def operators(spec: Any) -> list[str]:
    """The kind of every operation of a specification's program that computes something."""
    blocks = [block for function in spec.mlProgram.functions.values() for block in function.block_specializations.values()]
    found = []
    while blocks:
        for operation in blocks.pop().operations:
            blocks += operation.blocks
            if operation.type != "const":
                found.append(operation.type)
    return found
