"""docs/lab.md names every operation, setting, fault, command and scenario of the lab, and nothing that is not there."""

import re
from dataclasses import fields
from pathlib import Path

import yaml

from patchwave_lab import cli, faults, scenario
from patchwave_lab.ssm.operations import OPERATIONS

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "lab.md").read_text(encoding="utf-8")
#: Operations of Systems Manager that moto serves, on the lab's nodes or documents.
OF_MOTO = {"AddTagsToResource", "RemoveTagsFromResource", "ListTagsForResource"}


def table(header):
    """The rows of the table that begins with this header, as lists of cells."""
    lines = TEXT.split(header, 1)[1].splitlines()[1:]
    end = next(place for place, line in enumerate(lines) if not line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:end]]


def test_every_operation_is_listed_with_how_exact_it_is():
    rows = table("| operation | | notes |")
    assert {row[1] for row in rows} == {"exact", "simplified", "unknown"}
    assert all(len(row) >= 2 for row in rows)
    named = {word for row in rows for word in re.split(r", ", row[0]) if word in OPERATIONS or word in OF_MOTO}
    assert named == OPERATIONS.keys() | OF_MOTO


def test_every_setting_is_listed_with_its_default():
    written = {row[0].strip("`"): yaml.safe_load(row[1].strip("`")) for row in table("| setting | default | meaning |")}
    assert written == {each.name: each.default for each in fields(scenario.Settings)}


def test_every_fault_is_listed_with_its_numbers():
    cells = " ".join(row[0] for row in table("| fault | what happens |"))
    assert set(re.findall(r"`([a-z-]+)`", cells)) == faults.KINDS.keys()
    numbers = {pair for kind in faults.KINDS.values() for pair in ((key, f"{n:g}") for key, n in kind.numbers.items())}
    assert set(re.findall(r"(\w+)=(\d+)", cells)) == numbers


def test_every_command_and_scenario_is_listed():
    commands = {each.name or each.callback.__name__ for each in cli.app.registered_commands}
    assert {row[0].strip("`").split()[0] for row in table("| command | does |")} == commands
    assert {row[0].strip("`") for row in table("| ready scenario | what |")} == set(scenario.builtin_names())


def test_every_key_of_a_node_is_shown():
    example = yaml.safe_load(TEXT.split("## Scenarios\n```yaml\n")[1].split("```")[0])
    assert example["nodes"][0].keys() == scenario.NODE_KEYS
