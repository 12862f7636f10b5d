"""read_state, write_state, coreml_update_state: what a program keeps from run to run."""

from __future__ import annotations

from .arguments import Arguments, Array, Function, WrongArgument


def write(a: Arguments, state: str, value: str) -> Array:
    held = a.state(state)
    if a[value].shape != held.value.shape:
        raise WrongArgument(f"a state of shape {list(held.value.shape)} is given {list(a[value].shape)}")
    held.value = a[value]
    return held.value


def write_state(a: Arguments) -> list[Array]:
    """Gives no value."""
    write(a, "input", "data")
    return []


OPS: dict[str, Function] = {
    "coreml_update_state": lambda a: write(a, "state", "value"),
    "read_state": lambda a: a.state("input").value,
    "write_state": write_state,
}
