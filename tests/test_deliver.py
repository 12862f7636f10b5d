"""Delivery: on this machine with a folder of its own, and once over SSH to a user who has nothing."""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.deliver import Delivery
from edgekit.errors import AgentError, DeviceError, InputError
from edgekit.transport import Transport, connect
from tests.conftest import missing
from tests.lab.sshd import sshd


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path / "device"))
    return tmp_path / "device"


@pytest.fixture
def here(root: Path) -> Iterator[Transport]:
    with connect("local:") as transport:
        yield transport


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(os.urandom(100_000))
    return path


def archive_of(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_the_folder_is_private(here: Transport, root: Path) -> None:
    root.mkdir(mode=0o755)
    assert Delivery.open(here).root == str(root)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "blobs").stat().st_mode) == 0o700


@pytest.mark.parametrize(("cache", "expected"), [("", "home/.cache/edgekit"), ("elsewhere", "elsewhere/edgekit")])
def test_the_folder_is_in_the_users_cache(cache: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEKIT_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache) if cache else "relative/is/ignored")
    with connect("local:") as here:
        assert Delivery.open(here).root == str(tmp_path / expected)


def test_nothing_is_sent_twice(here: Transport, model: Path) -> None:
    first = Delivery.open(here)
    heard: list[tuple[str, int, int]] = []
    paths = first.deliver({"m.tflite": model}, progress=lambda *said: heard.append(said))
    assert Path(paths["m.tflite"]).read_bytes() == model.read_bytes()
    assert Path(paths["m.tflite"]).name == "m.tflite"
    assert first.pushed_bytes == 100_000
    assert heard == [("m.tflite", 100_000, 100_000)]
    second = Delivery.open(here)
    assert second.deliver({"m.tflite": model}) == paths
    assert second.pushed_bytes == 0


def test_the_same_content_under_another_name_is_not_sent(here: Transport, model: Path) -> None:
    delivery = Delivery.open(here)
    paths = delivery.deliver({"a.tflite": model, "b.tflite": model})
    paths |= delivery.deliver({"c.tflite": model})
    assert delivery.pushed_bytes == 100_000
    assert {Path(path).read_bytes() for path in paths.values()} == {model.read_bytes()}
    assert len(set(paths.values())) == 3


@pytest.mark.parametrize("damage", ["flipped", "short", "link"])
def test_a_damaged_file_is_found_and_sent_again(here: Transport, model: Path, damage: str) -> None:
    delivery = Delivery.open(here)
    there = Path(delivery.deliver({"m.tflite": model})["m.tflite"])
    content = bytearray(model.read_bytes())
    if damage == "flipped":
        content[500] ^= 1
        there.write_bytes(content)
    elif damage == "short":
        os.truncate(there, 10)
    else:
        there.unlink()
        there.symlink_to(model)
    assert Path(delivery.deliver({"m.tflite": model})["m.tflite"]).read_bytes() == model.read_bytes()
    assert not there.is_symlink()
    assert delivery.pushed_bytes == 200_000


def test_a_file_that_arrives_wrong_is_an_error(here: Transport, model: Path) -> None:
    def overwrite(name: str, sent: int, total: int) -> None:
        model.write_bytes(bytes(100_000))  # as when a build writes the file anew

    model.write_bytes(os.urandom(100_000) * 30)
    with pytest.raises(DeviceError, match=r"m\.tflite (does not have the content there that was sent|could not be written)"):
        Delivery.open(here).deliver({"m.tflite": model}, progress=overwrite)


def test_wrong_content_of_the_right_size_is_an_error(here: Transport, model: Path, tmp_path: Path) -> None:
    model.write_bytes(bytes(3 << 20))

    def overwrite(name: str, sent: int, total: int) -> None:
        model.write_bytes(b"\1" * (3 << 20))

    with pytest.raises(DeviceError, match=r"^local:.*m\.tflite does not have the content there that was sent"):
        Delivery.open(here).deliver({"m.tflite": model}, progress=overwrite)


def test_what_is_executable_stays_so(here: Transport, model: Path) -> None:
    delivery = Delivery.open(here)
    assert not os.access(delivery.deliver({"plain": model})["plain"], os.X_OK)
    model.chmod(0o755)
    there = delivery.deliver({"runner": model})["runner"]
    assert stat.S_IMODE(Path(there).stat().st_mode) == 0o700


def test_a_folder_arrives_as_a_folder(here: Transport, tmp_path: Path) -> None:
    package = tmp_path / "m.mlpackage"
    (package / "Data" / "weights").mkdir(parents=True)
    (package / "Manifest.json").write_text("{}")
    (package / "Data" / "weights" / "weight.bin").write_bytes(b"w" * 1000)
    delivery = Delivery.open(here)
    there = Path(delivery.deliver({"m.mlpackage": package})["m.mlpackage"])
    assert there.name == "m.mlpackage"
    assert (there / "Manifest.json").read_text() == "{}"
    assert (there / "Data" / "weights" / "weight.bin").read_bytes() == b"w" * 1000
    sent = delivery.pushed_bytes
    os.utime(package / "Manifest.json", (1, 1))
    assert delivery.deliver({"m.mlpackage": package}) == {"m.mlpackage": str(there)}
    assert delivery.pushed_bytes == sent


