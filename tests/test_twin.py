"""The twin computes what the hub computes, for one sample and for several; its weights train, and go back to the hub unchanged."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgekit.toolchains.catalog import toolchain
from tests.lab.networks import digits, mobilenet_pt2

ROOT = Path(__file__).parent.parent
SOAK = "EDGEKIT_SOAK" in os.environ
CLOSE = 1e-5
CONTROL_FLOW = {"if": "If", "loop": "Loop"}
ONE_BY_ONE = {"gather_scatter", "several", "rnn_state"}
"""Families whose graph writes to named samples, has an input without samples, or has a state whose samples lie along another axis."""

pytestmark = pytest.mark.toolchain


def inside(home: str, module: str, *argv: object) -> str:
    """What a module of tests/lab prints in a toolchain's Python."""
    done = subprocess.run(
        [toolchain(home).python, "-W", "ignore", "-m", module, *map(str, argv)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Family or network → what its twin does, held against ONNX Runtime."""
    folder = tmp_path_factory.mktemp("twins")
    networks = [digits("cnn")[0], *([digits("depthwise")[0], mobilenet_pt2()] if SOAK else [])]
    more = []
    for path in networks:
        raw = from_torch(path)
        (folder / f"digits_{path.stem}.onnx").write_bytes(raw.read_bytes())
        more.append(folder / f"digits_{path.stem}.onnx")
    inside("convert", "tests.lab.twin_check", "prepare", folder / "models", *more)
    found: dict[str, dict[str, Any]] = json.loads(inside("torch", "tests.lab.twin_check", "check", folder / "models").splitlines()[-1])
    return found


def from_torch(path: Path) -> Path:
    from edgekit.toolchains.jobs import Job, run

    return run(Job("torch", "read", {"model": path}, {"shapes": {}}), lambda text, fraction: None).folder / "raw.onnx"


@pytest.fixture(scope="module")
def behaviour() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(inside("torch", "tests.lab.twin_behaviour").splitlines()[-1])
    return found


def test_outputs_are_onnx_runtimes_for_one_sample_and_for_three(families: dict[str, dict[str, Any]]) -> None:
    twins = {name: facts for name, facts in families.items() if "refused" not in facts}
    assert len(twins) >= 20
    assert {name: (facts["one"], facts["three"]) for name, facts in twins.items() if max(facts["one"], facts["three"]) > CLOSE} == {}


def test_only_control_flow_is_refused_and_it_is_named(families: dict[str, dict[str, Any]]) -> None:
    assert {name: facts["op"] for name, facts in families.items() if "refused" in facts} == CONTROL_FLOW


def test_samples_run_together_but_where_the_graph_says_otherwise(families: dict[str, dict[str, Any]]) -> None:
    assert {name for name, facts in families.items() if facts.get("apart")} == ONE_BY_ONE


def test_every_weight_has_a_gradient_and_goes_back_bit_by_bit(families: dict[str, dict[str, Any]]) -> None:
    for name, facts in families.items():
        assert facts.get("without_gradient", []) == [], name
        assert facts.get("round_trip", True), name
    assert families["digits_cnn"]["weights"] == 8


def test_onnx_backend_suite_has_no_wrong_twin() -> None:
    said = inside("torch", "tests.lab.twin_suite", *([] if SOAK else ["--sample", 150]))
    assert said.splitlines()[-1].endswith("wrong 0"), said[-3000:]
    right = int(said.splitlines()[-1].split("right ")[1].split(",")[0])
    assert right > (940 if SOAK else 90)


def test_weights_bear_the_initializers_names_and_tensors_can_be_captured(behaviour: dict[str, Any]) -> None:
    assert behaviour["weights"] == ["bias", "v", "w"]
    assert behaviour["names"] == ["image", "a", "b", "c", "d", "probabilities"]
    assert behaviour["captured"] == {"a": [2, 16, 4, 4], "d": [2, 10]}
    assert behaviour["same_captured"]


def test_hooks_change_a_weight_or_a_tensor_for_whoever_reads_it(behaviour: dict[str, Any]) -> None:
    assert behaviour["weight_through"] == 0
    assert behaviour["tensor_through"]
    assert behaviour["as_before"]  # with the hooks gone


def test_weights_are_written_as_they_are_or_as_hooks_make_them(behaviour: dict[str, Any]) -> None:
    assert behaviour["written_through"] == 0
    assert behaviour["written_plain"]


def test_statistics_of_batches_are_estimated_anew_in_training_and_only_then(behaviour: dict[str, Any]) -> None:
    assert behaviour["statistics_kept"]
    assert behaviour["mean"] == pytest.approx([5, 5], abs=0.1)
    assert behaviour["variance"] == pytest.approx([9, 9], abs=0.3)


def test_a_graph_that_mixes_samples_runs_them_apart_and_says_so(behaviour: dict[str, Any]) -> None:
    apart, right = behaviour["mixing"]
    assert apart == "output 0 of a sample depends on the other samples: vmap runs it over samples"
    assert right


def test_an_operator_without_a_twin_is_refused_by_name(behaviour: dict[str, Any]) -> None:
    words, op, kind = behaviour["refused"]
    assert words == "BitShift (node 'shift') cannot be trained in PyTorch: there is no PyTorch form of it here; use steps without tune"
    assert (op, kind) == ("BitShift", "convert")
