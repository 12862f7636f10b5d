"""Variants in, the table that `convert` shows out."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from edgekit.cli.compression import compression_cells, compression_columns
from edgekit.cli.say import Column, print_table, status_text
from edgekit.cli.show import EXACT_DB, accuracy_text, sqnr_text
from edgekit.hub.bounds import told
from edgekit.records import Parity, Variant
from edgekit.units import bytes_text


def print_conversions(variants: Sequence[Variant]) -> None:
    """What `convert` shows."""
    labelled = any(variant.artifact and variant.artifact.accuracy for variant in variants)
    columns = [
        Column("variant", whole=True), Column("status", drop=1), Column("size", right=True, drop=2), Column("download", right=True),
        Column("SQNR", right=True, drop=3 * labelled), Column("max error", right=True, drop=6), Column("same top-1", right=True, drop=5),
        Column("accuracy", right=True, drop=1 - labelled), Column("ops", right=True, drop=8), Column("transposes", right=True, drop=9),
        Column("file", drop=7), *compression_columns(variants),
    ]  # fmt: skip
    rows: list[list[str | Text]] = []
    for variant in variants:
        artifact = variant.artifact
        parity = artifact.parity if artifact else None
        rows.append([
            f"{variant.format} {variant.recipe}",
            status_text(variant.status),
            bytes_text(artifact.size_bytes if artifact else None),
            bytes_text(artifact.download_bytes if artifact else None),
            sqnr_text(parity),
            f"{parity.max_rel:.0e}" if parity else "—",
            "—" if parity is None or parity.top1_agreement is None else f"{parity.top1_agreement:.1%}",
            accuracy_text(artifact.accuracy if artifact else None),
            "—" if artifact is None or artifact.ops is None else str(artifact.ops),
            "—" if artifact is None or artifact.transposes is None else "→".join(map(str, artifact.transposes)),
            artifact.path.name if artifact and variant.status == "ok" else "—",
            *compression_cells(variants, variant),
        ])  # fmt: skip
    print_table(columns, rows)


def held_to(variants: Sequence[Variant], model: str) -> list[str]:
    """Where some network was compressed: what its cost is told against, and what the files are held to.

    Args:
        model: the source model's name.
    """
    files: dict[str, list[tuple[str, Parity]]] = {}
    for one in variants:
        if one.artifact is not None and one.artifact.compression is not None and one.artifact.agreement is not None:
            files.setdefault(told(one.artifact.compression.numbers), []).append((f"{one.format} {one.recipe}", one.artifact.agreement))
    if not files:
        return []
    kept = "; ".join(f"{agreement_text(found)} ({bound})" for bound, found in files.items())
    return [f"what compression cost is told against {model}; whether a file is right, against its own compressed network: {kept}"]


def agreement_text(found: Sequence[tuple[str, Parity]]) -> str:
    """`onnx prune50 131 dB`; of several the least: `3 files 131 dB or more`."""
    name, least = min(found, key=lambda one: (not one[1].has_nan, one[1].sqnr_db))
    if len(found) == 1:
        return f"{name} {sqnr_text(least)}"
    return f"{len(found)} files {sqnr_text(least)}" + (" or more" if least.sqnr_db < EXACT_DB else "")
