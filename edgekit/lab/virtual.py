"""What virtual devices are to be up in, running ones out, as targets that `--target virtual-pi` and `--target virtual-android` name.

All of a lab is in one folder (`virtual` in the user's data folder): what each device runs from, its log, its process, and the lab file and SSH
configuration by which edgekit reaches it. Nothing else on the machine is changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from edgekit.errors import DeviceError, SetupError
from edgekit.files import disk_errors, write_text
from edgekit.lab import answers
from edgekit.lab.host import binfmt_line, require_host
from edgekit.lab.keys import key_pair
from edgekit.lab.own import PI_PORT, give, phone_files, pi_files
from edgekit.lab.packages import Package, Progress, locked, resolve, silent
from edgekit.lab.root import HIDDEN, LOADER, PHONE, PI, QEMU, WITHOUT, phone_layer, pi_layer, qemu_folder
from edgekit.places import data_dir
from edgekit.transport.adb_devices import Server, adb, adb_path, attached

KINDS = {"pi": "virtual-pi", "android": "virtual-android"}
SSH_ALIAS = "edgekit-virtual-pi"
PORTS = {"pi": 40022, "android": 40055}
"""Preferred; a free one is taken where these are not. Odd ports from 5555 to 5585 would be taken for emulators by adb."""

WRITABLE_MB = 1024  # it lies in memory, and only what is written takes room
ANSWER_S, STOP_S = 60.0, 10.0
POLL_S = 0.1
PHONE_PORT = 5555  # inside
ANDROID_PATH = "/product/bin:/system/bin:/system/xbin:/odm/bin:/vendor/bin"


@dataclass(frozen=True, slots=True)
class Virtual:
    """One virtual device that is up: its `state.json`."""

    kind: str
    """`pi` or `android`."""
    passes_for: str
    """Whose answers it gives, such as `pi5`."""
    address: str
    port: int
    folder: str
    """`sys` and `answers` in it may be written to while it runs: it tells what they hold then."""
    pid: int
    started: str
    """When the process was started, by the kernel's clock; a process id alone may belong to another by now."""

    @property
    def name(self) -> str:
        return KINDS[self.kind]

    @property
    def running(self) -> bool:
        return started(self.pid) == self.started


def lab_folder() -> Path:
    return data_dir() / "virtual"


def to_fetch(kinds: Mapping[str, str], say: Progress = silent) -> tuple[Package, ...]:
    """The packages that are not here yet."""
    wanted = resolve(QEMU, "amd64", say=say)
    if "pi" in kinds:
        architecture = answers.check(kinds["pi"], "pi").architecture
        wanted += resolve(PI, architecture, without=WITHOUT, say=say)
    if "android" in kinds:
        wanted += (*resolve(PHONE, "arm64", say=say), *resolve(("patchelf",), "amd64", say=say))
    return tuple({package.file: package for package in wanted if not package.fetched}.values())


def up(kinds: Mapping[str, str], folder: Path | None = None, say: Progress = silent, *, writable_mb: int = WRITABLE_MB) -> tuple[Virtual, ...]:
    """Bring virtual devices up; those that are up already, and pass for the same, stay as they are.

    Args:
        kinds: `pi` or `android` → what it passes for (`edgekit.lab.answers.names`).
        folder: the lab's, if it is not the user's.
        writable_mb: how much may be written to a device, in MiB.

    Raises:
        SetupError: this machine does not allow it, packages cannot be fetched, or a device does not come up; with its log.
        InputError: no virtual device can pass for that.
    """
    folder = folder or lab_folder()
    wanted = {kind: answers.check(name, kind) for kind, name in kinds.items()}
    require_host(answers.architectures(kinds))
    if "android" in kinds:
        adb_path()
    with locked(folder):
        running = {device.kind: device for device in status(folder)}
        for kind, told in wanted.items():
            there = running.get(kind)
            if there is None or there.passes_for != told.name:
                end(folder, kind)
                running[kind] = start(folder, kind, told, say, writable_mb)
                name_targets(folder)
            await_answer(running[kind], say)
    return tuple(running[kind] for kind in kinds)


