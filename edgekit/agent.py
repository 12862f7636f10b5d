"""A job for the agent on a device in, its result out: the host's half of the contract in `targets/common/agent.py`."""

from __future__ import annotations

import json
import secrets
import signal
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from edgekit.errors import AgentError, CommandFailed, DeviceTimeout
from edgekit.transport import Transport
from edgekit.transport.streams import last_line

PULL_S = 300.0

Progress = Callable[[str, float | None], None]


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RuntimeTold(Record):
    name: str
    version: str


class WarmUp(Record):
    median_ns: int
    seconds: float
    steady: bool


class LatencyResult(Record):
    """`result.json` of the mode `latency`; not complete where the agent was ended while it measured."""

    job: str
    complete: bool
    load_ns: int
    first_ns: int
    runtime: RuntimeTold
    delegate_asked: str
    delegate_ran: str
    cores: tuple[int, ...]
    before: Mapping[str, str]
    after: Mapping[str, str]
    warm_up: WarmUp | None = None
    every: int | None = None


class MemoryResult(Record):
    """`result.json` of the mode `memory`."""

    job: str
    complete: bool
    peak_rss_bytes: int | None
    model_rss_bytes: int | None
    pss_bytes: int | None
    cgroup_peak_bytes: int | None
    peak_was_reset: bool


Result = TypeVar("Result", bound=Record)


@dataclass(frozen=True, slots=True)
class Agent:
    """A device's python, the agent's file there, and the folder there that its jobs write to, one after the other."""

    transport: Transport
    python: str
    path: str
    folder: str

    def run(self, job: Mapping[str, Any], *, deadline_s: float, progress: Progress) -> tuple[dict[str, Any] | None, str | None]:
        """Run a job to its end. Returns its result, and how it ended if that was early (then the result is partial or None).

        Raises:
            AgentError: it refused, in its own words.
            Unreachable: the connection was lost.
        """
        said: dict[str, Any] = {}

        def listen(line: str) -> None:
            try:
                message = json.loads(line)
            except ValueError:
                return
            if isinstance(message, dict):
                said.update(message)
                if "text" in message:
                    progress(str(message["text"]), None)

        name = secrets.token_hex(8)
        argv = [self.python, "-I", "-S", self.path, self.folder]
        try:
            done = self.transport.run(argv, timeout_s=deadline_s, check=False, stdin=json.dumps({**job, "job": name}).encode(), on_line=listen)
            ended = None if "result" in said else early_end(done.code, done.stderr)
        except DeviceTimeout:
            ended = f"was stopped after {deadline_s:.0f} s; allow more time or use fewer samples"
        result = said.get("result") if ended is None else self.left_behind(name)
        if result is not None and "error" in result:
            raise AgentError(self.transport.address, str(result["error"]["message"]), argv=argv)
        return result, ended

    def left_behind(self, name: str) -> dict[str, Any] | None:
        """The result that the agent of this job wrote before it was ended; None if it did not get that far: what lies there is an earlier job's."""
        with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
            local = Path(scratch) / "result.json"
            try:
                self.transport.pull(f"{self.folder}/result.json", local, timeout_s=PULL_S)
            except CommandFailed:
                return None
            content = json.loads(local.read_text())
            return content if isinstance(content, dict) and content.get("job") == name else None

    def pull(self, name: str, destination: Path) -> Path:
        """Fetch a file that a job wrote."""
        self.transport.pull(f"{self.folder}/{name}", destination, timeout_s=PULL_S)
        return destination


def early_end(code: int, stderr: str) -> str:
    """How an agent that gave no result ended: a clause with its cause and cure."""
    if code == 128 + signal.SIGKILL:
        return "was killed by the system; memory has most likely run out: close other programs there or use a smaller model"
    if code > 128 and code - 128 in set(signal.Signals):
        return f"crashed ({signal.Signals(code - 128).name}); the runtime there cannot take this file: use another format"
    return f"failed ({last_line(stderr) or f'code {code}'}); check the device's python3"


def read(kind: type[Result], content: Mapping[str, Any], address: str) -> Result:
    """A result of the agent as a record.

    Raises:
        AgentError: it is not one.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as exc:
        raise AgentError(address, f"the agent's result cannot be read ({exc.error_count()} fields are wrong): repeat the command") from exc
