"""What a package says about itself: `manifest.json`, and `manifest.sha256` beside it, which guards the manifest's own bytes."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgekit.errors import ReleaseError

NAME = "manifest.json"
SEAL = "manifest.sha256"
SCHEMA: Final = "edgekit.package/1"


class Part(BaseModel):
    """Frozen; a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class File(Part):
    """One file of the package, the manifest and its seal excepted."""

    path: str
    """Relative to the package's root, with `/`."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)


class SourceModel(Part):
    name: str
    sha256: str


class Device(Part):
    """What the measurements were taken on; no address, since a package is given away."""

    name: str
    profile: str | None
    emulated: bool


class Variant(Part):
    recipe: str
    format: str
    path: str
    """Of the model's file or folder, relative to the package's root."""
    sha256: str
    size_bytes: int
    download_bytes: int


class Manifest(Part):
    """`manifest.json`."""

    schema_: Literal["edgekit.package/1"] = Field(alias="schema")
    edgekit: str
    platform: Literal["generic", "android", "ios"]
    run: str
    started_utc: str
    model: SourceModel
    device: Device
    variant: Variant
    reason: str
    """Why this variant."""
    measured: bool
    """Whether the packed variant itself was measured on the device."""
    measurement: dict[str, Any] | None
    """Protocol, latency, memory, parity and accuracy as they are in the run's record; no raw samples."""
    conditions: dict[str, Any] | None
    violations: tuple[str, ...]
    """Limits of the device's profile that the variant breaks."""
    files: tuple[File, ...]

    def to_bytes(self) -> bytes:
        """As it is written; the same manifest gives the same bytes."""
        return (json.dumps(self.model_dump(mode="json", by_alias=True), indent=1, sort_keys=True) + "\n").encode()


def seal(manifest: bytes) -> bytes:
    """The content of `manifest.sha256`, as `sha256sum --check` reads it."""
    return f"{hashlib.sha256(manifest).hexdigest()}  {NAME}\n".encode()


def parse(content: bytes, place: str) -> Manifest:
    """Read a manifest found at `place`.

    Raises:
        ReleaseError: it is not one.
    """
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as exc:
        fault = exc.errors()[0]
        raise ReleaseError(f"{place}: not a manifest of an edgekit package ({'.'.join(map(str, fault['loc'])) or 'JSON'}: {fault['msg']})") from exc