def down(folder: Path | None = None, kinds: tuple[str, ...] = tuple(KINDS)) -> tuple[str, ...]:
    """End virtual devices and take their targets away; gives the names of those that were up."""
    folder = folder or lab_folder()
    if not folder.is_dir():
        return ()
    with locked(folder):
        ended = tuple(KINDS[kind] for kind in kinds if end(folder, kind))
        name_targets(folder)
    return ended


def status(folder: Path | None = None) -> tuple[Virtual, ...]:
    """The devices that are up."""
    return tuple(device for device in known(folder or lab_folder()) if device.running)


def known(folder: Path) -> Iterator[Virtual]:
    for kind in KINDS:
        with contextlib.suppress(OSError, ValueError, TypeError):
            yield Virtual(**json.loads((folder / kind / "state.json").read_text()))


def start(folder: Path, kind: str, told: answers.Answers, say: Progress, writable_mb: int) -> Virtual:
    """Lay a device out and start its process."""
    place = folder / kind
    port = free_port(PORTS[kind])
    qemu = qemu_folder(say)
    layer = pi_layer(told.architecture, say) if kind == "pi" else phone_layer(say)
    with disk_errors(place):
        place.mkdir(parents=True, mode=0o755, exist_ok=True)
        answers.write(told, place)
        boot = pi_boot(place, folder, told, port) if kind == "pi" else phone_boot(place, told)
        boot |= {"hostname": KINDS[kind], "layers": [str(place / "own"), str(layer)], "outer_port": port, "writable_mb": writable_mb}
        write_text(place / "boot.json", json.dumps({**boot, "binfmt": binfmt_line(qemu, told.architecture)}, indent=1))
        say(f"{KINDS[kind]}: starting", None)
        pid = launch(place)
        address = f"ssh:{SSH_ALIAS}" if kind == "pi" else f"adb:127.0.0.1:{port}"
        device = Virtual(kind, told.name, address, port, str(place), pid, started(pid))
        write_text(place / "state.json", json.dumps(asdict(device), indent=1))
    return device


