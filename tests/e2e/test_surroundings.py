"""Whatever the caller's environment and ansible.cfg say, a rollout does the same and its report says so."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import BIN, ROOT

FIRST_WAVE = ("web-01", "app-01", "db-01", "batch-01")

#: Section, key and value in ansible.cfg, with the variable that means the same.
ODD = [
    ("defaults", "no_log", "True", "ANSIBLE_NO_LOG"),
    ("defaults", "stdout_callback", "oneline", "ANSIBLE_STDOUT_CALLBACK"),
    ("defaults", "callbacks_enabled", "ansible.builtin.tree, ansible.posix.profile_tasks", "ANSIBLE_CALLBACKS_ENABLED"),
    ("defaults", "strategy", "free", "ANSIBLE_STRATEGY"),
    ("defaults", "any_errors_fatal", "True", "ANSIBLE_ANY_ERRORS_FATAL"),
    ("defaults", "force_handlers", "True", "ANSIBLE_FORCE_HANDLERS"),
    ("defaults", "gathering", "explicit", "ANSIBLE_GATHERING"),
    ("defaults", "verbosity", "4", "ANSIBLE_VERBOSITY"),
    ("defaults", "task_timeout", "1", "ANSIBLE_TASK_TIMEOUT"),
    ("defaults", "display_skipped_hosts", "False", "ANSIBLE_DISPLAY_SKIPPED_HOSTS"),
    ("defaults", "display_ok_hosts", "False", "ANSIBLE_DISPLAY_OK_HOSTS"),
    ("defaults", "display_failed_stderr", "True", "ANSIBLE_DISPLAY_FAILED_STDERR"),
    ("defaults", "callback_result_format", "yaml", "ANSIBLE_CALLBACK_RESULT_FORMAT"),
    ("defaults", "force_color", "True", "ANSIBLE_FORCE_COLOR"),
    ("defaults", "duplicate_dict_key", "ignore", "ANSIBLE_DUPLICATE_YAML_DICT_KEY"),
    ("defaults", "hash_behaviour", "merge", "ANSIBLE_HASH_BEHAVIOUR"),
    ("defaults", "playbook_vars_root", "all", "ANSIBLE_PLAYBOOK_VARS_ROOT"),
    ("defaults", "private_role_vars", "True", "ANSIBLE_PRIVATE_ROLE_VARS"),
    ("defaults", "fact_caching", "jsonfile", "ANSIBLE_CACHE_PLUGIN"),
    ("defaults", "enable_task_debugger", "True", "ANSIBLE_ENABLE_TASK_DEBUGGER"),
    ("defaults", "ask_pass", "True", "ANSIBLE_ASK_PASS"),
    ("defaults", "ask_vault_pass", "True", "ANSIBLE_ASK_VAULT_PASS"),
    ("defaults", "collections_scan_sys_path", "False", "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH"),
    ("defaults", "bin_ansible_callbacks", "True", "ANSIBLE_LOAD_CALLBACK_PLUGINS"),
    ("inventory", "enable_plugins", "ini", "ANSIBLE_INVENTORY_ENABLED"),
    ("inventory", "export", "True", "ANSIBLE_INVENTORY_EXPORT"),
    ("inventory", "cache", "False", "ANSIBLE_INVENTORY_CACHE"),
    ("inventory", "cache_plugin", "memory", "ANSIBLE_INVENTORY_CACHE_PLUGIN"),
    ("inventory", "host_pattern_mismatch", "error", "ANSIBLE_HOST_PATTERN_MISMATCH"),
    ("tags", "run", "nothing", "ANSIBLE_RUN_TAGS"),
    ("tags", "skip", "all", "ANSIBLE_SKIP_TAGS"),
    ("diff", "always", "True", "ANSIBLE_DIFF_ALWAYS"),
]
#: What programs around us set, which ansible-runner or its callback would take for their own.
OTHERS = {
    **{"JOB_ID": "build-17", "AD_HOC_COMMAND_ID": "1", "MAX_EVENT_RES": "10", "RUNNER_OMIT_EVENTS": "true"},
    **{"AWX_LIB_DIRECTORY": "/nowhere", "AWX_ISOLATED_DATA_DIR": "/nowhere", "PROJECT_UPDATE_ID": "x"},
    **{"ANSIBLE_DEBUG": "true", "ANSIBLE_JINJA2_NATIVE": "true", "ANSIBLE_ERROR_ON_UNDEFINED_VARS": "false"},
    **{"ORIGINAL_STDOUT_CALLBACK": "minimal", "ANSIBLE_CALLBACK_PLUGINS": "/nowhere", "NO_COLOR": "1"},
}


def apply(lab: Any, path: Path, folder: Path, **environment: str) -> tuple[int, dict[str, Any], str]:
    """Run a rollout in a folder of its user."""
    done = subprocess.run(
        [BIN / "patchwave", "apply", path, "--output", path.parent / "out"],
        cwd=folder,
        env={**lab.environment, **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    report = path.parent / "out" / "report.json"
    return done.returncode, json.loads(report.read_text()) if report.exists() else {}, done.stdout + done.stderr


def written(folder: Path, entries: list[tuple[str, str, str]]) -> Path:
    """Write an ansible.cfg."""
    sections: dict[str, list[str]] = {}
    for section, key, value in entries:
        sections.setdefault(section, []).append(f"{key} = {value}\n")
    folder.mkdir()
    text = "".join(f"[{section}]\n{''.join(lines)}" for section, lines in sections.items())
    (folder / "ansible.cfg").write_text(text)
    return folder


def essence(report: dict[str, Any]) -> Any:
    """Return what two reports of the same have in common."""
    nodes = [{key: value for key, value in node.items() if key != "seconds"} for node in report["nodes"]]
    kept = {key: value for key, value in report["rollout"].items() if key not in ("started", "finished")}
    for told in ("overridden", "calendars"):
        kept[told] = [{**one, "time": ""} for one in kept[told]]
    return nodes, kept


@pytest.mark.parametrize("where", ["environment", "ansible.cfg"])
def test_settings_that_are_not_ours_change_nothing(
    lab: Any, install: Callable[..., None], rollout: Callable[..., Path], tmp_path: Path, where: str
) -> None:
    (tmp_path / "plain").mkdir()
    install(*FIRST_WAVE)
    code, usual, output = apply(lab, rollout(), tmp_path / "plain")
    assert code == 0, output
    install(*FIRST_WAVE)
    for ledger in (tmp_path / "out").iterdir():
        ledger.unlink()
    if where == "environment":
        code, report, output = apply(lab, rollout(), tmp_path / "plain", **{odd[3]: odd[2] for odd in ODD}, **OTHERS)
    else:
        code, report, output = apply(lab, rollout(), written(tmp_path / "own", [odd[:3] for odd in ODD]))
    assert code == 0, output
    assert essence(report) == essence(usual)


@pytest.mark.needs_root
@pytest.mark.parametrize("where", ["environment", "ansible.cfg"])
def test_neither_over_ssh(
    lab: Any,
    install: Callable[..., None],
    rollout: Callable[..., Path],
    ssh_inventory: Path,
    tmp_path: Path,
    where: str,
) -> None:
    install("web-02")
    install("db-02", sick=True)
    path = rollout(
        inventory=str(ssh_inventory), waves=["managed_nodes"], transport="connection", bucket=None, error_budget=1
    )
    odd = [one for one in ODD if one[1] != "task_timeout"]
    folder = written(tmp_path / "own", [one[:3] for one in odd] if where == "ansible.cfg" else [])
    more = {one[3]: one[2] for one in odd} if where == "environment" else {}
    code, report, output = apply(lab, path, folder, **more)
    assert code == 2, output
    ends = {node["name"]: (node["outcome"], node["version_after"]) for node in report["nodes"]}
    assert ends == {"web-02": ("patched", "2.0.0"), "db-02": ("rolled_back", "1.0.0")}


@pytest.fixture
def vaulted(rollout: Callable[..., Path], tmp_path: Path) -> Path:
    """Write a rollout whose inventory is locked, and a folder `own` whose ansible.cfg names the password's file."""
    inventory = tmp_path / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "patch_groups.yml").write_text((ROOT / "inventory" / "patch_groups.yml").read_text())
    own = written(tmp_path / "own", [("defaults", "vault_password_file", "secret")])
    (own / "secret").write_text("right")
    secret = inventory / "group_vars" / "all.yml"
    secret.write_text("token: x\n")
    command = [BIN / "ansible-vault", "encrypt", "--vault-password-file", own / "secret", secret]
    subprocess.run(command, check=True, capture_output=True)
    return rollout(inventory=str(inventory))


