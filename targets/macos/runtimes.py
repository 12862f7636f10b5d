"""A format in, its runtime out: what runs on a Mac. Core ML's is written from the documentation; not yet run on a Mac."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from cpu import ONNX, TFLite
from refusal import Json, Refused, Runtime, check

OWN_NAME = "edgekit.name."  # in a package's metadata: the model's own name of a feature, where that is no identifier
DTYPES = {65552: "float16", 65568: "float32", 65600: "float64", 131104: "int32", 131080: "int8"}  # ArrayFeatureType.ArrayDataType
CARRIED_AS = {"int64": "int32", "float64": "float32", "bool": "float32"}  # dtypes that Core ML does not have at a model's boundary


UNITS = {
    "all": ("ALL", "an accelerator"),
    "cpu": ("CPU_ONLY", "CPU"),
    "cpu_gpu": ("CPU_AND_GPU", "GPU"),
    "cpu_ne": ("CPU_AND_NE", "Neural Engine"),
}
"""What a job may ask for → coremltools' name of these compute units, and the device that is wanted by it."""

DEVICES = {"MLCPUComputeDevice": "CPU", "MLGPUComputeDevice": "GPU", "MLNeuralEngineComputeDevice": "Neural Engine"}


class CoreML:
    """A Core ML package on the units that are asked for and the threads that Core ML chooses. Its load time includes compiling the package,
    which Xcode does for an app."""

    name = "Core ML"
    invoke: Callable[[], dict[str, Any]]

    def __init__(self, delegate: str | None) -> None:
        if delegate not in (None, *UNITS):
            raise Refused(f"Core ML has no compute units {delegate!r}: use one of {', '.join(UNITS)}")
        import coremltools

        self.coremltools = coremltools
        self.version = f"{platform.mac_ver()[0] or 'of an unknown macOS'} by coremltools {coremltools.__version__}"
        self.asked = delegate or "all"

    def load(self, path: str, threads: int) -> None:
        self.units = self.coremltools.ComputeUnit[UNITS[self.asked][0]]
        self.model = self.coremltools.models.MLModel(path, compute_units=self.units)

    def bind(self, inputs: list[Json], outputs: list[Json]) -> None:
        """Match features by the model's own names."""
        description = self.model.get_spec().description
        own = dict(description.metadata.userDefined)
        there, back = ({own.get(OWN_NAME + one.name, one.name): one for one in side} for side in (description.input, description.output))
        check("input", inputs, boundary(there, inputs))
        check("output", outputs, boundary(back, outputs))
        self.into = [(there[spec["name"]].name, DTYPES[there[spec["name"]].type.multiArrayType.dataType]) for spec in inputs]
        self.out_of = [(back[spec["name"]].name, spec) for spec in outputs]

    def feed(self, arrays: list[Any]) -> None:
        features = {name: value.astype(dtype) for (name, dtype), value in zip(self.into, arrays, strict=True)}
        self.invoke = partial(self.model.predict, features)

    def outputs(self, returned: dict[str, Any]) -> list[Any]:
        """In the model's own dtypes and shapes."""
        return [returned[name].astype(spec["dtype"]).reshape(spec["shape"]) for name, spec in self.out_of]

    def delegation(self) -> Json:
        """Where Core ML means to run each operator, by its compute plan (macOS 14.4 and later); what it really did, it does not tell."""
        found: Json = {"asked": f"{self.asked} compute units", "ran": "not told by Core ML", "ops": None, "outside": None}
        try:
            plan = self.coremltools.models.compute_plan.MLComputePlan.load_from_path(self.model.get_compiled_model_path(), compute_units=self.units)
            program = plan.model_structure.program
        except (AttributeError, RuntimeError, TypeError, ValueError):  # an older macOS, or coremltools without its library
            return found
        if program is None:
            return found
        places = [
            (operation.operator_name.rpartition(".")[2], DEVICES.get(type(usage.preferred_compute_device).__name__, "another device"))
            for operation in operations(program.functions["main"].block)
            if (usage := plan.get_compute_device_usage_for_mlprogram_operation(operation)) is not None  # constants have none
        ]
        wanted = UNITS[self.asked][1]
        outside = Counter(op for op, device in places if (device == "CPU" if self.asked == "all" else device != wanted))
        ran = ", ".join(f"{device} ({count} of {len(places)} operators)" for device, count in Counter(device for _, device in places).most_common())
        return {**found, "ran": f"planned: {ran}" if places else found["ran"], "ops": len(places), "outside": dict(outside.most_common())}


def operations(block: Any) -> Iterator[Any]:
    """The operators of a block and of those within it."""
    for operation in block.operations:
        yield operation
        for inner in operation.blocks or ():
            yield from operations(inner)


def boundary(features: dict[str, Any], asked: list[Json]) -> dict[str, tuple[str, list[Any]]]:
    """Own name → dtype and shape, where a dtype that Core ML carries as another counts as the asked one, and a shape that is not told fits any."""
    wanted = {spec["name"]: spec for spec in asked}
    found = {}
    for name, feature in features.items():
        array, spec = feature.type.multiArrayType, wanted.get(name, {"dtype": "", "shape": []})
        dtype = DTYPES.get(array.dataType, "no array")
        carried = dtype == CARRIED_AS.get(spec["dtype"])
        found[name] = (spec["dtype"] if carried else dtype, list(array.shape) if array.shape and spec["shape"] else spec["shape"])
    return found


RUNTIMES: dict[str, Callable[[str | None], Runtime]] = {"tflite": TFLite, "onnx": ONNX, "coreml": CoreML}