def launch(place: Path) -> int:
    """Start the process that is the device, in a session of its own and for longer than this one lives; its process id."""
    words = [sys.executable, "-P", "-m", "edgekit.lab.boot", str(place)]
    log = os.open(place / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        to = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        return os.posix_spawn(sys.executable, words, os.environ, file_actions=to, setsid=True)
    finally:
        os.close(log)


def pi_boot(place: Path, folder: Path, told: answers.Answers, port: int) -> dict[str, object]:
    """The board's own files, the SSH configuration that leads to it, and how its sshd is started."""
    host_private, host_public = key_pair()
    user_private, user_public = key_pair()
    environment = {"QEMU_CPU": told.cpu}
    pi_files(place / "own", user_public, host_private, environment)
    (folder / "user_key").write_bytes(user_private)
    (folder / "user_key").chmod(0o600)
    write_text(folder / "known_hosts", f"{SSH_ALIAS} {host_public}\n")
    write_text(folder / "ssh_config", SSH_CONFIG.format(alias=SSH_ALIAS, port=port, key=folder / "user_key", known_hosts=folder / "known_hosts"))
    path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    shared = {"/sys": str(place / "sys"), "/run/answers": str(place / "answers")}
    users = {"ids": [0, 0], "only_ids": [1000, 1000]}
    return users | {"argv": ["/usr/sbin/sshd", "-D", "-e"], "environment": environment | path, "inner_port": PI_PORT, "shared": shared}


SSH_CONFIG = """Host {alias}
  HostName 127.0.0.1
  Port {port}
  User pi
  IdentityFile "{key}"
  IdentitiesOnly yes
  UserKnownHostsFile "{known_hosts}"
  HostKeyAlias {alias}
"""


def phone_boot(place: Path, told: answers.Answers) -> dict[str, object]:
    """The phone's own files, and how its adbd is started: as the user `shell`, by the loader that is hidden there."""
    phone_files(place / "own")
    for file in (place / "answers", *(place / "answers").iterdir()):
        give(file, 2000)
    environment = {"QEMU_CPU": told.cpu, "ADBD_PORT": str(PHONE_PORT), "PATH": ANDROID_PATH, "HOME": "/", "SHELL": "/system/bin/sh", "USER": "shell"}
    environment |= {"ANDROID_ROOT": "/system", "ANDROID_DATA": "/data", "EXTERNAL_STORAGE": "/sdcard", "TMPDIR": "/data/local/tmp"}
    argv = [LOADER, "--library-path", f"{HIDDEN}/lib", f"{HIDDEN}/bin/adbd"]
    shared = {"/sys": str(place / "sys"), f"{HIDDEN}/answers": str(place / "answers")}
    users = {"ids": [2000, 2000, 1003, 1004, 1007, 1015, 3003], "only_ids": [2000, 2000]}
    return users | {"argv": argv, "environment": environment, "inner_port": PHONE_PORT, "shared": shared}


def await_answer(device: Virtual, say: Progress) -> None:
    """Wait until sshd greets, or until adb lists the phone as ready.

    Raises:
        SetupError: it does not within ANSWER_S, or its process has ended; with the last line of its log.
    """
    deadline = time.monotonic() + ANSWER_S
    while not (greets(device.port) if device.kind == "pi" else listed(device)):
        if not device.running or time.monotonic() > deadline:
            lines = (Path(device.folder) / "log").read_text(errors="replace").strip().splitlines()
            cause = lines[-1] if lines else "it says nothing"
            stop(device)
            raise SetupError(f"{device.name} does not come up ({cause}): its log is {device.folder}/log; `edgekit lab virtual down` clears what is left")
        say(f"{device.name}: waiting for it to answer", None)
        time.sleep(POLL_S)


def greets(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        return sock.recv(4) == b"SSH-"
    return False


def listed(device: Virtual) -> bool:
    """Whether the user's adb server has the phone, after having been told of it."""
    serial = device.address.removeprefix("adb:")
    if any(one.serial == serial and one.state == "device" for one in attached()):
        return True
    adb(Server(), ["connect", serial], timeout_s=10)
    return False


def end(folder: Path, kind: str) -> bool:
    """End one device and remove its files; whether it was up."""
    there = [device for device in known(folder) if device.kind == kind]
    was_up = [stop(device) for device in there]
    shutil.rmtree(folder / kind, ignore_errors=True)
    return any(was_up)


def stop(device: Virtual) -> bool:
    """End a device's processes, and have adb forget it; whether it was up."""
    was_up = device.running
    if was_up:
        os.kill(device.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while device.running and time.monotonic() < deadline:
        reap(device.pid)
        time.sleep(0.02)
    serial = device.address.removeprefix("adb:")
    with contextlib.suppress(SetupError, DeviceError):  # no adb, or none that answers: then nothing knows the device
        if any(one.serial == serial for one in attached(start_server=False)):
            adb(Server(), ["disconnect", serial], timeout_s=STOP_S)
    return was_up


def reap(pid: int) -> None:
    """Take the exit code of a process if it is our own child, which would else stay as a zombie."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def name_targets(folder: Path) -> None:
    """Write the lab file that names the devices that are up; none where none is."""
    entries = []
    for device in status(folder):
        profile = answers.answers(device.passes_for).profile
        entries += ["[[device]]", f'name = "{device.name}"', f'address = "{device.address}"', *([f'profile = "{profile}"'] if profile else []), ""]
    if entries:
        write_text(folder / "lab.toml", "\n".join(entries))
    else:
        for name in ("lab.toml", "ssh_config", "known_hosts", "user_key"):
            (folder / name).unlink(missing_ok=True)


def started(pid: int) -> str:
    """When a process was started, in ticks since the boot of that id; "" where there is none, or only its remains (proc(5), stat)."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {fields[19]}" if fields[0] != "Z" else ""
    return ""


def free_port(preferred: int) -> int:
    for port in (preferred, 0):
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            return int(sock.getsockname()[1])
    raise SetupError("no port of 127.0.0.1 is free: end some programs and repeat the command")
