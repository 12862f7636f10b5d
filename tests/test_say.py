"""How edgekit says things: tables that give way, progress on a pipe, no escape codes where they are not wanted, readers that go away."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.text import Text

from edgekit.cli.say import Column, Terminal, broken, out, print_table, working
from tests.lab.cli import EDGEKIT

NAMES = [Column("run"), Column("model", shortened=True), Column("device", shortened=True, drop=1), Column("started", drop=2), Column("p50", right=True)]
ROW = ["20261122-014235-k3f9", "mobilenet-of-a-long-name.onnx", "virtual-android-2", "2026-11-22T01:42:35Z", "12.9 µs"]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[int], list[str]]]:
    """The table's lines on a terminal of a width."""
    before = out.width

    def printed(width: int) -> list[str]:
        out.width = width
        print_table(NAMES, [ROW])
        return capsys.readouterr().out.splitlines()

    yield printed
    out.width = before


@pytest.mark.parametrize("width", [10, 30, 45, 60, 80, 200])
def test_what_identifies_a_row_is_never_shortened(width: int, lines: Callable[[int], list[str]]) -> None:
    head, row = lines(width)
    assert row.startswith("20261122-014235-k3f9  ")
    assert row.endswith("12.9 µs")
    assert len(head) == len(row)
    assert len(row) <= max(width, 45)


def test_names_are_shortened_before_a_column_goes(lines: Callable[[int], list[str]]) -> None:
    head, row = lines(60)
    assert head.split() == ["run", "model", "device", "p50"]
    assert "mobilenet" in row
    assert "…" in row
    assert lines(45)[0].split() == ["run", "model", "p50"]
    assert lines(200)[1].split("  ") == ROW


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ("a word", ["a word"]),
        ("one two three four", ["one two", "  three four"]),
        ("twelve cells and more", ["twelve cells", "  and more"]),
        ("at /a/path/that/is/wide so", ["at", "  /a/path/that/is/wide", "  so"]),
        ("two\n  lines of words", ["two", "  lines of", "  words"]),
        ("", [""]),
        ("数字数字 数字", ["数字数字", "  数字"]),
    ],
)
def test_words_stay_whole(words: str, lines: list[str]) -> None:
    assert broken(Text(words), 12).plain.split("\n") == lines


def test_a_line_is_broken_on_a_terminal_alone() -> None:
    words = f"{'a word ' * 40}[bold]end[/bold]"
    for terminal, lines in ((True, 4), (False, 1)):
        told = io.StringIO()
        Terminal(file=told, width=80, force_terminal=terminal, color_system=None).print(words)
        assert len(told.getvalue().splitlines()) == lines
        assert told.getvalue().split() == [*["a", "word"] * 40, "end"]


def test_an_empty_table_has_its_heads(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Column("run"), Column("p50")], [])
    assert capsys.readouterr().out.split() == ["run", "p50"]


def test_on_a_pipe_a_count_is_told_every_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with working("connecting", lambda: now[0]) as progress:
        for at in range(65):
            now[0] = float(at)
            progress(f"measuring: {at} runs", None)
    assert capsys.readouterr().err.splitlines() == ["measuring: 3 runs", "measuring: 34 runs"]


def on_terminal(*argv: str | Path, code: int = 0, **env: str) -> str:
    """What a command writes to a terminal before it ends with `code`."""
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "FORCE_COLOR")}
    done = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env={**clean, "TERM": "xterm", **env})
    os.close(theirs)
    said = b""
    try:
        while block := os.read(ours, 4096):
            said += block
    except OSError:  # the terminal's other side is closed
        pass
    os.close(ours)
    assert done.wait(20) == code
    return said.decode()


@pytest.mark.parametrize("wish", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_escape_codes_where_they_are_not_wanted(wish: dict[str, str]) -> None:
    assert "\x1b[1" in on_terminal(EDGEKIT, "explain", "memory")
    said = on_terminal(EDGEKIT, "explain", "memory", **wish)
    assert "memory" in said
    assert "\x1b" not in said


def test_errors_are_broken_between_words_too() -> None:
    lines = on_terminal(EDGEKIT, "inspect", "nothing.onnx", code=2, COLUMNS="30", NO_COLOR="1").splitlines()
    assert lines[0].startswith("error: there is no file")
    assert len(lines) > 1
    assert all(line.startswith("  ") for line in lines[1:])
    assert all(len(line) <= 30 or " " not in line.strip() for line in lines)


PROGRAM = """
from edgekit.cli.say import working
now = [0.0]
with working("connecting", lambda: now[0]) as progress:
    now[0] = 8.0
    progress("measuring: 482800 runs in 6 s", 0.5)
"""


def test_progress_is_plain_where_no_escape_codes_are_wanted() -> None:
    assert on_terminal(sys.executable, "-c", PROGRAM, NO_COLOR="1") == "measuring: 482800 runs in 6 s\r\n"


def test_on_a_terminal_the_time_stands_apart() -> None:
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", on_terminal(sys.executable, "-c", PROGRAM))
    assert "measuring: 482800 runs in 6 s  50% (8 s)" in said


@pytest.mark.parametrize("argv", [["explain", "memory"], ["toolchains", "--json"], ["targets"], ["targets", "--json"]])
def test_a_reader_that_goes_away_is_no_error(argv: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([EDGEKIT, *argv], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
