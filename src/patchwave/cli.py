"""The command `patchwave`: `apply`, and the commands that other packages add through entry points."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from patchwave.errors import PatchwaveError, Stopped
from patchwave.interrupts import handled

#: Errors of a standard output that takes nothing more.
_NOT_WRITTEN = (errno.EBADF, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE)

app = typer.Typer(
    name="patchwave",
    help="Patch fleets in waves.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    # Locals may be a catalog with its passwords.
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
)
for _command in sorted(entry_points(group="patchwave.commands"), key=lambda entry: entry.name):
    app.add_typer(_command.load(), name=_command.name)


# 2, with which a wrong command line ends elsewhere, says of a rollout that nodes need a person. typer exports of the
# class of those errors only this subclass, and mypy knows no attribute of `__base__`, hence setattr().
setattr(typer.BadParameter.__base__, "exit_code", 1)  # noqa: B010 - see above


@app.callback()
def patchwave() -> None:
    """Patch fleets in waves."""


@app.command()
def apply(
    rollout: Annotated[Path, typer.Argument(help="The rollout file (YAML).")],
    output: Annotated[
        Path | None, typer.Option(help="Where the ledger and the reports go; default: a folder named as the rollout.")
    ] = None,
) -> None:
    """Run or resume a rollout, wave by wave; exit 0 when every node is right, 2 when some need a person."""
    with handled() as interrupts:
        from patchwave.rollout import apply_rollout

        raise typer.Exit(apply_rollout(rollout, output, interrupts))


@app.command()
def stop(
    rollout: Annotated[Path, typer.Argument(help="The rollout file (YAML).")],
    reason: Annotated[str, typer.Option(help="Why; whoever runs the rollout is told.")] = "",
    by: Annotated[str, typer.Option(help="Who stops it; default: your user name.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="Stop every rollout that uses the same bucket.")] = False,
    lift: Annotated[bool, typer.Option("--lift", help="Take the stop back, so that the rollout may go on.")] = False,
) -> None:
    """Stop a rollout from outside, wherever it runs or was killed; exit 2 when a part, 1 when nothing could be done."""
    with handled() as interrupts:
        from patchwave.stop import stop_rollout

        raise typer.Exit(stop_rollout(rollout, by, reason, all_, lift, interrupts))


def main() -> None:
    """Run the command line; an error a person can act on is one line and an exit code that says what was changed."""
    _without_prompt()
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    code = 0
    try:
        app()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except PatchwaveError as error:
        _say(str(error))
        code = error.exit_code
    except Stopped:
        _say("stopped before anything was sent")
        code = 130
    except OSError as error:
        if error.filename is not None or error.errno not in _NOT_WRITTEN:
            raise
        _close_output(error)
        code = 1
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        _close_output(error)
        code = code or 1
    sys.exit(code)


def _close_output(error: Exception) -> None:
    """Say that standard output takes nothing, unless its reader has gone, and let Python not try again at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
        _say(f"standard output cannot be written: {getattr(error, 'strerror', None) or error}")


def _without_prompt() -> None:
    """Begin anew without PYTHONINSPECT, with which Python would wait at the end for somebody to type."""
    if sys.flags.inspect and os.environ.pop("PYTHONINSPECT", ""):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _open_streams() -> None:
    """Open the standard streams that the caller has closed; or a file of ours would get their numbers."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for as long as this lives
            descriptor = getattr(sys, name).fileno()
            if descriptor > number:
                os.dup2(descriptor, number)


def _say(line: str) -> None:
    """Print one line, whatever is in it and whether or not somebody is there to read it."""
    shown = "".join(char if char.isprintable() else " " for char in line)
    with contextlib.suppress(OSError, ValueError):
        print(f"patchwave: {' '.join(shown.split())}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
