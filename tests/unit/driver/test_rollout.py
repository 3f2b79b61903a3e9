from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from patchwave import cli, environment, locks, output, rollout
from patchwave.errors import PatchwaveError

INI = "[WARNING]: Failed to parse inventory with 'ini' plugin: Invalid host pattern 'plugin:'\n"
END = "[ERROR]: Completely failed to parse inventory source /etc/my estate/a.yml\n"


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        (
            "[WARNING]: Failed to parse inventory with 'auto' plugin: patchwave.aws.patch_groups: select: is not "
            "JMESPath: [0\nFailed to parse inventory with 'auto' plugin.\n" + INI + END,
            "/etc/my estate/a.yml: select: is not JMESPath: [0",
        ),
        (
            "[WARNING]: Failed to parse inventory with 'auto' plugin: YAML parsing failed: while parsing\n"
            "Origin: /etc/x:3:1\n" + INI + END,
            "/etc/my estate/a.yml: YAML parsing failed: while parsing",
        ),
        ("something else", "src: something else"),
        (
            "[ERROR]: YAML parsing failed: no node.\nOrigin: /etc/my estate/group_vars/all.yml:1:5\n\n1 a: [\n",
            "/etc/my estate/group_vars/all.yml:1:5: YAML parsing failed: no node.",
        ),
        (
            "ERROR! Syntax Error while loading YAML.\n\n"
            "The error appears to be in '/x/group_vars/a.yml': line 2, column 1",
            "/x/group_vars/a.yml:2:1: Syntax Error while loading YAML.",
        ),
        ("[ERROR]: YAML parsing failed: x", "locked.yml: YAML parsing failed: x"),
        (
            "ERROR: Error reading config file (/x/ansible.cfg): File contains no section headers.\nfile: 'x'\n\nT\n",
            "Error reading config file (/x/ansible.cfg): File contains no section headers. file: 'x'",
        ),
        (
            "[ERROR]: Could not process '/x/all.yml': expected dicts but got a 'dict' and a '_AnsibleTaggedList'.",
            "Could not process '/x/all.yml': expected dicts but got a 'dict' and a 'list'.",
        ),
        ("", "src: ansible-inventory could not read it"),
    ],
)
def test_of_all_that_ansible_prints_the_file_and_the_reason_are_told(printed: str, line: str) -> None:
    assert output.why_no_inventory(Path("src"), printed, [Path("locked.yml")]) == line


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        *(("_AnsibleTaggedStr", "str"), ("_AnsibleTaggedInt", "int"), ("_AnsibleTaggedDict", "dict")),
        *(("AnsibleUnicode", "str"), ("AnsibleSequence", "list"), ("AnsibleMapping", "dict")),
        ("AnsibleError", "AnsibleError"),
        ("<class 'ansible.module_utils._internal._datatag._AnsibleTaggedList'>", "list"),
    ],
)
def test_ansibles_own_names_of_types_reach_nobody(name: str, shown: str) -> None:
    assert output.what_went_wrong(f"[ERROR]: not a {name}") == f"not a {shown}"


def test_what_ansible_passed_over_is_told() -> None:
    printed = (
        '[WARNING]: Skipping unexpected key (var) in group (a), only "vars", "children"\nand "hosts" are valid\n'
        "[WARNING]: patchwave.aws.patch_groups: a tag\n"
        "[WARNING]: Skipping 'b' as this is not a valid group definition\n\n"
    )
    assert output.warnings(printed) == [
        'Skipping unexpected key (var) in group (a), only "vars", "children" and "hosts" are valid',
        "Skipping 'b' as this is not a valid group definition",
    ]


@pytest.mark.parametrize("arguments", [[], ["aply"], ["apply"], ["apply", "--outptu", "x", "r.yml"], ["apply", "x"]])
def test_a_wrong_command_line_does_not_end_like_nodes_that_need_a_person(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["patchwave", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1


@pytest.mark.parametrize(("own", "most", "forks"), [("", 0, "20"), ("", 5, "5"), ("", 200, "20"), ("50", 200, "50")])
def test_no_more_nodes_at_once_than_allowed_over_ansibles_own_connection(
    own: str, most: int, forks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_FORKS", own)
    assert environment.ansible(Path("cache"), most)["ANSIBLE_FORKS"] == forks


def test_what_is_no_text_and_what_means_others_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    os.environb[b"PATCHWAVE_TEST"] = b"\xff"
    monkeypatch.setenv("JOB_ID", "build-7")
    monkeypatch.setenv("ANSIBLE_NO_LOG", "true")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", "mine")
    monkeypatch.setenv("ANSIBLE_INVENTORY_ENABLED", "my.own.plugin")
    try:
        found = environment.ansible(Path("folder"))
    finally:
        del os.environb[b"PATCHWAVE_TEST"]
    assert not {"PATCHWAVE_TEST", "JOB_ID"} & found.keys()
    assert (found["ANSIBLE_NO_LOG"], found["ANSIBLE_VAULT_PASSWORD_FILE"]) == ("false", "mine")
    assert found["ANSIBLE_INVENTORY_ENABLED"].split(",")[-1] == "my.own.plugin"
    assert "auto" in found["ANSIBLE_INVENTORY_ENABLED"]


def test_one_driver_at_a_time_works_in_a_folder(rollouts: Any) -> None:
    held = locks.take(rollouts.folder / "apply.lock")
    assert held
    with pytest.raises(PatchwaveError, match=r"apply\.lock: another patchwave apply is running on this rollout"):
        rollouts.run()
    held.close()
    assert rollouts.run()[0] == 0


def test_what_a_killed_driver_began_is_waited_for_with_the_lock_free(
    rollouts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The action that is left sees that its owner is gone, and lets the journal go."""
    journal = locks.take(rollouts.folder / "wave_z.journal")
    assert journal
    seen: list[bool] = []

    def wait(path: Path, seconds: float) -> bool:
        seen.append(locks.is_held(rollouts.folder / "apply.lock"))
        journal.close()
        return not locks.is_held(path)

    monkeypatch.setattr(locks, "wait_until_free", wait)
    assert rollouts.run()[0] == 0
    assert seen[0] is False


def test_an_output_folder_that_cannot_be_made_is_named_before_anything_begins(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PatchwaveError, match=r"the output folder cannot be made: .*/file is no folder"):
        rollout._check_folder(tmp_path / "file" / "out")
    rollout._check_folder(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()


PRINTED = """
PLAY [x] *****
ok: [a]
{0}

PLAY RECAP *****
a : ok=1
"""


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        ("[ERROR]: no vault\nOrigin: /x.yml:1:2\n\n1 x\n", "no vault"),
        ("ERROR! the role 'x' was not found\n", "the role 'x' was not found"),
        ('fatal: [a]: FAILED! => {"changed": false, "msg": "no\\nroom"}\n', "no room"),
        ("fatal: [a]: UNREACHABLE! => {...}\n", "{...}"),
        ("[WARNING]: deprecated\nTraceback (most recent call last):\n  File\nValueError: odd\n", "ValueError: odd"),
        ("[ERROR]: " + "x" * 2000, "x" * 500 + " ..."),
        ("[ERROR]: https://b/k?X-Amz-Signature=abc&x", "https://b/k?X-Amz-Signature=...&x"),
        ("\x1b[31m[ERROR]: red\x1b[0m\r\n", "red"),
    ],
)
def test_of_what_ansible_printed_the_error_is_told(printed: str, line: str) -> None:
    assert output.what_went_wrong(PRINTED.format(printed)) == line
    assert output.what_went_wrong("") == ""
