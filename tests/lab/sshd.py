"""A genuine OpenSSH server on loopback, out of Debian's package: `with sshd() as server:` gives an address that edgekit can open.

Its users are made for it and removed with it; their home folders are empty and their python3 is the system's, without packages.
Keys, configuration and known_hosts lie in a temporary folder: nobody's `~/.ssh` is read or written.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SSHD = "/usr/sbin/sshd"
START_S = 10.0


def missing() -> str | None:
    """Why a server cannot be brought up here, with the cure; None if it can."""
    if not Path(SSHD).exists():
        return f"{SSHD} is missing: sudo apt-get install openssh-server"
    if os.geteuid() != 0:
        return "a user has to be made for the SSH server: run the tests as root"
    if not Path("/usr/bin/python3").exists():
        return "/usr/bin/python3 is missing: sudo apt-get install python3"
    return None


@dataclass
class Server:
    """A running sshd. `config` is for EDGEKIT_SSH_CONFIG; in it the server is also called `bench`."""

    folder: Path
    user: str
    home: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    options: list[str] = field(default_factory=list)  # further lines of sshd_config

    @property
    def address(self) -> str:
        return f"ssh:{self.user}@127.0.0.1:{self.port}"

    @property
    def config(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def identity(self) -> Path:
        return self.folder / "user_key"

    @property
    def host_key(self) -> Path:
        return self.folder / "host_key"

    def new_host_key(self, *, known: bool) -> None:
        """Give the server another host key (it counts after `restart`); `known` says whether known_hosts learns it."""
        for file in (self.host_key, Path(f"{self.host_key}.pub")):
            file.unlink(missing_ok=True)
        keygen(self.host_key)
        if known:
            self.know_host_key()

    def know_host_key(self) -> None:
        kind, key, *_ = Path(f"{self.host_key}.pub").read_text().split()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")

    def start(self) -> None:
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.host_key}",
            f"PidFile {self.folder / 'pid'}",
            f"AuthorizedKeysFile {self.folder / 'authorized_keys'}",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "UsePAM no",
            "StrictModes no",
            f"AllowUsers {self.user}",
            "UseDNS no",
            *self.options,
        ]
        file = self.folder / "sshd_config"
        file.write_text("\n".join(lines) + "\n")
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd shuts its unprivileged half in; Debian's service makes it
        with (self.folder / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_S
        while not listens(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"sshd does not start: {self.log()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End the server and all its connections, as a power cut would."""
        if self.process is not None:
            for pid in [*self.sessions(), self.process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def drop(self) -> None:
        """End all connections; the server goes on."""
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def sessions(self) -> list[int]:
        """The process ids of sshd's own children and their children, while they are sshd: the connections, not the commands."""
        if self.process is None:
            return []
        found, parents = [], [self.process.pid]
        while parents:
            for child in children(parents.pop()):
                if name_of(child).startswith("sshd"):
                    found.append(child)
                    parents.append(child)
        return found

    def log(self) -> str:
        return (self.folder / "sshd.log").read_text(errors="replace")


def keygen(path: Path, passphrase: str = "") -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)], check=True, stdin=subprocess.DEVNULL)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def name_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


@contextlib.contextmanager
def new_user() -> Iterator[pwd.struct_passwd]:
    """A user with an empty home folder, for as long as the block lasts."""
    name = f"edgekit-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="edgekit-skel-") as skeleton:
        subprocess.run(["useradd", "--create-home", "--skel", skeleton, "--shell", "/bin/sh", "--password", "*", name], check=True, capture_output=True)
    try:
        yield pwd.getpwnam(name)
    finally:
        end_processes_of(pwd.getpwnam(name).pw_uid)
        subprocess.run(["userdel", "--remove", "--force", name], check=False, capture_output=True)


def end_processes_of(uid: int) -> None:
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and folder.stat().st_uid == uid:
                os.kill(int(folder.name), signal.SIGKILL)


@contextlib.contextmanager
def sshd(*options: str) -> Iterator[Server]:
    """A running server with a user of its own; `options` are further lines of its sshd_config.

    Where it cannot be: the test is skipped with the reason and the cure, or fails if CI=true.
    """
    reason = missing()
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="edgekit-sshd-"))
    folder.chmod(0o755)  # the user reads authorized_keys in it
    try:
        with new_user() as user:
            server = Server(folder, user.pw_name, Path(user.pw_dir), free_port(), options=list(options))
            keygen(server.identity)
            shutil.copy(f"{server.identity}.pub", folder / "authorized_keys")
            server.new_host_key(known=True)
            server.config.write_text(config_text(server))
            try:
                server.start()
                yield server
            finally:
                server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def config_text(server: Server) -> str:
    return "\n".join(
        [
            "Host bench",
            "  HostName 127.0.0.1",
            f"  Port {server.port}",
            f"  User {server.user}",
            "Host *",
            f"  IdentityFile {server.identity}",
            "  IdentitiesOnly yes",
            f"  UserKnownHostsFile {server.known_hosts}",
            "",
        ]
    )


def running(words: str) -> bool:
    """Whether a process (not a zombie) has exactly these words as its command line."""
    wanted = words.replace(" ", "\0") + "\0"
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and (folder / "cmdline").read_text(errors="replace") == wanted:
                return True
    return False


def wait_until(true: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Return as soon as it is so; fail the test if it does not become so."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not become so"
        time.sleep(0.02)
