"""The virtual lab: what it is made of, that its devices are what they say, and that nothing of it is left."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.device import resolve
from edgekit.errors import InputError, SetupError
from edgekit.files import sha256_file
from edgekit.lab.answers import answers, names, of_kind, spelled_out, write
from edgekit.lab.forward import forward
from edgekit.lab.packages import resolve as resolve_packages
from edgekit.lab.packages import unpacked
from edgekit.lab.sources import source_line
from edgekit.lab.virtual import SSH_ALIAS, Virtual, down, started, status
from edgekit.profile import find
from edgekit.transport import Transport, connect
from edgekit.transport.ssh_config import hops
from tests.lab.adb import AdbServer, adb_server
from tests.lab.cli import EDGEKIT, edgekit
from tests.lab.sshd import wait_until
from tests.lab.virtual import Lab, virtual_android, virtual_lab, virtual_pi, virtual_targets  # noqa: F401

DEB822 = """# the mirror
Types: deb
URIs: http://mirror.example/debian
# with what is fixed later
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


@pytest.fixture
def own_lab(private_folders: Path) -> Iterator[Path]:
    """The folder of this test's own lab, which is ended also where the test fails."""
    folder = private_folders / "edgekit-data/virtual"
    yield folder
    down(folder)


@pytest.fixture
def private_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[AdbServer]:
    """An adb server of the test's own, for edgekit's commands too."""
    with adb_server() as server:
        for name, value in server.environment.items():
            if name != "HOME":
                monkeypatch.setenv(name, value)
        yield server


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sources.list.d/debian.sources", DEB822),
        ("sources.list", "deb [arch=amd64 trusted=no] http://mirror.example/debian bookworm main contrib # here\n"),
        ("sources.list.d/own.list", "deb-src http://other.example/debian bookworm main\ndeb http://mirror.example/debian stable main\n"),
    ],
)
def test_another_suite_is_taken_from_the_mirror_of_the_host(etc: Path, name: str, text: str) -> None:
    (etc / name).write_text(text)
    assert re.fullmatch(
        r"deb \[signed-by=/usr/share/keyrings/debian-archive-keyring\.\w+\] http://mirror\.example/debian trixie main", source_line("trixie", etc)
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sources.list", "deb http://mirror.example/ubuntu noble main\n"),
        ("sources.list", "# deb http://mirror.example/debian bookworm main\n"),
        ("sources.list.d/debian.sources", DEB822.replace("Types: deb\n", "Enabled: no\nTypes: deb\n")),
    ],
)
def test_a_host_without_a_mirror_of_debian_is_told_so(etc: Path, name: str, text: str) -> None:
    (etc / name).write_text(text)
    with pytest.raises(SetupError, match="no mirror of Debian is configured"):
        source_line("trixie", etc)


@pytest.mark.parametrize("name", names())
def test_each_kind_of_device_names_its_sources_and_a_profile_that_there_is(name: str, tmp_path: Path) -> None:
    said = answers(name)
    write(said, tmp_path)
    assert said.kind in ("pi", "android")
    assert not said.profile or find(said.profile) is not None
    assert (tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    assert (Path("edgekit/lab/answers") / f"{name}.toml").read_text().startswith("# ")
    assert all(text.endswith(("\n", "\0")) for text in (file.read_text() for file in tmp_path.rglob("*") if file.is_file()))


def test_a_kind_of_device_stands_on_the_one_that_it_is_like() -> None:
    weak, well = answers("throttling-pi"), answers("pi5")
    assert (weak.profile, weak.sys["devices/system/cpu/cpu3/cpufreq/cpuinfo_max_freq"]) == (well.profile, "2400000")
    assert (weak.answers["vcgencmd get_throttled"], well.answers["vcgencmd get_throttled"]) == ("throttled=0x50005", "throttled=0x0")


def test_a_property_that_is_emptied_is_not_there() -> None:
    told = answers("unknown-phone").answers
    assert "getprop ro.soc.model" not in told
    assert "soc.model" not in told["getprop"]
    assert told["getprop ro.kernel.qemu"] == "1"


def test_numbers_in_braces_are_spelled_out() -> None:
    assert list(spelled_out("cpu{2..4}/x")) == ["cpu2/x", "cpu3/x", "cpu4/x"]


def test_the_usual_device_comes_first() -> None:
    assert (of_kind("pi")[0], of_kind("android")[0]) == ("pi5", "pixel7")


def test_a_kind_that_nobody_knows_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="pi5"):
        answers("pi-5")


def test_a_forwarded_connection_carries_both_ways_until_both_ends_are_done() -> None:
    # given a service that answers only after its client has said all
    service, door = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    answered = threading.Thread(target=echo_reversed, args=(service,))
    answered.start()
    forward(door, service.getsockname()[1])
    # when more goes through than any buffer between them holds
    sent = os.urandom(3_000_000)
    with service, socket.create_connection(door.getsockname(), timeout=10) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        got = b"".join(iter(lambda: client.recv(1 << 16), b""))
    answered.join(10)
    # then it comes back whole
    assert got == sent[::-1]


