"""What of a config's own things is there, and what is still to be filled in."""

import ast
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from commands.subjects.named.config import SECTIONS, Own, own_of
from commands.subjects.named.parts import Parts
from commands.subjects.validation import sizes_taken
from common.data.batch import arrays_of
from common.errors import ConversionError, UserError
from common.nets import members
from common.places import where_written
from common.settings.own import FRAMEWORKS
from common.settings.run import Settings

READY, TO_FILL, WRONG = 0, 1, 2
# The methods of a class that are called; another one may be for subclasses to write.
CALLED = ("__init__", "__call__", "__len__", "__getitem__", "forward", "update", "compute",
          "accumulate", "result")  # fmt: skip


@dataclass(frozen=True)
class State:
    """What one thing is like: `code` is READY, TO_FILL or WRONG, `said` where, or why."""

    what: str
    code: int
    said: str


def states(settings: Settings) -> list[State]:
    """Return the state of every callable that a config names, then of nets and data of them."""
    owns: dict[str, Own] = {}
    found: list[State] = []
    for section in SECTIONS:
        for framework in FRAMEWORKS:
            try:
                own = own_of(settings, section, framework)
            except UserError as error:
                found.append(State(f"{section}.{framework}", TO_FILL, str(error)))
                continue
            if own is not None:
                owns[own.key] = own
    found += [state_of(own) for own in owns.values()]
    codes = {state.what.split(" ")[0]: state.code for state in found}
    if all(codes.get(f"model.{side}") == READY for side in FRAMEWORKS):
        found.append(_made("both nets", lambda: _nets(settings)))
    if not any(code for key, code in codes.items() if key.startswith("data")):
        found.append(_made("data", lambda: _data(settings)))
    made = {state.what for state in found if state.code == READY}
    if {"both nets", "data"} <= made:
        found.append(_made("validation", lambda: _validation(settings)))
    return found


def state_of(own: Own) -> State:
    """Tell whether a callable is there, and no stub any more; nothing of it is run."""
    try:
        found: Any = own.found
    except UserError as error:
        return State(str(own), WRONG, str(error))
    source = where_written(found)
    if source is None:
        return State(str(own), READY, "ready")
    stub = _stub_in(source.text)
    if stub is None:
        return State(str(own), READY, f"{source.file}:{source.line}")
    return State(str(own), TO_FILL, f"{source.file}:{source.line + stub}")


def _stub_in(source: str) -> int | None:
    """Return the line, from 0, of a stub: `raise NotImplementedError` is all that a body does.

    Of a class the bodies of the methods that are called.
    """
    try:
        found = ast.parse(textwrap.dedent(source)).body[0]
    except (SyntaxError, IndexError):  # a lambda in the middle of a line
        return None
    inside = found.body if isinstance(found, ast.ClassDef) else [found]
    functions = [node for node in inside if isinstance(node, ast.FunctionDef)]
    for function in functions:
        if function is not found and function.name not in CALLED:
            continue
        body = [node for node in function.body if not _is_docstring(node)]
        if len(body) == 1 and _gives_up(body[0]):
            return body[0].lineno - 1
    return None


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _gives_up(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Raise) or node.exc is None:
        return False
    raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"


def _made(what: str, make: Callable[[], str]) -> State:
    try:
        return State(what, READY, make())
    except ConversionError as error:  # the whole list is what the advised command prints
        head = str(error.args[0]).partition("\n")[0].rstrip(":")
        return State(what, WRONG, f"{head}\n{error.advice or error.args[0]}")
    except UserError as error:
        return State(what, WRONG, str(error))


def _parts(settings: Settings) -> Iterator[Parts]:
    from commands.subjects.named.frameworks import both_parts

    yield from both_parts(settings)


def _nets(settings: Settings) -> str:
    from commands.subjects.named.pair import pair_of

    theirs, ours = _parts(settings)
    torch_net, paddle_net, _ = pair_of(settings, (theirs, ours)).nets(None, settings.seed)
    counts = [sum(p.size if isinstance(p.size, int) else p.numel() for p in members.parameters(net))
              for net in (paddle_net, torch_net)]  # fmt: skip
    return f"have the same weights: {counts[1]:,} parameters"


def _validation(settings: Settings) -> str:
    theirs, ours = _parts(settings)
    return "both nets take " + ", ".join(f"{h} x {w}" for h, w in sizes_taken((theirs, ours)))


def _data(settings: Settings) -> str:
    theirs, _ = _parts(settings)
    data = theirs.data()
    image, target = data.train.sample(0, 0)
    shapes = {name or "label": list(array.shape) for name, array in arrays_of(target).items()}
    held = {"image": list(image.shape), **shapes}
    sizes = ", ".join(f"{name} {shape}" for name, shape in held.items())
    return f"{len(data.train)} training, {len(data.val)} validation samples; {sizes}"
