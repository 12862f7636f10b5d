"""A small run as records, to store, to decide on and to package: made up, but whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgekit.deflate import download_bytes
from edgekit.files import sha256_tree, size_bytes
from edgekit.records import Accuracy, Artifact, Choice, Conditions, Latency, Measurement, Memory, Parity, Run, Variant, Violation

PARITY = Parity(max_abs=1e-6, max_rel=2e-6, cosine=1.0, sqnr_db=999.0, top1_agreement=1.0, has_nan=False, all_zero=False, n=8)


def latency(p50_ns: int, spread_ns: int = 10_000) -> Latency:
    """A latency whose 95 % interval of p50 is `p50_ns` ± `spread_ns`."""
    low, high = p50_ns - spread_ns, p50_ns + spread_ns
    return Latency(50, low, p50_ns, high, high, float(p50_ns), 1.5, low, high, load_ns=5_000_000, first_ns=2 * p50_ns)


def conditions(*, emulated: bool = False) -> Conditions:
    return Conditions(
        runtime="ai-edge-litert",
        runtime_version="2.3.0",
        runtime_build="glibc wheel, linux x86_64",
        delegate_asked="xnnpack",
        delegate_ran="xnnpack",
        threads=1,
        cores=(0,),
        device={"hostname": "secret-host", "arch": "x86_64"},
        before={"governor": "performance"},
        after={"governor": "performance"},
        emulated=emulated,
    )


def measurement(sha256: str, p50_ns: int, *, spread_ns: int = 10_000, accuracy: Accuracy | None = None, emulated: bool = False) -> Measurement:
    return Measurement(
        artifact_sha256=sha256,
        device="local:",
        protocol="quick",
        parity=PARITY,
        accuracy=accuracy,
        latency=latency(p50_ns, spread_ns),
        memory=Memory(peak_rss_bytes=60_000_000, model_rss_bytes=9_000_000),
        conditions=conditions(emulated=emulated),
        samples_ns=((p50_ns, p50_ns - 1, 2**40), (p50_ns + 1,)),
    )


def artifact(recipe: str, format: str, path: Path, *, size: int = 1000, download: int = 900, accuracy: Accuracy | None = None) -> Artifact:
    return Artifact("m" * 64, recipe, format, path, f"{recipe}-{format}", size, download, ("onnx2tf",), {"onnx2tf": "2.6.9"}, PARITY, accuracy, ("a note",))


def variant(
    recipe: str, format: str, p50_ns: int, download: int, *, spread_ns: int = 10_000, accuracy: Accuracy | None = None, emulated: bool = False
) -> Variant:
    """A variant that is ok and measured."""
    made = artifact(recipe, format, Path(f"/nowhere/model.{format}"), size=download, download=download)
    taken = measurement(made.sha256, p50_ns, spread_ns=spread_ns, accuracy=accuracy, emulated=emulated)
    return Variant(recipe, format, "ok", None, made, taken)


def run(run_id: str, *variants: Variant, chosen: Choice | None = None, profile: str | None = "local") -> Run:
    return Run(run_id, "2026-11-22T01:42:35Z", "/models/Tiny Net.onnx", "m" * 64, "local", "local:", False, profile, variants, chosen)


def run_with_files(folder: Path) -> Run:
    """A run of four variants whose artifacts are on disk: two TFLite and an ONNX file, and a Core ML package that was not measured."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {("fp32", "tflite"): b"float" * 200, ("w8a8", "tflite"): bytes(range(256)), ("fp32", "onnx"): b"onnx" * 300}
    variants = [on_disk(variant(recipe, format, 4_000_000 if recipe == "fp32" else 1_600_000, 0), folder, data) for (recipe, format), data in contents.items()]
    package = folder / "net.w8.mlpackage"
    (package / "Data").mkdir(parents=True)
    (package / "Manifest.json").write_text("{}", encoding="utf-8")
    (package / "Data" / "weight.bin").write_bytes(bytes(64))
    coreml = replace(
        artifact("w8", "coreml", package),
        sha256=sha256_tree(package),
        size_bytes=size_bytes(package),
        download_bytes=download_bytes(package),
    )
    variants.append(Variant("w8", "coreml", "skipped", "Core ML runs on Apple's devices only", coreml, None))
    return run("20261122-014235-k3f9", *variants, chosen=Choice("w8a8", "tflite", "w8a8 tflite: 1.60 ms p50, 2.5× faster than fp32"))


def on_disk(given: Variant, folder: Path, data: bytes) -> Variant:
    """The same variant with its artifact written to `folder`."""
    assert given.artifact is not None
    assert given.measurement is not None
    path = folder / f"net.{given.recipe}.{given.format}"
    path.write_bytes(data)
    made = replace(given.artifact, path=path, sha256=sha256_tree(path), size_bytes=len(data), download_bytes=download_bytes(path))
    return replace(given, artifact=made, measurement=replace(given.measurement, artifact_sha256=made.sha256))


def broken(recipe: str, format: str) -> Variant:
    """A variant that could not be made."""
    return Variant(recipe, format, "failed", "no route", None, None, (Violation("accuracy_drop_points_max", 1.0, 3.5, "too bad"),))
