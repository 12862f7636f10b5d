"""Devices that are full, short of memory, garbled or wrong about the time: what the user sees, and what the store holds."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.lab.packages import unpacked
from edgekit.records import Run
from tests.conftest import missing
from tests.lab.faults import Ill, over_ssh, stored
from tests.lab.tiny import tiny

pytestmark = [pytest.mark.toolchain, pytest.mark.lab, pytest.mark.slow]

KB = 1 << 10
CGROUPS = Path("/sys/fs/cgroup")


@pytest.fixture(scope="module")
def ill() -> Iterator[Ill]:
    with over_ssh() as device:
        yield device


def newest() -> Run:
    run = stored()
    assert run is not None
    return run


@contextlib.contextmanager
def small_disk(ill: Ill) -> Iterator[Path]:
    """A file system of its own for what edgekit keeps on the device; nothing can be written there until it gets a `size_kb`."""
    folder = ill.root.parent
    user = pwd.getpwnam(ill.address.removeprefix("ssh:").partition("@")[0])
    folder.mkdir(exist_ok=True)
    os.chown(folder, user.pw_uid, user.pw_gid)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=4k,uid={user.pw_uid},gid={user.pw_gid},mode=700", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def size_kb(disk: Path, kb: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kb}k", disk], check=True)


def used_kb(disk: Path) -> int:
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize // KB


def wide(path: Path) -> Path:
    """`y = x @ w`, [1, 4] → [1, 16384]: 64 KiB of outputs a sample."""
    weight = np.ones((4, 16384), np.float32)
    inputs, outputs = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width]) for name, width in (("x", 4), ("y", 16384)))
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "wide", [inputs], [outputs], [numpy_helper.from_array(weight, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_a_disk_that_is_full(ill: Ill, tmp_path: Path) -> None:
    bench = ["bench", wide(tmp_path / "wide.onnx"), "--runner", "native"]
    with small_disk(ill) as disk:
        for kb, words in ((4000, "no space left on the device for "), (20_000, f"no space left on the device for files in {ill.root} (needs ")):
            size_kb(disk, kb)
            said = ill.edgekit(*bench)  # as the runner is sent, as it is unpacked
            assert said.code == 5
            assert f"{ill.address}: {words}" in said.stdout
            assert ": free some there and repeat the command" in said.stdout
            assert [path for path in ill.root.rglob(".*") if path.name.endswith((".part", ".aside"))] == []
        size_kb(disk, 400_000)
        assert ill.edgekit(*bench).code == 0

        size_kb(disk, used_kb(disk) + 100)
        said = ill.edgekit(*bench)
        assert said.code == 5
        assert "(No space left on device): free some space there and repeat the command" in said.stdout
        (variant,) = newest().variants
        assert (variant.status, variant.measurement) == ("failed", None)

        size_kb(disk, used_kb(disk))
        said = ill.edgekit(*bench)
        assert said.code == 5
        assert said.error == f"{ill.address}: no space left on the device for files in {ill.root}: free some there and repeat the command"

        size_kb(disk, 400_000)
        assert ill.edgekit(*bench).code == 0
        assert ill.jobs() == []


@contextlib.contextmanager
def little_memory(process: int, limit_bytes: int) -> Iterator[None]:
    """What that process starts has so much memory together; beyond it the kernel kills the largest."""
    version_2 = (CGROUPS / "cgroup.controllers").exists()
    group = (CGROUPS if version_2 else CGROUPS / "memory") / f"edgekit-{process}"
    try:
        group.mkdir()
        (group / ("memory.max" if version_2 else "memory.limit_in_bytes")).write_text(str(limit_bytes))
        (group / "cgroup.procs").write_text(str(process))
    except OSError as exc:
        missing(f"a memory cgroup ({exc.strerror})", "run the tests as root where /sys/fs/cgroup can be written")
    try:
        yield
    finally:
        for one in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (group.parent / "cgroup.procs").write_text(one)
        group.rmdir()


def test_a_device_with_too_little_memory(tmp_path: Path) -> None:
    large = tiny(tmp_path, width=4096, layers=2, n=2).onnx  # 64 MB of weights
    with over_ssh() as ill, little_memory(ill.daemon(), 60 << 20):
        said = ill.edgekit("bench", large, "--runner", "native")

        assert said.code == 5
        (variant,) = newest().variants
        assert variant.measurement is None
        assert variant.error == (
            f"{ill.address}: the agent was killed by the system; memory has most likely run out: close other programs there or use a smaller model"
        )
        assert ill.edgekit("bench", tiny(tmp_path / "tiny").onnx, "--runner", "native").code == 0


def test_lines_that_are_cut(ill: Ill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = ill.root.parents[1] / "python-cut"
    python.write_text('#!/bin/sh\n/usr/bin/python3 "$@" | cut -c -2000\n')
    python.chmod(0o755)
    (tmp_path / "lab").mkdir()
    monkeypatch.setenv("EDGEKIT_CONFIG_DIR", str(tmp_path / "lab"))
    (tmp_path / "lab/lab.toml").write_text(f"[[device]]\nname = 'cut'\naddress = {json.dumps(ill.address)}\npython = {json.dumps(str(python))}\n")

    said = ill.edgekit("bench", tiny(tmp_path).onnx, "--runner", "python", "--target", "cut")

    assert said.code == 5
    (variant,) = newest().variants
    assert variant.error is not None
    assert variant.measurement is None
    assert variant.error.startswith(f"{ill.address}: the ")
    assert variant.error.endswith(" latencies that it measured did not arrive as they were sent: check the cable, and repeat the command")


def test_a_clock_that_jumps(tmp_path: Path) -> None:
    folder = Path("/run") / f"edgekit-clock-{os.getpid()}"  # where the device's user can read
    folder.mkdir(mode=0o755)
    stamp = folder / "stamp"
    stamp.write_text("+0")
    stamp.chmod(0o644)
    (library,) = unpacked(["libfaketime"], "amd64", suite="bookworm").rglob("libfaketime.so.1")
    shutil.copy(library, folder / "libfaketime.so")
    environment = {
        "LD_PRELOAD": folder / "libfaketime.so",
        "FAKETIME_TIMESTAMP_FILE": stamp,
        "FAKETIME_NO_CACHE": 1,
        "FAKETIME_DONT_FAKE_MONOTONIC": 1,
    }
    bench = ["bench", tiny(tmp_path).onnx, "--runner", "native"]
    try:
        with over_ssh("SetEnv " + " ".join(f"{name}={value}" for name, value in environment.items())) as ill:
            assert ill.edgekit(*bench).code == 0
            before = newest().variants[0].measurement
            with ill.begun(*bench, "--full") as begun:
                begun.wait(ill.measuring)
                stamp.write_text("-400d")
                second = ill.edgekit(*bench)
            assert second.code == 5
            assert " s (edgekit bench): wait until it is done" in second.error
            assert ill.edgekit(*bench).code == 0  # while it is 400 days ago there
            after = newest().variants[0].measurement
            with ill.begun(*bench) as begun:
                begun.wait(ill.measuring)
                stamp.write_text("+400d")
                assert begun.end().code == 0
            amid = newest().variants[0].measurement
            doctor = ill.edgekit("doctor", "--json")
    finally:
        shutil.rmtree(folder)

    assert before is not None
    assert before.latency is not None
    for taken in (after, amid):
        assert taken is not None
        assert taken.latency is not None
        assert before.latency.p50_ns / 5 < taken.latency.p50_ns < before.latency.p50_ns * 5
        assert max(max(one) for one in taken.samples_ns) < 10**9
        assert min(min(one) for one in taken.samples_ns) > 0
    clock = next(finding for finding in doctor.json["findings"] if finding["check"] == "clock")
    assert clock["verdict"] == "warn"
    assert "ahead of this machine" in clock["found"]
