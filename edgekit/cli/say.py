"""What the verbs have in common at the terminal: consoles, progress, tables, JSON and errors."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgekit.errors import EdgekitError

out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False)

Function = TypeVar("Function", bound=Callable[..., Any])
Progress = Callable[[str, float | None], None]

as_json = click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object on stdout, all else on stderr.")
may_install = click.option("--install", is_flag=True, help="Install a missing toolchain instead of stopping.")


def print_json(verb: str, body: dict[str, Any]) -> None:
    """The one object that --json promises."""
    print(json.dumps({"schema": f"edgekit.{verb}/1", **body}, indent=1, allow_nan=False))


def say_error(exc: EdgekitError, argv: Sequence[str]) -> int:
    """One sentence on stderr, and for --json an object with the error on stdout; gives the exit code."""
    if "--json" in argv:
        verb = next((arg for arg in argv if not arg.startswith("-")), "edgekit")
        print_json(verb, {"error": {"kind": type(exc).__name__, "message": str(exc), "exit_code": exc.exit_code}})
    err.print(Text.assemble(("error: ", "bold red"), str(exc)), soft_wrap=True)
    return exc.exit_code


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
        last = {"at": time.monotonic()}

        def tell(text: str, fraction: float | None) -> None:
            if time.monotonic() - last["at"] > 2:
                last["at"] = time.monotonic()
                print(text, file=sys.stderr, flush=True)

        yield tell


def table(*columns: str | tuple[str, str], title: str | None = None) -> Table:
    """A table whose columns are names, or (name, justify)."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        name, justify = (column, "left") if isinstance(column, str) else column
        made.add_column(name, justify=justify, no_wrap=justify == "right")  # type: ignore[arg-type]
    return made


def status_text(status: str) -> Text:
    """`ok`, `failed`, `skipped`, in their colours."""
    return Text(status, style={"ok": "green", "failed": "bold red", "skipped": "yellow"}[status])
