"""Every documented form of what devices print against what edgekit reads in it; and the same forms damaged: never a wrong figure."""

from __future__ import annotations

import json
import math
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from edgekit.facts import battery, cgroup, cpu_list, df, getprop, loadavg, meminfo, power, proc_stat, thermalservice, vcgencmd
from edgekit.facts.cpufreq import capacities, frequencies_khz, governors
from edgekit.facts.number import decimal, integer
from edgekit.facts.power_supply import Charge, charges
from edgekit.facts.thermal_zones import slowing, slows_at_c, temperatures_c

DOCUMENTED = Path(__file__).parent / "device_output" / "documented"
PID = 23178
PARSERS: dict[str, Callable[[str], Any]] = {
    "battery": battery.parse,
    "cpu_list": cpu_list.parse,
    "df": df.parse,
    "get_throttled": vcgencmd.throttling,
    "getprop": getprop.parse,
    "loadavg": loadavg.parse,
    "measure_temp": vcgencmd.temperature_c,
    "meminfo": lambda text: meminfo.parse(text, PID),
    "pmic_read_adc": vcgencmd.power_w,
    "power": power.parse,
    "thermalservice": thermalservice.parse,
}
CASES = sorted(path for fact in PARSERS for path in (DOCUMENTED / fact).glob("*.json"))
SAMPLES = 10_000 if os.environ.get("EDGEKIT_SOAK") else 200


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def plain(value: Any) -> Any:
    """As JSON has it."""
    return json.loads(json.dumps(asdict(value) if is_dataclass(value) and not isinstance(value, type) else value))


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_a_device_prints_is_read_as_documented(path: Path) -> None:
    example = content(path)

    found = PARSERS[path.parent.name]("\n".join(example["output"]))

    expected = example["expected"]
    assert plain(found) == (pytest.approx(expected) if isinstance(expected, float) else expected)


def test_every_case_names_its_source_and_every_fact_has_cases() -> None:
    assert all(content(path)["source"] for path in CASES)
    assert {path.parent.name for path in CASES} == set(PARSERS)


# --- damaged forms ---------------------------------------------------------------------------------------------------------------------


def mangled(text: str, other: str, chance: random.Random) -> str:
    """One to three kinds of damage; all of them happen: cables, full buffers, terminals, two programs on one stream, other languages."""
    for _ in range(chance.randint(1, 3)):
        text = chance.choice(DAMAGES)(text, other, chance)
    return text


def cut(text: str, other: str, chance: random.Random) -> str:
    return text[: chance.randint(0, len(text))]


def cut_front(text: str, other: str, chance: random.Random) -> str:
    return text[chance.randint(0, len(text)) :]


def flip(text: str, other: str, chance: random.Random) -> str:
    data = bytearray(text.encode())
    for _ in range(chance.randint(1, 4)):
        if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data.decode(errors="replace")


def drop_line(text: str, other: str, chance: random.Random) -> str:
    lines = text.split("\n")
    del lines[chance.randrange(len(lines))]
    return "\n".join(lines)


def repeat_line(text: str, other: str, chance: random.Random) -> str:
    lines = text.split("\n")
    lines.insert(chance.randrange(len(lines) + 1), chance.choice(lines))
    return "\n".join(lines)


def swap_digits(text: str, other: str, chance: random.Random) -> str:
    places = [i for i, letter in enumerate(text) if letter.isdigit()]
    letters = list(text)
    for place in chance.sample(places, min(2, len(places))):
        letters[place] = chance.choice("0123456789")
    return "".join(letters)


def splice(text: str, other: str, chance: random.Random) -> str:
    return text[: chance.randint(0, len(text))] + other[chance.randint(0, len(other)) :]


def inject(text: str, other: str, chance: random.Random) -> str:
    place = chance.randint(0, len(text))
    return text[:place] + chance.choice(["\r", "\0", "\x1b[0m", "\u2028", "٣", "４", "é", ",", ".", "-", " ", "\n", "9" * 30, "e5", "NaN"]) + text[place:]


