"""Windows and freezes of the example inventory, by the playbook and by the driver."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.patchwave.aws.plugins.module_utils._core.calendar import WEEKDAYS
from conftest import ROOT

INVENTORY = ROOT / "inventory"
FIRST_WAVE = ("web-01", "app-01", "db-01", "batch-01")


@pytest.fixture(scope="module")
def verdicts(lab: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """Ask the gate about a group of the example inventory at a time: verdicts(group, at)."""
    play = tmp_path_factory.mktemp("gate") / "play.yml"
    ask_all = {"patchwave.aws.gate": {"at": "{{ at }}", "minutes_left": 30}, "run_once": True}
    tasks = [{"name": "Ask", **ask_all}]
    play.write_text(yaml.safe_dump([{"hosts": "{{ group }}", "gather_facts": False, "tasks": tasks}]))

    def ask(group: str, at: str, **more: Any) -> dict[str, Any]:
        extra = json.dumps({"group": group, "at": at, **more})
        done = lab.run(
            *("ansible-playbook", play, "-i", INVENTORY, "-e", extra),
            check=False,
            ANSIBLE_STDOUT_CALLBACK="ansible.posix.json",
        )
        (play_result,) = json.loads(done.stdout)["plays"]
        (result,) = play_result["tasks"][0]["hosts"].values()
        return dict(result)

    return ask


def test_a_wave_may_start_in_its_window_until_it_ends(verdicts: Callable[..., dict[str, Any]]) -> None:
    found = verdicts("wave_2", "2026-10-17T23:00+02:00")
    assert (found["closed"], found["latest_start"]) == ([], "2026-10-18T04:00:00+02:00")


@pytest.mark.parametrize(
    ("group", "at", "why"),
    [
        ("wave_2", "2026-10-17T21:59+02:00", "outside its window, may start 2026-10-17T22:00+02:00"),
        (
            "wave_2",
            "2026-10-18T03:31+02:00",
            "less than 30 minutes are left until 2026-10-18T04:00+02:00, may start 2026-11-14T22:00+01:00",
        ),
        ("wave_3", "2026-12-19T23:00+01:00", "frozen (Year end), may start 2027-01-23T22:00+01:00"),
    ],
)
def test_else_it_is_told_when(verdicts: Callable[..., dict[str, Any]], group: str, at: str, why: str) -> None:
    found = verdicts(group, at)
    assert found["failed"]
    assert all(line.endswith(why) for line in found["closed"]), found["closed"]
    assert found["msg"].startswith("the gate is closed: ")


def test_of_a_batch_the_moment_is_told_that_suits_everybody(verdicts: Callable[..., dict[str, Any]]) -> None:
    # A week lies between the windows of these two, so they never start together.
    found = verdicts("wave_1:wave_2", "2026-10-17T23:00+02:00")
    assert all(line.endswith("outside its window, may start never within a year") for line in found["closed"])
    assert sorted(one["hosts"] for one in found["calendars"])[-1] > 1


def test_check_mode_tells_the_verdict_and_goes_on(
    lab: Any, install: Callable[..., None], variables: Path, tmp_path: Path
) -> None:
    install("web-01")
    content = yaml.safe_load(variables.read_text())
    del content["gate_override"]
    content["patch_freezes"] = [{"name": "Sale", "start": "2026-01-01", "end": "2050-01-01"}]
    variables.write_text(yaml.safe_dump(content))
    options = ("-i", INVENTORY, "-e", f"@{variables}", "--limit", lab.nodes()["web-01"])
    done = lab.run("ansible-playbook", "patchwave.aws.patch_software", *options, "--check")
    assert "frozen (Sale), may start never within a year; check mode goes on" in done.stdout
    assert lab.exec("web-01", "/opt/tool/current/tool") == "tool 1.0.0\n"
    done = lab.run("ansible-playbook", "patchwave.aws.patch_software", *options, check=False)
    assert done.returncode == 2
    assert "the gate is closed: " in done.stdout


@pytest.mark.parametrize("more", [{}, {"patch_software_node_results": False}])
def test_a_node_that_was_too_late_is_no_success(
    lab: Any, install: Callable[..., None], variables: Path, more: dict[str, Any]
) -> None:
    install("web-01")
    content = yaml.safe_load(variables.read_text())
    content["patch_software_catalog"]["tool"]["latest_start"] = "2026-01-01T00:00:00Z"
    variables.write_text(yaml.safe_dump({**content, **more}))
    options = ("-i", INVENTORY, "-e", f"@{variables}", "--limit", lab.nodes()["web-01"])
    done = lab.run("ansible-playbook", "patchwave.aws.patch_software", *options, check=False)
    assert done.returncode == 2, done.stdout
    assert "too_late" in done.stdout
    assert lab.exec("web-01", "/opt/tool/current/tool") == "tool 1.0.0\n"


@pytest.mark.needs_root
def test_nor_is_it_over_its_own_connection(
    lab: Any, install: Callable[..., None], variables: Path, ssh_inventory: Path
) -> None:
    install("web-02", "db-02")
    content = yaml.safe_load(variables.read_text())
    content["patch_software_catalog"]["tool"]["latest_start"] = "2026-01-01T00:00:00Z"
    variables.write_text(yaml.safe_dump({**content, "patchwave_transport": "connection"}))
    options = ("-i", ssh_inventory, "-e", f"@{variables}")
    done = lab.run("ansible-playbook", "patchwave.aws.patch_software", *options, check=False)
    assert done.returncode == 2, done.stdout
    assert done.stdout.count("too_late") >= 2


def test_the_verdict_cannot_be_an_extra_variable(lab: Any, variables: Path) -> None:
    options = ("-i", INVENTORY, "-e", f"@{variables}", "-e", '{"gate_verdict": {"latest_start": ""}}')
    before = lab.calls()
    done = lab.run("ansible-playbook", "patchwave.aws.patch_software", *options, check=False)
    assert done.returncode == 2
    assert "gate_verdict: is the gate's own to set, and no extra variable" in done.stdout
    assert "SendCommand" not in {operation for _, _, operation in lab.calls() - before}


def test_a_misspelt_or_emptied_variable_does_not_leave_the_gate_open(verdicts: Callable[..., dict[str, Any]]) -> None:
    for variable, why in (
        ("patch_freeze", "is neither patch_windows nor patch_freezes nor patch_freezes_NAME"),
        ("patch_windows", "is set by extra variables, which cannot change the inventory's windows; use an override"),
    ):
        (line,) = verdicts("wave_2", "2026-10-17T23:00+02:00", **{variable: []})["closed"]
        assert line.endswith(f": the calendar cannot be read: {variable}: {why}")


def test_a_group_with_freezes_of_its_own_keeps_those_of_everybody(verdicts: Callable[..., dict[str, Any]]) -> None:
    lines = verdicts("patch_group_db", "2027-01-07T12:00+01:00")["closed"]
    assert any("frozen (Quarter end)" in line for line in lines)
    lines = verdicts("patch_group_db", "2026-12-19T12:00+01:00")["closed"]
    assert lines
    assert all("frozen (Year end)" in line for line in lines)
    # Nor do extra variables take them away.
    for freezes in ({"patch_freezes": []}, {"patch_freezes_db": []}):
        assert verdicts("patch_group_db", "2027-01-07T12:00+01:00", **freezes)["failed"]


def ask_static(lab: Any, folder: Path, group_vars: dict[str, str], **options: Any) -> tuple[dict[str, Any], str]:
    """Ask the gate in a worker of Ansible's own about a host in two groups; return result and what was printed."""
    (folder / "group_vars").mkdir(parents=True)
    hosts = {"all": {"children": {group: {"hosts": {"h1": None}} for group in ("web", "db")}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(hosts))
    (folder / "password").write_text("secret")
    for group, text in group_vars.items():
        (folder / "group_vars" / f"{group}.yml").write_text(text)
    task = {"name": "Ask", "patchwave.aws.gate": {"at": "2026-11-27T12:00Z", **options}}
    (folder / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    vault = ("--vault-password-file", folder / "password")
    shown = {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    done = lab.run("ansible-playbook", "-i", folder / "hosts.yml", folder / "play.yml", *vault, check=False, **shown)
    return dict(json.loads(done.stdout)["plays"][0]["tasks"][0]["hosts"]["h1"]), done.stdout


def test_freezes_of_two_groups_with_one_name_add_up_vaulted_and_templated_too(lab: Any, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret")
    options = ("--vault-password-file", tmp_path / "password", "--name", "name")
    vaulted = lab.run("ansible-vault", "encrypt_string", *options, "Moving house").stdout
    indented = vaulted.strip().replace("\n", "\n    ")
    group_vars = {
        "all": "patch_freezes: [{name: All, start: 2026-12-01, end: 2026-12-02}]",
        "web": "team: Web\npatch_freezes: [{name: '{{ team }}', start: 2026-12-03, end: 2026-12-04}]",
        "db": f"patch_freezes:\n  - start: 2026-12-05\n    end: 2026-12-06\n    {indented}\n",
    }
    found, dummy = ask_static(lab, tmp_path / "estate", group_vars)
    (calendar,) = found["calendars"]
    assert [text.split(",")[0] for text in calendar["freezes"].split("; ")] == ["All", "Moving house", "Web"]
    assert found["latest_start"] == "2026-12-01T00:00:00+00:00"


def test_what_may_be_a_calendar_of_ours_is_warned_of(lab: Any, tmp_path: Path) -> None:
    found, printed = ask_static(lab, tmp_path / "estate", {"web": "maintenance_windows: []"})
    assert (found["closed"], found["calendars"][0]["windows"]) == ([], "none, so at any time")
    assert "the gate does not read maintenance_windows; did you mean patch_windows or patch_freezes_NAME?" in printed


def inventory(folder: Path, **variables: Any) -> Path:
    """Write an inventory like the example, with other windows and freezes for the first wave."""
    source = folder / "estate"
    (source / "group_vars").mkdir(parents=True)
    (source / "patch_groups.yml").write_text((INVENTORY / "patch_groups.yml").read_text())
    (source / "group_vars" / "wave_1.yml").write_text(yaml.safe_dump(variables))
    return source / "patch_groups.yml"


def test_a_wave_in_its_window_is_patched(
    lab: Any, install: Callable[..., None], rollout: Callable[..., Path], tmp_path: Path
) -> None:
    install(*FIRST_WAVE)
    # Always open, and never for less than twelve hours more.
    windows = [{"weekday": day, "start": time, "end": time} for day in WEEKDAYS for time in ("00:00", "12:00")]
    path = rollout(inventory=str(inventory(tmp_path, patch_windows=windows)), override=None)
    done = lab.run("patchwave", "apply", path, "--output", tmp_path / "out", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["totals"]["patched"] == len(FIRST_WAVE)
    (calendar,) = report["rollout"]["calendars"]
    assert (calendar["wave"], calendar["hosts"], calendar["freezes"]) == ("wave_1", len(FIRST_WAVE), "none")
    assert "every monday, 00:00 to 00:00 of the next day UTC" in calendar["windows"]


def test_a_rollout_can_require_windows(lab: Any, rollout: Callable[..., Path], tmp_path: Path) -> None:
    path = rollout(inventory=str(inventory(tmp_path, other="x")), override=None, require_windows=True)
    done = lab.run("patchwave", "apply", path, "--output", tmp_path / "out", check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "has no patch_windows, which are required (require_windows)" in " ".join(done.stdout.split())


def test_a_closed_gate_stops_the_rollout_before_anything_is_sent(
    lab: Any, rollout: Callable[..., Path], tmp_path: Path
) -> None:
    tomorrow = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).strftime("%Y-%m-%d")
    freeze = {"name": "Sale", "start": "2026-01-01", "end": tomorrow}
    source = inventory(tmp_path, patch_freezes=[freeze])
    content = yaml.safe_load(source.read_text())
    content["accounts"].append({"profile": "no-such-profile", "on_error": "warn"})
    source.write_text(yaml.safe_dump(content))
    path = rollout(inventory=str(source), waves=["wave_1", "wave_2"], override=None)
    before = lab.calls()
    done = lab.run("patchwave", "apply", path, "--output", tmp_path / "out", check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    made = lab.calls() - before
    assert "SendCommand" not in {operation for _, _, operation in made}
    # The play asks nobody again, and what could not be read is told.
    assert {made[call] for call in made if call[2] == "DescribeInstances"} == {1}
    assert "NOT READ: account of profile no-such-profile, region eu-central-1, us-east-1: " in " ".join(
        done.stdout.split()
    )
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [missing["account"] for missing in report["rollout"]["unread"]] == ["of profile no-such-profile"]
    assert {node["outcome"] for node in report["nodes"]} == {"skipped"}
    assert "frozen (Sale), may start" in report["rollout"]["stopped"]
    assert "wave_1: the gate is closed" in " ".join(done.stdout.split())


def test_an_unreadable_calendar_is_frozen_and_an_override_is_in_the_report(
    lab: Any, install: Callable[..., None], rollout: Callable[..., Path], tmp_path: Path
) -> None:
    install(*FIRST_WAVE)
    install("batch-01", sick=True)
    source = inventory(tmp_path, patch_freezes=[{"name": "Sale", "start": "2026-01-01"}])
    override = {"by": "Ada <b>", "reason": "CVE-2026-0001"}
    path = rollout(inventory=str(source), override=override, error_budget=1)
    done = lab.run("patchwave", "apply", path, "--output", tmp_path / "out", check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    (found,) = report["rollout"]["overridden"]
    assert (found["wave"], found["by"], found["reason"]) == ("wave_1", "Ada <b>", "CVE-2026-0001")
    assert "the calendar cannot be read: patch_freezes[0].end: is required and missing" in found["closed"][0]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<b>Ada &lt;b&gt; overrode the gate</b> of wave_1: CVE-2026-0001." in page

    # Without the override the gate is closed; what the first run found out stays.
    path = rollout(inventory=str(source), override=None, error_budget=1)
    assert lab.run("patchwave", "apply", path, "--output", tmp_path / "out", check=False).returncode == 3
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {node["name"]: node["outcome"] for node in report["nodes"]}["batch-01"] == "rolled_back"


def test_an_override_without_a_reason_is_refused(lab: Any, rollout: Callable[..., Path]) -> None:
    path = rollout(override={"by": "me"})
    done = lab.run("patchwave", "apply", path, check=False)
    assert done.returncode == 1
    assert done.stderr == f"patchwave: {path}: override.reason: is required and missing\n"


@pytest.mark.parametrize(
    ("freezes", "tasks", "more"),
    [
        ("{{ hostvars['calendar'].company | default([]) }}", [], {}),
        ("{{ company | default([]) }}", [], {"vars_files": ["company.yml"]}),
        ("{{ company | default([]) }}", [{"ansible.builtin.include_vars": "company.yml"}], {}),
    ],
    ids=["hostvars", "vars_files", "include_vars"],
)
def test_a_freeze_that_ansible_shows_closes_the_gate(
    lab: Any, tmp_path: Path, freezes: str, tasks: list[Any], more: dict[str, Any]
) -> None:
    sale = [{"name": "Sale", "start": datetime.date(2026, 11, 1), "end": datetime.date(2026, 11, 30)}]
    hosts = {"calendar": {"company": sale}}
    web = {"hosts": {"h1": {}, "h2": {}}, "vars": {"patch_freezes": freezes}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "children": {"web": web}}}))
    (tmp_path / "company.yml").write_text(yaml.safe_dump({"company": sale}))
    ask = {"patchwave.aws.gate": {"at": "2026-11-27T12:00Z"}}
    play = {"hosts": "web", "gather_facts": False, **more, "tasks": [*tasks, ask]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    options = ("-i", tmp_path / "hosts.yml", tmp_path / "play.yml")
    # With -e, what an extra variable empties is still in the play, the host's own variables or the inventory.
    for extra in ("{}", '{"company": []}'):
        done = lab.run("ansible-playbook", *options, "-e", extra, check=False)
        assert done.returncode == 2, done.stdout
        assert "frozen (Sale), may start 2026-12-01T00:00+00:00" in done.stdout


def test_a_gate_that_is_open_for_check_mode_alone_lets_nothing_be_done_for_real(
    lab: Any, install: Callable[..., None], variables: Path, tmp_path: Path
) -> None:
    install("web-01")
    content = yaml.safe_load(variables.read_text())
    del content["gate_override"]
    content["patch_freezes_now"] = [{"name": "Now", "start": "2026-01-01", "end": "2099-01-01"}]
    variables.write_text(yaml.safe_dump(content))
    role = {"name": "patchwave.aws.patch_software", "apply": {"check_mode": False}}
    tasks = [
        {"name": "Ask", "ansible.builtin.include_role": {"name": "patchwave.aws.gate"}},
        {"name": "Patch", "ansible.builtin.include_role": role},
    ]
    play = {"name": "Play", "hosts": "managed_nodes", "gather_facts": False, "tasks": tasks}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    options = ("-i", INVENTORY, "-e", f"@{variables}", "--limit", lab.nodes()["web-01"], "--check")
    done = lab.run("ansible-playbook", tmp_path / "play.yml", *options, check=False)
    assert done.returncode == 2, done.stdout
    assert "check mode goes on" in done.stdout
    assert lab.exec("web-01", "/opt/tool/current/tool") == "tool 1.0.0\n"
