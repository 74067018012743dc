"""Checkpoints of gradients that people write: code that runs again in the backward pass.

Those of guided-diffusion and of the nets that follow it: an autograd Function whose `forward` runs
a function without a graph, and whose `backward` runs it again with one. What it computes, forward
and backward, is what the function itself does.
"""

import ast
from collections.abc import Iterator

# All that such code calls beside the function: anything else may make other gradients.
# fmt: off
_HARMLESS = frozenset({
    "list", "tuple", "len", "zip", "isinstance", "no_grad", "enable_grad", "detach",
    "requires_grad_", "view_as", "grad", "backward", "save_for_backward", "is_tensor", "autocast",
    "is_autocast_enabled", "get_autocast_gpu_dtype", "is_autocast_cache_enabled",
})
# fmt: on


def runs_again(node: ast.ClassDef) -> str | None:
    """Return the parameters of `apply` of a class that is a checkpoint; None for any other class.

    As "run_function, length, *args": of the rest the first `length` are the function's arguments;
    or without a length all of them. Whether the class is an autograd Function is not asked.
    """
    methods = {one.name: one for one in node.body if isinstance(one, ast.FunctionDef)}
    forward, backward = methods.get("forward"), methods.get("backward")
    if forward is None or backward is None or methods.keys() - {"forward", "backward"}:
        return None
    names = [one.arg for one in forward.args.args]
    rest = forward.args.vararg
    if rest is None or forward.args.kwonlyargs or not 2 <= len(names) <= 3:
        return None
    function, length = names[1], names[2] if len(names) == 3 else None
    kept = _kept_as(forward, names[0], function)
    runs = (_runs_under(forward, "no_grad", kept), _runs_under(backward, "enable_grad", kept))
    plain = all(_is_plain(one, kept) for one in (forward, backward))
    cut = length is None or f"{rest.arg}[:{length}]" in ast.unparse(forward)
    if runs != (1, 1) or not (plain and cut and _gives_none(backward, len(names) - 1)):
        return None
    return ", ".join([*names[1:], f"*{rest.arg}"])


def _kept_as(forward: ast.FunctionDef, context: str, function: str) -> set[str]:
    """Return how the function is written: by its name, and as what the context keeps it."""
    targets = [
        ast.unparse(one.targets[0])
        for one in ast.walk(forward)
        if isinstance(one, ast.Assign) and ast.unparse(one.value) == function
    ]
    return {function, *(one for one in targets if one.startswith(f"{context}."))}


def _runs_under(method: ast.FunctionDef, region: str, kept: set[str]) -> int:
    """Return how often the function is called, all calls inside a region; -1 where one is not."""
    every = [one for one in _calls(method) if ast.unparse(one.func) in kept]
    regions = [
        one
        for one in ast.walk(method)
        if isinstance(one, ast.With) and any(f"{region}(" in ast.unparse(i) for i in one.items)
    ]
    inside = {id(call) for one in regions for call in _calls(one)}
    return len(every) if all(id(one) in inside for one in every) else -1


def _is_plain(method: ast.FunctionDef, kept: set[str]) -> bool:
    """Tell whether a method calls nothing else that counts, and computes nothing itself."""
    called = [one.func for one in _calls(method) if ast.unparse(one.func) not in kept]
    names = {one.attr if isinstance(one, ast.Attribute) else ast.unparse(one) for one in called}
    computes = [
        one
        for one in ast.walk(method)
        if (isinstance(one, ast.BinOp) and not isinstance(one.op, ast.Add))
        or isinstance(one, ast.UnaryOp | ast.AugAssign | ast.While | ast.Try)
    ]
    return names <= _HARMLESS and not computes


def _gives_none(backward: ast.FunctionDef, count: int) -> bool:
    """Tell whether the only return gives as many None as there are fixed parameters, then more."""
    returns = [one for one in ast.walk(backward) if isinstance(one, ast.Return)]
    if len(returns) != 1 or returns[0].value is None:
        return False
    nones = ", ".join(["None"] * count) + ("," if count == 1 else "")
    return ast.unparse(returns[0].value).startswith((f"({nones}) + ", f"({nones.rstrip(',')}, *"))


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    return (one for one in ast.walk(node) if isinstance(one, ast.Call))
