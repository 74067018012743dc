"""The terminal's face: narrow windows, pipes, files, closed pipes, terminals without Unicode."""

import io
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from align.judge.comparison import NOISE, UNCHECKED, Comparison
from align.report import report as report_module
from align.report.report import Report
from align.report.terminal import print_report
from common.terminal import Screen, how_far, screen, working
from tests.align.report.reports import comparison, small
from tests.nursery import run
from tests.paths import ROOT


def shown(report, width=None, encoding="utf-8", **options):
    """Return what a terminal of `width` shows; a file's content where it is None."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="")
    if width is None:
        console = screen(file=file)
    else:
        console = Screen(
            file=file,
            force_terminal=True,
            color_system=None,
            width=width,
            markup=False,
            highlight=False,
        )
    print_report(report, console, **options)
    file.flush()
    return raw.getvalue().decode(encoding)


def deep():
    report = small("body.conv")
    long = "stage.with.a.rather.long.path.down.to.one.convolution"
    report.calls.append(comparison(long))
    report.calls.append(comparison("open", verdict=UNCHECKED, cause="random numbers"))
    report.calls.append(comparison("noisy", "grad:bias", verdict=NOISE))
    return report


@pytest.mark.parametrize("width", [40, 60, 100])
def test_nothing_is_wider_than_the_window(width):
    lines = shown(deep(), width, title="a net, forward").splitlines()
    assert max(map(len, lines)) <= width


def test_tree_is_as_deep_as_the_trouble():
    text = shown(deep(), 100)
    assert "✗ body.conv" in text
    assert "output:0 off by 0.5, allowed 1e-14: stride is (2, 2)" in text
    assert "port      port.py:2" in text
    assert "random numbers" in text
    assert "norm" not in text.partition("worst calls")[0]  # all is well there
    assert "~ noisy" in text
    assert text.splitlines()[-1] == "✗ not aligned: body.conv"


def test_worst_calls_stand_with_their_floors():
    table = shown(deep(), 100).partition("worst calls")[2].splitlines()
    assert table[1].split() == ["body.conv", "output:0", "5.0e-01", "1.0e-14"]


def test_file_gets_plain_lines_that_are_never_wrapped():
    report = small("stem")
    report.divergences[0] = report.divergences[0].__class__(
        "stem", "output:0", 0.5, 1e-14, cause="long " * 100 + "end"
    )
    text = shown(report, title="net")
    assert "\x1b" not in text
    assert "✗" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("- stem output:0: off by")]
    assert line.endswith("long end")
    assert text.splitlines()[-1] == "not aligned: stem"


def test_quiet_is_the_verdict_alone():
    assert shown(small(), quiet=True).splitlines() == [small().verdict]


def test_terminal_without_unicode():
    text = shown(deep(), 80, encoding="ascii")
    assert "no body.conv" in text
    assert text.splitlines()[-1] == "no not aligned: body.conv"


def test_names_are_no_markup():
    report = small()
    report.calls.append(comparison("[red]x[/red].[/]", verdict=UNCHECKED, cause="[bold]"))
    assert "[red]x[/red].[/] output:0" in shown(report)
    assert "[red]x[/red].[/]" in shown(report, 100)


def test_empty_report_says_so():
    for width in (None, 60):
        assert "nothing was compared" in shown(Report("forward"), width)


CHATTY = """
from commands import entry
from common.terminal import screen, verdict

def main():
    for _ in range(10_000):
        verdict(screen(), 0, "aligned " * 100)
    return 0

