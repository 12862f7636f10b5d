"""A device's folder with its `boot.json` in; the device as a tree of processes out, until it is ended: `python -m edgekit.lab.boot FOLDER`.

Three processes stand one inside the other:

    outside      holds the listening socket of the host, and waits
    first        process 1 of new pid, mount and network namespaces: mounts the device's root, /proc, /sys and /dev, forwards connections
                 inwards, and takes over orphans; when it ends, the kernel ends all that runs in the device
    service      in a user namespace on top, whose binfmt_misc knows qemu; the host's own is not touched. It becomes sshd or adbd

A user who is not root is made the only one, and root, of a user namespace around all three; the service is then the only user inside.
Each dies with the one around it. What the device writes lies in memory, so nothing is left of it afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from edgekit.lab.forward import forward

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x4000000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 1, 22, 2
SECCOMP_NUMBER, SECCOMP_ARCH, SECCOMP_FIRST_ARGUMENT = 0, 4, 16  # where they are in struct seccomp_data
SECCOMP_ALLOW, SECCOMP_ERRNO, AUDIT_ARCH_X86_64, SYS_SOCKET = 0x7FFF0000, 0x50000, 0xC000003E, 41
ALL_IDS = 65536
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
    only_ids: list[int]
    """Its user id and group id where there is but one of each: in the lab of a user who is not root."""
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
    alone = os.geteuid() != 0
    if alone:
        become_root()
    check(libc.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNET), "no new namespaces")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    first = os.fork()
    if first == 0:
        dies_with_parent()
        listener.setblocking(True)
        be_first(boot, root, listener, alone)
    listener.close()
    signal.signal(signal.SIGTERM, lambda *_: os.kill(first, signal.SIGKILL))
    os.waitpid(first, 0)


def become_root() -> None:
    """Be root in a user namespace in which there is nobody else (user_namespaces(7))."""
    user, group = os.geteuid(), os.getegid()
    check(libc.unshare(CLONE_NEWUSER), "no user namespace for a user who is not root")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1\n")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1\n")


def be_first(boot: Boot, root: Path, listener: socket.socket, alone: bool) -> None:
    """Mount the device, start its service, forward to it, and take over orphans until the service ends."""
    mount_all(boot, root, "userxattr" if alone else "")
    if boot.binfmt and alone:  # it belongs to root, who is not in the service's namespace; what is known here is known there
        register(boot.binfmt, root)
    socket.sethostname(boot.hostname)
    lift_loopback()
    ready, go = os.pipe(), os.pipe()
    service = os.fork()
    if service == 0:
        dies_with_parent()
        listener.close()
        be_service(boot, root, ready[1], go[0], alone)
    os.read(ready[0], 1)
    if boot.binfmt or alone:
        for name, only in zip(("uid_map", "gid_map"), boot.only_ids, strict=True):
            # Of root all ids are the host's own, so that files keep their owners.
            Path(f"/proc/{service}/{name}").write_text(f"{only} 0 1\n" if alone else f"0 0 {ALL_IDS}\n")
    os.write(go[1], b"!")
    forward(listener, boot.inner_port)
    while True:
        ended, status = os.wait()
        if ended == service:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def be_service(boot: Boot, root: Path, ready: int, go: int, alone: bool) -> None:
    """Let this user namespace know qemu, go into the root, and become the service."""
    if boot.binfmt or alone:
        check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "no user namespace")
    os.write(ready, b"!")
    os.read(go, 1)
    if boot.binfmt and not alone:
        register(boot.binfmt, root)
    refuse_vsock()
    os.chroot(root)
    os.chdir("/")
    if not alone:
        user, *groups = boot.ids
        os.setgroups(groups)
        os.setgid(groups[0])
        os.setuid(user)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.execve(boot.argv[0], boot.argv, boot.environment)


def register(line: str, root: Path) -> None:
    """Let the binfmt_misc of this user namespace know qemu."""
    place = root / "proc/sys/fs/binfmt_misc"
    mount("binfmt_misc", str(place), "binfmt_misc", 0)
    (place / "register").write_bytes(line.encode("latin-1"))


def mount_all(boot: Boot, root: Path, overlay_option: str) -> None:
    """The root, with everything that is written to it kept in memory, and what a kernel would show in it."""
    memory = root.parent / "memory"
    memory.mkdir(exist_ok=True)
    mount("tmpfs", str(memory), "tmpfs", 0, f"size={boot.writable_mb}m,mode=755")
    for part in ("upper", "work"):
        (memory / part).mkdir()
    options = [f"lowerdir={':'.join(boot.layers)}", f"upperdir={memory / 'upper'}", f"workdir={memory / 'work'}", overlay_option]
    mount("overlay", str(root), "overlay", 0, ",".join(filter(None, options)))
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


def refuse_vsock() -> None:
    """Let no socket be opened to virtual machines or their host: adbd listens there too, and network namespaces do not part these (seccomp(2))."""
    load, equal, give = 0x20, 0x15, 0x06  # BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K
    steps = [
        (load, 0, 0, SECCOMP_ARCH),
        (equal, 0, 4, AUDIT_ARCH_X86_64),
        (load, 0, 0, SECCOMP_NUMBER),
        (equal, 0, 2, SYS_SOCKET),
        (load, 0, 0, SECCOMP_FIRST_ARGUMENT),
        (equal, 1, 0, socket.AF_VSOCK),
        (give, 0, 0, SECCOMP_ALLOW),
        (give, 0, 0, SECCOMP_ERRNO | errno.EAFNOSUPPORT),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    check(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program), "no filter for system calls")


def lift_loopback() -> None:
    """Bring `lo` up in a new network namespace (netdevice(7))."""
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
