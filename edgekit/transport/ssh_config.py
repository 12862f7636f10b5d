"""An address (`ssh:[user@]host[:port]`) and the user's SSH configuration in; the hops to the device out, the device last.

Of `~/.ssh/config` (or the file that EDGEKIT_SSH_CONFIG names, and then no other) these are honoured: HostName, User, Port,
IdentityFile, IdentitiesOnly, ProxyJump, ProxyCommand, UserKnownHostsFile, HostKeyAlias, ConnectTimeout, Include, Host and Match.
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import InputError
from edgekit.places import data_dir

if TYPE_CHECKING:
    import paramiko

DEFAULT_PORT = 22
DEFAULT_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
DEFAULT_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")
SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
VIRTUAL_PI = "edgekit-virtual-pi"
HOP_LIMIT = 8
INCLUDE_LIMIT = 16
DESTINATION = re.compile(r"(?:(?P<user>[^@]+)@)?(?:\[(?P<ipv6>[0-9a-fA-F:.%\w]+)\]|(?P<host>[^:@\s/-][^:@\s/]*))(?::(?P<port>\d{1,5}))?/?")


@dataclass(frozen=True, slots=True)
class Hop:
    """One host to log in to, with all that its configuration says about how."""

    alias: str  # as the user wrote it
    host: str
    port: int
    user: str
    known_as: str  # its name in known_hosts
    known_hosts: tuple[Path, ...]  # the user's own first; they need not exist
    identity_files: tuple[Path, ...]
    identities_only: bool
    connect_s: float | None
    proxy_command: str | None


def hops(address: str) -> tuple[Hop, ...]:
    """The way to a device.

    Raises:
        InputError: the address or the configuration cannot be used.
    """
    return way(address.removeprefix("ssh:"), 1)


def way(destination: str, depth: int) -> tuple[Hop, ...]:
    """The hops to one destination: those its ProxyJump names, then itself."""
    if depth > HOP_LIMIT:
        raise InputError(f"ProxyJump leads over more than {HOP_LIMIT} hosts to {destination}: look for a circle in the SSH configuration")
    hop, jumps = resolve(destination)
    if not jumps:
        return (hop,)
    first, *others = jumps
    return (*way(first, depth + 1), *(resolve(jump)[0] for jump in others), hop)


def resolve(destination: str) -> tuple[Hop, list[str]]:
    """One destination with its configuration, and the destinations of its ProxyJump."""
    match = DESTINATION.fullmatch(destination.removeprefix("ssh://"))
    if match is None or not 0 < int(match["port"] or DEFAULT_PORT) < 65536:
        raise InputError(f"{destination!r} is not an SSH destination: write ssh:[user@]host[:port], as in ssh:pi@bench or ssh:pi@192.0.2.7:2222")
    alias = match["ipv6"] or match["host"]
    options = lookup(alias, match["user"], match["port"])
    host, port = options["hostname"], number("Port", options.get("port", str(DEFAULT_PORT)))
    jumps = [jump.strip() for jump in options.get("proxyjump", "").split(",") if jump.strip() not in ("", "none")]
    named_keys = options.get("identityfile")
    hop = Hop(
        alias=alias,
        host=host,
        port=port,
        user=options.get("user") or getpass.getuser(),
        known_as=options.get("hostkeyalias") or (host if port == DEFAULT_PORT else f"[{host}]:{port}"),
        known_hosts=(*paths(options.get("userknownhostsfile", DEFAULT_KNOWN_HOSTS)), SYSTEM_KNOWN_HOSTS),
        identity_files=tuple(Path(key).expanduser() for key in (named_keys or DEFAULT_KEYS)),
        identities_only=options.get("identitiesonly", "no").lower() == "yes",
        connect_s=number("ConnectTimeout", options["connecttimeout"]) if "connecttimeout" in options else None,
        proxy_command=None if jumps else options.get("proxycommand"),
    )
    return hop, jumps


def lookup(alias: str, user: str | None, port: str | None) -> paramiko.SSHConfigDict:
    """What the configuration says of a host; what the address says goes before it."""
    import paramiko

    said = [*([f"User {user}"] if user else []), *([f"Port {port}"] if port else [])]
    named = os.environ.get("EDGEKIT_SSH_CONFIG")
    files = [Path(named)] if named else [Path("~/.ssh/config").expanduser(), SYSTEM_CONFIG]
    if alias == VIRTUAL_PI:
        files = [virtual_config()]
    elif named and not files[0].is_file():
        raise InputError(f"EDGEKIT_SSH_CONFIG names {named}, which is not a file: correct or unset it")
    for file in files:
        said += ["Host *", *lines(file, INCLUDE_LIMIT)]
    try:
        return paramiko.SSHConfig.from_text("\n".join(said)).lookup(alias)
    except (paramiko.ConfigParseError, paramiko.CouldNotCanonicalize, ImportError, KeyError) as exc:
        raise InputError(f"the SSH configuration ({files[0]}) cannot be used for {alias}: {exc}; `ssh -G {alias}` shows what OpenSSH makes of it") from exc


def virtual_config() -> Path:
    """The configuration that leads to VIRTUAL_PI; it is there while the virtual lab is up (edgekit/lab/virtual.py)."""
    return data_dir() / "virtual" / "ssh_config"


def lines(file: Path, depth: int) -> Iterator[str]:
    """A configuration's lines with those of its Include files in their places (paramiko knows no Include)."""
    block = "Host *"
    try:
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    except OSError as exc:
        raise InputError(f"the SSH configuration {file} cannot be read: {exc.strerror}; correct its permissions") from exc
    for line in text.splitlines():
        keyword, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if keyword.lower() in ("host", "match"):
            block = line
        if keyword.lower() != "include":
            yield line
            continue
        for pattern in shlex.split(rest) if depth else ():
            absolute = file.parent / Path(pattern).expanduser()
            for included in sorted(Path(absolute.anchor).glob(str(absolute.relative_to(absolute.anchor)))):
                yield from lines(included, depth - 1)
                yield block


def paths(value: str) -> list[Path]:
    """The files of a UserKnownHostsFile line."""
    return [Path(path).expanduser() for path in shlex.split(value) if path != "none"]


def number(keyword: str, value: str) -> int:
    if not value.isdigit():
        raise InputError(f"{keyword} {value} in the SSH configuration is not a number: correct it")
    return int(value)
