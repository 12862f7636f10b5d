"""What devices tell of themselves: asked in real shells, and read in the words of many kinds of devices."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekit.ask import ask, ask_state
from edgekit.conditions import NotToldError, Told, core_kinds, pick_cores, read_state, read_told, throttled_between, unfit
from edgekit.conditions.cores import spans
from edgekit.conditions.recorded import anonymous, reading
from edgekit.conditions.words import in_words, per_cpu
from edgekit.errors import AgentError, InputError
from edgekit.facts.thermalservice import STATUSES
from edgekit.places import shipped
from edgekit.runtime import Platform, platform
from edgekit.transport import connect
from tests.conftest import missing
from tests.lab.shells import programs
from tests.test_facts import SAMPLES, mangled

FOLDER = Path(__file__).parent / "device_output"
DEVICES = sorted(FOLDER.glob("*/device/*.json"))


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def answer(name: str) -> str:
    return "\n".join(content(FOLDER / "documented" / "device" / f"{name}.json")["output"])


def output(fact: str, name: str) -> str:
    return "\n".join(content(FOLDER / "documented" / fact / f"{name}.json")["output"])


def told(name: str) -> Told:
    return read_told(answer(name))


def script(name: str) -> bytes:
    return b"".join((shipped("targets") / folder / "conditions.sh").read_bytes() for folder in ("common", name))


def ran(shell: list[str], name: str = "linux", part: str = "all", python: str = sys.executable, **environment: str) -> str:
    """What a platform's script prints in a shell here."""
    argv = [*shell, "-s", "--", python, part]
    return subprocess.run(argv, input=script(name), env={**os.environ, **environment}, capture_output=True, check=True).stdout.decode()


