"""`edgekit ops --to FORMAT [--op NAME]`."""

from __future__ import annotations

import click

from edgekit.cli.say import Column, as_json, err, out, print_json, print_table
from edgekit.verbs.ops import Operator, Table, ops

WORDS = {"right": "right", "partly": "right, some refused", "refused": "refused", "wrong": "wrong"}


@click.command("ops")
@click.option("--to", "format_", required=True, metavar="FORMAT", help="tflite, coreml or onnx.")
@click.option("--op", metavar="NAME", help="One operator, with every case of it.")
@as_json
def command(format_: str, op: str | None, json_wanted: bool) -> None:
    """Look up which ONNX operators a format carries: right, or refused and what to do.

    Read from a table that was made by running ONNX's own backend suite through edgekit.
    """
    table = ops(format_, op)
    if json_wanted:
        operators = {name: {"verdict": one.verdict, **one.model_dump(mode="json")} for name, one in table.operators.items()}
        head = table.model_dump(mode="json", exclude={"operators"})
        print_json("ops", {**head, "current": table.current, "counts": table.counts, "operators": operators})
        return
    print_table([Column("operator"), Column("verdict"), Column("right", right=True), Column("why not, and what to do")], rows(table, whole=op is not None))
    if op is not None:
        for one in table.operators.values():
            print_cases(one)
    counts = table.counts
    tools = ", ".join(f"{name} {version}" for name, version in table.tools.items())
    out.print(f"{counts['right']} cases of {table.suite}'s backend suite right, {counts['refused']} refused, {counts['wrong']} wrong ({tools})")
    if not table.current:
        err.print("note: the table was made with another version of the converters than this edgekit installs: `make ops` makes it anew")


def rows(table: Table, whole: bool) -> list[list[str]]:
    """A row for each operator; of several reasons the first, unless all are asked for."""

    def why(one: Operator) -> str:
        reasons = list(one.refused)
        more = f" (and {len(reasons) - 1} more: --op tells)" if len(reasons) > 1 else ""
        return "; ".join(reasons) if whole else (reasons[0] + more if reasons else "")

    return [[name, WORDS[one.verdict], f"{len(one.right)} of {one.cases}", why(one)] for name, one in sorted(table.operators.items())]


def print_cases(one: Operator) -> None:
    """Every case of an operator."""
    for case in one.right:
        out.print(f"  right    {case}")
    for words, cases in one.refused.items():
        for case in cases:
            out.print(f"  refused  {case}: {words}")
