"""The command line's manners: JSON alone on stdout, errors as one sentence, tables that give way, pipes that close."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.lab.cli import EDGEKIT, edgekit
from tests.lab.networks import digits


def test_help_names_every_verb() -> None:
    said = edgekit("--help")
    assert said.code == 0
    for verb in ("inspect", "convert", "bench", "deploy", "package", "targets", "doctor", "runs", "toolchains"):
        assert f"\n  {verb} " in said.stdout
        assert edgekit(verb, "--help").code == 0


def test_an_error_with_json_is_an_object_too(tmp_path: Path) -> None:
    said = edgekit("inspect", tmp_path / "absent.onnx", "--json")
    assert said.code == 2
    assert said.json["schema"] == "edgekit.inspect/1"
    assert said.json["error"]["kind"] == "InputError"
    assert said.json["error"]["message"] == said.error


def test_a_wrong_option_is_input() -> None:
    assert edgekit("convert").code == 2
    assert edgekit("deploy", "x.onnx", "--target", "local", "--threads", "0").code == 2


def test_an_option_is_listed_where_it_can_be_used() -> None:
    assert "--layout" in edgekit("convert", "--help").stdout
    listed = edgekit("deploy", "--help").stdout
    assert "--io" in listed
    assert "--layout" not in listed


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = subprocess.run([EDGEKIT, "inspect", tmp_path / "absent.onnx", "--debug"], capture_output=True, text=True)
    assert "Traceback" in done.stderr


def test_toolchains_and_targets_are_listed() -> None:
    listed = edgekit("toolchains", "--json").json
    assert [one["name"] for one in listed["toolchains"]] == ["armv7l", "convert", "executorch", "native", "tensorflow", "torch"]
    assert edgekit("toolchains", "install").code == 2
    targets = {target["name"]: target for target in edgekit("targets", "--json").json["targets"]}
    assert targets["iphone-15"]["untested"]


def test_an_empty_store_says_what_to_do() -> None:
    said = edgekit("runs", "list")
    assert said.code == 0
    assert "edgekit deploy" in said.stderr
    assert edgekit("runs", "show", "last").code == 2


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(f"{EDGEKIT} toolchains --json | head -c 1", shell=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr


@pytest.mark.toolchain
def test_tables_give_way_on_narrow_terminals_and_carry_no_colour_in_pipes(tmp_path: Path) -> None:
    network, data = digits("depthwise")
    argv = ["deploy", network, "--target", "local", "--to", "tflite", "--recipe", "fp32,w8a8", "--io", "integer", "--data", data]
    wide = edgekit(*argv, COLUMNS="200")
    assert wide.code == 0, wide.stderr
    assert "model memory" in wide.stdout
    assert "ship " in wide.stdout
    assert "tflite w8a8  ok" in wide.stdout
    assert "\x1b[" not in wide.stdout + wide.stderr
    narrow = edgekit("runs", "show", "last", COLUMNS="70")
    assert "model memory" not in narrow.stdout
    assert "not shown for want of width" in narrow.stderr
    assert all(len(line) <= 70 for line in narrow.stdout.splitlines() if line.startswith(("→", "   ")))
    assert [run["device_name"] for run in edgekit("runs", "list", "--json").json["runs"]] == ["local"]


@pytest.mark.toolchain
def test_bench_of_our_own_file_and_of_a_strangers(tmp_path: Path) -> None:
    network, data = digits("depthwise")
    assert edgekit("convert", network, "--to", "tflite", "--recipe", "w8", "-o", tmp_path / "out").code == 0
    ours = tmp_path / "out/depthwise.w8.tflite"
    said = edgekit("bench", ours, "--target", "local", "--data", data, "--json")
    assert said.code == 0, said.stderr
    (variant,) = said.json["variants"]
    assert said.json["schema"] == "edgekit.bench/1"
    assert variant["recipe"] == "w8"
    assert variant["accuracy"]["baseline"] > 0.9
    assert "compared with torch" in variant["notes"][0]

    stranger = tmp_path / "stranger.tflite"
    stranger.write_bytes(ours.read_bytes())
    (variant,) = edgekit("bench", stranger, "--target", "local", "--json").json["variants"]
    assert variant["recipe"] == "as given"
    assert "own outputs on this machine" in variant["notes"][0]
    junk = tmp_path / "junk.tflite"
    junk.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(200))
    assert edgekit("bench", junk, "--target", "local").code == 2
    assert edgekit("bench", tmp_path / "absent.tflite", "--target", "local").code == 2
    assert edgekit("bench", network, "--target", "local").code == 2


@pytest.mark.toolchain
def test_from_torch_reads_a_module_of_the_callers_own_torch(tmp_path: Path) -> None:
    from edgekit.toolchains.catalog import toolchain

    program = """
import sys
sys.path[:0] = sys.argv[1].split(":")
import torch, edgekit
module = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU())
try:
    edgekit.from_torch(module, (torch.zeros(1, 8),))
except edgekit.ConvertError as exc:
    print(exc)
model = edgekit.from_torch(module.eval(), (torch.zeros(1, 8),), name="tiny")
print(model.path.name, model.source, model.inputs[0].shape, model.outputs[0].shape)
"""
    import edgekit as package

    site = Path(np.__file__).parents[1]
    done = subprocess.run(
        [toolchain("torch").python, "-c", program, f"{Path(package.__file__).parents[1]}:{site}"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "is in training mode" in done.stdout
    assert done.stdout.splitlines()[-1] == "tiny.pt2 pt2 (1, 8) (1, 4)"
