"""`edgekit setup` over a genuine sshd, to a user who has nothing: shown, confirmed, sent, repeated, removed."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.deliver import Delivery, Thing
from edgekit.lock import Holder, lock
from edgekit.transport import connect
from edgekit.verbs.setup import grouped
from tests.lab.cli import EDGEKIT, Said, edgekit
from tests.lab.sshd import Server, sshd

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def started() -> Iterator[Server]:
    with sshd() as server:
        yield server


@pytest.fixture
def server(started: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(started.config))
    return started


def setup(server: Server, *argv: object) -> Said:
    return edgekit("setup", "--target", server.address, *argv)


def at_a_terminal(server: Server, answer: str, *argv: str) -> tuple[int, str]:
    """Run it where somebody can be asked; gives its exit code and all that it printed."""
    master, slave = pty.openpty()
    words = [str(EDGEKIT), "setup", "--target", server.address, *argv]
    with subprocess.Popen(words, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        os.write(master, f"{answer}\n".encode())
        said = process.communicate(timeout=120)[0]
    os.close(master)
    os.close(slave)
    return process.returncode, said


@pytest.mark.toolchain
def test_shown_confirmed_sent_repeated_and_removed(server: Server) -> None:
    argv = ["--to", "tflite", "--runner", "python"]
    refused = setup(server, *argv)
    assert refused.code == 2
    assert "give --yes" in refused.error
    assert "the agent" in refused.stdout
    assert at_a_terminal(server, "n", *argv)[0] == 1
    assert setup(server, "--remove").code == 0  # there is nothing yet

    code, said = at_a_terminal(server, "y", *argv)
    assert code == 0, said
    assert f"{server.home}/.cache/edgekit" in said
    again = setup(server, *argv, "--json")  # nothing is to be sent: nobody is asked
    assert again.code == 0, again.stderr
    assert again.json["schema"] == "edgekit.setup/1"
    assert again.json["pushed_bytes"] == 0
    assert again.json["runner"] == "python"
    assert all(item["was_there"] and item["size_bytes"] > 0 for item in again.json["items"])

    kept = setup(server, "--remove")
    assert kept.code == 2
    assert "agent-linux-" in kept.stdout
    assert (server.home / ".cache" / "edgekit").exists()
    gone = setup(server, "--remove", "--yes", "--json")
    assert gone.code == 0
    assert gone.json["removed_bytes"] > 10**6
    assert not (server.home / ".cache" / "edgekit").exists()


def test_what_lies_there_is_grouped_the_largest_first() -> None:
    things = [
        Thing("blobs/1/model.tflite", 3000, "model.tflite"),
        Thing("blobs/2/0.npy", 4000, "0.npy"),
        Thing("blobs/3/agent-linux-d0c3bd0a25ac.pyz", 10, "agent-linux-d0c3bd0a25ac.pyz"),
        Thing("blobs/4/agent-linux-679bcd8c83c6.pyz", 20, "agent-linux-679bcd8c83c6.pyz"),
        Thing("blobs/5/.1a2b.part", 1, ".1a2b.part"),
        Thing("trees/6", 9000, "native-0123456789ab.tar.gz"),
        Thing("trees/7", 500),
        Thing("jobs/8", 100),
    ]
    assert [(group.title, group.count, group.size_bytes) for group in grouped(things)] == [
        ("native-0123456789ab.tar.gz", 1, 9000),
        ("models and samples", 2, 7000),
        ("unpacked runtimes", 1, 500),
        ("folders of jobs", 1, 100),
        ("agent-linux-….pyz", 2, 30),
        ("what was not sent or unpacked to its end", 1, 1),
    ]


def test_this_machines_own_store_is_called_so_before_it_goes(tmp_path: Path) -> None:
    store = tmp_path / "cache"
    (store / "trees" / "6").mkdir(parents=True)
    refused = edgekit("setup", "--target", "local", "--remove", EDGEKIT_CACHE_DIR=str(store))
    assert refused.code == 2
    assert "this machine's own, which all edgekits of this user run files from" in refused.error
    assert (store / "trees" / "6").is_dir()


def test_what_another_edgekit_uses_is_not_removed(server: Server, tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(b"x" * 5000)
    with connect(server.address) as device:
        delivery = Delivery.open(device)
        there = delivery.deliver({"model.tflite": model})["model.tflite"]
        with lock(device, delivery.root, Holder("ml@laptop", "edgekit deploy", 7)):
            refused = setup(server, "--remove", "--yes")
            assert refused.code == 5
            assert "in use by ml@laptop" in refused.error
            assert Path(there).exists()
        removed = setup(server, "--remove", "--yes")
        assert removed.code == 0
        assert "models and samples" in removed.stdout
        assert not Path(delivery.root).exists()
        assert "nothing to remove" in setup(server, "--remove").stderr


def test_a_format_that_does_not_run_there_is_said(server: Server) -> None:
    refused = setup(server, "--to", "coreml", "--runner", "python", "--yes")
    assert refused.code == 2
    assert "no runtime for coreml" in refused.error