def test_an_ansible_cfg_of_the_users_folder_counts_for_the_inventory_and_the_play(
    lab: Any, install: Callable[..., None], vaulted: Path, tmp_path: Path
) -> None:
    install(*FIRST_WAVE)
    code, dummy, output = apply(lab, vaulted, tmp_path / "own")
    assert code == 0, output
    # And so does a relative path in a variable.
    (tmp_path / "own" / "ansible.cfg").unlink()
    code, dummy, output = apply(lab, vaulted, tmp_path / "own", ANSIBLE_VAULT_PASSWORD_FILE="secret")
    assert code == 0, output


@pytest.mark.parametrize(("password", "said"), [("wrong", "Decryption failed"), (None, "vault secret")])
def test_what_ansible_says_of_a_vault_is_in_the_line(
    lab: Any, vaulted: Path, tmp_path: Path, password: str | None, said: str
) -> None:
    if password:
        (tmp_path / "own" / "secret").write_text(password)
    else:
        (tmp_path / "own" / "ansible.cfg").unlink()
    code, dummy, output = apply(lab, vaulted, tmp_path / "own")
    assert code == 1
    assert said.casefold() in output.splitlines()[-1].casefold()
    assert "Traceback" not in output


def test_what_ansible_says_of_a_play_that_cannot_begin_is_in_the_line(
    lab: Any, rollout: Callable[..., Path], tmp_path: Path
) -> None:
    """The remote user is a setting that only the play reads."""
    inventory = yaml.safe_load((ROOT / "inventory" / "patch_groups.yml").read_text())
    inventory["compose"] = {**inventory.get("compose", {}), "patch_software_execution_timeout": "'soon'"}
    (tmp_path / "patch_groups.yml").write_text(yaml.safe_dump(inventory))
    code, report, output = apply(lab, rollout(inventory=str(tmp_path / "patch_groups.yml")), tmp_path)
    assert code == 1, output
    line = output.splitlines()[-1]
    assert line.startswith(f"patchwave: {tmp_path}/rollout.yml: wave_1: nothing was sent to its 4 nodes: ")
    assert "execution_timeout" in line
    assert "soon" in line
    assert {node["reason"] for node in report["nodes"]} == {"not_started"}
