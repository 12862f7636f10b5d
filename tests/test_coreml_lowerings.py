"""Each family of Core ML lowerings gives what ONNX Runtime gives."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from edgekit.toolchains.catalog import toolchain

pytestmark = pytest.mark.toolchain


def test_every_family_of_operators_comes_out_right() -> None:
    argv = [str(toolchain("convert").python), "-W", "ignore", "-m", "tests.lab.coreml_cases"]
    done = subprocess.run(argv, cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=500)

    assert done.returncode == 0, done.stderr[-2000:]
    verdicts = json.loads(done.stdout.splitlines()[-1])
    assert {name: words for name, words in verdicts.items() if words[0] != "right"} == {}
    assert len(verdicts) > 50
