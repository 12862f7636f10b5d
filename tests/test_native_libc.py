"""Debian's packages in, the C library that a phone is sent out: what the installation of the toolchain `native` does last."""

from __future__ import annotations

import io
import lzma
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from edgekit.toolchains.catalog import HERE, Toolchain, toolchain
from edgekit.toolchains.install import finish
from tests.conftest import missing

SCRIPT = HERE / "native" / "after_install.py"
COMMON = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1", "libstdc++.so.6")
ARM = b"\x7fELF" + bytes(14) + (183).to_bytes(2, "little")


def keep(folder: Path, named: str) -> str:
    """Run the step; what it says is missing. Without apt-get on PATH."""
    env = {"PATH": str(folder / "nothing"), "EDGEKIT_GLIBC": named}
    return subprocess.run([sys.executable, "-I", SCRIPT, folder], env=env, capture_output=True, text=True, check=True).stdout


def deb(path: Path, files: dict[str, bytes], links: dict[str, str], packed_by: str = "xz") -> None:
    """A Debian package as deb(5) describes it: ar with debian-binary, control.tar, data.tar."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, target in links.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    members = (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), (f"data.tar.{packed_by}", lzma.compress(data.getvalue())))
    path.write_bytes(b"!<arch>\n" + b"".join(header(name, len(content)) + content + b"\n" * (len(content) % 2) for name, content in members))


def header(name: str, size: int) -> bytes:
    return f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{size:<10}`\n".encode()


def packages(folder: Path) -> Path:
    """libc6 and libstdc++6 as trixie lays them out: below usr, a library under its full name with a link to it."""
    folder.mkdir()
    libraries = {f"usr/lib/aarch64-linux-gnu/{name}": ARM + name.encode() for name in COMMON if name != "libstdc++.so.6"}
    loader = {"usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1": ARM + b"loader", "usr/share/doc/libc6/copyright": b"LGPL"}
    deb(folder / "libc6.deb", libraries | loader, {"usr/lib/ld-linux-aarch64.so.1": "aarch64-linux-gnu/ld-linux-aarch64.so.1"})
    plus = {"usr/lib/aarch64-linux-gnu/libstdc++.so.6.0.33": ARM + b"libstdc++.so.6", "usr/share/gdb/auto-load/libstdc++.so.6": b"python"}
    deb(folder / "libstdc++6.deb", plus, {"usr/lib/aarch64-linux-gnu/libstdc++.so.6": "libstdc++.so.6.0.33"})
    return folder


def test_packages_that_the_user_names_are_unpacked(tmp_path: Path) -> None:
    assert keep(tmp_path, str(packages(tmp_path / "debs"))) == ""

    kept = tmp_path / "glibc/aarch64"
    assert sorted(path.name for path in kept.iterdir()) == sorted([*COMMON, "ld-linux-aarch64.so.1", "libc6.copyright"])
    assert all((kept / name).read_bytes() == ARM + name.encode() for name in COMMON)
    assert not (tmp_path / "glibc/x86_64").exists()


def test_so_are_libraries_in_a_folder_for_their_own_machine_only(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    for name in (*COMMON, "ld-linux-aarch64.so.1"):
        (tmp_path / "lib" / name).write_bytes(ARM)

    assert keep(tmp_path, str(tmp_path / "lib")) == ""

    (tmp_path / "lib/libm.so.6").write_bytes(b"\x7fELF" + bytes(14) + (62).to_bytes(2, "little"))
    words = keep(tmp_path, str(tmp_path / "lib"))
    assert "aarch64 (without libm.so.6)" in words
    assert "set EDGEKIT_GLIBC to a folder" in words
    assert (tmp_path / "glibc/aarch64/libm.so.6").read_bytes() == ARM  # what was whole before stays


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no package", "is no Debian package"), (b"!<arch>\n" + header("data.tar.zst", 4) + b"zzzz", "is packed with zstd"), (b"!<arch>\n", "is cut short")],
)
def test_what_is_no_package_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "odd.deb").write_bytes(content)

    assert f"odd.deb {words}" in keep(tmp_path, str(tmp_path / "odd.deb"))


def test_without_apt_the_cure_is_named() -> None:
    words = keep(Path("/nonexistent"), "")

    assert "aarch64 (apt-get is not here), x86_64 (apt-get is not here)" in words
    assert "set EDGEKIT_GLIBC" in words


@pytest.mark.toolchain
def test_what_a_toolchain_lacks_is_kept_until_a_repetition_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = toolchain("native").folder
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path))
    home = toolchain("native")
    (home.folder / "bin").mkdir(parents=True)
    home.python.symlink_to(real / "bin/python")
    monkeypatch.setenv("EDGEKIT_GLIBC", str(tmp_path / "absent.deb"))

    assert "No such file" in finished(home)
    monkeypatch.setenv("EDGEKIT_GLIBC", str(packages(tmp_path / "debs")))
    assert finished(home) == ""
    assert (home.folder / "glibc/aarch64/libc.so.6").exists()


def finished(home: Toolchain) -> str:
    finish(home, lambda _: None)
    return home.lacks


@pytest.mark.toolchain
def test_debians_own_packages_were_fetched_without_changing_apt() -> None:
    if not os.path.exists("/etc/debian_version"):
        missing("Debian's apt", "run the tests on Debian")

    for machine, loader in (("aarch64", "ld-linux-aarch64.so.1"), ("x86_64", "ld-linux-x86-64.so.2")):
        folder = toolchain("native").folder / "glibc" / machine
        assert {*COMMON, loader} < {path.name for path in folder.iterdir()}
    done = subprocess.run(["dpkg", "--print-foreign-architectures"], capture_output=True, text=True, check=True)
    assert "arm64" not in done.stdout
