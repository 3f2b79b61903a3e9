#!/usr/bin/env python3
"""`systemctl`, `service`, `reboot` and `shutdown` of a lab node: they ask the node's process 1."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any, NoReturn

SOCKET = "/run/patchwave-lab/init.sock"
ENABLED = "/etc/patchwave-lab/enabled"
MISSING = {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead", "MainPID": "0"}


def ask(verb: str, unit: str) -> dict[str, Any]:
    """One question to process 1."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(SOCKET)
    connection.sendall(json.dumps({"verb": verb, "unit": unit}).encode() + b"\n")
    return dict(json.loads(connection.makefile("rb").readline() or b'{"code": 0}'))


def fail(code: int, text: str) -> NoReturn:
    """Say what is wrong and end."""
    print(text, file=sys.stderr)
    sys.exit(code)


def refuse_in_check() -> None:
    """Change nothing for who may not (`patchwave lab switch --check-only`)."""
    if os.statvfs(os.path.dirname(SOCKET)).f_flag & os.ST_RDONLY:
        fail(1, "Failed to change a unit or the node: Read-only file system")


def change(verb: str, names: list[str]) -> int:
    """Start, stop, restart or reload; systemd's exit codes 5 (no such unit) and 1 (failed)."""
    refuse_in_check()
    worst = 0
    for name in names:
        if verb.startswith("try-"):
            if ask("show", name).get("ActiveState") != "active":
                continue
            found = ask("restart", name)
        else:
            found = ask("restart" if verb == "reload-or-restart" else verb, name)
        if found["code"]:
            full = name if name.endswith(".service") else name + ".service"
            text = found["error"]
            if found.get("missing"):
                text = f"Failed to {verb} {full}: Unit {full} not found."
            print(text, file=sys.stderr)
            worst = found["code"]
    return worst


def is_state(verb: str, names: list[str], quiet: bool) -> int:
    """is-active and is-failed: 0 if one is, else 3 (1 for is-failed); prints each state."""
    wanted, hit = verb[3:], False
    for name in names:
        state = ask("show", name).get("ActiveState", "inactive")
        hit = hit or state == wanted
        if not quiet:
            print(state)
    return 0 if hit else 3 if wanted == "active" else 1


def status(names: list[str]) -> int:
    """Status for people: 0 active, 3 inactive, 4 unknown."""
    code = 0
    for name in names:
        found = ask("show", name)
        if found.get("missing"):
            print(f"Unit {name}.service could not be found.", file=sys.stderr)
            return 4
        print("{Id} - {Description}".format(**found))
        print("     Loaded: loaded ({FragmentPath}; {UnitFileState})".format(**found))
        print("     Active: {ActiveState} ({SubState})\n   Main PID: {MainPID}".format(**found))
        code = code if found["ActiveState"] == "active" else 3
    return code


def show(names: list[str], properties: list[str], value: bool) -> int:
    """Properties as KEY=VALUE, or the bare values."""
    for name in names:
        found = ask("show", name)
        if found.get("missing"):
            found = {"Id": name, **MISSING}
        for key in properties or [key for key in found if key[0].isupper()]:
            if key in found or properties:
                print(found.get(key, "") if value else f"{key}={found.get(key, '')}")
    return 0


def enablement(verb: str, names: list[str], now: bool) -> int:
    """enable, disable, is-enabled: kept in a file, since the wants of this machine are not the node's."""
    names = [name[:-8] if name.endswith(".service") else name for name in names]
    try:
        with open(ENABLED) as stream:
            known = set(stream.read().split())
    except OSError:
        known = set()
    if verb == "is-enabled":
        print("\n".join("enabled" if name in known else "disabled" for name in names))
        return 0 if known & set(names) else 1
    for name in names:
        if ask("show", name).get("missing"):
            fail(1, f"Failed to {verb} unit: Unit file {name}.service does not exist.")
    os.makedirs(os.path.dirname(ENABLED), exist_ok=True)
    with open(ENABLED, "w") as stream:
        stream.write(
            "".join(sorted(name + "\n" for name in (known | set(names) if verb == "enable" else known - set(names))))
        )
    return change("start" if verb == "enable" else "stop", names) if now else 0


CHANGES = ("start", "stop", "restart", "reload", "try-restart", "reload-or-restart", "try-reload-or-restart")


def parse(words: list[str]) -> tuple[set[str], list[str], list[str]]:
    """Options, the other words, and the values of --property."""
    options, rest, properties = set(), [], []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word in ("-p", "--property"):
            properties += queue.pop(0).split(",")
        elif word.startswith(("-p", "--property=")):
            properties += word.replace("--property=", "").replace("-p", "", 1).split(",")
        elif word in ("-n", "--lines", "-t", "--type"):
            queue.pop(0)
        elif word.startswith("-"):
            options.add(word)
        else:
            rest.append(word)
    return options, rest, properties


def systemctl(words: list[str]) -> int:
    """The verbs that packages, Ansible and people use; any other does nothing."""
    options, rest, properties = parse(words)
    verb, names = (rest or ["list-units"])[0], rest[1:]
    if verb in CHANGES:
        return change(verb, names)
    if verb in ("is-active", "is-failed"):
        return is_state(verb, names, bool({"-q", "--quiet"} & options))
    if verb in ("enable", "disable", "is-enabled"):
        return enablement(verb, names, "--now" in options)
    if verb == "show":
        return show(names, properties, "--value" in options)
    if verb == "status":
        return status(names)
    if verb == "reboot":
        refuse_in_check()
        ask("reboot", "")
    if verb == "is-system-running":
        print("running")
    return 0


def service(words: list[str]) -> int:
    """`service NAME VERB`: the unit, else the script in /etc/init.d."""
    if len(words) < 2:
        fail(1, "Usage: service < option > | --status-all | [ service_name [ command | --full-restart ] ]")
    name, verb = words[0], words[1]
    if not ask("show", name).get("missing"):
        return systemctl([verb, name])
    script = "/etc/init.d/" + name
    if os.access(script, os.X_OK):
        return subprocess.call([script, *words[1:]])
    fail(1, f"{name}: unrecognized service")


def main() -> None:
    """Which program this is says its name."""
    program, words = os.path.basename(sys.argv[0]), sys.argv[1:]
    try:
        if program == "service":
            sys.exit(service(words))
        if program in ("reboot", "shutdown"):
            if program == "reboot" or "-r" in words:
                refuse_in_check()
                ask("reboot", "")
            sys.exit(0)
        sys.exit(systemctl(words))
    except OSError as error:
        fail(1, f"cannot ask the node's process 1: {error}")


if __name__ == "__main__":
    main()
