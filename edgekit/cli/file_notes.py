"""Variants in, a few lines out: what one has to know of the files, each thing once, with the files that it is about."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgekit.cli.say import err
from edgekit.records import Variant

MOST_LINES = 12
MOST_CHARACTERS = 200
"""Of one note; what is longer lists names of operators."""
FIGURES = "; tried too: "
"""Marks the figures of what a quantizer tried: for the lineage alone."""

Name = tuple[str, str]
"""Format and recipe."""


def print_file_notes(variants: Sequence[Variant], whole: str) -> None:
    """Print `file_notes` on stderr."""
    for line in file_notes(variants, whole):
        err.print(line, style="dim", markup=False)


def file_notes(variants: Sequence[Variant], whole: str) -> list[str]:
    """`tflite w8d, w4: …`: notes of files that edgekit made; the last line says where all are, if these are not all.

    Args:
        whole: what has all notes, as `the .json beside each file`.
    """
    made = [one for one in variants if one.status == "ok" and one.artifact is not None and one.artifact.route]
    files = [(one.format, one.recipe) for one in made]
    owners: dict[str, list[Name]] = {}
    figures = False
    for one, file in zip(made, files, strict=True):
        for note in one.artifact.notes if one.artifact else ():
            if FIGURES in note:
                figures = True
            else:
                owners.setdefault(note.removeprefix(f"{one.recipe} ").removeprefix(f"{one.recipe}: ").removesuffix("."), []).append(file)
    alike: dict[tuple[str, tuple[Name, ...]], list[str]] = {}
    for note, who in owners.items():
        alike.setdefault((re.sub(r"(input |output )?'[^']*'", "'…'", note), tuple(who)), []).append(note)
    lines = [f"{names(who, files)}: {shortened(notes)}" for (_, who), notes in alike.items()]
    cut = figures or any([shortened(notes)] != notes for notes in alike.values())
    if len(lines) + cut <= MOST_LINES:
        return [*lines, f"{whole} has all notes"] if cut else lines
    kept = lines[: MOST_LINES - 1]
    return [*kept, f"{len(lines) - len(kept)} more: {whole} has all notes"]


def shortened(notes: Sequence[str]) -> str:
    """The first of notes that are about other names only, in its length."""
    first = notes[0] if len(notes[0]) <= MOST_CHARACTERS else f"{notes[0][:MOST_CHARACTERS].rpartition(' ')[0].rstrip(',')} …"
    return first if len(notes) == 1 else f"{first} (and {len(notes) - 1} like it)"


def names(who: Sequence[Name], files: Sequence[Name]) -> str:
    """`tflite w8d, w4; coreml`: the recipes of each format, none where it is all of them, of several; or `w8, w4` of all their formats, if that is shorter."""
    if len(files) > 1 and set(who) == set(files):
        return "all files"
    parts = []
    for fmt in dict.fromkeys(fmt for fmt, _ in who):
        mine = [recipe for one, recipe in who if one == fmt]
        every = [recipe for one, recipe in files if one == fmt]
        parts.append(fmt if len(every) > 1 and len(mine) == len(every) else f"{fmt} {', '.join(mine)}")
    by_format = "; ".join(parts)
    recipes = dict.fromkeys(recipe for _, recipe in who)
    everywhere = all(len(alike := [one for one in files if one[1] == recipe]) > 1 and set(alike) <= set(who) for recipe in recipes)
    return min(by_format, ", ".join(recipes), key=len) if everywhere else by_format
