"""This machine in, whether virtual devices can run on it out: rights, kernel and a way to let it know qemu."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from edgekit.errors import SetupError
from edgekit.lab.root import EMULATES
from edgekit.places import cache_dir

BINFMT = Path("/proc/sys/fs/binfmt_misc")
OWN_BINFMT_SINCE = (6, 7)
"""The first Linux in which a user namespace may have a binfmt_misc of its own (kernelnewbies.org/Linux_6.7)."""


def require_host(architectures: Collection[str]) -> None:
    """Refuse a machine on which virtual devices of some architectures (Debian's names) cannot run, before anything is fetched.

    Raises:
        SetupError: not Linux on x86-64, no right to make namespaces and mounts, or the kernel has no way to run foreign programs.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise SetupError("virtual devices need Linux on x86-64: use such a machine, or a real device")
    if not may_mount():
        raise SetupError(
            "this user may make no namespaces and mounts: repeat the command as root on a machine that allows it (most containers do not), "
            "or allow user namespaces to all (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
        )
    if re.search("[:,]", str(cache_dir())):
        raise SetupError(f"the folder {cache_dir()} has a colon or a comma in its name, which mounts take for a separator: name another in EDGEKIT_CACHE_DIR")
    unknown = next((one for one in architectures if not registered(one)), None)
    if kernel() < OWN_BINFMT_SINCE and unknown:
        raise SetupError(
            f"Linux {platform.release()} knows no private binfmt_misc (6.7 has it), and no qemu-{EMULATES[unknown]} is registered with flag F on this machine: "
            "install qemu-user-static"
        )


def may_mount() -> bool:
    """Whether root, or another user as root of a user namespace, may make namespaces and mount in them: tried by a child that ends at once."""
    flags = ["--mount", "--net", "--pid", "--fork", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    try:
        tried = subprocess.run(
            ["unshare", *flags, "mount", "-t", "tmpfs", "none", "/mnt"], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def binfmt_line(qemu: Path, architecture: str) -> str:
    """What makes binfmt_misc run programs of an architecture by `qemu`, Debian's unpacked package; "" where the host's own registration has to do."""
    if kernel() < OWN_BINFMT_SINCE:
        return ""
    line = (qemu / f"usr/share/qemu/binfmt.d/qemu-{EMULATES[architecture]}.conf").read_text().strip()
    magic, interpreter, flags = line.rsplit(":", 2)
    return f"{magic}:{qemu}{interpreter}:{flags}"


def kernel() -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return (int(found[1]), int(found[2])) if found else (0, 0)


def registered(architecture: str) -> bool:
    """Whether the host runs programs of an architecture in any root (flag F: the emulator was opened when it was registered)."""
    file = BINFMT / f"qemu-{EMULATES[architecture]}"
    text = file.read_text() if file.is_file() else ""
    return text.startswith("enabled") and re.search(r"(?m)^flags: \w*F", text) is not None
