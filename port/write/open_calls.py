"""Calls that hand on `**kwargs`: what it held as the reference ran is written out, by name.

What it may hold another time is refused as it arrives: its names would be torch's.
"""

import ast
from dataclasses import replace

from port.calls import Argument, Spelled, TorchCall
from port.spelling.texts import parsed

REFUSE = "none_of"


def without_stars(call: TorchCall) -> tuple[TorchCall, str] | None:
    """Return a call without its `**`, and the text that refuses what else may be in there.

    None where it has none, has a `*` too, or its keywords cannot be taken out of an expression.
    """
    stars = [argument for argument in call.arguments if argument.star]
    if len(stars) != 1 or stars[0].star != "**" or not isinstance(stars[0].value, tuple):
        return None
    rest = stars[0]
    plain = tuple(argument for argument in call.arguments if not argument.star)
    written = {argument.name for argument in plain}
    held = [name for name in rest.value if name not in written]  # type: ignore[attr-defined]
    if held and not _is_chain(rest.text):
        return None
    taken = tuple(Argument(f'{rest.text}["{name}"]', name) for name in held)
    known = "".join(f', "{name}"' for name in held)
    return replace(call, arguments=(*plain, *taken)), f"**{REFUSE}({rest.text}{known})"


def _is_chain(text: str) -> bool:
    """Tell whether a text names a thing, and works nothing out: `kwargs`, `CONFIG["act"]`."""
    tree = parsed(text)
    while isinstance(tree, ast.Attribute | ast.Subscript):
        plain = isinstance(tree, ast.Attribute) or isinstance(tree.slice, ast.Constant | ast.Name)
        tree = tree.value if plain else None
    return isinstance(tree, ast.Name)


def with_rest(spelled: Spelled, rest: str) -> Spelled:
    """Return a spelling that ends with `rest` as its last argument."""
    text = spelled.text.strip()
    tree = ast.parse(text, mode="eval").body
    if not isinstance(tree, ast.Call):
        return spelled
    inside = text[:-1].rstrip()
    joined = f"{inside}{'' if inside.endswith('(') else ', '}{rest})"
    return replace(spelled, text=joined, helpers=spelled.helpers | {REFUSE})
