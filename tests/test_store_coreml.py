"""store_coreml: each weight of a compressed hub in the smallest form that a Core ML package has for it, with the values of the hub."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgekit.errors import ConvertError, InputError
from edgekit.hub.compressed import NAME, Grid, Palette, Sparse, Spec, Tensor, floats, integers
from edgekit.places import PACKAGE
from edgekit.toolchains.catalog import toolchain
from tests.lab.convert import do, verified
from tests.lab.onnx_cases import FLOAT, inputs_for, model, save, tensor_folder

pytestmark = pytest.mark.toolchain
node = helper.make_node
Array = np.ndarray[Any, Any]

STORE = """
import json, os, sys, types
package = types.ModuleType("edgekit")
package.__path__ = [sys.argv[1]]
sys.modules["edgekit"] = package
sys.path.append(sys.argv[1] + "/toolchains/convert")
from pathlib import Path
import coremltools as ct, numpy as np
from coremltools.converters.mil.frontend.milproto.load import load
from edgekit.toolchains.convert import store_coreml, write_coreml
from edgekit.toolchains.convert.mil.evaluate import Program
from edgekit.toolchains.worker import Job

folder, precision = Path(sys.argv[2]), sys.argv[3]
(folder / "float").mkdir()
(folder / "small").mkdir()
inputs = {name: folder / name for name in os.listdir(folder)}
files = {"hub": inputs["hub.onnx"], "spec": inputs["compress.json"], "calibration": inputs.get("calibration")}
quiet = open(os.devnull, "w")
write_coreml.run(Job(files, {"precision": precision}, inputs["float"], quiet))
files["float"] = inputs["float"] / "model.mlpackage"
result = store_coreml.run(Job(files, json.loads(sys.argv[4]), inputs["small"], quiet))
path = inputs["small"] / "model.mlpackage"
spec = ct.utils.load_spec(str(path))
load(spec, spec.specificationVersion, str(path / "Data/com.apple.CoreML/weights"))  # coremltools takes it too
constants = {name: value for name, value in Program(path).body.constants.items() if isinstance(value, np.ndarray | str)}
np.savez(folder / "found.npz", version=spec.specificationVersion, **{name.replace("/", "."): value for name, value in constants.items()})
(folder / "result.json").write_text(json.dumps(result))
"""


Drawn = tuple[Array, Tensor]
RNG = np.random.default_rng


def on_grid(bits: int, shape: tuple[int, ...], axis: int = 0, block: int | None = None, zeros: float = 0.0) -> Drawn:
    """Values on a grid, so many of them zero, all its integers there."""
    rng = RNG(bits)
    low, high = (-2, 1) if bits == 2 else (1 - (1 << bits - 1), (1 << bits - 1) - 1)
    whole = rng.integers(low, high + 1, shape)
    whole[rng.random(shape) < zeros] = 0
    count = shape[axis] * (1 if block is None else shape[1 - axis] // block)
    scale = tuple((rng.uniform(0.5, 1.5, count) / (high * 8)).astype(np.float32).tolist())
    grid = Grid(bits, scale, (0,) * count, axis, block)
    return floats(whole, grid), Tensor(Sparse() if zeros else None, None, grid)


def palette(entries: int, shape: tuple[int, ...], zeros: float = 0.0) -> Drawn:
    rng = RNG(entries)
    values = (rng.normal(size=entries) / 8).astype(np.float32)[rng.integers(0, entries, shape)]
    values[rng.random(shape) < zeros] = 0
    return values, Tensor(Sparse() if zeros else None, Palette(entries + (zeros > 0)))


def scaled(entries: int, shape: tuple[int, ...], zeros: float = 0.0) -> Drawn:
    """{-a, 0, a} or {-a, a} of each output channel."""
    rng = RNG(entries)
    signs = rng.choice([-1, 1], shape)
    signs[rng.random(shape) < zeros] = 0
    amplitude = rng.uniform(0.05, 0.15, (shape[0], *[1] * (len(shape) - 1)))
    return (signs * amplitude).astype(np.float32), Tensor(None, Palette(entries, 0, 1, True))


def pruned(share: float, shape: tuple[int, ...]) -> Drawn:
    values = (RNG(0).normal(size=shape) / 8).astype(np.float32)
    values[RNG(1).random(shape) < share] = 0
    return values, Tensor(Sparse())


CONV = (32, 32, 3, 3)
DRAWN: dict[str, Drawn] = {
    "conv.bytes": on_grid(8, CONV),
    "conv.four": on_grid(4, CONV),
    "conv.three": on_grid(3, CONV),
    "conv.two": on_grid(2, CONV),
    "conv.halves": on_grid(8, CONV, zeros=0.5),
    "conv.shared": palette(16, CONV),
    "conv.both": palette(15, CONV, zeros=0.8),
    "conv.binary": scaled(2, CONV),
    "conv.ternary": scaled(3, CONV, zeros=0.6),
    "conv.pruned": pruned(0.9, CONV),
    "gates.W": on_grid(8, (1, 64, 32), axis=1),
    "gates.R": on_grid(8, (1, 64, 16), axis=1),
    "blocks": on_grid(4, (16, 512), axis=1, block=8),
    "rows": on_grid(8, (10, 512)),
    "tiny": on_grid(8, (4, 10)),
}
FORMS = {
    "conv.bytes": "integers", "conv.four": "integers", "conv.three": "palette", "conv.two": "palette", "conv.halves": "sparse_integers",
    "conv.shared": "palette", "conv.both": "sparse_palette", "conv.binary": "palette", "conv.ternary": "sparse_palette", "conv.pruned": "sparse",
    "gates.W": "integers", "gates.R": "integers", "blocks": "integers", "rows": "integers",
}  # fmt: skip
BITS = {
    "conv.bytes": 8, "conv.four": 4, "conv.three": 3, "conv.two": 2, "conv.halves": 1 + 0.5 * 8, "conv.shared": 4, "conv.both": 1 + 0.2 * 4,
    "conv.binary": 1, "conv.ternary": 1 + 0.4, "conv.pruned": 1 + 0.1 * 32, "gates.W": 8, "gates.R": 8, "blocks": 4, "rows": 8, "tiny": 32,
}  # fmt: skip
"""Of an element of each, tables and scales apart."""


def network(drawn: dict[str, Drawn]) -> onnx.ModelProto:
    """Ten convolutions, an LSTM, a product with a matrix and two Gemms, one of which holds its weights transposed."""
    nodes, last = [], "x"
    for name in [name for name in drawn if name.startswith("conv")]:
        nodes += [node("Conv", [last, name], [f"{name}.c"], pads=[1, 1, 1, 1]), node("Relu", [f"{name}.c"], [f"{name}.y"])]
        last = f"{name}.y"
    nodes += [
        node("Reshape", [last, "sequence"], ["s"]),
        node("LSTM", ["s", "gates.W", "gates.R"], ["", "h"], hidden_size=16),
        node("Reshape", ["h", "row"], ["r"]),
        node("MatMul", ["r", "blocks"], ["m"]),
        node("Gemm", ["m", "rows"], ["g"], transB=1),
        node("Gemm", ["r", "rows.turned"], ["t"]),
        node("Concat", ["g", "t"], ["y"], axis=1),
    ]
    turned = np.ascontiguousarray(drawn["rows"][0][:, :16].T)
    stored = {name: values for name, (values, _) in drawn.items()} | {"rows.turned": turned}
    stored |= {"sequence": np.array([16, 1, 32]), "row": np.array([1, 16])}
    stored.pop("tiny")
    held = [numpy_helper.from_array(values, name) for name, values in stored.items()]
    return model(nodes, [("x", FLOAT, [1, 32, 4, 4])], [("y", FLOAT, [1, 20])], held)


@dataclass(frozen=True, slots=True)
class Stored:
    """A hub and what became of it."""

    made: onnx.ModelProto
    folder: Path
    result: dict[str, Any]
    found: dict[str, Array]
    """What the evaluator makes of the package's constants, and all that it makes them of."""

    @property
    def package(self) -> Path:
        return self.folder / "small/model.mlpackage"

    @property
    def notes(self) -> str:
        return "\n".join(self.result["notes"])


