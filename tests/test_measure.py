"""Measuring over real transports: this machine, and a genuine sshd as another user with an empty home folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekit.agent import Progress
from edgekit.errors import AgentError, InputError
from edgekit.measure import measure
from edgekit.protocol import PROTOCOLS, Settings, sustained
from edgekit.records import Accuracy, Measurement
from edgekit.toolchains.jobs import Job, run
from edgekit.workbench import Bench
from tests.lab.bench import SHORT, opened, taken
from tests.lab.sshd import Server, sshd
from tests.lab.tiny import Tiny, tiny

LONG = replace(SHORT, min_s=60.0)

pytestmark = pytest.mark.toolchain


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def tflite(model: Tiny) -> Path:
    return run(Job("convert", "write_tflite", {"hub": model.onnx}), lambda *_: None).folder / "model.tflite"


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with opened() as bench:
        yield bench


def agents(bench: Bench) -> list[int]:
    """The process ids of that bench's agents: children of this process, for the local transport starts them itself."""
    found = []
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            with suppress(OSError):
                if f"{bench.folder}/job".encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    found.append(int(pid))
    return found


def killing(bench: Bench) -> Progress:
    """Kill the agent once it measures."""

    def listen(said: str, _: float | None) -> None:
        if "measuring: " in said:
            kill(agents(bench))

    return listen


@contextmanager
def killed_at_once(bench: Bench, nth: int) -> Iterator[None]:
    """Kill that bench's n-th agent from now as soon as it is there: importing numpy takes it far longer than finding it takes us."""
    done = threading.Event()

    def watch() -> None:
        seen: list[int] = []
        while not done.wait(0.002):
            seen += [pid for pid in agents(bench) if pid not in seen]
            if len(seen) == nth:
                return kill(seen[-1:])

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_a_right_file_gets_every_figure(bench: Bench, model: Tiny, tflite: Path) -> None:
    onnx = taken(bench, model.subject())
    lite = taken(bench, model.subject(tflite))

    for found in (onnx, lite):
        assert found.latency is not None
        assert found.latency.n == len(found.samples_ns[0]) >= 50
        assert found.latency.p50_ns == round(float(np.median(found.samples_ns[0])))
        assert found.latency.load_ns > 0
        assert found.latency.first_ns >= found.latency.min_ns
        assert found.parity.n == 20
        assert found.parity.max_rel < 1e-5
        assert found.accuracy == Accuracy("top1", 1.0, 1.0, 20)
        assert found.memory is not None
        assert found.memory.peak_rss_bytes > found.memory.model_rss_bytes > 0  # type: ignore[operator]
        assert found.conditions.runtime_build == f"glibc wheel, linux {os.uname().machine}"
        assert found.conditions.threads == 1
        assert found.conditions.device["kernel"] == os.uname().release
        assert "load" in found.conditions.before
        assert "load" in found.conditions.after
        assert not found.conditions.emulated
        assert (found.device, found.protocol) == ("local:", "short")
    assert (lite.conditions.runtime, lite.conditions.runtime_version, lite.conditions.delegate_ran) == ("LiteRT", "2.3.0", "XNNPACK")
    assert onnx.conditions.runtime == "ONNX Runtime"


def test_a_second_time_nothing_is_sent(bench: Bench, model: Tiny) -> None:
    taken(bench, model.subject())
    bench.held.close()
    with opened() as again:
        taken(again, model.subject())

        assert again.pushed_bytes == 0


