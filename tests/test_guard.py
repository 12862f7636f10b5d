"""What guards a device, under the shells of devices: the files that it begins, settles and removes, and the processes that it ends."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.transport.adb_shells import receiver, sender
from edgekit.transport.guard import GUARD, Guard, wait_ready
from tests.lab.shells import SHELLS, programs

AWKWARD = "a b\n'$x\\0134\n"
WAIT_S = 10.0


@pytest.fixture(params=SHELLS)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PATH": str(programs(request.param, tmp_path / "programs"))}
    os.makedirs(tmp_path / "files")
    with subprocess.Popen([tmp_path / "programs/sh", "-c", GUARD, "sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        yield process
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()


@pytest.fixture
def guard(client: subprocess.Popen[bytes]) -> Guard:
    assert client.stdin is not None
    assert client.stdout is not None
    guard = Guard(sender(client.stdin), receiver(client.stdout))
    wait_ready(guard.receive, time.monotonic() + WAIT_S)
    return guard


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.mark.parametrize("name", ["plain", AWKWARD])
def test_a_file_is_begun_and_settled_for_its_owner_alone(guard: Guard, folder: Path, name: str) -> None:
    aside, place = folder / f".{name}", folder / name
    assert guard.begin(str(aside), str(place), WAIT_S)
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    aside.write_bytes(b"abc")
    aside.chmod(0o666)
    assert guard.settle(str(aside), str(place), 3, WAIT_S)
    assert place.read_bytes() == b"abc"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert list(folder.iterdir()) == [place]


def test_what_cannot_be_written_is_not_begun_and_the_guard_goes_on(guard: Guard, folder: Path) -> None:
    assert not guard.begin(str(folder / "absent/.aside"), str(folder / "absent/place"), WAIT_S)
    assert not guard.begin(str(folder / ".aside"), str(folder), WAIT_S)  # the place is a folder
    assert list(folder.iterdir()) == []
    guard.answer("ask 1", WAIT_S, "here 1")


def test_names_longer_than_a_terminals_line_are_not_said(guard: Guard, folder: Path) -> None:
    deep = folder / (" " * 250)
    deep.mkdir()
    assert not guard.begin(f"{deep}/{' ' * 250}", f"{deep}/{' ' * 249}", WAIT_S)  # each space is said in five characters
    assert list(deep.iterdir()) == []


def test_what_has_another_size_is_not_settled(guard: Guard, folder: Path) -> None:
    aside, place = folder / ".aside", folder / "place"
    assert not guard.settle(str(aside), str(place), 0, WAIT_S)
    aside.write_bytes(b"abc")
    assert not guard.settle(str(aside), str(place), 4, WAIT_S)
    assert not place.exists()


def test_what_is_expected_goes_with_the_connection(client: subprocess.Popen[bytes], guard: Guard, folder: Path) -> None:
    names = [folder / "one", folder / AWKWARD, folder / "kept"]
    for path in names:
        path.touch()
    guard.expect(str(names[0]))
    guard.expect(str(names[1]))
    guard.remove(str(folder / "none"))
    assert client.stdin is not None
    client.stdin.close()
    client.wait(WAIT_S)
    assert list(folder.iterdir()) == [folder / "kept"]


def test_what_was_started_is_ended_and_what_ended_is_let_be(client: subprocess.Popen[bytes], guard: Guard) -> None:
    killed, left, done = (subprocess.Popen(["sleep", "60"], start_new_session=True) for _ in range(3))
    try:
        for process in (killed, left, done):
            guard.started(process.pid)
        guard.kill(killed.pid)
        assert killed.wait(WAIT_S) == -9
        guard.ended(done.pid)
        assert client.stdin is not None
        client.stdin.close()
        assert left.wait(WAIT_S) == -9
        client.wait(WAIT_S)
        assert done.poll() is None
    finally:
        for process in (killed, left, done):
            process.kill()
            process.wait()
