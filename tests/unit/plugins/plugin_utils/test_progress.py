"""Lines while a batch runs."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
from ansible_collections.patchwave.aws.plugins.plugin_utils import _progress


def test_a_line_now_and_then_says_how_many_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    said = threading.Event()

    class Display:
        def display(self, line: str, **dummy: Any) -> None:
            lines.append(line)
            said.set()

    monkeypatch.setattr(_progress, "Display", Display)
    monkeypatch.setattr(_progress, "_EVERY", 0.01)
    progress = _progress.Progress(3, 1, 2)
    for outcome in ("patched", "failed"):
        progress.take(outcome)
    with progress.shown():
        assert said.wait(10)
    limits = r"\(limits of this play alone: 2 at once, 1 may fail\)"
    assert re.fullmatch(rf"patchwave: 2 of 3 nodes have ended, 1 not right {limits}", lines[0])
    count = len(lines)
    assert not said.wait(0) or len(lines) == count


def test_nothing_is_lost_where_many_threads_count() -> None:
    progress = _progress.Progress(8000, 0, 0)
    threads = [
        threading.Thread(target=lambda: [progress.take("unknown") for dummy in range(1000)]) for dummy in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "8000 of 8000 nodes have ended, 8000 not right" in progress.line()
    assert "all at once, 0 may fail" in progress.line()
