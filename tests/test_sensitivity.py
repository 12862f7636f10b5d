"""`edgekit sensitivity`: each layer alone, its error and what it saves; the table, the picture, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.cli.sensitivity import drops
from edgekit.errors import InputError
from edgekit.verbs.sensitivity import steps_of
from tests.lab.cli import edgekit
from tests.lab.onnx_cases import classifier, outputs_for, save


def test_steps_are_those_asked_for() -> None:
    assert steps_of(["quant"], []) == ["bits8", "bits4", "bits3", "bits2"]
    assert steps_of(["prune"], ["50", "2:4", "50"]) == ["prune50", "prune2:4"]
    assert steps_of(["ternary"], []) == ["ternary"]


@pytest.mark.parametrize(
    ("techniques", "strengths", "words"),
    [
        (["prun"], [], "unknown technique 'prun': did you mean 'prune'?"),
        (["quant", "prune"], ["50"], "--strengths are those of one technique, and 2 are asked for"),
        (["quant"], ["9"], "quant has no strength '9': give one such as 4, as in bits4"),
    ],
)
def test_what_is_no_technique_or_strength_is_refused(techniques: list[str], strengths: list[str], words: str) -> None:
    with pytest.raises(InputError) as refused:
        steps_of(techniques, strengths)
    assert words in str(refused.value)


def test_the_last_column_stays_however_narrow_the_terminal() -> None:
    steps = ("bits8", "bits4", "bits3", "bits2", "prune50", "prune70", "prune80", "prune90")
    goes = sorted(steps, key=dict(zip(steps, drops(steps), strict=True)).__getitem__)
    assert goes == ["prune90", "bits4", "prune70", "bits3", "prune80", "bits8", "prune50", "bits2"]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier and 40 samples that bear its own answers as labels."""
    folder = tmp_path_factory.mktemp("sensitivity")
    made = classifier()
    images = np.random.default_rng(0).normal(size=(40, 1, 1, 8, 8)).astype(np.float32)
    scores = outputs_for(made, [images])[0]
    np.savez(folder / "data.npz", image=images, labels=scores.reshape(40, 10).argmax(axis=1))
    save(made, folder / "net.onnx")
    return folder


@pytest.mark.toolchain
def test_fewer_bits_cost_more_and_save_more(network: Path) -> None:
    plot = network / "heat.svg"
    said = edgekit("sensitivity", network / "net.onnx", "--data", network / "data.npz", "--technique", "quant", "--plot", plot, "--json")
    assert said.code == 0, said.stderr
    told = said.json
    assert (told["schema"], told["top1"], [layer["kind"] for layer in told["layers"]]) == ("edgekit.sensitivity/1", 1.0, ["Conv", "Gemm"])
    for layer in told["layers"]:
        errors = layer["errors"]
        assert [one["steps"] for one in errors] == ["bits8", "bits4", "bits3", "bits2"]
        assert [one["sqnr_db"] for one in errors] == sorted((one["sqnr_db"] for one in errors), reverse=True)
        assert [one["saved_bytes"] for one in errors] == sorted(one["saved_bytes"] for one in errors)
        assert errors[0]["sqnr_db"] > 35
        assert errors[0]["relative_error"] == pytest.approx(10 ** (-errors[0]["sqnr_db"] / 20))
        assert all(one["drop"] == pytest.approx(1 - one["top1"]) for one in errors)
    assert "v, bits2: " in plot.read_text()
    shown = edgekit("sensitivity", network / "net.onnx", "--data", network / "data.npz", "--technique", "quant", COLUMNS="40")
    assert "bits2 costs most in v" in shown.stdout
    assert "not shown for want of width: " in shown.stderr
    assert shown.stdout.splitlines()[0].split()[-1] == "bits2"


@pytest.mark.toolchain
def test_each_technique_is_tried_on_each_layer_or_refused_with_its_reason(network: Path) -> None:
    techniques = "channels,lowrank,cluster,ternary,binary,prune"
    said = edgekit("sensitivity", network / "net.onnx", "--data", network / "data.npz", "--technique", techniques, "--samples", 8, "--json")
    assert said.code == 0, said.stderr
    first, last = ({one["steps"]: one for one in layer["errors"]} for layer in said.json["layers"])
    assert first["channels50"]["macs"] < first["prune50"]["macs"]
    assert "no channel" in last["channels50"]["refused"]  # its channels are the model's scores
    assert last["lowrank25"]["sqnr_db"] < last["lowrank75"]["sqnr_db"]
    assert last["ternary"]["refused"] is None  # a layer that is named is compressed, be it the last
    assert last["binary"]["saved_bytes"] > last["ternary"]["saved_bytes"] > last["cluster16"]["saved_bytes"] > 0


@pytest.mark.toolchain
def test_a_model_without_layers_is_refused(tmp_path: Path) -> None:
    import onnx

    from tests.lab.onnx_cases import FLOAT, model

    save(model([onnx.helper.make_node("Relu", ["x"], ["y"])], [("x", FLOAT, [1, 4])], [("y", FLOAT, [1, 4])]), tmp_path / "relu.onnx")
    said = edgekit("sensitivity", tmp_path / "relu.onnx")
    assert said.code == 2
    assert "no layer with weights" in said.error
