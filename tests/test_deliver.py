"""Delivery: on this machine with a folder of its own, under each shell and set of tools that a device may have, and once over SSH."""

from __future__ import annotations

import gzip
import io
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgekit.deliver import Delivery
from edgekit.errors import AgentError, DeviceError, InputError
from edgekit.transport import Transport, connect
from tests.conftest import missing
from tests.lab.adb import adb_server, genuine
from tests.lab.shells import SHELLS, programs
from tests.lab.sshd import sshd


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path / "device"))
    return tmp_path / "device"


@pytest.fixture(params=SHELLS)
def device(request: pytest.FixtureRequest, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transport]:
    """This machine with one shell and its programs."""
    monkeypatch.setenv("PATH", str(programs(request.param, tmp_path / "programs")))
    with connect("local:") as transport:
        yield transport


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


def test_the_folder_is_private(device: Transport, root: Path) -> None:
    root.mkdir(mode=0o755)
    assert Delivery.open(device).root == str(root)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "blobs").stat().st_mode) == 0o700


@pytest.mark.parametrize(("cache", "expected"), [("", "home/.cache/edgekit"), ("elsewhere", "elsewhere/edgekit")])
def test_the_folder_is_in_the_users_cache(cache: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEKIT_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache) if cache else "relative/is/ignored")
    with connect("local:") as here:
        assert Delivery.open(here).root == str(tmp_path / expected)


def test_nothing_is_sent_twice(device: Transport, model: Path) -> None:
    first = Delivery.open(device)
    heard: list[tuple[str, int, int]] = []
    paths = first.deliver({"m.tflite": model}, progress=lambda *said: heard.append(said))
    assert Path(paths["m.tflite"]).read_bytes() == model.read_bytes()
    assert Path(paths["m.tflite"]).name == "m.tflite"
    assert first.pushed_bytes == 100_000
    assert heard == [("m.tflite", 100_000, 100_000)]
    second = Delivery.open(device)
    assert second.deliver({"m.tflite": model}) == paths
    assert second.pushed_bytes == 0


def test_the_same_content_under_another_name_is_not_sent(device: Transport, model: Path) -> None:
    delivery = Delivery.open(device)
    paths = delivery.deliver({"a.tflite": model, "b.tflite": model})
    paths |= delivery.deliver({"c.tflite": model})
    assert delivery.pushed_bytes == 100_000
    assert {Path(path).read_bytes() for path in paths.values()} == {model.read_bytes()}
    assert len(set(paths.values())) == 3


@pytest.mark.parametrize("damage", ["flipped", "short", "link"])
def test_a_damaged_file_is_found_and_sent_again(device: Transport, model: Path, damage: str) -> None:
    delivery = Delivery.open(device)
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


def test_what_is_executable_stays_so(device: Transport, model: Path) -> None:
    delivery = Delivery.open(device)
    assert not os.access(delivery.deliver({"plain": model})["plain"], os.X_OK)
    model.chmod(0o755)
    there = delivery.deliver({"runner": model})["runner"]
    assert stat.S_IMODE(Path(there).stat().st_mode) == 0o700


def test_a_folder_arrives_as_a_folder(device: Transport, tmp_path: Path) -> None:
    package = tmp_path / "m.mlpackage"
    (package / "Data" / "weights").mkdir(parents=True)
    (package / "Manifest.json").write_text("{}")
    (package / "Data" / "weights" / "weight.bin").write_bytes(b"w" * 1000)
    delivery = Delivery.open(device)
    there = Path(delivery.deliver({"m.mlpackage": package})["m.mlpackage"])
    assert there.name == "m.mlpackage"
    assert (there / "Manifest.json").read_text() == "{}"
    assert (there / "Data" / "weights" / "weight.bin").read_bytes() == b"w" * 1000
    sent = delivery.pushed_bytes
    os.utime(package / "Manifest.json", (1, 1))
    assert delivery.deliver({"m.mlpackage": package}) == {"m.mlpackage": str(there)}
    assert delivery.pushed_bytes == sent


