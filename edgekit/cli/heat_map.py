"""What `edgekit sensitivity` found in; its heat map as an SVG out: a row for each layer in the network's order, a column for each of the steps."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import pairwise

from edgekit.cli import show
from edgekit.verbs.sensitivity import Found, Sensitivity

HEAT = ((35.0, "green", "#4daf6e"), (25.0, "chartreuse3", "#b5d66b"), (15.0, "yellow", "#fee08b"), (8.0, "dark_orange", "#f79d5c"), (-1e9, "red", "#d7504a"))
"""From which SQNR on, in dB, a cell is of which colour, on a terminal and in a picture. Of usual classifiers 25 dB change no answer, 8 dB many."""
REFUSED = "#dddddd"

ROW, COLUMN, HEAD, LETTER, EDGE = 24, 78, 92, 7.3, 12
"""Pixels: of a cell, of what stands above the cells, of a letter of 12 px at its widest in most fonts, and around everything."""
KEY = 130
"""Pixels of an entry of the colours' key."""


def heat(one: Found) -> tuple[str, str]:
    """A cell's colour on a terminal, and in a picture."""
    sqnr = -1e9 if one.sqnr_db is None else one.sqnr_db
    return next((terminal, picture) for from_db, terminal, picture in HEAT if sqnr >= from_db)


def decibels(one: Found) -> str:
    """`28.3`, `exact`, `NaN`."""
    if one.sqnr_db is None:
        return "NaN"
    return "exact" if one.sqnr_db >= show.EXACT_DB else f"{one.sqnr_db:.1f}".replace("-", "−")


def heat_map(found: Sensitivity) -> str:
    """The picture; a cell tells more where the pointer rests on it."""
    table, steps = found.table, found.steps
    names = EDGE + LETTER * max(len(layer.name) for layer in table.layers) + EDGE
    width = max(names + COLUMN * len(steps), KEY * (len(HEAT) + 1) + EDGE) + EDGE
    height = HEAD + ROW * len(table.layers) + 3 * EDGE + ROW
    title = f"{found.model.path.name}: SQNR of the outputs in dB when one layer alone is compressed"
    lines = [text(EDGE, 28, title, "start", 15), text(EDGE, 48, f"on {table.samples} samples; less is worse; layers in the network's order", "start")]
    lines += [text(names + COLUMN * (place + 0.5), HEAD - 8, word, "middle", weight="bold") for place, word in enumerate(steps)]
    for row, layer in enumerate(table.layers):
        lines.append(text(names - EDGE, HEAD + ROW * (row + 0.68), layer.name, "end"))
        for place, one in enumerate(table.of(row)):
            lines += cell(one, layer.name, names + COLUMN * place, HEAD + ROW * row)
    lines += key(HEAD + ROW * len(table.layers) + 2 * EDGE)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}" font-family="sans-serif">',
        f'<rect width="{width:.0f}" height="{height}" fill="white"/>', *lines, "</svg>", "",
    ])  # fmt: skip


def cell(one: Found, layer: str, x: float, y: float) -> Iterator[str]:
    """A square with its figure."""
    told = one.refused or f"{decibels(one)} dB"
    yield f"<g><title>{escape(f'{layer}, {one.steps}: {told}')}</title>"
    yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{COLUMN - 2}" height="{ROW - 2}" fill="{REFUSED if one.refused else heat(one)[1]}"/>'
    yield text(x + COLUMN / 2 - 1, y + ROW * 0.68, "–" if one.refused else decibels(one), "middle") + "</g>"


def key(y: float) -> Iterator[str]:
    """What the colours mean."""
    steps = [f"{low:g} to {high:g} dB" for (high, *_), (low, *_) in pairwise(HEAT[:-1])]
    words = [f"{HEAT[0][0]:g} dB or more", *steps, f"below {HEAT[-2][0]:g} dB", "refused"]
    for place, (word, colour) in enumerate(zip(words, [*(picture for *_, picture in HEAT), REFUSED], strict=True)):
        x = EDGE + KEY * place
        yield f'<rect x="{x}" y="{y:.1f}" width="{ROW - 6}" height="{ROW - 6}" fill="{colour}"/>'
        yield text(x + ROW, y + ROW * 0.55, word, "start")


def text(x: float, y: float, words: str, anchor: str, size: int = 12, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="#222">{escape(words)}</text>'
