"""ONNX's backend suite and a format in; of each case whether what `edgekit convert` writes is right, refused or wrong out.

    $CONVERT_PY -m tests.lab.backend_suite --to tflite [--only PATTERN]… [--bare] [--jobs 2] [--json FILE] [--verbose]

Runs in the convert toolchain's Python. Each case goes the way of `edgekit convert` in a process of its own: read_onnx, the format's
writer, the runner of its format. The outputs are held against the suite's own expected values with the suite's tolerance, not against
edgekit's verification: three calls through one session, with other values in the second. A case is

- right: every output has the suite's name, order, dtype, shape and values, in the first call and in the third;
- refused: reading or writing ended in words;
- wrong: a file was written, and it is not right, or something crashed or hung. `caught` says that verification would have held it back.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import json
import os
import pickle
import random
import re
import select
import signal
import sys
import tempfile
import time
import traceback
import types
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx

REPOSITORY = Path(__file__).parent.parent.parent
DEADLINE_S = 60
COREML = dict.fromkeys(("int8", "int16", "int64", "uint8", "uint16", "uint32", "uint64"), "int32") | {"bool": "float32", "float64": "float32"}
"""What a Core ML package has at its boundary for dtypes that Core ML lacks."""
HALF_RTOL = 2e-3
"""Two units in the last place of float16: less than one, which the suite allows, tells the order of additions and no more."""
SUFFIX = {"tflite": "tflite", "coreml": "mlpackage", "onnx": "onnx"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a case: `right`, `refused` or `wrong`, with the words of the refusal or what is wrong."""

    case: str
    op: str
    verdict: str
    words: str = ""
    caught: bool = False


class Refused(Exception):
    """A worker's `job.refuse`."""


@dataclass
class Job:
    """What a worker gets, without a supervisor."""

    inputs: dict[str, Path]
    options: dict[str, Any]
    out: Path

    def progress(self, text: str, fraction: float | None = None) -> None: ...

    def refuse(self, message: str, *, kind: str = "convert", op: str | None = None, node: str | None = None) -> NoReturn:
        raise Refused(message)


def be_a_worker() -> None:
    """Import as toolchains/worker.py lets a verb: edgekit.hub without the rest of edgekit, and the toolchain's own folder by bare names."""
    package = types.ModuleType("edgekit")
    package.__path__ = [str(REPOSITORY / "edgekit")]
    sys.modules["edgekit"] = package
    sys.path.append(str(REPOSITORY / "edgekit/toolchains/convert"))


def worker(verb: str) -> Any:
    return importlib.import_module(f"edgekit.toolchains.convert.{verb}")


def convert(case: Any, format_: str, folder: Path) -> Path:
    """The file that `edgekit convert` writes of a case.

    Raises:
        Refused: with the words of the reader or the writer.
    """
    onnx.save(case.model, folder / "model.onnx")
    for out in ("read", "write"):
        (folder / out).mkdir()
    worker("read_onnx").run(Job({"model": folder / "model.onnx"}, {"shapes": {}}, folder / "read"))
    worker(f"write_{format_}").run(Job({"hub": folder / "read/hub.onnx"}, {"precision": "fp32"}, folder / "write"))
    return folder / f"write/model.{SUFFIX[format_]}"


def convert_bare(case: Any, format_: str, folder: Path) -> Path:
    """The file that the writer makes of a case by itself, with its own defaults (Core ML in float32)."""
    path = folder / "model.onnx"
    onnx.save(case.model, path)
    try:
        if format_ == "tflite":
            from onnx2tf import convert as onnx2tf

            onnx2tf(input_onnx_file_path=str(path), output_folder_path=str(folder / "out"), non_verbose=True)
            return next((folder / "out").glob("*_float32.tflite"))
        from onnx2coreml import convert as onnx2coreml

        onnx2coreml(str(path), compute_precision="fp32").save(str(folder / "model.mlpackage"))
        return folder / "model.mlpackage"
    except (Exception, SystemExit) as exc:
        raise Refused(f"{type(exc).__name__}: {str(exc)[:200]}") from exc