def command(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


# --- reading ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DEVICES, ids=lambda path: path.stem)
def test_what_a_device_tells_is_read_as_documented(path: Path) -> None:
    example = content(path)

    assert reading("\n".join(example["output"])) == example["expected"]


def test_an_answer_that_was_cut_short_is_no_answer() -> None:
    whole = answer("raspberry-pi-5-quiet")

    for length in range(0, len(whole) - 1, 37):
        with pytest.raises(NotToldError):
            read_told(whole[:length])
        with pytest.raises(NotToldError):
            read_state(whole[:length])


def test_what_stands_around_an_answer_does_not_count() -> None:
    whole = answer("raspberry-pi-4-under-voltage-since-boot")

    noisy = "Welcome to bench-pi!\n" + whole.replace("\n", "\r\n") + "machine\tx86_64\nlogout\n"

    assert read_told(noisy) == read_told(whole)


def test_what_is_told_twice_counts_once() -> None:
    assert read_state("loadavg\t0.10 0.10 0.10\nloadavg\t9.90 9.90 9.90\nend\tok\n") == {"loadavg": "0.10 0.10 0.10"}


def test_a_line_of_somebody_else_in_between_does_not_break_a_frame() -> None:
    assert read_state("dumpsys battery\ta\nwarning: something\n\tb\nend\tok\n") == {"dumpsys battery": "a\nb"}


def test_a_phone_that_tells_half_of_its_power_is_believed_that_half() -> None:
    def power(text: str) -> dict[str, str]:
        return read_state("dumpsys power\t\n" + "".join(f"\t{line}\n" for line in text.split("\n")) + "end\tok\n")

    assert power("  mWakefulness=Awake\n  mUserId=0") == {"screen": "on"}
    assert power("  mWakefulness=Dozing\n  mUserId=0") == {"screen": "off"}
    assert power(output("power", "contradiction")) == {"stay_on": "0"}
    assert power(output("power", "nonsense")) == {}


def test_an_answer_without_machine_or_time_is_refused() -> None:
    with pytest.raises(NotToldError, match="machine"):
        read_told("time_s\t1795313670\nend\tok\n")
    with pytest.raises(NotToldError, match="time"):
        read_told("machine\taarch64\ntime_s\tgestern\nend\tok\n")


def test_damaged_answers_give_an_error_or_words_that_stand_there() -> None:
    forms = ["\n".join(content(path)["output"]) for path in DEVICES]
    read = 0
    for number in range(SAMPLES):
        chance = random.Random(f"device {number}")
        text = mangled(chance.choice(forms), chance.choice(forms), chance)
        try:
            found = read_told(text)
        except NotToldError:
            continue
        read += 1
        derived = {"cores", "screen", "stay_on", "emulation", "machine", "os", "bits"}
        for name, word in {**found.identity, **found.state}.items():
            assert name in derived or all(line in text for line in word.split("\n")), f"sample {number}: {name} is {word!r}"
        assert found.root_free_bytes is None or str(found.root_free_bytes // 1024) in text
        cores = pick_cores(found, "all")
        for words in (in_words(found.state).values(), [unfit(found.state), throttled_between({}, found.state, cores)]):
            assert all(word is None or word.isprintable() for word in words)
    assert read


def test_processors_are_grouped_only_where_they_are_neighbours_in_kind() -> None:
    assert per_cpu({0: "a", 1: "a"}) == "a"
    assert per_cpu({0: "a", 1: "b", 2: "b"}) == "cpu0 a, cpu1-2 b"
    assert per_cpu({}) == ""


# --- asking ----------------------------------------------------------------------------------------------------------------------------


def test_this_machine_tells_who_it_is() -> None:
    found = ask(connect("local:"), platform(), sys.executable)

    assert found.machine in platform().description.machines
    assert found.identity["bits"] == "64"
    assert found.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert set(found.cores) == os.sched_getaffinity(0)
    assert found.root_writable
    assert found.root_free_bytes == pytest.approx(shutil.disk_usage(found.root).free, rel=0.05)
    assert "loadavg" in found.state
    assert found.state.keys() == ask_state(connect("local:"), platform()).keys()


def test_a_python_that_is_not_there_is_none() -> None:
    assert ask(connect("local:"), platform(), "/nowhere/python3").python is None


def test_the_folder_that_the_device_is_told_to_use_is_the_one_looked_at(tmp_path: Path) -> None:
    there = tmp_path / "my disk"
    there.mkdir()

    found = read_told(ran(["sh"], EDGEKIT_CACHE_DIR=str(there / "not" / "made")))

    assert found.root == str(there)
    assert found.root_writable


def test_a_device_whose_script_fails_gives_an_error_with_its_address(tmp_path: Path) -> None:
    (tmp_path / "conditions.sh").write_text("echo machine; exit 1\n")

    with pytest.raises(AgentError, match="local: what the device tells about itself cannot be read"):
        ask(connect("local:"), Platform(tmp_path, platform().description))


@pytest.mark.parametrize("shell", ["bash", "busybox", "mksh"])
@pytest.mark.parametrize("name", ["linux", "android"])
def test_every_shell_tells_the_same_with_its_own_programs(shell: str, name: str, tmp_path: Path) -> None:
    path = os.environ["PATH"] if shell == "bash" else str(programs(shell, tmp_path / "programs"))
    argv = {"bash": ["bash", "--posix"], "busybox": ["busybox", "ash"]}.get(shell, [shell])

    found = read_told(ran([str(shutil.which(argv[0])), *argv[1:]], name, python="", PATH=path))

    expected = read_told(ran(["dash"], name, python=""))
    assert found.identity == expected.identity
    assert found.state.keys() == expected.state.keys()
    assert found.root_free_bytes is not None
    for same in ("cores", "boot_id", "root", "uid", "root_writable"):
        assert getattr(found, same) == getattr(expected, same)


def test_another_language_changes_nothing(tmp_path: Path) -> None:
    command(tmp_path, "df", f'[ "$LC_ALL" = C ] || {{ echo Dateisystem; exit; }}; exec {shutil.which("df")} "$@"')

    found = read_told(ran(["dash"], PATH=f"{tmp_path}:{os.environ['PATH']}", LC_ALL="de_DE.UTF-8"))

    assert found.root_free_bytes is not None


@pytest.mark.parametrize("shell", ["dash", "mksh"])
def test_a_phone_is_asked_by_its_own_services(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        missing(shell, f"sudo apt-get install {shell}")
    for fact, case in (
        ("getprop", "pixel-7-android-14"),
        ("thermalservice", "pixel-7-android-14"),
        ("battery", "pixel-7-android-14"),
        ("power", "pixel-7-android-14-awake"),
    ):
        (tmp_path / f"{fact}.txt").write_text(output(fact, case))
    command(tmp_path, "getprop", f"cat {tmp_path}/getprop.txt")
    command(tmp_path, "dumpsys", f"cat {tmp_path}/$1.txt")
    command(tmp_path, "settings", '[ "$*" = "list global" ] && printf "airplane_mode_on=1\\nlow_power=0\\nadb_enabled=1\\nX_airplane_mode_on=0\\n"')

    found = read_told(ran([shell], "android", PATH=f"{tmp_path}:{os.environ['PATH']}"))

    assert found.android
    assert (found.identity["model"], found.identity["android_soc"], found.identity["os"]) == ("Pixel 7", "GS201", "Android 14")
    assert found.identity["android_serial"] == "2A111FDH200XYZ"
    assert in_words(found.state)["thermal_status"] == "none"
    assert in_words(found.state)["battery"] == "84 %, Discharging"
    assert (found.state["screen"], found.state["stay_on"]) == ("on", "7")
    assert (found.state["airplane_mode"], found.state["battery_saver"]) == ("1", "0")
    assert "persist.sys.timezone" not in ran([shell], "android", PATH=f"{tmp_path}:{os.environ['PATH']}")


def test_a_phone_whose_services_are_down_is_still_one() -> None:
    assert told("android-without-services").android
    assert not told("raspberry-pi-5-quiet").android


def test_a_raspberry_pi_is_asked_by_vcgencmd(tmp_path: Path) -> None:
    command(tmp_path, "vcgencmd", 'case $1 in get_throttled) echo throttled=0x50005 ;; measure_temp) echo "temp=84.2\'C" ;; *) exit 1 ;; esac')

    state = read_state(ran(["dash"], part="state", PATH=f"{tmp_path}:{os.environ['PATH']}"))

    assert state["vcgencmd get_throttled"] == "throttled=0x50005"
    assert in_words(state)["throttled"] == "now: under-voltage, throttled; since boot: under-voltage, throttled"
    assert in_words(state)["temperature"].endswith("vcgencmd 84.2 °C")


def test_a_processor_under_qemu_user_is_emulated_and_says_so(tmp_path: Path) -> None:
    """qemu hides itself in /proc/self/exe; the program that really runs is mapped in /proc/thread-self. A shell of that name stands in for it."""
    stand_in = tmp_path / "qemu-aarch64"
    shutil.copy(os.path.realpath(shutil.which("dash") or "/bin/sh"), stand_in)

    found = read_told(ran([str(stand_in)]))

    assert found.emulated
    assert found.identity["emulation"] == "qemu-user (qemu-aarch64)"
    assert read_told(ran([str(stand_in)], "android")).emulated


@pytest.mark.lab
def test_a_genuine_qemu_user_is_recognised() -> None:
    qemu = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
    if qemu is None or os.uname().machine != "x86_64":
        missing("qemu-x86_64", "sudo apt-get install qemu-user-static, on an x86-64 machine")

    assert qemu is not None
    assert read_told(ran([qemu, "/bin/dash"])).identity["emulation"].startswith("qemu-user (qemu-x86_64")


# --- which cores -----------------------------------------------------------------------------------------------------------------------


def test_a_pixel_7_has_three_kinds_of_cores() -> None:
    pixel = told("pixel-7-awake")

    assert core_kinds(pixel.state) == {"little": (0, 1, 2, 3), "mid": (4, 5), "big": (6, 7)}
    assert pick_cores(pixel, "big") == (6, 7)
    assert pick_cores(pixel, "mid") == (4, 5)
    assert pick_cores(pixel, "all") == tuple(range(8))
    assert pick_cores(pixel, "f0") == pick_cores(pixel, "0xF0") == pick_cores(pixel, "4-7") == (4, 5, 6, 7)
    assert pick_cores(pixel, "7") == (7,)
    assert pick_cores(pixel, "0,6-7") == (0, 6, 7)


def test_cores_are_told_apart_by_frequency_where_capacities_say_nothing() -> None:
    state = {f"cpu{i}/cpu_capacity": "1024" for i in range(4)} | {f"cpu{i}/cpuinfo_max_freq": "1800000" if i < 2 else "2400000" for i in range(4)}

    assert core_kinds(state) == {"little": (0, 1), "big": (2, 3)}


def test_favoured_cores_are_no_kind_of_their_own() -> None:
    assert core_kinds({"cpu0/cpuinfo_max_freq": "4500000", "cpu1/cpuinfo_max_freq": "4700000"}) == {"all": (0, 1)}
    assert core_kinds({}) == {}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("big", "no big cores: it has all 0-3"),
        ("4-5", "names core 4.*the device has all 0-3"),
        ("30", "names core 30 .as a mask it is 0x30."),
        ("fastest", "neither a kind of cores, a mask such as 0xf0 nor a list"),
        ("", "neither a kind"),
        ("0x0", "neither a kind"),
        ("3-1", "neither a kind"),
    ],
)
def test_cores_that_are_not_there_are_an_error_that_says_which_are(asked: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        pick_cores(told("raspberry-pi-5-quiet"), asked)


def test_a_device_that_tells_no_kinds_has_all_its_cores() -> None:
    with pytest.raises(InputError, match="no big cores: it has all 0-1"):
        pick_cores(told("virtual-machine"), "big")
    assert spans((0, 1, 2, 5)) == "0-2,5"


def test_only_cores_that_a_process_may_use_are_picked() -> None:
    background = read_told(answer("pixel-7-awake").replace("allowed_cores\t0-7", "allowed_cores\t0-6"))

    assert pick_cores(background, "big") == (6,)
    assert pick_cores(background, "all") == tuple(range(7))


def test_cores_that_are_there_and_not_allowed_are_called_so() -> None:
    slow = read_told(answer("pixel-7-awake").replace("allowed_cores\t0-7", "allowed_cores\t0-1"))

    with pytest.raises(InputError, match=r"--cores big means cores 6-7, and a process may run on 0-1 only there \(little 0-1\): give --cores all"):
        pick_cores(slow, "big")
    with pytest.raises(InputError, match=r"names core 7.*the device has little 0-1$"):
        pick_cores(slow, "7")


# --- fit to be measured ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({}, None),
        ({"vcgencmd get_throttled": "throttled=0x50005"}, "its firmware reports under-voltage, throttled"),
        ({"vcgencmd get_throttled": "throttled=0x50000"}, None),
        ({"pmset/CPU_Speed_Limit": "80"}, "held to 80 % of its speed"),
        ({"pmset/CPU_Speed_Limit": "100"}, None),
        ({"cooling_device3/thermal-cpufreq-0": "2 of 9"}, r"slowed down by its kernel to cool \(thermal-cpufreq-0\)"),
        ({"thermal_zone0/cpu": "74900"}, None),
        ({"thermal_zone0/cpu": "75000"}, "cpu is at 75 °C, above 75 °C"),
        ({"thermal_zone0/cpu": "89000", "trip_point/0/1/passive": "95000"}, None),
        ({"thermal_zone0/cpu": "90000", "trip_point/0/1/passive": "95000"}, "cpu is at 90 °C, above 90 °C"),
        ({"thermal_zone0/skin": "46000", "trip_point/0/1/passive": "45000"}, None),
        ({"vcgencmd measure_temp": "temp=80.1'C"}, "its processor is at 80 °C"),
        ({"battery/BAT0/capacity": "19", "battery/BAT0/status": "Discharging"}, "its battery is at 19 % and not charging"),
        ({"battery/BAT0/capacity": "19", "battery/BAT0/status": "Charging"}, None),
        ({"battery/BAT0/capacity": "20", "battery/BAT0/status": "Discharging"}, None),
        ({"dumpsys battery": output("battery", "low-and-hot")}, "its battery is at 46 °C"),
        ({"dumpsys battery": output("battery", "low-and-hot").replace("463", "263")}, "its battery is at 9 % and not charging"),
        ({"dumpsys battery": output("battery", "low-and-hot").replace("463", "263").replace("USB powered: false", "USB powered: true")}, None),
        ({"dumpsys battery": output("battery", "nonsense")}, None),
        ({"dumpsys thermalservice": output("thermalservice", "overridden")}, None),
        ({"dumpsys thermalservice": output("thermalservice", "pixel-7-android-14").replace("mValue=33.2", "mValue=80.0")}, None),
        ({"dumpsys thermalservice": output("thermalservice", "pixel-7-android-15-severe")}, "its thermal status is severe"),
        ({"dumpsys thermalservice": output("thermalservice", "sensors-that-are-off")}, None),
        ({"dumpsys thermalservice": output("thermalservice", "pixel-7-android-14").replace("mValue=44.0", "mValue=81.5")}, "BIG is at 82 °C"),
    ],
)
def test_a_device_is_unfit_for_a_reason_that_it_tells(state: dict[str, str], why: str | None) -> None:
    found = unfit(state)

    assert (found is None) if why is None else (found is not None and re.match(why, found))


