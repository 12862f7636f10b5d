"""Networks and recipes in, the table of what compression costs and saves out: means over seeds with their spread, held against bars.

    python examples/compression/table.py [--seeds 3] [--only TEXT] [--unlabelled] [--out FOLDER]

Trains each network, converts it under each recipe to TFLite, Core ML and ONNX with `edgekit convert`, and reads the figures from its JSON: all
of them are measured on the files, on samples that neither training nor tuning has seen. Prints the table and writes it as `table.md` and
`table.json` (`unlabelled.…`).
What was made is in edgekit's cache, so a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from edgekit.toolchains.catalog import toolchain  # noqa: E402
from examples.compression import data  # noqa: E402

EDGEKIT = Path(sys.executable).parent / "edgekit"
FORMATS = ("tflite", "coreml", "onnx")
NEAR_POINTS = 0.3
"""How far a file's accuracy may be from its compressed network's own, or one sample where that is more; of a recipe that changes no network, from fp32's."""
WITHOUT_LABELS_POINTS = 1.0
"""What tuning without labels may lose beside."""
ROUNDING = 1e-9
DEVICE_LOST_OR_IN_USE = 5
"""An exit code of edgekit."""
ASK_AGAIN_S = 5.0
SIZES = {"download": "download_bytes", "stored": "size_bytes"}


@dataclass(frozen=True)
class Bar:
    """What a recipe has to reach on a network."""

    network: str
    recipe: str
    lost_points: float
    """Against fp32, mean over seeds."""
    smaller: float = 0.0
    """Than fp32, by the measure, in the format, or in the one where it is smallest."""
    measure: str = "download"
    """`download`: deflated; `stored`: as it lies on disk."""
    format: str | None = None
    parameters: float = 1.0
    macs: float = 1.0
    p50: float | None = None
    """At most, as a share of the network's own; p50 on this machine, in each format that runs here."""
    beats: bool = False
    """Whether it has to be better than the same network trained for as long on labels alone."""


BARS = (
    Bar("cnn", "w8a8", 0.3, 3.8, "stored"),
    Bar("depthwise", "prune50+tune", 0.3),
    Bar("depthwise", "prune80+tune", 1.0),
    Bar("cnn", "prune90+tune", 1.0),
    Bar("cnn", "channels50+tune", 1.0, parameters=0.5, p50=0.7),
    Bar("cnn", "lowrank50+tune", 0.5, macs=0.55),
    Bar("cnn", "cluster16+tune", 0.5, 6.0),
    Bar("cnn", "w4+tune", 0.5, 7.5, "stored", "coreml"),
    Bar("cnn", "w2+tune", 1.0, 14.0, "stored", "coreml"),
    Bar("depthwise", "w2+tune", 1.5),
    Bar("depthwise", "ternary+tune", 1.5),
    Bar("depthwise", "binary+tune", 2.5),
    Bar("cnn", "student:width50+tune", 1.0, beats=True),
    Bar("depthwise", "student:width50+tune", 3.0, beats=True),
    Bar("cnn", "channels50+tune+w8a8", 1.0, 10.0),
    Bar("cnn", "prune80+cluster16+tune+w8a8", 1.0, 10.0),
    Bar("series", "prune80+tune+w8a8", 1.0),
    Bar("transformer", "w4+tune", 1.0),
)
DATA = {"cnn": "mnist", "depthwise": "mnist", "series": "power", "transformer": "digits"}


@dataclass(frozen=True)
class Found:
    """One network of one seed under one recipe."""

    lost_points: float
    apart_points: float
    """Between the compressed network's own accuracy and that of the format that is farthest from it."""
    smaller: dict[str, dict[str, float]]
    """Measure → format → times smaller than fp32."""
    parameters: float
    macs: float
    samples: int
    """That it was evaluated on."""
    p50: dict[str, float] = field(default_factory=dict)
    """Format → p50 as a share of fp32's, measured in turns."""
    beaten_points: float | None = None
    """By how much it is better than with labels alone."""


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def network(name: str, seed: int, folder: Path) -> Path:
    """The trained network's `.pt2`."""
    file = folder / f"{name}-{seed}.pt2"
    if not file.exists():
        argv = [toolchain("torch").python, HERE / "train.py", "--network", name, "--data", samples(name, folder), "--out", file, "--seed", str(seed)]
        subprocess.run(argv, check=True, capture_output=True, env=environment())
    return file


def samples(name: str, folder: Path) -> Path:
    return data.write(DATA[name], folder / DATA[name])


def found(bar: Bar, seed: int, folder: Path, labelled: bool) -> Found:
    """Convert and read the figures."""
    made = read(bar.recipe, artifacts(edgekit("convert", bar, seed, folder, labelled, "--to", ",".join(FORMATS), "--recipe", f"fp32,{bar.recipe}")))
    if bar.p50 is not None:
        ran = edgekit("deploy", bar, seed, folder, labelled, "--target", "local", "--to", "tflite,onnx", "--recipe", f"fp32,{bar.recipe}", "--no-wait")
        made = replace(made, p50=ratios(bar.recipe, ran))
    if bar.beats and labelled:
        alone = folder / "on-labels.toml"
        alone.write_text(f'steps = "{bar.recipe}"\n[tune]\ntask = 1.0\nfeature = 0.0\n')
        rival = artifacts(edgekit("convert", bar, seed, folder, labelled, "--to", "onnx", "--recipe", str(alone)))["on-labels", "onnx"]["accuracy"]
        made = replace(made, beaten_points=100 * (rival["baseline"] - rival["value"]) - made.lost_points)
    return made


