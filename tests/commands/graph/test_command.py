"""What the command prints of a result, and which options go together."""

import argparse
import sys

import numpy as np
import pytest

from commands.graph import command
from commands.graph.command import asked_of, show
from commands.graph.judge import Judged, judged_gradients, judged_outputs
from commands.graph.ran import GraphRun
from commands.port import command as port_command
from common.errors import UserError
from common.words import language
from port.graph.account import RENAMED, GraphAccount, TensorWay

A = np.linspace(1, 2, 6).reshape(2, 3)


def options(**given):
    plain = {
        "source": "m.onnx", "args": [], "input_shape": None, "inputs": None, "also": [],
        "weights": None, "eval_only": False, "seed": 0, "timeout": 1.0,
    }  # fmt: skip
    return argparse.Namespace(**plain | given)


def test_a_file_and_a_callable_are_told_apart():
    assert asked_of(options())["kind"] == "onnx"
    asked = asked_of(options(source="a.b:c", input_shape=[[1, 3]], also=[[2, 3]]))
    assert (asked["kind"], asked["shapes"], asked["also"]) == ("torch", [[[1, 3]]], [[[2, 3]]])


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


def test_lines_of_a_result_in_chinese(capsys, monkeypatch):
    monkeypatch.setattr(language, "_chosen", [language.CHINESE])
    rows = [
        {"name": "forward, eval mode", "code": 1, "error": 0.5, "allowed": 1e-9,
         "where": "output 0"},
        {"name": "backward, train mode", "code": 2, "error": None, "allowed": None,
         "where": "n.running_mean: has no running statistics that are known in the written net"},
        {"name": "forward, eval mode, input [1, 3]", "code": 2, "error": None, "allowed": None,
         "where": "could not check: what X2Paddle wrote does not run: E: x"},
    ]  # fmt: skip
    mended = [f"b{n}: momentum was 0.1; torch's 0.1 is what is new" for n in range(5)]
    notes = ["opset 17 written as 15, which X2Paddle reads"]
    done = {"rows": rows, "mended": mended, "open": ["b: Resize a, b has no form in Paddle"]}
    done |= {"notes": notes, "code": 1, "counts": {"renamed": 3, "left out": 1}, "verdict": "v"}
    show(done, quiet=False)
    assert capsys.readouterr().out.splitlines()[:7] == [
        "前向，eval 模式 (输出 0)：不同：5.0e-01，允许 1e-09",
        "反向，train 模式 (n.running_mean：在写出的网络中找不到它的滑动统计量)：未检查",
        "前向，eval 模式，输入 [1, 3] (无法检查：X2Paddle 写出的代码无法运行：E: x)：未检查",
        "已修正：b0，b1，b2 等（另有 2 个）: momentum 曾为 0.1；torch 的 0.1 是新值所占比例",
        "未修正：b: Resize a, b 在 Paddle 中没有对应形式",
        "须知：opset 17 改写为 X2Paddle 可读的 15",
        "张量：3 改名，1 未保留",
    ]


def told():
    """Return the texts of the rooms that convert and judge, with numbers for their places."""
    rows = [Judged("n", 0)]
    for one in ([A], [0 * A], [A[:0]], [A * np.nan], [A, A], [A.astype(int)]):
        for other in ([A], [0 * A], [A + 9], [A.T], [A.astype(int) + 1]):
            rows.append(judged_outputs("n", GraphRun(one), GraphRun(other), 1e-9, 0.01))
            rows.append(judged_outputs("n", GraphRun(one), GraphRun(one), 1e-9, 0.01))
    for found in ({}, {"w": A}, {"w": A[0]}, {"w": A, "v": A}, {"w": np.nan * A}):
        account = GraphAccount((TensorWay("w", (2, 3), "f", RENAMED, "w"),), ())
        reference = GraphRun([], [], {"w": A})
        rows.append(judged_gradients("n", reference, GraphRun([], [], found), account, 1e-7))
    rows.append(judged_gradients("n", GraphRun([]), GraphRun([]), account, 1e-7))
    return {row.where for row in rows if row.where and row.where != "w"}


def test_every_place_of_a_row_is_said_in_chinese(monkeypatch):
    monkeypatch.setattr(language, "_chosen", [language.CHINESE])
    found = told()
    assert len(found) > 9
    assert [where for where in found if language.said(where) == where] == []
