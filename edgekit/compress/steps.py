"""A recipe's hub step in (`prune50`, `channels50`), its technique and strength out: which file of `edgekit/compress` does it, as data.

Each technique is a file with `apply(model, spec, strength, wish) -> notes`, where `strength` is the text after the technique's name: `50` of
`prune50`, `2:4` of `prune2:4`, `width50` of `student:width50`, nothing for `ternary`. It matches the technique's pattern whenever it is called.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PERCENT = "[1-9][0-9]?"
UP_TO_256 = "[2-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-6]"
N_OF_M = "|".join(f"[1-{m - 1}]:{m}" for m in range(2, 10))


@dataclass(frozen=True, slots=True)
class Technique:
    """One way to make a hub smaller, named as its steps begin. Others' enter by the entry-point group `edgekit.passes`."""

    name: str
    strength: str
    """Regular expression of what may follow the name."""
    example: str
    """One spelling of a step, for suggestions and help."""
    stage: int
    """Steps of a recipe come in this order: a later one keeps what an earlier one made of the weights, an earlier one would undo it."""
    says: str
    """What it does, in one line of help."""
    file: Path | None = None
    """Python with `apply`, where it is not `edgekit/compress/<name>.py`."""
    separator: str = ""
    """Between the name and the strength."""
    takes: str = ""
    """What strengths there are, in words: `a percentage from 1 to 99, as in prune50`."""
    weighs_channels: bool = False
    """Whether it goes by the importance of channels, where samples tell it."""

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.escape(self.name + self.separator) + f"(?P<strength>{self.strength})")


SHAPES, SPARSITY, VALUES = 1, 2, 3
"""Stages: what changes shapes (a new graph, filters, ranks), what makes zeros, and what makes values few."""

TECHNIQUES: Mapping[str, Technique] = {
    technique.name: technique
    for technique in (
        Technique(
            "student",
            f"width{PERCENT}",
            "student:width50",
            SHAPES,
            "a student of that share of the width, cut from the model",
            separator=":",
            takes="a width from 1 to 99 percent, as in student:width50",
            weighs_channels=True,
        ),
        Technique(
            "channels",
            PERCENT,
            "channels50",
            SHAPES,
            "percent of the filters and neurons removed, the graph really smaller",
            takes="a percentage from 1 to 99, as in channels50",
            weighs_channels=True,
        ),
        Technique(
            "lowrank",
            PERCENT,
            "lowrank50",
            SHAPES,
            "two small layers for one large, by SVD, to that percent of the MACs",
            takes="the percentage of the MACs that stays, from 1 to 99, as in lowrank50",
        ),
        Technique(
            "prune",
            f"{PERCENT}(?:block[1-9][0-9]?)?|{N_OF_M}",
            "prune50",
            SPARSITY,
            "percent of the weights zero, n of m, or whole blocks",
            takes="a percentage from 1 to 99, as in prune50 or, in blocks of channels, prune50block4; or how many of 2 to 9 weights stay, as in prune2:4",
        ),
        Technique(
            "cluster",
            f"(?:{UP_TO_256})(?:group[1-9][0-9]{{0,3}})?",
            "cluster16",
            VALUES,
            "weights share so many values",
            takes="2 to 256 values, as in cluster16 and, for every 1 to 9999 channels, cluster16group8",
        ),
        Technique("bits", "[2-8]", "bits4", VALUES, "weights rounded to that many bits, a scale for each output channel", takes="2 to 8 bits, as in bits4"),
        Technique("ternary", "", "ternary", VALUES, "weights are −a, 0 or a"),
        Technique("binary", "", "binary", VALUES, "weights are −a or a"),
    )
}


@dataclass(frozen=True, slots=True)
class Step:
    """A hub step as it is handed to its technique."""

    technique: Technique
    strength: str


def read_step(text: str, others: Iterable[Technique] = ()) -> Step | None:
    """A step's technique and strength, or None if no technique spells a step so.

    Args:
        others: techniques beside edgekit's own.
    """
    for technique in (*TECHNIQUES.values(), *others):
        if found := technique.pattern.fullmatch(text):
            return Step(technique, found["strength"])
    return None


def misspelt(text: str, others: Iterable[Technique] = ()) -> str | None:
    """What a technique takes, where a step begins with its name and goes on with a strength that it does not have, or with none; else None.

    Args:
        others: techniques beside edgekit's own.
    """
    for technique in (*TECHNIQUES.values(), *others):
        rest = text.removeprefix(technique.name)
        if rest != text and not rest[:1].isalpha():
            takes = technique.takes or f"one as in {technique.example}"
            return f"{technique.name} takes {takes}" if technique.strength else f"{technique.name} takes no strength: write {technique.example}"
    return None


def share(strength: str) -> float:
    """`50` of `prune50`, or the 50 of `50block4` and `width50`, as 0.5."""
    digits = re.search("[0-9]+", strength)
    assert digits is not None, strength
    return int(digits[0]) / 100
