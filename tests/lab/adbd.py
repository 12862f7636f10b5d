"""Options in, a device's side of ADB out, on 127.0.0.1: one that can be told to fail. What is right is for the genuine daemon to show.

Protocol: adb's OVERVIEW.TXT, protocol.txt, SERVICES.TXT, SYNC.TXT and shell_service.h of the Android platform tools.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import pty
import queue
import select
import signal
import socket
import struct
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CNXN, OPEN, OKAY, CLSE, WRTE, AUTH = (int.from_bytes(name, "little") for name in (b"CNXN", b"OPEN", b"OKAY", b"CLSE", b"WRTE", b"AUTH"))
VERSION = 0x01000001
PAYLOAD_BYTES, FIRST_PAYLOAD_BYTES = 1 << 20, 4096
TOKEN, SIGNATURE, PUBLIC_KEY = 1, 2, 3  # what an AUTH message holds
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)  # packets of the second shell protocol
KEY_BYTES = 256


@dataclass(frozen=True)
class Faults:
    """What goes wrong on purpose."""

    first_protocol: bool  # as on Android 6: no shell_v2, messages of 4 KiB, commands on a terminal that makes \n to \r\n
    state: str  # what it introduces itself as: device, recovery, sideload, bootloader
    keys: Path | None  # public keys that may connect; None lets anybody in
    drop_after: int  # bytes received, then the connection is cut
    delay_s: float  # before each message is handled
    mute: bool  # nothing is ever answered
    no_code: bool  # shells end without saying how
    garble: bool  # what programs write has bits turned over
    full: bool  # files cannot be written by sync: no space
    no_sync: bool  # the service for files is refused
    lose: bool  # files written by sync lack their last byte, and nothing is said


class Stream:
    """One service that the host has opened."""

    def __init__(self, connection: Connection, local: int, remote: int) -> None:
        self.connection, self.local, self.remote = connection, local, remote
        self.received: queue.Queue[bytes | None] = queue.Queue()
        self.acknowledged = threading.Semaphore(0)
        self.closed = False
        self.left = b""

    def write(self, data: bytes) -> None:
        """Send, one message in flight, as a classic adbd does."""
        size = self.connection.payload_bytes
        for start in range(0, len(data), size):
            self.connection.send(WRTE, self.local, self.remote, data[start : start + size])
            self.acknowledged.acquire()
            if self.closed:
                raise BrokenPipeError

    def read(self, count: int) -> bytes:
        """Exactly so many bytes, or EOFError."""
        while len(self.left) < count:
            self.left += self.some()
        data, self.left = self.left[:count], self.left[count:]
        return data

    def some(self) -> bytes:
        """What has come since; EOFError at the end."""
        received = self.received.get()
        if received is None:
            self.received.put(None)
            raise EOFError
        return received

    def cut(self) -> None:
        self.closed = True
        self.received.put(None)
        self.acknowledged.release()

    def close(self) -> None:
        if not self.closed:
            self.connection.send(CLSE, self.local, self.remote)
        self.cut()


class Connection:
    """One host."""

    def __init__(self, sock: socket.socket, faults: Faults) -> None:
        self.sock, self.faults = sock, faults
        self.lock = threading.Lock()
        self.streams: dict[int, Stream] = {}
        self.payload_bytes = FIRST_PAYLOAD_BYTES
        self.checksums = True
        self.trusted = faults.keys is None
        self.token = b""
        self.opened = self.received = 0

    def send(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        checksum = sum(data) & 0xFFFFFFFF if self.checksums else 0
        with self.lock, contextlib.suppress(OSError):
            self.sock.sendall(struct.pack("<6I", command, first, second, len(data), checksum, command ^ 0xFFFFFFFF) + data)

    def take(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            some = self.sock.recv(count - len(data))
            if not some:
                raise EOFError
            data += some
        return bytes(data)

    def serve(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                command, first, second, length, _, _ = struct.unpack("<6I", self.take(24))
                data = self.take(length)
                self.received += length
                if self.faults.drop_after and self.received > self.faults.drop_after:
                    break
                threading.Event().wait(self.faults.delay_s)
                if not self.faults.mute:
                    self.handle(command, first, second, data)
        for stream in list(self.streams.values()):
            stream.cut()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def handle(self, command: int, first: int, second: int, data: bytes) -> None:
        if command == CNXN:
            self.payload_bytes = min(second, FIRST_PAYLOAD_BYTES if self.faults.first_protocol else PAYLOAD_BYTES)
            self.introduce() if self.trusted else self.challenge()
            self.checksums = first < VERSION
        elif command == AUTH and not self.trusted:
            if first == SIGNATURE and any(signed(key, self.token, data) for key in self.known_keys()):
                self.trusted = True
                self.introduce()
            elif first == SIGNATURE:
                self.challenge()  # until it has offered all its keys; then it sends a public one, for which a phone asks its owner
        elif not self.trusted:
            return
        elif command == OPEN:
            self.opened += 1
            opened = self.streams[self.opened] = Stream(self, self.opened, first)
            threading.Thread(target=self.run, args=(opened, data.rstrip(b"\0").decode()), daemon=True).start()
        elif stream := self.streams.get(second):
            if command == WRTE:
                stream.received.put(data)
                self.send(OKAY, stream.local, stream.remote)
            elif command == OKAY:
                stream.acknowledged.release()
            elif command == CLSE:
                stream.cut()

    def introduce(self) -> None:
        features = ["cmd"] if self.faults.first_protocol else ["shell_v2", "cmd", "stat_v2", "ls_v2", "fixed_push_mkdir"]
        banner = f"{self.faults.state}::ro.product.name=lab;ro.product.model=edgekit lab;ro.product.device=lab;features={','.join(features)}"
        self.send(CNXN, VERSION, FIRST_PAYLOAD_BYTES if self.faults.first_protocol else PAYLOAD_BYTES, banner.encode())

    def challenge(self) -> None:
        self.token = os.urandom(20)
        self.send(AUTH, TOKEN, 0, self.token)

    def known_keys(self) -> list[bytes]:
        with contextlib.suppress(OSError):
            assert self.faults.keys is not None
            return [line.split()[0] for line in self.faults.keys.read_bytes().splitlines() if line.strip()]
        return []

    def run(self, stream: Stream, service: str) -> None:
        name, _, words = service.partition(":")
        kind, *options = name.split(",")
        second = "v2" in options and not self.faults.first_protocol
        serving = {"shell": shell, "exec": shell, "sync": sync}.get(kind)
        if serving is None or ("v2" in options and not second) or (kind == "sync" and self.faults.no_sync):
            self.send(CLSE, 0, stream.remote)
            stream.cut()
            return
        self.send(OKAY, stream.local, stream.remote)
        with contextlib.suppress(EOFError, OSError):
            if kind == "sync":
                sync(stream)
            else:
                shell(stream, words, second=second, terminal=self.faults.first_protocol and kind == "shell")
        stream.close()


def signed(key: bytes, token: bytes, signature: bytes) -> bool:
    """Whether a host has signed a token with the private half of a key, in Android's form: words, n0inv, n, rr, e."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

    raw = base64.b64decode(key)
    modulus, exponent = int.from_bytes(raw[8 : 8 + KEY_BYTES], "little"), int.from_bytes(raw[-4:], "little")
    try:
        rsa.RSAPublicNumbers(exponent, modulus).public_key().verify(signature, token, padding.PKCS1v15(), utils.Prehashed(hashes.SHA1()))
    except InvalidSignature:
        return False
    return True


