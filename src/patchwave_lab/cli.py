"""`patchwave lab`: start, use and stop a lab. Imports nothing slow; `up` loads the rest."""

import os
import shlex
import sys
from typing import Annotated, NoReturn

import typer

from patchwave_lab import labdir
from patchwave_lab.errors import LabError
from patchwave_lab.labdir import DEFAULT_NAME, LabState, NodeEntry

app = typer.Typer(
    name="lab",
    help="An AWS on loopback whose nodes really run what they are told.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
#: Variables that keep an SDK from what `env` prints; and those of single services (AWS_ENDPOINT_URL_SSM).
WINNERS = (
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"),
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)
#: A clock that is moved on further in one step would soon be beyond all dates.
YEAR = 366 * 86_400
Name = Annotated[str, typer.Option("--name", envvar="PATCHWAVE_LAB_NAME", help="Which lab; several can run.")]


def fail(error: LabError) -> NoReturn:
    """One line on stderr, and exit code 1."""
    print(f"patchwave lab: {error}", file=sys.stderr)
    raise typer.Exit(1)


@app.command()
def up(
    name: Name = DEFAULT_NAME,
    chosen: Annotated[
        str | None, typer.Option("--scenario", help="A scenario file, or the name of a built-in one. Default: demo.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 0,
    virtual: Annotated[int, typer.Option(min=0, help="Instead of a scenario: this many virtual nodes.")] = 0,
    accounts: Annotated[str, typer.Option(help="Accounts to spread virtual nodes over, with commas.")] = "",
    regions: Annotated[str, typer.Option(help="Regions to spread virtual nodes over, with commas.")] = "",
) -> None:
    """Start a lab in the background."""
    from patchwave_lab import control

    try:
        control.require_extra()
        from patchwave_lab import fleet, scenario

        if virtual and chosen:
            raise LabError("--virtual and --scenario exclude each other; a scenario can have virtual nodes")
        if (accounts or regions) and not virtual:
            raise LabError("--accounts and --regions go with --virtual")
        source, text = (
            (f"--virtual {virtual}", fleet.text(virtual, _split(accounts), _split(regions)))
            if virtual
            else scenario.read_text(chosen or "demo")
        )
        _show(control.up(name, source, text, port))
    except LabError as error:
        fail(error)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


@app.command()
def status(name: Name = DEFAULT_NAME) -> None:
    """Say what runs."""
    try:
        _, state = labdir.require_running(name)
    except LabError as error:
        fail(error)
    _show(state)
    for node in state.nodes:
        print(f"  {node.node_id:<21}{node.name:<16}{node.account}  {node.region}")


@app.command()
def env(name: Name = DEFAULT_NAME) -> None:
    """Print shell commands that point any AWS SDK at the lab: eval "$(patchwave lab env)"."""
    try:
        _, state = labdir.require_running(name)
    except LabError as error:
        fail(error)
    variables = {
        "AWS_ENDPOINT_URL": state.endpoint,
        "AWS_ACCESS_KEY_ID": state.access_key,
        "AWS_SECRET_ACCESS_KEY": state.secret_key,
        "AWS_REGION": state.region,
        "AWS_DEFAULT_REGION": state.region,
    }
    for key, value in variables.items():
        print(f"export {key}={shlex.quote(value)}")
    # What would win over the above.
    own = sorted(key for key in os.environ if key.startswith("AWS_ENDPOINT_URL_"))
    print("unset", *WINNERS, *own)


@app.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def execute(
    arguments: Annotated[list[str], typer.Argument(metavar="NODE -- COMMAND...", help="NODE is an id or a name.")],
    name: Name = DEFAULT_NAME,
    every: Annotated[
        bool, typer.Option("--all", help="In every node, one after the other; then without NODE.")
    ] = False,
) -> None:
    """Run a command inside a node, as its root."""
    from patchwave_lab import execution

    words = [*arguments]
    try:
        lab, state = labdir.require_running(name)
        node = None if every else execution.find(state, words.pop(0))
        if words[:1] == ["--"]:
            words.pop(0)
        if not words:
            raise LabError("no command; write: patchwave lab exec NODE -- COMMAND...")
        if node is None:
            raise typer.Exit(execution.run_everywhere(lab, state, words))
        execution.replace_process(lab, node, words)
    except LabError as error:
        fail(error)


@app.command()
def reset(name: Name = DEFAULT_NAME) -> None:
    """Make nodes, commands, buckets and API log as new; endpoint, credentials and ids stay."""
    from patchwave_lab import control

    try:
        state = control.reset(name)
    except LabError as error:
        fail(error)
    print(f"lab {state.name!r} is as new: {_count(state.nodes)}")


@app.command()
def fault(
    kind: Annotated[str, typer.Argument(metavar="FAULT", help="Which one; --kinds lists them.")] = "",
    nodes: Annotated[list[str] | None, typer.Argument(help="Ids or names; none: all.")] = None,
    name: Name = DEFAULT_NAME,
    account: Annotated[str, typer.Option(help="Only there.")] = "",
    region: Annotated[str, typer.Option(help="Only there.")] = "",
    lasts: Annotated[float | None, typer.Option("--for", min=0, help="Seconds by the lab's clock.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="How often.")] = None,
    numbers: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=NUMBER", help="Such as rate=1.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Say which are on.")] = False,
    kinds: Annotated[bool, typer.Option("--kinds", help="Say which there are.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="End it; without FAULT, all.")] = False,
) -> None:
    """Make something go wrong."""
    from patchwave_lab import control, faults

    if kinds:
        for key, each in faults.KINDS.items():
            print(f"{key:<20}{each.text}" + "".join(f" [{name}={number:g}]" for name, number in each.numbers.items()))
        return
    try:
        _, state = labdir.require_running(name)
        request: dict[str, object] = {"name": kind, "nodes": nodes or [], "account": account, "region": region}
        request |= {"for": lasts, "count": count, **_numbers(numbers or [])}
        if not (kind or listed or clear):
            raise LabError("which fault? See: patchwave lab fault --kinds")
        if clear and (nodes or account or region):
            raise LabError("--clear ends a fault everywhere; it takes no nodes, account or region")
        body: dict[str, object] = {"clear": kind} if clear else {} if listed else {"add": request}
        for each in control.ask(state, "fault", **body)["faults"]:
            where = " ".join([*each["nodes"], each["account"], each["region"]]).split()
            print(f"{each['name']:<20}{' '.join(where) or 'everywhere'}")
    except LabError as error:
        fail(error)


def _numbers(pairs: list[str]) -> dict[str, float]:
    try:
        return {key: float(number) for key, number in (pair.split("=", 1) for pair in pairs)}
    except ValueError:
        raise LabError("--set takes KEY=NUMBER") from None


@app.command()
def clock(
    name: Name = DEFAULT_NAME,
    advance: Annotated[float, typer.Option(min=0, max=YEAR, help="Seconds to move it on.")] = 0,
) -> None:
    """Say what time it is in the lab, and move its clock on: timeouts need no waiting."""
    from datetime import UTC, datetime

    from patchwave_lab import control

    try:
        _, state = labdir.require_running(name)
        now = control.ask(state, "advance", seconds=advance)["now"]
    except LabError as error:
        fail(error)
    print(datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"))


@app.command()
def switch(
    name: Name = DEFAULT_NAME,
    read_only: Annotated[
        bool | None, typer.Option("--read-only/--read-write", help="Refuse every call that changes something.")
    ] = None,
    check_only: Annotated[
        bool | None,
        typer.Option(
            "--check-only/--no-check-only",
            help="The same but for what check mode over Run Command needs; note what is written on nodes.",
        ),
    ] = None,
    iam: Annotated[
        bool | None, typer.Option("--iam/--no-iam", help="Refuse what the caller's policies do not allow.")
    ] = None,
) -> None:
    """Turn refusals on and off, and say which are on."""
    from patchwave_lab import control

    try:
        _, state = labdir.require_running(name)
        asked = {"read_only": read_only, "check_only": check_only, "iam": iam}
        found = control.ask(state, "switch", **{key: value for key, value in asked.items() if value is not None})
    except LabError as error:
        fail(error)
    for line in found["written"]:
        print(line)
    names = {"read_only": "read-only", "check_only": "check-only", "iam": "IAM"}
    print("; ".join(f"{name}: {'on' if found[key] else 'off'}" for key, name in names.items()))


@app.command()
def register(
    activation: Annotated[str, typer.Argument(metavar="ID", help="Of an activation.")],
    code: Annotated[str, typer.Argument(help="That CreateActivation showed.")],
    host: Annotated[str, typer.Argument(help="Host name of the server.")] = "",
    name: Name = DEFAULT_NAME,
) -> None:
    """Register a virtual server with an activation, as its agent would; print its id."""
    from patchwave_lab import control

    try:
        _, state = labdir.require_running(name)
        print(control.ask(state, "register", id=activation, code=code, name=host)["node_id"])
    except LabError as error:
        fail(error)


@app.command()
def down(name: Name = DEFAULT_NAME) -> None:
    """Stop a lab and all that runs in it, and remove its files."""
    from patchwave_lab import control

    try:
        print(control.down(name))
    except LabError as error:
        fail(error)


def _show(state: LabState) -> None:
    option = "" if state.name == DEFAULT_NAME else f" --name {shlex.quote(state.name)}"
    print(f"lab {state.name!r} runs on {state.endpoint} (process {state.pid}, scenario {state.scenario})")
    accounts, regions = ", ".join(state.accounts), ", ".join(sorted({node.region for node in state.nodes}))
    print(f"  {_count(state.nodes)} in {accounts}; {regions}")
    print(f"  buckets: {', '.join(state.buckets) or 'none'}; files: {labdir.find(state.name).path}")
    print(f'  use it: eval "$(patchwave lab env{option})"')


def _count(nodes: list[NodeEntry]) -> str:
    return "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"


def main() -> None:
    """`python -m patchwave_lab`."""
    app(prog_name=os.environ.get("PATCHWAVE_PROG", "patchwave lab"))
