"""The process that runs the reference once; it writes what was recorded into a file.

`record.py` starts it and reads the file.
"""

import json
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from commands.entry import ROOT
from commands.subjects.callables import SOURCE, load_callable, users_errors
from commands.subjects.inputs import read_inputs, seeded_inputs
from common.errors import UserError
from port.record.facts import Record
from port.record.hook_torch import installed, is_pythons
from port.record.record_torch import leave_functions_alone, record_net, run
from port.record.recorder_torch import Phase
from port.record.stand_ins.downloads_torch import without_weights
from port.record.stand_ins.gpu_torch import on_the_cpu
from port.record.stand_ins.old_worlds import give_back
from port.record.stand_ins.operators_torch import lent
from port.trace.aten import row_of
from port.trace.graph import TracedClass
from port.trace.trace_torch import traced_classes

_OURS = tuple(
    str(ROOT / room)
    for room in ("align", "commands", "common", "convert", "export", "port", "tools")
)


def main(request: Path, output: Path) -> None:
    """Record the net that `request` asks for, and write the recording or the error."""
    asked = json.loads(request.read_text("utf-8"))
    try:
        with without_weights() as sought, on_the_cpu(asked.get("gpu", False)):
            answer: Any = traced(asked) if "trace" in asked else recorded(asked)
        if isinstance(answer, Record):
            answer.absent = sought.absent
    except UserError as error:
        answer = str(error)
    output.write_bytes(pickle.dumps(answer))


def recorded(asked: dict[str, Any]) -> Any:
    """Return the recording. Raises UserError for what the user's code raises."""
    phase = Phase()
    leave_functions_alone()
    give_back()
    finder = installed(phase, apart)
    factory, build = _builder(asked)
    name = asked["spec"].partition(":")[2]
    root = (getattr(factory, "__module__", ""), getattr(factory, "__qualname__", name))
    return record_net(build, root, _inputs(asked), asked["modes"], finder, phase)


def traced(asked: dict[str, Any]) -> list[TracedClass]:
    """Return the graphs of the classes that run through the lines of `asked["trace"]`.

    Raises UserError for what the user's code raises.
    """
    leave_functions_alone()
    give_back()
    _, build = _builder(asked)
    torch.manual_seed(0)
    net = build()

    def run_all() -> None:
        for mode in asked["modes"]:
            for given in _inputs(asked):
                with suppress(Exception):  # as it was recorded, a mode may not run
                    run(net, given, mode)

    places = [(file, line) for file, line in asked["trace"]]
    return traced_classes(net, run_all, places, row_of)


def _builder(asked: dict[str, Any]) -> tuple[Any, Callable[[], Any]]:
    """Return the user's callable, and what builds the net with it."""
    from torch import nn

    sys.path[:0] = [place for place in asked["path"] if place not in sys.path]
    factory = lent(lambda: load_callable(asked["spec"], SOURCE))

    def build() -> Any:
        with users_errors(f"{SOURCE} {asked['spec']}: the call failed", factory):
            net = lent(lambda: factory(**asked["arguments"]))
        if not isinstance(net, nn.Module):
            kind = type(net).__name__
            raise UserError(f"{asked['spec']}: returns a {kind}, expected a torch.nn.Module")
        return net

    return factory, build


def _inputs(asked: dict[str, Any]) -> list[Any]:
    shapes = [seeded_inputs(shapes, asked["seed"]) for shapes in asked["shapes"]]
    files = [read_inputs(path) for path in asked["inputs"]]
    return [*shapes, *files]


def apart(file: Path) -> bool:
    """Tell whether a file is Python's or this program's; its twins of torch are a user's."""
    return is_pythons(file) or str(file).startswith(_OURS)