def compare(case: Any, outputs: Sequence[Any], format_: str) -> str | None:
    """What is not as the suite expects it, or None: the rules of onnx.backend.test.runner."""
    if len(outputs) != len(case.outputs):
        return f"{len(outputs)} outputs for {len(case.outputs)}"
    narrowed = COREML if format_ == "coreml" else {}
    for index, (found, expected) in enumerate(zip(outputs, case.outputs, strict=True)):
        if found.shape != expected.shape:
            return f"output {index} has the shape {list(found.shape)} for {list(expected.shape)}"
        dtype = narrowed.get(expected.dtype.name, expected.dtype.name)
        if found.dtype.name != dtype:
            return f"output {index} is {found.dtype} for {dtype}"
        if dtype == "float32" and expected.dtype == np.float64:  # a boundary of float32 says so, and ends where float32 does
            with np.errstate(over="ignore"):
                expected = expected.astype(np.float32)
        if not np.allclose(
            found.astype(expected.dtype), expected, rtol=max(case.rtol, HALF_RTOL if expected.dtype == np.float16 else 0), atol=case.atol, equal_nan=True
        ):
            with np.errstate(all="ignore"):
                error = np.nanmax(np.abs(found.astype(np.float64) - expected.astype(np.float64)), initial=0)
            return f"output {index} is off by {error:.3g}"
    return None


def others(inputs: Sequence[Any]) -> list[Any]:
    """Other values for floats, so that a state that is kept between calls shows; integers may be indices and stay."""
    return [(-0.5 * array).astype(array.dtype) if array.dtype.kind == "f" else array for array in inputs]


def judge(case: Any, format_: str, *, bare: bool = False) -> Verdict:
    """Convert and run one case, in this process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            file = (convert_bare if bare else convert)(case, format_, folder)
        except Refused as exc:
            return Verdict(case.name, case.op, "refused", str(exc))
        runners = worker("runtime.runners")
        try:
            runner = runners.open_runner(file, format_)
            order = [] if bare else [value.name for value in case.model.graph.input]
            names = [one["name"] for one in runner.inputs]
            if not bare and names != order:
                return Verdict(case.name, case.op, "wrong", f"inputs are {names} for {order}")
            feeds = [array.astype(one["dtype"]) for array, one in zip(case.inputs, runner.inputs, strict=True)]
            if bare:
                feeds = [as_asked(array, one["shape"]) for array, one in zip(feeds, runner.inputs, strict=True)]
                found = runner.run(feeds)
                turned = [as_asked(array, list(expected.shape)) for array, expected in zip(found, case.outputs, strict=False)]
                problem = compare(case, found, format_) and compare(case, turned, format_)
            else:
                first = compare(case, runner.run(feeds), format_)
                runner.run(others(feeds))
                problem = first or compare(case, runner.run(feeds), format_)
        except (runners.CannotRunError, ValueError) as exc:
            if format_ == "onnx" and isinstance(exc, runners.CannotRunError):  # which runs the source model too, and refuses it there in the same words
                return Verdict(case.name, case.op, "refused", f"the model does not run in ONNX Runtime: {reason(str(exc))}")
            return Verdict(case.name, case.op, "wrong", f"does not run: {str(exc)[:300]}", caught=True)
        if problem is None:
            return Verdict(case.name, case.op, "right")
        return Verdict(case.name, case.op, "wrong", problem, caught=not bare and caught(case, folder, runner))


def reason(words: str) -> str:
    """ONNX Runtime's words without the names of the case's nodes."""
    found = re.search(r"Could not find an implementation for \w+\(\d+\)|No Op registered for \w+|[^:]*opset[^:.]*", words)
    return found.group(0).strip() if found else "it does not have this form of the operator, so export the model with an older opset"


def as_asked(array: Any, shape: list[int]) -> Any:
    """A tensor in the layout that a writer alone has chosen for it: channels last for first, or first for last."""
    rank = array.ndim
    for order in ((0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))) if rank > 2 and list(array.shape) != shape else ():
        if [array.shape[axis] for axis in order] == shape:
            return np.ascontiguousarray(array.transpose(order))
    return array


def caught(case: Any, folder: Path, runner: Any) -> bool:
    """Whether verification against ONNX Runtime holds a wrong file back, on the suite's inputs and on others."""
    parity, bounds = importlib.import_module("edgekit.hub.parity"), importlib.import_module("edgekit.hub.bounds")
    runners = worker("runtime.runners")
    try:
        source = runners.open_runner(folder / "model.onnx", "onnx")
        for index, feeds in enumerate((case.inputs, others(case.inputs))):
            for side, values in (("reference", source.run(list(feeds))), ("outputs", runner.run(list(feeds)))):
                (folder / f"{side}{index}").mkdir()
                for position, array in enumerate(values):
                    np.save(folder / f"{side}{index}/{position}.npy", np.ascontiguousarray(array)[None])
            figures = parity.compare(folder / f"reference{index}", folder / f"outputs{index}", len(case.outputs))
            if bounds.judge(figures, "fp32"):
                return True
    except (runners.CannotRunError, parity.NothingToCompareError, ValueError):
        return True
    return False


