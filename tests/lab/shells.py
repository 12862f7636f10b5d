"""A shell's name in, a folder for PATH out: `sh` is that shell there, beside the programs that a device with it has, and no Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.conftest import missing

# Shell → whose programs it finds. Android's are mksh and toybox, of which Debian has the first; a Mac's have shasum in place of sha256sum.
TOOLS = {"dash": "coreutils", "bash": "coreutils", "busybox": "busybox", "mksh": "busybox", "sh": "shasum"}
SHELLS = list(TOOLS)


def programs(shell: str, folder: Path) -> Path:
    """A folder for PATH where `sh` is that shell, and which has no Python."""
    tools, found = TOOLS[shell], shutil.which("dash" if shell == "sh" else shell)
    if found is None or (tools == "busybox" and shutil.which("busybox") is None):
        missing(f"the shell {shell}", "sudo apt-get install busybox-static mksh dash bash")
    folder.mkdir()
    if tools == "busybox":
        subprocess.run(["busybox", "--install", "-s", folder], check=True)
        if shell != "busybox":  # whose setsid would start its own shell, whatever `sh` is
            (folder / "setsid").unlink()
            (folder / "setsid").symlink_to(str(shutil.which("setsid")))
    else:
        names = ["cat", "chmod", "cp", "cut", "df", "du", "find", "gzip", "mkdir", "mv", "perl", "rm", "rmdir", "setsid", "sleep", "sync", "tar", "tr", "wc"]
        for name in [*names, "shasum" if tools == "shasum" else "sha256sum"]:
            if (program := shutil.which(name)) is not None:
                (folder / name).symlink_to(program)
    (folder / "sh").unlink(missing_ok=True)
    (folder / "sh").symlink_to(str(found))
    return folder
