"""The command `patchwave`: `apply`, and the commands that other packages add through entry points."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from patchwave.errors import PatchwaveError

app = typer.Typer(
    name="patchwave", help="Patch fleets in waves.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
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
    from patchwave.rollout import apply_rollout

    raise typer.Exit(apply_rollout(rollout, output))


def main() -> None:
    """Run the command line; an error a person can act on is one line and exit code 1."""
    try:
        app()
    except PatchwaveError as error:
        print(f"patchwave: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
