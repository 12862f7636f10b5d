"""What a device told of itself in, the draft of a profile for its kind out: TOML that `edgekit.profile.read` takes, and that it matches.

Facts are the device's own words, each with where they were read. Limits are edgekit's defaults, worded as in the profiles that ship;
who drafts a profile looks them over.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from edgekit.errors import InputError
from edgekit.profile import Platform, Profile, find, platform_told

RESPONSE = "edgekit default: 0.1 s, up to which a reaction feels instantaneous (J. Nielsen, Usability Engineering, 1993, section 5.5)"
FLOW = "edgekit default: 1 s, the limit for a person's flow of thought (J. Nielsen, Usability Engineering, 1993, section 5.5)"
DOWNLOAD = "edgekit default: half of the 200 MB that Google Play lets an app's base module download (Play Console Help, answer 9859372)"
PHONE_MEMORY = "edgekit default: a sixteenth of the phone's memory, which the app shares with others that Android would have to end"
BOARD_MEMORY = "edgekit default: a quarter of the board's memory, the rest is for the system and the program around the model"
ACCURACY = "edgekit default: compression should cost no more than one percentage point"

SOURCES: dict[Platform, dict[str, tuple[str, str]]] = {
    "linux": {"cpu": ("processor", "/proc/cpuinfo"), "os": ("os", "/etc/os-release")},
    "android": {
        "soc": ("android_soc", "getprop ro.soc.model"),
        "cpu": ("processor", "/proc/cpuinfo"),
        "os": ("android_release", "getprop ro.build.version.release"),
    },
    "macos": {"soc": ("processor", "sysctl machdep.cpu.brand_string"), "os": ("os", "sw_vers")},
}
"""Platform → fact → the identity's key, and where the device read it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A profile that was drafted."""

    profile: Profile
    toml: str


def draft(identity: Mapping[str, str], *, name: str | None = None, on: date) -> Draft:
    """A profile for the kind of device that tells `identity`.

    Args:
        identity: as `Told.identity`.
        name: the profile's; None makes one of the model that no profile has yet.
        on: the day on which the device told it.

    Raises:
        InputError: the name is not one for a profile, or the device tells too little to be known by it.
    """
    told = {key: clean(value) for key, value in identity.items() if clean(value)}
    platform = platform_told(told)
    chosen = name or free(slug(kind(told, platform)))
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", chosen):
        raise InputError(f"'{chosen}' is no name for a profile: name the file with small letters, digits, - and _, as in -o device_profiles/my-board.toml")
    rules = dict(match_rules(told, platform))
    if not rules:
        raise InputError("the device tells neither its model nor its processor, so a profile could not be matched with it: write one by hand")
    text = "\n".join(lines(chosen, told, platform, rules, on)) + "\n"
    profile = Profile.model_validate(tomllib.loads(text))
    if not profile.match.holds(identity):
        raise InputError("what the device tells of its kind has characters that cannot be printed, so no rule can match it: write a profile by hand")
    return Draft(profile, text)


def lines(name: str, told: Mapping[str, str], platform: Platform, rules: Mapping[str, str | int], on: date) -> Iterator[str]:
    """The profile's TOML."""
    emulated = "an emulated device" if told.get("emulation") else "one device"
    formats = {"linux": ["tflite", "onnx"], "android": ["tflite", "onnx"], "macos": ["coreml", "tflite", "onnx"]}[platform]
    if told.get("bits") == "32":
        formats = ["tflite"]  # there are no packages of ONNX Runtime for 32-bit processors
    yield f"name = {quoted(name)}"
    yield f"title = {quoted(kind(told, platform))}"
    yield f"platform = {quoted(platform)}"
    yield f"formats = {json.dumps(formats)}"
    yield f"untested = {quoted(f'drafted from {emulated} on {on}: look over facts and limits, then take this line out')}"
    yield "\n[facts]"
    for fact, value, source in facts(told, platform):
        yield f"{fact} = {{ value = {quoted(value)}, source = {quoted(f'told by the device on {on}: {source}')} }}"
    yield "\n[match]"
    for rule, wanted in rules.items():
        yield f"{rule} = {quoted(wanted)}"
    yield "\n[limits]"
    for limit, most, source in limits(told, platform):
        yield f"{limit} = {{ value = {quoted(most)}, source = {quoted(source)} }}"


def facts(told: Mapping[str, str], platform: Platform) -> Iterator[tuple[str, str | int, str]]:
    """Fact, value and source, of those that the device told."""
    named = SOURCES[platform]
    for fact in ("soc", "cpu"):
        key, source = named.get(fact, ("", ""))
        if told.get(key):
            yield fact, told[key], source
    if told.get("cores", "").isdecimal():
        yield "cores", int(told["cores"]), "sysctl hw.ncpu" if platform == "macos" else "/sys/devices/system/cpu"
    if memory(told):
        source = "sysctl hw.memsize" if platform == "macos" else "MemTotal of /proc/meminfo, which is less than is built in"
        yield "ram_bytes", memory(told), source
    if told.get("machine"):
        yield "arch", told["machine"], "uname -m"
    key, source = named["os"]
    if told.get(key):
        yield "os", f"Android {told[key]}" if platform == "android" else told[key], source


