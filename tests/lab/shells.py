"""A shell's name in, a folder for PATH out: `sh` is that shell there, beside the programs that a device with it has, and no Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.conftest import missing

# Shell → whose programs it finds. mksh and toybox are Android's; a Mac's have shasum in place of sha256sum.
TOOLS = {"dash": "coreutils", "bash": "coreutils", "busybox": "busybox", "mksh": "toybox", "sh": "shasum"}
SHELLS = list(TOOLS)
COREUTILS = ("cat", "chmod", "cp", "cut", "df", "du", "find", "gzip", "mkdir", "mv", "perl", "rm", "rmdir", "setsid", "sleep", "sync", "tar", "wc")


def programs(shell: str, folder: Path) -> Path:
    """A folder for PATH where `sh` is that shell, and which has no Python."""
    tools, found = TOOLS[shell], shutil.which("dash" if shell == "sh" else shell)
    if found is None or (tools in ("busybox", "toybox") and shutil.which(tools) is None):
        missing(f"the shell {shell} with {tools}", "sudo apt-get install dash bash busybox-static mksh toybox")
    folder.mkdir()
    if tools in ("busybox", "toybox"):
        box = str(shutil.which(tools))
        listed = subprocess.run([box, *(["--list"] if tools == "busybox" else [])], capture_output=True, text=True, check=True)
        links = dict.fromkeys(listed.stdout.split(), box)
    else:
        names = (*COREUTILS, "shasum" if tools == "shasum" else "sha256sum")
        links = {name: path for name in names if (path := shutil.which(name)) is not None}
    for name, program in {**links, "sh": found}.items():
        (folder / name).symlink_to(program)
    return folder