entry.run(main)
"""


def test_closed_pipe_is_not_a_verdict():
    command = f"{sys.executable} -c '{CHATTY}' | head -1 > /dev/null; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'tools'}:{ROOT}"}
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 141  # as of any program that SIGPIPE ends
    assert done.stderr == ""


def test_progress_goes_to_stderr_and_quiet_is_silent(capfd):
    with working("aligning"):
        pass
    with working("aligning", quiet=True):
        pass
    assert capfd.readouterr() == ("", "aligning ...\n")


def test_a_terminal_shows_how_many_calls_of_layers_were_made(monkeypatch):
    from align.nets.progress import Progress

    raw = io.StringIO()
    console = Screen(file=raw, force_terminal=True, color_system=None, width=80, markup=False)
    monkeypatch.setattr("common.terminal.screen", lambda stderr: console)
    state = [Progress()]
    with working("aligning a net", counted=lambda: state[0]):
        assert "aligning a net" in raw.getvalue()
        assert "calls" not in raw.getvalue()
        state[0] = Progress("judging the port", 3, 12)
    assert "3/12 calls, judging the port" in raw.getvalue()


def test_a_line_says_parts_counts_phase_and_time():
    from align.nets.progress import Progress

    since = time.monotonic() - 61
    found = Progress("seeking causes", 1, 4, "layers", 7, (("step", 2, 5),), since)
    assert how_far(found) == "step 2 of 5, 1/4 layers, replay 7, seeking causes, 61 s"
    assert how_far(Progress("recording the reference")) == "recording the reference"
    assert how_far(Progress()) == ""


def test_every_phase_of_a_training_is_told_with_its_step(monkeypatch):
    torch = pytest.importorskip("torch")
    paddle = pytest.importorskip("paddle")
    from align import align_training
    from align.nets import progress

    lines = []
    begin = progress.begin

    def told(*given):
        begin(*given)
        lines.append(how_far(progress.progress()))

    monkeypatch.setattr(progress, "begin", told)
    nets = torch.nn.Sequential(torch.nn.Linear(3, 3)), paddle.nn.Sequential(paddle.nn.ReLU())
    nets[1][0] = paddle.nn.Linear(3, 3)
    weight, bias = (p.detach().numpy() for p in nets[0].parameters())
    nets[1].set_state_dict({"0.weight": weight.T, "0.bias": bias})
    batches = [[np.ones((2, 3)), np.zeros((2, 3))]] * 2
    losses = [lambda outputs, label: ((outputs - label) ** 2).mean()] * 2
    report = align_training(
        *nets,
        batches,
        *losses,
        lambda parameters: torch.optim.SGD(parameters, 0.1),
        lambda parameters: paddle.optimizer.SGD(0.2, parameters),
    )
    assert report.exit_code == 1  # another rate
    assert any(line.startswith("step 1 of 2, 0/") for line in lines)
    assert any("step 2 of 2" in line and "judging the port" in line for line in lines)
    assert lines[-1] == "running the port freely"
    assert progress.progress().parts == ()


def test_layers_and_replays_are_counted_while_causes_are_sought(monkeypatch):
    torch = pytest.importorskip("torch")
    paddle = pytest.importorskip("paddle")
    from align import align_forward
    from align.causes.budget import Budget
    from align.nets import progress

    lines = []
    spend = Budget.spend
    monkeypatch.setattr(
        Budget, "spend", lambda own: (spend(own), lines.append(how_far(progress.progress())))[0]
    )
    nets = torch.nn.Sequential(torch.nn.LeakyReLU(0.1)), paddle.nn.Sequential(paddle.nn.ReLU())
    assert align_forward(*nets, [np.linspace(-1, 1, 6).reshape(2, 3)]).exit_code == 1
    assert lines[0] == "0/1 layers, replay 1, seeking causes"


def test_calls_of_layers_are_counted_where_somebody_watches(monkeypatch):
    torch = pytest.importorskip("torch")
    paddle = pytest.importorskip("paddle")
    from align import align_forward
    from align.nets import progress

    reference = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Tanh())
    port = paddle.nn.Sequential(paddle.nn.ReLU(), paddle.nn.Tanh())
    begun = []
    begin = progress.begin
    monkeypatch.setattr(progress, "_note", bytearray(progress.SIZE))
    monkeypatch.setattr(progress, "begin", lambda *given: (begun.append(given[0]), begin(*given)))
    assert align_forward(reference, port, [np.ones((2, 3))]).aligned
    assert begun[0] == "recording the reference"
    last = progress.progress()
    assert (last.words, last.done, last.total) == ("judging the port", 3, 3)


def test_folder_that_cannot_be_written_is_said_before_the_work(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/below"):
        done = run("align_forward", "--report", folder, cwd=tmp_path)
        assert done.returncode == 2
        assert f"--report {folder}" in done.stderr
        assert "aligning" not in done.stderr
        assert done.stdout == ""


def test_what_no_number_says_is_said_by_its_cause_alone():
    found = Comparison("act", "act#0", "attribute:class", "layer", relative_error=float("inf"))
    found.cause = "class is ReLU, the reference has ReLU6"
    assert report_module.how_far(found) == found.cause
    found.cause = None
    assert "inf" in report_module.how_far(found)
