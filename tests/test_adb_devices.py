"""What `adb devices -l` prints, and each state that a device or a server can be in: read strictly, and said with its cure."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.errors import InputError, SetupError, Unreachable
from edgekit.transport import connect
from edgekit.transport.adb_devices import ADDRESS, Attached, adb_path, attached, client_version, parse
from edgekit.transport.adb_states import CURES, cure
from tests.lab.adb import AdbServer, adb_server, faulty
from tests.lab.sshd import free_port, listens

HEAD = "List of devices attached\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "29271FDH2006KN         device usb:1-4 product:panther model:Pixel_7 device:panther transport_id:3",
            Attached("29271FDH2006KN", "device", "Pixel_7", "panther", "panther", 3),
        ),
        ("emulator-5554          device product:sdk model:x device:generic", Attached("emulator-5554", "device", "x", "sdk", "generic")),
        ("127.0.0.1:5599         offline transport_id:12", Attached("127.0.0.1:5599", "offline", transport_id=12)),
        ("0123                   unauthorized usb:336592896X transport_id:1", Attached("0123", "unauthorized", transport_id=1)),
        ("adb-1A2B-xyz._adb-tls-connect._tcp device transport_id:5", Attached("adb-1A2B-xyz._adb-tls-connect._tcp", "device", transport_id=5)),
        ("adb-1A2B (2)._adb-tls-connect._tcp. device transport_id:5", Attached("adb-1A2B (2)._adb-tls-connect._tcp.", "device", transport_id=5)),
        (
            "???????????? no permissions (user bob is not in the plugdev group); see [http://developer.android.com/tools/device.html] usb:1-4 transport_id:2",
            Attached("????????????", "no permissions", transport_id=2, hint="user bob is not in the plugdev group"),
        ),
        (
            "0123 no permissions (missing udev rules? user is in the plugdev group); see [http://developer.android.com/tools/device.html] usb:1-4",
            Attached("0123", "no permissions", hint="missing udev rules? user is in the plugdev group"),
        ),
        ("0123                   sideload", Attached("0123", "sideload")),
        ("0123                   device transport_id:many", Attached("0123", "device")),
    ],
)
def test_a_line_of_the_list(line: str, expected: Attached) -> None:
    assert parse(f"* daemon not running; starting now at tcp:5037\n* daemon started successfully\n{HEAD}{line}\n\n") == (expected,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEAD,
        "0123 device\n",  # no list at all
        HEAD + "* daemon started successfully\n",
        HEAD + "error: device offline\n",
        HEAD + "0123\n",
        HEAD + "0123 devices\n",
        HEAD + "0123 device and more words\n",
        HEAD + "adb server version (41) doesn't match this client (39); killing...\n",
        HEAD + "\x00\xff\x7f device\x00\n",
    ],
)
def test_what_is_no_line_of_the_list_is_passed_over(text: str) -> None:
    assert parse(text) == ()


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("adb:", (None, None, None)),
        ("adb:0123", ("0123", None, None)),
        ("adb:127.0.0.1:5599", ("127.0.0.1:5599", None, None)),
        ("adb:adb-1A2B-xyz._adb-tls-connect._tcp", ("adb-1A2B-xyz._adb-tls-connect._tcp", None, None)),
        ("adb:0123@bench", ("0123", "bench", None)),
        ("adb:10.0.0.2:5555@bench:5038", ("10.0.0.2:5555", "bench", "5038")),
        ("adb:@bench", (None, "bench", None)),
        ("adb:0123@[::1]:5037", ("0123", "[::1]", "5037")),
    ],
)
def test_an_address(address: str, parts: tuple[str | None, ...]) -> None:
    found = ADDRESS.fullmatch(address)
    assert found
    assert (found["serial"], found["host"], found["port"]) == parts


@pytest.mark.parametrize("address", ["adb:-s", "adb:0123@", "adb:0123@-H", "adb:0123@bench:99999", "adb:0123@bench:port", "adb: 0123", "adb:a@b@c"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(InputError, match="is not the address of a device: write adb: for the only one"):
        connect(address)


@pytest.mark.parametrize("state", [*CURES, "unknown", "host"])
def test_each_state_has_a_cure_in_words(state: str) -> None:
    assert len(cure(Attached("0123", state)).split(":")[1].split()) >= 3


def test_missing_permissions_name_the_rule_or_the_group() -> None:
    assert "usermod -aG plugdev" in cure(Attached("0123", "no permissions", hint="user bob is not in the plugdev group"))
    assert "android-sdk-platform-tools-common" in cure(Attached("0123", "no permissions", hint="user in plugdev group; are your udev rules wrong?"))


def test_adb_is_found_on_path_or_in_the_sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SetupError, match=r"adb is not installed: install Android's platform-tools .`sudo apt install adb`"):
        adb_path()
    assert attached(start_server=False) == ()
    with pytest.raises(SetupError, match="adb is not installed"):
        connect("adb:")
    inside = script(tmp_path / "sdk" / "platform-tools" / "adb", "exit 0")
    monkeypatch.setenv("ANDROID_SDK_ROOT", str(tmp_path / "sdk"))
    assert adb_path() == str(inside)
    on_path = script(tmp_path / "adb", "exit 0")
    assert adb_path() == str(on_path)


def script(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for adb that prints what its file `list` holds: states that no daemon can be brought into here."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(free_port()))
    monkeypatch.setenv("ADB_SERVER_SOCKET", "localabstract:none")  # there is no server to ask
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    script(tmp_path / "bin" / "adb", f'case "$*" in *devices*) cat "{tmp_path}/list";; *version*) echo "Android Debug Bridge version 1.0.41";; esac')
    return tmp_path / "list"


@pytest.mark.parametrize(
    ("lines", "address", "words"),
    [
        ("", "adb:", "^adb: no device is attached: connect it by a cable that carries data, and switch on USB debugging"),
        ("0123 unauthorized", "adb:", "^adb: 0123 has not allowed this computer: unlock it and accept the dialog on its screen; if none comes, run `adb kill"),
        ("0123 offline", "adb:0123", "^adb:0123: 0123 is attached, but does not answer adb: unplug it"),
        ("0123 authorizing", "adb:", "is still asked whether it allows this computer"),
        ("0123 recovery", "adb:", "is in recovery: start Android on it"),
        ("0123 no permissions (user x is not in the plugdev group); see [http://a.b/c] usb:1-4", "adb:", r"who is not in the group plugdev: run `sudo usermod"),
        ("0123 device", "adb:0124", r"^adb:0124: no such device is attached: did you mean 'adb:0123'\? attached are adb:0123 \(device\)"),
        ("0123 device", "adb:adb-9-x._adb-tls-connect._tcp", "open Wireless debugging in its developer options, and pair it once with `adb pair`"),
    ],
)
def test_what_is_said_of_each_state(printed: Path, lines: str, address: str, words: str) -> None:
    printed.write_text(f"{HEAD}{lines}\n")
    with pytest.raises(Unreachable, match=words) as error:
        connect(address, timeout_s=0.3)
    assert "http" not in str(error.value)


def test_several_devices_are_listed(printed: Path) -> None:
    printed.write_text(f"{HEAD}0123 device model:Pixel_7\n4567 offline\n")
    with pytest.raises(InputError, match=r"'adb:' names no device, and several are attached: name one of adb:0123 \(Pixel_7\), adb:4567 \(offline\)"):
        connect("adb:")


def test_two_devices_of_one_serial(printed: Path) -> None:
    printed.write_text(f"{HEAD}0123 device\n0123 device\n")
    with pytest.raises(InputError, match="names 2 devices, which all have that serial: unplug all but one"):
        connect("adb:0123")


def test_an_adb_that_hangs_or_cannot_start_a_server(printed: Path, tmp_path: Path) -> None:
    script(tmp_path / "bin" / "adb", 'case "$*" in *version*) ;; *) exec sleep 20;; esac')
    client_version.cache_clear()
    with pytest.raises(Unreachable, match=r"`adb devices` did not answer within 0\.3 s: run `adb kill-server`"):
        connect("adb:", timeout_s=0.3)
    script(tmp_path / "bin" / "adb", 'echo "* failed to start daemon" >&2; echo "error: cannot connect to daemon" >&2; exit 1')
    with pytest.raises(Unreachable, match=r"the adb server cannot be started .cannot connect to daemon.: run `adb kill-server`"):
        connect("adb:", timeout_s=1)


# With the user's adb


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[AdbServer]:
    with adb_server() as private:
        for name, value in private.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("ANDROID_SERIAL", raising=False)
        yield private


def answering(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> socket.socket:
    """Something on the server's port that gives one answer."""
    listening = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(listening.getsockname()[1]))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                with listening.accept()[0] as connection:
                    connection.recv(100)
                    connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return listening