def shell(stream: Stream, words: str, *, second: bool, terminal: bool) -> None:
    """Run a command: on a terminal, or on pipes with stderr apart only under the second protocol."""
    faults = stream.connection.faults
    argv = ["sh", "-c", words] if words else ["sh"]
    master = None
    if terminal:
        master, slave = pty.openpty()
        process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        kinds, stdin = {master: STDOUT}, master
    else:
        stderr = subprocess.PIPE if second else subprocess.STDOUT
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, bufsize=0, start_new_session=True)
        kinds, stdin = {number(process.stdout): STDOUT}, number(process.stdin)
        if second:
            kinds[number(process.stderr)] = STDERR
    threading.Thread(target=feed, args=(stream, process, stdin, second), daemon=True).start()
    while kinds:
        for ready in select.select(list(kinds), [], [])[0]:
            try:
                data = os.read(ready, 1 << 16)
            except OSError:  # how a terminal ends
                data = b""
            if data and faults.garble:
                data = bytes(byte ^ 0x15 for byte in data)
            if not data:
                del kinds[ready]
            else:
                stream.write(struct.pack("<BI", kinds[ready], len(data)) + data if second else data)
    code = process.wait()
    if master is not None:
        os.close(master)
    if second and not faults.no_code:
        stream.write(struct.pack("<BIB", EXIT, 1, code if code >= 0 else 128 - code))


def number(pipe: IO[bytes] | None) -> int:
    assert pipe is not None
    return pipe.fileno()


