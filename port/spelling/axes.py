"""A list of one number where an image has two axes: torch counts it for each, Paddle wants two."""

import ast
import re
from collections.abc import Sequence
from dataclasses import replace

from port.calls import UNKNOWN, Argument, Spelled
from port.spelling.bind import Bound
from port.spelling.forms import Form
from port.spelling.texts import parsed

_WINDOWS = re.compile(r"(conv|pool)[a-z_]*([23])d")
_SIZES = {
    "conv": ("stride", "padding", "dilation", "output_padding"),
    "pool": ("kernel_size", "stride", "padding", "dilation"),
}
_HELPER, _AS_GIVEN = "on_each_axis", "as_given"
_KEPT = frozenset(name for names in _SIZES.values() for name in names)  # what layers keep


def over_axes(form: Form, bound: Bound) -> tuple[Bound, frozenset[str]]:
    """Return the arguments of a convolution or a pooling, and the helpers that they use now."""
    found = _WINDOWS.search(form.api.rpartition(".")[2].lower())
    if found is None or "adaptive" in form.api.lower():
        return bound, frozenset()
    given = dict(bound.given)
    for name in _SIZES[found[1]]:
        if name in given and given[name].single:
            is_layer = form.api.rpartition(".")[2][0].isupper()
            given[name] = _on_each_axis(given[name], int(found[2]), kept=is_layer)
    used = any(given[name].text.startswith(_HELPER) for name in given)
    return replace(bound, given=given), frozenset({_HELPER} if used else ())


def is_window(names: Sequence[str]) -> bool:
    """Tell whether names are those of a convolution or a pooling of several axes."""
    last = [name.removesuffix(".__init__").rpartition(".")[2].lower() for name in names]
    return any(_WINDOWS.search(one) and "adaptive" not in one for one in last)


def read_as_given(names: Sequence[str], attribute: str, read: Spelled) -> Spelled:
    """Return a layer's `stride` and the like as torch keeps it where one number was given."""
    if attribute not in _KEPT or not is_window(names):
        return read
    return replace(read, text=f"{_AS_GIVEN}({read.text})", helpers=read.helpers | {_AS_GIVEN})


def _on_each_axis(argument: Argument, axes: int, *, kept: bool) -> Argument:
    """Return `[2]` as `2`; what only holds one number as it runs is asked there.

    kept: a layer holds it, which torch's gives as it was given.
    """
    tree = parsed(argument.text)
    if isinstance(tree, ast.List | ast.Tuple) and len(tree.elts) == 1 and not kept:
        only = tree.elts[0]
        if not isinstance(only, ast.Starred):
            return replace(argument, text=ast.unparse(only), kind="int", value=UNKNOWN)
    text = f"{_HELPER}({argument.text}, {axes})"
    value = argument.value * axes if isinstance(argument.value, tuple) else argument.value
    return replace(argument, text=text, kind="other", value=value)
