"""A full disk for temporary files is told as that, and not as a fault of the inventory or of Ansible."""

from __future__ import annotations

import errno
import re
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from patchwave import folders, inventory, runner
from patchwave.errors import PatchwaveError

SAID = f"^{re.escape(tempfile.gettempdir())}: temporary files cannot be written: No space left on device; make room"


def full(*dummy: object, **more: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("name", ["mkdir", "open"])
def test_nothing_begins_without_room(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(Path, name, full)
    with pytest.raises(PatchwaveError, match=SAID), folders.private_folder():
        pass


def test_the_error_of_who_works_in_the_folder_is_its_own() -> None:
    with pytest.raises(OSError, match="No space left"), folders.private_folder():
        full()


def test_the_inventory_is_not_blamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(folder: Path) -> None:
        raise folders.of_temporary(OSError(errno.ENOSPC, "No space left on device"))

    (tmp_path / "i.yml").touch()
    monkeypatch.setattr(inventory.child, "command", lambda name: ["false"])
    with pytest.raises(PatchwaveError, match="could not read it"):
        inventory.read_inventory(tmp_path / "i.yml", tmp_path, lambda: False)
    monkeypatch.setattr(inventory, "check_room", no_room)
    with pytest.raises(PatchwaveError, match=SAID):
        inventory.read_inventory(tmp_path / "i.yml", tmp_path, lambda: False)


@pytest.mark.parametrize("when", ["loaded", "begun", "while it runs"])
def test_ansible_runners_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    ended = threading.Event()

    def run(config: Any, on_result: Any, cancelled: Callable[[], bool]) -> tuple[str, int]:
        if when == "while it runs":
            full()
        while not cancelled():
            ended.wait(0.01)
        ended.set()
        return "canceled", 254

    monkeypatch.setattr(runner, "_run", run)
    if when == "loaded":
        monkeypatch.setattr(Path, "mkdir", full)
    if when == "begun":
        monkeypatch.setattr(Path, "write_text", full)
    wanted = runner.Play("p", tmp_path / "i", ["a"], {}, tmp_path / "log")
    with pytest.raises(PatchwaveError, match=SAID):
        runner.Ansible(tmp_path, 0).play(wanted, lambda *dummy: None, lambda: False)
    assert ended.is_set() == (when == "begun")
