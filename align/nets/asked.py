"""What a loss asks for besides the outputs of the net and the label."""

import inspect
from collections.abc import Mapping
from typing import Any

from common.errors import UserError

ASKED = ("net", "inputs")


def asked_by(criterion: Any) -> frozenset[str]:
    """Return which of `ASKED` a criterion takes by name, besides the outputs and the label."""
    function = getattr(criterion, "forward", criterion)
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return frozenset()
    return frozenset(ASKED) & frozenset(parameters[2:])


def given_to(asked: frozenset[str], net: Any, args: tuple, kwargs: Mapping[str, Any]) -> Any:
    """Return what a criterion asked for: the net, and its inputs as the criterion takes outputs.

    One input is passed as it is, several as a tuple, those by keyword as a dict.
    """
    if asked and net is None:
        raise UserError(
            f"a loss asks for {' and '.join(sorted(asked))}, but it is judged alone: judge it with "
            "its net (align_backward, align_training)"
        )
    inputs = dict(kwargs) if kwargs and not args else args[0] if len(args) == 1 else args
    return {name: net if name == "net" else inputs for name in asked}