Make = Callable[..., Stored]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Both workers in one process."""

    def stored(made: onnx.ModelProto, spec: Spec, precision: str = "fp32", **options: Any) -> Stored:
        folder = tmp_path_factory.mktemp("stored")
        save(made, folder / "hub.onnx")
        spec.save(folder / NAME)
        tensor_folder(folder / "calibration", inputs_for(made, 16, seed=1))
        command = [toolchain("convert").python, "-c", STORE, str(PACKAGE), str(folder), precision, json.dumps(options)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        with np.load(folder / "found.npz") as found:
            return Stored(made, folder, json.loads((folder / "result.json").read_text()), dict(found))

    return stored


@pytest.fixture(scope="module")
def whole(make: Make) -> Stored:
    """All forms in one float32 package."""
    return make(network(DRAWN), Spec({name: tensor for name, (_, tensor) in DRAWN.items()}))


def weight_bytes(package: Path) -> int:
    return (package / "Data/com.apple.CoreML/weights/weight.bin").stat().st_size


def called(name: str) -> str:
    """What the package calls a weight before what it is made of."""
    return {"gates.W": "lstm_0_weight_ih_0", "gates.R": "lstm_0_weight_hh_0"}.get(name, name.replace(".", "_"))


def in_mil(name: str, values: Array) -> Array:
    """A hub's weight as the package has it: MIL's gates are input, forget, output, cell where ONNX's are input, output, forget, cell."""
    if not name.startswith("gates"):
        return values
    i, o, f, c = np.split(values[0], 4)
    return np.concatenate([i, f, o, c])


