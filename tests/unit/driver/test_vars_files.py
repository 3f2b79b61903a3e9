from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from patchwave import vars_files
from patchwave.errors import PatchwaveError
from patchwave.rollout_file import read_rollout

GROUPS = {"wave_1": ["i-1"], "managed_nodes": ["i-1"]}
HOSTS = {"i-1": {"node_name": "web-01"}}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def warnings(folder: Path) -> list[str]:
    return [line.replace(f"{folder}/", "") for line in vars_files.check(folder).warnings(GROUPS, HOSTS)]


TWICE = "patch_freezes: []\nx: 1\npatch_freezes: [1]\n"
SAID = ":3:1: key 'patch_freezes' is there twice, first in line 1; keep one"


@pytest.mark.parametrize("source", ["", "patch_groups.yml"])
@pytest.mark.parametrize(
    "name",
    [
        "group_vars/wave_1.yml",
        "group_vars/wave_1",
        "group_vars/wave_1.json",
        "group_vars/all/freezes.yaml",
        "group_vars/all/deeper/freezes",
        "group_vars/nobody.yml",
        "host_vars/i-1.yml",
        "patch_groups.yml",
    ],
)
def test_a_key_that_is_there_twice_is_refused_with_file_and_line(tmp_path: Path, name: str, source: str) -> None:
    write(tmp_path, {"patch_groups.yml": "plugin: x\n", name: TWICE})
    with pytest.raises(PatchwaveError) as caught:
        vars_files.check(tmp_path / source)
    assert str(caught.value) == f"{tmp_path / name}{SAID}"


def test_so_are_keys_of_a_static_inventory_deep_inside(tmp_path: Path) -> None:
    text = "all:\n  children:\n    wave_1:\n      hosts: {a: }\n      vars: {patch_freezes: []}\n      vars: {}\n"
    write(tmp_path, {"more/hosts.yml": text})
    with pytest.raises(PatchwaveError, match=r"more/hosts\.yml:6:7: key 'vars' is there twice, first in line 5"):
        vars_files.check(tmp_path)


def test_two_files_of_a_group_must_not_both_have_a_variable_of_ours(tmp_path: Path) -> None:
    write(tmp_path, {"group_vars/all/a.yml": "x: 1\npatch_freezes: []\n", "group_vars/all/b.yml": "x: 2\n"})
    assert warnings(tmp_path) == []
    write(tmp_path, {"group_vars/all/b.yml": "patch_freezes: []\n"})
    with pytest.raises(PatchwaveError) as caught:
        vars_files.check(tmp_path)
    folder = tmp_path / "group_vars" / "all"
    wanted = f"{folder}/b.yml:1: 'patch_freezes' is also in {folder}/a.yml:2, and the last one would win; keep one"
    assert str(caught.value) == wanted


def test_a_merged_variable_counts_as_one_of_its_file(tmp_path: Path) -> None:
    merged = "b: &b {patch_freezes: []}\n<<: *b\n"
    write(tmp_path, {"group_vars/all/b.yml": merged, "group_vars/all/c.yml": "x: 1\npatch_freezes: [1]\n"})
    with pytest.raises(PatchwaveError, match=r"all/c\.yml:2: 'patch_freezes' is also in .*/all/b\.yml:1, "):
        vars_files.check(tmp_path)


MERGED = "which lets none override a merged one, first in line"


