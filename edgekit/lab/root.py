"""Debian's packages in, the folder that the root of a virtual device begins with out: made once, shared, and never written to."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from edgekit.errors import SetupError
from edgekit.files import written_aside
from edgekit.lab.packages import Progress, digest, locked, unpacked
from edgekit.places import cache_dir

QEMU = ("qemu-user",)
EMULATES = {"arm64": "aarch64", "armhf": "arm"}
"""Debian's name of an architecture → qemu's: two of some sixty that it emulates."""
QEMU_PATHS = ("usr/bin/qemu-{}", "usr/libexec/qemu-binfmt/{}-binfmt-P", "usr/share/qemu/binfmt.d/qemu-{}.conf")
QEMU_FILES = tuple(path.format(name) for name in EMULATES.values() for path in QEMU_PATHS)
PI = (
    *("openssh-server", "python3-minimal", "libpython3-stdlib", "libgomp1", "libstdc++6", "procps", "coreutils", "dash", "diffutils"),
    *("findutils", "grep", "gzip", "hostname", "mawk", "sed", "tar", "util-linux"),
)
PHONE = ("adbd", "busybox-static", "mksh", "toybox")
# What openssh-server and util-linux ask for to be installed and kept up, and not to run.
WITHOUT = (
    *("adduser", "base-passwd", "debconf", "debianutils", "dpkg", "init-system-helpers", "libpam-modules", "libpam-runtime", "libsystemd-shared"),
    *("login.defs", "lsb-base", "media-types", "mount", "netbase", "openssl-provider-legacy", "passwd", "perl-base", "readline-common"),
    *("runit-helper", "sensible-utils", "systemd", "systemd-sysv", "sysvinit-utils", "tzdata", "ucf"),
)

TOYBOX = (Path(__file__).parent / "toybox.txt").read_text().split()
"""What Android 9 has of toybox, with its dd and grep (AOSP, system/core, shell_and_utilities/README.md); later ones have more."""

SLOW = "sha256sum"
"""Android builds it with BoringSSL, Debian without: emulated it takes four times as long as busybox's."""

HIDDEN = "/apex/.lab"
"""Where the phone keeps what no phone has: glibc for adbd and toybox, and the answers of stand-ins."""

LOADER = f"{HIDDEN}/lib/ld-linux-aarch64.so.1"
ADBD = "usr/lib/android-sdk/platform-tools/adbd"


def qemu_folder(say: Progress) -> Path:
    """What emulates Arm processors, out of Debian's qemu-user, as it lies below `/`."""
    return unpacked(QEMU, "amd64", only=QEMU_FILES, say=say)


def pi_layer(architecture: str, say: Progress) -> Path:
    """A Debian userland with sshd and Python, without what makes it boot.

    Raises:
        SetupError: the packages cannot be fetched or unpacked.
    """
    return unpacked(PI, architecture, without=WITHOUT, say=say)


def phone_layer(say: Progress) -> Path:
    """Android's shape: mksh and toybox in /system/bin, no glibc where a program looks for one; made once.

    Raises:
        SetupError: the packages cannot be fetched, unpacked or changed.
    """
    source, qemu = unpacked(PHONE, "arm64", say=say), qemu_folder(say)
    patchelf = unpacked(("patchelf",), "amd64", say=say)
    layer = cache_dir() / "lab" / "layers" / digest(source.name, qemu.name, patchelf.name, Path(__file__).read_text())
    with locked(layer.parent):
        if not layer.is_dir():
            say("laying out the virtual phone", None)
            with written_aside(layer) as aside:
                lay_out_phone(source, qemu, patchelf, aside)
    return layer


def lay_out_phone(source: Path, qemu: Path, patchelf: Path, layer: Path) -> None:
    """Debian's files at Android's places; toybox is made to find its loader and libraries where they are hidden."""
    hidden, tools = layer / HIDDEN.lstrip("/"), layer / "system/bin"
    for folder in (hidden / "lib", hidden / "bin", tools):
        folder.mkdir(parents=True)
    for file in (source / "usr/lib/aarch64-linux-gnu").rglob("*.so*"):
        if "gconv" not in file.parts:
            shutil.copy(file, hidden / "lib" / file.name)
    shutil.copy(source / ADBD, hidden / "bin/adbd")
    shutil.copy(source / "usr/bin/busybox", hidden / "bin/busybox")
    shutil.copy(source / "usr/bin/toybox", tools / "toybox")
    shutil.copy(source / "usr/lib/aarch64-linux-musl/bin/mksh", tools / "sh")
    emulator = str(qemu / "usr/bin/qemu-aarch64")
    with_loader = [emulator, str(hidden / "lib" / Path(LOADER).name), "--library-path", str(hidden / "lib")]
    in_toybox = tool([*with_loader, str(tools / "toybox")]).split()
    in_busybox = tool([emulator, str(hidden / "bin/busybox"), "--list"]).split()
    for name in TOYBOX:  # Debian builds toybox without what its authors call pending, such as dd, and Android with it
        if name in in_busybox and (name not in in_toybox or name == SLOW):
            (tools / name).symlink_to(f"{HIDDEN}/bin/busybox")
        elif name in in_toybox:
            (tools / name).symlink_to("toybox")
    loader = [str(patchelf / "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", str(patchelf / "usr/lib/x86_64-linux-gnu")]
    changes = ["--set-interpreter", LOADER, "--force-rpath", "--set-rpath", f"{HIDDEN}/lib"]
    tool([*loader, str(patchelf / "usr/bin/patchelf"), *changes, str(tools / "toybox")])


def tool(words: list[str]) -> str:
    """What a program says.

    Raises:
        SetupError: it failed.
    """
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
    if done.returncode:
        said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
        raise SetupError(f"{Path(words[0]).name} cannot prepare the virtual phone ({said}): remove {cache_dir() / 'lab'} and repeat the command")
    return done.stdout
