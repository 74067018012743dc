"""The process that runs the reference once; it writes what was recorded into a file.

`record.py` starts it and reads the file.
"""

import json
import pickle
import sys
from pathlib import Path
from typing import Any

from commands.entry import ROOT
from commands.subjects.callables import load_callable, users_errors
from commands.subjects.inputs import read_inputs, seeded_inputs
from common.errors import UserError
from port.record.downloads_torch import without_network
from port.record.hook_torch import installed, is_pythons
from port.record.old_worlds import give_back
from port.record.operators_torch import lent
from port.record.record_torch import leave_functions_alone, record_net
from port.record.recorder_torch import Phase

OPTION = "the net"
_OURS = tuple(
    str(ROOT / room)
    for room in ("align", "commands", "common", "convert", "export", "port", "tools")
)


def main(request: Path, output: Path) -> None:
    """Record the net that `request` asks for, and write the recording or the error."""
    asked = json.loads(request.read_text("utf-8"))
    try:
        with without_network():
            answer: Any = recorded(asked)
    except UserError as error:
        answer = str(error)
    output.write_bytes(pickle.dumps(answer))


def recorded(asked: dict[str, Any]) -> Any:
    """Return the recording. Raises UserError for what the user's code raises."""
    from torch import nn

    phase = Phase()
    leave_functions_alone()
    give_back()
    finder = installed(phase, apart)
    sys.path[:0] = [place for place in asked["path"] if place not in sys.path]
    factory = lent(lambda: load_callable(asked["spec"], OPTION))

    def build() -> Any:
        with users_errors(f"{OPTION} {asked['spec']}: the call failed", factory):
            net = lent(lambda: factory(**asked["arguments"]))
        if not isinstance(net, nn.Module):
            kind = type(net).__name__
            raise UserError(f"{asked['spec']}: returns a {kind}, expected a torch.nn.Module")
        return net

    shapes = [seeded_inputs(shapes, asked["seed"]) for shapes in asked["shapes"]]
    files = [read_inputs(path) for path in asked["inputs"]]
    name = asked["spec"].partition(":")[2]
    root = (getattr(factory, "__module__", ""), getattr(factory, "__qualname__", name))
    return record_net(build, root, [*shapes, *files], asked["modes"], finder, phase)


def apart(file: Path) -> bool:
    """Tell whether a file is Python's or this program's; its twins of torch are a user's."""
    return is_pythons(file) or str(file).startswith(_OURS)
