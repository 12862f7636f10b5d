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
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 200
"""What is not a terminal has no width; tables are written in full."""


WIDE = 10_000


def console(stderr: bool = False) -> Console:
    made = Console(stderr=stderr, highlight=False, emoji=False)  # adb:phone:5555 is an address, not a picture
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = PIPE_WIDTH
    return made


out = console()
err = console(stderr=True)

Function = TypeVar("Function", bound=Callable[..., Any])
Progress = Callable[[str, float | None], None]

as_json = click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object on stdout, all else on stderr.")
may_install = click.option("--install", is_flag=True, help="Install a missing toolchain instead of stopping.")


def print_json(verb: str, body: dict[str, Any]) -> None:
    """The one object that --json promises."""
    print(json.dumps({"schema": f"edgekit.{verb}/1", **body}, indent=1, allow_nan=False))


@contextmanager
def working(first: str) -> Iterator[Progress]:
    """A spinner with what is being done and for how long; on a pipe, a line for each new thing that takes over two seconds."""
    if err.is_terminal:
        from rich.markup import escape

        started = time.monotonic()
        with err.status(escape(first)) as status:

            def show(text: str, fraction: float | None) -> None:
                share = "" if fraction is None else f" {fraction:4.0%}"
                status.update(f"{escape(text)}{share} [dim]{time.monotonic() - started:.0f} s[/dim]")

            yield show
    else:
        last, shown = time.monotonic(), ""

        def tell(text: str, fraction: float | None) -> None:
            nonlocal last, shown
            kind = re.sub(r"\d+", "", text)  # a count that goes on is nothing new
            if time.monotonic() - last > 2 and kind != shown:
                last, shown = time.monotonic(), kind
                print(text, file=sys.stderr, flush=True)

        yield tell


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    right: bool = False
    drop: int = 0
    """0 stays; where the terminal is too narrow, the column with the largest number goes first."""


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], bold: int | None = None) -> None:
    """Print an aligned table; on a narrow terminal the columns that matter least are left out, and named.

    Args:
        bold: index of the row to stress.
    """
    kept = list(range(len(columns)))
    while True:
        made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for index in kept:
            made.add_column(columns[index].name, justify="right" if columns[index].right else "left")
        for number, row in enumerate(rows):
            made.add_row(*(row[index] for index in kept), style="bold" if number == bold else "")
        droppable = [index for index in kept if columns[index].drop]
        if not droppable or out.measure(made, options=out.options.update(width=WIDE)).maximum <= out.width:
            break
        kept.remove(max(droppable, key=lambda index: columns[index].drop))
    out.print(made)
    gone = [column.name for index, column in enumerate(columns) if index not in kept]
    if gone:
        err.print(f"not shown for want of width: {', '.join(gone)} (--json has everything)", style="dim", soft_wrap=True)


def status_text(status: str) -> Text:
    """`ok`, `failed`, `skipped`, in their colours."""
    return Text(status, style={"ok": "green", "failed": "bold red", "skipped": "yellow"}[status])
