"""Classes of ours that stand for one of Paddle's, where a value holds torch's class.

Which of the two a call makes is decided by its arguments: `norm(64, track_running_stats=True)`.
"""

import ast
from collections.abc import Sequence

from port.calls import NoSpelling, TorchCall
from port.meanings import part_spelled
from port.record.facts import SeenCall
from port.spelling.texts import parsed
from port.write.parts import argument

AS_TORCHS = "as_torchs"
# Each takes torch's arguments; its base is what the names of torch's class are written as.
STANDING = frozenset({
    *(f"InstanceNorm{n}DWithStatistics" for n in (1, 2, 3)),
    *(f"BatchNorm{n}DWithoutStatistics" for n in (1, 2, 3)),
    "GroupNormWithoutWeight", "DilatedMaxPool2D",
})  # fmt: skip
_HELD = "held_by_partial"


def held_by_partial(seen: SeenCall) -> list:
    """Return what a partial gave by name, as arguments of the call that goes through it."""
    return [argument(_HELD, None, facts, name) for name, facts in seen.through.items()]


def instead(tree: ast.expr, alias: str, held: str) -> str:
    """Return what calls a class of ours where a value, `held`, is the one that it stands for.

    "" where there is none such, or the value is a base's constructor.
    """
    name = called(tree)
    if name not in STANDING or held.startswith("super("):
        return ""
    return name if held == alias else f"{AS_TORCHS}({held}, {name})"


def called(tree: ast.expr | None) -> str:
    """Return what a call calls, "" of anything else."""
    return ast.unparse(tree.func) if isinstance(tree, ast.Call) else ""


def made_by_partial(names: Sequence[str], call: TorchCall, seen: SeenCall, alias: str) -> str:
    """Return what a partial calls that was made with what is known of it."""
    held = held_by_partial(seen)
    try:
        alone = TorchCall(call.api, (), call.where)
        spelled = part_spelled(names, alone, {*seen.through}, held)
    except NoSpelling:
        return alias
    return called(parsed(spelled.text.strip()))
