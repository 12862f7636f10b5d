"""A folder in, `FOLDER/glibc/<machine>/` with Debian's C library out: what the runner and its runtimes run on where a device has none (Android).

    python after_install.py FOLDER

Prints what it could not get, in one sentence, or nothing. The libraries come from what EDGEKIT_GLIBC names (folders or .deb files,
separated as in PATH), else from the packages of this machine's own Debian, by apt with a state of its own: nothing of the machine's
apt is changed, nothing is installed, no rights are needed.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

ARCHITECTURES = {"aarch64": "arm64", "x86_64": "amd64"}
"""Machine → Debian's name of it."""
ELF_MACHINES = {183: "aarch64", 62: "x86_64"}
PACKAGES = ("libc6", "libgcc-s1", "libstdc++6")
COMMON = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1", "libstdc++.so.6")
LOADERS = {"aarch64": "ld-linux-aarch64.so.1", "x86_64": "ld-linux-x86-64.so.2"}
DEADLINE_S = 600

CONFIGURATION = """
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
#clear APT::Architectures;
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
"""


class MissingError(Exception):
    """Why a library is not there, in a clause."""


def main(folder: Path) -> None:
    named = [Path(part) for part in os.environ.get("EDGEKIT_GLIBC", "").split(os.pathsep) if part]
    lacks = []
    for machine in ARCHITECTURES:
        try:
            found = dict(libraries(named, machine)) if named else dict(fetched(machine))
            if named and not found:
                continue  # the user has no such devices
            keep(found, machine, folder / "glibc" / machine)
        except (MissingError, OSError, tarfile.TarError) as exc:
            lacks.append(f"{machine} ({exc})")
    if lacks:
        print(
            f"there is no C library for Android devices: {', '.join(lacks)}; on Debian repeat `edgekit toolchains install native`, "
            "elsewhere first set EDGEKIT_GLIBC to a folder with Debian's libc6, libgcc-s1 and libstdc++6 packages for arm64"
        )


def keep(found: dict[str, bytes], machine: str, folder: Path) -> None:
    """Write the libraries, all or none."""
    absent = [name for name in (*COMMON, LOADERS[machine]) if name not in found]
    if absent:
        raise MissingError(f"without {', '.join(absent)}")
    shutil.rmtree(folder, ignore_errors=True)
    aside = folder.with_suffix(".aside")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for name, content in sorted(found.items()):
        (aside / name).write_bytes(content)
    aside.rename(folder)


def fetched(machine: str) -> Iterator[tuple[str, bytes]]:
    """The libraries out of Debian's packages for a machine."""
    if shutil.which("apt-get") is None:
        raise MissingError("apt-get is not here")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for part in ("state/lists/partial", "cache/archives/partial", "debs"):
            (folder / part).mkdir(parents=True)
        (folder / "status").touch()
        (folder / "apt.conf").write_text(CONFIGURATION.format(folder=folder, architecture=ARCHITECTURES[machine]))
        apt = ["apt-get", "-c", str(folder / "apt.conf"), "-q"]
        for argv in ([*apt, "update"], [*apt, "download", *(f"{name}:{ARCHITECTURES[machine]}" for name in PACKAGES)]):
            try:
                done = subprocess.run(argv, cwd=folder / "debs", capture_output=True, text=True, timeout=DEADLINE_S, env={**os.environ, "LC_ALL": "C"})
            except subprocess.TimeoutExpired:
                raise MissingError(f"apt-get did not end within {DEADLINE_S} s") from None
            if done.returncode != 0:
                words = [line for line in done.stderr.splitlines() if line.startswith("E:")]
                raise MissingError(" ".join(words)[-300:] or f"apt-get ended with {done.returncode}")
        yield from libraries([folder / "debs"], machine)


def libraries(places: list[Path], machine: str) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the libraries for a machine in folders and .deb files, and the copyright files beside them."""
    for place in places:
        files = sorted(place.iterdir()) if place.is_dir() else [place]
        for file in files:
            if file.suffix == ".deb":
                yield from unpacked(file, machine)
            elif file.name in (*COMMON, LOADERS[machine]) and machine_of(content := file.read_bytes()) == machine:
                yield file.name, content


def unpacked(package: Path, machine: str) -> Iterator[tuple[str, bytes]]:
    """The same out of one .deb: an ar archive that holds a tar archive, data.tar.xz (deb(5))."""
    with tarfile.open(fileobj=io.BytesIO(member(package, "data.tar"))) as archive:
        files = {entry.name.rpartition("/")[2]: entry for entry in archive if entry.isfile() and "/share/" not in entry.name}
        links = {entry.name.rpartition("/")[2]: entry.linkname.rpartition("/")[2] for entry in archive if entry.issym()}
        found = {name: content_of(archive, files.get(name) or files.get(links.get(name, ""))) for name in (*COMMON, LOADERS[machine])}
        found = {name: content for name, content in found.items() if machine_of(content) == machine}
        yield from found.items()
        for entry in archive:
            if found and entry.isfile() and entry.name.endswith("/copyright"):
                yield f"{entry.name.split('/')[-2]}.copyright", content_of(archive, entry)


def content_of(archive: tarfile.TarFile, entry: tarfile.TarInfo | None) -> bytes:
    stream = archive.extractfile(entry) if entry else None
    return stream.read() if stream else b""


def member(package: Path, wanted: str) -> bytes:
    """A member of an ar archive, by how its name begins."""
    content = package.read_bytes()
    if not content.startswith(b"!<arch>\n"):
        raise MissingError(f"{package.name} is no Debian package")
    at = 8
    while at + 60 <= len(content):
        name, size = content[at : at + 16].decode("ascii", "replace").strip(), content[at + 48 : at + 58].strip()
        if not size.isdigit():
            break
        if name.startswith(wanted):
            if name.rstrip("/").endswith(".zst"):
                raise MissingError(f"{package.name} is packed with zstd: unpack it with `dpkg-deb -x` and name the folder of its libraries")
            return content[at + 60 : at + 60 + int(size)]
        at += 60 + int(size) + int(size) % 2
    raise MissingError(f"{package.name} is cut short")


def machine_of(content: bytes) -> str | None:
    """The machine that an ELF file is for."""
    return ELF_MACHINES.get(int.from_bytes(content[18:20], "little")) if content[:4] == b"\x7fELF" else None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
