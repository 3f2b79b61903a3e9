"""The environment of Ansible's programs: what is the user's stays, what the driver needs is set here.

A variable beats `ansible.cfg`. So each setting that could change what a play does, or how the driver hears of it, has
its value here, whatever the caller's environment or `ansible.cfg` say. What is the user's own (vault passwords, ssh,
remote user, privileges, paths of roles and collections, Python on the nodes) is not touched.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

#: Hosts that Ansible works on at once where a task runs for each host; Ansible's own default is 5.
_FORKS = 20
#: Inventory plugins that Ansible enables by default; `auto` finds those of collections.
_INVENTORY_PLUGINS = "host_list,script,auto,yaml,ini,toml"

_PINNED = {
    # What is printed, and what callbacks see.
    "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.default",  # an empty list is an error; this one is skipped
    "ANSIBLE_CALLBACK_FORMAT_PRETTY": "false",
    "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    "ANSIBLE_CHECK_MODE_MARKERS": "false",
    "ANSIBLE_DEBUG": "false",
    "ANSIBLE_DIFF_ALWAYS": "false",
    "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "false",
    "ANSIBLE_DISPLAY_FAILED_STDERR": "false",
    "ANSIBLE_DISPLAY_OK_HOSTS": "true",
    "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "true",
    "ANSIBLE_DISPLAY_TRACEBACK": "never",
    "ANSIBLE_FORCE_COLOR": "false",
    "ANSIBLE_LOAD_CALLBACK_PLUGINS": "false",
    "ANSIBLE_NOCOLOR": "true",
    "ANSIBLE_NOCOWS": "true",
    "ANSIBLE_NO_LOG": "false",
    "ANSIBLE_SHOW_CUSTOM_STATS": "false",
    "ANSIBLE_SHOW_PER_HOST_START": "false",
    "ANSIBLE_SHOW_TASK_PATH_ON_FAILURE": "false",
    "ANSIBLE_VERBOSE_TO_STDERR": "false",
    "ANSIBLE_VERBOSITY": "0",
    # Which tasks run, in which order, and what ends them.
    "ANSIBLE_ANY_ERRORS_FATAL": "false",
    "ANSIBLE_ENABLE_TASK_DEBUGGER": "false",  # it would wait for somebody to type
    "ANSIBLE_FORCE_HANDLERS": "false",
    "ANSIBLE_GATHERING": "implicit",
    "ANSIBLE_HOST_PATTERN_MISMATCH": "warning",
    "ANSIBLE_RETRY_FILES_ENABLED": "false",
    "ANSIBLE_RUN_TAGS": "all",
    "ANSIBLE_SKIP_TAGS": "",
    "ANSIBLE_STRATEGY": "ansible.builtin.linear",
    "ANSIBLE_TASK_TIMEOUT": "0",
    # Nobody is there to answer; passwords come from files and agents.
    "ANSIBLE_ASK_PASS": "false",
    "ANSIBLE_ASK_VAULT_PASS": "false",
    "ANSIBLE_BECOME_ASK_PASS": "false",
    # What variables are worth.
    "ANSIBLE_CACHE_PLUGIN": "memory",  # facts of another day override no variable of the inventory
    "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "true",  # the collection lies beside this driver
    "ANSIBLE_DUPLICATE_YAML_DICT_KEY": "error",  # the last one would win
    "ANSIBLE_HASH_BEHAVIOUR": "replace",
    "ANSIBLE_PLAYBOOK_VARS_ROOT": "top",
    "ANSIBLE_PRECEDENCE": "all_inventory,groups_inventory,all_plugins_inventory,all_plugins_play,"
    "groups_plugins_inventory,groups_plugins_play",
    "ANSIBLE_PRIVATE_ROLE_VARS": "false",
    "ANSIBLE_RUN_VARS_PLUGINS": "demand",
    # The inventory, whole or not at all, and asked once.
    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
    "ANSIBLE_INVENTORY_CACHE": "true",
    "ANSIBLE_INVENTORY_CACHE_PLUGIN": "ansible.builtin.jsonfile",
    "ANSIBLE_INVENTORY_CACHE_PLUGIN_PREFIX": "patchwave_",
    "ANSIBLE_INVENTORY_CACHE_TIMEOUT": "0",  # for as long as the rollout takes
    "ANSIBLE_INVENTORY_EXPORT": "false",
    "ANSIBLE_INVENTORY_UNPARSED_FAILED": "true",
}

#: Python's own variables by which a program waits for somebody to type, prints more, or fails where it would warn.
#: Where Python and its modules lie (PYTHONHOME, PYTHONPATH, PYTHONUSERBASE and so on) is the user's.
PYTHON = (
    *("PYTHONASYNCIODEBUG", "PYTHONBREAKPOINT", "PYTHONCASEOK", "PYTHONDEBUG", "PYTHONDEVMODE", "PYTHONDUMPREFS"),
    *("PYTHONDUMPREFSFILE", "PYTHONFAULTHANDLER", "PYTHONINSPECT", "PYTHONINTMAXSTRDIGITS", "PYTHONIOENCODING"),
    *("PYTHONMALLOC", "PYTHONMALLOCSTATS", "PYTHONNODEBUGRANGES", "PYTHONOPTIMIZE", "PYTHONPERFSUPPORT"),
    *("PYTHONPROFILEIMPORTTIME", "PYTHONSTARTUP", "PYTHONTRACEMALLOC", "PYTHONUNBUFFERED", "PYTHONVERBOSE"),
    *("PYTHONWARNDEFAULTENCODING", "PYTHONWARNINGS", "PYTHON_BASIC_REPL", "PYTHON_COLORS", "PYTHON_FROZEN_MODULES"),
    *("PYTHON_HISTORY", "PYTHON_JIT", "PYTHON_PERF_JIT_SUPPORT", "PYTHON_PRESITE"),
)

#: Variables that are taken away. Ansible warns of the first ones wherever they are set; the others would tell
#: ansible-runner's callback that it runs for somebody else.
_TAKEN_AWAY = (
    *PYTHON,
    *("ANSIBLE_ERROR_ON_UNDEFINED_VARS", "ANSIBLE_JINJA2_EXTENSIONS", "ANSIBLE_JINJA2_NATIVE"),
    *("ANSIBLE_NULL_REPRESENTATION", "ANSIBLE_PLAYBOOK_DIR", "ANSIBLE_STRING_TYPE_FILTERS"),
    *("AD_HOC_COMMAND_ID", "AWX_ISOLATED_DATA_DIR", "AWX_LIB_DIRECTORY", "JOB_ID", "MAX_EVENT_RES"),
    *("ORIGINAL_STDOUT_CALLBACK", "PROJECT_UPDATE_ID", "RUNNER_OMIT_EVENTS", "RUNNER_ONLY_FAILED_EVENTS"),
)


def programs() -> Path:
    """Return the folder of Ansible's programs: those beside this Python, whether or not it is on PATH."""
    return Path(sys.executable).parent


def ansible(folder: Path, most: int = 0) -> dict[str, str]:
    """Return the environment for one of Ansible's programs.

    Args:
        folder: a private folder, for the inventory's cache and for Ansible's temporary files.
        most: hosts that a task runs for at once at most; 0 leaves it to the user's own setting.
    """
    # ansible-runner cannot write down what is no UTF-8.
    user = {name: value for name, value in os.environ.items() if name not in _TAKEN_AWAY and _is_text(name + value)}
    wanted = user.get("ANSIBLE_FORKS", "")
    forks = int(wanted) if wanted.isdecimal() and int(wanted) else _FORKS
    enabled = ",".join(filter(None, (_INVENTORY_PLUGINS, user.get("ANSIBLE_INVENTORY_ENABLED"))))
    return {
        **user,
        **_PINNED,
        "PATH": os.pathsep.join([str(programs()), user.get("PATH", os.defpath)]),
        "ANSIBLE_FORKS": str(min(most, forks) if most else forks),
        "ANSIBLE_INVENTORY_CACHE_CONNECTION": str(folder / "cache"),
        "ANSIBLE_INVENTORY_ENABLED": enabled,
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
    }


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