def test_an_archive_is_unpacked_once(here: Transport, root: Path, tmp_path: Path) -> None:
    program, module = tarfile.TarInfo("bin/run"), tarfile.TarInfo("./lib/module.py")
    program.mode, module.mtime = 0o755, 1_700_000_000
    archive = archive_of(tmp_path / "site.tar.gz", [(program, b"#!/bin/sh\n"), (module, b"x = 1\n")])
    delivery = Delivery.open(here)
    folder = Path(delivery.unpack(archive))
    assert (folder / "lib" / "module.py").read_bytes() == b"x = 1\n"
    assert (folder / "lib" / "module.py").stat().st_mtime == 1_700_000_000
    assert os.access(folder / "bin" / "run", os.X_OK)
    assert not os.access(folder / "lib" / "module.py", os.X_OK)
    (folder / "kept").touch()
    sent = delivery.pushed_bytes
    assert delivery.unpack(archive) == str(folder)
    assert (folder / "kept").exists()
    assert delivery.pushed_bytes == sent
    assert list(root.glob("blobs/*/*")) == []  # what is unpacked does not take its space twice
    assert [path.name for path in root.glob("trees/*")] == [folder.name]


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (tarfile.TarInfo("../escaped"), "'../escaped' would be written outside"),
        (tarfile.TarInfo("a/../../escaped"), "would be written outside"),
        (tarfile.TarInfo("/tmp/escaped"), "'/tmp/escaped' would be written outside"),
        (link("a", "/tmp"), "'a' is neither a file nor a folder"),
    ],
)
def test_an_archive_that_leads_outside_is_refused(here: Transport, root: Path, tmp_path: Path, member: tarfile.TarInfo, words: str) -> None:
    archive = archive_of(tmp_path / "bad.tar.gz", [(tarfile.TarInfo("good"), b"x"), (member, b"")])
    with pytest.raises(AgentError) as error:
        Delivery.open(here).unpack(archive)
    assert words in str(error.value)
    assert list(root.glob("trees/*")) == []
    assert not list(root.rglob("escaped"))


@pytest.mark.parametrize("damage", ["empty", "none", "truncated", "checksum"])
def test_a_broken_archive_is_refused(here: Transport, root: Path, tmp_path: Path, damage: str) -> None:
    archive = archive_of(tmp_path / "bad.tar.gz", [(tarfile.TarInfo("a"), os.urandom(50_000))])
    whole = archive.read_bytes()
    unended = bytearray(gzip.compress(gzip.decompress(whole)[: 512 + 50_176]))  # so that it is read up to gzip's checksum
    unended[-6] ^= 1
    archive.write_bytes({"empty": b"", "none": b"no archive", "truncated": whole[:-20_000], "checksum": bytes(unended)}[damage])
    with pytest.raises(AgentError, match="the archive cannot be read"):
        Delivery.open(here).unpack(archive)
    assert list(root.glob("trees/*")) == []


def test_an_archive_that_does_not_fit_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True).returncode != 0:
        missing("the right to mount a small disk", "run the tests as root with CAP_SYS_ADMIN")
    try:
        monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(disk / "device"))
        archive = archive_of(tmp_path / "zeros.tar.gz", [(tarfile.TarInfo("zeros"), bytes(3_000_000))])
        with connect("local:") as here, pytest.raises(DeviceError, match=r"no space left on the device .*\(needs 3\.0 MB, has 1\.0 MB\)"):
            Delivery.open(here).unpack(archive)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_jobs_have_folders_of_their_own_for_as_long_as_they_last(here: Transport, root: Path) -> None:
    with Delivery.open(here) as delivery:
        one, other = Path(delivery.workdir()), Path(delivery.workdir())
        assert one != other
        assert one.parent == root / "jobs"
        assert stat.S_IMODE(one.stat().st_mode) == 0o700
        (one / "file").touch()
        delivery.jobs.append(str(root / "blobs"))  # not a job's: must stay
    assert not one.exists()
    assert not other.exists()
    assert (root / "blobs").exists()


def test_what_cut_off_runs_left_is_removed_in_the_end(here: Transport, root: Path) -> None:
    old, new = Path(Delivery.open(here).workdir()), Path(Delivery.open(here).workdir())
    os.utime(old, (1, 1))
    Delivery.open(here)
    assert not old.exists()
    assert new.exists()


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "nul\0"])
def test_a_name_that_is_not_a_file_name_is_refused(here: Transport, model: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be a file's name on a device"):
        Delivery.open(here).deliver({name: model})


def test_a_file_that_is_not_there_is_an_input_error(here: Transport, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*absent: No such file"):
        Delivery.open(here).deliver({"absent": tmp_path / "absent"})


def test_a_device_without_python_is_said(here: Transport) -> None:
    with pytest.raises(DeviceError, match="python9 is not found on the device: install it"):
        Delivery.open(here, "python9")
    with pytest.raises(AgentError, match=r"its half of the delivery failed .*check that false is Python"):
        Delivery.open(here, "false")


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path / "file"))
    with connect("local:") as here, pytest.raises(DeviceError, match=r"file.*: (Not a directory|File exists)"):
        Delivery.open(here)


@pytest.mark.lab
def test_over_ssh_to_a_user_who_has_nothing(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = archive_of(tmp_path / "site.tar.gz", [(tarfile.TarInfo("module.py"), b"x = 1\n")])
    with sshd() as server:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.config))
        with connect("ssh:bench") as device:
            first = Delivery.open(device)
            assert first.root == f"{server.home}/.cache/edgekit"
            paths, folder = first.deliver({"m.tflite": model}), first.unpack(archive)
            assert first.pushed_bytes == 100_000 + archive.stat().st_size
            assert Path(paths["m.tflite"]).read_bytes() == model.read_bytes()
            assert Path(paths["m.tflite"]).owner() == server.user
            assert device.run(["python3", "-c", f"import sys; sys.path[0] = {folder!r}; import module; print(module.x)"], timeout_s=10).stdout == "1\n"
        with connect("ssh:bench") as device:
            second = Delivery.open(device)
            assert (second.deliver({"m.tflite": model}), second.unpack(archive)) == (paths, folder)
            assert second.pushed_bytes == 0