@pytest.mark.parametrize("name", ["group_vars/all.yml", "host_vars/i-1/a.yml", "hosts.yml"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("b: &b {k: []}\n<<: *b\nk: [1]\n", f":3:1: key 'k' is there twice to Ansible, {MERGED} 1; keep one"),
        ("k: 1\nb: &b {k: 2}\n<<: *b\n", f":1:1: key 'k' is there twice to Ansible, {MERGED} 2; keep one"),
        ("b: &b {k: 2}\nc: [{<<: *b, k: 3}]\n", f":2:14: key 'k' is there twice to Ansible, {MERGED} 1; keep one"),
        ("!unsafe k: 1\nk: [1]\n", f":2:1: key 'k' is there twice to Ansible, {MERGED} 1; keep one"),
        ("&k k: 1\n*k : 2\n", ":1:1: key 'k' is there twice, first in line 1; keep one"),
        ("a: {true: 1, 1: 2}\n", f":1:14: key '1' is there twice to Ansible, {MERGED} 1; keep one"),
        ("a: !unsafe {k: 1, k: 2}\n", ":1:19: key 'k' is there twice, first in line 1; keep one"),
        ("a: !foo 1\n", ":1:4: is not YAML: could not determine a constructor for the tag '!foo'"),
        ("a: !vault [1]\n", ":1:4: !vault needs a text"),
        (
            "a: 2026-13-45\n",
            ":1:4: '2026-13-45' is not what YAML takes it for; put it in quotes if it is meant as text",
        ),
        ("a: {[1]: 3}\n", ":1:5: is not YAML: found unhashable key"),
        (
            "<<: 5\n",
            ":1:5: is not YAML: expected a mapping or list of mappings for merging, but found scalar",
        ),
    ],
)
def test_what_ansible_refuses_is_refused_with_its_file(tmp_path: Path, name: str, text: str, said: str) -> None:
    write(tmp_path, {name: text})
    with pytest.raises(PatchwaveError) as caught:
        vars_files.check(tmp_path)
    assert str(caught.value) == f"{tmp_path / name}{said}"


def test_so_are_two_merged_mappings_with_one_key(tmp_path: Path) -> None:
    write(tmp_path, {"group_vars/all.yml": "b: &b {key: 2}\nc: &c {key: 2}\nd: {<<: [*b, *c]}\n"})
    with pytest.raises(PatchwaveError, match=r"all\.yml:[12]:8: key 'key' is there twice to Ansible"):
        vars_files.check(tmp_path)


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"group_vars/loop": "."}, "group_vars/loop: is a link to {}/group_vars, in which it is itself; remove"),
        ({"group_vars/all/up": ".."}, "group_vars/all/up: is a link to {}/group_vars, in which it is itself; remove"),
        ({"loop": "."}, "loop: is a link to {}, in which it is itself; remove"),
        ({"host_vars/i-1": "../group_vars", "group_vars/x": "../host_vars"}, "group_vars/x/i-1: is a link to "),
    ],
)
def test_a_link_to_a_folder_around_it_is_a_short_line(tmp_path: Path, files: dict[str, str], line: str) -> None:
    for name, target in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(target)
    with pytest.raises(PatchwaveError) as caught:
        vars_files.check(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/{line.format(tmp_path)}")
    assert len(str(caught.value)) < 3 * len(str(tmp_path)) + 120


def test_variables_beside_a_link_to_an_inventory_are_those_that_ansible_reads(tmp_path: Path) -> None:
    write(tmp_path, {"real/hosts.yml": "", "real/group_vars/all.yml": "", "used/group_vars/all.yml": TWICE})
    (tmp_path / "used" / "hosts.yml").symlink_to("../real/hosts.yml")
    with pytest.raises(PatchwaveError, match=r"used/group_vars/all\.yml:3:1"):
        vars_files.check(tmp_path / "used" / "hosts.yml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", ":1:5: is not YAML"),
        ("a: &a [*a]\n", ":1:4: contains itself"),
        ("a: 1\n---\nb: 1\n", ":2:1: is not YAML"),
        ("a: " + "[" * 4000 + "]" * 4000, " is nested too deeply"),
        (
            "a: &a0 [1,1,1,1,1,1,1,1,1,1]\n"
            + "".join(f"b{n}: &a{n + 1} [{','.join([f'*a{n}'] * 10)}]\n" for n in range(6)),
            " values",
        ),
        ("a: \0", "has the character 0"),
        ("- a\n", ":1:1: must be a mapping"),
        ("a text\n", ":1:1: must be a mapping"),
    ],
)
def test_odd_yaml_is_refused_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path, {"group_vars/all.yml": text})
    with pytest.raises(PatchwaveError) as caught:
        vars_files.check(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/group_vars/all.yml")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path, {"group_vars/all/a.yml": ""})
    os.mkfifo(tmp_path / "group_vars" / "all" / "b.yml")
    with pytest.raises(PatchwaveError, match=r"all/b\.yml: is a pipe or a device, where a file is needed"):
        vars_files.check(tmp_path)


def test_what_ansible_reads_is_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "group_vars/wave_1.yml": "a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  00\nb: !unsafe '{{'\nc: 010\n",
            "group_vars/all/locked": "$ANSIBLE_VAULT;1.1;AES256\n3061\n",
            "group_vars/all/open.yml": "patch_windows: []\n",
            "group_vars/.hidden.yml": TWICE,
            "group_vars/all.yml~": TWICE,
            "host_vars/i-1.json": '{"a": 1}',
            "README.md": TWICE,
            "hosts.ini": TWICE,
        },
    )
    assert warnings(tmp_path) == []
    assert warnings(write(tmp_path / "empty", {"hosts.yml": ""})) == []


