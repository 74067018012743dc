"""A command's verdict is its own, whatever the code of a net does to the process."""

import json
import subprocess
import sys
import time

import pytest

from tests import nursery
from tests.paths import ROOT

# A command without frameworks, and the code of a "net" in a file of its own.
COMMAND = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from commands import entry, guard
def main():
    options = entry.parser("Judge.", "judge")
    options.add_argument("how", nargs="?")
    options.add_argument("--quiet", action="store_true")
    how = options.parse_args().how
    from align.nets import progress
    class Layer: pass
    import net
    entry.check_folder("out", ["forward"])
    progress.noted("body.pool", Layer(), lambda: getattr(net, how)())()
    guard.announce_report(Path("out"), "forward")
    Path("out/forward.json").write_text("aligned")
    getattr(net, how + "_while_writing", lambda: None)()
    entry.print_json({{"aligned": False}})
    return 1
if __name__ == "__main__":
    {run}
"""
NET = """
import argparse, atexit, os, posix, signal, subprocess, sys, threading, time
def hard_exit(): os._exit(0)
def plain_exit(): sys.exit(0)
def exit_of_1(): sys.exit(1)
def wants_help(): argparse.ArgumentParser().parse_args(["--help"])
def interrupts(): raise KeyboardInterrupt
def odd():
    class Odd(BaseException): pass
    raise Odd("strange")
def kills(): os.kill(os.getpid(), signal.SIGKILL)
def becomes_another(): os.execvp("true", ["true"])
def below_python(): posix._exit(0)
def from_a_thread():
    threading.Thread(target=os._exit, args=(0,)).start()
    time.sleep(20)
def leaves_a_copy():
    if os.fork(): os._exit(0)
def closes_all(): os.closerange(3, 256)

def at_the_end(): atexit.register(os._exit, 0)
def prints(): print("aligned: all is well"); print("[]", flush=True)
def child_prints(): subprocess.run("echo '[]'; echo '[]' >&2", shell=True)
def closes_stdout(): sys.stdout.close()
def closes_both(): os.close(1); os.close(2); sys.stderr.close()
def redirects(): sys.stdout = sys.stderr = open(os.devnull, "w")
def redirects_one(): os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
def copies(): os.fork()
def stays(): threading.Thread(target=time.sleep, args=(300,)).start()
def dies(): pass
def dies_while_writing(): os._exit(0)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


def command(folder, *arguments, run="guard.run_guarded(main)"):
    (folder / "judge.py").write_text(COMMAND.format(root=str(ROOT), run=run))
    return subprocess.run(
        [sys.executable, "judge.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
    )


ENDS = {
    "hard_exit": "os._exit(0)",
    "plain_exit": "SystemExit(0)",
    "exit_of_1": "SystemExit(1)",
    "wants_help": "SystemExit(0)",
    "interrupts": "KeyboardInterrupt",
    "odd": "Odd: strange",
    "kills": ", 9)",
    "becomes_another": "os.execv",
    "leaves_a_copy": "os._exit(0)",
}


@pytest.mark.parametrize("how", ENDS)
def test_what_ends_the_process_is_no_verdict_and_is_named(folder, how):
    done = command(folder, how)
    assert done.returncode == 2, done.stderr
    error = done.stderr.splitlines()[-1]
    lines = NET.splitlines()
    begin = next(n for n, line in enumerate(lines, 1) if line.startswith(f"def {how}("))
    places = [f"net.py:{number}, in {how}" for number in range(begin, begin + 4)]
    assert error.startswith("error: could not check: ")
    assert ENDS[how] in error
    assert any(place in error for place in places)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not (folder / "out" / "forward.json").exists()


@pytest.mark.parametrize("how", ["below_python", "from_a_thread", "closes_all"])
def test_an_end_that_nobody_announces_is_no_verdict(folder, how):
    done = command(folder, how)
    assert done.returncode == 2
    assert "ended without a verdict" in done.stderr.splitlines()[-1]
    assert not (folder / "out" / "forward.json").exists()
    if how != "closes_all":
        assert "layer body.pool of the port (Layer) was running" in done.stderr


HARMLESS = [
    *("at_the_end", "prints", "child_prints", "closes_stdout", "closes_both", "redirects"),
    *("redirects_one", "copies", "stays"),
]


@pytest.mark.parametrize("how", HARMLESS)
def test_stdout_is_the_commands_alone_and_so_is_the_verdict(folder, how):
    begin = time.monotonic()
    done = command(folder, how)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout) == {"aligned": False}
    assert (folder / "out" / "forward.json").exists()
    assert time.monotonic() - begin < 60
    if how == "prints":
        assert done.stderr.splitlines() == ["aligned: all is well", "[]"]


