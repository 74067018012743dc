"""Runs a command in a child process, so that a kernel that crashes or hangs is a message.

The parent imports no framework. The child notes which layer runs (`align.nets.progress`); where it
dies, or finishes no layer for too long, the parent says which it was and exits with 2.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from commands.entry import COULD_NOT_CHECK, run

TIMEOUT = 600.0  # seconds without a layer that begins or ends
_NOTE, _PIPE = "T2P_RUNNING_NOTE", "T2P_PARENT_PIPE"
_POLL, _GRACE = 0.2, 5.0


def add_timeout(group: argparse._ArgumentGroup) -> None:
    """Add --timeout to a command that `run_guarded` runs."""
    group.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT,
        metavar="SECONDS",
        help="give up when no layer begins or ends for so long (default: %(default)g; 0: never)",
    )


def run_guarded(main: Callable[[], int]) -> NoReturn:
    """Run `main` in a child process, which is this command again, and exit with its code."""
    if _NOTE in os.environ:
        run(lambda: _as_child(main))
    sys.exit(_watch(_timeout()))


def _as_child(main: Callable[[], int]) -> int:
    from align.nets import progress
    from common.errors import UserError

    progress.open_note(os.environ.pop(_NOTE))
    threading.Thread(
        target=_end_with_parent, args=(int(os.environ.pop(_PIPE)),), daemon=True
    ).start()
    try:
        return main()
    except (UserError, OSError, ModuleNotFoundError):
        raise
    except Exception:  # of this program: never the exit code of "checked and not good"
        traceback.print_exc()
        return COULD_NOT_CHECK


def _end_with_parent(pipe: int) -> None:
    os.read(pipe, 1)  # returns when the parent is gone
    os._exit(COULD_NOT_CHECK)


def _timeout() -> float:
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--timeout", type=float, default=TIMEOUT)
    try:
        return parser.parse_known_args()[0].timeout
    except argparse.ArgumentError:  # the child says it
        return TIMEOUT


def _watch(timeout: float) -> int:
    from align.nets import progress

    with tempfile.TemporaryDirectory(prefix="align-") as folder:
        note = Path(folder) / "note"
        progress.create_note(note)
        ours, theirs = os.pipe()
        environment = os.environ | {_NOTE: str(note), _PIPE: str(ours)}
        command = [sys.executable, *sys.orig_argv[1:]]
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        child = subprocess.Popen(command, env=environment, pass_fds=(ours,))
        try:
            code = _wait(child, note, timeout)
        except KeyboardInterrupt:
            return _interrupted(child)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
            os.close(ours)
            os.close(theirs)
        if (code is None or code < 0) and sys.stderr.isatty():
            sys.stderr.write("\x1b[?25h")  # the cursor, which the child's progress hid
        if code is None:
            said = f"nothing moved for {timeout:g} s"
            print(_in_words(said, progress.read_note(note)[1]), file=sys.stderr)
            return COULD_NOT_CHECK
        if code < 0:
            said = f"the process was ended by {_name(-code)}"
            print(_in_words(said, progress.read_note(note)[1]), file=sys.stderr)
            return COULD_NOT_CHECK
        return code


def _wait(child: subprocess.Popen, note: Path, timeout: float) -> int | None:
    """Return the child's exit code, None where it does not move any more."""
    from align.nets import progress

    count, since = -1, time.monotonic()
    while True:
        try:
            return child.wait(_POLL)
        except subprocess.TimeoutExpired:
            pass
        now, seen = time.monotonic(), progress.read_note(note)[0]
        if seen != count:
            count, since = seen, now
        elif timeout and now - since > timeout:
            return None


def _interrupted(child: subprocess.Popen) -> int:
    """End after Ctrl-C, which reached the child as well if it came from the terminal."""
    try:
        child.send_signal(signal.SIGINT)
        child.wait(_GRACE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.kill()
    return 130


def _name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name} (out of memory?)" if name == "SIGKILL" else name


def _in_words(what: str, where: str) -> str:
    place = f"while {where} was running" if where else "before any layer ran"
    return (
        f"error: could not check: {what} {place}. A kernel that crashes or hangs cannot be judged: "
        "call it alone on the same input, and put another in its place (paddle's F.nll_loss with "
        "ignored labels corrupts memory: F.cross_entropy does not)"
    )
