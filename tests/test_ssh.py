"""SSH against a genuine sshd, as a user of its own: what is promised when all is well, and what is said when it is not."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from edgekit.errors import CommandFailed, DeviceError, DeviceTimeout, Unreachable
from edgekit.files import sha256_file
from edgekit.transport import Transport, connect
from tests.conftest import missing
from tests.lab.sshd import Server, free_port, keygen, running, sshd, wait_until
from tests.lab.wire import wire
from tests.test_transport import AWKWARD, ECHO_ARGV

pytestmark = pytest.mark.lab

# Ends the one process with that command line; fails if there is none. Others may end while it looks.
KILL = """
import contextlib, os, sys
from pathlib import Path
wanted, found = sys.argv[1].replace(" ", "\\0") + "\\0", []
for folder in Path("/proc").iterdir():
    with contextlib.suppress(OSError):
        if folder.name.isdigit() and (folder / "cmdline").read_text(errors="replace") == wanted:
            found.append(int(folder.name))
(pid,) = found
os.kill(pid, 9)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with sshd() as running_server:
        yield running_server


@pytest.fixture(autouse=True)
def configured(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.config))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def device(server: Server) -> Iterator[Transport]:
    with connect("ssh:bench") as transport:
        yield transport


# Commands


def test_argv_arrives_as_it_was_given(device: Transport) -> None:
    assert json.loads(device.run(["python3", "-c", ECHO_ARGV, *AWKWARD], timeout_s=10).stdout) == AWKWARD
    assert device.run(["echo", "a\\nb"], timeout_s=10).stdout == "a\\nb\n"  # the program echo, not the shell's


def test_another_user_without_packages_runs_it(device: Transport, server: Server) -> None:
    assert device.run(["id", "-un"], timeout_s=10).stdout.strip() == server.user
    assert device.run(["python3", "-c", "import numpy"], timeout_s=10, check=False).code == 1
    assert device.run(["ls", "-A"], timeout_s=10).stdout == ""


def test_codes_are_the_programs_own(device: Transport) -> None:
    with pytest.raises(CommandFailed, match=r"^ssh:bench: `sh -c 'echo no >&2; exit 255'` ended with code 255: no$") as failure:
        device.run(["sh", "-c", "echo no >&2; exit 255"], timeout_s=10)
    assert (failure.value.code, failure.value.stderr) == (255, "no\n")
    assert device.run(["sh", "-c", "kill -9 $$"], timeout_s=10, check=False).code == 137
    assert device.run(["no-such-program"], timeout_s=10, check=False).code == 127


def test_stdin_and_output_of_many_megabytes(device: Transport) -> None:
    data = b"0123456789abcdef" * 300_000
    assert device.run(["cat"], timeout_s=30, stdin=data).stdout.encode() == data
    assert device.run(["true"], timeout_s=30, stdin=data).code == 0
    assert device.run(["sh", "-c", "head -c 3000000 /dev/zero >&2"], timeout_s=30).stderr == "\0" * 3_000_000


def test_what_login_scripts_print_is_not_the_commands_output(server: Server) -> None:
    rc = server.home / ".ssh" / "rc"
    rc.parent.mkdir()
    rc.write_text("printf 'welcome to\\n\\nbench'\n")
    try:
        with connect("ssh:bench") as device:
            assert device.run(["printf", "%s", "42"], timeout_s=10).stdout == "42"
    finally:
        rc.unlink()
        rc.parent.rmdir()


def test_a_short_command_takes_a_few_milliseconds(device: Transport) -> None:
    def once() -> float:
        started = time.monotonic()
        device.run(["true"], timeout_s=10)
        return time.monotonic() - started

    assert min(once() for _ in range(10)) < 0.035  # 40 ms more if small packets wait for each other's acknowledgement


