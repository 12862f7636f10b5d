"""The main job on boards and phones without Python: converted here, run by the native runner on arm64, over a genuine sshd and a genuine adbd."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.transport import connect
from tests.lab.cli import edgekit
from tests.lab.networks import digits
from tests.lab.virtual import Lab, virtual_lab, virtual_targets

__all__ = ["virtual_lab", "virtual_targets"]

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.toolchain]


@pytest.fixture(scope="module")
def network() -> tuple[Path, Path]:
    return digits("depthwise")


@pytest.mark.parametrize(("target", "profile"), [("virtual-pi", "raspberry-pi-5-8gb"), ("virtual-android", "pixel-7")])
def test_a_device_without_python_runs_what_is_right_and_is_sent_nothing_twice(
    target: str, profile: str, virtual_targets: Lab, network: tuple[Path, Path]
) -> None:
    argv = ["deploy", network[0], "--target", target, "--to", "tflite,onnx", "--recipe", "fp32", "--data", network[1], "--json"]

    first = edgekit(*argv)

    assert first.code == 0, first.stderr
    run = first.json
    assert run["device"]["emulated"]
    assert run["device"]["profile"] == profile
    assert [(one["recipe"], one["format"], one["status"]) for one in run["variants"]] == [
        ("fp32", "tflite", "ok"),
        ("fp32", "onnx", "ok"),
    ]
    for variant in run["variants"]:
        assert variant["parity"]["device"]["n"] == variant["accuracy"]["n"] == 800
        assert variant["accuracy"]["value"] > 0.9
        assert variant["conditions"]["runner"] == "native"
        assert variant["latency_ns"]["p50"] > 0
        assert variant["memory_bytes"]["floor_rss"] > 0
        assert any(note.startswith("emulated: qemu-user") for note in variant["notes"])
        assert variant["parity"]["device"]["max_rel"] < 1e-4
    assert run["pushed_bytes"] > 10**6
    assert "the latency is emulated" in run["chosen"]["reason"]
    assert edgekit(*argv).json["pushed_bytes"] == 0


def test_the_phone_has_neither_python_nor_a_c_library_that_the_runtimes_know(virtual_targets: Lab) -> None:
    found = edgekit("targets", "--json").json["targets"]
    address = next(one["address"] for one in found if one["name"] == "virtual-android")

    with connect(address) as phone:
        looked = phone.run(["sh", "-c", "command -v python3 python; ls /lib /lib64 /usr/lib"], timeout_s=60, check=False)

    assert looked.code != 0
    assert looked.stdout == ""
