"""Taylor importance: a channel that nothing reads is worth nothing, and one that the outputs need is worth the most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgekit.toolchains.jobs import Job, run
from tests.lab.onnx_cases import FLOAT, Array, draw, inputs_for, model, save, tensor_folder

pytestmark = pytest.mark.toolchain


def test_scores_follow_what_the_outputs_need(tmp_path: Path) -> None:
    second = np.ones((3, 4, 1, 1), np.float32)
    second[:, 1], second[:, 2] = 0, 100
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["a"]), helper.make_node("Sigmoid", ["a"], ["c"]), helper.make_node("Conv", ["c", "v"], ["y"])]
    hub = model(nodes, [("x", FLOAT, [1, 2, 4, 4])], [("y", FLOAT, [1, 3, 4, 4])], [draw("w", 4, 2, 1, 1), draw("b", 4), numpy_helper.from_array(second, "v")])
    inputs = {"hub": save(hub, tmp_path / "hub.onnx"), "samples": tensor_folder(tmp_path / "samples", inputs_for(hub, 40))}
    outcome = run(Job("torch", "importance", inputs, {"seed": 3}), lambda text, fraction: None)
    scores: dict[str, Array] = dict(np.load(outcome.folder / "importance.npz"))
    assert {name: found.shape for name, found in scores.items()} == {"w": (4,), "v": (3,)}
    assert scores["w"][1] == 0
    assert scores["w"].argmax() == 2
    assert outcome.result["samples"] == 40
    assert outcome.result["layers"] == 2
