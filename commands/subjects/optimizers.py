"""What optimizers of the user's are called with: parameters, and the net or their names."""

import inspect
from collections.abc import Callable
from typing import Any

from commands.subjects.callables import users_errors
from common.errors import UserError
from common.places import refuse_signature

MAY_ASK = ("net", "named_parameters")


def optimizer_of(
    make: Callable[..., Any], what: str, parameters: list[Any], net: Any, criterion: Any = None
) -> Any:
    """Call `make`, which the user calls `what`, with parameters, and with what it asks for by name.

    That is the `net`, or `named_parameters`: a list of (name, parameter) of the net, then of the
    criterion ("criterion.weight"). Raises UserError where it wants more, or of what it raises.
    """
    asked = _asked(make)
    names = list(asked) if _first(make) in MAY_ASK else ["parameters", *asked]
    refuse_signature(make, what, names[: "parameters" in names], asked, MAY_ASK)
    given: dict[str, Any] = {}
    if "net" in asked:
        given["net"] = net
    if "named_parameters" in asked:
        given["named_parameters"] = _named(parameters, net, criterion, what)
    with users_errors(what, make):
        return make(*([parameters] if "parameters" in names else []), **given)


def _parameters_of(make: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(make).parameters.values())
    except (TypeError, ValueError):  # of compiled code
        return []


def _first(make: Callable[..., Any]) -> str:
    return next((one.name for one in _parameters_of(make)), "")


def _asked(make: Callable[..., Any]) -> list[str]:
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = {one.name for one in _parameters_of(make) if one.kind in by_name}
    return [name for name in MAY_ASK if name in found]


def _named(parameters: list[Any], net: Any, criterion: Any, what: str) -> list[tuple[str, Any]]:
    """Return those of `parameters` with their names, in their order."""
    named = list(net.named_parameters())
    if hasattr(criterion, "named_parameters"):
        named += [(f"criterion.{name}", one) for name, one in criterion.named_parameters()]
    names = {id(one): name for name, one in reversed(named)}
    if any(id(one) not in names for one in parameters):
        raise UserError(f"could not check: {what} asks for named_parameters, and some have no name")
    return [(names[id(one)], one) for one in parameters]
