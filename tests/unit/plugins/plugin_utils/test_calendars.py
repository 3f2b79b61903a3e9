"""Where windows and freezes come from: read by Ansible's own managers from an inventory on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible import constants
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import vars_loader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible.vars.plugins import _plugin_should_run
from ansible_collections.patchwave.aws.plugins.plugin_utils import _calendars

INVENTORY = """
all:
  children:
    web: {hosts: {h1: , h2: }}
    db: {hosts: {h2: , h3: {patch_freezes: [inline]}}}
"""


class Estate:
    """An inventory beside which files with variables are written, and a play in another folder."""

    def __init__(self, folder: Path) -> None:
        self.inventory, self.play = folder / "inventory", folder / "play"
        self.extra: dict[str, Any] = {}
        self.task: dict[str, Any] = {}
        self.set_facts: dict[str, Any] = {}
        self.write(self.inventory / "hosts.yml", INVENTORY)
        self.play.mkdir()

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def group(self, name: str, text: str, beside: str = "inventory") -> None:
        """Write a group's variables beside the inventory or the play."""
        self.write(getattr(self, beside) / "group_vars" / f"{name}.yml", text)

    def read(self, host: str, facts_of: str = "") -> _calendars.Sources:
        """Read what is set for a host; facts are the host's unless they are of another."""
        loader = DataLoader()
        loader.set_basedir(str(self.play))
        sources = [str(path) for path in sorted(self.inventory.glob("*.*"))]
        inventory = InventoryManager(loader=loader, sources=sources)
        manager = VariableManager(loader=loader, inventory=inventory)
        manager._extra_vars = self.extra
        if self.set_facts:
            manager.set_nonpersistent_facts(facts_of or host, self.set_facts)
        hostvars = HostVars(inventory, manager, loader)

        def at_task(host: str, manager: Any) -> dict[str, Any]:
            facts = manager._nonpersistent_fact_cache.get(host, {})
            return {**manager.get_vars(host=inventory.get_host(host)), **self.task, **facts, **manager.extra_vars}

        return _calendars.Reader(hostvars, at_task, [str(self.play)]).read(host)


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    return Estate(tmp_path)


def freezes(found: _calendars.Sources) -> list[Any]:
    assert not found.wrong
    return [one for dummy, value in found.freezes for one in value]


def test_freezes_of_all_groups_add_up_whatever_they_are_called(estate: Estate) -> None:
    estate.group("all", "patch_freezes: [all]")
    estate.group("web", "patch_freezes: [web]\npatch_freezes_sale: [sale]")
    estate.group("web", "patch_freezes: [web beside the play]", beside="play")
    estate.group("db", "patch_freezes: [db]\npatch_freezes_sale: [db sale]")
    assert sorted(freezes(estate.read("h1"))) == ["all", "sale", "web", "web beside the play"]
    assert sorted(freezes(estate.read("h2"))) == ["all", "db", "db sale", "sale", "web", "web beside the play"]
    assert sorted(freezes(estate.read("h3"))) == ["all", "db", "db sale", "inline"]


def test_freezes_of_several_files_of_one_group_add_up(estate: Estate) -> None:
    for file, freeze in (("a", "one"), ("b", "'{{ other }}'"), ("c/d", "three")):
        text = f"other: two\npatch_freezes: [{freeze}]\npatch_windows: [{file}]"
        estate.write(estate.inventory / "group_vars" / "web" / f"{file}.yml", text)
    found = estate.read("h1")
    assert sorted(freezes(found)) == ["one", "three", "two"]
    assert found.windows == [("patch_windows", ["c/d"])]


def test_freezes_of_several_sources_add_up(estate: Estate) -> None:
    estate.write(estate.inventory / "hosts.yml", INVENTORY + "  vars: {patch_freezes: [one], patch_windows: [one]}")
    estate.write(estate.inventory / "more.ini", "[web:vars]\npatch_freezes=['ini']\n[all:vars]\npatch_freezes=['two']")
    estate.write(estate.inventory / "other.yml", "all: {vars: {patch_freezes: [three], patch_windows: [three]}}")
    estate.write(estate.inventory / "broken.yml", "patch_freezes: [")
    found = estate.read("h1")
    assert sorted(freezes(found)) == ["ini", "one", "three", "two"]
    assert found.windows == [("patch_windows", ["three"])]


