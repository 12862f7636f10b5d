"""What goes wrong with a device while it is used, over SSH and over ADB: what the user sees, what the store holds, and how the next run goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.records import Run, Variant
from tests.lab.cli import Said, edgekit
from tests.lab.faults import WAYS, Ill, cut_short, stored, whole
from tests.lab.sshd import wait_until
from tests.lab.tiny import tiny

pytestmark = [pytest.mark.toolchain, pytest.mark.lab, pytest.mark.slow]


def over(*ways: str) -> pytest.MarkDecorator:
    """Each fault over both ways in `make soak` (EDGEKIT_SOAK=1), over these in `make test`."""
    return pytest.mark.parametrize("ill", sorted(WAYS) if os.environ.get("EDGEKIT_SOAK") else ways, indirect=True)


@pytest.fixture(scope="module")
def ill(request: pytest.FixtureRequest) -> Iterator[Ill]:
    with WAYS[request.param]() as device:
        yield device


@pytest.fixture(autouse=True)
def whole_again(ill: Ill) -> None:
    """What one test broke is not another's."""
    ill.power_on()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("tiny")).onnx


@pytest.fixture
def deploy(model: Path) -> list[object]:
    return ["deploy", model, "--to", "onnx", "--recipe", "fp32,fp16", "--runner", "native"]


def partial(run: Run | None, said: str) -> Variant:
    """The one variant that a fault met: its samples are kept and marked, and it has no latency but where another process measured it whole."""
    assert run is not None
    (met,) = [variant for variant in run.variants if variant.measurement and not variant.measurement.complete]
    assert met.measurement is not None
    assert said in met.measurement.notes[0]
    assert len(met.measurement.samples_ns[-1]) > 0
    assert met.measurement.marks[-1].startswith("partial: ")
    assert (met.status, met.measurement.latency is None) in (("failed", True), ("ok", False))
    shown = {variant["recipe"]: variant for variant in edgekit("runs", "show", "last", "--json").json["variants"]}
    assert (shown[met.recipe]["latency_ns"] is None) == (met.status == "failed")
    assert said in shown[met.recipe]["notes"][-len(met.measurement.notes)]
    return met


def goes_on(ill: Ill, deploy: list[object], cut: Run | None, *, taken_over: bool = True) -> None:
    """The next run measures what is missing, and only that; it leaves nothing behind."""
    ill.power_on()
    again = ill.edgekit(*deploy)
    run = stored()
    assert again.code == 0, again.stderr
    assert run is not None
    assert cut is not None
    assert [variant.status for variant in run.variants] == ["ok", "ok"]
    note = f"measured in run {cut.id}, which was cut off"
    before = [variant.artifact.sha256 for variant in cut.variants if variant.artifact and variant.measurement and variant.measurement.complete]
    over = [variant.artifact.sha256 for variant in run.variants if variant.artifact and variant.measurement and note in variant.measurement.notes]
    assert over == (before if taken_over else [])
    assert not taken_over or len(over) == 1
    assert ill.jobs() == []
    assert ill.agents() == []


def lost(said: Said) -> None:
    """What is seen of a run that lost its device with something to show."""
    assert said.code == 5
    assert "the device was lost on the way: repeat the command, and it goes on with what is missing" in said.stderr
    assert "the agent was lost with its connection: check the device's power and its cable or network" in said.stdout, said.stdout


@over("adb", "ssh")
def test_a_cable_that_is_pulled_while_measuring(ill: Ill, deploy: list[object]) -> None:
    said = cut_short(ill, deploy, lambda _: ill.wire.cut())

    lost(said)
    cut = stored()
    partial(cut, "lost with its connection")
    wait_until(lambda: not ill.agents(), 20)
    goes_on(ill, deploy, cut)


@over("ssh")
def test_a_device_that_is_rebooted(ill: Ill, deploy: list[object]) -> None:
    said = cut_short(ill, deploy, lambda _: ill.power_off())

    lost(said)
    cut = stored()
    partial(cut, "lost with its connection")
    goes_on(ill, deploy, cut)


