"""How the two nets hold a matrix that is a Linear's on one side and any parameter on the other.

The class tells it of `nn.Linear`. Of a class of the user's the shape does, and of a square matrix
what a copy of that layer computes by itself: x @ weight or x @ weight.T.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from align.judge.words import Words
from align.nets.whole import NET, unwrapped
from align.pairing.layouts.products import IN_OUT as IN_OUT_WORDS
from align.pairing.layouts.products import OUT_IN as OUT_IN_WORDS
from align.pairing.reference import Reference
from common.errors import ConfigError

if TYPE_CHECKING:
    from convert.names.rules import Rules
    from convert.names.spec import TensorSpec
    from convert.plan.move import Move


@dataclass(frozen=True)
class Settled:
    """Rules with those that the nets themselves imply; `notes` say which, and what stays open.

    `rules` is None where none were given and none follow.
    """

    rules: "Rules | None"
    notes: tuple[Words, ...]


def settled(reference: Reference, paddle_net: Any, rules: "Rules | None") -> Settled:
    """Add to `rules` what the classes, shapes and computations say of matrices' layouts.

    Raises ConfigError where a rule about layouts matches no tensor of the port.
    """
    from convert.names.rules import Layout, Rules
    from convert.names.spec import BARE, IN_OUT
    from convert.nets.describe_paddle import describe as describe_port
    from convert.plan.plan import pair_tensors

    prefix = NET if reference.is_whole else ""
    inside = (unwrapped(s, prefix) for s in reference.specs() if s.key.startswith(prefix))
    theirs = {spec.key: spec for spec in inside}
    port = describe_port(paddle_net)
    ours = [unwrapped(spec, prefix) for spec in port if spec.key.startswith(prefix)]
    names = [name for spec in ours for name in (spec.key, spec.torch_key)]
    if rules and (unmatched := rules.unmatched_layouts(names)):
        raise ConfigError("; ".join(unmatched))
    if not any(s.kind in (BARE, IN_OUT) and len(s.shape) == 2 for s in (*theirs.values(), *ours)):
        return Settled(rules, ())
    moves, _ = pair_tensors(list(theirs.values()), ours, rules or Rules())
    keep: list[Layout] = []
    transpose: list[Layout] = []
    notes: list[Words] = []
    for key, move in moves.items():
        layout = _layout(theirs[move.source], move, paddle_net, prefix)
        if layout is None:
            continue
        said, words = layout
        if said is not None:
            (transpose if said else keep).append(Layout(match=f"^{re.escape(key)}$"))
        notes.append(words)
    if not keep and not transpose:
        return Settled(rules, tuple(notes))
    found = Rules(keep=tuple(keep), transpose=tuple(transpose))
    return Settled((rules or Rules()) + found, tuple(notes))


def _layout(
    theirs: "TensorSpec", move: "Move", paddle_net: Any, prefix: str
) -> tuple[bool | None, Words] | None:
    """Return (whether it is transposed, in words), None where the kinds of layer settle it."""
    from convert.names.spec import BARE, IN_OUT, LINEAR

    ours, shape = move.target, theirs.shape
    if ours.said is not None or move.piece is not None:
        return None
    if len(ours.shape) != 2 or len(shape) != 2:
        return None
    if theirs.kind not in (LINEAR, IN_OUT, BARE) or ours.kind not in (LINEAR, BARE):
        return None
    both_bare = theirs.kind == ours.kind == BARE
    if shape[0] != shape[1] and (both_bare or theirs.kind != ours.kind):
        transposed = shape != ours.shape
        if transposed is ours.transposed or shape not in (ours.shape, ours.shape[::-1]):
            return None
        return transposed, Words("layout_by_shape", key=prefix + ours.key, how=_how(transposed))
    return None if theirs.kind == ours.kind else _of_square(theirs, move, paddle_net, prefix)


def _of_square(
    theirs: "TensorSpec", move: "Move", paddle_net: Any, prefix: str
) -> tuple[bool | None, Words]:
    """Return the same for a square matrix of a Linear on one side and another layer's on the other.

    What the reference's computes is its kind already.
    """
    from convert.names.spec import BARE, LINEAR

    ours, key = move.target, prefix + move.target.key
    port = IN_OUT_WORDS if ours.kind == LINEAR else measured_of(paddle_net, key)
    if theirs.kind == BARE or port is None:
        how = _how(ours.transposed)
        return None, Words("layout_open", key=key, how=how)
    reference = OUT_IN_WORDS if theirs.kind == LINEAR else IN_OUT_WORDS
    transposed = reference != port
    words = Words(
        "layout_by_product", key=key, reference=reference, port=port, how=_how(transposed)
    )
    return transposed, words


def _how(transposed: bool) -> Words:
    return Words("matrix_transposed") if transposed else Words("matrix_kept")


def measured_of(paddle_net: Any, key: str) -> str | None:
    """Return how the port's own layer holds its square matrix `key`, None where it is not seen."""
    from align.nets.layers_paddle import layers_by_path
    from align.pairing.layouts.measure_paddle import measured

    path, _, name = key.rpartition(".")
    layers = layers_by_path(paddle_net)
    return measured(layers[path], name) if path in layers else None