def at_status(status: int) -> dict[str, str]:
    return {"dumpsys thermalservice": output("thermalservice", "no-hal").replace("Thermal Status: 0", f"Thermal Status: {status}")}


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ({}, {}, None),
        ({"vcgencmd get_throttled": "throttled=0x0"}, {"vcgencmd get_throttled": "throttled=0x40000"}, "its firmware reports throttled meanwhile"),
        ({"vcgencmd get_throttled": "throttled=0x40000"}, {"vcgencmd get_throttled": "throttled=0x40000"}, None),
        ({}, {"vcgencmd get_throttled": "throttled=0x40000"}, None),
        (at_status(0), at_status(1), f"its thermal status rose to {STATUSES[1]}"),
        (at_status(1), at_status(1), None),
        (at_status(0), {}, None),
        ({}, at_status(1), None),
        (at_status(3), at_status(2), "its thermal status is moderate"),
        ({"cpu1/core_throttle_count": "4"}, {"cpu1/core_throttle_count": "5"}, "cpu1 grew too hot meanwhile"),
        ({"cpu3/core_throttle_count": "4"}, {"cpu3/core_throttle_count": "5"}, None),
        ({"cpu0/scaling_max_freq": "2400000"}, {"cpu0/scaling_max_freq": "1500000"}, "cpu0 was capped from 2400 to 1500 MHz"),
        ({"cpu0/scaling_max_freq": "1500000"}, {"cpu0/scaling_max_freq": "2400000"}, None),
        ({"cpu2/scaling_max_freq": "2400000"}, {"cpu2/scaling_max_freq": "1500000"}, None),
    ],
)
def test_what_ran_between_two_states_is_marked_if_its_cores_were_slowed_down(before: dict[str, str], after: dict[str, str], why: str | None) -> None:
    assert throttled_between(before, after, (0, 1)) == why


