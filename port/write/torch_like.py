"""Classes of Paddle's that are called as torch calls its own, where nobody knows the arguments.

`Conv2d(*args, **kwargs)` cannot be respelled in place: the class that it calls takes them.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from port.calls import Argument, NoSpelling, SourceLine, TorchCall
from port.source import FUNCTIONS, Source
from port.spelling.forms import Form, Parameter
from port.spelling.names import called_by
from port.spelling.spell import spell
from port.spelling.table import rows

_PLACED = ("device", "dtype", "process_group")  # taken, as torch's classes do, and left out
# What torch's constructors of these end with is a call of `reset_parameters`, Paddle's have none.
_DRAWING = ("Conv", "Linear", "Bilinear", "Embedding", "BatchNorm", "GroupNorm", "LayerNorm")
_REFUSED = "raise NotImplementedError"
_NOWHERE = SourceLine(Path("torch_calls.py"), 0)


@dataclass(frozen=True)
class TorchLike:
    """A generated class: its name, its source, and the helpers that it uses itself."""

    name: str
    source: str
    helpers: frozenset[str]
    imports: frozenset[str]


def torch_like(names: Sequence[str]) -> TorchLike | None:
    """Return a class that takes the arguments of torch's, None where no row spells them all."""
    for name in names:
        base = called_by(name)
        if base is None or not name.startswith("torch.nn."):
            continue
        made = [_made(name, base, form) for form in rows().get(name, ())]
        found = [one for one in made if one is not None]
        if found:
            return min(found, key=lambda one: one.source.count(_REFUSED))
    return None


def _made(name: str, base: str, form: Form) -> TorchLike | None:
    if any(p.variadic for p in form.parameters):
        return None
    fixed = [p for p in form.parameters if p.name not in _PLACED and _has_one_value(p)]
    given = tuple(
        Argument(p.name, p.name if p.default is not None else None, kind=_kind(p), single=True)
        for p in form.parameters
        if p.name not in _PLACED and p not in fixed
    )
    try:
        spelled = spell(TorchCall(name, given, _NOWHERE))
        tree = ast.parse(spelled.text.strip(), mode="eval").body
    except (NoSpelling, SyntaxError):
        return None
    if not isinstance(tree, ast.Call) or ast.unparse(tree.func) != base:
        return None
    signature = ", ".join(
        p.name if p.default is None else f"{p.name}={p.default}" for p in form.parameters
    )
    inside = spelled.text.strip()[len(base) :]
    short = name.rpartition(".")[2]
    source = (
        f"class {short}({base}):\n"
        f'    """{base.rpartition(".")[2]} that takes the arguments of torch\'s {short}."""\n\n'
        f"    def __init__(self, {signature}):\n"
        + "".join(map(_refusal, fixed))
        + f"        super().__init__{inside}\n"
    )
    return TorchLike(short, source, spelled.helpers, spelled.imports)


def draws_its_own(source: Source, node: ast.Call, names: Sequence[str]) -> bool:
    """Tell whether a base's constructor called a `reset_parameters` of the class around."""
    place: ast.AST | None = node
    while place is not None and not isinstance(place, ast.ClassDef):
        place = source.parents.get(place)
    stands = isinstance(source.parents.get(node), ast.Expr) and isinstance(place, ast.ClassDef)
    if not stands or not names[0].removeprefix("torch.nn.").startswith(_DRAWING):
        return False
    own = (one for one in place.body if isinstance(one, FUNCTIONS))  # type: ignore[union-attr]
    return any(one.name == "reset_parameters" and source.ran(one.body) for one in own)


def _has_one_value(parameter: Parameter) -> bool:
    """Tell whether a row is for the default of a parameter alone."""
    if parameter.default is None or parameter.accepts or not parameter.constants:
        return False
    return ast.literal_eval(parameter.default) in parameter.constants


def _kind(parameter: Parameter) -> str:
    """Return what a parameter is taken for: the bool that it has to be, or "other"."""
    return "bool" if set(parameter.accepts) == {"bool"} else "other"


def _refusal(parameter: Parameter) -> str:
    """Return the lines that refuse what is not the default."""
    name, default = parameter.name, parameter.default
    return (
        f"        if {name} != {default}:\n"
        f'            {_REFUSED}(f"{name}={{{name}}}: the port has {default} alone")\n'
    )