@pytest.mark.lab
def test_a_server_of_another_version_is_not_ended(server: AdbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(monkeypatch, b"OKAY00040027"):
        with pytest.raises(SetupError, match=r"has version 39 and \S+ version \d+, which would end it and cut the connections of whoever uses it"):
            connect("adb:")


@pytest.mark.lab
@pytest.mark.parametrize(("answer", "words"), [(b"HTTP/1.1 400 Bad\r\n", "is no adb server: end it, or set"), (b"", "is no adb server")])
def test_what_listens_is_no_adb_server(server: AdbServer, monkeypatch: pytest.MonkeyPatch, answer: bytes, words: str) -> None:
    with answering(monkeypatch, answer), pytest.raises(Unreachable, match=words):
        connect("adb:")


@pytest.mark.lab
def test_a_server_is_started_only_when_it_is_wanted(server: AdbServer) -> None:
    assert attached(start_server=False) == ()
    assert not listens(server.port)
    assert attached() == ()
    assert listens(server.port)


@pytest.mark.lab
def test_a_remote_server_that_is_not_there(server: AdbServer) -> None:
    for host in ("127.0.0.1", "localhost"):  # where adb itself would start one, and leave it running
        port = free_port()
        words = rf"^adb:0123@{host}:{port}: no adb server answers at {host} port {port}: start it there \(`adb -P {port} nodaemon server`\)"
        with pytest.raises(Unreachable, match=words):
            connect(f"adb:0123@{host}:{port}")
        assert not listens(port)
    assert not listens(server.port)


@pytest.mark.lab
def test_a_server_on_a_machine_that_nobody_knows(server: AdbServer) -> None:
    with pytest.raises(Unreachable, match=r"^adb:emulator-5554@nohost\.invalid: the adb server at nohost\.invalid port 5037 cannot be asked .*`adb -a`"):
        connect("adb:emulator-5554@nohost.invalid")


@pytest.mark.lab
def test_a_device_of_a_remote_server(server: AdbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty(server) as phone:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(free_port()))  # the user's own would be another
        for address in (f"adb:{phone.serial}@127.0.0.1:{server.port}", f"adb:@127.0.0.1:{server.port}"):
            with connect(address) as device:
                assert device.address == f"adb:{phone.serial}@127.0.0.1:{server.port}"
                assert device.run(["echo", "far"], timeout_s=10).stdout == "far\n"
        assert [one.model for one in attached(f"127.0.0.1:{server.port}")] == ["edgekit_lab"]
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))