# --- what owners send ------------------------------------------------------------------------------------------------------------------


def test_what_owners_send_names_nobody() -> None:
    text = answer("pixel-7-awake").replace(
        "end\tok", "note\tseen by anna@lan.example at 192.168.1.7 and fe80::1c2d:3eff:fe4f:1 on 00:1A:2b:3c:4d:5e of benchbox\nend\tok"
    )
    text = text.replace("[ro.soc.model]: [GS201]", "[ro.soc.model]: [GS201]\n\t[ro.ril.imei]: [356938035643809]")

    sent = anonymous(text, ["benchbox"])

    for secret in ("2A111FDH200XYZ", "356938035643809", "anna", "192.168.1.7", "fe80", "00:1A", "benchbox", "e672785e"):
        assert secret not in sent
    expected = reading(text)
    expected["identity"]["android_serial"] = "removed"
    assert reading(sent) == expected


def test_a_hosts_name_is_removed_wherever_it_stands() -> None:
    text = (
        answer("big-little-laptop")
        .replace("/home/pi/.cache", "/home/anna/.cache")
        .replace("LENOVO 21BX", "laptop of Anna")
        .replace("/dev/root", "nas.example:/anna")
    )

    sent = anonymous(text)

    assert "anna" not in sent
    assert "product\tremoved of Anna" in sent
    assert read_told(sent).root_free_bytes == read_told(text).root_free_bytes