def edgekit(verb: str, bar: Bar, seed: int, folder: Path, labelled: bool, *more: str, again: int = 60) -> dict[str, Any]:
    """What a command says in JSON; a device that another edgekit has is asked for again so many times."""
    where = samples(bar.network, folder)
    training = where / ("train.npz" if labelled else "unlabelled.npz")
    argv: list[str | Path] = [EDGEKIT, verb, network(bar.network, seed, folder), *more, "--train", training, "--data", where / "test.npz", "--json"]
    argv += ["-o", folder / "files"] if verb == "convert" else []
    argv += ["--seed", str(seed)] if "+" in bar.recipe else []
    done = subprocess.run(argv, capture_output=True, text=True, env=environment())
    if done.returncode == DEVICE_LOST_OR_IN_USE and again:
        time.sleep(ASK_AGAIN_S)
        return edgekit(verb, bar, seed, folder, labelled, *more, again=again - 1)
    if done.returncode != 0:
        sys.exit(f"{bar.network} {bar.recipe}, seed {seed}: {done.stdout or done.stderr}")
    return dict(json.loads(done.stdout))


def artifacts(said: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(artifact["recipe"], artifact["format"]): artifact for artifact in said["artifacts"]}


def read(recipe: str, by: dict[tuple[str, str], dict[str, Any]]) -> Found:
    plain, made = ({fmt: by[name, fmt] for fmt in FORMATS} for name in ("fp32", recipe))
    accuracies = [made[fmt]["accuracy"]["value"] for fmt in FORMATS]
    network = made["onnx"]["accuracy"].get("network")
    own = made["onnx"]["accuracy"]["baseline"] if network is None else network
    compression = made["onnx"]["compression"]
    share = {figure: compression["after"][figure] / compression["before"][figure] if compression else 1.0 for figure in ("parameters", "macs")}
    return Found(
        lost_points=100 * (made["onnx"]["accuracy"]["baseline"] - mean(accuracies)),
        apart_points=100 * max(abs(accuracy - own) for accuracy in accuracies),
        smaller={measure: {fmt: plain[fmt][key] / made[fmt][key] for fmt in FORMATS} for measure, key in SIZES.items()},
        **share,
        samples=made["onnx"]["accuracy"]["n"],
    )


def ratios(recipe: str, ran: dict[str, Any]) -> dict[str, float]:
    """Format → p50 as a share of fp32's."""
    p50 = {(variant["recipe"], variant["format"]): variant["latency_ns"]["p50"] for variant in ran["variants"]}
    return {fmt: p50[recipe, fmt] / p50["fp32", fmt] for fmt in ("tflite", "onnx")}


def judged(bar: Bar, runs: Sequence[Found], labelled: bool) -> tuple[list[str], bool]:
    """A row of the table, and whether the bar is met."""
    lost, most = [run.lost_points for run in runs], bar.lost_points + (0 if labelled else WITHOUT_LABELS_POINTS)
    sizes = {fmt: mean(run.smaller[bar.measure][fmt] for run in runs) for fmt in FORMATS}
    best = bar.format or max(sizes, key=lambda fmt: sizes[fmt])
    parameters, macs = mean(run.parameters for run in runs), mean(run.macs for run in runs)
    near = max(run.apart_points for run in runs)
    alike = near <= max(NEAR_POINTS, 100 / runs[0].samples) + ROUNDING
    met = alike and mean(lost) <= most + ROUNDING and sizes[best] >= bar.smaller and parameters <= bar.parameters and macs <= bar.macs
    more = []
    if bar.p50 is not None:
        shares = {fmt: mean(run.p50[fmt] for run in runs) for fmt in runs[0].p50}
        met = met and max(shares.values()) <= bar.p50
        more.append("p50 " + ", ".join(f"{share:.2f} × ({fmt})" for fmt, share in shares.items()) + f", ≤ {bar.p50:g}")
    beaten = [run.beaten_points for run in runs if run.beaten_points is not None]
    if beaten:
        met = met and mean(beaten) > 0
        more.append(f"{mean(beaten):+.2f} [{min(beaten):+.2f}, {max(beaten):+.2f}] points against labels alone, > 0")
    size = f"{sizes[best]:.1f} × {bar.measure}, {best}" + (f" (≥ {bar.smaller:g})" if bar.smaller else "")
    row = [bar.network, bar.recipe, f"{mean(lost):+.2f} [{min(lost):+.2f}, {max(lost):+.2f}]", f"≤ {most:g}", size]
    return [*row, f"{parameters:.2f}", f"{macs:.2f}", f"{near:.2f}", "; ".join(["met" if met else "missed", *more])], met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose `network recipe` holds this text")
    parser.add_argument("--unlabelled", action="store_true", help="tune without labels, taught by the network itself")
    parser.add_argument("--out", type=Path, default=Path("compression"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    heads = ["network", "recipe", "points lost", "bar", "smaller", "parameters", "MACs", "files differ", ""]
    rows, kept = [], []
    for bar in BARS:
        if args.only not in f"{bar.network} {bar.recipe}":
            continue
        runs = [found(bar, seed, args.out, labelled=not args.unlabelled) for seed in range(args.seeds)]
        row, met = judged(bar, runs, not args.unlabelled)
        rows.append(row)
        kept.append({"network": bar.network, "recipe": bar.recipe, "met": met, "runs": [asdict(run) for run in runs]})
        print("  ".join(row), file=sys.stderr, flush=True)
    table = Table(*heads, box=None)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    lines = ["| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows)]
    name = "unlabelled" if args.unlabelled else "table"
    (args.out / f"{name}.md").write_text("\n".join(lines) + "\n")
    (args.out / f"{name}.json").write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
