"""ONNX's backend suite in; of each case whether the twin of its hub computes it right, refuses it or is wrong out.

    <torch toolchain's python> -m tests.lab.twin_suite [--only PATTERN]… [--sample N] [--json FILE] [--verbose]

A case is right where every output has the suite's shape, dtype and values; refused where the hub or the twin refuses it in words; else wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.lab.backend_cases import Case, collect
from tests.lab.backend_suite import Verdict, be_a_worker, chosen, compare


def hub_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """The hub, without the simplifier's part."""
    from edgekit.hub.normalise import finish, prepare

    boundary = onnx.ModelProto()
    boundary.CopyFrom(model)
    prepared, _ = prepare(model, {})
    for given, kept in ((boundary.graph.input, prepared.graph.input), (boundary.graph.output, prepared.graph.output)):
        del given[:]
        given.extend(kept)
    return finish(prepared, boundary)


def judge(case: Case) -> Verdict:
    import torch

    from edgekit.hub.graph import Refusal
    from edgekit.toolchains.torch.twin import Twin

    try:
        hub = hub_of(case.model)
    except Refusal as exc:
        return Verdict(case.name, case.op, "refused", f"the hub: {exc}")
    try:
        twin = Twin(hub).eval()
    except Refusal as exc:
        return Verdict(case.name, case.op, "refused", str(exc))
    names = [value.name for value in case.model.graph.input]
    given = dict(zip(names, case.inputs, strict=True))
    with torch.no_grad():
        found: list[Any] = [value.numpy() for value in twin(*(torch.from_numpy(np.array(given[value.name])) for value in hub.graph.input))]
    problem = compare(case, found, "onnx")
    return Verdict(case.name, case.op, "wrong", problem) if problem else Verdict(case.name, case.op, "right")


def verdict(case: Case) -> Verdict:
    try:
        return judge(case)
    except Exception as exc:  # noqa: BLE001  any exception that is no refusal is a fault of the twin, and the case's verdict
        return Verdict(case.name, case.op, "wrong", f"{type(exc).__name__}: {' '.join(str(exc).split())[:300]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], help="a pattern of case names, or an operator")
    parser.add_argument("--sample", type=int, help="so many cases, chosen by a fixed seed")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--verbose", action="store_true", help="right cases too")
    given = parser.parse_args()
    be_a_worker()
    warnings.simplefilter("ignore")
    cases = chosen(collect()[0], given.only)
    cases = random.Random(4).sample(cases, given.sample) if given.sample else cases
    verdicts = []
    for case in cases:
        verdicts.append(one := verdict(case))
        if given.verbose or one.verdict != "right":
            print(f"{one.verdict}\t{one.op}\t{one.case}\t{one.words}", flush=True)
    count = Counter(one.verdict for one in verdicts)
    print(f"twin: of {len(verdicts)} right {count['right']}, refused {count['refused']}, wrong {count['wrong']}")
    if given.json:
        given.json.write_text(json.dumps([[one.case, one.op, one.verdict, one.words] for one in verdicts], indent=1))


if __name__ == "__main__":
    main()
