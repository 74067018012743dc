"""Runs a command in a child process, so that a kernel that crashes or hangs is a message.

The parent imports no framework. The child notes which layer runs (`align.nets.progress`) and hands
its verdict over by a pipe (`commands.handover`). Where it dies, ends without a verdict, or finishes
no layer for too long, the parent says where that was and exits with 2.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from commands import endings, numbers
from commands.entry import COULD_NOT_CHECK, exit_code, listen_to_interrupts, remove_report
from commands.handover import Receiver, Sender
from commands.parser import complain, error_line
from common.errors import UserError
from common.streams import keep_apart
from common.words import language

TIMEOUT = 600.0  # seconds without a layer that begins or ends
_NOTE, _PIPE = "T2P_RUNNING_NOTE", "T2P_PARENT_PIPE"
_POLL, _GRACE = 0.2, 5.0


def add_timeout(group: argparse._ArgumentGroup) -> None:
    """Add --timeout to a command that `run_guarded` runs."""
    group.add_argument(
        "--timeout",
        type=numbers.seconds,
        default=TIMEOUT,
        metavar="SECONDS",
        help="give up when no layer begins or ends for so long (default: %(default)g; 0: never)",
    )


def run_guarded(main: Callable[[], int], patient: bool = False) -> NoReturn:
    """Run `main` in a child process, which is this command again, and exit with its verdict.

    `patient`: it runs no layers, so that nothing tells whether it moves.
    """
    if _NOTE in os.environ:
        _as_child(main)
    sys.exit(_watch(0.0 if patient else _timeout()))


_sender: Sender | None = None  # in the child


def announce_report(folder: Path, stem: str) -> None:
    """Say that a report is written from now on: without a verdict the parent removes it.

    Raises UserError where the verdict could not be handed over either.
    """
    stop_copies()
    if _sender is not None and not _sender.tell("report", [str(folder.resolve()), stem]):
        raise UserError("could not check: the code that ran closed files of this program")


def announce_output(path: Path) -> None:
    """Say that a conversion is written to `path`: what it leaves when it is killed is settled."""
    if _sender is not None:
        _sender.tell("output", str(path.resolve()))


def stop_copies() -> None:
    """End this process where a net's code made it (`os.fork`): one process judges and reports."""
    if _sender is not None and _sender.is_copy():
        os._exit(COULD_NOT_CHECK)


def _as_child(main: Callable[[], int]) -> NoReturn:
    from align.nets import progress

    global _sender
    _sender = Sender()
    progress.open_note(os.environ.pop(_NOTE))
    pipe = int(os.environ.pop(_PIPE))
    threading.Thread(target=_end_with_parent, args=(pipe, os._exit), daemon=True).start()
    keep_apart()
    tell = _sender.tell
    endings.note(lambda words: tell("ended", words))
    code = exit_code(main)
    stop_copies()
    _sender.tell("verdict", code)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process ends
    sys.exit(code)


def _end_with_parent(pipe: int, end: Callable[[int], NoReturn]) -> None:
    os.read(pipe, 1)  # returns when the parent is gone
    end(COULD_NOT_CHECK)


def _timeout() -> float:
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--timeout", type=numbers.seconds, default=TIMEOUT)
    try:
        return parser.parse_known_args()[0].timeout
    except argparse.ArgumentError:  # the child says it
        return TIMEOUT