def trees(root: Path) -> list[str]:
    """The folders of unpacked archives, and what else lies there but their names."""
    return [path.name for path in (root / "trees").iterdir() if path.suffix != ".name"]


def test_an_archive_is_unpacked_once(device: Transport, root: Path, tmp_path: Path) -> None:
    program, module = tarfile.TarInfo("bin/run"), tarfile.TarInfo("./lib/module.py")
    program.mode, module.mtime = 0o4775, 1_700_000_000
    archive = archive_of(tmp_path / "site.tar.gz", [(program, b"#!/bin/sh\n"), (module, b"x = 1\n")])
    delivery = Delivery.open(device)
    folder = Path(delivery.unpack(archive))
    assert (folder / "lib" / "module.py").read_bytes() == b"x = 1\n"
    assert (folder / "lib" / "module.py").stat().st_mtime == 1_700_000_000
    assert stat.S_IMODE((folder / "bin" / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "lib" / "module.py").stat().st_mode) == 0o600
    (folder / "kept").touch()
    sent = delivery.pushed_bytes
    assert delivery.unpack(archive) == str(folder)
    assert (folder / "kept").exists()
    assert delivery.pushed_bytes == sent
    assert list(root.glob("blobs/*/*")) == []  # what is unpacked does not take its space twice
    assert trees(root) == [folder.name]


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
        (tarfile.TarInfo("a/.."), "would be written outside"),
        (link("a", "/tmp"), "'a' is neither a file nor a folder"),
        (tarfile.TarInfo("two\nlines"), "has a name that not every tar can unpack"),
        (tarfile.TarInfo("./good"), "several members of one name"),
    ],
)
def test_an_archive_that_leads_outside_is_refused(here: Transport, root: Path, tmp_path: Path, member: tarfile.TarInfo, words: str) -> None:
    archive = archive_of(tmp_path / "bad.tar.gz", [(tarfile.TarInfo("good"), b"x"), (member, b"")])
    with pytest.raises(InputError) as error:
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
    with pytest.raises(InputError, match="the archive cannot be read"):
        Delivery.open(here).unpack(archive)
    assert list(root.glob("trees/*")) == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True).returncode != 0:
        missing("the right to mount a small disk", "run the tests as root with CAP_SYS_ADMIN")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("shell", SHELLS)
