"""ONNX's backend suite and the formats in, `edgekit/write/operators/*.json` and `docs/operators.md` out: `make ops`.

python -m tests.lab.operators [FORMAT]…          (all; without a format's run, its table stays and the page is made anew)
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgekit.toolchains.catalog import Toolchain, toolchain
from edgekit.verbs.ops import TABLES, Operator, Table, ops

FORMATS = ("tflite", "coreml", "onnx")
TITLES = {"tflite": "TFLite", "coreml": "Core ML", "onnx": "ONNX"}
TOOLS = {"tflite": ("onnx2tf", "ai-edge-litert"), "coreml": ("coremltools",), "onnx": ("onnxruntime",)}
PAGE = Path(__file__).parent.parent.parent / "docs" / "operators.md"
SOURCE_TOO = "ONNX Runtime gives the same for the model as it came"
NAMES = (
    (r"^node '[^']*' \(\w+\) gives '[^']*', whose", "gives a result whose"),
    (r"^node '[^']*' is an? ", "is a "),
    (r" \(node '[^']*'\)| node '[^']*'| op=\S+", ""),
)
"""Names of nodes in a refusal, which are the case's and not the operator's, and what stands for them."""


def run(format_: str, chain: Toolchain) -> dict[str, Any]:
    """The suite's verdicts, by the harness in the convert toolchain."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told.json"
        command = [str(chain.python), "-m", "tests.lab.backend_suite", "--to", format_, "--jobs", "2", "--json", str(told)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found: dict[str, Any] = json.loads(told.read_text())
    return found


def table(format_: str, told: Mapping[str, Any], chain: Toolchain) -> Table:
    """A format's table of what the harness told."""
    operators: dict[str, dict[str, Any]] = {}
    for one in told["verdicts"]:
        row = operators.setdefault(one["op"], {"right": [], "refused": {}, "wrong": {}})
        if one["verdict"] == "right":
            row["right"].append(one["case"])
        elif one["verdict"] == "refused":
            row["refused"].setdefault(general(one["words"]), []).append(one["case"])
        else:
            same = format_ == "onnx" and not one["caught"]  # verification holds a file against ONNX Runtime's outputs of the source model
            row["wrong"][one["case"]] = f"{SOURCE_TOO}: {one['words']}" if same else one["words"]
    tools = {name: chain.version(name) or "" for name in TOOLS[format_]}
    suite = f"onnx {chain.version('onnx')}"
    rows = {name: Operator.model_validate(row) for name, row in sorted(operators.items())}
    return Table(format=format_, tools=tools, lock_sha256=chain.lock_digest, suite=suite, left_out=told["left_out"], operators=rows)


def general(words: str) -> str:
    """A refusal without the name of the node."""
    text = " ".join(words.split())
    for pattern, instead in NAMES:
        text = re.sub(pattern, instead, text)
    return text


def page(tables: Iterable[Table]) -> str:
    """The page of the documentation."""
    tables = list(tables)
    lines = [
        "# Operators",
        "",
        "What becomes of each ONNX operator in each format: how many of its cases in ONNX's own backend suite come out right, and how many are",
        "refused in words. `edgekit ops --to FORMAT --op NAME` names every case. Made by `make ops`.",
        "",
        "| format | right | refused | wrong | written and run by |",
        "|---|---|---|---|---|",
    ]
    for one in tables:
        counts, tools = one.counts, ", ".join(f"{name} {version}" for name, version in one.tools.items())
        lines.append(f"| {TITLES[one.format]} | {counts['right']} | {counts['refused']} | {counts['wrong']} | {tools} |")
    left = ", ".join(f"{count} {reason}" for reason, count in sorted(tables[0].left_out.items(), key=lambda item: -item[1]))
    lines += [
        "",
        f"The suite is that of {tables[0].suite}. Weights, axes, shapes and the like are constants, as exporters write them; what is computed stays an",
        f"input. Left out are cases that are no inference on floats, integers and bools: {left}.",
        "Core ML files are evaluated by edgekit on the machine that converts; the others are run by their runtime.",
        "",
        "| operator | " + " | ".join(TITLES[one.format] for one in tables) + " |",
        "|---|" + "---|" * len(tables),
    ]
    for name in sorted({name for one in tables for name in one.operators}):
        lines.append(f"| {name} | " + " | ".join(cell(one.operators.get(name)) for one in tables) + " |")
    if any(one.counts["wrong"] for one in tables):
        lines += ["", "Wrong in ONNX are cases in which ONNX Runtime departs from the suite's expected values, for the model as it came too."]
    for one in tables:
        lines += ["", f"## Refused in {TITLES[one.format]}", ""]
        lines += [f"- **{name}** ({len(cases)} of {row.cases}): {words}" for name, row in sorted(one.operators.items()) for words, cases in row.refused.items()]
    return "\n".join(lines) + "\n"


def cell(row: Operator | None) -> str:
    if row is None:
        return ""
    return row.verdict if row.verdict in ("right", "refused") else f"{len(row.right)} of {row.cases}"


def main() -> None:
    chain = toolchain("convert")
    for word in sys.argv[1:] or FORMATS:
        format_, _, told = word.partition("=")
        made = table(format_, json.loads(Path(told).read_text()) if told else run(format_, chain), chain)
        (TABLES / f"{format_}.json").write_text(json.dumps(made.model_dump(mode="json"), indent=1) + "\n")
        print(format_, made.counts)
    PAGE.write_text(page(ops(format_) for format_ in FORMATS if (TABLES / f"{format_}.json").exists()))


if __name__ == "__main__":
    main()
