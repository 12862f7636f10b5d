"""Names of Debian packages and an architecture in; their files and those of all they depend on out, fetched and unpacked once.

apt itself resolves, fetches and verifies them, from the host's mirror, with the host's keys and proxy, but in a state folder of its own:
what is installed on the host, its lists and its caches are neither read nor changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import SetupError
from edgekit.files import disk_errors, write_text, written_aside
from edgekit.lab.sources import source_line
from edgekit.places import cache_dir

SUITE = "trixie"
"""The first release of Debian with adbd for arm64, and with a static qemu-user that survives a /sys of another machine."""

LISTS_S = 24 * 3600.0  # a mirror keeps a superseded package for longer than this
FETCH_S = 1800.0

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True)
class Package:
    """One package file, fetched or not."""

    file: Path
    size_bytes: int

    @property
    def fetched(self) -> bool:
        return self.file.is_file() and self.file.stat().st_size == self.size_bytes


def silent(text: str, fraction: float | None) -> None:
    """The progress that nobody sees."""


def unpacked(
    names: Sequence[str], architecture: str, *, without: Sequence[str] = (), only: Sequence[str] = (), suite: str = SUITE, say: Progress = silent
) -> Path:
    """A folder with the files of packages and of all they depend on, as they lie below `/`; made once, and not to be changed.

    Args:
        names: as apt knows them, such as `adbd`.
        architecture: Debian's name of it: `amd64`, `arm64`, `armhf`.
        without: packages that are taken to be there already: nothing is fetched for them.
        only: files to unpack, such as `usr/bin/qemu-aarch64`; without any, all of them.
        suite: a release of Debian.

    Raises:
        SetupError: this is no Debian, apt cannot fetch, or the disk is full.
    """
    files = fetch(names, architecture, without=without, suite=suite, say=say)
    folder = cache_dir() / "lab" / "unpacked" / digest(suite, architecture, *(file.name for file in files), *only)
    with locked(folder.parent):
        if not folder.is_dir():
            with written_aside(folder) as aside:
                aside.mkdir(mode=0o755)
                for number, file in enumerate(files):
                    say(f"unpacking {file.name}", number / len(files))
                    unpack(file, aside, only)
    return folder


def unpack(file: Path, folder: Path, only: Sequence[str]) -> None:
    """What is in one package file, or some of it, in a folder."""
    if not only:
        run(["dpkg-deb", "--extract", str(file), str(folder)])
        return
    names = " ".join(shlex.quote(f"./{name}") for name in only)
    run(["sh", "-c", f'dpkg-deb --fsys-tarfile "$1" | tar --extract --directory "$2" {names}', "sh", str(file), str(folder)])


def fetch(names: Sequence[str], architecture: str, *, without: Sequence[str] = (), suite: str = SUITE, say: Progress = silent) -> tuple[Path, ...]:
    """The package files of `names` and of all they depend on; what is there already is not fetched again.

    Raises:
        SetupError: as for `unpacked`.
    """
    wanted = resolve(names, architecture, without=without, suite=suite, say=say)
    missing = [package for package in wanted if not package.fetched]
    if missing:
        say(f"fetching {len(missing)} packages of Debian {suite} for {architecture}", None)
        with apt(architecture, suite, without) as ask:
            ask("install", "--download-only", "--yes", *names)
    lost = next((package.file.name for package in missing if not package.fetched), None)
    if lost is not None:
        raise SetupError(f"apt did not fetch {lost}: the mirror has changed meanwhile: repeat the command")
    return tuple(package.file for package in wanted)


def resolve(names: Sequence[str], architecture: str, *, without: Sequence[str] = (), suite: str = SUITE, say: Progress = silent) -> tuple[Package, ...]:
    """Which files `names` come to, sorted by name; the mirror is asked only while they are not all here.

    Raises:
        SetupError: as for `unpacked`.
    """
    folder = state_folder(architecture, suite)
    answer = folder / f"answer-{digest(*sorted(names), '', *sorted(without))}.json"
    known = packages(folder, json.loads(answer.read_text())) if answer.is_file() else ()
    if known and all(package.fetched for package in known):
        return known
    with apt(architecture, suite, without) as ask:
        updated = folder / "updated"
        if not updated.is_file() or not 0 <= time.time() - updated.stat().st_mtime < LISTS_S:
            say(f"asking for the packages of Debian {suite} for {architecture}", None)
            ask("update")
            write_text(updated, "")
        # apt names only what is not in its archive yet: it is shown an empty one.
        said = ask(f"-oDir::Cache::Archives={folder / 'nothing'}", "install", "--print-uris", "--yes", *names)
        found = sorted((name, int(size)) for name, size in re.findall(r"^'[^']+' (\S+\.deb) (\d+) ", said, re.MULTILINE))
        write_text(answer, json.dumps(found))
    return packages(folder, found)


def packages(folder: Path, found: Sequence[tuple[str, int]]) -> tuple[Package, ...]:
    return tuple(Package(folder / "archives" / name, size) for name, size in found)


def state_folder(architecture: str, suite: str) -> Path:
    return cache_dir() / "lab" / "apt" / f"{suite}-{architecture}"


@contextmanager
def apt(architecture: str, suite: str, without: Sequence[str]) -> Iterator[Callable[..., str]]:
    """apt-get with a state of its own: words in, stdout out; one at a time."""
    source = source_line(suite)
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise SetupError("apt-get and dpkg-deb are missing: fetching Debian's packages needs a Debian host")
    folder = state_folder(architecture, suite)
    with disk_errors(folder):
        for part in ("lists/partial", "archives/partial", "nothing/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
    with locked(folder):
        status, settings = folder / "status", folder / "apt.conf"
        write_text(status, "".join(installed(name, architecture) for name in without))
        write_text(folder / "sources.list", source + "\n")
        write_text(settings, SETTINGS.format(folder=folder, architecture=architecture))
        yield lambda *words: run(["apt-get", "-qq", f"--config-file={settings}", *words])


SETTINGS = """#clear APT::Architectures;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
APT::Architecture "{architecture}";
APT::Architectures "{architecture}";
APT::Install-Recommends "false";
APT::Default-Release "";
APT::Sandbox::User "root";
Acquire::Languages "none";
Dir::State "{folder}";
Dir::State::Lists "lists";
Dir::State::Status "{folder}/status";
Dir::Cache "{folder}";
Dir::Cache::Archives "archives";
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
"""


def installed(name: str, architecture: str) -> str:
    """A stanza of dpkg's status file by which a package counts as there, in a version that is enough for all."""
    return f"Package: {name}\nStatus: install ok installed\nArchitecture: {architecture}\nMulti-Arch: foreign\nVersion: 9999:9\nDescription: taken as given\n\n"


def run(words: Sequence[str]) -> str:
    """What a tool of Debian's says.

    Raises:
        SetupError: it failed; with its own first complaint.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=FETCH_S, check=False)
    except subprocess.TimeoutExpired as exc:
        raise SetupError(f"{words[0]} did not end within {FETCH_S:.0f} s: check the connection to Debian's mirror, then repeat the command") from exc
    if done.returncode:
        said = [line.removeprefix("E: ") for line in done.stderr.splitlines() if line.startswith(("E: ", "dpkg-deb: error"))] or done.stderr.splitlines()
        cause = said[0].strip().rstrip(".") if said else f"exit code {done.returncode}"
        raise SetupError(f"{words[0]} cannot fetch or unpack packages of Debian ({cause}): check the connection and the free space, then repeat the command")
    return done.stdout


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep others of the same user out of a folder meanwhile."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def digest(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
