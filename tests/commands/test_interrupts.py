"""Ctrl-C, at moments at which nobody waits for it: one line at most, and exit code 130."""

import concurrent.futures
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from commands import entry
from common.data import readers
from common.processes import stop
from common.training import loader
from tests.paths import TOOLS


def test_while_the_rest_is_imported():
    """What every command imports before all that takes time."""
    code = "import os, signal, _checkout; os.kill(os.getpid(), signal.SIGINT); print('goes on')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(TOOLS)}, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
    for path in set(TOOLS.glob("*.py")) - {TOOLS / "_checkout.py"}:
        text = path.read_text("utf-8")
        assert text.index("import _checkout") < text.index("from co"), path.name


@pytest.fixture
def interrupted():
    """What Ctrl-C does is put back, and forgotten."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
    entry._interrupts.clear()


@pytest.mark.parametrize("made_of_it", [KeyboardInterrupt, ImportError, SystemError])
def test_while_a_library_is_imported(made_of_it, interrupted, capsys):
    def imports():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise made_of_it("half a library") from None

    assert entry.exit_code(imports) == 130
    assert capsys.readouterr().err == "interrupted\n"
    signal.raise_signal(signal.SIGINT)  # the third one changes nothing: the process ends


def test_an_error_without_it_is_none_of_it(interrupted, capsys):
    def fails():
        raise ImportError("of the user's own")

    assert entry.exit_code(fails) == entry.COULD_NOT_CHECK
    assert "interrupted" not in capsys.readouterr().err


class Pool:
    """Notes which signals wait while it is given work, which is when processes start."""

    waiting = ()

    def __init__(self, *given, **more):
        pass

    def submit(self, function, *given):
        Pool.waiting = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        return concurrent.futures.Future()

    def map(self, function, items, chunksize):
        self.submit(function)
        return iter(items)

    def shutdown(self, **options):
        pass


@pytest.mark.skipif(os.name != "posix", reason="signals are of POSIX")
@pytest.mark.parametrize("reads", ["training", "other"])
def test_while_the_processes_that_read_start(reads, monkeypatch):
    """They ignore signals once they run; before, one would end them, and the run with them."""
    monkeypatch.setattr(loader, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(readers, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(loader, "_join", lambda dataset, futures: "batch")
    Pool.waiting = ()
    if reads == "training":
        assert list(loader.load_batches(SimpleNamespace(), [[(0, 1)]], workers=1)) == ["batch"]
    else:
        assert list(readers.in_processes(str, [1], 1)) == [1]
    assert {signal.SIGINT, signal.SIGTERM} <= set(Pool.waiting)
    assert not set(stop.SIGNALS) & signal.pthread_sigmask(signal.SIG_BLOCK, ())
