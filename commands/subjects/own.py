"""Anybody's two nets, as the commands get them: `module:callable`, a checkpoint, arrays."""

from collections.abc import Mapping
from typing import Any

from align.pairing.fill import fill_port
from align.pairing.reference import Reference
from common.errors import UserError


def own_pair(
    torch_spec: str,
    paddle_spec: str,
    *,
    weights: str | None = None,
    rules: Any = None,
    seed: int = 0,
    torch_args: Mapping[str, Any] | None = None,
    paddle_args: Mapping[str, Any] | None = None,
) -> tuple[Any, Any]:
    """Return (torch net, Paddle net) with the same weights, every tensor accounted for.

    Args:
        torch_spec, paddle_spec: "module:callable"; called with `torch_args`, `paddle_args`.
        weights: a PyTorch checkpoint for the reference; else its own first weights, from `seed`.
        rules: a rules file, where the port calls things otherwise.

    Raises:
        UserError: a callable fails or returns no net, the checkpoint does not fit the reference.
        UnreadableError: of the checkpoint. ConversionError: the weights do not fit the port; the
        message has a proposal where names differ.
    """
    torch_net, paddle_net = build_pair(torch_spec, paddle_spec, seed, torch_args, paddle_args)
    filled_pair(torch_net, paddle_net, weights, rules, f"--torch {torch_spec}")
    return torch_net, paddle_net


def filled_pair(
    torch_net: Any,
    paddle_net: Any,
    weights: str | None,
    rules: Any,
    what: str,
    key: str | None = None,
) -> None:
    """Give both nets the same weights: those of a checkpoint, or those that the reference has.

    what: the reference, as the user called it. key: which state dict of the file. Raises as
    `own_pair`.
    """
    from align.pairing.reference_torch import LiveReference

    if weights is not None:
        fill_reference(torch_net, weights, what, key)
    fill_port(LiveReference(torch_net), paddle_net, rules)


def build_pair(
    torch_spec: str,
    paddle_spec: str,
    seed: int = 0,
    torch_args: Mapping[str, Any] | None = None,
    paddle_args: Mapping[str, Any] | None = None,
) -> tuple[Any, Any]:
    """Return both nets as their callables make them."""
    from commands.subjects.callables_paddle import build_paddle

    torch_net = build_reference(torch_spec, seed, torch_args)
    return torch_net, build_paddle(paddle_spec, paddle_args)


def build_reference(
    spec: str, seed: int, arguments: Mapping[str, Any] | None = None, option: str = "--torch"
) -> Any:
    """Return the reference with its own first weights, from `seed`; option: what names it."""
    from commands.subjects.callables_torch import build_torch

    return build_torch(spec, arguments, seed, option)


def fill_reference(torch_net: Any, path: str, what: str, key: str | None = None) -> None:
    """Load a checkpoint (of it `key`), strictly; no code of the file is run.

    Raises UserError where it does not fit, naming the first tensors: of the port nothing is known
    then.
    """
    from align.arrays.arrays_torch import to_tensor
    from align.judge.words import first_of
    from convert import read_checkpoint

    checkpoint = read_checkpoint(path, key)
    state = {key: to_tensor(array) for key, array in checkpoint.items()}
    wanted = torch_net.state_dict()
    try:
        torch_net.load_state_dict(state, strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
        sizes = [line for line in lines if line.startswith("size mismatch")]
        left = (
            ("the file lacks", [name for name in wanted if name not in state]),
            ("the net does not know", [name for name in state if name not in wanted]),
        )
        told = [f"{words} {len(names)}: {first_of(names, 6)}" for words, names in left if names]
        listed = "\n  ".join([*told, *sizes[:8]] if told or sizes else lines)
        raise UserError(
            f"{path} does not fit {what}, so nothing was judged:\n  {listed}\n"
            "Give the checkpoint of this net, or the callable and the arguments that build its net"
        ) from None
    checkpoint.require_unchanged()


def without_partner(reference: Reference, paddle_net: Any, rules: Any = None) -> list[str]:
    """Say which modules have no partner by path (judged as glue), and how matrices were taken."""
    from align.judge.words import Words, first_of
    from align.nets.layers_paddle import layer_paths
    from align.pairing.layouts.settle import settled
    from align.pairing.pair_nets import pair_nets
    from convert.names.rules import load_rules

    pairing = pair_nets(reference, paddle_net, rules).pairing
    sides = (
        ("alone_in_reference", reference.paths, pairing.reference_group),
        ("alone_in_port", layer_paths(paddle_net), pairing.port_group),
    )
    notes: list[str] = []
    for kind, paths, group in sides:
        alone = [path for path in paths if path not in group]
        if alone:
            notes.append(Words(kind, count=len(alone), paths=first_of(alone, 6)))
    known = settled(reference, paddle_net, None if rules is None else load_rules(rules))
    return [*notes, *known.notes]
