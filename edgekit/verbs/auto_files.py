"""Recipes and formats in, what their files take to download out; and which of them miss the budget that they were made for."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.recipe import Recipe, parse
from edgekit.records import Variant
from edgekit.toolchains.jobs import Progress
from edgekit.units import bytes_text
from edgekit.verbs.convert import convert
from edgekit.verbs.source import Source
from edgekit.write.format import Format
from edgekit.write.wishes import Wishes

FLOAT = "fp32"


@dataclass(frozen=True, slots=True)
class Limit:
    """What a file may take, and why it may take more."""

    float_bytes: int
    """The download of the format's own float file."""
    share: float
    """Of these, at the most."""
    weights_bytes: int
    """About what the weights take in a file of the recipe; the rest no strength makes smaller."""

    @property
    def bytes(self) -> int:
        return int(self.share * self.float_bytes)


Limits = Mapping[tuple[str, str], Limit]
"""By recipe and format."""


def downloads(source: Source, recipe: Recipe, formats: Sequence[Format], wishes: Wishes, progress: Progress) -> dict[str, int]:
    """Format → bytes to download of the recipe's file, of those that are right; what was made stays in the cache."""
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        variants = convert(source, [recipe], formats, lambda sha256: Path(folder), progress, wishes)
    return {one.format: one.artifact.download_bytes for one in variants if one.status == "ok" and one.artifact is not None}


def float_downloads(source: Source, formats: Sequence[Format], wishes: Wishes, progress: Progress) -> dict[str, int]:
    """Format → bytes to download of the model's float file."""
    return downloads(source, parse(FLOAT), formats, wishes, progress)


def missed(limits: Limits, variants: Sequence[Variant]) -> list[str]:
    """What to say of files that take more than they may."""
    told = []
    for one in variants:
        limit = limits.get((one.recipe, one.format))
        if limit is None or one.status != "ok" or one.artifact is None or one.artifact.download_bytes <= limit.bytes:
            continue
        taken = one.artifact.download_bytes
        fixed = max(0, taken - limit.weights_bytes)
        told.append(
            f"{one.format} {one.recipe} takes {taken / limit.float_bytes:.3f} of its float file's download ({bytes_text(taken)} of "
            f"{bytes_text(limit.float_bytes)}), {taken / limit.bytes - 1:.1%} more than was asked for: about {bytes_text(fixed)} of it are no weights but "
            "the graph, names and scales, which no strength makes smaller; ask for less, or cut the network itself, as in channels50+tune+w8"
        )
    return told
