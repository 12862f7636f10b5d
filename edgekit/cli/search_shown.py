"""A Search in; its table, its JSON and its plot out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.text import Text

from edgekit.cli import show
from edgekit.cli.say import Column, err, out, print_table
from edgekit.decide import ACCURACY_DROP_POINTS
from edgekit.files import write_text
from edgekit.units import bytes_text, duration_text
from edgekit.verbs.search import Search
from edgekit.verbs.search_front import Tried

LARGEST_DOT, SMALLEST_DOT = 14.0, 3.0
"""Radius in pixels of the largest download's dot, and of none."""

Again = Callable[[Tried], str]
"""The command that makes a trial's file again."""


def body(found: Search, labelled: bool, again: Again) -> dict[str, Any]:
    """The body of edgekit.search/1, after the model and the device."""
    one = found.recommended
    return {
        "quality": "accuracy" if labelled else "sqnr_db",
        "baseline": found.baseline,
        "trials": [trial_json(one, found) for one in found.trials],
        "front": [{"recipe": one.recipe, "format": one.format, "run": one.run} for one in found.front.shown],
        "recommended": one and {"recipe": one.recipe, "format": one.format, "run": one.run, "reason": found.reason, "commands": [packs(one), again(one)]},
        "new": found.new,
        "stopped": found.stopped,
        "elapsed_s": round(found.elapsed_s, 3),
    }


def packs(one: Tried) -> str:
    """The command that packages the very file that was measured."""
    return f"edgekit package {one.run} --platform generic -o DIR"


def trial_json(one: Tried, found: Search) -> dict[str, Any]:
    values = one.values
    weighed = {name: getattr(values, name, None) for name in ("quality", "p50_ns", "download_bytes")} | {
        "peak_rss_bytes": (values and values.peak_rss_bytes) or None
    }
    told = {"number": one.number, "recipe": one.recipe, "format": one.format, "status": "ok" if values else "failed", "error": one.error}
    place = {"on_front": one in found.front.shown, "left_out": found.front.left_out.get(one.number)}
    return {**told, **weighed, **place, "elapsed_s": round(one.elapsed_s, 3), "tune_s": one.tune_s, "run": one.run}


def print_search(found: Search, title: str, labelled: bool, again: Again) -> None:
    """The front, what became of the other trials, and the one to ship."""
    model = "" if found.baseline is None else f": the model itself is right in {found.baseline:.1%}"
    out.print(f"[bold]{escape(title)}[/bold]{model}")
    columns = [Column(""), Column("variant"), Column("accuracy" if labelled else "SQNR", right=True), Column("p50", right=True)]
    columns += [Column("download", right=True), Column("memory", right=True, drop=1)]
    rows: list[list[str | Text]] = []
    for one in found.front.shown:
        if one.values is not None:
            figures = [duration_text(one.values.p50_ns), bytes_text(one.values.download_bytes), bytes_text(one.values.peak_rss_bytes or None)]
            mark = "→" if one == found.recommended else ""
            rows.append([mark, f"{one.format} {one.recipe}", quality_text(one.values.quality, labelled), *figures])
    if rows:
        print_table(columns, rows, bold=next((place for place, row in enumerate(rows) if row[0]), None))
    failed = [one for one in found.trials if one.values is None]
    for reason, among in grouped(failed).items():
        err.print(f"failed: {', '.join(among)}: {reason}", style="dim", markup=False)
    left = [f"{count} {why}" for why, count in Counter(found.front.left_out.values()).most_common()] + ([f"{len(failed)} failed"] if failed else [])
    out.print(f"{len(rows)} of {len(found.trials)} trials are shown" + (f"; left out: {'; '.join(left)} (--json has all)" if left else ""))
    if found.recommended is not None:
        out.print(f"[bold green]ship[/bold green] {escape(found.reason)}")
        like = "it again" if found.recommended.tune_s is None else "one that is tuned for about as long"
        out.print(f"to package that very file, or to make {like}:", style="dim")
        for command in (packs(found.recommended), again(found.recommended)):
            out.out(f"  {command}")
    elif rows:
        out.print(f"[bold yellow]nothing to ship[/bold yellow]: {why_none(found)}")
    err.print(f"{found.elapsed_s:.0f} s, {found.new} new trials; ended: {found.stopped}; the same command goes on with more", style="dim")


def why_none(found: Search) -> str:
    if found.baseline is None:
        return "no trial is within the limits of the device's profile"
    lost = f"{ACCURACY_DROP_POINTS:g} point" if ACCURACY_DROP_POINTS == 1 else f"{ACCURACY_DROP_POINTS:g} points"
    return f"no trial keeps within {lost} of the model's {found.baseline:.1%} and within the limits of the device's profile: give it a longer --budget"


def grouped(failed: list[Tried]) -> dict[str, list[str]]:
    """Reason → the variants that failed for it."""
    found: dict[str, list[str]] = {}
    for one in failed:
        found.setdefault(one.error or "", []).append(f"{one.format} {one.recipe}")
    return found


def quality_text(quality: float, labelled: bool) -> str:
    if labelled:
        return f"{quality:.1%}"
    return "exact" if quality >= show.EXACT_DB else f"{quality:.0f} dB"


def draw(path: Path, found: Search, title: str, labelled: bool) -> None:
    """Quality over latency, the larger the dot the larger the download."""
    import pygal
    from pygal.style import CleanStyle

    axis = "accuracy" if labelled else "SQNR, dB"
    chart = pygal.XY(style=CleanStyle, title=f"{title}: dots as large as the download", x_title="p50, ms", y_title=axis, js=[], dots_size=SMALLEST_DOT)
    largest = max((one.values.download_bytes for one in found.trials if one.values), default=1)

    def dot(one: Tried) -> dict[str, Any]:
        assert one.values is not None
        radius = SMALLEST_DOT + (LARGEST_DOT - SMALLEST_DOT) * (one.values.download_bytes / largest) ** 0.5
        label = f"{one.format} {one.recipe}: {bytes_text(one.values.download_bytes)}"
        return {"value": (one.values.p50_ns / 1e6, min(one.values.quality, show.EXACT_DB)), "label": label, "node": {"r": radius}}

    chart.add("front", [dot(one) for one in found.front.shown], stroke=False)
    chart.add("others", [dot(one) for one in found.trials if one.number in found.front.left_out], stroke=False)
    write_text(path, chart.render(is_unicode=True))