def feed(stream: Stream, process: subprocess.Popen[bytes], stdin: int, second: bool) -> None:
    """Give a command what the host sends; when the host is gone, its input ends and it gets a SIGHUP, as from Android's own."""
    with contextlib.suppress(EOFError, OSError, ValueError):
        while True:
            if not second:
                write_all(stdin, stream.some())
                continue
            kind, length = struct.unpack("<BI", stream.read(5))
            data = stream.read(length)
            if kind == STDIN:
                write_all(stdin, data)
            elif kind == CLOSE_STDIN and process.stdin is not None:
                process.stdin.close()
    if stream.closed and process.poll() is None:
        with contextlib.suppress(OSError):
            os.kill(process.pid, signal.SIGHUP)
        with contextlib.suppress(OSError, ValueError):
            process.stdin.close() if process.stdin is not None else os.write(stdin, b"\x04")


def write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def sync(stream: Stream) -> None:
    """Adb's service for files, as far as `adb push` and `adb pull` of one file go."""
    while True:
        word, length = struct.unpack("<4sI", stream.read(8))
        path = stream.read(length).decode() if length else ""
        if word == b"QUIT":
            return
        if word == b"STAT":
            try:
                found = os.lstat(path)
                stream.write(struct.pack("<4s3I", word, found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime)))
            except OSError:
                stream.write(struct.pack("<4s3I", word, 0, 0, 0))
        elif word in (b"STA2", b"LST2"):
            stream.write(word + stat(path, follow=word == b"STA2"))
        elif word == b"SEND":
            receive(stream, path)
        elif word == b"RECV":
            send(stream, path)
        else:
            raise EOFError


def stat(path: str, *, follow: bool) -> bytes:
    try:
        found = os.stat(path, follow_symlinks=follow)
    except OSError as exc:
        return struct.pack("<I", exc.errno or 0) + bytes(64)
    numbers = (found.st_dev, found.st_ino, found.st_mode, found.st_nlink, found.st_uid, found.st_gid, found.st_size)
    return struct.pack("<IQQIIIIQqqq", 0, *numbers, int(found.st_atime), int(found.st_mtime), int(found.st_ctime))


def receive(stream: Stream, named: str) -> None:
    """A file from the host, or nothing of it; what is wrong is said after its last byte has come."""
    path, _, mode = named.rpartition(",")
    complaint = "couldn't create file: No space left on device" if stream.connection.faults.full else ""
    with contextlib.ExitStack() as undo:
        file: IO[bytes] | None = None
        if not complaint:
            try:
                file = undo.enter_context(open(path, "wb", buffering=0))
            except OSError as exc:
                complaint = f"couldn't create file: {exc.strerror}"
        try:
            while (head := struct.unpack("<4sI", stream.read(8)))[0] != b"DONE":
                data = stream.read(head[1])
                if file is not None and not complaint:
                    try:
                        write_all(file.fileno(), data)
                    except OSError as exc:
                        complaint = f"write failed: {exc.strerror}"
        except EOFError:
            complaint = "the connection was lost"
            raise
        finally:
            if file is not None and complaint:
                with contextlib.suppress(OSError):
                    os.unlink(path)
    if complaint:
        stream.write(struct.pack("<4sI", b"FAIL", len(complaint)) + complaint.encode())
    else:
        os.chmod(path, int(mode) & 0o777)
        if stream.connection.faults.lose:
            os.truncate(path, max(os.path.getsize(path) - 1, 0))
        stream.write(struct.pack("<4sI", b"OKAY", 0))


def send(stream: Stream, path: str) -> None:
    try:
        with open(path, "rb") as file:
            while data := file.read(1 << 16):
                stream.write(struct.pack("<4sI", b"DATA", len(data)) + data)
        stream.write(struct.pack("<4sI", b"DONE", 0))
    except OSError as exc:
        words = (exc.strerror or "").encode()
        stream.write(struct.pack("<4sI", b"FAIL", len(words)) + words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--first-protocol", action="store_true")
    parser.add_argument("--state", default="device")
    parser.add_argument("--keys", type=Path)
    parser.add_argument("--drop-after", type=int, default=0)
    parser.add_argument("--delay-s", type=float, default=0)
    for fault in ("mute", "no-code", "garble", "full", "no-sync", "lose", "no-attach"):
        parser.add_argument(f"--{fault}", action="store_true")
    asked = vars(parser.parse_args())
    port = asked.pop("port")
    asked.pop("no_attach")  # for whoever starts this
    with socket.create_server(("127.0.0.1", port)) as listening:
        while True:
            sock, _ = listening.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=Connection(sock, Faults(**asked)).serve, daemon=True).start()


if __name__ == "__main__":
    main()