def test_an_archive_that_does_not_fit_is_refused_before_it_is_unpacked(disk: Path, shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = archive_of(tmp_path / "zeros.tar.gz", [(tarfile.TarInfo("zeros"), bytes(3_000_000))])
    with monkeypatch.context() as patch, connect("local:") as here:
        patch.setenv("EDGEKIT_CACHE_DIR", str(disk / "device"))
        patch.setenv("PATH", str(programs(shell, tmp_path / "programs")))
        with pytest.raises(DeviceError, match=r"no space left on the device .*\(needs 3\.0 MB, has 1\.0 MB\)"):
            Delivery.open(here).unpack(archive)
    assert list((disk / "device" / "trees").iterdir()) == []


def test_a_copy_that_does_not_fit_is_said_and_leaves_nothing(disk: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model.write_bytes(os.urandom(700_000))
    with monkeypatch.context() as patch, connect("local:") as here:
        patch.setenv("EDGEKIT_CACHE_DIR", str(disk / "device"))
        delivery = Delivery.open(here)
        first = delivery.deliver({"a": model})
        with pytest.raises(DeviceError, match="no space left on the device"):
            delivery.deliver({"b": model})
        assert delivery.deliver({"a": model}) == first
    assert [path.name for path in (disk / "device").glob("blobs/*/[!.]*")] == ["a"]


def test_jobs_have_folders_of_their_own_for_as_long_as_they_last(device: Transport, root: Path) -> None:
    with Delivery.open(device) as delivery:
        one, other = Path(delivery.workdir()), Path(delivery.workdir())
        assert one != other
        assert one.parent == root / "jobs"
        assert stat.S_IMODE(one.stat().st_mode) == 0o700
        (one / "file").touch()
        delivery.jobs.append(str(root / "blobs"))  # not a job's: must stay
    assert not one.exists()
    assert not other.exists()
    assert (root / "blobs").exists()


def test_what_cut_off_runs_left_is_removed_in_the_end(device: Transport, root: Path) -> None:
    old, new = Path(Delivery.open(device).workdir()), Path(Delivery.open(device).workdir())
    os.utime(old, (1, 1))
    Delivery.open(device)
    assert not old.exists()
    assert new.exists()


def test_who_holds_the_device_ends_what_a_silent_network_left_running(device: Transport, root: Path) -> None:
    left = Delivery.open(device).workdir()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", f"{left}/job"]) as agent, subprocess.Popen(["sleep", "600"]) as other:
        try:
            Delivery.open(device).workdir(alone=True)

            assert agent.wait(10) == -signal.SIGKILL
            assert other.poll() is None
            assert not Path(left).exists()
        finally:
            agent.kill()
            other.kill()


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "nul\0", "two\nlines", "tab\t"])
def test_a_name_that_is_not_a_file_name_is_refused(here: Transport, model: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be a file's name on a device"):
        Delivery.open(here).deliver({name: model})


def test_a_file_that_is_not_there_is_an_input_error(here: Transport, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*absent: No such file"):
        Delivery.open(here).deliver({"absent": tmp_path / "absent"})


def test_a_folder_that_cannot_be_made_is_said(device: Transport, root: Path) -> None:
    root.touch()
    with pytest.raises(DeviceError, match=r"device.*: (Not a directory|File exists)"):
        Delivery.open(device)


def test_odd_names_many_at_once(device: Transport, root: Path, tmp_path: Path) -> None:
    odd = ["a b", "it's", 'say "hi"', "$HOME `id` $(id)", "back\\slash\\n", "*", "-n", "~", "naïve ✓", "a;b&&c|d>e", "x" * 200, "\udcff", "a:b"]
    files = {name: tmp_path / f"file{i}" for i, name in enumerate(odd + [f"file{i}" for i in range(20)])}
    for path in files.values():
        path.write_bytes(path.name.encode() * 1000)
    delivery = Delivery.open(device)
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in odd:
        (folder / name).write_text(name, errors="surrogateescape")
    paths = delivery.deliver({**files, "a folder": folder})
    assert all(Path(paths[name]).read_bytes() == path.read_bytes() for name, path in files.items())
    assert {path.name for path in Path(paths["a folder"]).iterdir()} == set(odd)
    sent = delivery.pushed_bytes
    assert delivery.deliver({**files, "a folder": folder}) == paths
    assert delivery.pushed_bytes == sent


def test_the_device_is_asked_once_for_all_files(here: Transport, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = Delivery.open(here)
    files = {f"file{i}": model for i in range(50)}
    delivery.deliver(files)
    (tmp_path / "bin").mkdir()
    counting = tmp_path / "bin" / "sh"
    counting.write_text(f'#!/bin/sh\necho asked >>{tmp_path}/asked\nexec /bin/sh "$@"\n')
    counting.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    delivery.deliver(files)
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_a_folder_or_a_link_in_a_files_place_gives_way(device: Transport, model: Path, tmp_path: Path) -> None:
    delivery = Delivery.open(device)
    there = Path(delivery.deliver({"m": model})["m"])
    for put in (lambda: there.mkdir(), lambda: there.symlink_to(tmp_path)):
        there.unlink()
        put()
        assert Path(delivery.deliver({"m": model})["m"]).read_bytes() == model.read_bytes()
        assert there.is_file()
        assert not there.is_symlink()


def test_two_deliveries_at_once_do_not_harm_each_other(device: Transport, root: Path, model: Path, tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "site.tar.gz", [(tarfile.TarInfo(f"lib/{i}"), os.urandom(20_000)) for i in range(50)])

    def once(_: int) -> tuple[str, str]:
        delivery = Delivery.open(device)
        return delivery.unpack(archive), delivery.deliver({"m": model})["m"]

    with ThreadPoolExecutor(4) as threads:
        (folder, path), *others = threads.map(once, range(4))
    assert set(others) == {(folder, path)}
    assert len(list(Path(folder).rglob("*"))) == 51
    assert trees(root) == [Path(folder).name]
    assert list(root.glob("blobs/*/*")) == [Path(path)]


def test_leftovers_of_killed_deliveries_are_cleared_after_a_day(device: Transport, root: Path, model: Path) -> None:
    there = Path(Delivery.open(device).deliver({"m": model})["m"])
    left = [there.parent / ".m.0123.part", root / "trees" / ".0123.aside"]
    left[0].touch()
    left[1].mkdir()
    (left[1] / "file").touch()
    Delivery.open(device)
    assert all(path.exists() for path in left)
    for path in left:
        os.utime(path, (time.time() - 100_000,) * 2)
    Delivery.open(device)
    assert not any(path.exists() for path in left)
    assert there.exists()


def test_an_unpacking_that_was_cut_off_is_begun_anew(here: Transport, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = archive_of(tmp_path / "site.tar.gz", [(tarfile.TarInfo("a"), b"x")])
    delivery = Delivery.open(here)
    (tmp_path / "bin").mkdir()
    tar = tmp_path / "bin" / "tar"
    tar.write_text("#!/bin/sh\nkill -9 $PPID\n")
    tar.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
        with pytest.raises(AgentError, match="its half of the delivery failed"):
            delivery.unpack(archive)
    assert [path.suffix for path in (root / "trees").iterdir()] == [".aside"]
    sent = delivery.pushed_bytes
    assert (Path(delivery.unpack(archive)) / "a").read_bytes() == b"x"
    assert delivery.pushed_bytes == sent


def test_long_names_arrive_or_the_archive_is_refused(device: Transport, root: Path, tmp_path: Path) -> None:
    """Busybox does not know the PAX format's long names, and would write others."""
    name = "/".join(["folder" * 10] * 4) + "/file"
    with tarfile.open(tmp_path / "gnu.tar", "w", format=tarfile.GNU_FORMAT) as gnu, tarfile.open(tmp_path / "pax.tar", "w", format=tarfile.PAX_FORMAT) as pax:
        gnu.addfile(tarfile.TarInfo(name))
        pax.addfile(tarfile.TarInfo(name))
    delivery = Delivery.open(device)
    assert (Path(delivery.unpack(tmp_path / "gnu.tar")) / name).is_file()
    try:
        assert (Path(delivery.unpack(tmp_path / "pax.tar")) / name).is_file()
    except AgentError as exc:
        assert "busybox" in os.readlink(tmp_path / "programs" / "tar")
        assert "pax.tar cannot be unpacked" in str(exc)  # noqa: PT017
        assert len(trees(root)) == 1


def test_a_tar_that_leaves_something_out_is_found(here: Transport, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = archive_of(tmp_path / "site.tar.gz", [(tarfile.TarInfo("a"), b"x"), (tarfile.TarInfo("b"), b"y")])
    (tmp_path / "bin").mkdir()
    tar = tmp_path / "bin" / "tar"
    tar.write_text(f'#!/bin/sh\n{shutil.which("tar")} "$@" a\n')
    tar.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with pytest.raises(AgentError, match=r"site\.tar\.gz cannot be unpacked \(1 of 2 files came out\)"):
        Delivery.open(here).unpack(archive)
    assert list((root / "trees").iterdir()) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "its half of the delivery failed (code 0)"),
        ("printf 'path\\t/x\\n'", "its half of the delivery failed"),
        ("printf 'path\\trelative\\nend\\tok\\n'", "named no folder"),
        ("printf 'present\\t1\\nend\\tok\\n'", "named no folder"),
        ("printf '\\377\\n'; exit 3", "failed (code 3)"),
        ("echo not found >&2; exit 127", "failed (not found)"),
    ],
)
def test_a_device_that_answers_garbage_is_said(here: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, words: str) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").write_text(f"#!/bin/bash\ncat >/dev/null\n{body}\n")
    (tmp_path / "bin" / "sh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with pytest.raises(AgentError) as error:
        Delivery.open(here)
    assert words in str(error.value)


def test_a_device_that_says_yes_to_another_question_is_found_out(here: Transport, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = Delivery.open(here)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").write_text("#!/bin/bash\ncat >/dev/null\nprintf 'present\\t1\\npath\\t/x\\nend\\tok\\n'\n")
    (tmp_path / "bin" / "sh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with pytest.raises(AgentError, match="answered for other files than were asked"):
        delivery.deliver({"a": model, "b": model})
    with pytest.raises(AgentError, match=r"does not say where site\.tar\.gz is"):
        delivery.unpack(archive_of(tmp_path / "site.tar.gz", []))


def test_a_request_that_is_cut_off_does_nothing(here: Transport, root: Path) -> None:
    delivery = Delivery.open(here)
    folder = Path(delivery.workdir())
    script = (Path(__file__).parent.parent / "targets" / "delivery.sh").read_text()
    text = f"{script}\nroot={shlex.quote(str(root))} token=0\nanswer() {{\nremove {shlex.quote(str(folder))}\nwipe\n"
    assert here.run(["sh", "-s"], stdin=text.encode(), timeout_s=10, check=False).stdout == ""
    assert folder.exists()


def test_what_lies_there_is_listed_and_wiped(device: Transport, root: Path, model: Path, tmp_path: Path) -> None:
    delivery = Delivery.open(device)
    assert delivery.holds() == 0
    model.write_bytes(bytes(1 << 20))
    delivery.deliver({"it's a b": model})
    delivery.unpack(archive_of(tmp_path / "site.tar.gz", [(tarfile.TarInfo("a/b"), os.urandom(1 << 20))]))
    delivery.workdir()
    things = delivery.things()
    assert [thing.path.split("/")[0] for thing in things] == ["blobs", "trees", "jobs"]
    assert things[0].path.endswith("/it's a b")
    assert [thing.name for thing in things] == ["it's a b", "site.tar.gz", ""]
    assert 2 << 20 <= delivery.holds() < 3 << 20
    (root / "toolchains").mkdir()  # of an edgekit that runs on the device itself
    delivery.wipe()
    assert [path.name for path in root.iterdir()] == ["toolchains"]
    (root / "toolchains").rmdir()
    Delivery.open(device).wipe()
    assert not root.exists()


def test_on_android_the_folder_is_the_shells(here: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        missing("the right to make /data/local/tmp", "run the tests as root")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "getprop").write_text('#!/bin/sh\n[ "$1" != ro.build.version.sdk ] || echo 34\n')
    (tmp_path / "bin" / "getprop").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    folders = [Path("/data"), Path("/data/local"), Path("/data/local/tmp"), Path("/data/local/tmp/edgekit")]
    made = [folder for folder in folders if not folder.exists()]
    folders[2].mkdir(parents=True, exist_ok=True)
    try:
        delivery = Delivery.open(here)
        assert delivery.root == "/data/local/tmp/edgekit"
        if folders[3] in made:
            delivery.wipe()
    finally:
        for folder in reversed(made):
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()


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


@pytest.mark.lab
def test_over_adb(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = archive_of(tmp_path / "site.tar.gz", [(tarfile.TarInfo("a/b"), b"x")])
    with adb_server() as server, genuine(server) as phone:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        for sent in (100_000 + archive.stat().st_size, 0):
            with connect(phone.address) as transport:
                delivery = Delivery(transport)
                delivery.root = str(phone.folder / "root")  # opening it would use the own cache of whoever runs the tests
                transport.run(["mkdir", "-p", f"{delivery.root}/trees"], timeout_s=10)
                path, folder = delivery.deliver({"it's a model": model})["it's a model"], delivery.unpack(archive)
                assert Path(path).read_bytes() == model.read_bytes()
                assert (Path(folder) / "a" / "b").read_bytes() == b"x"
                assert delivery.pushed_bytes == sent
