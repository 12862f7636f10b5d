"""A file in; what edgekit made it from out, where the lineage beside it tells."""

from __future__ import annotations

import json
from pathlib import Path

from edgekit.files import sha256_tree

FLOAT = ("fp32", "fp16")


def made_from(file: Path) -> str:
    """` (NAME was made from MODEL, says the lineage beside it)` for a quantized file; "" for any other, and without a lineage of these bytes."""
    try:
        told = json.loads(file.with_name(f"{file.name}.json").read_text())
        made, model = told["artifact"], told["model"]["path"]
        if made["recipe"] in FLOAT or made["sha256"] != sha256_tree(file):
            return ""
    except (OSError, ValueError, KeyError, TypeError):  # none, or of another maker
        return ""
    return f" ({file.name} was made from {model}, says the lineage beside it)"