@pytest.mark.parametrize(
    ("files", "lines"),
    [
        (
            {"group_vars/wave1.yml": ""},
            [
                "group_vars/wave1.yml: no group with hosts is called 'wave1', so nothing reads it; "
                "did you mean 'wave_1'?"
            ],
        ),
        ({"group_vars/xyz/a.yml": ""}, ["group_vars/xyz: no group with hosts is called 'xyz', so nothing reads it"]),
        (
            {"host_vars/web-01.yml": ""},
            [
                "host_vars/web-01.yml: no host is called 'web-01', so nothing reads it; "
                "the node of this name is host 'i-1'"
            ],
        ),
        (
            {"group_vars/wave_1.yml.bak": ""},
            [
                "group_vars/wave_1.yml.bak: no group with hosts is called 'wave_1.yml.bak', so nothing reads it; "
                "did you mean 'wave_1'?"
            ],
        ),
        (
            {"group_vars/wave_1/a.yml": "", "group_vars/wave_1.yml": ""},
            ["group_vars/wave_1.yml: is not read, for group_vars/wave_1 is there"],
        ),
        (
            {"group_vars/wave_1.yaml": "", "group_vars/wave_1.yml": ""},
            ["group_vars/wave_1.yaml: is not read, for group_vars/wave_1.yml is there"],
        ),
        (
            {"group_vars/all/a.txt": TWICE},
            ["group_vars/all/a.txt: is not read by Ansible, for its name ends in '.txt'"],
        ),
        ({"groups_vars/all.yml": ""}, ["groups_vars: is not read by Ansible; did you mean 'group_vars'?"]),
        ({"Host-Vars/all.yml": ""}, ["Host-Vars: is not read by Ansible; did you mean 'host_vars'?"]),
        (
            {"group_vars/all.yml": "a: 1\npatch_software_max_eror: 5\ngate_minutes_left: 5\n"},
            [
                "group_vars/all.yml:2: nothing reads 'patch_software_max_eror'; "
                "did you mean 'patch_software_max_errors'?"
            ],
        ),
        (
            {"group_vars/all.yml": "patchwave_trasport: connection\npatchwave_hosts: x\n"},
            ["group_vars/all.yml:1: nothing reads 'patchwave_trasport'; did you mean 'patchwave_transport'?"],
        ),
    ],
)
def test_what_nobody_reads_is_told(tmp_path: Path, files: dict[str, str], lines: list[str]) -> None:
    assert warnings(write(tmp_path, files)) == lines


@pytest.mark.parametrize("name", ["aws.yml", "aws", "patch-groups.yaml", "sub/aws.ini.x"])
@pytest.mark.parametrize(
    "text", ["plugin: patchwave.aws.patch_groups\n", "---\n'plugin' : \"patchwave.aws.patch_groups\"\n"]
)
def test_an_inventory_that_the_plugin_would_not_take_says_how_it_must_be_called(
    tmp_path: Path, name: str, text: str
) -> None:
    write(tmp_path, {name: text})
    for source in (tmp_path, tmp_path / name):
        with pytest.raises(PatchwaveError) as caught:
            vars_files.check(source)
        wanted = "plugin: the name of such a file must end in patch_groups.yml or patch_groups.yaml; rename it"
        assert str(caught.value) == f"{tmp_path / name}: {wanted}"