def test_commands_run_beside_each_other(device: Transport) -> None:
    outputs: list[str] = []
    threads = [threading.Thread(target=lambda n=n: outputs.append(device.run(["sh", "-c", f"sleep 0.1; echo {n}"], timeout_s=10).stdout)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outputs) == ["0\n", "1\n", "2\n", "3\n"]


# The end of a command


def test_what_a_command_leaves_behind_stays(device: Transport) -> None:
    device.run(["sh", "-c", "sleep 88887 >/dev/null 2>&1 </dev/null &"], timeout_s=10)
    device.close()
    time.sleep(0.3)  # the guard ends within milliseconds
    with connect("ssh:bench") as again:
        again.run(["python3", "-c", KILL, "sleep 88887"], timeout_s=10)
    wait_until(lambda: not running("sleep 88887"))


def test_a_timeout_ends_the_command_and_its_children_there(device: Transport) -> None:
    with pytest.raises(DeviceTimeout, match=r"^ssh:bench: not done within 0\.3 s while running .*sleep 88881"):
        device.run(["sh", "-c", "sleep 88881 & wait"], timeout_s=0.3)
    wait_until(lambda: not running("sleep 88881"))
    assert device.run(["echo", "on"], timeout_s=10).stdout == "on\n"


def test_an_interrupt_ends_the_command_there(device: Transport) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        device.run(["sh", "-c", "echo started; sleep 88882"], timeout_s=60, on_line=interrupt)
    wait_until(lambda: not running("sleep 88882"))


def test_a_lost_connection_ends_the_command_there(server: Server, device: Transport) -> None:
    with pytest.raises(Unreachable, match=r"the connection was lost while running .*check the device's power and network"):
        device.run(["sh", "-c", "echo started; sleep 88883"], timeout_s=60, on_line=lambda line: server.drop())
    wait_until(lambda: not running("sleep 88883"))
    with pytest.raises(Unreachable, match="the connection was lost"):
        device.run(["true"], timeout_s=10)


def test_a_command_ends_when_edgekit_is_killed(server: Server) -> None:
    script = "import sys; from edgekit.transport import connect; connect('ssh:bench').run(['sleep', '88884'], timeout_s=60)"
    host = subprocess.Popen([sys.executable, "-c", script])
    wait_until(lambda: running("sleep 88884"), 20)
    host.send_signal(signal.SIGKILL)
    host.wait()
    wait_until(lambda: not running("sleep 88884"))


def test_closing_ends_what_still_runs(server: Server) -> None:
    device = connect("ssh:bench")
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            device.run(["sleep", "88885"], timeout_s=60)
        except Unreachable as exc:
            ended.append(exc)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: running("sleep 88885"))
    device.close()
    device.close()
    thread.join(timeout=10)
    assert len(ended) == 1
    wait_until(lambda: not running("sleep 88885"))


@pytest.mark.parametrize("when", ["before", pytest.param("within", marks=pytest.mark.slow)])
def test_a_device_that_answers_nothing_at_all_is_a_timeout(server: Server, device: Transport, when: str) -> None:
    sessions = server.sessions()

    def freeze(line: str) -> None:
        for pid in sessions:
            with contextlib.suppress(ProcessLookupError):  # a process of sshd's that has ended meanwhile
                os.kill(pid, signal.SIGSTOP)

    if when == "before":
        freeze("")
    try:
        with pytest.raises(DeviceTimeout, match="not done within 1 s"):
            device.run(["sh", "-c", "echo started; sleep 88886"], timeout_s=1, on_line=freeze)
        if when == "within":  # it could not be told to end the command, so the connection that keeps it alive was closed
            with pytest.raises(Unreachable):
                device.run(["true"], timeout_s=1)
    finally:
        for pid in sessions:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not running("sleep 88886"))


# Files


