"""What a loss asks for besides the outputs of the net and the label, and what it offers."""

import inspect
from collections.abc import Mapping
from typing import Any

from common.errors import UserError

ASKED = ("net", "inputs")
# A loss with a method of this name, (outputs, label) -> arrays, that takes what it returned under
# this name: which output stands for which object. It is asked alone, so that a loss that finds no
# order in its outputs is judged on the reference's, and the port's own is compared with that.
ASSIGNMENT = "assignment"


def asked_by(criterion: Any) -> frozenset[str]:
    """Return which of `ASKED` a criterion takes by name, besides the outputs and the label."""
    function = getattr(criterion, "forward", criterion)
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return frozenset()
    return frozenset(ASKED) & frozenset(parameters[2:])


def offers_assignment(criterion: Any) -> bool:
    """Tell whether a criterion says which output stands for which object, and lets itself be told.

    It has a method `assignment`, and a parameter of that name beside the outputs and the label.
    """
    if not callable(getattr(criterion, ASSIGNMENT, None)):
        return False
    try:
        parameters = inspect.signature(getattr(criterion, "forward", criterion)).parameters
    except (TypeError, ValueError):
        return False
    return ASSIGNMENT in list(parameters)[2:]


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
