"""The doctor on this machine, and on devices that lack something."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.doctor import examine
from edgekit.transport import connect
from tests.lab.sshd import sshd


def test_this_machine_can_be_measured_on() -> None:
    found = {finding.check: finding for finding in examine(connect("local:"))}

    assert [found[check].verdict for check in ("reachable", "python", "libc", "clock")] == ["ok"] * 4
    assert found["background load"].verdict in ("ok", "warn")


def test_a_device_without_python_is_told_what_to_install() -> None:
    *_, last = examine(connect("local:"), python="/nowhere/python3")

    assert (last.check, last.verdict) == ("python", "fail")
    assert "install Python 3.10 to 3.14" in last.cure


def test_a_python_that_is_too_old_is_named(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\necho 3.7\n")
    old.chmod(0o755)

    *_, last = examine(connect("local:"), python=str(old))

    assert (last.check, last.verdict) == ("python", "fail")
    assert "Python 3.7" in last.found


@pytest.mark.lab
def test_a_device_that_has_gone_is_a_finding_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    with sshd() as server:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.config))
        with connect(server.address) as transport:
            assert examine(transport)[0].verdict == "ok"
            server.kill()

            (only,) = examine(transport)

    assert (only.check, only.verdict) == ("reachable", "fail")
    assert only.found.startswith(server.address)
