"""What of `~/.ssh/config` is honoured, and what is said when it cannot be."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit.errors import InputError
from edgekit.transport.ssh_config import SYSTEM_KNOWN_HOSTS, hops

Write = Callable[[str], Path]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    path = tmp_path / "config"
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(path))

    def write(text: str) -> Path:
        path.write_text(text)
        return path

    return write


def test_without_a_configuration_the_defaults_hold(config: Write) -> None:
    config("")
    (hop,) = hops("ssh:192.0.2.7")
    assert (hop.host, hop.port, hop.user, hop.known_as, hop.connect_s, hop.proxy_command) == ("192.0.2.7", 22, getpass.getuser(), "192.0.2.7", None, None)
    assert [file.name for file in hop.identity_files] == ["id_ed25519", "id_ecdsa", "id_rsa"]
    assert (hop.known_hosts[0].name, hop.known_hosts[-1]) == ("known_hosts", SYSTEM_KNOWN_HOSTS)
    assert not hop.identities_only


def test_each_keyword_is_honoured(config: Write, tmp_path: Path) -> None:
    config(
        f"Host bench\n HostName 192.0.2.7\n Port 2222\n User pi\n IdentityFile {tmp_path}/a\n IdentityFile {tmp_path}/b\n IdentitiesOnly yes\n"
        f" UserKnownHostsFile {tmp_path}/one {tmp_path}/two\n ConnectTimeout 3\n ProxyCommand nc -X connect %h %p\n"
    )
    (hop,) = hops("ssh:bench")
    assert (hop.alias, hop.host, hop.port, hop.user, hop.connect_s, hop.identities_only) == ("bench", "192.0.2.7", 2222, "pi", 3, True)
    assert hop.known_as == "[192.0.2.7]:2222"
    assert hop.identity_files == (tmp_path / "a", tmp_path / "b")
    assert hop.known_hosts[:2] == (tmp_path / "one", tmp_path / "two")
    assert hop.proxy_command == "nc -X connect 192.0.2.7 2222"


def test_what_the_address_says_goes_first(config: Write) -> None:
    config("Host bench\n User pi\n Port 2222\n ProxyCommand nc %h %p\n")
    (hop,) = hops("ssh:root@bench:2200")
    assert (hop.user, hop.port, hop.proxy_command) == ("root", 2200, "nc bench 2200")


def test_an_ipv6_address_in_brackets(config: Write) -> None:
    config("")
    (hop,) = hops("ssh:pi@[fe80::1%eth0]:2222")
    assert (hop.host, hop.port, hop.known_as) == ("fe80::1%eth0", 2222, "[fe80::1%eth0]:2222")


def test_a_host_key_alias_is_the_name_in_known_hosts(config: Write) -> None:
    config("Host bench\n Port 2222\n HostKeyAlias board-7\n")
    assert hops("ssh:bench")[0].known_as == "board-7"


def test_the_jumps_come_before_the_device(config: Write) -> None:
    config("Host bench\n ProxyJump a,ssh://pi@b:2222\n ProxyCommand never\nHost a\n ProxyJump first\nHost b\n ProxyJump not-asked-for\n")
    way = hops("ssh:bench")
    assert [(hop.alias, hop.port) for hop in way] == [("first", 22), ("a", 22), ("b", 2222), ("bench", 22)]
    assert way[-1].proxy_command is None
    assert [hop.alias for hop in hops("ssh:first")] == ["first"]


def test_proxy_none_is_no_proxy(config: Write) -> None:
    config("Host bench\n ProxyJump none\n ProxyCommand none\nHost *\n ProxyJump gate\n")
    assert [(hop.alias, hop.proxy_command) for hop in hops("ssh:bench")] == [("bench", None)]


def test_included_files_count_in_their_places(config: Write, tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "one.conf").write_text("User from-one\nHost elsewhere\n User nobody\n")
    (tmp_path / "conf.d" / "two.conf").write_text("Port 2202\n")
    config("Host bench\n Include conf.d/*.conf\n IdentityFile /own\nHost *\n User late\n")
    (hop,) = hops("ssh:bench")
    assert (hop.user, hop.port) == ("from-one", 2202)
    (other,) = hops("ssh:other")
    assert (other.user, other.port) == ("late", 22)
    assert Path("/own") in hop.identity_files
    assert Path("/own") not in other.identity_files


def test_a_file_that_includes_itself_ends(config: Write) -> None:
    config("Include config\nHost bench\n User pi\n")
    assert hops("ssh:bench")[0].user == "pi"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Host bench\n ProxyJump other\nHost other\n ProxyJump bench\n", "look for a circle"),
        ("Host bench\n Port ssh\n", "Port ssh in the SSH configuration is not a number"),
        ("Host bench\n ConnectTimeout soon\n", "ConnectTimeout soon in the SSH configuration is not a number"),
        ("Host bench\n ProxyJump a b\n", "is not an SSH destination"),
        ("Host bench\n Port\n", "Unparsable line"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_said(config: Write, text: str, words: str) -> None:
    config(text)
    with pytest.raises(InputError) as error:
        hops("ssh:bench")
    assert words in str(error.value)


def test_a_configuration_that_is_named_must_be_there(config: Write) -> None:
    with pytest.raises(InputError, match=r"EDGEKIT_SSH_CONFIG names .* which is not a file"):
        hops("ssh:bench")
