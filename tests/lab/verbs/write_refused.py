"""A writer that carries nothing: a stand-in for a route that refuses."""

from __future__ import annotations

from typing import Any


def run(job: Any) -> dict[str, Any]:
    job.progress("about to refuse")
    job.refuse("node 'n' has operator Foo, which this route does not carry: remove it", op="Foo", node="n")
    return {}