def test_each_weight_has_its_smallest_form_and_the_values_of_the_hub(whole: Stored, tmp_path: Path) -> None:
    for name, form in FORMS.items():
        assert np.array_equal(whole.found[f"{called(name)}_{form}"], in_mil(name, DRAWN[name][0])), name
    assert whole.found["version"] == 9
    assert "needs iOS 18, macOS 15 or later" in whole.notes
    assert "1 weight is stored as a mask and, of what is not zero, palettes with indices of 4 bits" in whole.notes
    found = verified(tmp_path, whole.made, whole.package, "coreml")
    assert found["parity"]["max_abs"] < 1e-5
    assert found["boundary"] is None


def test_the_file_takes_the_bits_that_its_forms_have(whole: Stored) -> None:
    bits = sum(DRAWN[name][0].size * bits for name, bits in BITS.items() if name != "tiny")
    tables = sum(value.nbytes for name, value in whole.found.items() if name.endswith((".lut.0", ".scale.0")))
    parts = sum(name.endswith(".0") for name in whole.found)

    exact = bits / 8 + tables + 4 * 160  # the turned Gemm has 160 weights, and they stay float
    assert exact < weight_bytes(whole.package) < exact * 1.01 + 128 * parts  # 64 bytes before each part, up to 64 behind


def test_integers_in_the_file_are_those_of_the_grid(whole: Stored) -> None:
    for name in ("conv.bytes", "conv.four", "gates.W", "gates.R", "blocks", "rows"):
        values, said = DRAWN[name]
        assert said.grid is not None
        assert np.array_equal(whole.found[f"{called(name)}_integers.data.0"], in_mil(name, integers(values, said.grid))), name
    values, said = DRAWN["conv.halves"]
    assert said.grid is not None
    whole_numbers = whole.found["conv_halves_sparse_integers_values_0.nonzero_data.0"]
    assert np.array_equal(whole_numbers, integers(values, said.grid)[values != 0])
    values, said = DRAWN["conv.three"]
    assert said.grid is not None
    entries = whole.found["conv_three_entries.data.0"]
    assert np.array_equal(entries.reshape(32, 8)[0][whole.found["conv_three_palette.indices.0"]], integers(values, said.grid))
    assert np.array_equal(whole.found["conv_three_entries.scale.0"].ravel(), np.float32(said.grid.scale))