def test_fifty_megabytes_arrive_as_they_were(server: Server, device: Transport, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(os.urandom(50_000_000))
    sent: list[int] = []
    there = f"{server.home}/it's a\n$name"
    device.push(source, there, timeout_s=60, progress=sent.append)
    device.pull(there, back, timeout_s=60)
    told = device.run(["python3", "-c", "import sys, hashlib; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())", there], timeout_s=30)
    assert told.stdout.strip() == sha256_file(back) == sha256_file(source)
    assert sent == sorted(sent)
    assert sent[-1] == 50_000_000
    device.run(["rm", there], timeout_s=10)
    assert device.run(["ls", "-A"], timeout_s=10).stdout == ""


def test_a_connection_lost_in_a_push_leaves_no_file(server: Server, device: Transport, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(50_000_000))
    with pytest.raises(Unreachable, match=r"the connection was lost while sending there \(50\.0 MB\)"):
        device.push(source, f"{server.home}/there", timeout_s=60, progress=lambda sent: server.drop())
    wait_until(lambda: list(server.home.iterdir()) == [])


def test_a_push_that_takes_too_long_leaves_no_file(server: Server, device: Transport, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(50_000_000))
    with pytest.raises(DeviceTimeout, match=r"not done within 0\.1 s while sending there"):
        device.push(source, f"{server.home}/there", timeout_s=0.1)
    wait_until(lambda: list(server.home.iterdir()) == [])


def test_a_connection_lost_in_a_pull_leaves_no_file(server: Server, device: Transport, tmp_path: Path) -> None:
    threading.Timer(0.5, server.drop).start()
    with pytest.raises(Unreachable, match="the connection was lost while fetching /dev/zero"):
        device.pull("/dev/zero", tmp_path / "here", timeout_s=60)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_with_figures(server: Server, device: Transport, tmp_path: Path) -> None:
    source, disk = tmp_path / "source", server.folder / "disk"
    source.write_bytes(bytes(3_000_000))
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "tmpfs", str(disk)], capture_output=True).returncode != 0:
        missing("the right to mount a small disk", "run the tests as root with CAP_SYS_ADMIN")
    try:
        with pytest.raises(DeviceError, match=r"no space left on the device for .*there \(needs 3\.0 MB, has 1\.0 MB\): free some"):
            device.push(source, f"{disk}/there", timeout_s=30)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_file_that_cannot_be_written_or_read(device: Transport, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    with pytest.raises(CommandFailed, match=r"/there could not be written: .*[Pp]ermission denied"):
        device.push(source, "/there", timeout_s=10)
    with pytest.raises(CommandFailed, match=r"/etc/shadow could not be read: .*[Pp]ermission denied"):
        device.pull("/etc/shadow", tmp_path / "here", timeout_s=10)
    assert list(tmp_path.iterdir()) == [source]


# Host keys


def fingerprint(key: Path) -> str:
    return subprocess.run(["ssh-keygen", "-lf", f"{key}.pub"], check=True, capture_output=True, text=True).stdout.split()[1]


def test_an_unknown_host_key_is_refused_and_the_cure_cures(server: Server) -> None:
    server.known_hosts.write_text("")
    accepted = server.log().count("Accepted")
    try:
        with pytest.raises(Unreachable, match=r"the host key of .* is not known") as error:
            connect("ssh:bench")
        assert fingerprint(server.host_key) in str(error.value)
        assert server.log().count("Accepted") == accepted  # nothing of the user's was offered
        cure = re.search(r"run `(ssh-keyscan [^`]*)`", str(error.value))
        assert cure is not None
        subprocess.run(cure[1], shell=True, check=True, capture_output=True)
        connect("ssh:bench").close()
    finally:
        server.know_host_key()


def test_a_changed_host_key_is_refused_and_the_cure_cures(server: Server) -> None:
    server.new_host_key(known=False)
    server.restart()
    try:
        with pytest.raises(Unreachable, match=r"has changed .* intercepting the connection, or the board was installed anew") as error:
            connect("ssh:bench")
        assert fingerprint(server.host_key) in str(error.value)
        cure = re.search(r"run `(ssh-keygen [^`]*)`", str(error.value))
        assert cure is not None
        subprocess.run(cure[1], shell=True, check=True, capture_output=True)
        with pytest.raises(Unreachable, match="is not known"):
            connect("ssh:bench")
    finally:
        server.know_host_key()


def test_a_revoked_host_key_is_refused(server: Server) -> None:
    known = server.known_hosts.read_text()
    server.known_hosts.write_text(f"{known}@revoked * {known.split(' ', 1)[1]}")
    try:
        with pytest.raises(Unreachable, match="marked @revoked"):
            connect("ssh:bench")
    finally:
        server.know_host_key()


@pytest.mark.parametrize("names", ["hashed", "*", "other,[127.0.*]:*", "[127.0.0.1]:{port}"])
def test_a_host_is_known_under_any_form_of_its_name(server: Server, names: str) -> None:
    key = server.known_hosts.read_text().split(" ", 1)[1]
    if names == "hashed":
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(server.known_hosts)], check=True, capture_output=True)
    else:
        server.known_hosts.write_text(f"{names.format(port=server.port)} {key}")
    try:
        connect("ssh:bench").close()
    finally:
        server.know_host_key()


