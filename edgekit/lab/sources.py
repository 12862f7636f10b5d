"""The host's apt configuration in (one-line and deb822 style, sources.list(5)); the line of another suite on the same mirror out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edgekit.errors import SetupError

ETC = Path("/etc/apt")
KEYRINGS = tuple(Path("/usr/share/keyrings") / f"debian-archive-keyring.{kind}" for kind in ("pgp", "gpg"))
RELEASES = ("bookworm", "trixie", "forky", "duke", "sid", "oldstable", "stable", "testing", "unstable")
"""Suites by which a mirror of Debian is known; those of security and updates lie elsewhere or are not whole."""


def source_line(suite: str, etc: Path = ETC) -> str:
    """`deb [signed-by=…] URI suite main`.

    Raises:
        SetupError: no mirror of Debian is configured, or its keys are not there.
    """
    keyring = next((file for file in KEYRINGS if file.is_file()), None)
    uri = next((uri for uri, suites in repositories(etc) if not set(suites).isdisjoint(RELEASES)), None)
    if uri is None or keyring is None:
        what = "no mirror of Debian is configured in /etc/apt" if uri is None else f"{KEYRINGS[-1]} is missing"
        raise SetupError(f"{what}, so Debian's packages cannot be fetched: use a Debian host with the package debian-archive-keyring")
    return f"deb [signed-by={keyring}] {uri} {suite} main"


def repositories(etc: Path) -> Iterator[tuple[str, list[str]]]:
    """The URI and the suites of each binary repository that has `main`."""
    parts = etc / "sources.list.d"
    for file in (etc / "sources.list", *sorted(parts.glob("*.list"))):
        for line in text_of(file).splitlines():
            found = re.fullmatch(r"\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+([^#]*)(?:#.*)?", line)
            if found and "main" in found[3].split():
                yield found[1], [found[2]]
    for file in sorted(parts.glob("*.sources")):
        text = re.sub(r"(?m)^#.*\n?", "", text_of(file))
        for stanza in re.split(r"\n\s*\n", text):
            fields = {name.lower(): words.split() for name, words in re.findall(r"(?m)^([\w-]+):((?:.*(?:\n[ \t].*)*))", stanza)}
            if "deb" in fields.get("types", []) and "main" in fields.get("components", []) and fields.get("enabled") != ["no"]:
                for uri in fields.get("uris", []):
                    yield uri, fields.get("suites", [])


def text_of(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
