"""What was done to a network, for people and as JSON: counts before and after, each step with its notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from edgekit.cli.say import Column
from edgekit.records import Artifact, Compression, Variant
from edgekit.records_json import to_json

COLUMNS = (Column("nonzero", right=True, drop=4), Column("MACs", right=True, drop=4))


def compression_json(artifact: Artifact | None) -> dict[str, Any] | None:
    """`compression` of an artifact; None where the network is the model's own."""
    found = artifact.compression if artifact else None
    return None if found is None else to_json(found)


def compression_columns(variants: Sequence[Variant]) -> list[Column]:
    """Columns that a table gains where some network was compressed."""
    return [*COLUMNS] if any(compression_of(variant) for variant in variants) else []


def compression_cells(variants: Sequence[Variant], variant: Variant) -> list[str | Text]:
    """A variant's cells in those columns: the share of the parameters that is there and not zero, and of the multiply-accumulates."""
    if not compression_columns(variants):
        return []
    found = compression_of(variant)
    if found is None:
        return ["—", "—"]
    return [share(found.after.nonzero, found.before.parameters), share(found.after.macs, found.before.macs)]


def compression_of(variant: Variant) -> Compression | None:
    return variant.artifact.compression if variant.artifact else None


def share(after: int, before: int) -> str:
    return f"{after / before:.0%}" if before else "—"
