"""Packages: what is in them, that the same run gives the same bytes, and that not one bit may change unnoticed."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edgekit.errors import InputError, ReleaseError
from edgekit.files import sha256_file, sha256_tree, walk
from edgekit.records import Run, Variant, Violation
from edgekit.release.archive import stored_zip
from edgekit.release.choice import Platform
from edgekit.release.layout import type_name
from edgekit.release.package import package
from edgekit.release.verify import verify
from edgekit.store import open_store
from tests.lab.cli import edgekit
from tests.lab.runs import broken, run_with_files

PLATFORMS: tuple[Platform, ...] = ("generic", "android", "ios")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return run_with_files(tmp_path / "artifacts")


def changed(run: Run, recipe: str, format: str, change: Callable[[Variant], Variant]) -> Run:
    return replace(run, variants=tuple(change(one) if (one.recipe, one.format) == (recipe, format) else one for one in run.variants))


def names_in(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in walk(folder)}


def refusal(path: Path) -> str:
    with pytest.raises(ReleaseError) as caught:
        verify(path)
    assert caught.value.exit_code == 6
    return str(caught.value)


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def test_a_generic_package_holds_the_choice_its_lineage_and_the_manifest(run: Run, tmp_path: Path) -> None:
    made = package(run, "generic", tmp_path / "out")
    assert made == tmp_path / "out"
    assert names_in(made) == {"Tiny-Net.w8a8.tflite", "Tiny-Net.w8a8.tflite.json", "manifest.json", "manifest.sha256"}
    assert (made / "Tiny-Net.w8a8.tflite").read_bytes() == bytes(range(256))
    lineage = json.loads((made / "Tiny-Net.w8a8.tflite.json").read_text(encoding="utf-8"))
    assert lineage["artifact"]["route"] == ["onnx2tf"]
    assert lineage["artifact"]["tools"] == {"onnx2tf": "2.6.9"}
    assert lineage["model"] == {"name": "Tiny Net.onnx", "sha256": "m" * 64}


def test_a_recipe_file_with_the_models_name_in_it_does_not_double_that(run: Run, tmp_path: Path) -> None:
    first = run.variants[0]
    assert first.artifact is not None
    name = "Tiny Net.auto-size=0.25"
    made = package(
        replace(run, variants=(replace(first, recipe=name, artifact=replace(first.artifact, recipe=name)),), chosen=None), "generic", tmp_path / "out", name
    )
    assert names_in(made) == {"Tiny-Net.auto-size-0.25.tflite", "Tiny-Net.auto-size-0.25.tflite.json", "manifest.json", "manifest.sha256"}


def test_the_manifest_carries_what_justifies_the_choice(run: Run, tmp_path: Path) -> None:
    manifest = verify(package(run, "generic", tmp_path / "out"))
    assert run.chosen is not None
    assert (manifest.run, manifest.reason, manifest.measured) == (run.id, run.chosen.reason, True)
    assert (manifest.variant.recipe, manifest.variant.format, manifest.variant.path) == ("w8a8", "tflite", "Tiny-Net.w8a8.tflite")
    assert manifest.variant.sha256 == sha256_file(tmp_path / "out" / "Tiny-Net.w8a8.tflite")
    assert manifest.measurement is not None
    assert manifest.measurement["latency"]["p50_ns"] == 1_600_000
    assert manifest.measurement["memory"]["peak_rss_bytes"] == 60_000_000
    assert manifest.conditions is not None
    assert manifest.conditions["runtime"] == "ai-edge-litert"
    assert [file.path for file in manifest.files] == ["Tiny-Net.w8a8.tflite", "Tiny-Net.w8a8.tflite.json"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_no_address_host_or_path_of_the_makers_gets_into_a_package(run: Run, tmp_path: Path, platform: Platform) -> None:
    run = replace(run, device_name="ssh:me@secret-bench", device_address="ssh:me@secret-bench")
    made = package(run, platform, tmp_path / "out", "w8a8.tflite")
    content = b"".join(file.read_bytes() for file in walk(made))
    for secret in ("secret-bench", "secret-host", str(tmp_path)):
        assert secret.encode() not in content, secret


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_same_run_gives_the_same_bytes(run: Run, tmp_path: Path, platform: Platform) -> None:
    one, other = package(run, platform, tmp_path / "one"), package(run, platform, tmp_path / "other")
    assert sha256_tree(one) == sha256_tree(other)


def test_an_aar_has_what_an_aar_must_have(run: Run, tmp_path: Path) -> None:
    made = package(run, "android", tmp_path / "out")
    assert made == tmp_path / "out" / "Tiny-Net.aar"
    with zipfile.ZipFile(made) as archive:
        names = archive.namelist()
        assert names == sorted(names)
        assert {"AndroidManifest.xml", "R.txt", "classes.jar", "assets/edgekit/Tiny-Net.w8a8.tflite", "assets/edgekit/manifest.json"} < set(names)
        assert archive.testzip() is None
        assert {(entry.compress_type, entry.date_time) for entry in archive.infolist()} == {(zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))}
        manifest = ElementTree.fromstring(archive.read("AndroidManifest.xml"))
        with zipfile.ZipFile(io.BytesIO(archive.read("classes.jar"))) as jar:
            assert jar.namelist() == ["META-INF/MANIFEST.MF"]
    assert (manifest.tag, manifest.attrib) == ("manifest", {"package": "edgekit.models.m_tiny_net"})
    assert verify(made).platform == verify(made.parent).platform == "android"


def test_an_aar_may_be_named(run: Run, tmp_path: Path) -> None:
    assert package(run, "android", tmp_path / "mine.aar") == tmp_path / "mine.aar"
    assert verify(tmp_path / "mine.aar").run == run.id


def test_a_swift_package_prefers_core_ml_and_says_that_it_was_not_measured(run: Run, tmp_path: Path) -> None:
    made = package(run, "ios", tmp_path / "out")
    resources = "Sources/TinyNetModel/Resources"
    assert names_in(made) == {
        "Package.swift",
        "Sources/TinyNetModel/TinyNetModel.swift",
        *(f"{resources}/{name}" for name in ("manifest.json", "manifest.sha256", "Tiny-Net.w8.mlpackage.json")),
        *(f"{resources}/Tiny-Net.w8.mlpackage/{name}" for name in ("Manifest.json", "Data/weight.bin")),
    }
    swift = (made / "Package.swift").read_text(encoding="utf-8")
    assert swift.startswith("// swift-tools-version: 5.9\n")
    assert '.copy("Resources/Tiny-Net.w8.mlpackage"),' in swift
    assert '.iOS("15.0")' in swift
    assert 'url("Tiny-Net.w8.mlpackage")' in (made / "Sources/TinyNetModel/TinyNetModel.swift").read_text(encoding="utf-8")
    manifest = verify(made)
    assert (manifest.measured, manifest.measurement) == (False, None)
    assert manifest.reason == "the smallest Core ML file of the run; this file itself was not measured on a device"


def test_a_swift_package_asks_for_the_system_that_loads_its_model(run: Run, tmp_path: Path) -> None:
    coreml = next(one.artifact for one in run.variants if one.format == "coreml")
    assert coreml is not None
    model = coreml.path / "Data" / "com.apple.CoreML" / "model.mlmodel"
    model.parent.mkdir()
    model.write_bytes(bytes([8, 9, 18]))
    newer = replace(coreml, sha256=sha256_tree(coreml.path))
    made = package(changed(run, "w8", "coreml", lambda one: replace(one, artifact=newer)), "ios", tmp_path / "out")
    assert '.iOS("18.0"), .macOS("15.0")' in (made / "Package.swift").read_text(encoding="utf-8")


def test_core_ml_of_the_chosen_recipe_comes_before_a_smaller_one(run: Run, tmp_path: Path) -> None:
    coreml = next(one for one in run.variants if one.format == "coreml")
    assert coreml.artifact is not None
    same = replace(coreml, recipe="w8a8", artifact=replace(coreml.artifact, recipe="w8a8", download_bytes=10**6))
    manifest = verify(package(replace(run, variants=(*run.variants, same)), "ios", tmp_path / "out"))
    assert manifest.variant.recipe == "w8a8"
    assert manifest.reason.startswith("Core ML of the chosen recipe (w8a8 tflite: 1.60 ms p50")


def test_a_core_ml_file_that_breaks_a_limit_comes_last(run: Run, tmp_path: Path) -> None:
    run = changed(run, "w8", "coreml", lambda one: replace(one, violations=(Violation("accuracy_drop_points_max", 1.0, 9.0, "too lossy"),)))
    coreml = next(one for one in run.variants if one.format == "coreml")
    assert coreml.artifact is not None
    larger = replace(coreml, recipe="fp16", violations=(), artifact=replace(coreml.artifact, recipe="fp16", download_bytes=10**6))
    assert verify(package(replace(run, variants=(*run.variants, larger)), "ios", tmp_path / "out")).variant.recipe == "fp16"


def test_without_core_ml_a_swift_package_holds_the_choice(run: Run, tmp_path: Path) -> None:
    run = replace(run, variants=tuple(one for one in run.variants if one.format != "coreml"))
    manifest = verify(package(run, "ios", tmp_path / "out"))
    assert (manifest.variant.format, manifest.measured) == ("tflite", True)


def test_a_run_with_nothing_but_core_ml_can_be_packed_for_ios(run: Run, tmp_path: Path) -> None:
    run = replace(run, chosen=None)
    assert verify(package(run, "ios", tmp_path / "out")).variant.format == "coreml"
    with pytest.raises(ReleaseError, match="chose no variant: name the one to pack with --variant"):
        package(run, "generic", tmp_path / "other")


def test_a_variant_may_be_named(run: Run, tmp_path: Path) -> None:
    assert verify(package(run, "generic", tmp_path / "a", "fp32.onnx")).variant.format == "onnx"
    assert verify(package(run, "ios", tmp_path / "b", "fp32.tflite")).variant.format == "tflite"
    with pytest.raises(InputError, match=r"in several formats: name one of fp32\.tflite, fp32\.onnx"):
        package(run, "generic", tmp_path / "c", "fp32")
    with pytest.raises(InputError, match=r"did you mean 'w8a8\.tflite'"):
        package(run, "generic", tmp_path / "d", "w8a.tflite")


def test_what_failed_or_cannot_run_there_is_refused(run: Run, tmp_path: Path) -> None:
    run = replace(run, variants=(*run.variants, broken("w8", "onnx")))
    with pytest.raises(ReleaseError, match="w8 onnx cannot be packed: no route"):
        package(run, "generic", tmp_path / "a", "w8.onnx")
    with pytest.raises(ReleaseError, match="w8 coreml does not run on Android"):
        package(run, "android", tmp_path / "b", "w8.coreml")
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def test_broken_limits_are_told_in_the_manifest(run: Run, tmp_path: Path) -> None:
    run = changed(run, "w8a8", "tflite", lambda one: replace(one, violations=(Violation("latency_p50_ns_max", 1.0, 2.0, "p50 is too high"),)))
    assert verify(package(run, "generic", tmp_path / "out")).violations == ("p50 is too high",)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_an_artifact_that_changed_or_went_is_refused_and_leaves_nothing(run: Run, tmp_path: Path, platform: Platform) -> None:
    artifact = run.variants[1].artifact
    assert artifact is not None
    flip(artifact.path, 7)
    with pytest.raises(ReleaseError, match=rf"is not the file that run {run.id} measured"):
        package(run, platform, tmp_path / "out", "w8a8.tflite")
    artifact.path.unlink()
    with pytest.raises(ReleaseError, match=rf"is gone, which run {run.id} measured"):
        package(run, platform, tmp_path / "out", "w8a8.tflite")
    assert not list((tmp_path / "out").rglob("*"))
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("platform", PLATFORMS)
def test_an_own_package_is_replaced(run: Run, tmp_path: Path, platform: Platform) -> None:
    package(run, platform, tmp_path / "out", "w8a8.tflite")
    package(run, platform, tmp_path / "out", "fp32.tflite")
    assert verify(tmp_path / "out").variant.recipe == "fp32"


def test_anything_else_in_the_way_is_left_alone(run: Run, tmp_path: Path) -> None:
    made = package(run, "generic", tmp_path / "out")
    (made / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ReleaseError, match="is there already and is not an intact package"):
        package(run, "generic", made)
    assert (made / "notes.txt").exists()
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ReleaseError):
            package(run, "generic", place)
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    with pytest.raises(ReleaseError, match="symbolic link"):
        package(run, "generic", tmp_path / "link")


@pytest.mark.parametrize("platform", ["generic", "ios"])
def test_a_flipped_bit_in_any_file_of_a_folder_is_found_and_named(run: Run, tmp_path: Path, platform: Platform) -> None:
    made = package(run, platform, tmp_path / "out")
    for file in walk(made):
        kept = file.read_bytes()
        for offset in (0, len(kept) // 2, len(kept) - 1):
            flip(file, offset)
            text = refusal(made)
            assert file.name in text
            file.write_bytes(kept)
    verify(made)


def test_a_flipped_bit_anywhere_in_an_aar_is_found(run: Run, tmp_path: Path) -> None:
    made = package(run, "android", tmp_path / "out.aar")
    kept = made.read_bytes()
    # Every byte of the directory at the end, and every 29th before it.
    directory = kept.index(b"PK\x01\x02" + b"\x14\x03")
    for offset in [*range(0, directory, 29), *range(directory, len(kept), 3)]:
        flip(made, offset)
        assert "out.aar" in refusal(made), offset
        made.write_bytes(kept)
    verify(made)


def test_a_flipped_bit_in_the_model_of_an_aar_names_the_model(run: Run, tmp_path: Path) -> None:
    made = package(run, "android", tmp_path / "out.aar")
    flip(made, made.read_bytes().index(bytes(range(256))) + 5)
    assert "out.aar/assets/edgekit/Tiny-Net.w8a8.tflite" in refusal(made)


def test_a_missing_an_added_and_a_linked_file_are_found(run: Run, tmp_path: Path) -> None:
    made = package(run, "generic", tmp_path / "out")
    model = made / "Tiny-Net.w8a8.tflite"
    (made / "more").write_bytes(b"")
    assert "out/more is not in manifest.json" in refusal(made)
    (made / "more").unlink()
    shutil.move(model, tmp_path / "model")
    assert "Tiny-Net.w8a8.tflite is missing" in refusal(made)
    model.symlink_to(tmp_path / "model")
    assert "is not a regular file" in refusal(made)
    model.unlink()
    shutil.move(tmp_path / "model", model)
    (made / "manifest.sha256").unlink()
    assert "manifest.sha256 is missing" in refusal(made)


def test_what_is_no_package_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.aar").write_text("no archive", encoding="utf-8")
    assert "holds no manifests: it is not a package of edgekit's" in refusal(tmp_path / "folder")
    assert "File is not a zip file" in refusal(tmp_path / "text.aar")
    assert "is neither a folder nor a file" in refusal(tmp_path / "absent")


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "a/../../escaped", "a//b", "a\\b", "./a"])
def test_an_archive_never_writes_outside(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "evil.aar"
    archive.write_bytes(b"".join(stored_zip({name: b"evil"})))
    assert "has a path that no package of edgekit's has" in refusal(archive)
    assert not list(tmp_path.rglob("escaped"))


def test_an_archive_that_names_an_entry_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "twice.aar", "w") as archive:
        archive.writestr("manifest.json", b"one")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("manifest.json", b"two")
    assert "twice.aar/manifest.json cannot be read" in refusal(tmp_path / "twice.aar")


def test_a_compressed_entry_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.aar", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", bytes(10**6))
    assert "claims to hold more than it does" in refusal(tmp_path / "bomb.aar")
    with zipfile.ZipFile(tmp_path / "packed.aar", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b"{}")
    assert "manifest.json is compressed, which edgekit never does" in refusal(tmp_path / "packed.aar")


def test_an_archive_repacked_by_another_tool_is_found(run: Run, tmp_path: Path) -> None:
    made = package(run, "android", tmp_path / "out.aar")
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(tmp_path / "new.aar", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert "holds the right files, but not as edgekit packs them" in refusal(tmp_path / "new.aar")


@pytest.mark.parametrize(("model", "name"), [("tiny-net", "TinyNetModel"), ("nmp", "NmpModel"), ("3d", "Edgekit3dModel"), ("μ", "EdgekitModel")])
def test_swift_types_have_names_that_swift_takes(model: str, name: str) -> None:
    assert type_name(model) == name


def keep(given: Run, *, whole: bool = True) -> None:
    with open_store() as store:
        store.begin(given)
        store.finish(given, whole=whole)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_run_that_is_not_finished_is_told_to_be_so(run: Run, tmp_path: Path, platform: Platform) -> None:
    keep(replace(run, chosen=None), whole=False)
    asked = ("package", "last", "--platform", platform, "-o", tmp_path / "out")
    assert edgekit(*asked).error.startswith(f"run {run.id} is not finished: still going, or cut off; if it was cut off, repeat the command, ")
    assert not (tmp_path / "out").exists()
    assert edgekit(*asked, "--variant", "fp32.tflite").code == 0


def test_what_breaks_the_limits_is_packed_with_a_warning(run: Run, tmp_path: Path) -> None:
    lossy = Violation("accuracy_drop_points_max", 1.0, 5.6, "loss of accuracy is 5.6 points, allowed is 1.0 points")
    keep(changed(run, "fp32", "tflite", lambda one: replace(one, violations=(lossy,))))
    asked = ("package", run.id, "--platform", "generic", "-o", tmp_path / "out")
    named = edgekit(*asked, "--variant", "fp32.tflite", "--json")
    assert named.code == 0
    assert named.json["path"] == str(tmp_path / "out")
    assert named.stderr == "tflite fp32 is too much for local: loss of accuracy is 5.6 points, allowed is 1.0 points\n"
    assert edgekit(*asked).stderr == ""
