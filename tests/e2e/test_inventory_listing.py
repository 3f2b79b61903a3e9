"""What `ansible-inventory` writes for a job server: values as they are, and none that could become a template."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from inventory_listing import marked, texts

REGION = "eu-central-1"
HOSTILE = {
    "Name": "{{ lookup('pipe', 'echo evaluated') }}",
    "Begins": "{% set x = 1 %}evaluated{{ 7 * 191 }}",
    "Comment": "{# gone #}kept",
    "Brace": "{",
    "Behind a brace": "{ 7 * 191 }}",
    "Statement behind a brace": "% if true %}1337",
}
HARMLESS = {"PatchGroup": "web", "Owner": "team #1", "Load": "100% or so", "Closes": "}}", "Kanji": "東京"}
#: Expressions of a user, of which a job server wants the values.
COMPOSE = {
    "enabled": "ssm.ping_status == 'Online'",
    "state": "ssm.ping_status",
    "label": "'node-' ~ node_id",
    "both": "node_tags.Brace | default('') ~ node_tags['Behind a brace'] | default('')",
}


@pytest.fixture(scope="module")
def estate(make_lab: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    common = {"account": "123456789012", "region": REGION, "virtual": True}
    nodes = [{"name": "hostile", "tags": {**HARMLESS, **HOSTILE}}, {"name": "good", "tags": HARMLESS}]
    path = tmp_path_factory.mktemp("listing") / "scenario.yml"
    scenario = {"accounts": ["123456789012"], "regions": [REGION], "nodes": [{**one, **common} for one in nodes]}
    path.write_text(yaml.safe_dump(scenario))
    return make_lab("listing", path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "patch_groups.yml"
    options = {"plugin": "patchwave.aws.patch_groups", "regions": [REGION], "compose": COMPOSE, "hostvars": "full"}
    path.write_text(yaml.safe_dump(options))
    return path


@pytest.mark.parametrize("options", [[], ["--export"]], ids=["list", "export"])
def test_values_are_written_as_they_are_unless_a_template_could_come_of_them(
    estate: Any, source: Path, options: list[str]
) -> None:
    listed = estate.run("ansible-inventory", "-i", source, "--list", *options).stdout
    hosts = json.loads(listed)["_meta"]["hostvars"]
    good, hostile = (hosts[estate.nodes()[name]] for name in ("good", "hostile"))
    assert list(marked(good)) == []
    assert good["ssm"]["ping_status"] == good["state"] == "Online"
    assert good["enabled"] is True
    assert good["label"] == f"node-{good['node_id']}"
    assert set(HARMLESS.values()) <= set(texts(good))
    assert set(HARMLESS.values()) <= set(texts(hostile))
    assert set(HOSTILE.values()) <= set(marked(hostile))
    assert not set(HOSTILE.values()) & set(texts(hostile))


PLAY = """
- hosts: all
  gather_facts: false
  vars:
    pieces: "{{ node_tags.Brace | default('') ~ node_tags['Behind a brace'] | default('') }}"
    mine: "{{ '{' ~ node_tags['Statement behind a brace'] | default('') }}"
  tasks:
    - ansible.builtin.debug:
        msg: "{{ [node_name, node_tags, both, pieces, mine, hostvars[inventory_hostname].node_tags] | string }}"
    - ansible.builtin.set_fact:
        again: "{{ node_tags.Begins | default('') }}{{ both }}{{ pieces }}"
    - ansible.builtin.debug:
        var: again
      when: node_name != '' and node_tags.Begins | default('{') is search('{')
    - ansible.builtin.copy:
        content: "{{ node_name }} {{ node_tags.Comment | default('kept') }} {{ both }}"
        dest: "{{ folder }}/{{ inventory_hostname }}"
      delegate_to: localhost
"""


def never_evaluated(estate: Any, inventory: Path, run: Callable[..., Any]) -> None:
    """Play with an inventory, and see that what tags say stays what they say."""
    playbook = inventory.parent / "play.yml"
    playbook.write_text(PLAY)
    shown = run("ansible-playbook", "-i", inventory, "-e", f"folder={inventory.parent}", playbook).stdout
    assert "lookup('pipe'" in shown
    # A text that says so itself does not count.
    assert "1337" not in shown.replace(HOSTILE["Statement behind a brace"], "")
    assert "\\nevaluated" not in shown
    written = (inventory.parent / estate.nodes()["hostile"]).read_text()
    assert written == f"{HOSTILE['Name']} {HOSTILE['Comment']} {HOSTILE['Brace']}{HOSTILE['Behind a brace']}"


def test_what_tags_say_is_evaluated_by_no_play(estate: Any, source: Path) -> None:
    never_evaluated(estate, source, estate.run)


def exported(estate: Any, source: Path, run: Callable[..., Any]) -> Path:
    """Make an inventory script of a listing, as a job server does for its jobs."""
    listed = source.parent / "listed.json"
    listed.write_text(run("ansible-inventory", "-i", source, "--list", "--export").stdout)
    folder = source.parent / "job"
    folder.mkdir()
    script = folder / "hosts"
    script.write_text(f"#!/bin/sh\ncat {listed}\n")
    script.chmod(0o755)
    return script


def test_nor_by_one_whose_inventory_is_the_listing(estate: Any, source: Path) -> None:
    never_evaluated(estate, exported(estate, source, estate.run), estate.run)
