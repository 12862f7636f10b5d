"""Integers with a unit in, words for people out; the only place where "MB" exists (1 MB = 10**6 bytes). No I/O."""

from __future__ import annotations

MB = 10**6


def bytes_text(size_bytes: int | None) -> str:
    """`14_000_123` → `14.0 MB`; `None` → `—`."""
    if size_bytes is None:
        return "—"
    if abs(size_bytes) < 1000:
        return f"{size_bytes} B"
    if abs(size_bytes) < 999_950:
        return f"{size_bytes / 1e3:.1f} kB"
    if abs(size_bytes) < 999_950_000:
        return f"{size_bytes / MB:.1f} MB"
    return f"{size_bytes / 1e9:.2f} GB"


def duration_text(duration_ns: float | None) -> str:
    """`1_234_000` → `1.23 ms`; three significant digits; `None` → `—`."""
    if duration_ns is None:
        return "—"
    for limit, divisor, unit in ((999.5e3, 1e3, "µs"), (999.5e6, 1e6, "ms")):
        if duration_ns < limit:
            return f"{three_digits(duration_ns / divisor)} {unit}"
    return f"{three_digits(duration_ns / 1e9)} s"


def three_digits(value: float) -> str:
    """`1.234` → `1.23`, `12.34` → `12.3`, `123.4` → `123`."""
    if value < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def count_text(count: float) -> str:
    """`3_500_000` → `3.5 M`; `12` → `12`."""
    for limit, divisor, suffix in ((1e3, 1, ""), (1e6, 1e3, " k"), (1e9, 1e6, " M"), (float("inf"), 1e9, " G")):
        if count < limit:
            return f"{count / divisor:.1f}{suffix}" if divisor > 1 else f"{count:.0f}"
    raise AssertionError("unreachable")
