"""An adb server in, the devices attached to it out: the user's own `adb`, its servers, and what `adb devices -l` lists.

Formats: `adb devices -l` and the server's `host:version` as in the Android platform tools' documentation (adb's SERVICES.TXT, OVERVIEW.TXT).
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import SetupError, Unreachable
from edgekit.transport.streams import last_line

PORT = 5037
LIST_S = 15.0
SERVER_S = 2.0  # for a server's version; it answers from memory

SERIAL = r"[^\s@-][^\s@]*(?: [^\s@]+)*"  # mDNS names a second device of the same name `adb-1A2B (2)._adb-tls-connect._tcp`
ADDRESS = re.compile(rf"adb:(?P<serial>{SERIAL})?(?:@(?P<host>[^\s@:\[\]-][^\s@:\[\]]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{{1,5}}))?)?")
"""`adb:`, `adb:SERIAL`, `adb:SERIAL@HOST`, `adb:SERIAL@HOST:PORT`, `adb:@HOST`; matched whole."""

STATES = "device|offline|unauthorized|authorizing|connecting|bootloader|recovery|rescue|sideload|host|detached|unknown"
LISTED = re.compile(
    rf"(?P<serial>[^\s*]\S*|\S.*\._tcp\.?)\s+(?:(?P<state>{STATES})|(?P<closed>no permissions)(?P<hint>(?:(?! \w+:).)*))(?P<more>(?:\s+\w+:\S*)*)\s*"
)


@dataclass(frozen=True, slots=True)
class Attached:
    """One line of `adb devices -l`. What adb leaves out is empty or None; it writes other characters than letters and digits as `_`."""

    serial: str
    state: str  # as adb says it: "device" is well, "no permissions" and the others are not
    model: str = ""
    product: str = ""
    device: str = ""
    transport_id: int | None = None
    hint: str = ""  # what adb says of missing permissions


@dataclass(frozen=True, slots=True)
class Server:
    """An adb server: with no host the one that the user's environment means, which adb starts where none runs."""

    host: str = ""
    port: int | None = None

    @property
    def argv(self) -> list[str]:
        """What goes before adb's command."""
        return [*(["-H", self.host] if self.host else []), *(["-P", str(self.port or PORT)] if self.host else [])]

    @property
    def address(self) -> str:
        return f"adb:@{self.host}{f':{self.port}' if self.port else ''}" if self.host else "adb:"

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine."""
        return self.host in ("", "localhost", "127.0.0.1", "::1")

    @property
    def listens_on(self) -> tuple[str, int] | None:
        """Host and port; None where the environment names a socket of another kind."""
        if self.host:
            return self.host, self.port or PORT
        named = os.environ.get("ADB_SERVER_SOCKET", "")
        found = re.fullmatch(r"tcp:(?:(?P<host>[^:]+):)?(?P<port>[0-9]+)", named)
        if named:
            return (found["host"] or "127.0.0.1", int(found["port"])) if found else None
        port = os.environ.get("ANDROID_ADB_SERVER_PORT", "")
        return os.environ.get("ANDROID_ADB_SERVER_ADDRESS") or "127.0.0.1", int(port) if port.isdigit() else PORT


def adb_path() -> str:
    """The user's adb: on PATH, else in the Android SDK that ANDROID_HOME or ANDROID_SDK_ROOT names.

    Raises:
        SetupError: there is none.
    """
    if found := shutil.which("adb"):
        return found
    for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        if folder := os.environ.get(name):
            inside = Path(folder, "platform-tools", "adb")
            if os.access(inside, os.X_OK):
                return str(inside)
    raise SetupError(
        "adb is not installed: install Android's platform-tools (`sudo apt install adb`, `brew install android-platform-tools`) or set ANDROID_HOME"
    )


def attached(server: str = "", *, start_server: bool = True, timeout_s: float = LIST_S) -> tuple[Attached, ...]:
    """The devices attached to an adb server: "" is the user's own, else `HOST[:PORT]`; in the order of adb's list.

    With `start_server=False` nothing is started: no devices where no server listens, or where there is no adb.

    Raises:
        SetupError: there is no adb, or it is of another version than the server, which it would end.
        Unreachable: the server cannot be started or reached, or does not answer in time.
    """
    host, _, port = server.rpartition(":") if re.search(r":[0-9]+$", server) else (server, "", "")
    there = Server(host.strip("[]"), int(port) if port else None)
    if start_server:
        return listed(there, timeout_s=timeout_s)
    try:
        adb_path()
    except SetupError:
        return ()
    return listed(there, timeout_s=timeout_s) if there.listens_on is None or server_version(there) is not None else ()


def listed(server: Server, *, timeout_s: float, address: str = "") -> tuple[Attached, ...]:
    """The devices of a server; the user's own is started where none runs, one that is named (which may be this machine's too) never is.

    Raises: as `attached`; the message begins with `address`, or the server's.
    """
    check_version(server, address)
    done = adb(server, ["devices", "-l"], timeout_s=timeout_s)
    if done.returncode != 0:
        raise no_server(server, done.stderr or done.stdout, address)
    return parse(done.stdout)


def parse(text: str) -> tuple[Attached, ...]:
    """What `adb devices -l` printed; lines that are none of its list are passed over."""
    lines = iter(text.splitlines())
    if not any(line.startswith("List of devices") for line in lines):
        return ()
    return tuple(read(found) for line in lines if (found := LISTED.fullmatch(line)))


def read(found: re.Match[str]) -> Attached:
    told = dict(pair.split(":", 1) for pair in found["more"].split())
    number = told.get("transport_id", "")
    hint = re.sub(r";?\s*see \[?https?://\S*", "", found["hint"] or "").strip(" ();")
    return Attached(
        found["serial"],
        found["state"] or found["closed"],
        told.get("model", ""),
        told.get("product", ""),
        told.get("device", ""),
        int(number) if number.isascii() and number.isdigit() else None,
        hint,
    )


def adb(server: Server, argv: Sequence[str], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run one of adb's own commands; its code is the caller's to judge.

    Raises:
        SetupError: there is no adb, or it cannot be started.
        Unreachable: it did not end in time; it has been ended.
    """
    words = [adb_path(), *server.argv, *argv]
    try:
        return subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=max(timeout_s, 0.001), start_new_session=True
        )
    except OSError as exc:
        raise SetupError(f"{words[0]} cannot be started ({exc.strerror}): install Android's platform-tools anew") from exc
    except subprocess.TimeoutExpired as exc:
        cure = "run `adb kill-server` and replug the device" if not server.host else "look at that machine and the network to it"
        raise Unreachable(server.address, f"`adb {argv[0]}` did not answer within {timeout_s:g} s: {cure}") from exc


