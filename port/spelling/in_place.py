"""Rows of methods that write in place, `x.tan_()`: they follow from those of `x.tan()`."""

import ast
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace

from port.spelling.forms import Form

_METHOD, _TORCH, _FUNCTIONAL = "torch.Tensor.", "torch.", "torch.nn.functional."
_LEAVES = ast.Name | ast.Constant | ast.expr_context
# Of these the gradient asks for no input.
_PLAIN = ast.Compare | ast.cmpop | ast.BinOp | ast.UnaryOp | ast.Add | ast.Sub | ast.USub | _LEAVES


def in_place(
    names: Set[str],
    families: Iterable[tuple[str, ...]],
    known: Mapping[str, tuple[Form, ...]],
) -> dict[str, tuple[Form, ...]]:
    """Return {api: forms} of what torch has in place as well; its own forms, if any, come first.

    A row that one of the aliases has counts for all of them: `multiply_` is `mul_`.

    names: of functions and methods, "tan" for `tan_`. families: the APIs of a row. known: the forms
    of every row.
    """
    found: dict[str, tuple[Form, ...]] = {}
    for family in families:
        plain = {api: name for api in family if (name := _name(api)) in names}
        apis = [owner + name + "_" for name in {*plain.values()} for owner in _owners(name, plain)]
        written = next((known[api] for api in apis if api in known), ())
        follow = [_written(form) for form in known[next(iter(plain))]] if plain else []
        for api in apis:
            forms = (*known.get(api, written), *filter(None, follow))
            found[api] = tuple(replace(form, api=api) for form in forms)
    return found


def _owners(name: str, family: Iterable[str]) -> tuple[str, ...]:
    return _METHOD, _TORCH, *((_FUNCTIONAL,) if _FUNCTIONAL + name in family else ())


def _name(api: str) -> str:
    """Return the bare name of a function or method of tensors, "" of others."""
    owner, _, name = api.rpartition(".")
    return name if f"{owner}." in (_FUNCTIONAL, _METHOD, _TORCH) else ""


def _written(form: Form) -> Form | None:
    """Return a form that puts what another one computes into the first argument."""
    if form.template.startswith("@") or not form.parameters or form.parameters[0].variadic:
        return None
    first, tree = form.parameters[0].name, form.tree
    if isinstance(tree, ast.Call) and _is_function_of(first, tree):
        inside, called = [*tree.args, *tree.keywords], ast.unparse(tree.func)
        text = f"into({called})({', '.join(map(ast.unparse, inside))})"
        return replace(form, template=text, newly=form.newly or (form.since and called))
    if not all(isinstance(part, _PLAIN) for part in ast.walk(tree)):
        tree = _Copied(first).visit(tree)  # what is written over is no input of a gradient
    return replace(form, template=f"write_into({first}, {ast.unparse(tree)})")


def _is_function_of(first: str, tree: ast.Call) -> bool:
    """Tell whether a template is `function(first, ...)`, with `first` nowhere else."""
    uses = [one for one in ast.walk(tree) if isinstance(one, ast.Name) and one.id == first]
    named = isinstance(tree.func, ast.Name) or ast.unparse(tree.func).startswith(("paddle.", "F."))
    return named and len(uses) == 1 and tree.args[:1] == uses


class _Copied(ast.NodeTransformer):
    """Puts a copy in the place of a name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.parse(f"{self.name}.clone()", mode="eval").body if node.id == self.name else node
