"""A quantized file that is given as a source: the model that it was made from is named, where its lineage tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekit.errors import InputError
from edgekit.files import sha256_tree
from edgekit.model import recognise
from edgekit.read.origin import made_from


def file_with_lineage(folder: Path, recipe: str, suffix: str = "tflite") -> Path:
    file = folder / f"net.{recipe}.{suffix}"
    file.write_bytes(b"quantized")
    told = {"model": {"path": "/models/net.keras"}, "artifact": {"recipe": recipe, "sha256": sha256_tree(file)}}
    (folder / f"{file.name}.json").write_text(json.dumps(told))
    return file


def test_a_quantized_file_names_its_model(tmp_path: Path) -> None:
    assert made_from(file_with_lineage(tmp_path, "w8a8")) == " (net.w8a8.tflite was made from /models/net.keras, says the lineage beside it)"
    with pytest.raises(InputError, match=r"was made from /models/net\.keras"):
        recognise(file_with_lineage(tmp_path, "w8", "mlpackage"))


def test_a_float_file_another_file_and_no_lineage_name_none(tmp_path: Path) -> None:
    assert made_from(file_with_lineage(tmp_path, "fp32")) == ""
    file = file_with_lineage(tmp_path, "w8")
    file.write_bytes(b"another")
    assert made_from(file) == ""
    for lineage in ("no json", "[]", "{}"):
        file.with_name(f"{file.name}.json").write_text(lineage)
        assert made_from(file) == ""
    assert made_from(tmp_path / "absent.tflite") == ""
