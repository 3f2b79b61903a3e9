from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core.plan import Node, Plan, Wave

from patchwave import cli, rollout, runner
from patchwave.progress import Screen
from patchwave.rollout_file import RolloutFile


@pytest.mark.parametrize(
    ("said", "kept"),
    [(None, None), (1.5, 1.5), ("1.0", "1.0"), (["1.0"], "['1.0']"), ({"a": 1}, "{'a': 1}"), ("x" * 9999, "x" * 2000)],
)
def test_a_node_may_say_anything_and_a_short_text_is_kept(said: Any, kept: Any) -> None:
    assert rollout._kept(said) == kept


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
        ("", "src: ansible-inventory could not read it"),
    ],
)
def test_of_all_that_ansible_prints_the_file_and_the_reason_are_told(printed: str, line: str) -> None:
    assert runner._reason(Path("src"), printed) == line


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
    assert runner._environment(Path("cache"), most)["ANSIBLE_FORKS"] == forks


HOSTS = ("a", "b")
DEFINITION = {"fixed_in": "2", "archive": {"version": "2"}}


def apply(folder: Path, monkeypatch: pytest.MonkeyPatch, **results: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Run a rollout of two waves whose first play gives these results and whose nodes are `a` and `b`."""

    def play(playbook: str, source: Path, cache: Path, hosts: list[str], *others: Any) -> str:
        on_result = others[3]
        on_result("ok", hosts[0], "patchwave.aws.run_module", {"results": results})
        return "successful"

    monkeypatch.setattr(runner, "play", play)
    waves = tuple(Wave(f"wave_{host}", (Node(host, host, host, "1", "r", "web", f"wave_{host}"),)) for host in HOSTS)
    plan = Plan("urgent", {"just": DEFINITION}, "run_command", 0, 2, waves)
    wanted = RolloutFile(
        *(folder / "r.yml", "urgent", folder / "i.yml", plan.software, [wave.name for wave in waves], "run_command"),
        *("bucket", 0, 0, 2, {}, {}),
    )
    inventory = runner.Inventory({}, {})
    code = rollout._run(wanted, plan, inventory, folder, folder, Screen())
    return code, json.loads((folder / "report.json").read_text())


@pytest.mark.parametrize("reason", ["asked_to_stop", "too_late"])
def test_a_window_that_closes_meanwhile_stops_the_rollout(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, report = apply(tmp_path, monkeypatch, a={"outcome": "skipped", "reason": reason, "msg": "late"})
    assert code == 3
    assert report["rollout"]["stopped"] == "wave_a: its window closed before 1 of 1 nodes had begun"
    assert [node["reason"] for node in report["nodes"]] == [reason, "not_started"]


def test_a_node_of_the_next_wave_is_reached_when_the_first_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {"outcome": "patched", "version_after": {"odd": "2"}}
    code, report = apply(tmp_path, monkeypatch, a=good, b=good)
    assert (code, report["rollout"]["stopped"]) == (0, None)
    assert [node["version_after"] for node in report["nodes"]] == ["{'odd': '2'}"] * 2
