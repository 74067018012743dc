"""Fills the port with the reference's weights, or proposes how names map."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from align.pairing.layouts.settle import settled
from align.pairing.reference import Reference
from common.errors import ConversionError, UserError

if TYPE_CHECKING:
    from convert.names.proposal import Proposal


_READABLE = 40  # lines of a proposal that a message shows


def fill_port(reference: Reference, paddle_net: Any, rules: Any = None) -> None:
    """Convert the reference's present state into the port, in memory.

    Weights in float64 that the port's float32 does not hold make it a net in float64: what is
    compared is code, and nothing rounds.

    Raises ConversionError; where names differ and there are no rules, with a proposal.
    """
    from align.pairing.static import hidden_layers
    from convert import convert_state
    from convert.names.rules import load_rules

    try:
        read = None if rules is None else load_rules(rules)
        if read is not None or not hasattr(paddle_net, "pair_name"):  # a row brings its own
            read = settled(reference, paddle_net, read).rules
        arrays = reference.arrays()
        made = convert_state(arrays, paddle_net, read, cast=True)
        rows = made.account.target_tensors
        rounded = {row.key for row in rows if row.rounded and row.cast_from == "float64"}
        exact = convert_state(arrays, paddle_net, read).state if rounded else {}
    except ConversionError as error:
        hidden = hidden_layers(paddle_net)
        if hidden:
            raise ConversionError("\n".join([*hidden, f"So {error}"])) from None
        if error.names_differ and rules is None:
            error.proposed = _proposed(reference, paddle_net)
        raise
    load_state(paddle_net, {k: np.asarray(a, order="C") for k, a in made.state.items()}, rules)
    if rounded:
        from align.nets.prepare_paddle import hold

        hold(paddle_net, {key: np.asarray(exact[key], order="C") for key in rounded})


def proposal(
    reference: Reference,
    paddle_net: Any,
    rules: Any = None,
    calls: tuple[Sequence[str], Sequence[str]] | None = None,
) -> "Proposal":
    """Return `convert.names.propose`'s proposal for two nets; nothing is adopted.

    calls: paths of the reference's modules and of the port's layers at their first calls.
    """
    from convert.names.propose import propose
    from convert.names.rules import load_rules
    from convert.nets.describe_paddle import describe as describe_port

    keys: dict[int, str] = {}
    first = {key: keys.setdefault(held, key) for key, held in reference.identities().items()}
    theirs = [
        replace(spec, tied_to=first[spec.key])
        if first.get(spec.key, spec.key) != spec.key
        else spec
        for spec in reference.specs()
    ]
    return propose(theirs, describe_port(paddle_net), load_rules(rules), calls)


def _proposed(reference: Reference, paddle_net: Any) -> str:
    """Return what a rules file is for, and the proposal of one where a message can hold it."""
    words = "Where only the names differ, a rules file says which is which (docs/rules.md)."
    lines = proposal(reference, paddle_net).to_yaml().splitlines()
    if len(lines) > _READABLE:
        return words
    return "\n    ".join([f"{words} Proposed, not adopted:", *lines])


def load_state(paddle_net: Any, state: dict[str, np.ndarray], rules: Any = None) -> None:
    """Fill every tensor of `paddle_net` from `state`; UserError where a name is left over.

    Those that `rules` call absent keep their values. `set_state_dict` alone only warns about a
    misfit and keeps the old values.
    """
    from convert.names.rules import load_rules

    read = load_rules(rules)
    missing, unexpected = paddle_net.set_state_dict(state)
    missing = [key for key in missing if read.absence(key) is None]
    if missing or unexpected:
        raise UserError(
            f"the weights do not fill the net: {len(missing)} tensors missing "
            f"{missing[:3]}, {len(unexpected)} unexpected {unexpected[:3]}"
        )
