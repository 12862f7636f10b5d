"""What was asked and what was found in, nothing or a refusal out: one sentence that says why a job cannot be done."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
Runtime = Any  # one of `runtimes.RUNTIMES`: what `invoke` gives is what `outputs` takes


class Refused(Exception):
    """One sentence that says why the job cannot be done, and the op at fault where it is known."""

    def __init__(self, message: str, op: str | None = None) -> None:
        super().__init__(message)
        self.record = {"message": message, "op": op}


def check(what: str, asked: list[Json], found: dict[str, tuple[str, list[Any]]]) -> None:
    """The file's boundary has to be the model's: names, dtypes, shapes. A dimension that is not fixed fits any."""
    for spec in asked:
        if spec["name"] not in found:
            raise Refused(f"the file has no {what} {spec['name']!r} but {', '.join(map(repr, found)) or 'none'}: convert it again, or name its own")
        dtype, shape = found[spec["name"]]
        fits = len(shape) == len(spec["shape"]) and all(not isinstance(a, int) or a in (-1, b) for a, b in zip(shape, spec["shape"], strict=True))
        if dtype != spec["dtype"] or not fits:
            raise Refused(f"the file's {what} {spec['name']!r} is {dtype} {shape}, not {spec['dtype']} {spec['shape']}: convert the model again")
    if len(found) != len(asked):
        raise Refused(f"the file has {len(found)} {what}s ({', '.join(map(repr, found))}), not {len(asked)}: convert the model again")


def attempt(runtime: Runtime, doing: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """Call into the runtime; its failure becomes a refusal. ONNX Runtime's exceptions share no base but Exception."""
    try:
        return call(*arguments)
    except Refused:
        raise
    except MemoryError as exc:
        raise Refused(f"memory ran out while {runtime.name} was {doing} the file: close other programs or use a smaller model") from exc
    except Exception as exc:
        words = " ".join(str(exc).split())[:300]
        found = re.search(r"custom op: (\w+)|builtin opcode '(\w+)'|(\S+?)\(-?\d+\) is not a registered", words)
        op = next(filter(None, found.groups()), None) if found else None
        lacks = f"lacks the op {op}" if op else f"failed {doing} the file"
        cure = "its wheels for other processors may have it: convert without that op, or to another format" if op else "convert it again, or to another format"
        raise Refused(f"{runtime.name} {runtime.version} on this {os.uname().machine} device {lacks} ({words}): {cure}", op) from exc
