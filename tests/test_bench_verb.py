"""`edgekit bench` refuses before any work what would only look wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekit.device import Device
from edgekit.errors import InputError
from edgekit.files import sha256_tree
from edgekit.verbs.bench import bench, lineage_of, refuse_uncalibrated
from edgekit.verbs.lineage import lineage_path


def made(folder: Path, recipe: str) -> Path:
    """A file, which nobody needs to read, with the lineage that edgekit writes beside it."""
    file, model = folder / f"net.{recipe}.onnx", folder / "net.keras"
    file.write_bytes(b"quantized")
    model.write_bytes(b"model")
    lineage = {
        "model": {"path": str(model), "sha256": "0" * 64},
        "samples": {"origin": "digits.npz, split once by seed 0: of 32 samples 8 for calibration, 16 others for evaluation"},
        "artifact": {"path": file.name, "recipe": recipe, "sha256": sha256_tree(file)},
    }
    lineage_path(file).write_text(json.dumps(lineage))
    return file


def test_a_calibrated_file_is_not_held_against_its_model_on_random_inputs(tmp_path: Path) -> None:
    file = made(tmp_path, "w8a8")
    with pytest.raises(InputError, match=r"^net\.w8a8\.onnx was calibrated on digits\.npz, .*: give that data with --data$"):
        bench(file, Device("nowhere", "ssh:nobody@nowhere.invalid", None), progress=lambda text, fraction: None)


@pytest.mark.parametrize(("recipe", "data"), [("w8a8", Path("digits.npz")), ("w8", None)])
def test_data_or_a_recipe_that_was_not_calibrated_passes(recipe: str, data: Path | None, tmp_path: Path) -> None:
    file = made(tmp_path, recipe)
    found = lineage_of(file, sha256_tree(file))
    assert found is not None
    refuse_uncalibrated(found, data)
    refuse_uncalibrated(None, None)