def test_a_wrong_file_has_no_latency_but_its_raw_samples(bench: Bench, model: Tiny, tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", -np.load(model.reference / "0.npy"))

    found = taken(bench, replace(model.subject(), reference=tmp_path), replace(SHORT, processes=3))

    assert found.latency is None
    assert found.notes[0].startswith("no latency: its outputs differ from the source model's by 2 of their range")
    assert found.samples_ns == ()
    assert found.complete


def test_a_compressed_file_is_held_to_its_own_network_and_compared_with_its_model(bench: Bench, model: Tiny, tmp_path: Path) -> None:
    far, own = tmp_path / "far", tmp_path / "own"
    for folder in (far, own):
        folder.mkdir()
    np.save(far / "0.npy", -np.load(model.reference / "0.npy"))
    np.save(own / "0.npy", np.load(model.reference / "0.npy"))

    right = taken(bench, replace(model.subject(), reference=far, held_to=own), SHORT)
    wrong = taken(bench, replace(model.subject(), reference=own, held_to=far), SHORT)

    assert right.latency is not None
    assert right.parity.max_rel > 1, "told as it is, of the source model"
    assert wrong.latency is None
    assert wrong.notes[0].startswith("no latency: its outputs differ from the compressed model's by 2 of their range")


def test_fresh_processes_are_kept_apart(bench: Bench, model: Tiny) -> None:
    found = taken(bench, model.subject(), replace(SHORT, processes=3))

    assert found.latency is not None
    assert len(found.samples_ns) == 3
    assert found.latency.n == sum(map(len, counted(found)))
    assert found.parity.n == 20


def test_files_are_measured_in_turns(bench: Bench, model: Tiny, tflite: Path) -> None:
    said: list[str] = []
    listen: Progress = lambda text, _: said.append(text.partition(": ")[2]) if "process " in text else None  # noqa: E731
    subjects = [model.subject(), model.subject(tflite)]

    known = [(subject.format, found) for subject, found in measure(bench, subjects, replace(SHORT, processes=2), Settings(), listen)]

    assert [form for form, _ in known] == ["onnx", "tflite", "onnx", "tflite"]
    assert [isinstance(found, Measurement) and found.complete for _, found in known] == [False, False, True, True]
    assert said == ["process 1", "process 1", "process 2", "process 2"]


def test_a_disturbed_process_is_kept_and_marked_and_repeated(bench: Bench, tmp_path: Path) -> None:
    large = tiny(tmp_path, width=2048, n=2, layers=3)  # some milliseconds a run: each of them shares its core
    core = min(os.sched_getaffinity(0))
    burn = ["taskset", "-c", str(core), sys.executable, "-c", "while True: pass"]
    burning: list[subprocess.Popen[bytes]] = []

    def disturb(said: str, _: float | None) -> None:
        if "measuring: " in said and not burning:
            burning.append(subprocess.Popen(burn))
        if "process 2" in said:
            burning[0].kill()

    try:
        found = taken(bench, large.subject(), replace(SHORT, min_s=1.5, repeats=2), Settings(cores_asked=str(core)), disturb)
    finally:
        for process in burning:
            process.kill()
            process.wait()

    assert 2 <= len(found.samples_ns) <= 3
    assert all(found.samples_ns)
    assert found.conditions.cores == (core,)
    assert any("disturbed: " in note or "slowed down by " in note for note in found.notes)
    assert found.latency is not None
    assert any(mark.startswith(("disturbed: ", "slowed down by ")) for mark in found.marks)
    assert found.latency.n == sum(map(len, counted(found)))


def counted(found: Measurement) -> list[tuple[int, ...]]:
    """The processes that count: those without a mark, or all where each has one (another program may disturb this machine all the time)."""
    pairs = list(zip(found.samples_ns, found.marks, strict=True))
    return [samples for samples, mark in pairs if not mark] or [samples for samples, _ in pairs]


def test_a_killed_agent_loses_nothing_that_it_had(bench: Bench, model: Tiny) -> None:
    found = taken(bench, model.subject(), LONG, progress=killing(bench))

    assert found.latency is None
    assert "no latency: partial, the agent was killed by the system; memory has most likely run out" in found.notes[0]
    assert len(found.samples_ns[0]) >= 50
    assert found.parity.max_rel < 1e-5
    assert found.memory is not None
    assert not found.complete


def test_a_deadline_loses_nothing_either(bench: Bench, model: Tiny) -> None:
    found = taken(bench, model.subject(), replace(LONG, deadline_s=2.5))

    assert found.latency is None
    assert "the agent was stopped after 2 s; allow more time" in found.notes[0]
    assert len(found.samples_ns[0]) >= 50
    assert agents(bench) == []


@pytest.mark.parametrize("nth", [1, 2])
def test_an_agent_killed_before_it_measures_is_an_error_that_says_so(nth: int, bench: Bench, model: Tiny) -> None:
    with killed_at_once(bench, nth), pytest.raises(AgentError, match=r"^local: the agent was killed by the system; memory has most likely run out"):
        taken(bench, model.subject())


def test_a_file_that_the_runtime_cannot_load_is_an_error(bench: Bench, model: Tiny, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(model.onnx.read_bytes()[:100])

    with pytest.raises(AgentError, match=r"ONNX Runtime 1\.[0-9.]+ on this \w+ device failed loading the file .*: convert it again"):
        taken(bench, model.subject(tmp_path / "broken.onnx"))


def test_a_file_that_has_changed_is_not_taken_for_the_one_before(bench: Bench, model: Tiny, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model.onnx.read_bytes())
    subject = model.subject(path)
    taken(bench, subject)
    path.write_bytes(tiny(tmp_path / "other", layers=2).onnx.read_bytes())

    with pytest.raises(InputError, match=r"model\.onnx has changed since it was made"):
        taken(bench, subject)


def test_labels_that_do_not_fit_are_an_error(bench: Bench, model: Tiny, tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.zeros(3, np.int64))

    with pytest.raises(AgentError, match="there are 3 labels for 20 samples"):
        taken(bench, replace(model.subject(), labels=tmp_path / "labels.npy"))


def test_the_protocols_keep_what_they_promise() -> None:
    quick, full = PROTOCOLS["quick"], PROTOCOLS["full"]

    assert quick.min_runs >= 50
    assert quick.min_s >= 1
    assert full.min_runs >= 1024
    assert full.min_s >= 60
    assert full.processes == 3


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with sshd() as server:
        yield server


@pytest.mark.lab
def test_another_user_with_an_empty_home_measures_over_ssh(server: Server, model: Tiny, tflite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.config))
    with opened(server.address, Settings(runner="python")) as bench:
        found = [taken(bench, model.subject(path)) for path in (model.onnx, tflite)]
        first = bench.pushed_bytes
    with opened(server.address, Settings(runner="python")) as bench:
        taken(bench, model.subject())
        second = bench.pushed_bytes

    assert all(one.latency is not None and one.accuracy is not None for one in found)
    assert found[0].device == server.address
    assert first > 30_000_000
    assert second == 0
    assert list((server.home / ".cache/edgekit/jobs").iterdir()) == []


@pytest.mark.lab
def test_a_connection_that_drops_while_measuring_keeps_what_was_measured(server: Server, model: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.config))
    dropped: list[str] = []

    def listen(said: str, _: float | None) -> None:
        if "measuring: " in said and not dropped:
            dropped.append(said)
            server.drop()

    with opened(server.address, Settings(runner="python")) as bench:
        found = taken(bench, model.subject(), LONG, progress=listen)

    assert found.latency is None
    assert "partial, the agent was lost with its connection" in found.notes[0]
    assert len(found.samples_ns[0]) >= 50


def test_a_sustained_measurement_is_told_minute_by_minute(bench: Bench, model: Tiny) -> None:
    found = taken(bench, model.subject(), replace(sustained(60), min_s=0.3))

    assert [(one.minute, one.n) for one in found.minutes] == [(1, len(found.samples_ns[0]))]
    assert found.protocol == "sustained 60 s"
