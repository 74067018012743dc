"""Runs commands in processes that fork from one which has loaded both frameworks.

Every command is a process of its own: its folder, output, exit code and signals are what a person
gets. Only the seconds in which it imports torch and Paddle are spent once a worker of the tests.
Of a command in two processes (commands/guard.py) it is the inner one; tests/commands/test_own_nets
shows the outer one.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path

from tests.paths import ROOT, TOOLS

LOADED = (
    *("torch", "torch._dynamo", "paddle", "scipy.stats"),
    *("rich.console", "rich.tree", "xml.etree.ElementTree"),
)
ROOMS = ("common", "torch_ref", "paddle_impl", "convert", "align", "commands")
LIMIT_S = 250


class Nursery:
    """Starts commands one after another."""

    processor_s = 0.0  # what it and its commands spent

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            text=True,
            cwd=ROOT,
        )
        self.process.stdout.readline()  # it has loaded: what follows may be timed

    def start(self, script, *arguments, cwd=None, out=os.devnull, err=os.devnull, environment=None):
        """Return the pid of `python <script> <arguments>`; `out` and `err` are files."""
        argv = list(map(str, (script, *arguments)))
        where = str(cwd or Path.cwd()), str(out), str(err)
        return self._ask("start", argv, *where, environment or {})

    def wait(self, pid=None):
        """Return the exit code of a command (default: the last), negative for a signal."""
        code, self.processor_s = self._ask("wait", pid)
        return code

    def _ask(self, *message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def run(tool, *arguments, cwd=None):
    """Return what `subprocess.run` does, of `python tools/<tool>.py <arguments>` in `cwd`."""
    return run_script(TOOLS / f"{tool}.py", *arguments, cwd=cwd)


def as_typed(tool, *arguments, cwd=None):
    """Run what `run` runs, in processes of its own: with the one that watches (commands/guard)."""
    command = [sys.executable, str(TOOLS / f"{tool}.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S)


def run_script(script, *arguments, cwd=None):
    """Return what `subprocess.run` does, of `python <script> <arguments>` in `cwd`."""
    nursery = of_this_worker()
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        nursery.start(script, *arguments, cwd=cwd, out=out, err=err)
        code = nursery.wait()
        return subprocess.CompletedProcess(script, code, out.read_text(), err.read_text())


class Group:
    """Processes of one training, as the launcher of "torch" or "paddle" would start them."""

    def __init__(self, framework, script, *arguments, folder, size=2):
        self.folder, self.nursery = Path(folder), of_this_worker()
        self.folder.mkdir(parents=True, exist_ok=True)
        ports = free_ports(size + 1)
        self.pids = [
            self.nursery.start(
                *(script, *arguments),
                cwd=ROOT,
                out=self.folder / f"out.{rank}",
                err=self.folder / f"err.{rank}",
                environment=environment_of(framework, rank, size, ports),
            )
            for rank in range(size)
        ]

    def wait(self):
        """Return the exit codes by number."""
        return [self.nursery.wait(pid) for pid in self.pids]

    def said(self, rank, stream="err"):
        """Return what a process printed."""
        return (self.folder / f"{stream}.{rank}").read_text()


def free_ports(count):
    """Return ports that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def environment_of(framework, rank, size, ports):
    """Return what the launcher of a framework sets for process `rank` of `size`."""
    if framework == "torch":
        place = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": ports[0]}
    else:
        points = [f"127.0.0.1:{port}" for port in ports[1:]]
        place = {"PADDLE_TRAINER_ID": rank, "PADDLE_TRAINERS_NUM": size}
        place |= {"PADDLE_RANK_IN_NODE": rank, "PADDLE_LOCAL_SIZE": size}
        place |= {"PADDLE_TRAINER_ENDPOINTS": ",".join(points)}
        place |= {"PADDLE_CURRENT_ENDPOINT": points[rank], "PADDLE_MASTER": f"127.0.0.1:{ports[0]}"}
    return {name: str(value) for name, value in place.items()}


@cache
def of_this_worker():
    """Return the one nursery of this process; it ends with it, for its input is closed then."""
    return Nursery()


def processor_s():
    """Return the seconds of the processor that commands of this worker spent."""
    return of_this_worker().processor_s if of_this_worker.cache_info().currsize else 0.0


def serve():
    """Fork a command, or wait for it, for every line of stdin."""
    load()
    os.fsync = unsynced
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    print("ready", file=answers, flush=True)
    pid = 0
    with tempfile.NamedTemporaryFile(prefix="nursery-") as note:
        for line in sys.stdin:
            what, *about = json.loads(line)
            if what == "wait":
                code = os.waitstatus_to_exitcode(os.waitpid(about[0] or pid, 0)[1])
                answer = code, sum(os.times()[:4])
            else:
                answer = pid = os.fork()
                if pid == 0:
                    os._exit(_command(note.name, *about))
            print(json.dumps(answer), file=answers, flush=True)


def unsynced(number):
    """Stand for `os.fsync`: files of tests need not outlive a power cut."""


def load():
    """Import what commands import, out of the sight of the collector: it would copy their pages."""
    gc.disable()
    files = (path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))
    ours = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)
    for name in (*LOADED, *ours):
        try:
            importlib.import_module(name.removesuffix(".__init__"))
        except ModuleNotFoundError as error:
            if error.name not in ("torch", "paddle"):
                raise
    gc.freeze()
    gc.enable()


def _command(note, argv, cwd, out, err, environment):
    """Run a command in this process; return its exit code."""
    from align.nets import progress
    from commands.handover import Receiver
    from common.streams import messages

    progress.create_note(note)
    # What commands/guard.py gives to the process that it starts.
    parent = {"T2P_RUNNING_NOTE": note, "T2P_PARENT_PIPE": str(os.pipe()[0])}
    os.environ |= Receiver().environment | parent | environment
    for descriptor, path in enumerate((os.devnull, out, err)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), descriptor)
    signal.alarm(LIMIT_S)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's jobs ignore it
    os.chdir(cwd)
    sys.argv, sys.path[0] = argv, str(Path(argv[0]).parent)
    code = 0
    try:
        runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as ending:
        code = ending.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr, messages()):
        stream.flush()
    return code


if __name__ == "__main__":
    serve()
