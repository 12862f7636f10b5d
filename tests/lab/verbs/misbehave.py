"""A worker's verb that does, on request, everything a worker should not do."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any


def run(job: Any) -> dict[str, Any]:
    how = job.options["how"]
    job.progress(f"about to {how}", 0.5)
    if how == "abort":
        os.abort()
    if how == "be killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "be killed once":
        left = job.kept / "left.txt"
        if not left.exists():
            left.write_text("half of it")
            os.kill(os.getpid(), signal.SIGKILL)
        return {"how": how, "n": len(left.read_text())}
    if how == "hang":
        time.sleep(600)
    if how == "hang with a child":
        child = subprocess.Popen(["sleep", "600"])
        job.inputs["pidfile"].write_text(str(child.pid))
        time.sleep(600)
    if how == "hog":
        hoard = []
        for _ in range(100):
            hoard.append(bytearray(os.urandom(1 << 20) * 20))
            time.sleep(0.02)
    if how == "raise":
        raise RuntimeError("a library's own words")
    if how == "refuse":
        job.refuse("node 'n' has operator Foo, which nobody takes: remove it", op="Foo", node="n")
    if how == "fill the disk":
        with open("/dev/full", "w") as full:
            full.write("x")
    if how == "chatter":
        print("a library prints to stdout")
    if how == "exit":
        os._exit(3)
    (job.out / "file.txt").write_text(how)
    return {"how": how, "n": job.options.get("n", 0)}
