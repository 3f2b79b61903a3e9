"""What all tests share: the flag with which CI forbids skipped tests."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

#: The same examples every time, whatever the machine's speed; `--hypothesis-profile=default` looks for new ones.
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test fails the run")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("needs_root"):
                item.add_marker(pytest.mark.skip(reason="needs root: a real sshd or package manager in a node"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    for report in terminalreporter.stats.get("skipped", ()):
        where, _, why = report.longrepr if isinstance(report.longrepr, tuple) else (report.nodeid, 0, report.longrepr)
        terminalreporter.write_line(f"skipped: {where}: {str(why).removeprefix('Skipped: ')}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--no-skips") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