@pytest.mark.parametrize("setting", ["RUN_VARS_PLUGINS", "stage"])
def test_freezes_add_up_where_files_are_read_into_the_inventory(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    if setting == "stage":
        plugin = vars_loader.get("host_group_vars")
        monkeypatch.setitem(plugin._options, "stage", "inventory")
    else:
        monkeypatch.setattr(constants, setting, "start")
    _plugin_should_run.cache_clear()
    estate.write(estate.inventory / "hosts.yml", INVENTORY + "  vars: {patch_freezes: [inline all]}")
    estate.group("all", "patch_freezes: [all]")
    for file in ("a", "b"):
        estate.write(estate.inventory / "group_vars" / "web" / f"{file}.yml", f"patch_freezes: [{file}]")
    found = estate.read("h1")
    _plugin_should_run.cache_clear()
    assert sorted(freezes(found)) == ["a", "all", "b", "inline all"]


def test_windows_are_those_of_the_most_specific(estate: Estate) -> None:
    estate.group("all", "patch_windows: [all]")
    estate.group("web", "patch_windows: [web]")
    estate.write(estate.inventory / "host_vars" / "h1.yml", "patch_windows: [h1]")
    for host, windows in (("h1", ["h1"]), ("h2", ["web"]), ("h3", ["all"])):
        assert estate.read(host).windows == [("patch_windows", windows)]


NESTED = """
all:
  vars: {patch_windows: [inline all]}
  children:
    site:
      vars: {patch_windows: [inline site]}
      children:
        b_late: {vars: {patch_windows: [inline late]}, hosts: {h1: , h2: , h3: {patch_windows: [inline h3]}, h4: }}
        a_first: {vars: {ansible_group_priority: 5}, hosts: {h2: , h3: , h5: }}
    other: {hosts: {h4: , h5: , h6: }}
"""


def test_of_nested_groups_the_lower_counts_wherever_it_is_set_and_of_equals_as_ansible_says(estate: Estate) -> None:
    estate.write(estate.inventory / "hosts.yml", NESTED)
    for group, beside in (("a_first", "inventory"), ("b_late", "inventory"), ("other", "play"), ("all", "play")):
        estate.group(group, f"patch_windows: [{group} beside {beside}]", beside=beside)
    estate.write(estate.play / "host_vars" / "h1.yml", "patch_windows: [h1 beside play]")
    found = {host: estate.read(host) for host in ("h1", "h2", "h3", "h4", "h5", "h6")}
    assert not any(one.wrong for one in found.values())
    assert [one.windows[0][1] for one in found.values()] == [
        ["h1 beside play"],
        ["a_first beside inventory"],
        ["inline h3"],
        ["b_late beside inventory"],  # though Ansible reads what is beside the play last
        ["a_first beside inventory"],
        ["other beside play"],
    ]


def test_templates_are_evaluated_with_the_hosts_own_variables(estate: Estate) -> None:
    estate.group("all", "patch_freezes: [{name: '{{ team }}', start: 2026-01-01}]\nteam: ours")
    estate.group("web", "patch_freezes: '{{ empty }}'\nempty: ''")
    estate.group("db", "patch_freezes: '{{ nowhere }}'")
    found = {
        name: value for name, value in estate.read("h3").freezes if isinstance(value, list) and value != ["inline"]
    }
    assert found["patch_freezes"][0]["name"] == "ours"
    assert type(found["patch_freezes"][0]["name"]) is str
    assert ("patch_freezes", "") in estate.read("h1").freezes
    (why,) = filter(None, (_calendars.unreadable(value) for dummy, value in estate.read("h3").freezes))
    assert "nowhere" in why


def test_a_wide_window_of_all_does_not_replace_a_narrow_one_of_a_group(estate: Estate) -> None:
    estate.write(estate.inventory / "hosts.yml", NESTED)
    for beside in ("inventory", "play"):
        estate.group("all", "patch_windows: [wide]", beside=beside)
        estate.group("site", "patch_windows: [wide site]", beside=beside)
    windows = {host: estate.read(host).windows[0][1] for host in ("h1", "h2", "h3", "h6")}
    assert windows == {"h1": ["inline late"], "h2": ["inline late"], "h3": ["inline h3"], "h6": ["wide"]}


COMPANY = "patch_freezes: '{{ company_freezes | default([]) }}'"


def test_a_template_may_name_another_hosts_variables(estate: Estate) -> None:
    estate.write(estate.inventory / "hosts.yml", "all: {hosts: {h1: , calendar: {days: [company]}}}")
    estate.group("all", "patch_freezes: \"{{ hostvars['calendar'].days | default([]) }}\"")
    assert freezes(estate.read("h1")) == ["company"]
    estate.extra, estate.set_facts = {"days": []}, {"days": ["facts"]}
    assert sorted(freezes(estate.read("h1", facts_of="calendar"))) == ["company", "facts"]


@pytest.mark.parametrize("where", ["extra", "task", "set_facts"])
def test_what_a_template_names_counts_wherever_it_is_set(estate: Estate, where: str) -> None:
    estate.group("web", COMPANY)
    setattr(estate, where, {"company_freezes": ["company"]})
    assert freezes(estate.read("h1")) == ["company"]


def test_what_a_template_names_is_taken_away_by_nothing(estate: Estate) -> None:
    estate.group("web", COMPANY)
    estate.group("all", "company_freezes: [all]")
    estate.task = {"company_freezes": ["play"]}
    estate.extra = {"company_freezes": []}
    assert sorted(freezes(estate.read("h1"))) == ["all", "play"]
    estate.extra, estate.set_facts = {}, {"company_freezes": []}
    assert sorted(freezes(estate.read("h1"))) == ["all", "play"]
    estate.task, estate.extra, estate.set_facts = {}, {"company_freezes": []}, {"company_freezes": ["facts"]}
    assert sorted(freezes(estate.read("h1"))) == ["all", "facts"]
    estate.extra, estate.set_facts = {"patch_freezes": []}, {"patch_freezes": ["facts"]}
    assert sorted(freezes(estate.read("h1"))) == ["all", "facts"]


def test_an_extra_variable_that_repeats_the_inventory_hides_nothing(estate: Estate) -> None:
    estate.group("web", "patch_freezes: [web]")
    estate.task, estate.extra = {"patch_freezes": ["play"]}, DataLoader().load("patch_freezes: [web]")
    assert sorted(freezes(estate.read("h1"))) == ["play", "web"]


def test_a_template_that_the_inventory_alone_cannot_fill_closes_the_gate(estate: Estate) -> None:
    estate.group("web", "patch_freezes: '{{ company_freezes }}'")
    estate.task = {"company_freezes": []}
    (why,) = filter(None, (_calendars.unreadable(value) for dummy, value in estate.read("h1").freezes))
    assert why.startswith("from the inventory alone: 'company_freezes' is undefined")
    assert why.endswith("; give the template a default")


@pytest.mark.parametrize("where", ["extra", "task", "set_facts"])
def test_a_windows_template_that_says_something_else_elsewhere_closes_the_gate(estate: Estate, where: str) -> None:
    estate.group("web", "patch_windows: ['{{ evening }}']\nevening: '20:00'")
    assert estate.read("h1").windows == [("patch_windows", ["20:00"])]
    setattr(estate, where, {"evening": "00:00"})
    found = estate.read("h1")
    assert found.windows == [("patch_windows", ["20:00"])]
    assert found.wrong[0].startswith("patch_windows: extra variables, a play or facts change what its template says")


def test_a_template_may_give_a_list_with_dates(estate: Estate) -> None:
    estate.group("web", COMPANY)
    estate.group("all", "company_freezes: [{name: Sale, start: 2026-01-01, end: '{{ end }}'}]\nend: 2026-01-02")
    (found,) = freezes(estate.read("h1"))
    assert (found["name"], str(found["start"]), str(found["end"])) == ("Sale", "2026-01-01", "2026-01-02")


@pytest.mark.parametrize("where", ["extra", "task", "set_facts"])
def test_what_is_set_elsewhere_adds_freezes_and_takes_nothing_away(estate: Estate, where: str) -> None:
    estate.group("web", "patch_freezes: [web]\npatch_windows: [web]")
    for value, left in (([], ["web"]), (["more"], ["web", "more"])):
        setattr(estate, where, {"patch_freezes": value})
        assert freezes(estate.read("h1")) == left
    setattr(estate, where, {"patch_freezes": None})
    assert ("patch_freezes", None) in estate.read("h1").freezes


@pytest.mark.parametrize("where", ["extra", "task", "set_facts"])
@pytest.mark.parametrize("value", [[], [{"weekday": "monday"}], None, ""], ids=repr)
def test_windows_that_are_set_elsewhere_close_the_gate(estate: Estate, where: str, value: Any) -> None:
    for text in ("patch_windows: [web]", "a: b"):
        estate.group("web", text)
        setattr(estate, where, {"patch_windows": value})
        (why,) = estate.read("h1").wrong
        assert why.startswith("patch_windows: is set by ")
        assert ("extra variables" in why) == (where == "extra")


def test_what_the_play_sets_counts_for_all_hosts_and_what_a_host_is_given_for_it_alone(estate: Estate) -> None:
    estate.task = {"patch_freezes": ["play"]}
    assert freezes(estate.read("h2")) == ["play"]
    estate.task, estate.set_facts = {}, {"patch_freezes": ["h2"]}
    assert freezes(estate.read("h2")) == ["h2"]
    assert freezes(estate.read("h3", facts_of="h2")) == ["inline"]


@pytest.mark.parametrize(
    "name",
    [
        *("patch_freeze", "patch_window", "patchwindows", "patch_freezes-eu", "patchwave_freezes", "Patch_Windows"),
        *("patchwave_windows", "patch-freezes", "PATCH_FREEZES", "patch_freezes ", "patch_windows_eu", "patch_freezés"),
    ],
)
def test_a_misspelt_variable_closes_the_gate(estate: Estate, name: str) -> None:
    estate.extra = {name: []}
    assert estate.read("h1").wrong == [f"{name}: is neither patch_windows nor patch_freezes nor patch_freezes_NAME"]


@pytest.mark.parametrize(
    "name",
    [
        *("maintenance_windows", "freezes", "freeze", "patching_windows", "change_freeze", "my_maintenance_window"),
        *("pacth_windows", "patch_wndows", "patches_windows", "update-windows", "Deployment_Freezes", "ptch_freezes"),
    ],
)
def test_one_that_may_be_another_tools_is_told(estate: Estate, name: str) -> None:
    estate.extra = {name: []}
    found = estate.read("h1")
    assert (found.wrong, found.doubtful) == ([], [name])


def test_other_variables_are_none_of_ours(estate: Estate) -> None:
    estate.extra = dict.fromkeys(
        ("windows_version", "patch_group", "patch_software_name", "freezer", "os_windows"), "x"
    )
    assert estate.read("h1") == _calendars.Sources([], [], [], [])
