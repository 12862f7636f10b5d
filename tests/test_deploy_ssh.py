"""The whole way over a genuine sshd, to another user with an empty home folder and no Python packages; and what goes wrong there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.cli import EDGEKIT, edgekit
from tests.lab.faults import stored, whole
from tests.lab.networks import digits
from tests.lab.sshd import Server, sshd, wait_until

pytestmark = [pytest.mark.toolchain, pytest.mark.lab]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with sshd() as started:
        yield started


@pytest.fixture
def model() -> tuple[Path, Path]:
    return digits("depthwise")


def test_deploy_twice_package_and_flip_a_bit(server: Server, model: tuple[Path, Path], tmp_path: Path) -> None:
    assert not list(server.home.glob("**/site-packages"))
    network, data = model
    argv = ["deploy", network, "--target", server.address, "--to", "tflite,onnx", "--recipe", "fp32,w8a8", "--data", data, "--json"]
    first = edgekit(*argv, EDGEKIT_SSH_CONFIG=str(server.config))
    assert first.code == 0, first.stderr + first.stdout
    run = first.json
    assert run["device"] == {"name": server.address, "address": server.address, "emulated": False, "profile": "linux-x86_64"}
    assert [variant["status"] for variant in run["variants"]] == ["ok"] * 4
    assert run["pushed_bytes"] > 10**6
    for variant in run["variants"]:
        latency = variant["latency_ns"]
        assert latency["n"] >= 50
        assert latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"]
        assert latency["p50_interval"][0] <= latency["p50"] <= latency["p50_interval"][1]
        assert variant["parity"]["device"]["n"] == variant["accuracy"]["n"] == 800
        assert variant["accuracy"]["value"] > 0.9
        assert variant["memory_bytes"]["peak_rss"] > variant["memory_bytes"]["model_rss"] > 0
    assert run["chosen"] is not None

    again = edgekit(*argv, EDGEKIT_SSH_CONFIG=str(server.config))
    assert again.json["pushed_bytes"] == 0

    out = tmp_path / "release"
    assert edgekit("package", run["run"], "--platform", "generic", "-o", out).code == 0
    assert edgekit("package", "verify", out).code == 0
    shipped = next(path for path in out.iterdir() if path.suffix in (".tflite", ".onnx"))
    content = bytearray(shipped.read_bytes())
    content[len(content) // 2] ^= 1
    shipped.write_bytes(content)
    broken = edgekit("package", "verify", out)
    assert broken.code == 6
    assert shipped.name in broken.error


def test_a_host_that_is_absent(model: tuple[Path, Path]) -> None:
    said = edgekit("deploy", model[0], "--target", "ssh:nobody@127.0.0.1:9")
    assert said.code == 5
    assert said.error.startswith("ssh:nobody@127.0.0.1:9: ")
    assert "refuses connections" in said.error


def test_a_host_that_refuses_the_key(server: Server, model: tuple[Path, Path], tmp_path: Path) -> None:
    stranger = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True)
    config = tmp_path / "config"
    config.write_text(server.config.read_text().replace(str(server.identity), str(stranger)))
    said = edgekit("doctor", "--target", server.address, EDGEKIT_SSH_CONFIG=str(config))
    assert said.code == 5
    assert server.user in said.error
    assert "key" in said.error


def test_a_host_whose_key_has_changed(model: tuple[Path, Path]) -> None:
    with sshd() as changed:
        changed.new_host_key(known=False)
        changed.restart()
        said = edgekit("deploy", model[0], "--target", changed.address, EDGEKIT_SSH_CONFIG=str(changed.config))
    assert said.code == 5
    assert "changed" in said.error
    assert "ssh-keygen" in said.error


def test_a_host_that_drops_half_way_fails_its_variants_and_keeps_what_was_measured(model: tuple[Path, Path], tmp_path: Path) -> None:
    with sshd() as dropping:
        argv = ["deploy", model[0], "--target", dropping.address, "--to", "tflite", "--recipe", "fp32,fp16,w8,w8d", "--data", model[1], "--json"]
        env = {**os.environ, "EDGEKIT_SSH_CONFIG": str(dropping.config)}
        with subprocess.Popen([EDGEKIT, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as deploy:
            wait_until(lambda: whole(stored()), 120)
            dropping.kill()
            stdout, stderr = deploy.communicate(timeout=120)
    assert "Traceback" not in stderr
    measured = {variant.recipe for variant in whole(stored())}
    variants = json.loads(stdout)["variants"]
    assert 1 <= len(measured) < len(variants)
    for variant in variants:  # one that was disturbed is to be repeated, and so not measured to its end
        if variant["recipe"] in measured:
            assert variant["status"] == "ok"
            assert variant["latency_ns"] is not None
        else:
            assert variant["status"] == "failed"
            assert "connection" in variant["error"]
            assert variant["latency_ns"] is None or not variant["conditions"]["complete"]
    assert json.loads(stdout)["chosen"] is not None
    assert edgekit("runs", "show", "last", "--json").json["variants"] == variants


def test_stopping_edgekit_ends_what_runs_on_the_device(server: Server, model: tuple[Path, Path]) -> None:
    argv = ["deploy", str(model[0]), "--target", server.address, "--to", "tflite", "--recipe", "fp32", "--full"]
    env = {**os.environ, "EDGEKIT_SSH_CONFIG": str(server.config)}
    with subprocess.Popen([EDGEKIT, *argv], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env) as deploy:
        agents = ["pgrep", "-u", server.user, "-f", "job"]
        wait_until(lambda: subprocess.run(agents, capture_output=True).returncode == 0, 120)
        time.sleep(1)
        deploy.send_signal(signal.SIGINT)
        _, stderr = deploy.communicate(timeout=60)
    assert deploy.returncode == 130
    assert "stopped" in stderr
    wait_until(lambda: subprocess.run(agents, capture_output=True).returncode != 0, 30)
