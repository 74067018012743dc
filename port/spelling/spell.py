"""`spell(call)`: the Paddle text of one recorded call."""

from dataclasses import replace

from port.calls import NoSpelling, Spelled, TorchCall
from port.helpers import helper_names
from port.spelling.axes import over_axes
from port.spelling.bind import Bound, DoesNotFitError, bind
from port.spelling.forms import Form
from port.spelling.names import imports_of, names_of
from port.spelling.operators import in_one_type
from port.spelling.render import rendered
from port.spelling.since import too_new
from port.spelling.table import alternatives, rows
from port.spelling.texts import DATA, itself
from port.spelling.written_out import WRITTEN, CallToWrite

BY_PLACES = (".copy_", "diagonal_", ".tril_", ".triu_", ".t_", ".transpose_", ".squeeze_")


_PROMOTING = frozenset({
    *("add", "sub", "subtract", "rsub", "mul", "multiply", "div", "divide", "true_divide"),
    *("floor_divide", "remainder", "fmod", "maximum", "minimum", "max", "min", "fmax", "fmin"),
    *("where", "atan2", "hypot"),
})  # fmt: skip
_COMPARING = frozenset({
    *("eq", "ne", "not_equal", "lt", "le", "gt", "ge", "less", "less_equal", "greater"),
    *("greater_equal", "logical_and", "logical_or", "logical_xor"),
})  # fmt: skip


def spell(call: TorchCall, through: frozenset[str] = frozenset()) -> Spelled:
    """Return the Paddle text of a call.

    `through` names parameters that are given elsewhere: by a `functools.partial` around the
    function that is called here.

    Raises:
        NoSpelling: where the API has no row, or no row is for these arguments; the reason says
            why each of them is not. What fits came with a later Paddle: that is the reason.
    """
    forms = rows().get(call.api)
    if forms is None:
        raise NoSpelling(call.api, "it is not in the table of meanings")
    reasons, younger = [], ""
    call = _of_weights_themselves(call)
    for form in forms:
        try:
            bound = bind(form, call, through)
            if not (reason := too_new(form)):
                return _spelled(form, bound, call)
            younger = younger or reason
        except DoesNotFitError as error:
            reasons.append(str(error))
    raise NoSpelling(call.api, younger or "; ".join(dict.fromkeys(reasons)))


def spell_otherwise(call: TorchCall) -> tuple[Spelled, ...]:
    """Return other spellings of a call, in the order in which a repair tries them; maybe none."""
    found = []
    for form in alternatives().get(call.api, ()):
        if too_new(form):
            continue
        try:
            found.append(_spelled(form, bind(form, call), call))
        except DoesNotFitError:
            continue
    return tuple(found)


def _of_weights_themselves(call: TorchCall) -> TorchCall:
    """Return the call with a Linear's weight as it is: what fills it wants no view of it.

    What writes now this, now that into its places needs torch's order.
    """
    method = call.api.startswith("torch.Tensor.") and call.api.endswith("_")
    if not method and not call.api.startswith("torch.nn.init."):
        return call
    first = call.receiver if call.receiver is not None else (*call.arguments, None)[0]
    others = call.arguments[call.receiver is None :]
    if method and (call.api.endswith(BY_PLACES) or any(o.kind == "tensor" for o in others)):
        return call
    if first is None:
        return call
    text = itself(first.text)
    if not method:  # what fills it does so whether it is detached or not
        text = text.removesuffix(DATA)
    if call.receiver is not None:
        return replace(call, receiver=replace(first, text=text))
    return replace(call, arguments=(replace(first, text=text), *call.arguments[1:]))


def _spelled(form: Form, bound: Bound, call: TorchCall) -> Spelled:
    bound, more = over_axes(form, _in_one_type(form, bound))
    if form.template.startswith("@"):
        name, _, word = form.template[1:].partition(":")
        text = WRITTEN[name](CallToWrite(form, bound, call, word))
        names = names_of(text)
    else:
        text = rendered(form, bound)
        names = names_of(form.template) | more
    helpers = frozenset(names & helper_names())
    return Spelled(text, imports_of(names), helpers, _notes(form, bound), form.backward)


def _in_one_type(form: Form, bound: Bound) -> Bound:
    """Return the arguments of `torch.mul` and the like in one type, which Paddle asks for."""
    name = form.api.rpartition(".")[2]
    given = [bound.given.get(one) for one in ("input", "other")]
    if name.strip("_") not in _PROMOTING | _COMPARING or None in given:
        return bound
    in_place, compares = name[-1] == "_" != name[0], name.strip("_") in _COMPARING
    left, right = in_one_type(in_place and not compares, *filter(None, given))
    if in_place and left is not given[0]:
        raise DoesNotFitError("it compares two types, and writes the answer in the first")
    return replace(bound, given={**bound.given, "input": left, "other": right})


def _notes(form: Form, bound: Bound) -> tuple[str, ...]:
    dropped = [
        f"{name}={argument.text} left out: {form.dropped[name]}"
        for name, argument in bound.given.items()
        if name in form.dropped and name not in names_of(form.template)
    ]
    return (*form.notes, *dropped)
