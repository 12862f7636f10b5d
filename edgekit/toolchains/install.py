"""A toolchain's lock in, its virtual environment out: made by uv, whole or absent."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekit.errors import SetupError
from edgekit.files import disk_errors, size_bytes, write_text
from edgekit.toolchains.catalog import HERE, Toolchain

DEADLINE_S = 3600
MINOR_VERSIONS = ("3.13", "3.12", "3.11")

Progress = Callable[[str], None]


def install(toolchain: Toolchain, progress: Progress) -> None:
    """Make the toolchain's environment, or return at once if it is there; then its own step (`after_install.py` in its folder), if it has one.

    Raises:
        SetupError: no Python in the range, no network and not in uv's cache, or the disk is full.
    """
    folder = toolchain.folder
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with only_one(folder.with_suffix(".lock")):
        if toolchain.installed:
            if toolchain.lacks:
                finish(toolchain, progress)
            return
        shutil.rmtree(folder, ignore_errors=True)
        try:
            progress("making the environment")
            uv("venv", "--quiet", "--python", find_python(toolchain.description.python), str(folder))
            progress("fetching and installing packages")
            uv("pip", "install", "--no-deps", "--python", str(toolchain.python), "-r", str(toolchain.lock), env=backend(toolchain))
            progress("compiling")
            subprocess.run([toolchain.python, "-m", "compileall", "-q", "-j", "0", folder / "lib"], capture_output=True, timeout=DEADLINE_S)
            finish(toolchain, progress)
            write_text(toolchain.marker, str(size_bytes(folder)))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def finish(toolchain: Toolchain, progress: Progress) -> None:
    """Run the toolchain's own step in its environment: what it prints is what it could not get, and is kept as `Toolchain.lacks`."""
    script = HERE / toolchain.name / "after_install.py"
    if not script.exists():
        return
    progress("fetching what its packages do not hold")
    try:
        done = subprocess.run([toolchain.python, "-I", script, toolchain.folder], capture_output=True, text=True, timeout=DEADLINE_S)
    except subprocess.TimeoutExpired as exc:
        raise SetupError(f"the installation of {toolchain.name} did not end within {DEADLINE_S} s: check the network and repeat the command") from exc
    words = done.stdout.strip() if done.returncode == 0 else f"its last step failed ({done.stderr.strip().rpartition(chr(10))[2]}): repeat the command"
    if words:
        write_text(toolchain.folder / ".lacks", words)
    else:
        (toolchain.folder / ".lacks").unlink(missing_ok=True)


def backend(toolchain: Toolchain) -> dict[str, str]:
    """uv's settings for the toolchain: the CPU build of torch, unless the user has said where wheels are."""
    chosen = toolchain.description.torch_backend
    if chosen is None or os.environ.get("UV_FIND_LINKS") or os.environ.get("UV_TORCH_BACKEND"):
        return {}
    return {"UV_TORCH_BACKEND": chosen}


def find_python(python_range: str) -> str:
    """A Python in the range, as uv's `--python` takes it: a path where one is here, else the range (uv fetches one).

    This interpreter is preferred, then what PATH and pyenv hold. Each candidate is run, because pyenv's shims
    stand on PATH for versions that they then refuse to start.
    """
    candidates = [Path(sys.executable)]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for minor in MINOR_VERSIONS:
        on_path = shutil.which(f"python{minor}")
        candidates += [Path(on_path)] if on_path else []
        candidates += sorted(pyenv.glob(f"versions/{minor}.*/bin/python"), reverse=True)
    for candidate in candidates:
        version = version_of(candidate)
        if version is not None and within(version, python_range):
            return str(candidate)
    return python_range


def version_of(python: Path) -> tuple[int, int] | None:
    """(major, minor) of a Python that starts and can make environments, else None."""
    probe = "import sys, encodings; print(*sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-I", "-c", probe], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    major, minor = done.stdout.split()
    return int(major), int(minor)


def within(version: tuple[int, int], python_range: str) -> bool:
    """Whether `(3, 12)` is in a range such as `>=3.12,<3.14`."""
    for clause in python_range.split(","):
        bound = tuple(int(part) for part in clause.strip("><= ").split("."))
        if clause.startswith(">=") and version < bound:
            return False
        if clause.startswith("<") and version >= bound:
            return False
    return True


def uv(*argv: str, env: dict[str, str] | None = None) -> None:
    """Run uv.

    Raises:
        SetupError: uv failed; its own last words are in the message.
    """
    from uv import find_uv_bin

    try:
        done = subprocess.run([find_uv_bin(), *argv], env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=DEADLINE_S)
    except subprocess.TimeoutExpired as exc:
        raise SetupError(f"uv {argv[0]} did not end within {DEADLINE_S} s: check the network and repeat the command") from exc
    if done.returncode != 0:
        words = " ".join(done.stderr.split())[-600:]
        raise SetupError(f"uv could not make the environment ({words}): check the network, the disk and the Python version, then repeat the command")


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Hold an advisory lock, so that two edgekits do not install the same toolchain at once."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
