"""A hop in, a logged-in paramiko connection out: the socket, the host's key, the user's keys.

Host keys are enforced: a key that known_hosts does not hold ends the attempt, before anything of the user's is offered.
Only keys are used, from files and from the agent; nothing is ever asked for.
"""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import hashlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from paramiko.pkey import UnknownKeyType

from edgekit.errors import Unreachable
from edgekit.transport.ssh_config import Hop

# An idle link is asked after this often, so that firewalls keep it; unanswered data for SILENCE_MS ends it.
KEEPALIVE_S = 15
SILENCE_MS = 30_000

ASKED, ASK_AGAIN_S = 4, 0.5
"""How often a host is asked that hangs up at once, and how long after."""


def dial(address: str, hop: Hop, timeout_s: float) -> socket.socket:
    """A TCP connection to a host.

    Raises:
        Unreachable: no such name, nothing listens there, or no answer; each in its own words.
    """
    where = f"{hop.host} port {hop.port}"
    try:
        sock = socket.create_connection((hop.host, hop.port), timeout=timeout_s)
    except socket.gaierror as exc:
        raise Unreachable(address, f"the name {hop.host} is not known (DNS): check its spelling, or give its IP address") from exc
    except ConnectionRefusedError as exc:
        raise Unreachable(address, f"{where} refuses connections: start its SSH server (`sudo systemctl enable --now ssh`), or correct the port") from exc
    except TimeoutError as exc:
        raise Unreachable(address, f"{where} does not answer: check that it is switched on, and in this network") from exc
    except OSError as exc:
        raise Unreachable(address, f"{where} cannot be reached ({exc.strerror}): check the network") from exc
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a command is several small messages; each would wait 40 ms
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_MS)
    return sock


def reach(address: str, hop: Hop, timeout_s: float) -> paramiko.Transport:
    """A logged-in connection to a host, asked for again where that hangs up without a word, as sshd does at random while many log in
    (sshd_config(5), MaxStartups).

    Raises:
        Unreachable: see `dial` and `log_in`.
    """
    for _ in range(ASKED - 1):
        with contextlib.suppress(HungUp):
            return log_in(address, hop, dial(address, hop, timeout_s), timeout_s)
        time.sleep(ASK_AGAIN_S)
    return log_in(address, hop, dial(address, hop, timeout_s), timeout_s)


class HungUp(Unreachable):
    """It closed the connection before it said what it is."""