def test_a_name_that_is_excluded_is_not_known(server: Server) -> None:
    key = server.known_hosts.read_text().split(" ", 1)[1]
    server.known_hosts.write_text(f"*,!{server.known_hosts.read_text().split()[0]} {key}")
    try:
        with pytest.raises(Unreachable, match="is not known"):
            connect("ssh:bench")
    finally:
        server.know_host_key()


def test_the_kind_of_key_that_is_known_is_asked_for(server: Server, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", str(tmp_path / "rsa")], check=True)
    kind, key, *_ = (tmp_path / "rsa.pub").read_text().split()
    server.options.append(f"HostKey {tmp_path / 'rsa'}")
    server.restart()
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {kind} {key}\n")  # and not the ed25519 one, which would be preferred
    try:
        connect("ssh:bench").close()
    finally:
        server.options.pop()
        server.restart()
        server.know_host_key()


# The user's keys


def configure(server: Server, path: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """A configuration of the test's own, with the server's known_hosts."""
    path.write_text("\n".join(["Host bench", "  HostName 127.0.0.1", f"  Port {server.port}", f"  User {server.user}", *lines]) + "\n")
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(path))


def test_a_refused_key_is_named_with_the_user(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keygen(tmp_path / "other")
    keygen(tmp_path / "locked", passphrase="s3cret-words")
    files = [f"  IdentityFile {tmp_path / name}" for name in ("other", "locked", "absent")]
    configure(server, tmp_path / "config", monkeypatch, *files, f"  UserKnownHostsFile {server.known_hosts}")
    words = f"does not accept the keys offered for user {server.user}: {tmp_path}/other, {tmp_path}/locked .cannot be used: encrypted"
    with pytest.raises(Unreachable, match=words):
        connect("ssh:bench")
    wait_until(lambda: server.sessions() == [])


def test_no_key_at_all_is_said(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(server, tmp_path / "config", monkeypatch, f"  IdentityFile {tmp_path / 'absent'}", f"  UserKnownHostsFile {server.known_hosts}")
    with pytest.raises(Unreachable, match=f"no key was found .looked for {tmp_path}/absent and an ssh-agent"):
        connect("ssh:bench")


def test_the_agents_keys_are_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"  IdentityFile {tmp_path / 'absent'}", f"  UserKnownHostsFile {server.known_hosts}"]
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL)
    try:
        wait_until((tmp_path / "agent").exists)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        subprocess.run(["ssh-add", "-q", str(server.identity)], check=True)
        configure(server, tmp_path / "config", monkeypatch, *lines)
        connect("ssh:bench").close()
        configure(server, tmp_path / "config", monkeypatch, *lines, "  IdentitiesOnly yes")
        with pytest.raises(Unreachable, match="no key was found"):
            connect("ssh:bench")
    finally:
        agent.terminate()
        agent.wait()


# Hosts that are not there, and what is not a host


def test_a_port_that_refuses() -> None:
    with pytest.raises(Unreachable, match=r"^ssh:x@127\.0\.0\.1:\d+: 127\.0\.0\.1 port \d+ refuses connections: start its SSH server"):
        connect(f"ssh:x@127.0.0.1:{free_port()}")


def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(Unreachable, match=r"the name no-such-host\.invalid is not known"):
        connect("ssh:no-such-host.invalid")


def test_a_host_that_does_not_answer() -> None:
    with socket.socket() as full, socket.socket() as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        first.connect(full.getsockname())  # the only place in the queue; Linux drops what comes after
        with pytest.raises(Unreachable, match="does not answer: check that it is switched on"):
            connect(f"ssh:x@127.0.0.1:{full.getsockname()[1]}", timeout_s=0.5)


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", None])
def test_a_port_that_does_not_speak_ssh(greeting: bytes | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        held = []

        def serve() -> None:
            connection, _ = other.accept()
            held.append(connection)
            if greeting is not None:
                connection.sendall(greeting)
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(Unreachable, match="does not speak SSH as expected"):
            connect(f"ssh:x@127.0.0.1:{other.getsockname()[1]}", timeout_s=1)
        thread.join()
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    ("option", "words"),
    [("ForceCommand echo no commands here", "runs no commands .no commands here"), ("MaxSessions 1", "opens no further session .*raise MaxSessions")],
)
def test_a_server_that_lets_in_but_does_not_serve(option: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with sshd(option) as strict:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(strict.config))
        with pytest.raises(DeviceError, match=words):
            connect("ssh:bench")


class Mute(paramiko.ServerInterface):
    """A server that lets anybody in, and never answers the request to run a command."""

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return 0  # AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return 0  # OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        time.sleep(8)
        return False


@pytest.mark.slow
def test_a_server_that_never_answers_is_a_timeout(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        known = tmp_path / "known_hosts"
        known.write_text(server.known_hosts.read_text().replace(str(server.port), str(port)))
        configure(server, tmp_path / "config", monkeypatch, f"  IdentityFile {server.identity}", f"  UserKnownHostsFile {known}")
        (tmp_path / "config").write_text((tmp_path / "config").read_text().replace(str(server.port), str(port)))
        served: list[paramiko.Transport] = []

        def serve() -> None:
            served.append(paramiko.Transport(listening.accept()[0]))
            served[0].add_server_key(paramiko.PKey.from_path(server.host_key))
            served[0].start_server(server=Mute())

        thread = threading.Thread(target=serve)
        thread.start()
        started = time.monotonic()
        with pytest.raises(DeviceTimeout, match="not done within 1 s while starting a shell"):
            connect("ssh:bench", timeout_s=1)
        assert time.monotonic() - started < 7.5
        thread.join()
        served[0].close()


# The way there


def test_an_address_may_name_user_and_port_itself(server: Server) -> None:
    with connect(server.address) as device:
        assert device.address == server.address
        device.run(["true"], timeout_s=10)


def test_one_and_two_jump_hosts(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sshd() as jump, sshd() as second:
        known = tmp_path / "known_hosts"
        known.write_text("".join(one.known_hosts.read_text() for one in (server, jump, second)))
        lines = [f"  IdentityFile {server.identity}", "Host jump", f"  User {jump.user}", f"  IdentityFile {jump.identity}"]
        lines += ["Host second", "  HostName 127.0.0.1", f"  Port {second.port}", f"  User {second.user}", f"  IdentityFile {second.identity}"]
        way = ["Host jump", "  HostName 127.0.0.1", "Host *", f"  UserKnownHostsFile {known}"]
        for jumps, passed in ((f"jump:{jump.port}", [jump]), (f"jump:{jump.port},second", [jump, second])):
            configure(server, tmp_path / "config", monkeypatch, f"  ProxyJump {jumps}", *lines, *way)
            accepted = [one.log().count("Accepted publickey") for one in passed]
            with connect("ssh:bench") as device:
                assert device.run(["id", "-un"], timeout_s=10).stdout.strip() == server.user
            assert [one.log().count("Accepted publickey") for one in passed] == [count + 1 for count in accepted]
        jump.kill()
        with pytest.raises(Unreachable, match="refuses connections"):
            connect("ssh:bench")
        jump.options.append("AllowTcpForwarding no")
        jump.start()
        with pytest.raises(Unreachable, match=r"cannot be reached from the jump host .*AllowTcpForwarding"):
            connect("ssh:bench")


def test_a_server_that_hangs_up_is_asked_again(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with wire(server.port) as line:
        known = tmp_path / "known_hosts"
        known.write_text(server.known_hosts.read_text().replace(f":{server.port} ", f":{line.port} "))
        lines = [f"  IdentityFile {server.identity}", f"  UserKnownHostsFile {known}"]
        configure(replace(server, port=line.port), tmp_path / "config", monkeypatch, *lines)
        line.cut()
        threading.Timer(0.7, line.mend).start()
        with connect("ssh:bench") as device:
            assert device.run(["id", "-un"], timeout_s=10).stdout.strip() == server.user


def test_a_proxy_command(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"  IdentityFile {server.identity}", f"  UserKnownHostsFile {server.known_hosts}"]
    configure(server, tmp_path / "config", monkeypatch, f"  ProxyCommand /usr/sbin/sshd -i -f {server.folder}/sshd_config; true", *lines)
    with connect("ssh:bench") as device:
        assert device.run(["id", "-un"], timeout_s=10).stdout.strip() == server.user
    configure(server, tmp_path / "config", monkeypatch, "  ProxyCommand false", *lines)
    with pytest.raises(Unreachable, match="does not speak SSH as expected"):
        connect("ssh:bench")
