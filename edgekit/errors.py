"""Every error that edgekit raises on purpose; no I/O.

    EdgekitError                     exit code
    ├── InputError                   2   what the user gave is wrong: a file, a name, an option
    ├── SetupError                   3   something has to be installed, freed or allowed first
    ├── ConvertError                 4   a model could not be read, written, quantized or verified
    ├── DeviceError                  5   a device did not do what was asked; starts with its address
    │   ├── Unreachable                  no connection: absent, refused, unknown or changed host key
    │   ├── InUse                        another edgekit has it
    │   ├── CommandFailed                a command ran there and exited non-zero
    │   ├── DeviceTimeout                a command or a transfer passed its deadline
    │   └── AgentError                   the agent there reported a failure, or no valid result
    └── ReleaseError                 6   a package cannot be made, or does not verify

"It does not fit" is an answer (`Violation`, exit code 1), not an exception. Each message is one sentence with
the cause and the cure.
"""

from __future__ import annotations

from collections.abc import Sequence


class EdgekitError(Exception):
    """The base of all; `exit_code` is what the command line ends with."""

    exit_code = 1


class InputError(EdgekitError):
    """What the user gave cannot be used."""

    exit_code = 2


class SetupError(EdgekitError):
    """Something has to be installed, freed or allowed first."""

    exit_code = 3


class ConvertError(EdgekitError):
    """A model could not be read, written, quantized or verified.

    `op` and `node` name the operator kind and the node at fault, where they are known.
    """

    exit_code = 4

    def __init__(self, message: str, *, op: str | None = None, node: str | None = None) -> None:
        super().__init__(message)
        self.op = op
        self.node = node


class DeviceError(EdgekitError):
    """A device did not do what was asked. `str()` starts with the device's address."""

    exit_code = 5

    def __init__(
        self,
        address: str,
        message: str,
        *,
        argv: Sequence[str] = (),
        code: int | None = None,
        stdout: str = "",
        stderr: str = "",
    ) -> None:
        super().__init__(f"{address.rstrip(':')}: {message}")
        self.address = address
        self.argv = tuple(argv)
        self.code = code
        self.stdout = stdout
        self.stderr = stderr


class Unreachable(DeviceError):
    """No connection to the device could be opened, or it was lost."""


class InUse(DeviceError):
    """Another edgekit uses the device; the message says whose, and since when."""


class CommandFailed(DeviceError):
    """A command ran on the device and exited non-zero."""


class DeviceTimeout(DeviceError):
    """A command or a transfer passed its deadline."""


class AgentError(DeviceError):
    """The agent on the device reported a failure, or left no valid result."""


class ReleaseError(EdgekitError):
    """A package cannot be made, or what is in it is not what its manifest says."""

    exit_code = 6