def through_command(command: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """A socket whose other end is a ProxyCommand's stdin and stdout."""
    ours, theirs = socket.socketpair()
    with theirs:
        proxy = subprocess.Popen(
            ["sh", "-c", f"exec {command}"], stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL, start_new_session=True
        )
    return ours, proxy


def log_in(address: str, hop: Hop, sock: socket.socket | paramiko.Channel, timeout_s: float) -> paramiko.Transport:
    """Agree on keys with the host, check its key, and log in. The socket is closed if that fails.

    Raises:
        Unreachable: not an SSH server, an unknown or changed host key, or the user's keys are refused.
    """
    connection, began = None, time.monotonic()
    try:
        connection = paramiko.Transport(sock)  # type: ignore[arg-type]
        connection.banner_timeout = connection.auth_timeout = connection.channel_timeout = timeout_s
        known = known_keys(hop)
        options = connection.get_security_options()
        options.key_types = sorted(options.key_types, key=lambda kind: not any(same_kind(kind, key.kind) for key in known))
        options.ciphers = sorted(options.ciphers, key=lambda name: "gcm" not in name)  # a third faster: no separate authentication of each packet
        connection.start_client(timeout=timeout_s)
        if not connection.initial_kex_done:
            raise TimeoutError(f"it does not answer within {timeout_s:g} s")
        check_host_key(address, hop, connection.get_remote_server_key(), known)
        authenticate(address, hop, connection)
        connection.set_keepalive(KEEPALIVE_S)
        return connection
    except (paramiko.SSHException, EOFError, OSError) as exc:
        hung_up = "protocol banner" in str(exc) and time.monotonic() - began < timeout_s / 2
        kind = HungUp if hung_up else Unreachable
        raise kind(address, f"{hop.host} port {hop.port} does not speak SSH as expected ({reason(exc)}): check the port, and that sshd is well") from exc
    finally:
        if connection is None:
            sock.close()
        elif not connection.is_authenticated():
            connection.close()


def reason(exc: BaseException) -> str:
    return str(exc).strip().rstrip(".") or "the connection was closed"


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One line of known_hosts that is about the host at hand."""

    kind: str  # "ssh-ed25519"
    base64: str
    revoked: bool
    file: Path


def known_keys(hop: Hop) -> list[KnownKey]:
    """What the known_hosts files say of a host: plain, hashed and wildcard names, and @revoked keys."""
    return [key for file in hop.known_hosts for key in keys_in(file, hop.known_as)]


def keys_in(file: Path, name: str) -> Iterator[KnownKey]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:  # a file that is not there, or not for us, knows nobody
        return
    for line in text.splitlines():
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) >= 3 and not line.startswith("#") and marker in ("", "@revoked") and names_match(fields[0], name):
            yield KnownKey(fields[1], fields[2], marker == "@revoked", file)


def names_match(names: str, name: str) -> bool:
    """Whether a known_hosts field (`bench,192.0.2.*`, or hashed) is about a host (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
    if names.startswith("|1|"):
        with contextlib.suppress(ValueError):
            return paramiko.HostKeys.hash_host(name, names) == names
        return False
    patterns = [pattern.replace("[", "[[]") for pattern in names.lower().split(",")]
    if any(pattern.startswith("!") and fnmatch.fnmatchcase(name.lower(), pattern[1:]) for pattern in patterns):
        return False
    return any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in patterns)


def same_kind(algorithm: str, kind: str) -> bool:
    """An RSA key is `ssh-rsa` in known_hosts, and signs as `rsa-sha2-…`."""
    return algorithm == kind or (kind == "ssh-rsa" and algorithm.startswith("rsa-sha2-"))


def check_host_key(address: str, hop: Hop, offered: paramiko.PKey, known: list[KnownKey]) -> None:
    """Let the host's key pass only if known_hosts holds it.

    Raises:
        Unreachable: it is unknown, changed or revoked; with its fingerprint and the cure.
    """
    kind, fingerprint = offered.get_name().removeprefix("ssh-"), "SHA256:" + base64.b64encode(hashlib.sha256(offered.asbytes()).digest()).decode().rstrip("=")
    same = [key for key in known if key.base64 == offered.get_base64()]
    if any(key.revoked for key in same):
        raise Unreachable(address, f"{hop.known_as} offers a host key that is marked @revoked ({fingerprint}): do not connect; ask its owner")
    if same:
        return
    trusted = [key for key in known if not key.revoked]
    if trusted:
        raise Unreachable(
            address,
            f"the host key of {hop.known_as} has changed (now {kind} {fingerprint}): somebody may be intercepting the connection, or the board was "
            f"installed anew; if you know it was, run `ssh-keygen -f {trusted[0].file} -R '{hop.known_as}'` and add the new key",
        )
    raise Unreachable(
        address,
        f"the host key of {hop.known_as} is not known; it offers {kind} {fingerprint}: compare that with `ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub` "
        f"on the device, and if they agree run `ssh-keyscan -p {hop.port} {hop.host} >> {hop.known_hosts[0]}`",
    )


def authenticate(address: str, hop: Hop, connection: paramiko.Transport) -> None:
    """Offer the user's keys one after the other: files first, then the agent's.

    Raises:
        Unreachable: none is accepted; the message names those that were tried.
    """
    tried = []
    for name, key in user_keys(hop):
        tried.append(name if key is not None else f"{name} (cannot be used: encrypted, or not a key; add it to the ssh-agent)")
        if key is None:
            continue
        try:
            connection.auth_publickey(hop.user, key)
        except paramiko.AuthenticationException:  # this key is not accepted
            if not connection.is_active():
                break
        except paramiko.SSHException:  # too many keys for the server, or it has gone: what was tried so far tells more
            break
        if connection.is_authenticated():
            return
    what = ", ".join(tried) if tried else f"no key was found (looked for {', '.join(map(str, hop.identity_files))} and an ssh-agent)"
    raise Unreachable(
        address,
        f"{hop.host} does not accept the keys offered for user {hop.user}: {what}; name the right user and IdentityFile, or run "
        f"`ssh-copy-id -p {hop.port} {hop.user}@{hop.host}`",
    )


def user_keys(hop: Hop) -> Iterator[tuple[str, paramiko.PKey | None]]:
    """The user's keys with their names; None for a file that holds no usable one. Passphrases are never asked for."""
    public = set()
    for file in hop.identity_files:
        if not file.is_file():
            continue
        with contextlib.suppress(OSError, IndexError):
            public.add(Path(f"{file}.pub").read_text().split()[1])
        try:
            yield str(file), paramiko.PKey.from_path(file)
        except (paramiko.SSHException, UnknownKeyType, UnsupportedAlgorithm, ValueError, TypeError, OSError):
            yield str(file), None
    if os.environ.get("SSH_AUTH_SOCK"):
        agent = paramiko.Agent()
        try:
            for key in agent.get_keys():
                if not hop.identities_only or key.get_base64() in public:
                    yield f"{key.comment or key.get_name()} (agent)", key
        finally:
            agent.close()
