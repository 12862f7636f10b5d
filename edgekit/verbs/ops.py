"""A format in, what becomes of each ONNX operator in it out: right, or refused and why.

The tables are `edgekit/write/operators/<format>.json`, made by `make ops` from ONNX's own backend suite with the toolchain whose lock
they name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from edgekit.errors import InputError
from edgekit.nearest import nearest, unknown
from edgekit.toolchains.catalog import toolchain

TABLES = Path(__file__).parent.parent / "write" / "operators"


class Operator(BaseModel):
    """What became of one operator's cases."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    right: tuple[str, ...] = ()
    """Cases whose outputs are what the suite expects."""
    refused: Mapping[str, tuple[str, ...]] = {}
    """Words of a refusal, with what to do → its cases."""
    wrong: Mapping[str, str] = {}
    """Case → what was wrong."""

    @property
    def cases(self) -> int:
        return len(self.right) + sum(map(len, self.refused.values())) + len(self.wrong)

    @property
    def verdict(self) -> str:
        """`right`, `refused`, `partly` (some cases are refused), or `wrong`."""
        if self.wrong:
            return "wrong"
        if not self.refused:
            return "right"
        return "partly" if self.right else "refused"


class Table(BaseModel):
    """One format's table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    tools: Mapping[str, str]
    """Package → version of what wrote and ran the files."""
    lock_sha256: str
    """The lock of the toolchain that the table was made with."""
    suite: str
    """The suite, such as `onnx 1.23.2`."""
    left_out: Mapping[str, int]
    """Reason → cases of the suite that are no inference on floats, integers and bools."""
    operators: Mapping[str, Operator]

    @property
    def counts(self) -> dict[str, int]:
        """Cases by verdict."""
        every = self.operators.values()
        refused = sum(len(cases) for one in every for cases in one.refused.values())
        return {"right": sum(len(one.right) for one in every), "refused": refused, "wrong": sum(len(one.wrong) for one in every)}

    @property
    def current(self) -> bool:
        """Whether the table was made with the toolchain that this edgekit installs."""
        return self.lock_sha256 == toolchain("convert").lock_digest


def known_formats() -> list[str]:
    """The formats that have a table."""
    return sorted(path.stem for path in TABLES.glob("*.json"))


def ops(format_: str, op: str | None = None) -> Table:
    """The table of a format, of one operator if `op` is given (in any case: `conv` finds `Conv`).

    Raises:
        InputError: there is no such table, or ONNX's suite has no case of that operator.
    """
    if format_ not in known_formats():
        raise unknown("format", format_, known_formats())
    table = Table.model_validate_json((TABLES / f"{format_}.json").read_bytes())
    if op is None:
        return table
    found = next((name for name in table.operators if name.casefold() == op.casefold()), None)
    if found is None:
        if nearest(op, table.operators):
            raise unknown("operator", op, table.operators)
        raise InputError(f"ONNX's suite has no case of the operator {op!r}: convert a model that uses it, and it is verified or refused")
    return table.model_copy(update={"operators": {found: table.operators[found]}})