@pytest.mark.lab
def test_the_only_device_and_the_one_of_the_environment(server: AdbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty(server) as phone:
        with connect("adb:") as device:
            assert device.address == phone.address
        with faulty(server) as other:
            with pytest.raises(InputError, match="several are attached"):
                connect("adb:")
            monkeypatch.setenv("ANDROID_SERIAL", other.serial)
            with connect("adb:") as device:
                assert device.address == other.address


@pytest.mark.lab
def test_a_device_in_the_network_is_dialled_once(server: AdbServer) -> None:
    with faulty(server) as phone:
        server.adb("disconnect", phone.serial)
        with connect(phone.address) as device:
            assert device.run(["echo", "on"], timeout_s=10).stdout == "on\n"
    with pytest.raises(Unreachable, match=r"it is not connected, and `adb connect` says: .*refused.*; check that it is on"):
        connect(phone.address)


@pytest.mark.lab
def test_a_device_that_does_not_allow_this_computer_until_it_does(server: AdbServer, tmp_path: Path) -> None:
    keys = tmp_path / "adb_keys"
    with faulty(server, ["--no-attach", "--keys", str(keys)]) as phone:
        with pytest.raises(Unreachable, match=r"(has not allowed this computer|still asked)"):
            connect(phone.address, timeout_s=2)
        (public,) = list(server.home.rglob("adbkey.pub"))
        keys.write_bytes(public.read_bytes())
        server.adb("disconnect", phone.serial)
        with connect(phone.address) as device:
            assert device.run(["echo", "allowed"], timeout_s=10).stdout == "allowed\n"


@pytest.mark.lab
def test_a_device_that_is_mute(server: AdbServer) -> None:
    with faulty(server, ["--no-attach", "--mute"]) as phone:
        started = time.monotonic()
        with pytest.raises(Unreachable):
            connect(phone.address, timeout_s=1)
        assert time.monotonic() - started < 8


@pytest.mark.lab
@pytest.mark.parametrize("state", ["recovery", "sideload", "bootloader"])
def test_a_device_that_is_in_another_mode(server: AdbServer, state: str) -> None:
    with faulty(server, ["--no-attach", "--state", state]) as phone:
        server.adb("connect", phone.serial)
        with pytest.raises(Unreachable, match="start Android on it"):
            connect(phone.address, timeout_s=2)