def _watch(timeout: float) -> int:
    """Run the child and return its verdict; COULD_NOT_CHECK, said, where it has none."""
    from align.nets import progress

    language.choose_by(sys.argv[1:])  # for what is said here, where no parser reads it
    receiver = Receiver()
    with tempfile.TemporaryDirectory(prefix="align-") as folder:
        note = Path(folder) / "note"
        progress.create_note(note)
        ours, theirs = os.pipe()
        environment = os.environ | receiver.environment | {_NOTE: str(note), _PIPE: str(ours)}
        command = [sys.executable, *sys.orig_argv[1:]]
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        child = subprocess.Popen(command, env=environment, pass_fds=(ours, receiver.writing))
        try:
            listen_to_interrupts()  # before it the process ends by one, and the child with it
            code = _wait(child, note, receiver, timeout)
        except KeyboardInterrupt:
            _interrupted(child)
            receiver.listen()
            _forget(receiver, child.pid)
            return 130
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
                receiver.listen()
                if receiver.verdict is None:
                    _forget(receiver, child.pid)
            os.close(ours)
            os.close(theirs)
        receiver.listen()
        receiver.close()
        where = progress.read_note(note)[1]
    return _verdict(receiver, code, timeout, where, child.pid)


def _verdict(receiver: Receiver, code: int | None, timeout: float, where: str, child: int) -> int:
    """Return the verdict that the child handed over, if it then ended as it should."""
    if receiver.verdict is not None and code is not None and code >= 0:
        return receiver.verdict
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")  # the cursor, which the child's progress hid
    _forget(receiver, child)
    if code is None:
        complain(_died(f"nothing moved for {timeout:g} s", where))
    elif code == -signal.SIGBUS and not receiver.ended:
        complain(error_line(CUT))
    elif code < 0 and not receiver.ended:
        complain(_died(f"the process was ended by {_name(-code)}", where))
    else:
        complain(_left(code, receiver.ended, where))
    return COULD_NOT_CHECK


def _wait(child: subprocess.Popen, note: Path, receiver: Receiver, timeout: float) -> int | None:
    """Return the child's exit code, None where it does not move any more.

    A child that does not end after its verdict (a thread of a net's code) is ended.
    """
    from align.nets import progress

    count, since = -1, time.monotonic()
    judged = 0.0
    while True:
        try:
            return child.wait(_POLL)
        except subprocess.TimeoutExpired:
            receiver.listen()
        now, seen = time.monotonic(), progress.read_note(note)[0]
        if receiver.verdict is not None:
            judged = judged or now
            if now - judged > _GRACE:
                return receiver.verdict
        elif seen != count:
            count, since = seen, now
        elif timeout and now - since > timeout:
            return None


CUT = (
    "could not read: a file that was being read was cut short meanwhile, or its disk failed "
    "(SIGBUS). Run it again when nothing writes to the file"
)


def _forget(receiver: Receiver, child: int) -> None:
    """Take away what a run without a verdict wrote: reports, and what is half of a conversion."""
    for folder, stem in receiver.reports:
        remove_report(Path(folder), stem, child)
    for output in map(Path, receiver.outputs):
        from convert.outputs import files_beside
        from convert.together import settle

        with suppress(UserError):  # the next conversion says it
            settle(files_beside(output))


def _interrupted(child: subprocess.Popen) -> None:
    """End after Ctrl-C, which reached the child as well if it came from the terminal."""
    try:
        child.send_signal(signal.SIGINT)
        child.wait(_GRACE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.kill()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end is near
    child.wait()


def _name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name} (out of memory?)" if name == "SIGKILL" else name


def _died(what: str, where: str) -> str:
    return error_line(
        f"could not check: {what} {_while(where)}. A kernel that crashes or hangs cannot be "
        "judged: call it alone on the same input, and mend it or put another in its place "
        "(paddle's convolutions crash where the kernel is larger than the padded input: compare "
        "kernel_size, padding and dilation; F.nll_loss with ignored labels corrupts memory: "
        "F.cross_entropy does not)"
    )


def _left(code: int, by: str, where: str) -> str:
    how = f"by {by}" if by else f"with exit code {code}"
    return error_line(
        f"could not check: the process ended without a verdict {how} {_while(where)}. Code "
        "of a net may neither end the program nor close its files: take that line out, or put it "
        'under `if __name__ == "__main__":`'
    )


def _while(where: str) -> str:
    return f"while {where} was running" if where else "before any layer ran"
