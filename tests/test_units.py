"""Numbers for people."""

import pytest

from edgekit.units import bytes_text, count_text, duration_text


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "—"), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (14_000_123, "14.0 MB"), (999_950, "1.0 MB"), (1_400_000_000, "1.40 GB")],
)
def test_bytes(size: int | None, text: str) -> None:
    assert bytes_text(size) == text


@pytest.mark.parametrize(
    ("duration", "text"),
    [(None, "—"), (1_234, "1.23 µs"), (999_499, "999 µs"), (999_500, "1.00 ms"), (12_340_000, "12.3 ms"), (2_500_000_000, "2.50 s"), (123e9, "123 s")],
)
def test_durations(duration: float | None, text: str) -> None:
    assert duration_text(duration) == text


@pytest.mark.parametrize(("count", "text"), [(12, "12"), (35_700, "35.7 k"), (3_500_000, "3.5 M"), (4e9, "4.0 G")])
def test_counts(count: float, text: str) -> None:
    assert count_text(count) == text
