"""Networks that fall silent, over SSH and over ADB, and an agent that hangs: each ends within a stated time, and keeps what it had.

They wait at the same time, for that is most of what they do.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgekit.agent import BLOCK_S, BLOCKS, TIMING_S
from edgekit.records import Run
from edgekit.store import open_store
from edgekit.transport.guard import ASK_S, SILENCE_S
from tests.lab.cli import Said
from tests.lab.faults import Ill, over_adb, over_ssh
from tests.lab.tiny import tiny

pytestmark = [pytest.mark.toolchain, pytest.mark.lab, pytest.mark.slow]

SLACK_S = 20.0
"""For a machine that is busy, and for ending what cannot be asked to end."""


@pytest.fixture(scope="module")
def devices() -> Iterator[dict[str, Ill]]:
    with ExitStack() as held:
        yield {"ssh": held.enter_context(over_ssh()), "adb": held.enter_context(over_adb()), "hangs": held.enter_context(over_ssh())}


def test_silence_is_not_waited_for(devices: dict[str, Ill], tmp_path: Path) -> None:
    bench = ["bench", tiny(tmp_path).onnx, "--runner", "native", "--full"]
    faults: dict[str, Callable[[], object]] = {
        "ssh": devices["ssh"].wire.silence,
        "adb": devices["adb"].wire.silence,
        "hangs": lambda: devices["hangs"].signal(signal.SIGSTOP),
    }
    ended: dict[str, tuple[Said, float]] = {}

    def meet(name: str) -> None:
        with devices[name].begun(*bench) as begun:
            begun.wait(devices[name].measuring)
            faults[name]()
            started = time.monotonic()
            ended[name] = begun.end(), time.monotonic() - started

    threads = [threading.Thread(target=meet, args=(name,)) for name in faults]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for name in ("ssh", "adb"):
        said, took_s = ended[name]
        assert took_s < SILENCE_S + ASK_S + SLACK_S
        assert said.code == 5
        assert "the agent was lost with its connection: check the device's power and its cable or network, then repeat the command" in said.stdout
        assert "the device was lost on the way: repeat the command" in said.stderr
    said, took_s = ended["hangs"]
    assert TIMING_S < took_s < TIMING_S + BLOCKS * BLOCK_S + SLACK_S
    assert said.code == 5
    assert "the agent said nothing for 35 s and was stopped: look at what keeps the device busy, or restart it, and repeat the command" in said.stdout
    assert devices["hangs"].agents() == []
    for run in runs():
        (variant,) = run.variants
        assert variant.status == "failed"
        assert variant.measurement is not None
        assert variant.measurement.latency is None
        assert not variant.measurement.complete
        assert len(variant.measurement.samples_ns[0]) > 0
        assert variant.measurement.marks[0].startswith("partial: ")
    again = devices["hangs"].edgekit(*bench[:-1])
    assert again.code == 0, again.stderr


def runs() -> list[Run]:
    with open_store() as store:
        return [store.get(one.id) for one in store.list()]
