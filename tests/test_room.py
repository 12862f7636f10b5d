"""How many workers are started at once: as many as fit, by what the system says, at least one."""

from __future__ import annotations

from pathlib import Path

from edgekit.toolchains.room import FLOOR_BYTES, at_once, available_bytes, needed_bytes, processors, worker_limit_bytes

MEMINFO = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\n"


def system(folder: Path, limit: str | None = None, used: int = 0, reclaimable: int = 0) -> tuple[Path, Path]:
    """/proc and /sys/fs/cgroup of a process in the group /user/one, whose parent is limited."""
    proc, cgroups = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    (cgroups / "user/one").mkdir(parents=True)
    (proc / "meminfo").write_text(MEMINFO)
    (proc / "self/cgroup").write_text("0::/user/one\n")
    (cgroups / "user/one/memory.max").write_text("max\n")
    (cgroups / "user/one/memory.current").write_text("5\n")
    if limit is not None:
        (cgroups / "user/memory.max").write_text(limit + "\n")
        (cgroups / "user/memory.current").write_text(f"{used}\n")
        (cgroups / "user/memory.stat").write_text(f"anon 7\ninactive_file {reclaimable}\n")
    return proc, cgroups


def test_what_the_kernel_says_is_available(tmp_path: Path) -> None:
    assert available_bytes(*system(tmp_path)) == 8_000_000 * 1024


def test_the_limit_of_a_group_above_counts(tmp_path: Path) -> None:
    assert available_bytes(*system(tmp_path, "2000000000", used=1_500_000_000, reclaimable=100_000_000)) == 600_000_000


def test_where_nothing_is_told_there_still_is_a_number(tmp_path: Path) -> None:
    assert available_bytes(tmp_path / "none", tmp_path / "none") > 0


def test_workers_share_what_there_is() -> None:
    assert needed_bytes(100_000_000) == 600_000_000 + FLOOR_BYTES
    assert at_once(1, 1) == 1
    assert at_once(1, 64) <= processors() + 1
    assert at_once(10**15, 3) == 1  # one after the other, however large the model is
    assert 2 * 10**9 <= worker_limit_bytes() <= 16 * 10**9