def match_rules(told: Mapping[str, str], platform: Platform) -> Iterator[tuple[str, str | int]]:
    """The rules that hold for this device and others of its kind."""
    if platform == "android":
        yield from ((key, told[key]) for key in ("android_model", "android_soc") if told.get(key))
        return
    if platform == "macos" and told.get("model"):
        yield "model", told["model"]
    elif told.get("model"):
        yield "model_prefix", board(told)
    elif told.get("product"):
        yield "product", told["product"]
    if told.get("machine"):
        yield "arch", told["machine"]
    if told.get("bits") in ("32", "64"):
        yield "bits", int(told["bits"])
    if platform == "linux" and told.get("model") and memory(told):  # boards of one model are sold with several sizes of memory
        yield "ram_bytes_min", rounded_down(built_in(memory(told)) * 7 // 10)
        yield "ram_bytes_max", built_in(memory(told))


def limits(told: Mapping[str, str], platform: Platform) -> Iterator[tuple[str, int | float, str]]:
    """edgekit's defaults for a phone, a board, or a computer."""
    if platform == "android":
        yield "download_bytes_max", 100_000_000, DOWNLOAD
        if memory(told):
            yield "peak_rss_bytes_max", share(memory(told), 16), PHONE_MEMORY
        yield "latency_p50_ns_max", 100_000_000, RESPONSE
    elif platform == "linux" and told.get("model"):
        if memory(told):
            yield "peak_rss_bytes_max", share(memory(told), 4), BOARD_MEMORY
        yield "latency_p50_ns_max", 1_000_000_000, FLOW
    yield "accuracy_drop_points_max", 1.0, ACCURACY


def kind(told: Mapping[str, str], platform: Platform) -> str:
    """What to call it: `Pixel 7`, `Raspberry Pi 5 Model B, 8 GB`, `LENOVO 20XW`, `Linux riscv64`."""
    if platform == "android":
        return told.get("android_model") or "Android device"
    if platform == "linux" and told.get("model"):
        size = built_in(memory(told)) if memory(told) else 0
        return board(told) + (f", {size >> 30} GB" if size >= 1 << 30 else f", {size >> 20} MB" if size else "")
    system = "Mac" if platform == "macos" else "Linux"
    return told.get("model") or told.get("product") or f"{system} {told.get('machine', '')}".strip()


def board(told: Mapping[str, str]) -> str:
    """The device tree's model without the revision of the board."""
    return re.sub(r" Rev [\d.]+$", "", told["model"])


def memory(told: Mapping[str, str]) -> int:
    """The kernel's MemTotal in bytes; 0 where it is not told."""
    word = told.get("memory_kb", "")
    return int(word) * 1024 if word.isdecimal() and len(word) < 16 else 0


def built_in(usable: int) -> int:
    """The least size of memory that is sold (2^n or 3 x 2^n bytes) and holds what the kernel sees; it keeps some for itself."""
    power = 1 << max(usable - 1, 1).bit_length()
    return power // 4 * 3 if usable <= power // 4 * 3 else power


def share(usable: int, parts: int) -> int:
    """A part of the memory as it is sold: of 24 GB (2^30 bytes each) a sixteenth is 1_500_000_000."""
    return built_in(usable) * 10**9 // 2**30 // parts


def rounded_down(size: int) -> int:
    """To one digit: 536_870_912 → 500_000_000."""
    digits = str(size)
    return int(digits[0] + "0" * (len(digits) - 1))


def slug(text: str) -> str:
    """`Raspberry Pi 5 Model B, 8 GB` → `raspberry-pi-5-model-b-8gb`."""
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"(\d) ([gm]b)\b", r"\1\2", text.lower())).strip("-")[:60] or "device"


def free(name: str) -> str:
    """`pixel-7`, or `pixel-7-own` where a profile is called so: one in ./device_profiles would hide the one that ships."""
    own = f"{name}-own"
    names = itertools.chain((name, own), (f"{own}-{number}" for number in itertools.count(2)))
    return next(other for other in names if find(other) is None)


def clean(value: str) -> str:
    """A device's word without what cannot be printed."""
    return "".join(character for character in value if character.isprintable()).strip()


def quoted(value: str | int | float) -> str:
    """A TOML value: numbers in groups of three; a JSON string of printable characters is a TOML string too."""
    return f"{value:_}" if not isinstance(value, str) else json.dumps(value, ensure_ascii=False)
