"""Profiles: the shipped ones are whole, the user's come first, and a wrong one is named with its fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.errors import InputError
from edgekit.profile import Match, find, load, profiles

SHIPPED = {"iphone-15", "linux-x86_64", "local", "macos-arm64", "pixel-7", "raspberry-pi-4-4gb", "raspberry-pi-5-8gb"}
SHIPPED |= {"raspberry-pi-zero-2-w", "raspberry-pi-zero-2-w-32bit"}

OWN = """
name = "{name}"
title = "Mine"
platform = "linux"
formats = ["tflite"]
"""


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def own_profile(name: str, text: str) -> None:
    folder = Path("device_profiles")
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.toml").write_text(text, encoding="utf-8")


def test_the_shipped_profiles_are_valid_and_found_from_an_empty_folder() -> None:
    assert {profile.name for profile in profiles()} == SHIPPED


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_every_fact_and_limit_gives_a_source_that_says_something(name: str) -> None:
    profile = load(name)
    for given in [*profile.facts.model_dump(exclude_none=True).values(), *profile.limits.model_dump(exclude_none=True).values()]:
        assert len(given["source"].split()) >= 4, given


def test_names_of_profiles_and_aliases_are_unambiguous() -> None:
    spelled = [name for profile in profiles() for name in (profile.name, *profile.aliases)]
    assert [load(name).name for name in spelled] == [profile.name for profile in profiles() for _ in (profile.name, *profile.aliases)]


@pytest.mark.parametrize("spelling", ["pixel-7", "pixel7", "Pixel 7", "PIXEL_7", "Google Pixel 7"])
def test_spelling_does_not_matter(spelling: str) -> None:
    assert load(spelling).name == "pixel-7"


def test_an_unknown_profile_gets_the_nearest_name() -> None:
    assert find("pixel-8") is None
    with pytest.raises(InputError, match=r"unknown profile 'pixel-8': did you mean 'pixel-7'\?"):
        load("pixel-8")


def test_an_own_profile_hides_the_shipped_one() -> None:
    own_profile("pixel-7", OWN.format(name="pixel-7"))
    assert load("pixel7").title == "Mine"
    assert {profile.name for profile in profiles()} == SHIPPED


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name = ", "is not TOML"),
        (OWN.format(name="mine") + "colour = 'red'", "colour: Extra inputs are not permitted"),
        (OWN.format(name="mine") + "[limits]\ndownload_bytes_max = { value = 5 }", "limits.download_bytes_max.source: Field required"),
        (OWN.format(name="mine") + "[facts]\ncores = { value = '4', source = 'x' }", "facts.cores.value: Input should be a valid integer"),
        (OWN.format(name="other"), "calls itself 'other'"),
    ],
)
def test_a_wrong_profile_is_named_with_its_fault(text: str, fault: str) -> None:
    own_profile("mine", text)
    with pytest.raises(InputError) as caught:
        profiles()
    assert "mine.toml" in str(caught.value)
    assert fault in str(caught.value)


def test_a_match_holds_only_if_every_rule_does() -> None:
    match = Match(model_prefix="Raspberry Pi 5", arch="aarch64", ram_bytes_min=6_000_000_000, ram_bytes_max=9_000_000_000)
    board = {"model": "Raspberry Pi 5 Model B Rev 1.0", "machine": "aarch64", "memory_kb": "8245632", "hostname": "bench"}
    assert match.holds(board)
    for change in (
        {"model": "Raspberry Pi 4 Model B Rev 1.4"},
        {"machine": "armv7l"},
        {"memory_kb": "4000000"},
        {"memory_kb": "16000000"},
        {"memory_kb": "much"},
    ):
        assert not match.holds(board | change), change
    assert not match.holds({key: value for key, value in board.items() if key != "memory_kb"})


def test_a_profile_without_rules_matches_nothing() -> None:
    assert not Match().holds({"machine": "x86_64"})


def test_android_rules_are_exact() -> None:
    match = Match(android_model="Pixel 7", android_soc="GS201")
    assert match.holds({"android_model": "Pixel 7", "android_soc": "GS201"})
    assert not match.holds({"android_model": "Pixel 7 Pro", "android_soc": "GS201"})


def test_the_kernels_kind_and_the_programs_width_are_two_rules() -> None:
    match = Match(model_prefix="Raspberry Pi 4", bits=32)
    board = {"model": "Raspberry Pi 4 Model B Rev 1.1", "bits": "32"}
    assert match.holds(board | {"machine": "armv7l"})
    assert match.holds(board | {"machine": "aarch64"})
    assert not match.holds(board | {"bits": "64"})


def test_a_whole_model_and_a_product_are_exact() -> None:
    assert Match(model="Mac14,2").holds({"model": "Mac14,2"})
    assert not Match(model="Mac14,2").holds({"model": "Mac14,20"})
    assert Match(product="LENOVO 20XW").holds({"product": "LENOVO 20XW"})
    assert not Match(product="LENOVO 20XW").holds({"product": "LENOVO"})
