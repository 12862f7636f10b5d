"""adb: against Android's own adbd, and against a daemon of ours with either shell protocol: what is promised, and what is said when it fails."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from edgekit.errors import CommandFailed, DeviceError, DeviceTimeout, InputError, Unreachable
from edgekit.files import sha256_file
from edgekit.transport import connect
from edgekit.transport.adb import AdbTransport
from edgekit.transport.adb_push import PUSH_BYTES
from edgekit.transport.adb_shells import Ending
from tests.conftest import missing
from tests.lab.adb import AdbServer, Device, adb_server, faulty, genuine
from tests.lab.sshd import running, wait_until
from tests.test_transport import AWKWARD, ECHO_ARGV

pytestmark = pytest.mark.lab

DAEMONS: dict[str, Callable[[AdbServer], AbstractContextManager[Device]]] = {
    "genuine": genuine,
    "second": faulty,
    "first": functools.partial(faulty, options=("--first-protocol",)),
}


@pytest.fixture(scope="module")
def server() -> Iterator[AdbServer]:
    with adb_server() as private:
        yield private


@pytest.fixture(autouse=True)
def environment(server: AdbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)


@pytest.fixture(scope="module", params=DAEMONS)
def phone(server: AdbServer, request: pytest.FixtureRequest) -> Iterator[Device]:
    with DAEMONS[request.param](server) as device:
        yield device


@pytest.fixture(scope="module")
def modern(server: AdbServer) -> Iterator[Device]:
    with genuine(server) as device:
        yield device


def opened(phone: Device) -> AdbTransport:
    if f"{phone.serial}\tdevice" not in phone.server.devices():
        phone.attach()
    transport = connect(phone.address)
    assert isinstance(transport, AdbTransport)
    return transport


@pytest.fixture
def device(phone: Device) -> Iterator[AdbTransport]:
    with opened(phone) as transport:
        yield transport
    wait_until(lambda: list(phone.folder.iterdir()) == [])  # nothing of ours is left there


def first(device: AdbTransport) -> bool:
    return not device.separate


# Commands


def test_argv_arrives_as_it_was_given(device: AdbTransport) -> None:
    assert json.loads(device.run(["python3", "-c", ECHO_ARGV, *AWKWARD], timeout_s=10).stdout) == AWKWARD
    assert device.run(["echo", "a\\nb"], timeout_s=10).stdout == "a\\nb\n"  # the program echo, not the shell's


@pytest.mark.parametrize("code", [1, 255, 137, 129])
def test_codes_are_the_programs_own(device: AdbTransport, code: int) -> None:
    with pytest.raises(CommandFailed, match=rf"^{device.address}: `sh -c .* ended with code {code}: no$") as failure:
        device.run(["sh", "-c", f"echo yes; echo no >&2; exit {code}"], timeout_s=10)
    assert (failure.value.code, failure.value.stdout, failure.value.stderr) == (code, "yes\n", "no\n")


def test_a_signal_is_128_and_its_number_and_a_missing_program_127(device: AdbTransport) -> None:
    assert device.run(["sh", "-c", "kill -9 $$"], timeout_s=10, check=False).code == 137
    assert device.run(["no-such-program"], timeout_s=10, check=False).code == 127


def test_a_program_that_kills_its_own_group_is_not_a_lost_connection(device: AdbTransport) -> None:
    if first(device):
        with pytest.raises(DeviceError, match="the shell was ended by the device while running"):
            device.run(["sh", "-c", "kill -9 0"], timeout_s=10)
    else:
        assert device.run(["sh", "-c", "kill -9 0"], timeout_s=10, check=False).code == 137
    assert device.run(["echo", "on"], timeout_s=10).stdout == "on\n"


def test_stdin_and_output_of_many_megabytes(device: AdbTransport) -> None:
    data = b"0123456789abcde\n" * 200_000
    assert device.run(["cat"], timeout_s=60, stdin=data).stdout.encode() == data
    assert device.run(["true"], timeout_s=60, stdin=data).code == 0
    assert device.run(["sh", "-c", "head -c 3000000 /dev/zero >&2"], timeout_s=30).stderr == "\0" * 3_000_000
    assert device.run(["cat"], timeout_s=10).stdout == ""


def test_lines_come_as_they_are_written(device: AdbTransport) -> None:
    came: list[tuple[str, float]] = []
    completed = device.run(["sh", "-c", "echo one; sleep 0.4; printf two"], timeout_s=10, on_line=lambda line: came.append((line, time.monotonic())))
    assert [line for line, _ in came] == ["one", "two"]
    assert came[1][1] - came[0][1] > 0.2
    assert completed.stdout == "one\ntwo"


def test_a_long_command_is_taken_or_refused(device: AdbTransport) -> None:
    assert len(device.run(["echo", "x" * 50_000], timeout_s=10).stdout) == 50_001
    if not first(device):
        with pytest.raises(InputError, match="more than a device takes: pass what is long through stdin"):
            device.run(["echo", "x" * 70_000], timeout_s=10)


def test_a_short_command_takes_a_few_milliseconds(device: AdbTransport) -> None:
    def once() -> float:
        started = time.monotonic()
        device.run(["true"], timeout_s=10)
        return time.monotonic() - started

    if not first(device):
        assert min(once() for _ in range(10)) < 0.035  # 40 ms more if adb's server waits for an acknowledgement


def test_commands_run_beside_each_other(device: AdbTransport) -> None:
    outputs: list[str] = []
    threads = [threading.Thread(target=lambda n=n: outputs.append(device.run(["sh", "-c", f"sleep 0.1; echo {n}"], timeout_s=10).stdout)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outputs) == ["0\n", "1\n", "2\n", "3\n"]


def test_commands_that_time_out_beside_each_other_leave_the_connection(device: AdbTransport) -> None:
    def slow(number: int) -> None:
        with pytest.raises(DeviceTimeout):
            device.run(["sleep", f"7778{number}"], timeout_s=0.3)

    threads = [threading.Thread(target=slow, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    wait_until(lambda: not any(running(f"sleep 7778{number}") for number in range(3)))
    assert device.run(["echo", "on"], timeout_s=10).stdout == "on\n"


@pytest.mark.parametrize("cut", range(1, 40))
def test_the_line_that_tells_the_code_is_found_however_it_arrives(cut: int) -> None:
    given, rest = bytearray(), bytearray()
    ending = Ending("0123", given.extend, rest.extend)
    said = b"edgekit-ended 99 1\nedgekit-ended 0123 7\nafter"
    for start in range(0, len(said), cut):
        ending.feed(said[start : start + cut])
    ending.finish()
    assert (bytes(given), bytes(rest), ending.code) == (b"edgekit-ended 99 1\n", b"after", 7)


# The end of a command


def test_what_a_command_leaves_behind_stays(phone: Device, device: AdbTransport) -> None:
    process = device.run(["sh", "-c", "sleep 77787 >/dev/null 2>&1 </dev/null & echo $!"], timeout_s=10).stdout.strip()
    device.close()
    time.sleep(0.5)  # the guard ends within milliseconds
    with opened(phone) as again:
        again.run(["kill", process], timeout_s=10)
    wait_until(lambda: not running("sleep 77787"))


def test_a_timeout_ends_the_command_and_its_children_there(device: AdbTransport) -> None:
    started = time.monotonic()
    with pytest.raises(DeviceTimeout, match=rf"^{device.address}: not done within 0\.3 s while running .*sleep 77781"):
        device.run(["sh", "-c", "sleep 77781 & wait"], timeout_s=0.3)
    assert time.monotonic() - started < 3
    wait_until(lambda: not running("sleep 77781"))
    assert device.run(["echo", "on"], timeout_s=10).stdout == "on\n"


def test_an_interrupt_ends_the_command_there(device: AdbTransport) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        device.run(["sh", "-c", "echo started; sleep 77782"], timeout_s=60, on_line=interrupt)
    wait_until(lambda: not running("sleep 77782"))


def test_a_lost_connection_ends_the_command_there(phone: Device, device: AdbTransport) -> None:
    with pytest.raises(Unreachable, match=r"the connection was lost while running .*check its power and its cable or network"):
        device.run(["sh", "-c", "sleep 0.3; echo started; sleep 77783"], timeout_s=60, on_line=lambda line: phone.drop())
    wait_until(lambda: not running("sleep 77783"))
    with pytest.raises(Unreachable, match="the connection was lost"):
        device.run(["true"], timeout_s=10)


def test_a_server_that_is_killed_ends_the_command_there(phone: Device, device: AdbTransport) -> None:
    with pytest.raises(Unreachable, match="the connection was lost while running"):
        device.run(["sh", "-c", "sleep 0.3; echo started; sleep 77784"], timeout_s=60, on_line=lambda line: phone.server.kill())
    wait_until(lambda: not running("sleep 77784"))


def test_a_device_that_goes_off_is_unreachable(phone: Device, device: AdbTransport) -> None:
    try:
        with pytest.raises(Unreachable, match="the connection was lost while running"):
            device.run(["sh", "-c", "sleep 0.3; echo started; sleep 77785"], timeout_s=60, on_line=lambda line: phone.kill())
    finally:
        phone.kill()
        subprocess.run(["rm", "-rf", *phone.folder.iterdir()], check=True)
        phone.start()
        wait_until(lambda: not running("sleep 77785"))


def test_a_command_ends_when_edgekit_is_killed(phone: Device, device: AdbTransport) -> None:
    script = f"import sys; from edgekit.transport import connect; connect('{phone.address}').run(['sleep', '77786'], timeout_s=60)"
    host = subprocess.Popen([sys.executable, "-c", script])
    wait_until(lambda: running("sleep 77786"), 20)
    time.sleep(0.3)  # the first protocol starts a command before the guard knows of it
    host.send_signal(signal.SIGKILL)
    host.wait()
    wait_until(lambda: not running("sleep 77786"), 10)


def test_closing_ends_what_still_runs(phone: Device) -> None:
    device = opened(phone)
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            device.run(["sleep", "77788"], timeout_s=60)
        except Unreachable as exc:
            ended.append(exc)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: running("sleep 77788"))
    time.sleep(0.3)
    device.close()
    device.close()
    thread.join(timeout=10)
    assert len(ended) == 1
    wait_until(lambda: not running("sleep 77788"))


# Files


SMALL, LARGE, HUGE = 3_000_000, 30_000_000, 200_000_000
assert SMALL < PUSH_BYTES < LARGE  # by a shell's stream, and by adb's service for files


def zeros(path: Path, size: int) -> Path:
    """A file of so many bytes that takes no room here."""
    path.touch()
    os.truncate(path, size)
    return path


@contextlib.contextmanager
def once_come(folder: Path, size: int, then: Callable[[], object]) -> Iterator[None]:
    """Does something as soon as so many bytes of a file have come into a folder."""

    def watch() -> None:
        wait_until(lambda: any(written(file) > size for file in folder.iterdir()), 30)
        then()

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    thread.join()


def written(file: Path) -> int:
    with contextlib.suppress(OSError):
        return file.stat().st_size
    return 0


def test_a_file_goes_there_and_back_for_its_owner_alone(device: AdbTransport, tmp_path: Path) -> None:
    source, back, folder = tmp_path / "source", tmp_path / "back", tmp_path / "there"
    folder.mkdir()
    for size in (0, 1, SMALL, PUSH_BYTES, LARGE + 1):
        source.write_bytes(os.urandom(size))
        sent: list[int] = []
        there = f"{folder}/it's a\n$name"
        device.push(source, there, timeout_s=60, progress=sent.append)
        device.pull(there, back, timeout_s=60)
        assert sha256_file(back) == sha256_file(source) == sha256_file(Path(there))
        assert sent == sorted(sent)
        assert sent[-1:] == ([size] if size else [])
        assert size >= PUSH_BYTES or len(sent) == -(-size // (1 << 20))
        assert stat.S_IMODE(os.stat(there).st_mode) == 0o600
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("how", ["drop", "kill"])
def test_a_connection_lost_in_a_push_leaves_no_file(phone: Device, device: AdbTransport, tmp_path: Path, how: str) -> None:
    source, folder = zeros(tmp_path / "source", HUGE), tmp_path / "the\nre"  # a name that has to be quoted for the guard
    folder.mkdir()
    with once_come(folder, 10_000_000, phone.drop if how == "drop" else phone.server.kill):
        with pytest.raises(Unreachable, match=r"the connection was lost while sending there \(200\.0 MB\)"):
            device.push(source, f"{folder}/there", timeout_s=60)
    wait_until(lambda: list(folder.iterdir()) == [])


def test_a_connection_lost_after_the_last_byte_leaves_no_file(phone: Device, device: AdbTransport, tmp_path: Path) -> None:
    source, folder = zeros(tmp_path / "source", LARGE), tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(Unreachable, match="the connection was lost while sending there"):
        device.push(source, f"{folder}/there", timeout_s=60, progress=lambda sent: phone.drop() if sent == LARGE else None)
    wait_until(lambda: list(folder.iterdir()) == [])


def test_a_connection_lost_in_the_push_of_a_small_file_leaves_no_file(phone: Device, device: AdbTransport, tmp_path: Path) -> None:
    source, folder = zeros(tmp_path / "source", SMALL), tmp_path / "the\nre"
    folder.mkdir()
    with pytest.raises(Unreachable, match=r"the connection was lost while sending there \(3\.0 MB\)"):
        device.push(source, f"{folder}/there", timeout_s=60, progress=lambda sent: phone.drop() if sent > 1_000_000 else None)
    wait_until(lambda: list(folder.iterdir()) == [])


def test_a_push_that_takes_too_long_leaves_no_file(device: AdbTransport, tmp_path: Path) -> None:
    source, folder = zeros(tmp_path / "source", SMALL), tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(DeviceTimeout, match=r"not done within 0\.2 s while sending there"):
        device.push(source, f"{folder}/there", timeout_s=0.2, progress=lambda sent: time.sleep(0.2))
    wait_until(lambda: list(folder.iterdir()) == [])


def test_a_large_push_that_takes_too_long_leaves_no_file(device: AdbTransport, tmp_path: Path) -> None:
    source, folder = zeros(tmp_path / "source", 2_000_000_000), tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(DeviceTimeout, match=r"not done within 0\.3 s while sending there \(2\.00 GB\)"):
        device.push(source, f"{folder}/there", timeout_s=0.3)
    wait_until(lambda: list(folder.iterdir()) == [])
    assert device.run(["echo", "on"], timeout_s=10).stdout == "on\n"


def test_a_slow_push_tells_how_far_it_is_and_can_be_interrupted(server: AdbServer, tmp_path: Path) -> None:
    source, folder = zeros(tmp_path / "source", HUGE), tmp_path / "folder"
    folder.mkdir()
    heard: list[int] = []

    def interrupt(sent: int) -> None:
        heard.append(sent)
        raise KeyboardInterrupt

    with faulty(server, ("--delay-s", "0.02")) as phone, opened(phone) as device:
        with pytest.raises(KeyboardInterrupt):
            device.push(source, f"{folder}/there", timeout_s=60, progress=interrupt)
        assert len(heard) == 1
        assert 0 < heard[0] < HUGE
        assert device.clients == {device.guard_client}
        wait_until(lambda: list(folder.iterdir()) == [])


@pytest.mark.slow
def test_a_device_that_freezes_in_a_push_is_a_timeout(server: AdbServer, tmp_path: Path) -> None:
    source, folder = zeros(tmp_path / "source", HUGE), tmp_path / "folder"
    folder.mkdir()
    with faulty(server) as phone, opened(phone) as device:
        assert phone.process is not None
        pid, started = phone.process.pid, time.monotonic()
        try:
            with once_come(folder, 10_000_000, lambda: os.kill(pid, signal.SIGSTOP)):
                with pytest.raises(DeviceTimeout, match=r"not done within 3 s while sending there \(200\.0 MB\)"):
                    device.push(source, f"{folder}/there", timeout_s=3, progress=lambda sent: None)
            assert time.monotonic() - started < 10
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: list(folder.iterdir()) == [])


@pytest.mark.parametrize("fault", ["--no-sync", "--lose", "--full"])
def test_a_device_whose_service_for_files_fails(server: AdbServer, tmp_path: Path, fault: str) -> None:
    source, folder = tmp_path / "source", tmp_path / "folder"
    source.write_bytes(os.urandom(PUSH_BYTES))
    folder.mkdir()
    with faulty(server, (fault,)) as phone, opened(phone) as device:
        if fault == "--full":
            with pytest.raises(DeviceError, match=r"no space left on the device for .*/there \(needs 4\.2 MB, has "):
                device.push(source, f"{folder}/there", timeout_s=30)
            wait_until(lambda: list(folder.iterdir()) == [])
        else:
            device.push(source, f"{folder}/there", timeout_s=30)
            assert sha256_file(folder / "there") == sha256_file(source)
            wait_until(lambda: len(list(folder.iterdir())) == 1)


def test_a_connection_lost_in_a_pull_leaves_no_file(phone: Device, device: AdbTransport, tmp_path: Path) -> None:
    threading.Timer(0.3, phone.drop).start()
    with pytest.raises(Unreachable, match="the connection was lost while fetching /dev/zero"):
        device.pull("/dev/zero", tmp_path / "here", timeout_s=60)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_full_disk_is_said_with_figures(device: AdbTransport, tmp_path: Path, size: int) -> None:
    source, disk = zeros(tmp_path / "source", size), tmp_path / "disk"
    disk.mkdir()
    if device.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], timeout_s=10, check=False).code != 0:
        missing("the right to mount a small disk", "run the tests as root with CAP_SYS_ADMIN")
    try:
        with pytest.raises(DeviceError, match=r"no space left on the device for .*there \(needs 30?\.0 MB, has 1\.0 MB\): free some"):
            device.push(source, f"{disk}/there", timeout_s=30)
        assert device.run(["ls", "-A", str(disk)], timeout_s=10).stdout == ""
    finally:
        device.run(["umount", str(disk)], timeout_s=10)


def test_a_device_of_the_first_protocol_with_no_space_for_input(server: AdbServer, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    with faulty(server, ("--first-protocol", "--full")) as phone, opened(phone) as device:
        with pytest.raises(DeviceError, match=r"no space left on the device for .*/there \(needs 1 B"):
            device.push(source, f"{tmp_path}/there", timeout_s=10)


@pytest.mark.parametrize("size", [1, PUSH_BYTES])
def test_a_file_that_cannot_be_written_or_read(device: AdbTransport, tmp_path: Path, size: int) -> None:
    source, folder = zeros(tmp_path / "source", size), tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(CommandFailed, match=r"/folder could not be written: .*is a folder"):
        device.push(source, str(folder), timeout_s=10)
    assert list(folder.iterdir()) == []
    folder.rmdir()
    with pytest.raises(CommandFailed, match=r"/absent/there could not be written: .*(No such file|nonexistent)"):
        device.push(source, f"{tmp_path}/absent/there", timeout_s=10)
    with pytest.raises(CommandFailed, match=r"/absent could not be read: .*No such file"):
        device.pull(f"{tmp_path}/absent", tmp_path / "here", timeout_s=10)
    assert list(tmp_path.iterdir()) == [source]


# Faults


def test_a_shell_that_ends_without_a_code_has_told_it_before(server: AdbServer) -> None:
    with faulty(server, ("--no-code",)) as phone, opened(phone) as device:
        assert device.run(["sh", "-c", "exit 3"], timeout_s=10, check=False).code == 3
        with pytest.raises(DeviceError, match="the shell was ended by the device while running"):
            device.run(["sh", "-c", "kill -9 0"], timeout_s=10)


def test_a_connection_that_is_cut_within_a_push(server: AdbServer, tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "folder"
    folder.mkdir()
    source.write_bytes(bytes(10_000_000))
    with faulty(server, ("--drop-after", "5000000")) as phone, opened(phone) as device:
        with pytest.raises(Unreachable, match="the connection was lost while sending there"):
            device.push(source, f"{folder}/there", timeout_s=30)
        wait_until(lambda: list(folder.iterdir()) == [])


def test_a_device_that_garbles_what_it_says_is_not_taken_at_its_word(server: AdbServer) -> None:
    with faulty(server, ("--garble",)) as phone:
        with pytest.raises(DeviceTimeout, match="not done within 1 s while starting a shell"):
            connect(phone.address, timeout_s=1)


@pytest.mark.parametrize("frozen", ["server", "device"])
@pytest.mark.slow
def test_what_answers_nothing_at_all_is_a_timeout(frozen: str) -> None:
    with adb_server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        with faulty(server) as phone, opened(phone) as device:
            assert phone.process is not None
            pid = phone.process.pid if frozen == "device" else server_pid(server)
            started = time.monotonic()
            try:
                with pytest.raises(DeviceTimeout, match="not done within 1 s"):
                    device.run(["sh", "-c", "echo started; sleep 77789"], timeout_s=1, on_line=lambda line: os.kill(pid, signal.SIGSTOP))
                assert time.monotonic() - started < 8
                with pytest.raises(Unreachable):
                    device.run(["true"], timeout_s=1)
            finally:
                os.kill(pid, signal.SIGCONT)
            wait_until(lambda: not running("sleep 77789"))


def server_pid(server: AdbServer) -> int:
    words, found = f"tcp:{server.port}".encode(), []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if folder.name.isdigit() and words in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    (pid,) = found
    return pid
