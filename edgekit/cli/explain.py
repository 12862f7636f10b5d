"""`edgekit explain [TOPIC]`: what the words and figures that edgekit prints mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.padding import Padding
from rich.text import Text

import edgekit
from edgekit.cli.advising import explained
from edgekit.cli.say import Column, as_json, out, print_json, print_table
from edgekit.nearest import unknown

FOLDER = Path(edgekit.__file__).parent / "explain"
ORDER = ("conversion", "quantization", "compression", "advice", "parity", "latency", "memory", "conditions", "runners", "choice", "emulated")
WIDTH = 110
"""Longer lines are hard to read, however wide the terminal."""


@dataclass(frozen=True, slots=True)
class Section:
    """One thing that is explained: words, then facts, one a line."""

    name: str
    text: str
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """One topic."""

    topic: str
    title: str
    text: str
    sections: tuple[Section, ...]


@click.command("explain")
@click.argument("topic", required=False)
@as_json
def command(topic: str | None, json_wanted: bool) -> int:
    """What the words and figures mean that edgekit prints, where each comes from and what is not in it."""
    if topic is not None and topic not in ORDER:
        raise unknown("topic", topic, ORDER)
    if topic is None:
        pages = [page(name) for name in ORDER]
        if json_wanted:
            print_json("explain", {"topics": [{"topic": one.topic, "title": one.title} for one in pages]})
        else:
            print_table([Column("topic"), Column("what")], [[one.topic, one.title.partition(": ")[2]] for one in pages])
        return 0
    found = page(topic)
    if json_wanted:
        print_json("explain", asdict(found))
    else:
        show(found)
    return 0


def page(topic: str) -> Page:
    """`edgekit/explain/TOPIC.md`: `# title`, words, then sections with `## name`, words, and facts that begin with `- `; of `advice`, the rules."""
    title, *parts = re.split(r"^## ", (FOLDER / f"{topic}.md").read_text(encoding="utf-8").removeprefix("# "), flags=re.M)
    head, _, text = title.partition("\n")
    sections = [section(part) for part in parts] + [Section(*rule) for rule in explained() if topic == "advice"]
    return Page(topic, head, "\n".join(paragraphs(text)), tuple(sections))


def section(part: str) -> Section:
    name, _, text = part.partition("\n")
    blocks = paragraphs(text)
    return Section(name, "\n".join(one for one in blocks if not one.startswith("- ")), tuple(one[2:] for one in blocks if one.startswith("- ")))


def paragraphs(text: str) -> list[str]:
    """Lines that belong together as one; those that are set in by four spaces stay as they are."""

    def joined() -> Iterator[str]:
        words = ""
        for line in [*text.split("\n"), ""]:
            if words and (not line.strip() or line.startswith(("- ", "    "))):
                yield words
                words = ""
            if line.startswith("    "):
                yield line
            else:
                words = f"{words} {line.strip()}".strip()

    return list(joined())


def show(found: Page) -> None:
    """Print a page, laid out for reading."""
    width = min(out.width, WIDTH)
    out.print(Text(found.title, style="bold"), width=width)
    for text in filter(None, found.text.split("\n")):
        out.print(Padding(Text(text), (1, 0, 0, 0)), width=width)
    for one in found.sections:
        out.print(Padding(Text(one.name, style="bold cyan"), (1, 0, 0, 0)), width=width)
        for text in filter(None, one.text.split("\n")):
            out.print(Padding(Text(text), (0, 0, 0, 2)), width=width)
        for fact in one.facts:
            lines = Text(fact).wrap(out, width - 4)
            for number, line in enumerate(lines):
                out.print(Text("  · " if number == 0 else "    ", style="dim") + line, width=width)
