"""A format in, its runtime out: what runs on a Mac. Core ML's is written from the documentation; not yet run on a Mac."""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import partial
from typing import Any

from cpu import ONNX, TFLite
from refusal import Json, Runtime, check

OWN_NAME = "edgekit.name."  # in a package's metadata: the model's own name of a feature, where that is no identifier
DTYPES = {65552: "float16", 65568: "float32", 65600: "float64", 131104: "int32", 131080: "int8"}  # ArrayFeatureType.ArrayDataType
CARRIED_AS = {"int64": "int32", "float64": "float32", "bool": "float32"}  # dtypes that Core ML does not have at a model's boundary


class CoreML:
    """A Core ML package on whatever units and threads Core ML chooses. Its load time includes compiling the package, which Xcode does for an app."""

    name = "Core ML"
    delegate_asked = "all compute units, threads chosen by Core ML"
    invoke: Callable[[], dict[str, Any]]

    def __init__(self) -> None:
        import coremltools

        self.coremltools = coremltools
        self.version = f"{platform.mac_ver()[0] or 'of an unknown macOS'} by coremltools {coremltools.__version__}"

    def load(self, path: str, threads: int) -> None:
        self.model = self.coremltools.models.MLModel(path, compute_units=self.coremltools.ComputeUnit.ALL)

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

    def delegate_ran(self) -> str:
        return "not told by Core ML"


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


RUNTIMES: dict[str, Callable[[], Runtime]] = {"tflite": TFLite, "onnx": ONNX, "coreml": CoreML}
