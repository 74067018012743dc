"""What the command prints of a result, and which options go together."""

import argparse
import sys

import pytest

from commands.graph import command
from commands.graph.command import asked_of, show
from commands.port import command as port_command
from common.errors import UserError


def options(**given):
    plain = {
        "source": "m.onnx", "args": [], "input_shape": None, "inputs": None, "also": [],
        "weights": None, "eval_only": False, "seed": 0, "timeout": 1.0,
    }  # fmt: skip
    return argparse.Namespace(**plain | given)


def test_a_file_and_a_callable_are_told_apart():
    assert asked_of(options())["kind"] == "onnx"
    asked = asked_of(options(source="a.b:c", input_shape=[[1, 3]], also=[[2, 3]]))
    assert (asked["kind"], asked["shapes"]) == ("torch", [[[1, 3]], [[2, 3]]])


@pytest.mark.parametrize(
    "given",
    [{"weights": "w.pth"}, {"args": ["a=1"]}, {"eval_only": True}, {"source": "a.b:c"}],
)
def test_options_that_make_no_sense_are_refused(given):
    with pytest.raises(UserError):
        asked_of(options(**given))


@pytest.mark.parametrize("of", [command, port_command])
def test_no_seed_is_negative(of, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tool", "a.b:c", "-o", "out", "--seed", "-1"])
    with pytest.raises(SystemExit):
        of.parse("What it does.", "an example")
    assert "argument --seed" in capsys.readouterr().err


def test_lines_of_a_result(capsys):
    row = {"name": "forward", "code": 1, "error": 0.5, "allowed": 1e-9, "where": "output 0"}
    bare = {"name": "train", "code": 2, "error": None, "allowed": None, "where": ""}
    mended = [f"b{number}: momentum was 0.1" for number in range(5)]
    done = {"rows": [row, bare], "mended": mended, "open": [], "notes": ["n"], "code": 1}
    show(done | {"counts": {"renamed": 3}, "verdict": "v"}, quiet=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "forward (output 0): differs: 5.0e-01, allowed 1e-09",
        "train: not checked",
        "mended: b0, b1, b2 and 2 more: momentum was 0.1",
        "to know: n",
        "tensors: 3 renamed",
    ]
