"""What became of every cell in, docs/matrix.md out: a table for each format, and every refusal with its words and what it would take.

make matrix      (python -m tests.lab.families.report, half an hour)
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.lab.families.matrix import Case, Cell, run_all
from tests.lab.families.table import FAMILIES, FORMATS, NO_MODEL, SOURCES
from tests.lab.networks import ROOT

PAGE = ROOT / "docs/matrix.md"

WOULD_TAKE = (
    (r"\(Loop\) gives", "tensors of unknown length at the boundary, which TFLite and Core ML do not promise to run"),
    (r"operator (WHILE|IF) ", "a reader of TFLite's further subgraphs, whose shapes LiteRT does not tell"),
    (r"operator If ", "TFLite's IF with branches as subgraphs, where onnx2tf computes both and selects"),
    (r"keeps? (its|their) state", "the state as inputs and outputs of the file"),
    (r"no Keras|no torch", "nothing: the framework has no such model"),
)
"""What a refusal says → what it would take to carry it."""


def would_take(words: str) -> str | None:
    return next((cure for pattern, cure in WOULD_TAKE if re.search(pattern, words)), None)


def page(cases: Sequence[Case]) -> str:
    """The report as Markdown."""
    cells = {(case.family, case.source, name): cell for case in cases for name, cell in case.cells.items()}
    refusals: dict[str, list[str]] = {}
    lines = ["# Every source to every format", "", summary(cells.values()), ""]
    for name, title in FORMATS.items():
        lines += [f"## {title}", "", "| family | " + " | ".join(SOURCES.values()) + " |", "|---" * (len(SOURCES) + 1) + "|"]
        for family, words in FAMILIES.items():
            row = [shown(family, source, name, cells.get((family, source, name)), refusals) for source in SOURCES]
            lines.append(f"| {words} | " + " | ".join(row) + " |")
        lines.append("")
    lines += ["## What is refused, in its words", ""]
    for number, (said, where) in enumerate(refusals.items(), 1):
        lines += [f"**[{number}]** {', '.join(where)}: {said}  ", f"It would take: {would_take(said) or 'not known yet'}.", ""]
    lines += ["– No model: " + "; ".join(f"{SOURCES[source]} × {FAMILIES[family]}: {why}" for (source, family), why in NO_MODEL.items()) + ".", ""]
    return "\n".join(lines)


def summary(cells: Iterable[Cell]) -> str:
    counts: dict[str, int] = {}
    for cell in cells:
        counts[cell.outcome] = counts.get(cell.outcome, 0) + 1
    told = ", ".join(f"{counts.get(outcome, 0)} {outcome}" for outcome in ("verified", "refused", "wrong", "crashed"))
    return (
        f"{told}. Made by `make matrix`: each model is written by its own framework, converted in fp32, and run on four random samples through one session; "
        "a figure is the largest error against the framework's own outputs, relative to their range. Core ML is evaluated, not run by Apple's runtime."
    )


def shown(family: str, source: str, name: str, cell: Cell | None, refusals: dict[str, list[str]]) -> str:
    """A cell's text; its words go to the list below, once for all cells that say the same."""
    if cell is None:
        return "–"
    if cell.outcome == "verified":
        return f"{cell.error:.0e}"
    said = without_names(cell.words)
    refusals.setdefault(said, []).append(f"{SOURCES[source]} × {FAMILIES[family]} → {FORMATS[name]}")
    return f"{cell.outcome} [{list(refusals).index(said) + 1}]"


def without_names(words: str) -> str:
    """Words without the names of nodes, which differ from model to model."""
    return re.sub(r"'[^']{12,}'", "'…'", " ".join(words.split()))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        found = run_all([(family, source) for family in FAMILIES for source in SOURCES], Path(scratch))
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(found))
    decided = [(f"{case.family} {case.source} {name}", cell) for case in found for name, cell in case.cells.items()]
    bad = [f"{where}: {cell.outcome}: {cell.words}" for where, cell in decided if cell.outcome in ("wrong", "crashed")]
    print("\n".join([summary(cell for _, cell in decided), *bad]))
    sys.exit(1 if bad else 0)
