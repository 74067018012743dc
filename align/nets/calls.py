"""Standing around every call of every module, in either framework.

Both frameworks run `instance.forward` when an instance is called, so a wrapper put on the
instance sees positional and keyword arguments, whatever hooks the version knows, and a
`forward` that somebody patched onto the instance stays what is wrapped.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from functools import cache, partial
from pathlib import Path
from typing import Any

from align.arrays.arguments import Forward
from align.nets.progress import noted
from common.places import where_written

# What the wrapper of a net and its loss carries as `net_with_loss_mark`, in either framework.
WITH_LOSS_MARK = object()
_MISSING = object()
# Where frameworks put what code assigns to a module: Paddle takes any tensor for a buffer. A lazy
# module of torch takes its hook away when it runs, and becomes of another class.
_REGISTERS = {
    "_buffers",
    "_non_persistable_buffer_names_set",
    "_non_persistent_buffers_set",
    "_forward_pre_hooks",
    # What a forward hooks in once, and remembers in an attribute that it has done so.
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_post_hooks",
}


def is_net_with_loss(module: Any) -> bool:
    """Tell whether `module` is a net and its loss in one: by its mark, which no other class has."""
    return getattr(type(module), "net_with_loss_mark", None) is WITH_LOSS_MARK


@contextmanager
def wrapped_forwards(
    modules: Mapping[str, Any], wrap: Callable[[str, Any, Forward], Forward]
) -> Iterator[None]:
    """Replace `forward` of each module by `wrap(path, module, forward)`; put back at the end."""
    own: list[tuple[Any, Any]] = []
    with_loss = is_net_with_loss(modules.get(""))
    try:
        for path, module in modules.items():
            original = module.forward
            own.append((module, vars(module).get("forward", _MISSING)))
            vars(module)["forward"] = noted(path, module, wrap(path, module, original), with_loss)
        yield
    finally:
        for module, forward in reversed(own):
            if forward is _MISSING:
                del vars(module)["forward"]
            else:
                vars(module)["forward"] = forward


@contextmanager
def attributes_kept(modules: Iterable[Any]) -> Iterator[None]:
    """Give every module its attributes back: what code keeps while it runs is of a judged run."""
    undo = attributes_remembered(modules)
    try:
        yield
    finally:
        undo()


def attributes_remembered(modules: Iterable[Any], buffers: bool = True) -> Callable[[], None]:
    """Return what gives every module its attributes of now back.

    buffers: those that code assigned anew, too; False: they stay what they are then.
    """
    kept = [
        (
            module,
            type(module),
            dict(vars(module)),
            {n: copy(vars(module)[n]) for n in _REGISTERS & vars(module).keys() if buffers},
        )
        for module in modules
    ]

    def undo() -> None:
        for module, kind, before, registered in kept:
            if type(module) is not kind:
                module.__class__ = kind
            own = vars(module)
            for name in own.keys() - before.keys():
                del own[name]
            own.update(before)
            for name, entries in registered.items():
                own[name].clear()
                own[name].update(entries)

    return undo


# What a class has that says no forward of its own, in either framework.
_NO_FORWARD = ("Layer.forward", "_forward_unimplemented")


def _runs(module: Any) -> Any:
    """Return the user's code that runs when `module` is called: of a net with loss the loss.

    A class without a forward stands for itself.
    """
    if getattr(type(module), "net_with_loss_mark", None) is not WITH_LOSS_MARK:
        forward = _as_written(module.forward)
        return type(module) if getattr(forward, "__qualname__", "") in _NO_FORWARD else forward
    loss = module.criterion
    function = loss.func if isinstance(loss, partial) else getattr(loss, "forward", loss)
    own = inspect.isfunction(function) or inspect.ismethod(function)
    return inspect.unwrap(function if own else type(function).__call__)


def source_of(module: Any) -> str:
    """Return `file:line` of the code that `module` runs when called, or its class's name."""
    place = _source(getattr(_runs(module), "__func__", _runs(module)))
    return place or f"{type(module).__module__}.{type(module).__qualname__}"


def written_at(function: Any) -> str:
    """Return where a user's function or class is written, as `file:line`; "" where nobody knows.

    The file is as people write it who are in the current folder. What stands for
    another says it itself, in `source`.
    """
    if source := getattr(function, "source", ""):
        return str(source)
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    code: Any = getattr(function, "__func__", function)
    place = _source(code if inspect.isroutine(code) or isinstance(code, type) else type(code))
    file, _, line = place.rpartition(":")
    return f"{_from_here(Path(file))}:{line}" if place else ""


@cache
def _source(code: Any) -> str:
    source = where_written(code)
    return f"{source.file}:{source.line}" if source else ""


def _as_written(forward: Any) -> Any:
    """Return the function that somebody wrote, of a decorated one (Paddle's `to_static` too)."""
    return inspect.unwrap(getattr(forward, "dygraph_function", forward))


def all_paths(net: Any, children: Callable[[Any], Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return {first path: every path} of each distinct module under `net`, root "" first.

    `children(module)` gives the direct children by name. A module registered in several places
    is one entry with several paths.
    """
    paths: dict[int, list[str]] = {}
    _walk(net, "", frozenset(), children, paths)
    return {every[0]: every for every in paths.values()}


def _walk(
    module: Any,
    path: str,
    above: frozenset[int],
    children: Callable[[Any], Mapping[str, Any]],
    into: dict[int, list[str]],
) -> None:
    into.setdefault(id(module), []).append(path)
    if id(module) in above:  # a module that holds itself
        return
    for name, child in children(module).items():
        if child is not None:
            below = f"{path}.{name}" if path else name
            _walk(child, below, above | {id(module)}, children, into)


def code_of(module: Any) -> str:
    """Return `file:line` of the code that `module` runs when called; classes are read once."""
    forward = _runs(module)
    own = getattr(forward, "__func__", forward)
    if getattr(own, "__code__", None) is None:
        return source_of(module)
    return _first_line(own)


@cache
def _first_line(function: Callable[..., Any]) -> str:
    code = function.__code__
    return f"{_from_here(Path(code.co_filename))}:{code.co_firstlineno}"


def _from_here(file: Path) -> Path:
    """Return a file as people write it who are in the current folder, whole outside of it."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file
