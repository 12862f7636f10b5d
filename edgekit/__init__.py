"""Compressed models for mobile runtimes, measured on the devices they ship to.

Every public name is here, and is imported when it is first used: `import edgekit` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.device import Device as Device
    from edgekit.device import resolve as resolve
    from edgekit.errors import AgentError as AgentError
    from edgekit.errors import CommandFailed as CommandFailed
    from edgekit.errors import ConvertError as ConvertError
    from edgekit.errors import DeviceError as DeviceError
    from edgekit.errors import DeviceTimeout as DeviceTimeout
    from edgekit.errors import EdgekitError as EdgekitError
    from edgekit.errors import InputError as InputError
    from edgekit.errors import ReleaseError as ReleaseError
    from edgekit.errors import SetupError as SetupError
    from edgekit.errors import Unreachable as Unreachable
    from edgekit.model import open_model as open_model
    from edgekit.read.from_torch import from_torch as from_torch
    from edgekit.records import Artifact as Artifact
    from edgekit.records import Measurement as Measurement
    from edgekit.records import Model as Model
    from edgekit.records import Run as Run
    from edgekit.records import Variant as Variant
    from edgekit.store import open_store as open_store
    from edgekit.verbs.bench import bench as bench
    from edgekit.verbs.convert import convert as convert
    from edgekit.verbs.deploy import deploy as deploy
    from edgekit.verbs.inspect import inspect as inspect
    from edgekit.verbs.source import open_source as open_source

_HOMES = {
    "AgentError": "errors",
    "Artifact": "records",
    "CommandFailed": "errors",
    "ConvertError": "errors",
    "Device": "device",
    "DeviceError": "errors",
    "DeviceTimeout": "errors",
    "EdgekitError": "errors",
    "InputError": "errors",
    "Measurement": "records",
    "Model": "records",
    "ReleaseError": "errors",
    "Run": "records",
    "SetupError": "errors",
    "Unreachable": "errors",
    "Variant": "records",
    "bench": "verbs.bench",
    "convert": "verbs.convert",
    "deploy": "verbs.deploy",
    "from_torch": "read.from_torch",
    "inspect": "verbs.inspect",
    "open_model": "model",
    "open_source": "verbs.source",
    "open_store": "store",
    "resolve": "device",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgekit' has no attribute {name!r}")
    found = getattr(import_module(f"edgekit.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return list(__all__)
