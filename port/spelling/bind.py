"""Which argument of a call goes to which parameter of a row, and whether the row fits."""

import ast
from dataclasses import dataclass, field, replace

from port.calls import UNKNOWN, Argument, TorchCall
from port.spelling.forms import BY_DTYPE, RANK, Form, Parameter

ANYTHING = {"args", "kwargs"}  # a row that drops both takes anything else
NUMPYS = {
    "axis": "dim",
    "keepdims": "keepdim",
    "x": "input",
    "a": "input",
    "x1": "input",
    "x2": "other",
}
UNSAID = ("out", "generator")  # as None they say nothing, of whatever function


@dataclass(frozen=True)
class Bound:
    """The arguments of a call by parameter; those of a variadic one are several.

    `through` holds parameters that a `functools.partial` or a subclass around the call has given.
    """

    given: dict[str, Argument] = field(default_factory=dict)
    several: dict[str, tuple[Argument, ...]] = field(default_factory=dict)
    through: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        """Return whether the call gives this parameter."""
        return name in self.given or bool(self.several.get(name))


class DoesNotFitError(Exception):
    """A row is not for this call: why."""


def literal(argument: Argument) -> object:
    """Return the constant that an argument is or was as it ran, UNKNOWN for another."""
    try:
        return ast.literal_eval(argument.text)
    except (ValueError, SyntaxError, TypeError):
        return argument.value


def bind(form: Form, call: TorchCall, through: frozenset[str] = frozenset()) -> Bound:
    """Return the arguments by parameter of `form`; DoesNotFitError where they do not fit."""
    receiver = () if call.receiver is None else (call.receiver,)
    bound = _placed(form, (*receiver, *call.arguments), through)
    for parameter in form.parameters:
        _check(form, parameter, bound)
    return bound


def _placed(form: Form, arguments: tuple[Argument, ...], through: frozenset[str]) -> Bound:
    bound = Bound(through=through)
    places = [p for p in form.parameters if not p.keyword_only and p.name not in through]
    names = {p.name for p in form.parameters if not p.variadic}
    takes_all = form.dropped.keys() >= ANYTHING
    for argument in arguments:
        argument = _by_torchs_name(argument, names)
        plain = bool(places) and not places[0].variadic
        if takes_all and (
            argument.star or not (argument.name in names if argument.name else plain)
        ):
            continue
        if argument.star == "**":
            raise DoesNotFitError("nobody knows what ** holds")
        if argument.name is not None:
            if argument.name in UNSAID and argument.name not in names and literal(argument) is None:
                continue
            if argument.name not in names or argument.name in bound.given:
                raise DoesNotFitError(f"there is no parameter for {argument.name}=")
            bound.given[argument.name] = argument
        elif places and places[0].variadic:
            name = places[0].name
            bound.several[name] = (*bound.several.get(name, ()), argument)
        elif argument.star or not places:
            raise DoesNotFitError("nobody knows how many * holds" if argument.star else "too many")
        else:
            bound.given[places.pop(0).name] = argument
    return bound


def _by_torchs_name(argument: Argument, names: set[str]) -> Argument:
    """Return an argument under torch's name where it is given under NumPy's: torch takes both."""
    name = NUMPYS.get(argument.name or "", "")
    if name not in names or argument.name in names:
        return argument
    return replace(argument, name=name)


def _check(form: Form, parameter: Parameter, bound: Bound) -> None:
    name = parameter.name
    arguments = bound.several.get(name, ())
    if name in bound.given:
        arguments = (bound.given[name],)
    if not arguments:
        if parameter.default is None and not parameter.variadic and name not in bound.through:
            raise DoesNotFitError(f"{name} is not given")
        _check_default(parameter)
    for argument in arguments:
        if not _accepted(parameter, argument):
            raise DoesNotFitError(f"{name}={argument.text} is of another kind")
    if arguments and name not in form.dropped and name not in names_in(form.template):
        _check_is_default(parameter, arguments)


def _check_default(parameter: Parameter) -> None:
    """Of a row for certain constants, the default has to be one of them."""
    if parameter.constants and not parameter.accepts and parameter.default is not None:
        value = ast.literal_eval(parameter.default)
        if not _among(value, parameter.constants):
            raise DoesNotFitError(f"{parameter.name} is {parameter.default}")


def _check_is_default(parameter: Parameter, arguments: tuple[Argument, ...]) -> None:
    """A parameter that the template does not have may be given as what is meant without it."""
    allowed = parameter.constants
    if parameter.default is not None and not allowed:
        allowed = (ast.literal_eval(parameter.default),)
    if len(arguments) != 1 or not _among(literal(arguments[0]), allowed):
        what = ", ".join(argument.text for argument in arguments)
        raise DoesNotFitError(f"{parameter.name}={what} has no spelling")


def _among(value: object, constants: tuple[object, ...]) -> bool:
    """Return whether a value is one of the constants; 1 is not True, [1, 1] is (1, 1)."""
    value = tuple(value) if isinstance(value, list) else value
    return any(isinstance(value, bool) == isinstance(c, bool) and value == c for c in constants)


def _accepted(parameter: Parameter, argument: Argument) -> bool:
    if not parameter.accepts and not parameter.constants:
        return True
    value = literal(argument)
    if value is not UNKNOWN and _among(value, parameter.constants):
        return True
    kind = argument.kind
    return any(_is(kind, argument, accepted) for accepted in parameter.accepts)


def _is(kind: str, argument: Argument, accepted: str) -> bool:
    if accepted.startswith(RANK) and accepted[len(RANK) :].isdigit():
        return argument.rank == int(accepted[len(RANK) :])
    if accepted in BY_DTYPE:
        return kind == "tensor" and argument.dtype in BY_DTYPE[accepted]
    if accepted == "unsaid":
        return kind == "str" and literal(argument) is UNKNOWN
    if accepted == "unranked":
        return argument.rank is None
    if accepted == "starred":
        return argument.star == "*"
    return kind == accepted


def names_in(template: str) -> frozenset[str]:
    """Return the names that stand in a template; all of them where a function writes it."""
    if template.startswith("@"):
        return _Everything()
    tree = ast.parse(template, mode="eval")
    return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


class _Everything(frozenset[str]):
    """The set of all names."""

    def __contains__(self, name: object) -> bool:
        return True