@pytest.mark.parametrize("ill", ["adb"], indirect=True)  # over SSH it is a packet that never ends: see test_faults_silent.py
def test_a_wire_that_garbles(ill: Ill, deploy: list[object]) -> None:
    def garble(_: object) -> None:
        ill.wire.garbles = True

    said = cut_short(ill, deploy, garble)
    ill.wire.cut()

    lost(said)
    cut = stored()
    partial(cut, "lost with its connection")
    wait_until(lambda: not ill.agents(), 20)
    goes_on(ill, deploy, cut)


@over("adb")
def test_a_cable_that_is_pulled_while_sending(ill: Ill, deploy: list[object], model: Path) -> None:
    edgekit("deploy", model, "--to", "onnx", "--recipe", "w8", "--target", "local")  # else it is converted while the wire lies open
    ill.wire.left_bytes = 2_000_000

    said = ill.edgekit(*deploy[:4], "--recipe", "w8", "--runner", "python")

    assert said.code == 5
    assert "the connection was lost while sending" in said.stdout
    ill.power_on()
    wait_until(lambda: not list(ill.root.glob("blobs/*/.*.part")), 20)
    assert ill.edgekit(*deploy[:4], "--recipe", "w8", "--runner", "python").code == 0


@over("adb", "ssh")
def test_a_host_that_is_killed(ill: Ill, deploy: list[object]) -> None:
    cut_short(ill, deploy, lambda begun: begun.process.kill())

    cut = stored()
    assert cut is not None
    shown = [variant["recipe"] for variant in edgekit("runs", "show", "last", "--json").json["variants"] if variant["latency_ns"]]
    # A variant that was met in its second process has the latency of its first, and is not whole.
    assert shown == [variant.recipe for variant in cut.variants if variant.measurement and variant.measurement.latency]
    assert {variant.recipe for variant in whole(cut)} <= set(shown)
    wait_until(lambda: not ill.agents(), 20)
    goes_on(ill, deploy, cut)


@over("adb")
def test_an_agent_that_is_killed_while_it_measures(ill: Ill, deploy: list[object]) -> None:
    said = cut_short(ill, deploy, lambda _: ill.signal(signal.SIGKILL))

    assert said.code == 0
    words = "the agent was killed by the system; memory has most likely run out: close other programs there or use a smaller model"
    assert words in said.stdout
    cut = stored()
    partial(cut, words)
    goes_on(ill, deploy, cut, taken_over=False)


@over("ssh")
def test_an_agent_that_is_killed_while_it_checks(ill: Ill, deploy: list[object]) -> None:
    deploy = [*deploy[:-1], "python"]  # which takes longer to start than a test to see it
    with ill.begun(*deploy) as begun:
        begun.wait(ill.agents)
        ill.signal(signal.SIGKILL)
        said = begun.end()

    run = stored()
    assert run is not None
    assert said.code == 0
    assert (run.variants[0].status, run.variants[0].measurement) == ("failed", None)
    assert run.variants[0].error == (
        f"{ill.address}: the agent was killed by the system; memory has most likely run out: close other programs there or use a smaller model"
    )
    assert run.variants[1].status == "ok"
    goes_on(ill, deploy, run, taken_over=False)


@over("adb")
def test_two_that_want_one_device(ill: Ill, model: Path) -> None:
    bench = ["bench", model, "--runner", "native"]
    with ill.begun(*bench, "--full") as first:
        first.wait(ill.measuring)
        second = ill.edgekit(*bench)
        first.process.send_signal(signal.SIGINT)
        assert first.end().code == 130

    assert second.code == 5
    assert f"{ill.address}: in use by " in second.error
    assert " s (edgekit bench): wait until it is done, or end process " in second.error
    assert str(first.process.pid) in second.error
    assert os.uname().nodename in second.error
    assert ill.edgekit(*bench).code == 0
