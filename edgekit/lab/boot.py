"""A device's folder with its `boot.json` in; the device as a tree of processes out, until it is ended: `python -m edgekit.lab.boot FOLDER`.

Three processes stand one inside the other:

    outside      holds the listening socket of the host, and waits
    first        process 1 of new pid, mount and network namespaces: mounts the device's root, /proc, /sys and /dev, forwards connections
                 inwards, and takes over orphans; when it ends, the kernel ends all that runs in the device
    service      in a user namespace on top, whose binfmt_misc knows qemu; the host's own is not touched. It becomes sshd or adbd

Each dies with the one around it. What the device writes lies in memory, so nothing is left of it afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from edgekit.lab.forward import forward

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x4000000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG = 1
IDS = "0 0 65536\n"
"""All ids of the service are the host's own: files keep their owners."""
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Boot:
    """What makes a device: its `boot.json`."""

    hostname: str
    layers: list[str]
    """Folders that make up its root, the uppermost first; none of them is written to."""
    shared: dict[str, str]
    """Place in the device → the host's folder that is seen there."""
    binfmt: str
    """The line by which binfmt_misc knows qemu (Linux, Documentation/admin-guide/binfmt-misc.rst), or "" to use the host's own."""
    argv: list[str]
    environment: dict[str, str]
    ids: list[int]
    """User id and group ids of the service."""
    outer_port: int
    inner_port: int
    writable_mb: int


def main(folder: Path) -> None:
    """Bring the device up, and stay until it has ended."""
    boot = Boot(**json.loads((folder / "boot.json").read_text()))
    listener = socket.create_server(("127.0.0.1", boot.outer_port))
    root = folder / "root"
    root.mkdir(exist_ok=True)
    os.chdir("/")
    check(libc.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNET), "no new namespaces")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    first = os.fork()
    if first == 0:
        dies_with_parent()
        listener.setblocking(True)
        be_first(boot, root, listener)
    listener.close()
    signal.signal(signal.SIGTERM, lambda *_: os.kill(first, signal.SIGKILL))
    os.waitpid(first, 0)


def be_first(boot: Boot, root: Path, listener: socket.socket) -> None:
    """Mount the device, start its service, forward to it, and take over orphans until the service ends."""
    mount_all(boot, root)
    socket.sethostname(boot.hostname)
    lift_loopback()
    ready, go = os.pipe(), os.pipe()
    service = os.fork()
    if service == 0:
        dies_with_parent()
        listener.close()
        be_service(boot, root, ready[1], go[0])
    os.read(ready[0], 1)
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{service}/{name}").write_text(IDS)
    os.write(go[1], b"!")
    forward(listener, boot.inner_port)
    while True:
        ended, status = os.wait()
        if ended == service:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def be_service(boot: Boot, root: Path, ready: int, go: int) -> None:
    """Let this user namespace know qemu, go into the root, and become the service."""
    if boot.binfmt:
        check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "no user namespace")
    os.write(ready, b"!")
    os.read(go, 1)
    if boot.binfmt:
        place = root / "proc/sys/fs/binfmt_misc"
        mount("binfmt_misc", str(place), "binfmt_misc", 0)
        (place / "register").write_bytes(boot.binfmt.encode("latin-1"))
    os.chroot(root)
    os.chdir("/")
    user, *groups = boot.ids
    os.setgroups(groups)
    os.setgid(groups[0])
    os.setuid(user)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.execve(boot.argv[0], boot.argv, boot.environment)


def mount_all(boot: Boot, root: Path) -> None:
    """The root, with everything that is written to it kept in memory, and what a kernel would show in it."""
    memory = root.parent / "memory"
    memory.mkdir(exist_ok=True)
    mount("tmpfs", str(memory), "tmpfs", 0, f"size={boot.writable_mb}m,mode=755")
    for part in ("upper", "work"):
        (memory / part).mkdir()
    mount("overlay", str(root), "overlay", 0, f"lowerdir={':'.join(boot.layers)},upperdir={memory / 'upper'},workdir={memory / 'work'}")
    for name in ("proc", "dev", *boot.shared):
        (root / name.lstrip("/")).mkdir(parents=True, exist_ok=True)
    mount("proc", str(root / "proc"), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for inside, outside in boot.shared.items():
        mount(outside, str(root / inside.lstrip("/")), None, MS_BIND)
    mount("tmpfs", str(root / "dev"), "tmpfs", MS_NOSUID, "mode=755")
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        (root / "dev" / name).touch()
        mount(f"/dev/{name}", str(root / "dev" / name), None, MS_BIND)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):
        (root / "dev" / name).symlink_to(target)
    (root / "dev/pts").mkdir()
    mount("devpts", str(root / "dev/pts"), "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    (root / "dev/ptmx").symlink_to("pts/ptmx")
    (root / "dev/shm").mkdir()
    mount("tmpfs", str(root / "dev/shm"), "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    # What this process itself looks at is the device's /proc, not the host's.
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)


def lift_loopback() -> None:
    """Bring `lo` up in a new network namespace (netdevice(7))."""
    import fcntl
    import struct

    with socket.socket() as sock:
        asked = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(sock, SIOCGIFFLAGS, asked), 16)
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    result = libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, options.encode() or None)
    check(result, f"cannot mount {kind or source} at {target}")


def check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def dies_with_parent() -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(Path(sys.argv[1]))
