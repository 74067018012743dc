"""A plugin of pytest: what each folder of tests costs, on the processor and on the clock.

Seconds of the processor are user and system time of the worker and of the processes that its tests
started. They stay the same beside other work, which the clock does not.
"""

import os
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from common.documents import write_text
from common.environment import versions
from tests import nursery

ROOT = Path(__file__).resolve().parent.parent
LOADING = "(loading the tests)"  # imports of the frameworks, once a worker


def pytest_addoption(parser):
    parser.addoption("--seconds", metavar="FILE", help="write a table of seconds by folder")


def pytest_configure(config):
    config.pluginmanager.register(Clock())
    if config.getoption("--seconds") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Table(Path(config.getoption("--seconds"))))


def used():
    """Return the processor's seconds of this process, of those it waited for, and of commands."""
    return sum(os.times()[:4]) + nursery.processor_s()


class Clock:
    """Writes into every report what the processor spent since the report before."""

    def __init__(self):
        self.before = 0.0  # so the first report carries what loading the tests took

    def pytest_collection_finish(self, session):
        self.loading, self.before = used(), used()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        now = used()
        report.processor_s, self.before = now - self.before, now
        report.loading_s, self.loading = self.loading, 0.0
        return report


class Table:
    """Adds up the reports of all workers and writes the table."""

    def __init__(self, path):
        self.path = path
        self.tests, self.processor, self.clock = Counter(), Counter(), Counter()

    def pytest_runtest_logreport(self, report):
        folder = Path(report.nodeid.partition("::")[0]).parent.as_posix()
        self.tests[folder] += report.when == "call" or report.outcome == "skipped"
        self.processor[folder] += report.processor_s
        self.clock[folder] += report.duration
        self.processor[LOADING] += report.loading_s

    def pytest_sessionfinish(self, session, exitstatus):
        known = {"pytest": pytest.__version__, **versions()}
        lines = [
            "# What the tests cost",
            "",
            "`make seconds` writes this. Seconds of the processor (user and system, processes that",
            "tests start too) hold beside other work; those on the clock are summed over workers.",
            "",
            f"{date.today()}; {', '.join(f'{name} {version}' for name, version in known.items())};",
            f"{os.cpu_count()} cores; ended with {int(exitstatus)}.",
            "",
            "| folder | tests | processor s | clock s |",
            "|---|---:|---:|---:|",
        ]
        for folder in sorted(self.processor):
            name = folder if folder == LOADING else f"`{folder}`"
            cells = self.tests[folder], self.processor[folder], self.clock[folder]
            lines.append("| {} | {} | {:.0f} | {:.0f} |".format(name, *cells))
        sums = [sum(part.values()) for part in (self.tests, self.processor, self.clock)]
        lines.append("| all | {} | {:.0f} | {:.0f} |".format(*sums))
        write_text(self.path, "\n".join(lines) + "\n")
