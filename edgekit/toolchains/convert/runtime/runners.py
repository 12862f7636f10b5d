"""An artifact in, a Runner out: the runtime of its format on this machine, which takes and gives arrays in the file's own order.

A runner loads its file once and runs any number of samples. `outputs` and `inputs` are TensorSpecs as the file states them.
`tensors` gives inner tensors by name, for looking where a file goes wrong.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
Spec = dict[str, Any]


class CannotRunError(Exception):
    """The runtime does not load or run the file; the message is its reason."""


def load_runtime(format_: str) -> None:
    """Import what runs files of a format, which takes longer than running most of them; `format_` is a name, or the path of a plug-in's runner."""
    if format_.endswith(".py"):
        plugin(Path(format_))
        return
    importlib.import_module({"tflite": "ai_edge_litert.interpreter", "onnx": "onnxruntime", "coreml": "edgekit.toolchains.convert.mil.evaluate"}[format_])


class Runner(Protocol):
    """One loaded artifact."""

    inputs: list[Spec]
    outputs: list[Spec]
    delegate: str

    def run(self, feeds: list[Array]) -> list[Array]: ...

    def tensors(self, feeds: list[Array]) -> dict[str, Array]: ...


@cache
def plugin(file: Path) -> Any:
    """The module of a file that has `open_runner(path)`."""
    spec = importlib.util.spec_from_file_location("edgekit_runner", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["edgekit_runner"] = module
    spec.loader.exec_module(module)
    return module


def open_runner(path: Path, format_: str, file: Path | None = None) -> Runner:
    """
    Args:
        file: the plug-in's own, for a format that is not built in.

    Raises:
        CannotRunError: the runtime refuses the file.
    """
    if file is not None:
        made: Runner = plugin(file).open_runner(path)
        return made
    if format_ == "coreml":
        from edgekit.toolchains.convert.runtime.coreml import CoreMl

        return CoreMl(path)
    runners: dict[str, Callable[[Path], Runner]] = {"tflite": LiteRt, "onnx": OnnxRuntime}
    return runners[format_](path)


def spec(name: str, dtype: Any, shape: Any) -> Spec:
    return {"name": name, "dtype": np.dtype(dtype).name, "shape": [int(axis) for axis in shape]}


class LiteRt:
    """LiteRT with the delegate that a device's CPU uses too: XNNPACK, on one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.interpreter = self.load()
        self.inputs = [spec(d["name"], d["dtype"], d["shape"]) for d in self.interpreter.get_input_details()]
        self.outputs = [spec(d["name"], d["dtype"], d["shape"]) for d in self.interpreter.get_output_details()]
        self.check_signature()
        delegated = any(op["op_name"] == "DELEGATE" for op in self.interpreter._get_ops_details())
        self.delegate = "XNNPACK" if delegated else "none"

    def load(self, **options: Any) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        try:
            interpreter = Interpreter(str(self.path), num_threads=1, **options)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as exc:
            raise CannotRunError(f"LiteRT does not load it ({' '.join(str(exc).split())[:300]})") from exc
        return interpreter

    def check_signature(self) -> None:
        """Take names from the signature, where there is one: they are what an app asks for."""
        for name in self.interpreter.get_signature_list():
            runner = self.interpreter.get_signature_runner(name)
            for specs, details in ((self.inputs, runner.get_input_details()), (self.outputs, runner.get_output_details())):
                by_tensor = {detail["name"]: key for key, detail in details.items()}
                for one in specs:
                    one["name"] = by_tensor.get(one["name"], one["name"])

    def run(self, feeds: list[Array]) -> list[Array]:
        return self.invoke(self.interpreter, feeds)

    def invoke(self, interpreter: Any, feeds: list[Array]) -> list[Array]:
        try:
            resize(interpreter, feeds)
            for detail, feed in zip(interpreter.get_input_details(), feeds, strict=True):
                interpreter.set_tensor(detail["index"], feed)
            interpreter.invoke()
        except (RuntimeError, ValueError) as exc:
            raise CannotRunError(f"LiteRT does not run it ({' '.join(str(exc).split())[:300]})") from exc
        return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]

    def tensors(self, feeds: list[Array]) -> dict[str, Array]:
        """Without a delegate, which keeps its inner tensors to itself; integers are given as the numbers that they stand for."""
        from ai_edge_litert.interpreter import OpResolverType

        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = self.load(experimental_preserve_all_tensors=True, experimental_op_resolver_type=plain)
        self.invoke(interpreter, feeds)
        made = {int(index) for op in interpreter._get_ops_details() for index in op["outputs"]}
        found = {}
        for detail in interpreter.get_tensor_details():
            if detail["index"] in made:
                try:
                    found[detail["name"]] = real(interpreter.get_tensor(detail["index"]), detail["quantization_parameters"])
                except ValueError:  # a tensor of another subgraph, or one that was never needed
                    continue
        return found


def resize(interpreter: Any, feeds: list[Array]) -> None:
    """Give the inputs the shapes of the feeds, where they have others: only axes that the file's signature leaves open can be resized."""
    details = interpreter.get_input_details()
    changed = [(detail["index"], feed.shape) for detail, feed in zip(details, feeds, strict=True) if tuple(detail["shape"]) != feed.shape]
    for index, shape in changed:
        interpreter.resize_tensor_input(index, shape, strict=True)
    if changed:
        interpreter.allocate_tensors()


def real(values: Array, quantization: dict[str, Any]) -> Array:
    """scale · (q - zero_point), per tensor; other tensors unchanged."""
    if len(quantization["scales"]) != 1:
        return values
    return np.asarray((values.astype(np.float32) - quantization["zero_points"][0]) * quantization["scales"][0])


class OnnxRuntime:
    """ONNX Runtime on the CPU with its graph optimisations, as a device runs it, on one thread."""

    delegate = "CPUExecutionProvider"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.session = self.load(str(path))
        told = self.session.get_modelmeta().custom_metadata_map
        self.inputs = [onnx_spec(value, told) for value in self.session.get_inputs()]
        self.outputs = [onnx_spec(value, told) for value in self.session.get_outputs()]

    def load(self, model: str | bytes) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return self.mapped(lambda: onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]))

    def release(self) -> None:
        """Let go of the session: what the file is like stays known, and it cannot be run."""
        self.session = None

    def mapped(self, call: Any) -> Any:
        from onnxruntime.capi import onnxruntime_pybind11_state as ort

        try:
            return call()
        except (ort.Fail, ort.InvalidArgument, ort.InvalidGraph, ort.InvalidProtobuf, ort.NotImplemented, ort.RuntimeException, RuntimeError) as exc:
            raise CannotRunError(f"ONNX Runtime does not take it ({' '.join(str(exc).split())[:300]})") from exc

    def run(self, feeds: list[Array]) -> list[Array]:
        feed = {one["name"]: array for one, array in zip(self.inputs, feeds, strict=True)}
        return [np.asarray(output) for output in self.mapped(lambda: self.session.run(None, feed))]

    def tensors(self, feeds: list[Array]) -> dict[str, Array]:
        import onnx

        model = onnx.load(self.path)
        names = [name for node in model.graph.node for name in node.output if name]
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        session = self.load(model.SerializeToString())
        feed = {one["name"]: array for one, array in zip(self.inputs, feeds, strict=True)}
        return dict(zip(names, self.mapped(lambda: session.run(names, feed)), strict=True))


def onnx_spec(value: Any, told: dict[str, str]) -> Spec:
    """A value's description; of a flexible one, at the size that edgekit has put into the file's metadata."""
    named = {"tensor(float)": "float32", "tensor(double)": "float64"}
    dtype = named.get(value.type) or value.type.removeprefix("tensor(").removesuffix(")")
    return spec(value.name, dtype, default_shape(value.name, value.shape, told))


def default_shape(name: str, shape: Any, told: Any) -> list[int]:
    """The shape before anybody resizes it.

    Raises:
        ValueError: an axis is open, and the file does not tell its size.
    """
    if all(isinstance(axis, int) and axis >= 0 for axis in shape):
        return list(shape)
    words = told.get(f"edgekit.shape.{name}")
    if words is None:
        raise ValueError(f"the shape of {name!r} is open")
    return [int(axis) for axis in words.split("x") if axis]


def plain_name(name: str) -> str:
    """A name as Core ML writes it: other characters than letters, digits and _ are _."""
    return re.sub(r"\W", "_", name)