ACTIVATIONS = {
    "x": Grid(8, (0.03,), (3,)),
    "conv.four.y": Grid(8, (0.01,), (0,), signed=False),
    "m": Grid(8, (0.002,), (-5,)),
    "s": Grid(4, (0.1,), (0,)),
    "y": Grid(8, (0.1,), (0,)),
}


def test_a_float16_package_rounds_once_and_finds_tensors_by_their_values(make: Make) -> None:
    half = make(network(DRAWN), Spec({name: tensor for name, (_, tensor) in DRAWN.items()}, ACTIVATIONS), "fp16")

    for name in ("conv.shared", "conv.both", "conv.binary", "conv.ternary", "conv.pruned"):
        exact = DRAWN[name][0].astype(np.float16).astype(np.float32)
        assert np.array_equal(half.found[f"{called(name)}_to_fp16_{FORMS[name]}"], exact), name
    for name in ("conv.bytes", "conv.four", "blocks"):
        values, said = DRAWN[name]
        assert said.grid is not None
        assert np.array_equal(half.found[f"{called(name)}_to_fp16_integers.data.0"], integers(values, said.grid)), name
        np.testing.assert_allclose(half.found[f"{called(name)}_to_fp16_integers"], values, rtol=2**-10)
    assert "3 activations are int8, with the scales that tuning learned" in half.notes
    assert "not of 8 bits for a whole tensor, so float: s\n" in half.notes
    assert pairs(half) == {
        "x_to_fp16": ("int8", np.float16(0.03), 3),
        "relu_1_cast_fp16": ("uint8", np.float16(0.01), 0),
        "matmul_0_cast_fp16": ("int8", np.float16(0.002), -5),
    }


def pairs(stored: Stored) -> dict[str, tuple[str, float, int]]:
    """Dtype, scale and zero point of each quantize, by what it reads."""
    names = [name.removesuffix("_quantized_scale_0") for name in stored.found if name.endswith("_quantized_scale_0")]
    parts = {name: [stored.found.get(f"{name}_quantized_{part}_0", np.array(0)) for part in ("output_dtype", "scale", "zero_point")] for name in names}
    return {name: (str(dtype), float(scale), int(zero)) for name, (dtype, scale, zero) in parts.items()}


SMALL = {"conv.bytes": on_grid(8, CONV), "conv.shared": palette(14, CONV), "conv.pruned": pruned(0.9, CONV), "conv.odd": pruned(0.0, CONV)}
SMALL["conv.odd"][1].grid = Grid(8, (0.01,), (0,))


def chain(drawn: dict[str, Drawn]) -> onnx.ModelProto:
    """Convolutions one after the other."""
    nodes, last = [], "x"
    for name in drawn:
        nodes += [node("Conv", [last, name], [f"{name}.c"], pads=[1, 1, 1, 1]), node("Relu", [f"{name}.c"], [f"{name}.y"])]
        last = f"{name}.y"
    nodes[-1].output[0] = "y"
    held = [numpy_helper.from_array(values, name) for name, (values, _) in drawn.items()]
    return model(nodes, [("x", FLOAT, [1, 32, 4, 4])], [("y", FLOAT, [1, 32, 4, 4])], held)


