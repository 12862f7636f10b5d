"""A platform and a model's name in, the files around the model out: a folder, an Android archive, a Swift package."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekit.release.archive import stored_zip

SYSTEMS: Mapping[int, tuple[str, str]] = {6: ("15.0", "12.0"), 7: ("16.0", "13.0"), 8: ("17.0", "14.0"), 9: ("18.0", "15.0"), 10: ("26.0", "26.0")}
"""Specification version of a Core ML model → the first iOS and macOS that load it; 6 is the first with ML programs."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the model goes in a package, and what lies around it."""

    resources: str
    """The folder of the model, its lineage and the manifest, relative to the package's root; empty is the root."""
    files: Mapping[str, bytes]
    """Path relative to the package's root → content."""


def generic(_model: str, _source: Path, _file: str, _beside: tuple[str, ...]) -> Layout:
    """A plain folder."""
    return Layout("", {})


def android(model: str, _source: Path, _file: str, _beside: tuple[str, ...]) -> Layout:
    """The parts that an AAR must have (developer.android.com, "Create an Android library", Anatomy of an AAR file)."""
    package = re.sub(r"[^a-z0-9_]", "_", model.lower()).strip("_") or "model"
    manifest = f'<?xml version="1.0" encoding="utf-8"?>\n<manifest package="edgekit.models.m_{package}" />\n'
    empty_jar = b"".join(stored_zip({"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\r\n\r\n"}))
    return Layout("assets/edgekit", {"AndroidManifest.xml": manifest.encode(), "R.txt": b"", "classes.jar": empty_jar})


def ios(model: str, source: Path, file: str, beside: tuple[str, ...]) -> Layout:
    """A Swift package whose one type gives the model's address in the app's bundle."""
    name = type_name(model)
    resources = f"Sources/{name}/Resources"
    copies = "\n".join(f'                .copy("Resources/{part}"),' for part in (file, *beside))
    least_ios, least_macos = SYSTEMS.get(specification_version(source), SYSTEMS[max(SYSTEMS)])
    package = SWIFT_PACKAGE.format(name=name, ios=least_ios, macos=least_macos, copies=copies)
    swift = SWIFT_SOURCE.format(name=name, file=file, how=COMPILE if file.endswith(".mlpackage") else OPEN)
    return Layout(resources, {"Package.swift": package.encode(), f"Sources/{name}/{name}.swift": swift.encode()})


LAYOUTS: Mapping[str, Callable[[str, Path, str, tuple[str, ...]], Layout]] = {"generic": generic, "android": android, "ios": ios}


def specification_version(package: Path) -> int:
    """A Core ML package's version: the protobuf's first field (Core ML Format Reference, Model), so after its tag, 8."""
    for file in sorted(package.glob("Data/*/*.mlmodel")):
        with file.open("rb") as model:
            start = model.read(2)
        if len(start) == 2 and start[0] == 8:
            return start[1]
    return min(SYSTEMS)


def type_name(model: str) -> str:
    """A Swift type's name: `tiny-net` → `TinyNetModel`."""
    words = re.findall(r"[A-Za-z0-9]+", model)
    name = "".join(word[0].upper() + word[1:] for word in words)
    return f"{name if name and name[0].isalpha() else f'Edgekit{name}'}Model"


SWIFT_PACKAGE = """\
// swift-tools-version: 5.9
import PackageDescription

let package = Package(
    name: "{name}",
    platforms: [.iOS("{ios}"), .macOS("{macos}")],
    products: [
        .library(name: "{name}", targets: ["{name}"]),
    ],
    targets: [
        .target(
            name: "{name}",
            resources: [
{copies}
            ]
        ),
    ]
)
"""

SWIFT_SOURCE = """\
import Foundation

/// The model that edgekit packed; `manifest.json` beside it says why, and with which measurements.
public enum {name} {{
    /// {how}
    public static var modelURL: URL {{ url("{file}") }}

    /// The manifest: digests of all files, and the measurements.
    public static var manifestURL: URL {{ url("manifest.json") }}

    private static func url(_ name: String) -> URL {{
        guard let found = Bundle.module.url(forResource: name, withExtension: nil) else {{
            preconditionFailure("\\(name) is missing from the bundle of {name}")
        }}
        return found
    }}
}}
"""

COMPILE = "Compile it once with `MLModel.compileModel(at:)`, keep the result, and load that."
OPEN = "Open it with the runtime that it was measured in."
