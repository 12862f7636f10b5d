"""argv in, exit code out. Only `edgekit.cli` prints; each verb is a file here and is imported when it is called."""

from __future__ import annotations

import errno
import functools
import importlib
import json
import os
import shutil
import signal
import sys
import textwrap
import traceback

import click

COMMANDS = {
    "inspect": "A model's inputs, outputs, operators, parameters and MACs.",
    "convert": "Write a model as TFLite, Core ML and ONNX, compressed and verified.",
    "ops": "Look up which ONNX operators a format carries.",
    "diff": "Name the first operator whose output in one file departs from another's.",
    "sensitivity": "Compress each layer alone, and tell how far the outputs go.",
    "bench": "Measure one file on a device.",
    "deploy": "Convert, verify, measure on a device, and choose what to ship.",
    "search": "Try recipes on a device, and show which are worth having.",
    "package": "Package a run's choice for an app release; verify a package.",
    "targets": "List the devices and profiles that --target takes.",
    "lab": "Your devices: add one, or bring up virtual ones.",
    "profile": "Show what a kind of device is and allows; draft a profile from a device.",
    "setup": "Send a device what it needs to run files, or remove it all.",
    "doctor": "Examine a device: what is wrong and how to mend it.",
    "runs": "List and show what was measured.",
    "explain": "What the figures mean that edgekit prints, and how each is taken.",
    "toolchains": "List and install the converters' environments.",
}


class Verbs(click.Group):
    """The verbs by name; a verb's module is imported only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"edgekit.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from edgekit.nearest import unknown

            raise unknown("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edgekit-mobile", prog_name="edgekit")
def cli() -> None:
    """Compressed models for mobile runtimes, measured on the devices they ship to.

    Every command takes --json (one object on stdout) and --debug (show tracebacks). Exit codes: 0 done, 1 the answer is no,
    2 input, 3 set-up, 4 conversion, 5 device, 6 release.
    """


def main() -> None:
    """The console script."""
    argv = [arg for arg in sys.argv[1:] if arg != "--debug"]
    debug = len(argv) < len(sys.argv) - 1
    signal.signal(signal.SIGTERM, interrupt)
    try:
        code = run(argv, debug)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe has gone, as `| head` does
        code = 0
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing is left to flush to
    except OSError as exc:
        if exc.errno != errno.ENOSPC:
            raise
        print("error: what stdout goes to is full: send the output elsewhere", file=sys.stderr)
        code = 3
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)


def interrupt(*_: object) -> None:
    """Have SIGTERM end edgekit as Ctrl-C does: workers, the device's agent and half-written files go."""
    raise KeyboardInterrupt


def run(argv: list[str], debug: bool) -> int:
    """One command: argv in, exit code out; every error that is meant for people is said here."""
    from edgekit.errors import EdgekitError

    try:
        code = cli.main(argv, prog_name="edgekit", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except EdgekitError as exc:
        if debug:
            traceback.print_exc()
        return say_error(argv, type(exc).__name__, str(exc), exc.exit_code)
    except click.exceptions.NoArgsIsHelpError as exc:
        exc.show()
        return exc.exit_code
    except click.UsageError as exc:
        path = exc.ctx.command_path.removesuffix(" make") if exc.ctx else "edgekit"
        return say_error(argv, "UsageError", f"{exc.format_message().rstrip('.')}: see `{path} --help`", exc.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return say_error(argv, "Interrupted", "stopped: nothing half-written is left, and what was measured is kept", 130)


def say_error(argv: list[str], kind: str, message: str, exit_code: int) -> int:
    """One sentence on stderr, and for --json an object with the error on stdout; gives the exit code."""
    if "--json" in argv:
        verb = next((arg for arg in argv if not arg.startswith("-")), "edgekit")
        body = {"schema": f"edgekit.{verb}/1", "error": {"kind": kind, "message": message, "exit_code": exit_code}}
        print(json.dumps(body, indent=1))
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown")
    style = ("\033[1;31m", "\033[0m") if sys.stderr.isatty() and not plain else ("", "")
    print(f"{style[0]}error:{style[1]} {broken(message) if sys.stderr.isatty() else message}", file=sys.stderr)
    return exit_code


def broken(message: str) -> str:
    """The lines that follow `error: ` on a terminal: broken between words, and set in."""
    width, _ = shutil.get_terminal_size()
    fill = functools.partial(textwrap.fill, width=width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False, replace_whitespace=False)
    first, *others = message.split("\n")
    return "\n".join([fill(first, initial_indent="error: ").removeprefix("error: "), *map(fill, others)])
