"""Shows that a port computes what its reference computes: forward, backward, a training step."""

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from align.arrays.memory import give_back as give_back_memory
from commands.align.errors import errors_of_nets
from common.errors import UserError
from common.words.language import phrase
from port.folder import BUILDER
from port.record.stand_ins.old_worlds import give_back

NAMES = {
    "eval": "forward, eval mode",
    "train": "forward, train mode",
    "backward": "backward",
    "step": "training step",
}
FIRST_WEIGHTS = {"init": "first weights"}
DRAWS = 4  # nets that first weights are drawn for, on each side
LARGE = 10_000_000  # parameters, of which two nets show enough


@dataclass
class Climb:
    """What one rung came to, with first weights of `seed`.

    report: None where it could not be climbed; then `why`. shown_by: seeds of other weights that
    show what was left open.
    """

    name: str
    code: int
    report: Any = None
    why: str = ""
    seed: int = 0
    shown_by: set[int] = field(default_factory=set)


def proven(
    asked: Mapping[str, Any],
    folder: Path,
    tell: Callable[[str], None],
    names: Sequence[str] | None = None,
) -> list[Climb]:
    """Return the outcomes of all rungs, or of those of `names`, for the port in `folder`.

    The reference's own first weights are moved by a tenth of their spread, so that a gain of zero
    hides nothing; those of a checkpoint are left as they are. Raises UserError where a net cannot
    be built, ConversionError where their weights differ.
    """
    from port.record.stand_ins.gpu_torch import on_the_cpu

    with on_the_cpu(asked.get("gpu", False)):
        torch_net, paddle_net = _pair(asked, folder)
        inputs = inputs_of(asked)
        outcomes = []
        for name in NAMES if names is None else names:
            tell(name)
            _let_go()
            outcomes.append(_climbed(name, torch_net, paddle_net, inputs, asked["spec"]))
            outcomes[-1].seed = asked["seed"]
    return outcomes


def _pair(asked: Mapping[str, Any], folder: Path) -> tuple[Any, Any]:
    from align.pairing.fill import fill_port
    from align.pairing.reference_torch import LiveReference
    from commands.port.nets_torch import moved
    from commands.subjects.callables_paddle import build_paddle
    from commands.subjects.own import build_reference, fill_reference
    from port.record.stand_ins.downloads_torch import without_weights
    from port.record.stand_ins.operators_torch import lent

    give_back()
    sys.path[1:1] = [place for place in asked["path"] if place not in sys.path]
    sys.path.append(str(folder.resolve().parent))
    with without_weights():
        torch_net = lent(lambda: build_reference(asked["spec"], asked["seed"], asked["arguments"]))
    if asked["weights"]:
        fill_reference(torch_net, asked["weights"], asked["spec"])
    else:
        moved(torch_net, asked["seed"], asked.get("raised", 0.0))
    builder = f"{folder.resolve().name}.builder"
    paddle_net = build_paddle(f"{builder}:build", {})
    found = Path(sys.modules[builder].__file__ or "")
    if not found.samefile(folder / BUILDER):
        raise UserError(f"-o {folder}: {found.parent} is imported in its place; give another name")
    fill_port(LiveReference(torch_net), paddle_net, None)
    return torch_net, paddle_net


def drawn_alike(asked: Mapping[str, Any], folder: Path) -> Climb | None:
    """Return whether the port draws its first weights from the reference's distributions.

    None where the net has none. Climb.report is None where they were not compared: the reference
    reads its weights from files, which the port begins without, or a net cannot be built again, as
    its settings are frozen by then. Raises what `align_init` raises.
    """
    from align import align_init
    from commands.subjects.callables_paddle import build_paddle
    from commands.subjects.callables_torch import build_torch
    from port.record.stand_ins.downloads_torch import without_weights
    from port.record.stand_ins.gpu_torch import on_the_cpu
    from port.record.stand_ins.operators_torch import lent

    def reference() -> Any:
        return lent(lambda: build_torch(asked["spec"], asked["arguments"]))

    def port() -> Any:
        return build_paddle(f"{folder.resolve().name}.builder:build", {})

    _let_go()
    with without_weights() as sought, on_the_cpu(asked.get("gpu", False)):
        try:
            size = sum(one.numel() for one in reference().state_dict().values())
            port()
        except UserError as error:
            why = phrase("not compared, built again it raises: {why}", why=error)
            return Climb("init", 0, None, why)
        if not size:
            return None
        if sought.read:
            why = phrase("not compared, the reference reads {path}", path=sought.read[0])
            return Climb("init", 0, None, why)
        report = align_init(reference, port, 2 if size > LARGE else DRAWS)
    return Climb("init", report.exit_code, report)


def _let_go() -> None:
    """Free what the rung before held: nets, hooks and graphs hold each other."""
    gc.collect()
    give_back_memory()


def inputs_of(asked: Mapping[str, Any]) -> Any:
    """Return the first set of inputs that was recorded."""
    from commands.subjects.inputs import read_inputs, seeded_inputs

    if asked["shapes"]:
        return seeded_inputs(asked["shapes"][0], asked["seed"])
    return read_inputs(asked["inputs"][0])


def _climbed(name: str, torch_net: Any, paddle_net: Any, inputs: Any, spec: str) -> Climb:
    from align import align_backward, align_forward

    rungs: dict[str, Callable[[], Any]] = {
        "eval": lambda: align_forward(torch_net, paddle_net, inputs),
        "train": lambda: align_forward(torch_net, paddle_net, inputs, train=True),
        "backward": lambda: align_backward(torch_net, paddle_net, inputs),
        "step": lambda: _step(torch_net, paddle_net, inputs),
    }
    try:
        with errors_of_nets(spec):
            report = rungs[name]()
    except UserError as error:
        return Climb(name, error.exit_code, None, str(error))
    return Climb(name, report.exit_code, report)


def _step(torch_net: Any, paddle_net: Any, inputs: Any) -> Any:
    import numpy as np

    from align import align_step
    from commands.port import nets_paddle, nets_torch
    from common.nets import members

    # Of all weights: a `parameters` of the reference's own is no part of the port.
    theirs = members.parameters(torch_net)
    ours = [one for one in members.parameters(paddle_net) if not one.stop_gradient]
    batch = [*inputs, np.zeros(1)] if isinstance(inputs, list) else inputs | {"label": np.zeros(1)}
    with nets_torch.nothing_in_place(torch_net, inputs):
        return align_step(
            torch_net,
            paddle_net,
            batch,
            nets_torch.mean_square,
            nets_paddle.mean_square,
            lambda parameters: nets_torch.momentum(theirs),
            lambda parameters: nets_paddle.momentum(ours),
        )