def test_ios_17_does_where_ios_18_saves_nothing_and_what_is_on_no_grid_is_said(make: Make, tmp_path: Path) -> None:
    grids = {"x": Grid(8, (0.03,), (3,)), "conv.shared.y": Grid(8, (0.01,), (0,), signed=False), "y": Grid(8, (0.1,), (0,))}
    made = chain(SMALL)
    made.graph.initializer.append(numpy_helper.from_array(SMALL["conv.odd"][0] + 1, "unread"))
    old = make(made, Spec({name: tensor for name, (_, tensor) in SMALL.items()} | {"unread": Tensor(Sparse())}, grids))

    assert old.found["version"] == 8
    values, said = SMALL["conv.bytes"]
    assert said.grid is not None
    assert np.array_equal(old.found["conv_bytes_integers.quantized_data"], integers(values, said.grid))
    for name, form in (("conv.bytes", "integers"), ("conv.shared", "palette"), ("conv.pruned", "sparse")):
        assert np.array_equal(old.found[f"{called(name)}_{form}"], SMALL[name][0]), name
    assert np.array_equal(old.found["conv_odd"], SMALL["conv.odd"][0])
    assert "stored plainly and judged by its download: conv.odd" in old.notes
    assert "unread" not in old.notes
    assert pairs(old) == {"x": ("int8", np.float32(0.03), 3), "conv_shared_y": ("uint8", np.float32(0.01), 0)}
    assert old.result["route"][1] == "activations: int8 pairs"


def test_w8a8_calibrates_activations_and_keeps_what_is_small_already(make: Make, tmp_path: Path) -> None:
    drawn = {"conv.shared": palette(16, CONV), "conv.both": palette(15, CONV, zeros=0.8), "conv.half": pruned(0.5, CONV), "conv.full": pruned(0.0, CONV)}
    both = make(chain(drawn), Spec({name: tensor for name, (_, tensor) in drawn.items() if name != "conv.full"}), "fp16", recipe="w8a8")

    assert "4 activations are int8" in both.notes
    assert "palettes of sparse weights have float entries" in both.notes
    entries = both.found["conv_shared_to_fp16_entries.data.0"]
    assert (entries.dtype, int(np.abs(entries).max()), entries.shape[-2]) == (np.int8, 127, 16)
    # float16 palettes of sparse weights are as the hub has them, and zeros stay zeros.
    assert np.array_equal(both.found["conv_both_to_fp16_sparse_palette"], drawn["conv.both"][0].astype(np.float16).astype(np.float32))
    assert not both.found["conv_half_to_fp16_sparse_integers"][drawn["conv.half"][0] == 0].any()
    assert both.found["conv_full_to_fp16_integers.data.0"].dtype == np.int8
    found = verified(tmp_path, both.made, both.package, "coreml", "w8a8")
    assert found["parity"]["sqnr_db"] > 30


def test_weights_keep_a_higher_precision_until_the_floor_is_kept(make: Make, tmp_path: Path) -> None:
    drawn = {"conv.half": pruned(0.5, CONV), "conv.four": on_grid(4, CONV), "conv.full": pruned(0.0, CONV)}
    floor = make(chain(drawn), Spec({name: tensor for name, (_, tensor) in drawn.items()}), "fp32", recipe="w4", keep_float=20.0)

    assert "1 of 2 weights are int8 for" in floor.notes
    assert floor.found["conv_four_integers.data.0"].max() == 7
    found = verified(tmp_path, floor.made, floor.package, "coreml", "w4")
    assert found["parity"]["sqnr_db"] > 19


def test_what_a_package_cannot_carry_is_refused(tmp_path: Path) -> None:
    Spec().save(tmp_path / NAME)
    hub = save(chain({"conv": pruned(0.5, CONV)}), tmp_path / "hub.onnx")
    files = {"float": hub, "hub": hub, "spec": tmp_path / NAME}
    with pytest.raises(ConvertError, match="not w8d: choose one of those, fp32 or fp16"):
        do("store_coreml", files, {"recipe": "w8d"})
    with pytest.raises(InputError, match="--io float"):
        do("store_coreml", files, {"recipe": "w8", "io": "integer"})
