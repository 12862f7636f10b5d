"""What `pip install` of the wheel gives: targets and profiles inside it, found from an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out], cwd=ROOT, check=True, capture_output=True)
    return next(out.glob("edgekit_mobile-*.whl"))


def test_the_wheel_holds_what_runs_elsewhere_and_what_never_runs(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {path.relative_to(ROOT).as_posix() for folder in ("targets", "device_profiles") for path in (ROOT / folder).rglob("*.*") if path.suffix != ".pyc"}
    assert {f"edgekit/{name}" for name in wanted if "__pycache__" not in name and "_cache" not in name} <= names
    assert {f"edgekit/toolchains/{name}/lock-linux-x86_64.txt" for name in ("convert", "tensorflow", "torch")} <= names
    assert "edgekit/toolchains/worker.py" in names
    assert not [name for name in names if name.startswith(("tests/", "examples/"))]


def test_an_installed_edgekit_works_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    install = [find_uv_bin(), "pip", "install", "--quiet", "--offline", "--no-deps", "--python", sys.executable, "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    program = "import sys; from edgekit.cli import main; import edgekit; assert edgekit.__file__.startswith(sys.argv.pop(1)), edgekit.__file__; main()"
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", program, str(site), "targets", "--json"], cwd=empty, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = {target["name"] for target in json.loads(done.stdout)["targets"]}
    assert {"local", "raspberry-pi-5-8gb", "raspberry-pi-4-4gb", "pixel-7", "iphone-15", "linux-x86_64"} <= names
    ready = subprocess.run(
        [sys.executable, "-c", program, str(site), "doctor", "--target", "local", "--json"], cwd=empty, env=env, capture_output=True, text=True
    )
    assert json.loads(ready.stdout)["schema"] == "edgekit.doctor/1", ready.stderr
