"""Variants in, tables and JSON out, as every verb shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.text import Text

from edgekit.cli.compression import compression_cells, compression_columns, compression_json
from edgekit.cli.remarks import how_measured, interval_text, remarks
from edgekit.cli.say import Column, out, print_table, status_text
from edgekit.decide import accuracy_of
from edgekit.records import SEARCH_NAMED, Accuracy, Artifact, Latency, Measurement, Memory, Model, Parity, Run, Variant
from edgekit.records_json import to_json
from edgekit.units import bytes_text, duration_text

EXACT_DB = 200.0
"""Beyond what float64 can tell from no error at all."""
BAR = 12
"""Characters."""

UNFINISHED = "still going, or cut off; if it was cut off, repeat the command, and it goes on with what is missing"


def model_json(model: Model) -> dict[str, Any]:
    return {"path": str(model.path), "sha256": model.sha256, "source": model.source, "hub_sha256": model.hub_sha256}


def parity_json(parity: Parity | None) -> dict[str, Any] | None:
    """JSON has no NaN or infinity: what is not finite is null."""
    if parity is None:
        return None
    names = ("max_abs", "max_rel", "cosine", "sqnr_db", "top1_agreement")
    figures = {name: finite(getattr(parity, name)) for name in names}
    return {**figures, "has_nan": parity.has_nan, "all_zero": parity.all_zero, "n": parity.n}


def finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None


def accuracy_json(accuracy: Accuracy | None) -> dict[str, Any] | None:
    if accuracy is None:
        return None
    return {"metric": accuracy.metric, "value": accuracy.value, "baseline": accuracy.baseline, "n": accuracy.n, "network": accuracy.network}


def file_json(artifact: Artifact | None) -> dict[str, Any]:
    if artifact is None:
        return {"path": None, "sha256": None, "size_bytes": None, "download_bytes": None}
    return {
        "path": str(artifact.path),
        "sha256": artifact.sha256,
        "size_bytes": artifact.size_bytes,
        "download_bytes": artifact.download_bytes,
    }


def artifact_json(variant: Variant) -> dict[str, Any]:
    """One entry of `artifacts` in edgekit.convert/1."""
    artifact = variant.artifact
    return {
        "recipe": variant.recipe,
        "format": variant.format,
        **file_json(artifact),
        "parity": {"host": parity_json(artifact.parity if artifact else None)},
        "accuracy": accuracy_json(artifact.accuracy if artifact else None),
        "compression": compression_json(artifact),
        "route": list(artifact.route) if artifact else [],
        **form_json(artifact),
        "notes": list(artifact.notes) if artifact else [],
        "status": variant.status,
        "error": variant.error,
    }


def form_json(artifact: Artifact | None) -> dict[str, Any]:
    """What a file is made of: its operators, and the order of its axes."""
    layout = artifact.layout if artifact else None
    transposes = artifact.transposes if artifact else None
    return {
        "ops": artifact.ops if artifact else None,
        "transposes": None if transposes is None else {"in": transposes[0], "out": transposes[1]},
        "layout": None if layout is None else to_json(layout),
        "flexible": [to_json(axis) for axis in artifact.flexible] if artifact else [],
        "verified_sizes": list(artifact.verified_sizes) if artifact else [],
    }


def latency_json(latency: Latency | None) -> dict[str, Any] | None:
    if latency is None:
        return None
    return {
        "n": latency.n,
        "min": latency.min_ns,
        "p50": latency.p50_ns,
        "p90": latency.p90_ns,
        "p99": latency.p99_ns,
        "mean": latency.mean_ns,
        "std": latency.std_ns,
        "p50_interval": None if latency.p50_low_ns is None else [latency.p50_low_ns, latency.p50_high_ns],
        "load": latency.load_ns,
        "first": latency.first_ns,
    }


def memory_json(memory: Memory | None) -> dict[str, Any] | None:
    if memory is None:
        return None
    return {
        "peak_rss": memory.peak_rss_bytes,
        "model_rss": memory.model_rss_bytes,
        "pss": memory.pss_bytes,
        "private_dirty": memory.private_dirty_bytes,
        "swap": memory.swap_bytes,
        "cgroup_peak": memory.cgroup_peak_bytes,
        "floor_rss": memory.floor_rss_bytes,
        "arena": memory.arena_bytes,
        "phys_footprint": memory.phys_footprint_bytes,
    }


def conditions_json(measured: Measurement | None) -> dict[str, Any] | None:
    """How it was measured: what has to be the same for a figure to be compared with it."""
    if measured is None:
        return None
    held = measured.conditions
    return {
        "protocol": measured.protocol,
        "complete": measured.complete,
        "runner": held.runner,
        "runtime": f"{held.runtime} {held.runtime_version}".strip(),
        "build": held.runtime_build,
        "threads": held.threads,
        "cores": list(held.cores),
        "cores_asked": held.cores_asked,
        "delegate": {"asked": held.delegate_asked, "ran": held.delegate_ran, "ops": held.ops, "outside": held.ops_outside, "time_outside": held.time_outside},
        "before": dict(held.before),
        "after": dict(held.after),
        "marks": list(measured.marks),
        "minutes": [{"minute": one.minute, "n": one.n, "p50_ns": one.p50_ns, "clock_khz": one.clock_khz} for one in measured.minutes],
    }


def variant_json(variant: Variant) -> dict[str, Any]:
    """One entry of `variants` in edgekit.deploy/1."""
    measured = variant.measurement
    return {
        "recipe": variant.recipe,
        "format": variant.format,
        **file_json(variant.artifact),
        "parity": {
            "host": parity_json(variant.artifact.parity if variant.artifact else None),
            "device": parity_json(measured.parity if measured else None),
        },
        "accuracy": accuracy_json(accuracy_of(variant)),
        "compression": compression_json(variant.artifact),
        "latency_ns": latency_json(measured.latency if measured else None),
        "memory_bytes": memory_json(measured.memory if measured else None),
        "conditions": conditions_json(measured),
        "status": variant.status,
        "error": variant.error,
        "violations": [{"limit": v.limit, "allowed": v.allowed, "found": v.found, "text": v.text} for v in variant.violations],
        "notes": [*(variant.artifact.notes if variant.artifact else ()), *(measured.notes if measured else ())],
    }


def run_json(run: Run) -> dict[str, Any]:
    """The body of edgekit.deploy/1."""
    chosen = run.chosen
    return {
        "run": run.id,
        "search": run.search,
        "started_utc": run.started_utc,
        "model": {"path": run.model_path, "sha256": run.model_sha256},
        "device": {"name": run.device_name, "address": run.device_address, "emulated": run.emulated, "profile": run.profile},
        "variants": [variant_json(variant) for variant in run.variants],
        "chosen": {"recipe": chosen.recipe, "format": chosen.format, "reason": chosen.reason} if chosen else None,
    }


def sqnr_text(parity: Parity | None) -> str:
    if parity is None:
        return "—"
    if parity.has_nan:
        return "NaN"
    return "exact" if parity.sqnr_db >= EXACT_DB else f"{round(parity.sqnr_db)} dB"  # no "-0 dB"


def accuracy_text(accuracy: Accuracy | None) -> str:
    return "—" if accuracy is None else f"{accuracy.value:.1%}"


def print_variants(run: Run) -> None:
    """What `deploy` and `runs show` show."""
    labelled = any(accuracy_of(variant) for variant in run.variants)
    columns = [
        Column(""), Column("variant"), Column("status"), Column("size", right=True, drop=2), Column("download", right=True, drop=1),
        Column("accuracy" if labelled else "SQNR", right=True), Column("p50", right=True), Column("95 % of p50", right=True, drop=7),
        Column("p90", right=True, drop=3), Column("load", right=True, drop=5), Column("peak memory", right=True, drop=4),
        Column("model memory", right=True, drop=6), *compression_columns(run.variants),
    ]  # fmt: skip
    rows: list[list[str | Text]] = []
    chosen = None
    for number, variant in enumerate(run.variants):
        artifact, measured = variant.artifact, variant.measurement
        latency, memory = (measured.latency, measured.memory) if measured else (None, None)
        parity = measured.parity if measured else (artifact.parity if artifact else None)
        if run.chosen is not None and (run.chosen.recipe, run.chosen.format) == (variant.recipe, variant.format):
            chosen = number
        rows.append([
            "→" if number == chosen else "",
            f"{variant.format} {variant.recipe}",
            status_text(variant.status),
            bytes_text(artifact.size_bytes if artifact else None),
            bytes_text(artifact.download_bytes if artifact else None),
            accuracy_text(accuracy_of(variant)) if labelled else sqnr_text(parity),
            duration_text(latency.p50_ns if latency else None),
            interval_text(latency),
            duration_text(latency.p90_ns if latency else None),
            duration_text(latency.load_ns if latency else None),
            bytes_text(memory.peak_rss_bytes if memory else None),
            bytes_text(memory.model_rss_bytes if memory else None),
            *compression_cells(run.variants, variant),
        ])  # fmt: skip
    print_table(columns, rows, bold=chosen)


def print_minutes(run: Run) -> None:
    """Latency over time, where it was measured so: a column for each variant, with a bar as long as its minute is slow."""
    series = {f"{one.format} {one.recipe}": one.measurement.minutes for one in run.variants if one.measurement and one.measurement.minutes}
    if not series:
        return
    slowest = {name: max(minute.p50_ns for minute in minutes) for name, minutes in series.items()}
    columns = [Column("minute", right=True), *(Column(name) for name in series)]
    rows: list[list[str | Text]] = []
    for index in range(max(len(minutes) for minutes in series.values())):
        cells = [
            f"{'█' * round(BAR * minutes[index].p50_ns / slowest[name]):{BAR}} {duration_text(minutes[index].p50_ns)}"
            + (f" at {clock // 1000} MHz" if (clock := minutes[index].clock_khz) else "")
            if index < len(minutes)
            else ""
            for name, minutes in series.items()
        ]
        rows.append([str(index + 1), *cells])
    print_table(columns, rows)


def print_run(run: Run) -> None:
    """A run's heading, how it was measured, its table, and what went wrong; the choice comes last: see `print_choice`."""
    profile = f"profile {run.profile}" if run.profile else "no profile"
    where = f"emulated processor, {profile}" if run.emulated else profile
    which = f"run {run.id}" + (f" of search {run.search[:SEARCH_NAMED]}" if run.search else "")
    out.print(f"[bold]{escape(Path(run.model_path).name)}[/bold] on [bold]{escape(run.device_name)}[/bold] ({escape(where)})  {which}")
    if how := how_measured(run):
        out.print(how, style="dim", markup=False)
    if run.variants:
        print_variants(run)
    print_minutes(run)
    for line in remarks(run):
        out.print(line, style="dim", markup=False)


def print_choice(run: Run, *, finished: bool = True) -> None:
    """What to ship, or why nothing.

    Args:
        finished: False adds that the run was not, and what to do; for a run that comes out of the store.
    """
    if run.chosen is not None:
        out.print(f"[bold green]ship[/bold green] {escape(run.chosen.reason)}")
    if not finished:
        out.print(f"[bold yellow]not finished[/bold yellow]: {UNFINISHED}")
    elif run.chosen is None and not measured_alone(run):
        out.print("[bold yellow]nothing to ship[/bold yellow]: no variant was measured, right and within the limits")


def measured_alone(run: Run) -> bool:
    """Whether this is one file's bench, which went well: there was nothing to choose from."""
    return len(run.variants) == 1 and run.chosen is None and run.variants[0].status == "ok" and not run.variants[0].violations
