"""The table of what compression costs and saves: one row on one seed in `make test`; `make soak` makes all of it over three."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TABLE = Path(__file__).resolve().parents[1] / "examples/compression/table.py"

pytestmark = [pytest.mark.toolchain, pytest.mark.slow]


def test_a_row_is_made_and_its_bar_is_met(tmp_path: Path) -> None:
    argv = [sys.executable, TABLE, "--seeds", "1", "--only", "series ", "--out", tmp_path]

    done = subprocess.run(argv, capture_output=True, text=True, timeout=500)

    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "table.json").read_text())
    assert (row["network"], row["recipe"], row["met"]) == ("series", "prune80+tune+w8a8", True)
    (run,) = row["runs"]
    assert set(run["smaller"]["download"]) == {"tflite", "coreml", "onnx"}
    assert "| series | prune80+tune+w8a8 |" in (tmp_path / "table.md").read_text()
