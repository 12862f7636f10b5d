"""A device's platform, machine and format in, the native runner's bundle for it out; and the words that the runner takes.

The bundle (.tar.gz) holds `targets/native` built for the machine, the one library that runs the format out of its wheel, and, for a
platform whose own C library will not do, Debian's with its loader. It is kept in the cache folder under a name that spells its
content; the device needs a POSIX shell and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgekit.errors import InputError, SetupError
from edgekit.files import disk_errors, sha256_file, walk, written_aside
from edgekit.places import cache_dir, search_path
from edgekit.runtime import WHEEL_PYTHON, NativeDescription, Platform, adapter_of, kept, pack, platform, wheels
from edgekit.toolchains.catalog import ready, toolchain
from edgekit.toolchains.jobs import Job, run

TITLES = {"tflite": "LiteRT", "onnx": "ONNX Runtime"}
LIBRARIES = {"tflite": "libLiteRt.so", "onnx": "libonnxruntime.so"}
"""Format → the library's name in the bundle."""
LOADERS = {"aarch64": "ld-linux-aarch64.so.1", "x86_64": "ld-linux-x86-64.so.2"}
PROTOCOL = ("warm_up_min_s", "warm_up_max_s", "min_runs", "min_s", "max_samples")

START = """#!/bin/sh
# Run the job on stdin; its results go to the folder $1.
here=${0%/*}
"""
PLAIN = 'exec "$here/runner" "$1"\n'
LOADED = """# what the user's shell preloads is built for another C library
unset LD_PRELOAD LD_LIBRARY_PATH
exec "$here/{loader}" --library-path "$here" "$here/runner" "$1"
"""


def machines(target: Platform) -> tuple[str, ...]:
    """The machines (`aarch64`) of a platform that there is a native runner for; none where the platform has none."""
    return tuple(target.description.zig)


def runtime_version(form: str) -> str:
    """The version of the library that runs a format."""
    return platform().description.native[form].version


def minimum_glibc(target: Platform, form: str, machine: str) -> str | None:
    """The oldest glibc that a device has to have, such as `2.34`; None where it is sent along."""
    return None if target.description.own_libc else target.description.native[form].glibc[machine]


def refuse_older_libc(target: Platform, form: str, machine: str, libc: str) -> None:
    """`libc` is what the device tells, such as `glibc 2.31`.

    Raises:
        SetupError: the library for that format does not run on it.
    """
    least = minimum_glibc(target, form, machine) if form in target.description.native else None
    name, _, version = libc.partition(" ")
    if least and (name != "glibc" or numbers(version) < numbers(least)):
        found = libc or "another C library"
        raise SetupError(f"{TITLES[form]} for {machine} needs glibc {least} on the device, and it has {found}: install a newer system there, such as Debian 12")


def numbers(version: str) -> tuple[int, ...]:
    """`2.34` → (2, 34)"""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def argv(bundle: str, workdir: str) -> list[str]:
    """How a job is started on a device; both are folders there."""
    return ["sh", f"{bundle}/run", workdir]


def encode(job: Mapping[str, Any], bundle: str) -> bytes:
    """A job as the runner reads it: text, one `key value` a line; what the Python agent reads as JSON."""
    form = job["format"]
    fields: list[tuple[str, Any]] = [(key, job[key]) for key in ("job", "mode", "format", "artifact", "threads")]
    fields += [("library", f"{bundle}/{LIBRARIES[form]}"), ("runtime_name", TITLES[form]), ("runtime_version", runtime_version(form))]
    fields += [(key, job[key]) for key in ("delegate", "n_samples") if job.get(key)]
    fields += [("cores", ",".join(map(str, job["cores"])))] if job.get("cores") else []
    fields += [(key, job["protocol"][key]) for key in PROTOCOL if key in job.get("protocol", {})]
    if len(job["inputs"]) != len(job["inputs_spec"]):
        raise InputError(f"there are samples for {len(job['inputs'])} inputs, not {len(job['inputs_spec'])}: give one array for each")
    for path, spec in zip(job["inputs"], job["inputs_spec"], strict=True):
        fields += [("input", f"{spec['dtype']} {shape_text(spec['shape'])} {path}"), ("input_name", spec["name"])]
    for spec in job["outputs_spec"]:
        fields += [("output", f"{spec['dtype']} {shape_text(spec['shape'])}"), ("output_name", spec["name"])]
    escaped = (str(value).replace("\\", "\\\\").replace("\n", "\\n") for _, value in fields)
    return "".join(f"{key} {value}\n" for (key, _), value in zip(fields, escaped, strict=True)).encode("utf-8", "surrogateescape")


