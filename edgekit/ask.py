"""An open way to a device and its platform in, what the device tells of itself out, in one round trip."""

from __future__ import annotations

from edgekit.conditions import NotToldError, Told, read_state, read_told
from edgekit.errors import AgentError
from edgekit.places import shipped
from edgekit.runtime import Platform
from edgekit.transport import Transport

TELL_S = 60.0
"""An emulated board needs ten of them; one whose firmware hangs is not waited for."""


def ask(transport: Transport, platform: Platform, python: str = "python3") -> Told:
    """What a device is and how it is; `python` is asked for its version, where there is one.

    Raises:
        AgentError: its answer is not whole.
        DeviceTimeout, Unreachable: as for `Transport.run`.
    """
    text = question(transport, platform, python, "all")
    try:
        return read_told(text)
    except NotToldError as exc:
        raise unreadable(transport, exc, text) from exc


def ask_state(transport: Transport, platform: Platform) -> dict[str, str]:
    """How a device is now; a fraction of the time of `ask`.

    Raises: as `ask`.
    """
    text = question(transport, platform, "", "state")
    try:
        return read_state(text)
    except NotToldError as exc:
        raise unreadable(transport, exc, text) from exc


def question(transport: Transport, platform: Platform, python: str, part: str) -> str:
    """The frames of a device's answer: `part` is `all` or `state`."""
    script = b"".join((folder / "conditions.sh").read_bytes() for folder in (shipped("targets") / "common", platform.folder))
    return transport.run(["sh", "-s", "--", python, part], stdin=script, timeout_s=TELL_S, check=False).stdout


def unreadable(transport: Transport, why: NotToldError, text: str) -> AgentError:
    return AgentError(transport.address, f"what the device tells about itself cannot be read ({why}): repeat the command", stdout=text)