@pytest.fixture
def usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a rollout, a catalog, an inventory and the current folder, each in one of its own."""
    rollout = {"schema": 1, "name": "urgent", "inventory": "../inv", "catalog": "../programs/c.yml", "software": "tool"}
    archive = {"url": "https://example.com/t", "sha256": "0" * 64, "version": "2"}
    tool = {"fixed_in": "2", "archive": archive, "dest": "/opt/tool", "probe": {"command": ["/opt/tool/current/tool"]}}
    text = json.dumps({**rollout, "waves": ["wave_1"], "bucket": "b"})
    files = {"rollouts/r.yml": text, "programs/c.yml": json.dumps({"tool": tool}), "inv/sub/hosts.yml": ""}
    write(tmp_path, {**files, "here/x": "", "inv/group_vars/all.yml": "patch_freezes: []\n"})
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def of_rollout(folder: Path) -> list[str]:
    wanted = read_rollout(folder / "rollouts" / "r.yml")
    lines = vars_files.check(wanted.inventory, wanted.folders).warnings(GROUPS, HOSTS)
    return [line.replace(f"{folder.resolve()}/", "").replace("rollouts/../", "") for line in lines]


PLACES = ("", "rollouts/", "programs/", "here/", "inv/sub/")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("folder", ["group_vars", "host_vars"])
def test_variables_where_ansible_does_not_read_them_are_told(usual: Path, place: str, folder: str) -> None:
    assert of_rollout(usual) == []
    # Whatever is wrong with files that nobody reads is no reason to refuse.
    write(
        usual, {f"{place}{folder}/all/a.yml": "a: 1\n", f"{place}{folder}/b.yml": "a: [", f"{place}{folder}/c": "- 1"}
    )
    (usual / place / folder / "loop").symlink_to(".")
    wanted = f"beside the inventory, inv/{folder}; move there what counts here"
    assert of_rollout(usual) == [f"{place}{folder}: NOT READ: Ansible reads the {folder} {wanted}"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["group_vars/all.yml", "group_vars/nobody/deep/x", "host_vars/i-1.json"])
@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("x: 1\npatch_freezes: []", "patch_freezes"),
        ("x: 1\npatch_freezes_eu: !vault |\n  00\n", "patch_freezes_eu"),
        ("x: &x\n  patch_windows: []\n<<: *x\n", "patch_windows"),
    ],
)
def test_a_calendar_where_ansible_does_not_read_it_is_refused(
    usual: Path, place: str, name: str, text: str, key: str
) -> None:
    write(usual, {f"{place}{name}": text})
    with pytest.raises(PatchwaveError) as caught:
        of_rollout(usual)
    said = str(caught.value).replace(f"{usual.resolve()}/", "").replace("rollouts/../", "")
    folder = name.partition("/")[0]
    why = f"for of {place}{folder} Ansible reads nothing; move it to inv/{folder}, beside the inventory"
    assert said == f"{place}{name}:2: '{key}' would not be in force, {why}"


def test_variables_that_a_link_leads_to_are_read(usual: Path) -> None:
    (usual / "rollouts" / "group_vars").symlink_to("../inv/group_vars")
    (usual / "group_vars").mkdir()
    (usual / "group_vars" / "all.yml").symlink_to("../inv/group_vars/all.yml")
    assert [line.partition(":")[0] for line in of_rollout(usual)] == ["group_vars"]


@pytest.mark.parametrize("place", PLACES)
def test_names_that_are_nearly_right_are_told_there_too(usual: Path, place: str) -> None:
    write(usual, {f"{place}groups_vars/all.yml": "patch_freezes: []"})
    assert of_rollout(usual) == [f"{place}groups_vars: is not read by Ansible; did you mean 'group_vars'?"]
