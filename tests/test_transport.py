"""What every transport promises, on this machine."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.errors import CommandFailed, DeviceTimeout, InputError
from edgekit.transport import Transport, connect
from edgekit.transport.streams import LIMIT_BYTES, LINE_LIMIT_BYTES, Output
from tests.lab.sshd import running, wait_until

AWKWARD = ["a b", "it's", 'say "hi"', "two\nlines", "$HOME `id` $(id)", "back\\slash\\n", "", "*", "-n", "~", "!x", "naïve ✓", "a;b&&c|d>e"]
ECHO_ARGV = "import json, sys; print(json.dumps(sys.argv[1:]))"


@pytest.fixture
def here() -> Iterator[Transport]:
    with connect("local:") as transport:
        yield transport


def test_argv_arrives_as_it_was_given(here: Transport) -> None:
    assert json.loads(here.run([sys.executable, "-c", ECHO_ARGV, *AWKWARD], timeout_s=10).stdout) == AWKWARD


def test_a_failure_carries_all_that_is_known(here: Transport) -> None:
    argv = ["sh", "-c", "echo some; echo first >&2; echo last >&2; exit 255"]
    with pytest.raises(CommandFailed, match=r"ended with code 255: last$") as failure:
        here.run(argv, timeout_s=10)
    assert (failure.value.argv, failure.value.code, failure.value.stdout, failure.value.stderr) == (tuple(argv), 255, "some\n", "first\nlast\n")
    assert here.run(argv, timeout_s=10, check=False).code == 255


def test_a_signal_is_128_and_its_number(here: Transport) -> None:
    assert here.run(["sh", "-c", "kill -9 $$"], timeout_s=10, check=False).code == 137


def test_a_missing_program_is_127_as_in_a_shell(here: Transport) -> None:
    with pytest.raises(CommandFailed, match=r"ended with code 127: no-such-program: No such file"):
        here.run(["no-such-program"], timeout_s=10)
    assert here.run(["/etc/passwd"], timeout_s=10, check=False).code == 126


def test_stdin_arrives_whole_and_ends(here: Transport) -> None:
    assert here.run(["cat"], timeout_s=10, stdin=b"x" * 3_000_000).stdout == "x" * 3_000_000
    assert here.run(["cat"], timeout_s=10).stdout == ""
    assert here.run(["true"], timeout_s=10, stdin=b"x" * 3_000_000).code == 0  # not read to its end: no matter


def test_lines_come_as_they_are_written(here: Transport) -> None:
    lines: list[str] = []
    completed = here.run(["printf", "one\\ntwo\\nend"], timeout_s=10, on_line=lines.append)
    assert lines == ["one", "two", "end"]
    assert completed.stdout == "one\ntwo\nend"


def test_the_command_ends_when_a_listener_raises(here: Transport) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        here.run(["sh", "-c", "echo started; sleep 77771"], timeout_s=60, on_line=interrupt)
    wait_until(lambda: not running("sleep 77771"))


def test_a_timeout_ends_the_command_and_its_children(here: Transport) -> None:
    started = time.monotonic()
    with pytest.raises(DeviceTimeout, match=r"not done within 0\.3 s while running .*sleep 77772"):
        here.run(["sh", "-c", "sleep 77772 & wait"], timeout_s=0.3)
    assert time.monotonic() - started < 5
    wait_until(lambda: not running("sleep 77772"))


def test_output_that_is_not_text_is_replaced(here: Transport) -> None:
    assert here.run(["printf", "a\\377b"], timeout_s=10).stdout == "a\ufffdb"


def test_output_beyond_the_limit_is_dropped_and_said_so(here: Transport) -> None:
    completed = here.run(["head", "-c", str(LIMIT_BYTES + 1), "/dev/zero"], timeout_s=30)
    assert completed.truncated
    assert len(completed.stdout) == LIMIT_BYTES
    assert not here.run(["head", "-c", "10", "/dev/zero"], timeout_s=30).truncated


def test_a_line_without_an_end_does_not_grow_for_ever() -> None:
    lines: list[str] = []
    output = Output(lines.append)
    for _ in range(3):
        output.feed(b"x" * (LINE_LIMIT_BYTES // 2 + 1))
    assert len(lines) == 1


def test_a_file_goes_there_and_back(here: Transport, tmp_path: Path) -> None:
    source, there, back = tmp_path / "source", tmp_path / "it's a\n$name", tmp_path / "back"
    source.write_bytes(os.urandom(3_000_000))
    sent: list[int] = []
    here.push(source, str(there), timeout_s=10, progress=sent.append)
    here.pull(str(there), back, timeout_s=10)
    assert back.read_bytes() == there.read_bytes() == source.read_bytes()
    assert sent == sorted(sent)
    assert sent[-1] == 3_000_000


def test_a_push_that_fails_leaves_nothing(here: Transport, tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "folder"
    source.write_bytes(b"x")
    folder.mkdir()
    with pytest.raises(CommandFailed, match="is a folder"):
        here.push(source, str(folder), timeout_s=10)
    with pytest.raises(CommandFailed, match="could not be written"):
        here.push(source, str(folder / "absent" / "file"), timeout_s=10)
    with pytest.raises(DeviceTimeout, match=r"sending file \(1 B\)"):
        here.push(source, str(folder / "file"), timeout_s=-1)
    assert list(folder.iterdir()) == []


def test_a_file_that_changes_while_it_is_sent_does_not_appear(here: Transport, tmp_path: Path) -> None:
    source, there = tmp_path / "source", tmp_path / "there"
    source.write_bytes(bytes(3 << 20))
    with pytest.raises(CommandFailed, match="fewer than its 3145728 bytes"):
        here.push(source, str(there), timeout_s=10, progress=lambda sent: os.truncate(source, 2 << 20))
    assert sorted(tmp_path.iterdir()) == [source]


def test_a_pull_that_fails_leaves_nothing(here: Transport, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"absent could not be read: .*No such file"):
        here.pull(str(tmp_path / "absent"), tmp_path / "here", timeout_s=10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("shs:pi@bench", "did you mean 'ssh:'?"),
        ("pixel7", "addresses begin with adb:, local:, ssh:"),
        ("local:somewhere", "this machine is local: with nothing after it"),
        ("ssh:", "write ssh:"),
        ("ssh:pi@bench:99999", "write ssh:"),
        ("ssh:-oProxyCommand=x", "write ssh:"),
    ],
)
def test_an_address_that_is_none_is_an_input_error(address: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        connect(address)
    assert words in str(error.value)