def check_version(server: Server, address: str = "") -> None:
    """See that our adb would not end a server that others use: it does so with one of another version, and cuts all its connections.

    Raises:
        SetupError: the versions differ.
        Unreachable: what listens there is no adb server, or nothing does where the user names one.
    """
    theirs = server_version(server, address) if server.listens_on else None
    if theirs is None and server.host:
        port = server.port or PORT
        start = "`adb start-server`" if port == PORT and server.is_here else f"`adb {'' if server.is_here else '-a '}-P {port} nodaemon server`"
        raise Unreachable(address or server.address, f"no adb server answers at {server.host} port {port}: start it there ({start}), or correct the address")
    ours = client_version(adb_path())
    if theirs is not None and ours is not None and theirs != ours:
        where = server.host or "this machine"
        raise SetupError(
            f"the adb server on {where} has version {theirs} and {adb_path()} version {ours}, which would end it and cut the connections of whoever uses it: "
            f"put the adb that started it first on PATH, or end it with its own `adb kill-server`"
        )


@functools.cache
def client_version(path: str) -> int | None:
    """The protocol version of an adb, 41 out of `Android Debug Bridge version 1.0.41`."""
    try:
        said = subprocess.run([path, "version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=LIST_S)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise SetupError(f"{path} does not say its version ({exc}): install Android's platform-tools anew") from exc
    found = re.search(r"Android Debug Bridge version 1\.0\.([0-9]{1,4})\b", said.stdout)
    return int(found[1]) if found else None


def server_version(server: Server, address: str = "") -> int | None:
    """The version of a server that runs, without starting one; None if none listens.

    Raises:
        Unreachable: what listens there is no adb server, or does not answer; the message begins with `address`, or the server's.
    """
    address = address or server.address
    place = server.listens_on
    assert place is not None
    try:
        with socket.create_connection(place, timeout=SERVER_S) as sock:
            sock.sendall(b"000chost:version")
            said = b""
            while len(said) < 12 and (data := sock.recv(64)):
                said += data
    except ConnectionRefusedError:
        return None
    except OSError as exc:
        cure = "check the name, the network and that its server runs with `adb -a`" if server.host else "end what listens there, or run `adb kill-server`"
        raise Unreachable(address, f"the adb server at {place[0]} port {place[1]} cannot be asked ({exc.strerror or exc}): {cure}") from exc
    found = re.fullmatch(rb"OKAY0004([0-9a-fA-F]{4})", said)
    if not found:
        raise Unreachable(address, f"what listens on {place[0]} port {place[1]} is no adb server: end it, or set ANDROID_ADB_SERVER_PORT to another port")
    return int(found[1], 16)


def no_server(server: Server, said: str, address: str = "") -> Unreachable:
    """The error for a server that adb cannot start or reach; with adb's own last words."""
    words = last_line(said).removeprefix("adb: ").removeprefix("error: ").rstrip(".") or "it said nothing"
    cure = "check the name, the network and that its server runs with `adb -a`" if server.host else "run `adb kill-server`, then `adb devices` by hand"
    return Unreachable(address or server.address, f"the adb server cannot be {'reached' if server.host else 'started'} ({words}): {cure}")
