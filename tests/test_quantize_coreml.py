"""quantize_coreml: integer weights and activations, made and judged without a Mac."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from edgekit.errors import ConvertError, InputError
from edgekit.places import PACKAGE
from edgekit.toolchains.catalog import toolchain
from edgekit.toolchains.jobs import Outcome
from tests.lab.convert import do, verified
from tests.lab.onnx_cases import FLOAT, draw, inputs_for, model, save, tensor_folder

pytestmark = pytest.mark.toolchain
node = helper.make_node


@dataclass(frozen=True, slots=True)
class Network:
    """Two convolutions, one depthwise, an addition, a pool and a linear layer; its float package and samples of it."""

    made: onnx.ModelProto
    package: Path
    calibration: Path

    def quantized(self, recipe: str, **options: Any) -> Outcome:
        inputs = {"float": self.package} | ({"calibration": self.calibration} if recipe == "w8a8" else {})
        return do("quantize_coreml", inputs, {"recipe": recipe, **options})


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = tmp_path_factory.mktemp("network")
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "d"], ["c"], pads=[1, 1, 1, 1], group=64),
        node("Add", ["b", "c"], ["e"]),
        node("MaxPool", ["e"], ["f"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["f", "p"], ["g"]),
        node("Relu", ["g"], ["h"]),
        node("Flatten", ["h"], ["i"]),
        node("Gemm", ["i", "v"], ["y"], transB=1),
    ]
    constants = [draw("w", 64, 4, 3, 3), draw("d", 64, 1, 3, 3, seed=1), draw("p", 64, 64, 1, 1, seed=2), draw("v", 10, 1024, seed=3)]
    made = model(nodes, [("x", FLOAT, [1, 4, 8, 8])], [("y", FLOAT, [1, 10])], constants)
    package = do("write_coreml", {"hub": save(made, folder / "hub.onnx")}, {"precision": "fp16"}).folder / "model.mlpackage"
    return Network(made, package, tensor_folder(folder / "calibration", inputs_for(made, 16, seed=1)))


def size(package: Path) -> int:
    return (package / "Data/com.apple.CoreML/weights/weight.bin").stat().st_size


@pytest.mark.parametrize(("recipe", "share", "least_db", "needs"), [("w8", 0.6, 30, "iOS 17"), ("w4", 0.35, 10, "iOS 18"), ("w4b32", 0.4, 12, "iOS 18")])
def test_weights_are_smaller_right_and_say_what_they_need(network: Network, recipe: str, share: float, least_db: float, needs: str, tmp_path: Path) -> None:
    outcome = network.quantized(recipe)
    small = outcome.folder / "model.mlpackage"

    assert size(small) < share * size(network.package)
    assert f"{recipe} needs {needs}" in outcome.result["notes"][-1]
    found = verified(tmp_path, network.made, small, "coreml", recipe)
    assert found["parity"]["sqnr_db"] > least_db
    assert found["boundary"] is None
    assert found["delegate"] == "evaluated"


def test_small_and_depthwise_weights_are_int8_where_others_are_int4(network: Network) -> None:
    assert network.quantized("w4").result["notes"][0].startswith("small weights are int8: 1 with")


def test_w8a8_has_integers_before_each_layer_and_loses_little_more_than_w8(network: Network, tmp_path: Path) -> None:
    outcome = network.quantized("w8a8")
    small = outcome.folder / "model.mlpackage"

    # x, b, c, e, f, h: what convolutions, the addition, the pool and the linear layer read.
    assert "6 activations are int8" in outcome.result["notes"]
    assert any("dB on 4 calibration samples kept aside; tried too" in note for note in outcome.result["notes"])
    found = verified(tmp_path, network.made, small, "coreml", "w8a8")
    assert found["parity"]["sqnr_db"] > 30
    assert found["boundary"] is None
    spec = (small / "Data/com.apple.CoreML/model.mlmodel").read_bytes()
    assert spec.count(b"_dequantized") >= 6


def test_layers_stay_float_until_the_floor_is_kept_and_what_cannot_be_is_refused(network: Network, tmp_path: Path) -> None:
    outcome = network.quantized("w8a8", keep_float=38.5, calibration="minmax")

    found = verified(tmp_path, network.made, outcome.folder / "model.mlpackage", "coreml", "w8a8", inputs_for(network.made, 4, seed=1))
    assert any("operations keep float activations" in note for note in outcome.result["notes"])
    assert found["parity"]["sqnr_db"] > 37
    with pytest.raises(ConvertError, match=r"Core ML w8a8 keeps .* no operations left in higher precision reach it"):
        network.quantized("w8a8", keep_float=90.0, calibration="minmax")


@pytest.mark.parametrize(("recipe", "floor", "how"), [("w4", 24.0, "weights are int8"), ("w8", 44.0, "weights stay float")])
def test_weights_keep_a_higher_precision_until_the_floor_is_kept(recipe: str, floor: float, how: str, network: Network, tmp_path: Path) -> None:
    outcome = network.quantized(recipe, keep_float=floor)

    found = verified(tmp_path, network.made, outcome.folder / "model.mlpackage", "coreml", recipe)
    assert any(how in note for note in outcome.result["notes"]), outcome.result["notes"]
    assert found["parity"]["sqnr_db"] > floor - 1
    assert size(outcome.folder / "model.mlpackage") < size(network.package)


def test_four_bits_refuse_a_floor_that_eight_do_not_keep(network: Network) -> None:
    with pytest.raises(ConvertError, match="and no weights left in higher precision reach it: use w8 or fp16"):
        network.quantized("w4b32", keep_float=90.0)


def test_what_a_package_cannot_carry_is_refused(network: Network) -> None:
    with pytest.raises(ConvertError, match="not w8d: choose one of those"):
        network.quantized("w8d")
    with pytest.raises(InputError, match="--io float"):
        network.quantized("w8a8", io="integer")
    with pytest.raises(InputError, match="--data"):
        do("quantize_coreml", {"float": network.package}, {"recipe": "w8a8"})


RANGES = """
import sys, types
package = types.ModuleType("edgekit")
package.__path__ = [sys.argv[1]]
sys.modules["edgekit"] = package
sys.path.append(sys.argv[1] + "/toolchains/convert")
import numpy as np
from edgekit.toolchains.convert.quantize.coreml_ranges import integers

both, positive = integers(-1.0, 3.0, "float32"), integers(0.0, 6.0, "float16")
assert both.rounded(np.zeros(1, np.float32)).tolist() == [0.0]
assert np.abs(both.rounded(np.linspace(-1, 3, 99, dtype=np.float32)) - np.linspace(-1, 3, 99)).max() <= 4 / 255
assert (positive.dtype, positive.zero_point) == ("uint8", 0)
assert integers(0.0, 1e-4, "float16") is None  # its scale would be below float16's normal numbers
"""


def test_ranges_become_integers_with_an_exact_zero() -> None:
    done = subprocess.run([toolchain("convert").python, "-c", RANGES, str(PACKAGE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
