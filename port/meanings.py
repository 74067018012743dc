"""The table of meanings as the writer asks it: by all names that torch has for one thing."""

import ast
import re
from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from functools import partial
from typing import TypeVar

from port.calls import Argument, NoSpelling, Spelled, TorchCall
from port.helpers import helper_names
from port.spelling.names import (
    called_by,
    imports_of,
    name_table,
    names_of,
    spell_attribute,
    spell_name,
    spell_setting,
)
from port.spelling.spell import spell, spell_otherwise
from port.spelling.table import rows
from port.spelling.texts import itself

_T = TypeVar("_T")
GIVEN = "given"
_TURNED = re.compile(r"\.(transpose\(\[[^()]*\]\)|t\(\)|T|mT)$")  # a view in another order
_SHARED = "torch's tensor shares its memory with that view, in training, too; the port's does not"
_HOME, _ROOM = "torch.nn.", "torch.nn.modules."  # where layers are named, and where they stand


def call_spelled(names: Sequence[str], call: TorchCall) -> Spelled:
    """Return the spelling of a call of what torch calls `names`; NoSpelling without one."""
    return _first(names, lambda name: once(call, lambda c: spell(replace(c, api=name))))


def other_spellings(names: Sequence[str], call: TorchCall) -> tuple[Spelled, ...]:
    """Return other spellings of a call, in the order in which a repair tries them."""
    for name in names:
        if found := spell_otherwise(replace(call, api=name)):
            every = range(len(found))
            return tuple(once(call, partial(_other, name, number)) for number in every)
    return ()


def _other(name: str, number: int, call: TorchCall) -> Spelled:
    return spell_otherwise(replace(call, api=name))[number]


def once(call: TorchCall, ask: Callable[[TorchCall], Spelled]) -> Spelled:
    """Return a spelling in which nothing is worked out twice: layers would run twice.

    What a spelling needs in two places gets a name where it first stands, `(given := ...)`.
    """
    spelled = ask(call)
    for argument in (call.receiver, *call.arguments):
        if argument is None or _is_plain(argument.text) or argument.star:
            continue
        if spelled.text.count(argument.text) < 2:
            continue
        again = ask(_with_text(call, argument, GIVEN))
        if len(re.findall(rf"\b{GIVEN}\b", again.text)) < 2:  # the user wrote the same twice
            continue
        text = re.sub(rf"\b{GIVEN}\b", f"({GIVEN} := {argument.text})", again.text, count=1)
        return replace(again, text=text)
    return spelled


def _with_text(call: TorchCall, argument: Argument, text: str) -> TorchCall:
    """Return a call in which one argument is written otherwise."""
    changed = replace(argument, text=text)
    if call.receiver is argument:
        return replace(call, receiver=changed)
    arguments = tuple(changed if one is argument else one for one in call.arguments)
    return replace(call, arguments=arguments)


def _is_plain(text: str) -> bool:
    """Tell whether a text may be worked out twice: it calls nothing."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        return True
    return not any(isinstance(node, ast.Call) for node in ast.walk(tree))


def part_spelled(
    names: Sequence[str], call: TorchCall, through: Set[str], held: Sequence[Argument] = ()
) -> Spelled:
    """Return the spelling of a call by way of `functools.partial`, or of that of partial itself.

    through: keywords that the other of the two gives. What torch asks for and this one does not
    give, the other does. held: those of them whose values are known, which choose among rows.
    """

    def ask(name: str) -> Spelled:
        missing = _not_given(name, call)
        plain = replace(call, api=name)
        if held and through == {one.name for one in held}:
            whole = replace(plain, arguments=(*call.arguments, *held))
            rest = _without_texts(spell(whole, frozenset(missing)), {one.text for one in held})
            if rest is not None:
                return rest
        return spell(plain, frozenset(through | missing))

    return _first(names, ask)


def _without_texts(spelled: Spelled, texts: Set[str]) -> Spelled | None:
    """Return a call without the keywords that hold one of these names, None where it keeps one."""
    tree = ast.parse(spelled.text.strip(), mode="eval").body
    if not isinstance(tree, ast.Call):
        return None
    tree.keywords = [one for one in tree.keywords if not texts & names_of(ast.unparse(one.value))]
    text = ast.unparse(tree)
    return None if texts & names_of(text) else replace(spelled, text=text)


def _not_given(name: str, call: TorchCall) -> set[str]:
    """Return the parameters without a default that a call gives neither by position nor name."""
    forms = rows().get(name, ())
    places = [p for p in forms[0].parameters if not p.variadic] if forms else []
    given = {argument.name for argument in call.arguments}
    count = sum(argument.name is None for argument in call.arguments)
    return {p.name for p in places[count:] if p.default is None and p.name not in given}


def value_spelled(names: Sequence[str], compared: bool = False) -> Spelled:
    """Return the Paddle name of a class, function or dtype that stands as a value.

    compared: something is asked to be of that class, and nobody calls it.
    """
    names = [*names, *(_HOME + one.rpartition(".")[2] for one in names if one.startswith(_ROOM))]
    for name in () if compared else names:
        if (called := called_by(name)) is not None:
            return named(called)
    return _first(names, spell_name)


def takes_torchs_arguments(names: Sequence[str], call: TorchCall) -> bool:
    """Tell whether a function of torch's stands as a value for one that is called alike."""
    values = [name_table().get(name, "") for name in names]
    by_place = not any(one.name for one in call.arguments)
    alike = ("operator.", "paddle.einsum") if by_place else ()
    return any(value.partition("(")[0] in helper_names() for value in values) or any(
        value.startswith(alike) for value in values
    )


def named(text: str) -> Spelled:
    """Return an expression of Paddle's as a spelling, with what it needs."""
    names = names_of(text)
    return Spelled(text, imports_of(names), frozenset(names & helper_names()))


def attribute_spelled(
    owners: Sequence[str], attribute: str, text: str, subscripted: bool
) -> Spelled | None:
    """Return `text.attribute` of a tensor or of a layer of torch; None where it stays.

    owners: "tensor", "size", or the names of the layer's class. subscripted: an item is taken.
    """
    return _or_none(
        owners, lambda owner: spell_attribute(owner, attribute, text, subscripted=subscripted)
    )


def setting_spelled(
    owners: Sequence[str], attribute: str, text: str, value: Argument
) -> Spelled | None:
    """Return the statement for `text.attribute = value`; None where it stays.

    A turned view as a tensor's data is copied: what fills the one fills the other's memory, which
    Paddle does without the view's order.
    """
    if attribute == "data" and itself(value.text) == value.text and _TURNED.search(value.text):
        copied = replace(value, text=f"{value.text}.contiguous()")
        spelled = _or_none(owners, lambda owner: spell_setting(owner, attribute, text, copied))
        return None if spelled is None else replace(spelled, notes=(*spelled.notes, _SHARED))
    return _or_none(owners, lambda owner: spell_setting(owner, attribute, text, value))


def _or_none(names: Sequence[str], ask: Callable[[str], _T]) -> _T | None:
    try:
        return _first(names, ask)
    except NoSpelling:
        return None


def _first(names: Sequence[str], ask: Callable[[str], _T]) -> _T:
    first: NoSpelling | None = None
    for name in names:
        try:
            return ask(name)
        except NoSpelling as error:
            unknown = "not in the table" in error.reason
            if first is None or (not unknown and "not in the table" in first.reason):
                first = error
    raise first or NoSpelling("?", "torch has no name for it")
