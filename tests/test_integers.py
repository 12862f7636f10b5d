"""integers: numbers as integers and back, in arrays and folders; a file with integer ends is measured on samples of its own dtype."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.hub.integers import folder_to_floats, folder_to_integers, to_floats, to_integers
from edgekit.records import Integers, Quantization
from edgekit.verbs.measured import with_integers
from tests.lab.onnx_cases import tensor_folder
from tests.lab.tiny import tiny

HOW = {"scale": 0.1, "zero_point": -20, "dtype": "int8"}


def test_integers_are_the_nearest_and_stop_at_the_ends() -> None:
    values = np.array([0, 0.26, -0.34, 100, -100, 14.7], np.float32)
    stored = to_integers(values, HOW)
    assert stored.dtype == np.int8
    assert stored.tolist() == [-20, -17, -23, 127, -128, 127]
    np.testing.assert_allclose(to_floats(stored, HOW), [0, 0.3, -0.3, 14.7, -10.8, 14.7], atol=1e-6)


def test_a_tensor_that_is_not_quantized_stays() -> None:
    values = np.array([7, 300])
    assert to_integers(values, None) is values
    assert to_floats(values, None) is values


def test_folders_go_there_and_back(tmp_path: Path) -> None:
    values, tokens = np.random.default_rng(0).normal(size=(5, 1, 3)).astype(np.float32), np.arange(5).reshape(5, 1)
    source = tensor_folder(tmp_path / "source", [values, tokens])
    (tmp_path / "integers").mkdir()
    folder_to_integers(source, tmp_path / "integers", [HOW, None])
    assert np.load(tmp_path / "integers" / "0.npy").dtype == np.int8
    folder_to_floats(tmp_path / "integers", [HOW, None])
    assert np.abs(np.load(tmp_path / "integers" / "0.npy") - values).max() <= 0.051
    assert (np.load(tmp_path / "integers" / "1.npy") == tokens).all()


@pytest.mark.toolchain
def test_a_file_with_integer_ends_is_measured_on_its_own_dtype(tmp_path: Path) -> None:
    subject = tiny(tmp_path).subject()
    ends = Quantization((Integers(0.1, -20, "int8"),), (None,))
    found = with_integers(subject, ends, lambda text, fraction: None)
    assert (found.inputs[0].dtype, found.outputs[0].dtype) == ("int8", "float32")
    (file,) = found.sample_files
    assert (np.load(file) == to_integers(np.load(subject.sample_files[0]), HOW)).all()
    assert found.integers == ends
    assert with_integers(subject, None, lambda text, fraction: None) is subject
