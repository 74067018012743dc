"""A list of one number where an image has two axes: torch counts it for each, Paddle wants two."""

import ast
import re
from dataclasses import replace

from port.calls import UNKNOWN, Argument
from port.spelling.bind import Bound
from port.spelling.forms import Form
from port.spelling.texts import parsed

_WINDOWS = re.compile(r"(conv|pool)[a-z_]*([23])d")
_SIZES = {
    "conv": ("stride", "padding", "dilation", "output_padding"),
    "pool": ("kernel_size", "stride", "padding", "dilation"),
}
_HELPER = "on_each_axis"


def over_axes(form: Form, bound: Bound) -> tuple[Bound, frozenset[str]]:
    """Return the arguments of a convolution or a pooling, and the helpers that they use now."""
    found = _WINDOWS.search(form.api.rpartition(".")[2].lower())
    if found is None or "adaptive" in form.api.lower():
        return bound, frozenset()
    given = dict(bound.given)
    for name in _SIZES[found[1]]:
        if name in given and given[name].single:
            given[name] = _on_each_axis(given[name], int(found[2]))
    used = any(given[name].text.startswith(_HELPER) for name in given)
    return replace(bound, given=given), frozenset({_HELPER} if used else ())


def _on_each_axis(argument: Argument, axes: int) -> Argument:
    """Return `[2]` as `2`; what only holds one number as it runs is asked there."""
    tree = parsed(argument.text)
    if isinstance(tree, ast.List | ast.Tuple) and len(tree.elts) == 1:
        only = tree.elts[0]
        if not isinstance(only, ast.Starred):
            return replace(argument, text=ast.unparse(only), kind="int", value=UNKNOWN)
    text = f"{_HELPER}({argument.text}, {axes})"
    value = argument.value * axes if isinstance(argument.value, tuple) else argument.value
    return replace(argument, text=text, kind="other", value=value)
