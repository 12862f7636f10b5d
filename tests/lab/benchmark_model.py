"""A stand-in for LiteRT's `benchmark_model`: reads its flags, really computes, writes the outputs as it does, prints what it prints.

Written from the tool's sources (see `edgekit/facts/benchmark_model.py`); no genuine copy was at hand. `--graph` is a .tflite file,
which LiteRT's interpreter runs (then this needs the convert toolchain's Python), or a .npy of weights: output = input @ weights.
`--lie=NAME`, first of all, makes it do one thing wrong.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

RUNS = {"graph", "num_threads", "num_runs", "min_secs", "max_secs", "warmup_runs", "warmup_min_secs"}
TENSORS = {"input_layer", "input_layer_shape", "input_layer_value_files", "output_filepath"}
KNOWN = {*RUNS, *TENSORS, "use_xnnpack", "use_gpu", "enable_op_profiling", "report_peak_memory_footprint"}
NOT_KNOWN_TO = {"old": {"output_filepath"}, "compiled": TENSORS}
COLUMNS = f"\t{'[node type]':>40}\t{'[first]':>9}\t{'[avg ms]':>9}\t{'[%]':>8}\t{'[cdf%]':>8}\t{'[mem KB]':>10}\t[times called]\t[Name]"


def main(argv: list[str]) -> int:
    lie = argv.pop(0).removeprefix("--lie=") if argv and argv[0].startswith("--lie=") else ""
    say("STARTING!")
    flags = dict(one.removeprefix("--").split("=", 1) for one in argv)
    unknown = set(flags) - KNOWN | set(flags) & NOT_KNOWN_TO.get(lie, set())
    if unknown:
        say(f"Unconsumed cmdline flags: {' '.join(f'--{name}={flags.pop(name)}' for name in sorted(unknown))}", "WARN")
    if lie == "hang":
        time.sleep(600)
    if lie == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if lie == "op":
        return fail("Encountered unresolved custom op: Convolution2DTransposeBias.")
    if lie == "no gpu" and "use_gpu" in flags:
        return fail("Failed to apply GPU delegate.")
    started = time.perf_counter()
    graph = Graph(Path(flags["graph"]))
    say(f"Loaded model {flags['graph']}")
    delegates(flags, lie)
    init_us = round(1e6 * (time.perf_counter() - started))
    say(f"Initialized session in {init_us / 1000:.6g}ms.")
    if lie != "compiled":
        fault = graph.feed(flags)
        if fault:
            return fail(fault)
    warm_up = phase(graph, int(flags.get("warmup_runs", 1)), float(flags.get("warmup_min_secs", 0.5)), lie)
    runs = phase(graph, int(flags.get("num_runs", 50)), float(flags.get("min_secs", 1)), lie)
    tell(init_us, warm_up, runs, flags)
    if "output_filepath" in flags and not (lie == "forgets" and "report_peak_memory_footprint" in flags):
        content = b"".join(one.tobytes() for one in graph.outputs)
        with open(flags["output_filepath"], "wb") as file:
            file.write(content[:-4] if lie == "short" else bytes(len(content)) if lie == "zeros" else content)
    return 0


class Graph:
    """What computes: `inputs` in the file's order in, `outputs` in the file's order out."""

    def __init__(self, path: Path) -> None:
        self.weights, self.interpreter = None, None
        if path.suffix == ".npy":
            self.weights = np.load(path)
            return
        from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-not-found, unused-ignore]

        self.interpreter = Interpreter(model_path=str(path))
        self.interpreter.allocate_tensors()

    def details(self) -> list[dict[str, Any]]:
        if self.interpreter is None:
            assert self.weights is not None
            return [{"dtype": np.float32, "shape": (1, len(self.weights)), "index": 0}]
        return list(self.interpreter.get_input_details())

    def feed(self, flags: dict[str, str]) -> str | None:
        """Read the files of values as the tool does; gives what is wrong with them."""
        names, files = flags["input_layer"].split(","), dict(one.split(":") for one in flags["input_layer_value_files"].split(","))
        self.inputs = []
        if len(names) != len(self.details()):
            return f"Inputs mismatch: Model inputs #:{len(names)} expected: {len(self.details())}"
        for name, detail in zip(names, self.details(), strict=True):
            content, wanted = Path(files[name]).read_bytes(), int(np.dtype(detail["dtype"]).itemsize * np.prod(detail["shape"]))
            if len(content) != wanted:
                return f"The size of {files[name]} is {len(content)} bytes. It should be {wanted} bytes."
            self.inputs.append(np.frombuffer(content, detail["dtype"]).reshape(detail["shape"]))
        return None

    def run(self) -> None:
        if self.interpreter is None:
            self.outputs = [one @ self.weights for one in getattr(self, "inputs", [])]
            return
        for detail, value in zip(self.details(), self.inputs, strict=True):
            self.interpreter.set_tensor(detail["index"], value)
        self.interpreter.invoke()
        self.outputs = [self.interpreter.get_tensor(detail["index"]) for detail in self.interpreter.get_output_details()]


def phase(graph: Graph, runs: int, seconds: float, lie: str) -> list[int]:
    """Run and tell as `BenchmarkModel::Run` does; the times in µs."""
    say(f"Running benchmark for at least {runs} iterations and at least {seconds:g} seconds but terminate if exceeding 150 seconds.")
    times: list[int] = []
    began = time.perf_counter()
    while len(times) < runs or time.perf_counter() - began < seconds:
        start = time.perf_counter_ns()
        graph.run()
        times.append(max((time.perf_counter_ns() - start) // 1000, 1))
        if lie == "state" and len(times) > 1:
            graph.outputs = [one + 0.5 for one in graph.outputs]
    told = counts(times)
    say((told.replace("min=", "min=9") if lie == "garbled" else told) + "\n")
    return times


def delegates(flags: dict[str, str], lie: str) -> None:
    if flags.get("use_xnnpack") != "false":
        say("Created TensorFlow Lite XNNPACK delegate for CPU.")
        say("Replacing 3 out of 4 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions for subgraph 0.", "VERBOSE")
        if "use_xnnpack" in flags:
            say("Explicitly applied XNNPACK delegate, and the model graph will be partially executed by the delegate w/ 1 delegate kernels.")
    if flags.get("use_gpu") == "true" and lie != "silent":
        took = "Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate."
        say(took if lie == "untaken" else "Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.")


def tell(init_us: int, warm_up: list[int], runs: list[int], flags: dict[str, str]) -> None:
    mean = sum(warm_up) / len(warm_up) if warm_up else 0
    timings = f"Init: {init_us}, First inference: {warm_up[0] if warm_up else 0}, Warmup (avg): {mean:.6g}, Inference (avg): {sum(runs) / len(runs):.6g}"
    say(f"Inference timings in us: {timings}")
    say("Memory footprint delta from the start of the tool (MB): init=1.5 overall=2.25")
    if flags.get("report_peak_memory_footprint") == "true":
        say("Overall peak memory footprint (MB) via periodic monitoring: 12.5")
    if flags.get("enable_op_profiling") == "true":
        say("Operator-wise Profiling Info for Regular Benchmark Runs:")
        print(f"{'=' * 30} Run Order {'=' * 30}\n{COLUMNS}")
        kernel = ("Fully Connected (NC, F32) GEMM", 87.5, 87.5, "Delegate/Fully Connected (NC, F32) GEMM:0")
        op = ("FULLY_CONNECTED", 87.5, 87.5, "[product]:2")
        rows = [op if flags.get("use_xnnpack") == "false" else kernel, ("RESHAPE", 12.5, 100.0, "[scores]:3")]
        for kind, share, reached, name in rows:
            print(f"\t{kind:>40}\t{0.4:9.3f}\t{0.4:9.3f}\t{share:7.3f}%\t{reached:7.3f}%\t{0:10.3f}\t{1:9}\t{name}")
        print(f"\nNumber of nodes executed: {len(rows)}\n", flush=True)


def counts(times: list[int]) -> str:
    """As `StatWithPercentiles::OutputToStream`."""
    if not times:
        return "count=0 p5=0 median=0 p95=0"
    ordered = sorted(times)
    p5, p50, p95 = (ordered[len(times) * share // 100] for share in (5, 50, 95))
    tail = f" p5={p5} median={p50} p95={p95}"
    if ordered[0] == ordered[-1]:
        return f"count={len(times)} curr={times[-1]}{'(all same)' if len(times) > 1 else ''}{tail}"
    figures = f"min={ordered[0]} max={ordered[-1]} avg={sum(times) / len(times):.6g} std={int(np.std(times))}"
    return f"count={len(times)} first={times[0]} curr={times[-1]} {figures}{tail}"


def say(text: str, level: str = "INFO") -> None:
    print(f"{level}: {text}", file=sys.stderr, flush=True)


def fail(reason: str) -> int:
    say(reason, "ERROR")
    say("Benchmarking failed.", "ERROR")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