def echo_reversed(service: socket.socket) -> None:
    connection, _ = service.accept()
    with connection:
        connection.sendall(b"".join(iter(lambda: connection.recv(1 << 16), b""))[::-1])


def test_a_door_closes_where_nobody_listens_behind_it() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        door = socket.create_server(("127.0.0.1", 0))
        forward(door, unused.getsockname()[1])
        with socket.create_connection(door.getsockname(), timeout=10) as client:
            assert client.recv(1) == b""


def test_a_process_is_known_by_its_start_and_a_dead_one_by_none() -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        first = started(process.pid)
        assert first.endswith(Path(f"/proc/{process.pid}/stat").read_text().split()[21])
    finally:
        process.kill()
        wait_until(lambda: started(process.pid) == "")  # dead, and not yet waited for
        process.wait()
    assert started(process.pid) == ""


def test_the_alias_of_the_virtual_board_leads_to_its_own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a user whose configuration is elsewhere
    other = tmp_path / "other"
    other.write_text("Host *\n Port 99\n")
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(other))
    own = tmp_path / "edgekit-data/virtual"
    own.mkdir(parents=True)
    (own / "ssh_config").write_text(f"Host {SSH_ALIAS}\n HostName 127.0.0.1\n Port 40022\n User pi\n")
    # then the board's own is read for it, and the user's for all others
    assert [(hop.host, hop.port, hop.user) for hop in hops(f"ssh:{SSH_ALIAS}")] == [("127.0.0.1", 40022, "pi")]
    assert [hop.port for hop in hops("ssh:bench")] == [99]


def text(transport: Transport, argv: list[str]) -> str:
    return transport.run(argv, timeout_s=30, check=False).stdout


@pytest.mark.lab
def test_packages_of_another_architecture_are_unpacked_once_and_the_host_is_left_alone() -> None:
    lists = Path("/var/lib/apt/lists")
    before = sorted((file.name, file.stat().st_mtime) for file in lists.iterdir()), Path("/var/lib/dpkg/status").stat().st_mtime
    folder = unpacked(["libgcc-s1"], "arm64")
    again = time.monotonic()
    assert unpacked(["libgcc-s1"], "arm64") == folder
    assert time.monotonic() - again < 0.5
    assert (folder / "usr/lib/aarch64-linux-gnu/libc.so.6").is_file()
    assert (sorted((file.name, file.stat().st_mtime) for file in lists.iterdir()), Path("/var/lib/dpkg/status").stat().st_mtime) == before


@pytest.mark.lab
def test_a_package_that_there_is_not_is_named() -> None:
    with pytest.raises(SetupError, match="Unable to locate package no-such-package"):
        resolve_packages(["no-such-package"], "arm64")


@pytest.mark.lab
def test_the_board_is_an_arm64_debian_behind_a_genuine_sshd(virtual_pi: Virtual, tmp_path: Path) -> None:  # noqa: F811
    device = resolve("virtual-pi")
    assert device.profile is not None
    with connect(device.address) as transport:
        said = text(transport, ["sh", "-c", "uname -m; id -un; ls -A; python3 -c 'import platform; print(platform.machine())'; vcgencmd get_throttled"])
        assert said.split() == ["aarch64", "pi", "aarch64", "throttled=0x0"]
        assert text(transport, ["cat", "/sys/class/thermal/thermal_zone0/temp"]) == "48900\n"
        # what it tells can be changed while it runs
        (Path(virtual_pi.folder) / "sys/class/thermal/thermal_zone0/temp").write_text("84000\n")
        assert text(transport, ["cat", "/sys/class/thermal/thermal_zone0/temp"]) == "84000\n"
        assert transport.run(["sh", "-c", "exit 7"], timeout_s=30, check=False).code == 7