def shape_text(shape: Sequence[int]) -> str:
    return ",".join(map(str, shape)) or "-"


def bundle(target: Platform, form: str, machine: str) -> Path:
    """The archive (.tar.gz) that a device unpacks: `run`, the runner, its library, licences, `contents.json`.

    Raises:
        InputError: the platform's native runner runs no such format.
        SetupError: the toolchain, the machine's wheels or its C library are not there, or the disk is full.
    """
    description = target.description
    if form not in description.native:
        have = ", ".join(description.native) or "none"
        cure = "use --runner python" if adapter_of(form) and description.pythons else "convert to one of them"
        raise InputError(f"the native runner on {description.title} runs no {form} files, only {have}: {cure}")
    if machine not in machines(target):
        raise SetupError(f"there is no native runner for a {machine} device: use one of {', '.join(machines(target))}, with a 64-bit system")
    runner = built(description.zig[machine])
    own_libc = libc(machine, description.native[form].glibc[machine]) if description.own_libc else ()
    start = START + (LOADED.format(loader=LOADERS[machine]) if own_libc else PLAIN)
    native = description.native[form]
    key = [native.model_dump(mode="json"), description.machines[machine], start, *((path.name, sha256_file(path)) for path in (runner, *own_libc))]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
    final = cache_dir() / "runtimes" / f"native-{form}-{target.folder.name}-{machine}-{digest}.tar.gz"
    if not final.exists():
        with laid_out(target, native, machine, LIBRARIES[form]) as folder, written_aside(final) as aside, aside.open("wb") as file:
            (folder / "run").write_text(start)
            for path in (runner, *own_libc):
                shutil.copyfile(path, folder / path.name)
            record_contents(folder, native)
            pack(folder, (("*",), ()), file, programs={"run", "runner", *LOADERS.values()})
    return final


def built(zig_target: str) -> Path:
    """The runner for a machine; from the cache where its sources are the same."""
    sources = next((folder / "native" for folder in search_path("targets") if (folder / "native").is_dir()), None)
    if sources is None:
        raise SetupError("the native runner's sources are not there: install edgekit again")
    return run(Job("native", "build", {"sources": sources}, {"target": zig_target}), lambda *_: None).folder / "runner"


def libc(machine: str, least: str) -> tuple[Path, ...]:
    """The C library for a machine, with its loader, as it was fetched when the toolchain was installed.

    Raises:
        SetupError: it was not, or is too old for what the runtime needs.
    """
    home = ready("native")
    folder = home.folder / "glibc" / machine
    if not (folder / LOADERS[machine]).exists():
        words = home.lacks or f"there is no C library for {machine} Android devices: set EDGEKIT_GLIBC to a folder with Debian's libc6 packages for it"
        raise SetupError(f"{words.rstrip('.')}, then run `edgekit toolchains install native`")
    if f"GLIBC_{least}\0".encode() not in (folder / "libc.so.6").read_bytes():
        found = max(re.findall(rb"GNU C Library .*?version ([\d.]+\d)", (folder / "libc.so.6").read_bytes()), default=b"an unknown version").decode()
        raise SetupError(
            f"the runtime needs glibc {least} and the one kept for {machine} Android devices is {found}: set EDGEKIT_GLIBC to a folder with a newer Debian's "
            f"packages, remove {home.folder}, and run `edgekit toolchains install native`"
        )
    return tuple(walk(folder))


@contextmanager
def laid_out(target: Platform, native: NativeDescription, machine: str, library: str) -> Iterator[Path]:
    """A folder for a while with a wheel's library and its licences."""
    parent = cache_dir() / "runtimes"
    with disk_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".native-", dir=parent) as scratch:
        folder = Path(scratch)
        with wheels(target, machine, WHEEL_PYTHON, [f"{native.package}=={native.version}"]) as site, disk_errors(folder):
            for path in kept(site, (native.library,), ()):
                shutil.copyfile(path, folder / library)
            for path in kept(site, native.licences, ()):
                shutil.copyfile(path, folder / f"{native.package}.{path.name}")
        if not (folder / library).exists():
            raise SetupError(f"{native.package} {native.version} for {machine} holds no {native.library}: install edgekit again")
        yield folder


def record_contents(folder: Path, native: NativeDescription) -> None:
    """`contents.json`: what the bundle was made of, and each file's SHA-256."""
    files = {path.name: sha256_file(path) for path in walk(folder)}
    made = {"package": native.package, "version": native.version, "toolchain": toolchain("native").lock_digest, "files": files}
    (folder / "contents.json").write_text(json.dumps(made, indent=1))
