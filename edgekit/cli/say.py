"""What the verbs have in common at the terminal: consoles, progress, tables, JSON and errors."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 200
"""What is not a terminal has no width; tables are written in full."""


NEW_S, GOES_ON_S = 2.0, 30.0
"""On a pipe: how long a new thing has to take to be worth a line, and how often there is one for a count that goes on."""

GAP = 2
"""Spaces between two columns."""

SHORTENED = 12
"""Characters that a name keeps where a terminal is narrow."""


SET_IN = "  "
"""Before what goes on of a line that is wider than the terminal."""


class Terminal(Console):
    """A console whose reader may go away, as `| head` does: that is no error. Words are broken into lines on a terminal, and stay one on a pipe."""

    def print(self, *objects: Any, markup: bool | None = None, **options: Any) -> None:
        words = "width" not in options and all(isinstance(one, str | Text) for one in objects)
        if words and self.is_terminal:
            objects = tuple(broken(one if isinstance(one, Text) else self.render_str(one, markup=markup), self.width) for one in objects)
        super().print(*objects, markup=markup, **{"soft_wrap": words, **options})

    def on_broken_pipe(self) -> None:
        try:
            super().on_broken_pipe()  # nothing is left to flush to
        except SystemExit as exc:
            raise SystemExit(0) from exc


def broken(text: Text, width: int) -> Text:
    """Lines of whole words, as wide as the terminal at most; a word that is wider, as a path may be, stays whole."""
    lines = []
    for line in text.split(allow_blank=True):
        offsets, taken = [], 0
        for word in re.finditer(r"\s*\S+\s*", line.plain):
            if taken and taken + cell_len(word.group().rstrip()) > width:
                offsets.append(word.start())
                taken = len(SET_IN)
            taken += cell_len(word.group())
        first, *others = line.divide(offsets)
        lines += [first, *(Text.assemble(SET_IN, one) for one in others)]
    for line in lines:
        line.rstrip()
    return Text("\n").join(lines)


def console(stderr: bool = False) -> Console:
    """Without a colour system rich writes no escape codes at all; `no_color` would leave bold and dim."""
    made = Terminal(stderr=stderr, highlight=False, emoji=False, color_system=None if plain() else "auto")  # adb:phone:5555 is no picture
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = PIPE_WIDTH
    return made


def plain() -> bool:
    """Whether the user or the terminal wants no escape codes (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in ("dumb", "unknown")


out = console()
err = console(stderr=True)

Function = TypeVar("Function", bound=Callable[..., Any])
Progress = Callable[[str, float | None], None]

as_json = click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object on stdout, all else on stderr.")
may_install = click.option("--install", is_flag=True, help="Install a missing toolchain instead of stopping.")


def print_json(verb: str, body: dict[str, Any]) -> None:
    """The one object that --json promises."""
    out.out(json.dumps({"schema": f"edgekit.{verb}/1", **body}, indent=1, allow_nan=False))


@contextmanager
def working(first: str, clock: Callable[[], float] = time.monotonic) -> Iterator[Progress]:
    """A spinner with what is being done and for how long; where there can be none, a line for each new thing, and one now and then for a count.

    Args:
        clock: seconds.
    """
    if err.is_terminal and not plain():
        from rich.markup import escape

        started = clock()
        with err.status(escape(first)) as status:

            def show(text: str, fraction: float | None) -> None:
                share = "" if fraction is None else f" {fraction:4.0%}"
                status.update(f"{escape(text)}{share} [dim]({clock() - started:.0f} s)[/dim]")

            yield show
    else:
        last, shown = clock(), ""

        def tell(text: str, fraction: float | None) -> None:
            nonlocal last, shown
            kind = re.sub(r"\d+", "", text)  # a count that goes on is nothing new
            if clock() - last > (GOES_ON_S if kind == shown else NEW_S):
                last, shown = clock(), kind
                print(text, file=sys.stderr, flush=True)

        yield tell


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    right: bool = False
    drop: int = 0
    """0 stays; where the terminal is too narrow, the column with the largest number goes first."""
    shortened: bool = False
    """Names that may lose their ends before a column goes; all other cells of such a table stay whole."""
    late: bool = False
    """Names that lose their ends only where that was not enough and no more columns can go."""
    path: bool = False
    """Names whose last parts tell them apart, as those of layers: they lose their beginnings instead."""
    whole: bool = False
    """What identifies a row: neither it nor any other cell of the table is broken into lines, however narrow the terminal."""


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], bold: int | None = None) -> None:
    """Print an aligned table; on a narrow terminal the columns that matter least are left out, and named.

    Args:
        bold: index of the row to stress.
    """
    widths = [max(Measurement.get(out, out.options, cell).maximum for cell in (column.name, *cells)) for column, *cells in zip(columns, *rows, strict=True)]
    least = [min(width, SHORTENED * (1 + column.path)) if column.shortened or column.path else width for column, width in zip(columns, widths, strict=True)]
    kept = list(range(len(columns)))
    while (needed := sum(least[index] + GAP for index in kept) - GAP) > out.width:
        droppable = [index for index in kept if columns[index].drop]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda index: (says_nothing(rows, index), columns[index].drop)))
    late = [index for index in kept if columns[index].late and needed > out.width]
    least = [min(width, SHORTENED) if index in late else width for index, width in enumerate(least)]
    needed = sum(least[index] + GAP for index in kept) - GAP
    whole = any(column.shortened or column.late or column.path or column.whole for column in columns)
    beyond = needed if whole and needed > out.width else None
    made = Table(width=beyond, box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for index in kept:
        stays = whole and not columns[index].shortened
        if columns[index].path or index in late:
            part, room = ending if columns[index].path else beginning, max(out.width - needed + least[index], SHORTENED)
            rows = [[*row[:index], part(row[index], room), *row[index + 1 :]] for row in rows]
        justify: JustifyMethod = "right" if columns[index].right else "left"
        made.add_column(columns[index].name, justify=justify, no_wrap=stays)
    for number, row in enumerate(rows):
        made.add_row(*(row[index] for index in kept), style="bold" if number == bold else "")
    out.print(made, crop=not whole)
    gone = [column.name for index, column in enumerate(columns) if index not in kept]
    if gone:
        err.print(f"not shown for want of width: {', '.join(gone)} (--json has everything)", style="dim")


def samples_text(n: int, origin: str) -> str:
    """`on 200 samples of digits.npz, …`; what the origin says itself is not said twice: `on 4 random samples, seed 0`."""
    return f"on {origin}" if origin.startswith(f"{n} ") else f"on {n} {'sample' if n == 1 else 'samples'} of {origin}"


def says_nothing(rows: Sequence[Sequence[str | Text]], index: int) -> bool:
    """Whether no row has anything in that column."""
    return all(str(row[index]) in ("", "—") for row in rows)


def ending(cell: str | Text, width: int) -> str | Text:
    """The end of a name that is too long."""
    return cell if len(cell) <= width else f"…{str(cell)[len(cell) - width + 1 :]}"


def beginning(cell: str | Text, width: int) -> str | Text:
    """The beginning of one."""
    return cell if len(cell) <= width else f"{str(cell)[: width - 1]}…"


def status_text(status: str) -> Text:
    """`ok`, `failed`, `skipped`, in their colours."""
    return Text(status, style={"ok": "green", "failed": "bold red", "skipped": "yellow"}[status])