def test_no_report_stays_of_a_run_without_verdict(folder):
    (folder / "out").mkdir()
    (folder / "out" / "forward.json").write_text("aligned, last week")
    (folder / "out" / "other.json").write_text("another's")
    done = command(folder, "dies")
    assert done.returncode == 2
    assert [path.name for path in (folder / "out").iterdir()] == ["other.json"]


def test_help_and_wrong_options_are_the_commands_own(folder):
    helped = command(folder, "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "usage: judge.py" in helped.stdout
    wrong = command(folder, "--wrong")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.splitlines()[-1].endswith("unrecognized arguments: --wrong")


@pytest.mark.parametrize("how", ["hard_exit", "exit_of_1"])
def test_a_command_without_a_child_does_not_end_by_a_net_either(folder, how):
    done = command(folder, how, run="entry.run(main, apart=True)")
    assert done.returncode == 2
    assert f"in {how}" in done.stderr
    assert done.stdout == ""


def test_a_command_without_a_child_keeps_stdout_too(folder):
    done = command(folder, "prints", run="entry.run(main, apart=True)")
    assert json.loads(done.stdout) == {"aligned": False}


NETS = """
import os, sys, paddle, torch
class Theirs(torch.nn.Linear):
    def __init__(self): super().__init__(4, 4)
class Ours(paddle.nn.Linear):
    def __init__(self): super().__init__(4, 4)
    def forward(self, x):
        {ending}
        return super().forward(x) * 1.5
def leaves():
    sys.exit(0)
"""


# The end that the watching process alone sees is shown with it; the other by its inner process.
@pytest.mark.parametrize(
    ("ending", "start"), [("os._exit(0)", nursery.as_typed), ("sys.exit(0)", nursery.run)]
)
def test_a_wrong_port_does_not_pass_by_ending_the_command(tmp_path, ending, start):
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    (tmp_path / "ending_nets.py").write_text(NETS.format(ending=ending))
    pair = ["--torch", "ending_nets:Theirs", "--paddle", "ending_nets:Ours"]
    report = ["--input-shape", "2", "4", "--json", "--report", "out"]
    done = start("align_forward", *pair, *report, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "ending_nets.py:8, in forward" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_conversion_ends_with_its_own_code(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("paddle")
    (tmp_path / "ending_nets.py").write_text(NETS.format(ending="pass"))
    torch.save({"weight": torch.ones(4, 4)}, tmp_path / "a.pth")
    done = nursery.run("convert_weights", "a.pth", "--model", "ending_nets:leaves", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--model ending_nets:leaves: SystemExit(0)" in done.stderr
    assert "ending_nets.py:11, in leaves" in done.stderr
    assert not (tmp_path / "a.pdparams").exists()


def test_an_error_is_told_in_the_line_that_says_it():
    from common.places import told

    headed = "\n\n----\nError Message Summary:\n----\nInvalidArgumentError: width is 3\n  [Hint: 4]"
    assert told(ValueError(headed)) == "ValueError: InvalidArgumentError: width is 3"
    assert told(ValueError("no such width\n\nsee the manual")) == "ValueError: no such width"
    assert told(ValueError()) == "ValueError"
    assert told(SystemExit()) == "SystemExit()"
