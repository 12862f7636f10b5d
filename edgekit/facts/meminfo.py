"""What Android's `dumpsys meminfo PID` prints in, what that process holds out.

Format: AOSP, frameworks/base/core/java/android/app/ActivityThread.java, dumpMemInfoTable() and its "App Summary": a row `TOTAL` with the columns
Pss Total, Private Dirty, Private Clean, SwapPss Dirty (from Android 8 on; Swap Dirty before), …, in kB, and from Android 7 on a line
`TOTAL PSS:  31548 …` (`TOTAL:  31548 …` before Android 11).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekit.facts.lines import lines
from edgekit.facts.number import integer

LARGEST_KB = 1 << 30
"""A tebibyte."""
COLUMNS = re.compile(r"\s*Pss\s+Private\s+Private\s+(SwapPss|Swapped|Swap)\s.*")


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """Bytes of one process; None where it is not told."""

    pss_bytes: int | None
    private_dirty_bytes: int | None
    swap_bytes: int | None


def parse(text: str, pid: int) -> ProcessMemory | None:
    """None where it is not about this process, or where the table's total and the summary's differ."""
    told = lines(text)[:-1]  # the last may be cut
    if sum(bool(re.match(rf"\** MEMINFO in pid {pid} \[", line)) for line in told) != 1:
        return None
    heads = [line for line in told if COLUMNS.fullmatch(line)]
    rows = [line.split()[1:] for line in told if re.fullmatch(r"\s+TOTAL(?:\s+[0-9]+){4,10}\s*", line, re.ASCII)]
    sums = [found[1] for line in told if (found := re.match(r"\s*TOTAL(?: PSS)?:\s+([0-9]+)(?:\s|$)", line, re.ASCII))]
    if len(heads) != 1 or len(rows) != 1 or len(sums) > 1 or (sums and sums[0] != rows[0][0]):
        return None
    pss, dirty, _, swap = (integer(word, 0, LARGEST_KB) for word in rows[0][:4])
    if pss is None or dirty is None:
        return None
    return ProcessMemory(pss * 1024, dirty * 1024, None if swap is None else swap * 1024)