@pytest.mark.lab
def test_the_phone_is_arm64_with_androids_tools_and_neither_python_nor_glibc(virtual_android: Virtual, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "model"
    file.write_bytes(os.urandom(50_000_000))
    with connect(resolve("virtual-android").address) as transport:
        said = text(transport, ["sh", "-c", "uname -m; id -un; echo $KSH_VERSION; getprop ro.product.model; settings get global airplane_mode_on"])
        assert said.splitlines() == ["aarch64", "shell", "@(#)MIRBSD KSH R59 2025/04/26 +Debian", "Pixel 7", "0"]
        assert text(transport, ["sh", "-c", "command -v python python3; ls /lib /lib64 /usr"]) == ""
        assert transport.run(["sh", "-c", "exit 7"], timeout_s=30, check=False).code == 7
        transport.push(file, "/data/local/tmp/model", timeout_s=60)
        assert text(transport, ["sha256sum", "/data/local/tmp/model"]).split()[0] == sha256_file(file)
        # the screen can be put to sleep and woken, and kept on
        text(transport, ["sh", "-c", "input keyevent KEYCODE_SLEEP; svc power stayon usb"])
        told = text(transport, ["sh", "-c", "dumpsys power; settings get global stay_on_while_plugged_in"])
        assert "mWakefulness=Asleep\n" in told
        assert told.endswith("\n2\n")


@pytest.mark.lab
def test_a_device_reaches_neither_the_network_nor_the_machine_around_its_own(virtual_pi: Virtual) -> None:  # noqa: F811
    program = """
import socket
for family, there in ((socket.AF_INET, ("192.0.2.1", 80)), (socket.AF_VSOCK, (2, 5555))):
    try:
        socket.socket(family).connect(there)
    except OSError as exc:
        print(exc.strerror)
"""
    with connect(resolve("virtual-pi").address) as transport:
        assert text(transport, ["python3", "-c", program]).splitlines() == ["Network is unreachable", "Address family not supported by protocol"]


@pytest.mark.lab
def test_both_say_that_they_are_emulated(virtual_targets: Lab) -> None:  # noqa: F811
    for name in ("virtual-pi", "virtual-android"):
        with connect(resolve(name).address) as transport:
            assert "qemu" in text(transport, ["cat", "/proc/thread-self/maps"])


@pytest.mark.lab
def test_up_can_be_repeated_and_down_leaves_nothing(virtual_lab: Lab, private_server: AdbServer, own_lab: Path) -> None:  # noqa: F811
    # given a machine with its mounts and what it knows of foreign programs
    before = Path("/proc/self/mounts").read_text(), sorted(os.listdir("/proc/sys/fs/binfmt_misc"))
    # when the devices are brought up, twice
    first = edgekit("lab", "virtual", "up", "--json").json["virtual"]
    again = edgekit("lab", "virtual", "up", "--json").json["virtual"]
    # then the second time finds them, edgekit and adb know them, and the machine is as it was
    assert [device["name"] for device in first] == ["virtual-pi", "virtual-android"]
    assert again == first
    targets = edgekit("targets").stdout
    assert "virtual-pi" in targets
    assert "virtual-android" in targets
    assert first[1]["address"].removeprefix("adb:") + "\tdevice" in private_server.devices()
    assert (Path("/proc/self/mounts").read_text(), sorted(os.listdir("/proc/sys/fs/binfmt_misc"))) == before
    # when they are ended, then no process, no target and no device is left
    assert edgekit("lab", "virtual", "down", "--json").json["ended"] == ["virtual-pi", "virtual-android"]
    assert [started(device["pid"]) for device in first] == ["", ""]
    assert "virtual-" not in edgekit("targets").stdout
    assert first[1]["address"].removeprefix("adb:") not in private_server.devices()
    assert [file.name for file in own_lab.iterdir()] == ["lock"]


@pytest.mark.lab
def test_after_a_crash_the_next_up_brings_it_up_anew(virtual_lab: Lab, own_lab: Path) -> None:  # noqa: F811
    # given a board whose process is killed with all that it had in hand
    (killed,) = edgekit("lab", "virtual", "up", "--only", "pi", "--json").json["virtual"]
    processes = inside(killed["pid"])
    assert len(processes) >= 2
    os.kill(killed["pid"], signal.SIGKILL)
    wait_until(lambda: status(own_lab) == ())
    wait_until(lambda: not any(started(pid) for pid in processes))
    # then nothing runs in it any more, and it is brought up again, as another board if that is asked
    (there,) = edgekit("lab", "virtual", "up", "--only", "pi", "--as", "throttling-pi", "--json").json["virtual"]
    assert there["pid"] != killed["pid"]
    with connect(there["address"]) as transport:
        assert text(transport, ["vcgencmd", "get_throttled"]) == "throttled=0x50005\n"
    # then it stays that one until it is asked to be another
    assert edgekit("lab", "virtual", "up", "--only", "pi", "--json").json["virtual"] == [there]
    assert edgekit("lab", "virtual", "down").stdout == "ended: virtual-pi\n"


@pytest.mark.lab
def test_a_user_who_is_not_root_has_a_lab_too(virtual_lab: Lab, private_server: AdbServer, own_lab: Path) -> None:  # noqa: F811
    # given a user who is nobody in particular
    nobody = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
    # when the devices are brought up by that one
    done = subprocess.run([*nobody, str(EDGEKIT), "lab", "virtual", "up", "--json"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    # then both answer, as the users that they have
    with connect(resolve("virtual-pi").address) as transport:
        assert text(transport, ["sh", "-c", "id -un; uname -m; touch x && ls -A"]).split() == ["pi", "aarch64", "x"]
    with connect(resolve("virtual-android").address) as transport:
        assert text(transport, ["sh", "-c", "id -un; uname -m; cd /data/local/tmp && touch x && ls"]).split() == ["shell", "aarch64", "x"]


def inside(pid: int) -> set[int]:
    """The processes that run in the device that a process is: those in the pid namespace of its child."""
    (first,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return in_namespace(os.readlink(f"/proc/{first}/ns/pid"))


def in_namespace(name: str) -> set[int]:
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(folder / "ns/pid") == name:
                found.add(int(folder.name))
    return found


@pytest.mark.lab
def test_a_kind_of_the_other_device_is_refused() -> None:
    said = edgekit("lab", "virtual", "up", "--only", "pi", "--as", "pixel7")
    assert said.code == 2
    assert "pixel7" in said.error
