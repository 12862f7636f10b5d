"""Families and sources in, what becomes of each in each format out: every cell verified, refused, wrong or crashed.

The way of `edgekit convert` with its own workers and routes; but all jobs of one step run in one process of their toolchain, each in a
child (`batch`), so that packages load once and not a thousand times.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit.toolchains.catalog import HERE, toolchain
from edgekit.verify import VerifyResult, wrong
from edgekit.write import coreml, onnx, tflite
from edgekit.write.format import Format
from edgekit.write.routes import Route, routes_for
from tests.lab.families.table import FORMATS, NO_MODEL
from tests.lab.networks import ROOT, made

FOLDER = Path(__file__).parent
FORMAT: Mapping[str, Format] = {"tflite": tflite.FORMAT, "coreml": coreml.FORMAT, "onnx": onnx.FORMAT}
READERS = {  # source → toolchain, verb that reads, verb that runs the model itself
    "onnx": ("convert", None, "reference_onnx"),
    "keras": ("tensorflow", "read", "reference"),
    "savedmodel": ("tensorflow", "read", "reference"),
    "pt2": ("torch", "read", "reference"),
    "tflite": ("convert", "read_tflite", "reference_tflite"),
}


@dataclass(slots=True)
class Cell:
    """`verified` (with its error relative to the output's range), `refused`, `wrong`, `crashed` or `none` (no such model)."""

    outcome: str
    words: str = ""
    error: float | None = None
    route: str = ""


@dataclass(slots=True)
class Case:
    """One family from one source on its way."""

    family: str
    source: str
    path: Path
    hub: Path | None = None
    raw: Path | None = None
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    samples: Path | None = None
    reference: Path | None = None
    cells: dict[str, Cell] = field(default_factory=dict)
    left: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Format → outcome and words of the routes that gave no file."""

    @property
    def options(self) -> dict[str, Any]:
        return {"inputs": self.inputs, "outputs": self.outputs}


def run_all(pairs: Sequence[tuple[str, str]], work: Path) -> list[Case]:
    """Every (family, source) in all formats; files go below `work`, which is empty."""
    return convert([Case(family, source, path) for (family, source), path in models(pairs).items()], work)


def convert(cases: list[Case], work: Path, formats: Sequence[str] = tuple(FORMATS)) -> list[Case]:
    """The cases with their cells decided."""
    step = Steps(work, formats)
    step("read", [case for case in cases if READERS[case.source][1]], reading)
    for case in cases:
        case.raw = case.raw or case.path
    step("hub", step.open(cases), lambda case: ("convert", "read_onnx", {"model": case.raw}, {"shapes": {}}))
    step("samples", step.open(cases), lambda case: ("convert", "samples", {"hub": case.hub}, {**case.options, "need_calibration": False, "max_evaluation": 4}))
    step("reference", step.open(cases), referring)
    for turn in range(3):
        step.write(step.open(cases), turn)
    return cases


def models(pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Path]:
    """(family, source) → the model's file, made by its framework; pairs without a model are left out."""
    wanted = [pair for pair in pairs if (pair[1], pair[0]) not in NO_MODEL]

    def families(*sources: str) -> list[str]:
        return sorted({family for family, source in wanted if source in sources})

    found: dict[tuple[str, str], Path] = {}
    scripts = {"onnx": ("onnx_models.py", "convert", "onnx"), "keras": ("keras_models.py", "tensorflow", ""), "pt2": ("torch_models.py", "torch", "pt2")}
    of = {"onnx": "onnx", "keras": "keras", "savedmodel": "keras", "tflite": "keras", "pt2": "pt2"}
    folders = {}
    for key, (script, home, _) in scripts.items():
        names = families(*(source for source, maker in of.items() if maker == key))
        if names:
            folders[key] = made(FOLDER / script, home, ".", *names)
    for family, source in wanted:
        found[family, source] = folders[of[source]] / f"{family}.{source}"
    return found


def reading(case: Case) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    home, verb, _ = READERS[case.source]
    return home, str(verb), {"model": case.path}, {"shapes": {}}


def referring(case: Case) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    home, _, verb = READERS[case.source]
    return home, verb, {"model": case.path, "samples": case.samples}, case.options


@dataclass(slots=True)
class Steps:
    """Runs one step for many cases, and puts what it gives into them."""

    work: Path
    formats: Sequence[str]
    count: int = 0

    def open(self, cases: Sequence[Case]) -> list[Case]:
        """Those with a format that is not decided."""
        return [case for case in cases if any(name not in case.cells for name in self.formats)]

    def __call__(self, name: str, cases: Sequence[Case], ask: Any) -> None:
        results = self.batch([ask(case) for case in cases])
        for case, (result, out) in zip(cases, results, strict=True):
            if "refused" in result or "crashed" in result:
                outcome = "refused" if "refused" in result else "crashed"
                case.cells |= {name: Cell(outcome, result[outcome]) for name in self.formats}
            elif name == "read":
                case.raw = out / "raw.onnx"
            elif name == "hub":
                case.hub, case.inputs, case.outputs = out / "hub.onnx", result["inputs"], result["outputs"]
            elif name == "samples":
                case.samples = out / "evaluation"
            else:
                case.reference = out

    def write(self, cases: Sequence[Case], turn: int) -> None:
        """The formats that are not decided, each by its route of that turn; then their verification."""
        asked: list[tuple[Case, str, Route, bool]] = []
        for case in cases:
            for name in self.formats:
                fmt = FORMAT[name]
                ways = [way for way in routes_for(case.source, fmt) if (HERE / way.toolchain / f"{way.verb}.py").exists()]
                if name not in case.cells and turn < len(ways):
                    asked.append((case, name, ways[turn], turn + 1 == len(ways)))
        written = self.batch([writing(case, FORMAT[name], route) for case, name, route, _ in asked])
        there = [(item, result, out) for item, (result, out) in zip(asked, written, strict=True) if not {"refused", "crashed"} & set(result)]
        for (case, name, route, last), (result, _) in zip(asked, written, strict=True):
            for outcome in {"refused", "crashed"} & set(result):
                settle(case, name, Cell(outcome, result[outcome]), last, route)
        checked = self.batch([verifying(case, FORMAT[name], out) for (case, name, _, _), _, out in there])
        for ((case, name, route, last), _, _), (result, _) in zip(there, checked, strict=True):
            if "refused" in result or "crashed" in result:
                settle(case, name, Cell("wrong", str(result.get("refused") or result.get("crashed"))), last, route)
                continue
            found = VerifyResult.model_validate(result)
            words = wrong(found, "fp32")
            cell = Cell("verified", "", found.parity.max_rel, route.name) if words is None else Cell("wrong", words)
            if found.boundary is not None:  # said in words before anything is compared
                cell = Cell("refused", found.boundary)
            settle(case, name, cell, last, route)

    def batch(self, jobs: Sequence[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]]) -> list[tuple[dict[str, Any], Path]]:
        """Result and folder of each (toolchain, verb, inputs, options)."""
        described = []
        for home, verb, inputs, options in jobs:
            self.count += 1
            folder = self.work / str(self.count)
            described.append({
                "home": home, "verb": str(HERE / home / f"{verb}.py"), "inputs": {key: str(path) for key, path in inputs.items()},
                "options": options, "folder": str(folder),
            })  # fmt: skip
        running = [self.start(home, [job for job in described if job["home"] == home]) for home in dict.fromkeys(str(job["home"]) for job in described)]
        for process in running:
            _, log = process.communicate(timeout=3600)
            if process.returncode != 0:
                raise RuntimeError(f"a batch failed: {log.decode(errors='replace')[-2000:]}")
        return [(json.loads((Path(str(job["folder"])) / "result.json").read_text()), Path(str(job["folder"])) / "out") for job in described]

    def start(self, home: str, jobs: Sequence[Mapping[str, Any]]) -> subprocess.Popen[bytes]:
        """The jobs of one toolchain, under way."""
        listed = self.work / f"jobs{self.count}-{home}.json"
        listed.write_text(json.dumps(jobs))
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
        argv = [toolchain(home).python, "-m", "tests.lab.families.batch", listed]
        return subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def writing(case: Case, fmt: Format, route: Route) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    options: dict[str, Any] = dict(fmt.recipes["fp32"].write_options)
    inputs: dict[str, Any] = {"hub": case.hub}
    if route.native:
        inputs["model"] = case.path
        options["shapes"] = {spec["name"]: spec["shape"] for spec in case.inputs}
    return route.toolchain, str(route.verb), inputs, options


