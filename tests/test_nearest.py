"""Unknown names: the nearest known one is suggested, or all are listed."""

from __future__ import annotations

from edgekit.nearest import nearest, unknown


def test_a_small_slip_finds_its_name_whatever_the_case() -> None:
    assert nearest("TFLITE", ["onnx", "tflite"]) == "tflite"
    assert nearest("pixel-8", ["iphone-15", "pixel-7"]) == "pixel-7"


def test_nothing_near_suggests_nothing() -> None:
    assert nearest("banana", ["binary", "ternary"]) is None


def test_the_error_suggests_the_nearest_or_lists_what_is_known() -> None:
    assert str(unknown("format", "tflit", ["tflite", "onnx"])) == "unknown format 'tflit': did you mean 'tflite'?"
    assert str(unknown("format", "qqq", ["tflite", "onnx"])) == "unknown format 'qqq': known are tflite, onnx"


def test_other_spellings_are_suggested_but_not_listed() -> None:
    assert "did you mean 'rpi5'?" in str(unknown("target", "rpi6", ["local"], also=["rpi5"]))
    assert "rpi5" not in str(unknown("target", "qqq", ["local"], also=["rpi5"]))
