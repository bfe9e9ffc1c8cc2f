# SPDX-License-Identifier: GPL-2.0-or-later
"""A pytest plugin: what failed runs once more, alone; what then passes is reported as flaky.

Deadlines are missed on a busy machine, and a race shows only there. So a failure counts only if
it can be repeated, but is not hidden either: a flaky test stands by name at the end of the run,
under its traceback, and in pytest's closing line ("2 flaky"). ``pytest -p flaky`` loads it.

pytest-rerunfailures runs a test again at once: beside the same other tests, and in the set-up of
its module which the failure may have left broken. Here it has the machine and a process to itself.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from _pytest.terminal import TerminalReporter

#: So many failures have one cause, and running them all again takes long.
MOST = 10

FLAKY = "flaky"


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # xdist's workers only report to this process
        config.pluginmanager.register(_Flaky(config))


class _Flaky:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    # After xdist has ended its workers, and before the summary, which terminalreporter writes when
    # everybody else has finished.
    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        terminal = self._terminal
        if exitstatus != pytest.ExitCode.TESTS_FAILED or terminal is None:
            return
        reports = [*terminal.stats.get("failed", []), *terminal.stats.get("error", [])]
        failed = [report for report in reports if isinstance(report, pytest.TestReport)]
        names = list(dict.fromkeys(report.nodeid for report in failed))
        if len(names) > MOST:
            terminal.write_line(f"\n{len(names)} failed: too many to run each of them again alone")
            return
        for name in names:
            terminal.write_line(f"\nonce more, alone: {name}")
            passed, output = self._alone(name)
            for report in (report for report in failed if report.nodeid == name):
                if passed:
                    _move(report, terminal)
                else:
                    report.sections.append(("once more, alone", output))
        if not terminal.stats.keys() & {"failed", "error"}:
            session.exitstatus = pytest.ExitCode.OK

    # Tracebacks before those of the failures; names after everything but the closing line.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> Iterator[None]:
        reports = terminalreporter.stats.get(FLAKY, [])
        if reports:
            terminalreporter.section("FLAKY")
        for report in reports:
            terminalreporter.section(f"{report.nodeid} ({report.when})", "_")
            terminalreporter.write_line(report.longreprtext)
            for title, content in report.sections:
                terminalreporter.section(title, "-")
                terminalreporter.write_line(content)
        yield
        if reports:
            names = list(dict.fromkeys(report.nodeid for report in reports))
            terminalreporter.section("failed, and passed alone")
            terminalreporter.write_line(f"flaky: {len(names)}: {', '.join(names)}", yellow=True)

    @property
    def _terminal(self) -> TerminalReporter | None:
        plugin = self._config.pluginmanager.get_plugin("terminalreporter")
        return plugin if isinstance(plugin, TerminalReporter) else None

    def _alone(self, name: str) -> tuple[bool, str]:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name],
            cwd=self._config.rootpath,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        return done.returncode == 0, done.stdout


def _move(report: pytest.TestReport, terminal: TerminalReporter) -> None:
    """From the failures or errors to the flaky ones."""
    for kind in ("failed", "error"):
        reports = terminal.stats.get(kind, [])
        if report in reports:
            reports.remove(report)
            if not reports:
                del terminal.stats[kind]
            terminal.stats.setdefault(FLAKY, []).append(report)
