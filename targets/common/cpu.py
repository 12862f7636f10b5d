"""A deployable file in, its runtime with the file loaded out: LiteRT or TensorFlow Lite for TFLite, ONNX Runtime for ONNX, all on the CPU.

A runtime is: `load` (what the load time is), `bind` (match tensors by name), `feed` (inputs), `invoke` (what is timed) and
`outputs` (of what `invoke` gave back). A platform's `runtimes.py` says which formats it runs, and with which of these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from refusal import Json, Refused, check


class TFLite:
    """LiteRT's interpreter, with the delegate that it applies by default (XNNPACK)."""

    name = "LiteRT"
    invoke: Callable[[], None]

    def __init__(self, delegate: str | None) -> None:
        only(self.name, delegate, "xnnpack")
        import ai_edge_litert
        from ai_edge_litert.interpreter import Interpreter

        self.version: str = ai_edge_litert.__version__
        self.interpreter_class = Interpreter

    def load(self, path: str, threads: int) -> None:
        self.interpreter = self.interpreter_class(model_path=path, num_threads=threads)
        self.interpreter.allocate_tensors()
        self.invoke = self.interpreter.invoke

    def bind(self, inputs: list[Json], outputs: list[Json]) -> None:
        """Match tensors by their names in the signature `serving_default`, or by their own where the file has none."""
        signatures = self.interpreter.get_signature_list()
        if signatures:
            runner = self.interpreter.get_signature_runner("serving_default" if "serving_default" in signatures else next(iter(signatures)))
            there, back = runner.get_input_details(), runner.get_output_details()
        else:
            there = {detail["name"]: detail for detail in self.interpreter.get_input_details()}
            back = {detail["name"]: detail for detail in self.interpreter.get_output_details()}
        check("input", inputs, {name: (detail["dtype"].__name__, detail["shape"].tolist()) for name, detail in there.items()})
        check("output", outputs, {name: (detail["dtype"].__name__, detail["shape"].tolist()) for name, detail in back.items()})
        self.into = [there[spec["name"]]["index"] for spec in inputs]
        self.out_of = [back[spec["name"]]["index"] for spec in outputs]

    def feed(self, arrays: list[Any]) -> None:
        for index, value in zip(self.into, arrays, strict=True):
            self.interpreter.set_tensor(index, value)

    def outputs(self, _: None) -> list[Any]:
        return [self.interpreter.get_tensor(index) for index in self.out_of]

    def delegation(self) -> Json:
        """The delegate, and which ops it left to the interpreter's own kernels.

        A delegate's nodes are appended to the ops they replace: what still runs is found backwards from the outputs, taking
        the delegate's node wherever one makes the tensor.
        """
        ops = self.interpreter._get_ops_details()
        maker = {tensor: op for op in ops for tensor in op["outputs"]}  # later wins: the delegate's nodes are last
        pending, running = [detail["index"] for detail in self.interpreter.get_output_details()], {}
        while pending:
            op = maker.get(pending.pop())
            if op is not None and op["index"] not in running:
                running[op["index"]] = op["op_name"]
                pending += [tensor for tensor in op["inputs"] if tensor >= 0]
        outside = Counter(name for name in running.values() if name != "DELEGATE")
        total = sum(op["op_name"] != "DELEGATE" for op in ops)
        ran = "XNNPACK" if len(ops) > total else "none"
        return {"asked": "XNNPACK", "ran": ran, "ops": total, "outside": dict(outside.most_common())}


class TensorFlowLite(TFLite):
    """What LiteRT was called before, for processors that it has no wheels for: 32-bit Arm, where it has no delegate built in."""

    name = "TensorFlow Lite"

    def __init__(self, delegate: str | None) -> None:
        only(self.name, delegate, "none")
        import tflite_runtime
        from tflite_runtime.interpreter import Interpreter

        self.version: str = tflite_runtime.__version__
        self.interpreter_class = Interpreter

    def delegation(self) -> Json:
        """Nothing was asked for; what there is no delegate for is not outside of one."""
        found = super().delegation()
        return {**found, "asked": "none"} | ({"outside": None} if found["ran"] == "none" else {})


class ONNX:
    """ONNX Runtime's session on the CPU: sequential, all graph optimisations, its default spinning of threads."""

    name = "ONNX Runtime"
    provider = "CPUExecutionProvider"
    invoke: Callable[[], list[Any]]

    def __init__(self, delegate: str | None) -> None:
        only(self.name, delegate, "cpu")
        import onnxruntime

        self.version: str = onnxruntime.__version__
        self.onnxruntime = onnxruntime
        onnxruntime.set_default_logger_severity(3)

    def load(self, path: str, threads: int) -> None:
        options = self.onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = self.onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        self.session = self.onnxruntime.InferenceSession(path, options, providers=[self.provider])

    def bind(self, inputs: list[Json], outputs: list[Json]) -> None:
        check("input", inputs, {one.name: (dtype_of(one.type), one.shape) for one in self.session.get_inputs()})
        check("output", outputs, {one.name: (dtype_of(one.type), one.shape) for one in self.session.get_outputs()})
        self.into = [spec["name"] for spec in inputs]
        self.out_of = [spec["name"] for spec in outputs]

    def feed(self, arrays: list[Any]) -> None:
        self.invoke = partial(self.session.run, self.out_of, dict(zip(self.into, arrays, strict=True)))

    def outputs(self, returned: list[Any]) -> list[Any]:
        return returned

    def delegation(self) -> Json:
        """ONNX Runtime has every op run by the one provider that it was given; how many there are after its optimisations it does not tell."""
        return {"asked": self.provider, "ran": ", ".join(self.session.get_providers()), "ops": None, "outside": None}


def only(runtime: str, asked: str | None, has: str) -> None:
    """Refuse another delegate than the one that a runtime here brings along."""
    if asked not in (None, has):
        raise Refused(f"{runtime} has no delegate {asked!r} here, only {has}: leave out --delegate, or use a runner that has it (--runner benchmark_model)")


def dtype_of(onnx_type: str) -> str:
    """`tensor(float)` → `float32`."""
    name = onnx_type.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(name, name)