def foreign_digits(text: str, other: str, chance: random.Random) -> str:
    return "".join(chr(ord("٠") + int(letter)) if letter in "0123456789" and chance.random() < 0.5 else letter for letter in text)


def terminal(text: str, other: str, chance: random.Random) -> str:
    return text.replace("\n", "\r\n")


DAMAGES = [cut, cut_front, flip, drop_line, repeat_line, swap_digits, splice, inject, foreign_digits, terminal]


def literal(text: str, pattern: str, value: float, scale: float = 1) -> bool:
    """Whether a figure stands in the text, whole, where `pattern` (one group) says; read here by other means than the parser's."""
    return any(math.isclose(float(word) * scale, value, abs_tol=1e-9) for word in re.findall(pattern, text, re.M | re.ASCII) if word.strip())


NUMBER = r"(-?[0-9]+(?:\.[0-9]+)?)"
END = r"[ \t]*\r?$"


def wrong(fact: str, text: str, found: Any) -> Iterator[str]:
    """What in a result does not stand in the text, or cannot be."""
    if found is None:
        return
    if fact == "battery":
        if found.level_percent is not None and not (0 <= found.level_percent <= 100 and literal(text, rf"^\s*level: {NUMBER}\s*$", found.level_percent)):
            yield "level"
        if found.temperature_c is not None and not (
            -40 <= found.temperature_c <= 100 and literal(text, rf"^\s*temperature: {NUMBER}\s*$", found.temperature_c, 0.1)
        ):
            yield "temperature"
        if found.status and not literal(text, rf"^\s*status: {NUMBER}\s*$", {word: n for n, word in battery.STATUSES.items()}[found.status]):
            yield "status"
        if found.powered and "powered: true" not in text:
            yield "powered"
    elif fact == "thermalservice":
        if found.status is not None and not (0 <= found.status <= 6 and literal(text, rf"^Thermal Status: {NUMBER}{END}", found.status)):
            yield "status"
        for one in found.temperatures:
            whole = rf"Temperature\{{mValue={NUMBER}, mType=\d, mName={re.escape(one.name)}, mStatus={one.status}\}}"
            if not (-40 <= one.celsius <= 150 and literal(text.partition("from HAL:")[2], whole, one.celsius)):
                yield one.name
    elif fact == "power":
        if found.wakefulness and not re.search(rf"\w=|\)={found.wakefulness}", text):
            yield "wakefulness"
        if found.stay_on is not None and not (0 <= found.stay_on <= 15 and literal(text, rf"mStayOnWhilePluggedInSetting={NUMBER}\s*$", found.stay_on)):
            yield "stay_on"
    elif fact == "meminfo":
        rows = [line.split() for line in text.split("\n") if line.split()[:1] == ["TOTAL"]]
        for name, column in (("pss_bytes", 1), ("private_dirty_bytes", 2), ("swap_bytes", 4)):
            if getattr(found, name) is not None and not any(row[column] == str(getattr(found, name) // 1024) for row in rows):
                yield name
    elif fact == "get_throttled":
        bits = sum(1 << vcgencmd.THROTTLED.index(name) for name in found.now) | sum(1 << 16 + vcgencmd.THROTTLED.index(name) for name in found.since_boot)
        if f"throttled={bits:#x}" not in text:
            yield "bits"
    elif fact == "measure_temp":
        if not (-40 <= found <= 150 and literal(text, rf"temp={NUMBER}'C", found)):
            yield "temperature"
    elif fact == "pmic_read_adc":
        told = {name: float(value) for name, value in re.findall(r"(\w+_[AV]) (?:current|volt)\([0-9]+\)=([0-9.]+)[AV]", text)}
        if not math.isclose(found, sum(value * told.get(f"{name[:-1]}V", math.nan) for name, value in told.items() if name.endswith("A")), abs_tol=1e-9):
            yield "power"
    elif fact == "df":
        if not any(line.split()[3:4] and str(found // 1024) in line.split() for line in text.split("\n")):
            yield "free"
    elif fact == "loadavg":
        if not (0 <= found <= 10_000 and literal(text, rf"^\s*{NUMBER} ", found)):
            yield "load"
    elif fact == "cpu_list":
        if not all(0 <= cpu <= 4095 for cpu in found) or not all(str(end) in text for end in (found[0], found[-1])):
            yield "list"
    elif fact == "getprop":
        names = {"model": "ro.product.model", "soc": "ro.soc.model", "fingerprint": "ro.build.fingerprint", "release": "ro.build.version.release"}
        names |= {"sdk": "ro.build.version.sdk", "serial": r"ro\.(?:boot\.)?serialno"}
        for field, name in names.items():
            value = getattr(found, field)
            if value is not None and not re.search(rf"\[{name}\]: \[\s*{re.escape(str(value))}\s*\]", text):
                yield field
        if found.bits not in (None, 32, 64) or (found.bits == 64 and "64" not in text):
            yield "bits"


@pytest.mark.parametrize("fact", sorted(PARSERS))
def test_damaged_words_give_nothing_or_a_figure_that_stands_there(fact: str) -> None:
    forms = ["\n".join(content(path)["output"]) for path in CASES if path.parent.name == fact]
    others = ["\n".join(content(path)["output"]) for path in CASES]
    kept = 0
    for number in range(SAMPLES):
        chance = random.Random(f"{fact} {number}")
        text = mangled(chance.choice(forms), chance.choice(others), chance)

        found = PARSERS[fact](text)

        assert list(wrong(fact, text, found)) == [], f"sample {number}: {found} of {text!r}"
        kept += found is not None
    assert kept, "the damage is so great that nothing is ever read: it tests nothing"


def test_a_figure_that_does_not_stand_in_the_text_is_noticed() -> None:
    """The check of the damaged forms itself."""
    text = "Current Battery Service state:\n  level: 84\n"

    assert list(wrong("battery", text, battery.Battery(8, None, None, None))) == ["level"]
    assert list(wrong("measure_temp", "temp=42.8'C", 2.8)) == ["temperature"]
    assert list(wrong("df", "/dev/root 10 5 5 50% /", 1024)) == ["free"]


# --- facts that are files of their own on the device --------------------------------------------------------------------------------------


def test_numbers_are_whole_ascii_and_in_range() -> None:
    assert [integer(word, -5, 100) for word in ("84", "0", "-5", "100")] == [84, 0, -5, 100]
    assert [integer(word, 0, 100) for word in ("101", "-1", "084", "8 4", "", "٨٤", "+8", "8.0", "1e1", None)] == [None] * 10
    assert [decimal(word, -40, 150) for word in ("54.600002", "-3.5", "0")] == [54.600002, -3.5, 0.0]
    assert [decimal(word, -40, 150) for word in ("NaN", "inf", "1e2", "150.1", ".5", "5.", "1.2.3", "05.1", "5,1", None)] == [None] * 10


def test_a_processor_that_tells_nonsense_tells_nothing() -> None:
    state = {
        "cpu0/scaling_cur_freq": "1800000",
        "cpu1/scaling_cur_freq": "<unknown>",
        "cpu2/scaling_cur_freq": "0",
        "cpu10/scaling_cur_freq": "99999999",
        "cpu0/scaling_governor": "schedutil",
        "cpu1/scaling_governor": "SCHED util",
        "cpu0/cpu_capacity": "1024",
        "cpu1/cpu_capacity": "2048",
        "xcpu0/scaling_cur_freq": "1000000",
    }

    assert frequencies_khz(state) == {0: 1_800_000}
    assert governors(state) == {0: "schedutil"}
    assert capacities(state) == {0: 1024}


def test_thermal_zones_that_are_off_or_tell_no_temperature_are_left_out() -> None:
    state = {
        "thermal_zone0/cpu-thermal": "45300",
        "thermal_zone1/cpu-thermal": "44000",
        "thermal_zone2/off": "-274000",
        "thermal_zone3/overflow": "2147483647",
        "thermal_zone4/soc": "84000",
        "thermal_zone5/soc-thermal": "50000",
        "thermal_zone6/pm8350b-ibat-lvl0": "90000",
        "thermal_zone7/": "41000",
        "thermal_zone8/\x1b[2J": "42000",
        "thermal_zone9/no-figure": "",
        "battery/BAT0/capacity": "84",
    }

    assert temperatures_c(state) == {"cpu-thermal": 45.3, "cpu-thermal 1": 44.0, "soc-thermal": 50.0, "zone 7": 41.0}


def test_only_passive_trip_points_and_what_cools_by_slowing_down_count() -> None:
    state = {
        "trip_point/0/0/passive": "95000",
        "trip_point/0/1/passive": "85000",
        "trip_point/1/0/passive": "0",
        "cooling_device0/thermal-cpufreq-0": "3 of 12",
        "cooling_device1/pwm-fan": "4 of 4",
        "cooling_device2/Processor": "0 of 10",
        "cooling_device3/cpufreq-cpu1": "13 of 12",
        "cooling_device4/cpufreq-cpu2": "-1 of 12",
        "cooling_device5/cpufreq-\x1b[2J": "1 of 2",
        "cooling_device6/cpufreq-cpu3": "on",
        "cooling_device7/Processor": "3 of many",
        "trip_point/2/0/passive": "hot",
        "swap_free_kb": "50000",
        "pages": "1 of 2",
    }

    assert slows_at_c(state) == {"0": 85.0}
    assert slowing(state) == {"cooling_device0/thermal-cpufreq-0": 3, "cooling_device2/Processor": 0}


def test_batteries_tell_their_charge_or_nothing() -> None:
    state = {"battery/BAT0/capacity": "84", "battery/BAT0/status": "Discharging", "battery/BAT1/capacity": "250", "battery/BAT1/status": "Entlädt"}

    assert charges(state) == {"BAT0": Charge(84, "Discharging", False), "BAT1": Charge(None, None, None)}


def test_how_busy_the_processors_were_is_read_from_two_answers() -> None:
    before, after = "cpu  100 0 100 700 100 0 0 0 0 0", "cpu  130 0 110 740 120 0 0 0 0 0"

    assert proc_stat.busy(before, after) == pytest.approx(0.4)
    assert proc_stat.busy(after, before) is None
    assert proc_stat.busy(before, before) is None
    assert proc_stat.busy("cpu  1 2 3", after) is None


def test_what_a_control_group_allows_is_the_tighter_of_its_limits() -> None:
    assert cgroup.processors({"cgroup/cpu.max": "150000 100000"}) == 1.5
    assert [cgroup.processors({"cgroup/cpu.max": words}) for words in ("max 100000", "150000", "150000 0", "1e5 100000", "")] == [None] * 5
    assert cgroup.memory_bytes({"cgroup/memory.max": "2147483648", "cgroup/memory.high": "1073741824"}) == 1 << 30
    assert cgroup.memory_bytes({"cgroup/memory.max": "max"}) is None


@pytest.mark.parametrize("fact", sorted(PARSERS))
def test_a_device_that_prints_endless_lines_keeps_nobody_busy(fact: str) -> None:
    forms = ["\n".join(content(path)["output"]) for path in CASES if path.parent.name == fact and content(path)["expected"] is not None]
    started = time.monotonic()

    for filler in (" ", "1 ", "a:", "[ro.x]: [", "Temperature{mValue=1"):
        PARSERS[fact](forms[0] + filler * 20_000)
        PARSERS[fact](forms[0].replace("\n", f"\n/dev/root{filler * 20_000}\n", 1))

    assert time.monotonic() - started < 5
