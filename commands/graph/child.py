"""The process that runs X2Paddle: without a network, in a folder of its own.

What it prints and returns is no verdict: it says itself that it failed only sometimes. The process
that started it judges what lies in the folder.
"""

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from port.graph.contain import close_network, end_with_parent, forbid_module

REQUEST, RESULT, WRITTEN = "request.json", "result.json", "written"
CODE, WEIGHTS = "x2paddle_code.py", "model.pdparams"


def main(folder: Path) -> None:
    """Do what `request.json` in `folder` asks for; write `result.json`."""
    end_with_parent()
    closed = close_network()
    forbid_module("requests")  # by which it would report its use
    asked = json.loads((folder / REQUEST).read_text("utf-8"))
    error, op = "", ""
    try:
        _convert(asked, folder)
    except BaseException as raised:  # it ends processes itself, with exit code 0
        error, op = f"{type(raised).__name__}: {raised}", _operation(raised)
    result = {"error": error, "op": op, "network": closed, "version": _version()}
    (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")


def _convert(asked: dict[str, Any], folder: Path) -> None:
    from x2paddle import convert

    written = str(folder / WRITTEN)
    if asked["kind"] == "onnx":
        convert.onnx2paddle(asked["model"], written, disable_feedback=True)
        return
    from commands.graph.reference_torch import for_converter

    net, inputs = for_converter(asked, folder)
    convert.pytorch2paddle(net, written, "trace", inputs, disable_feedback=True)


def _operation(error: BaseException) -> str:
    """Return which operation of torch X2Paddle was at, "" where that is not known."""
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    found = [name for name in names if name.startswith(("aten_", "prim_"))]
    return found[-1].replace("_", "::", 1) if found else ""


def _version() -> str:
    x2paddle = sys.modules.get("x2paddle")
    return str(getattr(x2paddle, "__version__", ""))