def verifying(case: Case, fmt: Format, out: Path) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    inputs = {"artifact": out / f"model{fmt.suffix}", "samples": case.samples, "reference": case.reference, "hub": case.hub}
    return fmt.toolchain, "verify", inputs, {"format": fmt.name, "recipe": "fp32", "dtypes": dict(fmt.dtypes), **case.options}


GRAVITY = ("refused", "crashed", "wrong")


def settle(case: Case, name: str, cell: Cell, last: bool, route: Route) -> None:
    """Decide a cell: verified at once, else when no route is left, by the gravest that a route came to, in the words of all."""
    left = case.left.setdefault(name, [])
    if cell.outcome == "verified":
        case.cells[name] = cell
        return
    left.append((cell.outcome, f"{route.name}: {cell.words}" if left else cell.words))
    if last:
        gravest = max((outcome for outcome, _ in left), key=GRAVITY.index)
        case.cells[name] = Cell(gravest, "; tried next: ".join(words for _, words in left))


if __name__ == "__main__":
    import tempfile

    from tests.lab.families.table import FAMILIES, SOURCES

    families = [name for name in sys.argv[1].split(",") if name] if len(sys.argv) > 1 else list(FAMILIES)
    sources = sys.argv[2].split(",") if len(sys.argv) > 2 else list(SOURCES)
    with tempfile.TemporaryDirectory() as scratch:
        for case in run_all([(family or "", source) for family in families or FAMILIES for source in sources], Path(scratch)):
            for name, cell in case.cells.items():
                error = "" if cell.error is None else f"{cell.error:.1e}"
                print(f"{case.family:15} {case.source:10} {name:7} {cell.outcome:9} {error:8} {cell.route} {cell.words[-400:]}")
