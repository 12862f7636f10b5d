"""Damaged models end as one sentence: a sample in `make test`, a thousand in `make soak` (EDGEKIT_SOAK=1); fixed seeds."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import ConvertError, InputError
from edgekit.model import open_model
from tests.lab.packages import nmp_onnx

CASES = 1000 if os.environ.get("EDGEKIT_SOAK") else 16

pytestmark = pytest.mark.toolchain


def damaged(seed: int) -> bytes:
    """basic-pitch's network with one to eight bits flipped, or cut, or with a block overwritten."""
    rng = np.random.default_rng(seed)
    content = bytearray(nmp_onnx().read_bytes())
    how = seed % 3
    if how == 0:
        for position in rng.integers(0, len(content), rng.integers(1, 9)):
            content[position] ^= 1 << rng.integers(0, 8)
    elif how == 1:
        del content[rng.integers(0, len(content)) :]
    else:
        start = rng.integers(0, len(content) - 64)
        content[start : start + 64] = rng.bytes(64)
    return bytes(content)


def refusal(model: Path) -> str | None:
    """What edgekit says of a model, or None if it reads it."""
    try:
        open_model(model, {}, lambda text, fraction: None)
    except (InputError, ConvertError) as exc:
        return str(exc)
    return None


@pytest.mark.parametrize("seed", range(CASES))
def test_a_damaged_model_is_read_or_refused_in_a_sentence(seed: int, tmp_path: Path) -> None:
    model = tmp_path / "damaged.onnx"
    model.write_bytes(damaged(seed))
    words = refusal(model)
    assert words is None or (len(words) > 20 and "\n" not in words and ": " in words)