def run_all(cases: Sequence[Any], format_: str, *, bare: bool = False, jobs: int = 1) -> Iterator[Verdict]:
    """The verdicts, in the order of the cases: each from a child process of its own, so that a crash or a hang is one too."""
    running: dict[int, tuple[int, int, float]] = {}
    waiting, done, shown = list(enumerate(cases)), {}, 0
    while waiting or running:
        while waiting and len(running) < jobs:
            index, case = waiting.pop(0)
            pipe, pid = child(case, format_, bare)
            running[pipe] = (index, pid, time.monotonic())
        ready, _, _ = select.select(list(running), [], [], 1.0)
        late = [pipe for pipe, (_, _, start) in running.items() if time.monotonic() - start > DEADLINE_S and pipe not in ready]
        for pipe in [*ready, *late]:
            index, pid, _ = running.pop(pipe)
            case = cases[index]
            if pipe in late:
                os.kill(pid, signal.SIGKILL)
            with os.fdopen(pipe, "rb") as stream:
                data = b"" if pipe in late else stream.read()
            _, status = os.waitpid(pid, 0)
            lost = f"no answer in {DEADLINE_S} s" if pipe in late else f"ended with status {os.waitstatus_to_exitcode(status)}"
            done[index] = pickle.loads(data) if data else Verdict(case.name, case.op, "wrong", lost, caught=True)
        while shown in done:
            yield done.pop(shown)
            shown += 1


def child(case: Any, format_: str, bare: bool) -> tuple[int, int]:
    """Judge a case in a forked process; the reading end of its answer, and its process id."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return read, pid
    os.close(read)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    try:
        verdict = judge(case, format_, bare=bare)
    except BaseException as exc:  # noqa: BLE001  any exception that is no refusal is a fault of edgekit, and the case's verdict
        where = traceback.extract_tb(exc.__traceback__)[-1]
        words = f"{type(exc).__name__}: {str(exc)[:300]} ({Path(where.filename).name}:{where.lineno})"
        verdict = Verdict(case.name, case.op, "wrong", words, caught=True)
    with os.fdopen(write, "wb") as stream:
        pickle.dump(verdict, stream)
    os._exit(0)


def chosen(cases: Sequence[Any], patterns: Sequence[str]) -> list[Any]:
    """Cases whose name or operator matches one of the patterns; all without any."""
    return [case for case in cases if not patterns or any(fnmatch.fnmatch(case.name, p) or case.op == p for p in patterns)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", required=True, choices=SUFFIX)
    parser.add_argument("--only", action="append", default=[], help="a pattern of case names, or an operator")
    parser.add_argument("--bare", action="store_true", help="the writer alone")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--again", type=Path, help="an earlier --json: only what was not right there")
    parser.add_argument("--sample", type=int, help="so many cases, chosen by a fixed seed")
    parser.add_argument("--verbose", action="store_true", help="right cases too")
    given = parser.parse_args()
    be_a_worker()
    from tests.lab.backend_cases import collect

    cases, left_out = collect()
    worker("read_onnx")
    worker("runtime.runners").load_runtime(given.to)
    worker(f"write_{given.to}")
    if given.again:
        told = json.loads(given.again.read_text())["verdicts"]
        names = {one["case"] for one in told if one["verdict"] == "right"}
        cases = [case for case in cases if case.name not in names]
    if given.sample:
        cases = random.Random(4).sample(cases, given.sample)
    verdicts = []
    for verdict in run_all(chosen(cases, given.only), given.to, bare=given.bare, jobs=given.jobs):
        verdicts.append(verdict)
        if given.verbose or verdict.verdict != "right":
            mark = " (caught)" if verdict.caught else ""
            print(f"{verdict.verdict}{mark}\t{verdict.op}\t{verdict.case}\t{verdict.words}", flush=True)
    count = Counter(verdict.verdict for verdict in verdicts)
    missed = sum(verdict.verdict == "wrong" and not verdict.caught for verdict in verdicts)
    print(f"{given.to}: of {len(verdicts)} right {count['right']}, refused {count['refused']}, wrong {count['wrong']} ({missed} not caught by verification)")
    print("left out: " + ", ".join(f"{n} {reason}" for reason, n in left_out.most_common()))
    if given.json:
        given.json.write_text(json.dumps({"verdicts": [asdict(one) for one in verdicts], "left_out": dict(left_out)}, indent=1))


if __name__ == "__main__":
    main()
