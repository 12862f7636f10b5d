"""Damaged models of every kind end as one sentence: a sample in `make test`, ten thousand in `make soak` (EDGEKIT_SOAK=1); fixed seeds."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgekit.errors import ConvertError, InputError
from edgekit.model import open_model
from edgekit.toolchains.catalog import toolchain
from tests.lab.cli import edgekit
from tests.lab.fuzz import Ended, counts, damage, damaged, taking, unworded
from tests.lab.networks import digits
from tests.lab.packages import nmp_onnx

SOAK = bool(os.environ.get("EDGEKIT_SOAK"))
LAB = Path(__file__).parent / "lab" / "models"

pytestmark = [pytest.mark.toolchain, pytest.mark.slow, pytest.mark.timeout(4 * 3600 if SOAK else 600)]


@dataclass(frozen=True)
class Victim:
    """A model or artifact that is damaged, the verb that is given it, and how often: in `make soak`, and in `make test`."""

    name: str
    home: str
    verb: str
    key: str
    options: dict[str, Any]
    soak: int
    sample: int


READ = {"shapes": {}}
VICTIMS = (
    Victim("nmp.onnx", "convert", "read_onnx", "model", READ, 3000, 6),
    Victim("depthwise.fp32.onnx", "convert", "read_onnx", "model", READ, 1000, 6),
    Victim("depthwise.fp32.tflite", "convert", "read_tflite", "model", READ, 1500, 6),
    Victim("depthwise.w8a8.tflite", "convert", "describe", "artifact", {"format": "tflite"}, 1000, 6),
    Victim("depthwise.w8a8.onnx", "convert", "describe", "artifact", {"format": "onnx"}, 700, 6),
    Victim("depthwise.fp32.mlpackage", "convert", "describe", "artifact", {"format": "coreml"}, 1000, 6),
    Victim("two.keras", "tensorflow", "read", "model", READ, 400, 3),
    Victim("lstm.keras", "tensorflow", "read", "model", READ, 200, 0),
    Victim("two.h5", "tensorflow", "read", "model", READ, 300, 3),
    Victim("two_sm", "tensorflow", "read", "model", READ, 300, 3),
    Victim("batch.pt2", "torch", "read", "model", READ, 400, 3),
    Victim("lstm.pt2", "torch", "read", "model", READ, 200, 0),
)
HANGS = 0.01
"""Share that may run into the deadline: some of h5py's files lead it round in circles, and the worker is then ended with a sentence."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All victims, whole, in one folder."""
    folder = tmp_path_factory.mktemp("victims")
    for home, script in (("tensorflow", "odd_keras.py"), ("torch", "odd_torch.py")):
        subprocess.run([toolchain(home).python, LAB / script, folder], check=True, capture_output=True, timeout=300)
    network, data = digits("depthwise")
    said = edgekit("convert", network, "--to", "all", "--recipe", "fp32,w8a8", "--data", data, "-o", folder)
    assert (folder / "depthwise.w8a8.onnx").exists(), said.stderr
    (folder / "nmp.onnx").symlink_to(nmp_onnx())
    return folder


@pytest.mark.parametrize("victim", [one for one in VICTIMS if SOAK or one.sample], ids=lambda victim: f"{victim.name}-{victim.verb}")
def test_a_damaged_model_is_taken_or_refused_in_a_sentence(victim: Victim, models: Path, tmp_path: Path) -> None:
    ends: list[tuple[int, Ended]] = []
    with taking(victim.home, victim.verb) as take:
        for seed in range(victim.soak if SOAK else victim.sample):
            folder = tmp_path / str(seed)
            folder.mkdir()
            model = damage(models / victim.name, folder / victim.name, seed)
            ends.append((seed, take({victim.key: model}, victim.options)))
            subprocess.run(["rm", "-rf", folder], check=True)
    print(f"\n{victim.name} by {victim.verb}: {counts(ends)}")
    hung = [seed for seed, ended in ends if ended.end == "hung"]
    assert len(hung) <= HANGS * len(ends), hung
    assert unworded([one for one in ends if one[1].end != "hung"]) == {}


@pytest.mark.parametrize("seed", range(200 if SOAK else 6))
def test_through_edgekit_itself(seed: int, tmp_path: Path) -> None:
    model = tmp_path / "damaged.onnx"
    model.write_bytes(damaged(nmp_onnx().read_bytes(), seed))
    try:
        open_model(model, {}, lambda text, fraction: None)
    except (InputError, ConvertError) as exc:
        words = str(exc)
        assert len(words) > 20
        assert "\n" not in words
        assert ": " in words
