"""The command line as a user calls it: argv in, exit code, stdout and stderr out; a private store, the shared cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EDGEKIT = Path(sys.executable).parent / "edgekit"


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said and how it ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found

    @property
    def error(self) -> str:
        """The one sentence after `error: `."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.stderr
        return lines[0].removeprefix("error: ")


def edgekit(*argv: object, cwd: Path | None = None, timeout_s: float = 300, **env: str) -> Said:
    """Run `edgekit …`; no traceback may ever be seen."""
    words = [str(EDGEKIT), *(str(word) for word in argv)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=cwd, timeout=timeout_s, env={**os.environ, "COLUMNS": "200", **env})
    assert "Traceback" not in done.stderr, done.stderr
    return Said(done.returncode, done.stdout, done.stderr)
