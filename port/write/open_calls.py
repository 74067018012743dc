"""Calls that hand on `**kwargs`: what it held as the reference ran is written out, by name.

What it may hold another time is refused as it arrives: its names would be torch's. Where it held
now this and now that, or goes to several classes, it is handed on if each name means the same in
Paddle, without those that Paddle needs no more.
"""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from port.calls import Argument, NoSpelling, Spelled, TorchCall
from port.record.facts import Facts
from port.spelling.texts import parsed

REFUSE, HAND_ON = "none_of", "only_of"
_HELD = "held"  # a name for what a `**` works out
_VALUE = "__value__"  # stands for what a keyword holds


@dataclass(frozen=True)
class ClosedCall:
    """A call without its `**`: `call` takes out of it what it held as the reference ran.

    refusal: the argument that refuses what else may be in there. worked_out: the expression that
    has to be worked out before, "" where it is a name by itself.
    """

    call: TorchCall
    refusal: str
    worked_out: str = ""

    def spelled(self, spelled: Spelled) -> Spelled:
        """Return a spelling of `call` with all that it needs."""
        whole = with_rest(spelled, self.refusal)
        if not self.worked_out:
            return whole
        first = f"({_HELD} := {self.worked_out})"
        return replace(whole, text=re.sub(rf"\b{_HELD}\b", lambda _: first, whole.text, count=1))


def without_stars(call: TorchCall) -> ClosedCall | None:
    """Return a call without its `**`, None where it has none."""
    parts = _parts(call)
    if parts is None:
        return None
    plain, rest, held = parts
    by_itself = _is_chain(rest.text) or not held
    if not by_itself and any(re.search(rf"\b{_HELD}\b", one.text) for one in (*plain, rest)):
        return None  # the name is taken
    owner = rest.text if by_itself else _HELD
    taken = tuple(Argument(f'{owner}["{name}"]', name) for name in held)
    known = "".join(f', "{name}"' for name in held)
    closed = replace(call, arguments=(*plain, *taken))
    return ClosedCall(closed, f"**{REFUSE}({owner}{known})", "" if by_itself else rest.text)


def handed_on(
    call: TorchCall,
    ask: Callable[[TorchCall], Spelled],
    ways: Sequence[Mapping[str, Facts]],
    others: Callable[[int, TorchCall], Spelled],
) -> Spelled | None:
    """Return a call that keeps its `**`, None where a name in it is another in Paddle.

    ask: spells a call; each name by itself has to leave the rest of the call as it is without.
    ways: the keywords of each way in which the place calls something, the text is one for all of
    them; others: spells a call as the way of that number. What held a list of one number is not
    handed on where Paddle wants it once for each axis.
    """
    parts = _parts(call)
    if parts is None or not any(ways):
        return None
    plain, rest, _ = parts
    written = {argument.name for argument in plain}
    left_out: set[str] = set()
    handed: set[str] = set()
    notes: list[str] = []
    try:
        without = ask(replace(call, arguments=plain))
        for number, held in enumerate(ways):
            bare = _canonical(others(number, replace(call, arguments=plain)).text)
            for name in sorted(set(held) - written):
                more = (*plain, Argument(_VALUE, name, single=held[name].single))
                spelled = others(number, replace(call, arguments=more))
                if _canonical(spelled.text) == bare:
                    left_out.add(name)
                    notes += [note.replace(f"={_VALUE}", "", 1) for note in spelled.notes]
                elif _without(spelled.text, name) == bare:
                    handed.add(name)
                else:
                    return None
    except NoSpelling:
        return None
    if left_out & handed:  # of one class it is nothing, of another it is something
        return None
    spelled = replace(without, notes=tuple(dict.fromkeys((*without.notes, *notes))))
    return with_rest(spelled, *_rest(rest.text, sorted(handed), sorted(left_out)))


def _rest(given: str, handed: list[str], left_out: list[str]) -> tuple[str, str]:
    """Return the last argument of a call, and the helper that it calls."""
    if not handed:
        return f"**{REFUSE}({', '.join([given, *map(_quoted, left_out)])})", REFUSE
    less = f", left_out=[{', '.join(map(_quoted, left_out))}]" if left_out else ""
    return f"**{HAND_ON}({', '.join([given, *map(_quoted, handed)])}{less})", HAND_ON


def _quoted(name: str) -> str:
    return f'"{name}"'


def _parts(call: TorchCall) -> tuple[tuple[Argument, ...], Argument, list[str]] | None:
    """Return (the other arguments, the `**`, what it held as the reference ran)."""
    stars = [argument for argument in call.arguments if argument.star == "**"]
    if len(stars) != 1 or not isinstance(stars[0].value, tuple):
        return None
    plain = tuple(argument for argument in call.arguments if argument is not stars[0])
    written = {argument.name for argument in plain}
    return plain, stars[0], [name for name in stars[0].value if name not in written]


def _canonical(text: str) -> str:
    return ast.unparse(ast.parse(text.strip(), mode="eval"))


def _without(text: str, name: str) -> str:
    """Return a call without the keyword that holds what it is given under the same name."""
    tree = ast.parse(text.strip(), mode="eval").body
    if isinstance(tree, ast.Call):
        same = ast.unparse(ast.keyword(name, ast.Name(_VALUE)))
        tree.keywords = [one for one in tree.keywords if ast.unparse(one) != same]
    return ast.unparse(tree)


def _is_chain(text: str) -> bool:
    """Tell whether a text names a thing, and works nothing out: `kwargs`, `CONFIG["act"]`."""
    tree = parsed(text)
    while isinstance(tree, ast.Attribute | ast.Subscript):
        plain = isinstance(tree, ast.Attribute) or isinstance(tree.slice, ast.Constant | ast.Name)
        tree = tree.value if plain else None
    return isinstance(tree, ast.Name)


def with_rest(spelled: Spelled, rest: str, helper: str = REFUSE) -> Spelled:
    """Return a spelling that ends with `rest` as its last argument, a call of `helper`."""
    text = spelled.text.strip()
    tree = ast.parse(text, mode="eval").body
    if not isinstance(tree, ast.Call):
        return spelled
    inside = text[:-1].rstrip()
    joined = f"{inside}{'' if inside.endswith('(') else ', '}{rest})"
    return replace(spelled, text=joined, helpers=spelled.helpers | {helper})
