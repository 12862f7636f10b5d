"""Formats of one model are made side by side: in any order of time, told in one; what ends one does not end the others, an interrupt ends all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.recipe import parse
from edgekit.records import Variant
from edgekit.toolchains.room import processors
from edgekit.verbs.convert import Said, convert
from edgekit.verbs.source import open_source
from edgekit.write.format import Format, Steps, format_named
from tests.lab.tiny import tiny

VERBS = Path(__file__).parent / "lab/verbs"
FP32 = parse("fp32")
two_processors = pytest.mark.skipif(processors() < 2, reason="needs two processors: formats are made one after the other on one")


def stand_in(name: str, verb: str, **options: object) -> Format:
    """ONNX under another name, by a writer of the lab."""
    onnx = format_named("onnx")
    return replace(onnx, name=name, title=name, write_verb=VERBS / f"{verb}.py", recipes={"fp32": Steps(options)}, runner=VERBS / "runner_onnx.py")


def meeting(name: str, folder: Path, wanted: int, patience_s: float = 30) -> Format:
    return stand_in(name, "write_meeting", meet=str(folder), wanted=wanted, patience_s=patience_s, who=name)


def made(tmp_path: Path, formats: Sequence[Format]) -> tuple[Variant, ...]:
    def nothing(text: str, fraction: float | None) -> None: ...

    with open_source(tiny(tmp_path / "tiny").onnx, {}, None, [FP32], formats, nothing) as source:
        return convert(source, [FP32], formats, lambda sha: tmp_path / "out", nothing)


@pytest.mark.toolchain
@two_processors
def test_two_writers_are_at_work_at_once(tmp_path: Path) -> None:
    first, second = made(tmp_path, [meeting("first", tmp_path, 2), meeting("second", tmp_path, 2)])
    assert (first.format, first.status, first.error) == ("first", "ok", None)
    assert (second.format, second.status, second.error) == ("second", "ok", None)


@pytest.mark.toolchain
def test_one_that_fails_stops_no_other_and_the_order_is_that_asked_for(tmp_path: Path) -> None:
    slow = meeting("slow", tmp_path, 2, patience_s=0.5)  # alone, it gives up after the others are done
    variants = made(tmp_path, [slow, stand_in("refused", "write_refused"), stand_in("wrong", "write_wrong"), format_named("onnx")])
    assert [(one.format, one.status) for one in variants] == [("slow", "failed"), ("refused", "failed"), ("wrong", "failed"), ("onnx", "ok")]
    assert variants[1].error == "node 'n' has operator Foo, which this route does not carry: remove it"
    assert (tmp_path / "out/tiny.fp32.onnx").exists()


INTERRUPTED = """
import sys
from pathlib import Path
from tests.test_convert_verb import made, meeting
folder = Path(sys.argv[1])
made(folder, [meeting("first", folder, 3), meeting("second", folder, 3)])
"""


@pytest.mark.toolchain
@two_processors
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_interrupt_ends_all_of_them(tmp_path: Path, own_cache: Path) -> None:
    root = Path(__file__).resolve().parents[1]
    edgekit = subprocess.Popen([sys.executable, "-c", INTERRUPTED, str(tmp_path)], cwd=root, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while len(pids := [int(path.stem) for path in tmp_path.glob("*.pid")]) < 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    edgekit.send_signal(signal.SIGINT)
    edgekit.wait(timeout=15)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert list((own_cache / "results").glob(".job-*")) == []


def test_what_several_do_at_once_is_one_line() -> None:
    lines: list[tuple[str, float | None]] = []
    said = Said(lambda text, fraction: lines.append((text, fraction)))
    alone = said.by("tflite w8")
    alone("quantizing", 0.25)
    assert lines[-1] == ("tflite w8: quantizing", 0.25)
    from threading import Thread

    other = Thread(target=lambda: said.by("coreml fp16")("writing", 0.5))
    other.start()
    other.join()
    assert lines[-1] == ("tflite w8: quantizing · coreml fp16: writing 50%", None)
    said.no_more()
    alone("loading", None)
    assert lines[-1] == ("coreml fp16: writing 50% · tflite w8: loading", None)
