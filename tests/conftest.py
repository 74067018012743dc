"""Every test runs its frameworks on one thread, and stays with its file on one worker."""

import builtins
import gc
import importlib
import logging
import logging.handlers
import os
import sys
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis  # noqa: F401 - registers other packages' generators, by what it finds unfrozen
import pytest
from xdist.scheduler import LoadScopeScheduling

from tests import nursery

pytest_plugins = ["tests.seconds"]


# Files that share a worker: they look at the clock, or they read the same trees.
TOGETHER = {
    "tests/align/report/test_page.py": "clock",
    "tests/convert/formats/test_hostile.py": "clock",
    "tests/docs/test_site.py": "clock",
    "tests/commands/test_own_nets.py": "clock",
    "tests/commands/test_train_processes.py": "clock",
    "tests/commands/test_train_killed.py": "clock",
    "tests/common/words/test_language.py": "words",
    "tests/common/words/test_texts.py": "words",
}
LAST = ("tests/common/", "tests/align/judge/")  # thousands of short ones, so that workers end alike


class ByFile(LoadScopeScheduling):
    """A file's tests on one worker, so that what they share is built once.

    Of xdist's own ways `loadfile` knows no files that belong together, and `loadgroup` marks them
    by an attribute that pytest 9.2 does not read: it ran every test where there was room.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return TOGETHER.get(file, file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return ByFile(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.nodeid.startswith(LAST))


# What nearly every worker comes to import, an optimizer and a law of values, by their first uses.
LATE = ("torch._dynamo", "scipy.stats")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """What is imported stays: the collector of cycles neither waits for it nor looks at it."""
    gc.disable()
    try:
        result = yield
        if hasattr(session.config, "workerinput") and "torch" in sys.modules:
            for name in LATE:
                importlib.import_module(name)
        return result
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    try:
        import torch
    except ModuleNotFoundError:
        return
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _no_wait_for_the_disk() -> Iterator[None]:
    """Files of tests need not outlive a power cut: every one written would wait 10 ms, twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", nursery.unsynced)
        yield


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    """Let nets that a test builds without a seed have the same weights in every run.

    Of torch the generators that exist: `torch.manual_seed` also formats the stack, once for every
    kind of device that it may come to seed.
    """
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.default_generator.manual_seed(0)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(0)
    if "paddle" in sys.modules:
        sys.modules["paddle"].seed(0)


@pytest.fixture
def logged():
    """Return the records that are logged from now on, by loggers that keep theirs too."""
    handler = logging.handlers.BufferingHandler(sys.maxsize)
    loggers = [logging.getLogger(), logging.getLogger("Dynamic-to-Static")]
    for logger in loggers:
        logger.addHandler(handler)
    yield handler.buffer
    for logger in loggers:
        logger.removeHandler(handler)


IMPORTS = builtins.__import__, importlib.import_module


@pytest.fixture(autouse=True)
def _imports_are_pythons_own(monkeypatch) -> None:
    """Take back what loading a user's module put in the place of Python's imports.

    A test did, or before it a fixture of its module.
    """
    builtins.__import__, importlib.import_module = IMPORTS
    monkeypatch.setattr(builtins, "__import__", builtins.__import__)
    monkeypatch.setattr(importlib, "import_module", importlib.import_module)
    if users := sys.modules.get("common.processes.users_modules"):
        monkeypatch.setattr(users, "_worlds", None)
