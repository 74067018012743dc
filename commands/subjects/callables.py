"""Callables of the user's own, loaded by `module:callable`."""

import functools
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commands.entry import was_interrupted
from commands.subjects.modules.spelling import module_named, not_found
from common.errors import UserError
from common.places import is_users, place_of, told
from common.processes.users_modules import import_users

SOURCE = "the net"  # what a command's first argument names
NETS = ("--torch", "--paddle", "--model", "model.torch", "model.paddle", SOURCE)
_loaded: list[tuple[str, Any]] = []  # (what the user called it, the callable)


def load_callable(spec: str, option: str) -> Callable[..., Any]:
    """Return what `spec`, "package.module:name", names; the current folder is on the path.

    The module may be written as the path of its file, "package/module.py:name".
    `option` is what the user called it, for messages. Raises UserError.
    """
    module, _, name = spec.partition(":")
    if not module or not name:
        raise UserError(f"{option} {spec}: expected MODULE:CALLABLE, as in my_pkg.nets:build")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(1, str(Path.cwd()))  # after the checkout
    module = module_named(module, f"{option} {spec}")
    try:
        with users_errors(f"{option} {spec}: cannot import {module}"):
            found = import_users(module)
    except UserError as error:
        missing = error.__cause__
        if not isinstance(missing, ModuleNotFoundError):
            raise
        raise UserError(f"{error}{not_found(missing.name, module)}") from missing
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise UserError(
            f"{option} {spec}: {module} has no {name}; it has {_names_in(found)}"
        ) from None
    if not callable(found):
        raise UserError(f"{option} {spec}: is a {type(found).__name__}, expected a callable")
    if option not in NETS:  # whose layers say themselves where an error was
        _loaded.append((f"{option} {spec}", found))
    return found


def _names_in(found: Any) -> str:
    """Say what a module or a class holds that can be called; of a package without any, its modules.

    The module's own come before those that it imports.
    """
    names = [n for n, value in vars(found).items() if callable(value) and n[0] != "_"]
    own = getattr(found, "__name__", "")
    names.sort(key=lambda name: getattr(getattr(found, name), "__module__", own) != own)
    if names:
        return ", ".join(names[:12])
    inside = [each.name for each in pkgutil.iter_modules(getattr(found, "__path__", []))]
    if inside:
        return f"the modules {', '.join(inside[:12])}: name one, as in {own}.{inside[0]}:build"
    return "nothing that can be called"


@contextmanager
def users_errors(what: str, function: Any = None) -> Iterator[None]:
    """Make what the user's code raises in the block a UserError that begins with `what`.

    That is anything, `SystemExit` too; only Ctrl-C stays what it is. `function` is what is called,
    whose line is told where none of the user's was running.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        if was_interrupted():
            raise
        raise UserError(f"{what}: {told(error)}") from error
    except SystemExit as error:
        raise UserError(
            f"{what}: {told(error)} would end the program; put what ends it, parse_args too, under "
            '`if __name__ == "__main__":`'
        ) from error
    except BaseException as error:
        raise UserError(f"{what}: {told(error, function)}") from error


def whose(error: BaseException, side: str = "") -> str:
    """Return the callable that was running when `error` was raised, "--torch-loss my:loss".

    Without one: the optimizer of one side, or "". Of a callable that both sides have, that of
    `side`, "--torch" or "--paddle", where it is known.
    """
    loaded: dict[Any, list[str]] = {}
    for what, found in _loaded:
        for code in _codes(found):
            if what not in loaded.setdefault(code, []):
                loaded[code].append(what)
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_code in loaded:
            names = loaded[frame.f_code]
            return " or ".join([name for name in names if name.startswith(side)] or names)
        owner = frame.f_locals.get("self")
        if side := _side_of_optimizer(owner):
            return f"the optimizer of {side} ({type(owner).__name__})"
    return ""


def _codes(found: Any) -> list[Any]:
    """Return the code of a function, of the methods of a class, or of an object's class."""
    found = inspect.unwrap(found)
    if hasattr(found, "__code__"):
        return [found.__code__]
    kind = found if isinstance(found, type) else type(found)
    if isinstance(found, functools.partial):
        return _codes(found.func)
    methods = [value for base in kind.__mro__ for value in vars(base).values()]
    codes = [method.__code__ for method in methods if inspect.isfunction(method)]
    return [code for code in codes if is_users(code.co_filename)]


def _side_of_optimizer(owner: Any) -> str:
    for base in type(owner).__mro__:
        if base.__name__ == "Optimizer" and base.__module__.startswith(("torch.", "paddle.")):
            return "the reference" if base.__module__.startswith("torch.") else "the port"
    return ""


def build_port(spec: str, option: str, arguments: Mapping[str, Any] | None = None) -> Any:
    """Call what `spec` names and return the Paddle layer; UserError where that is none."""
    made = _made(spec, option, arguments)
    if "paddle" not in _frameworks(made):
        raise _no_net(spec, option, made, "paddle.nn.Layer")
    return made


def build(spec: str, option: str, base: type, arguments: Mapping[str, Any] | None = None) -> Any:
    """Call what `spec` names and return the net; UserError where that is no `base`."""
    made = _made(spec, option, arguments)
    if not isinstance(made, base):
        raise _no_net(spec, option, made, f"{base.__module__}.{base.__qualname__}")
    return made


def _made(spec: str, option: str, arguments: Mapping[str, Any] | None) -> Any:
    """Call what `spec` names; UserError where it needs arguments, says how these are given."""
    function, what = load_callable(spec, option), f"{option} {spec}"
    given = arguments or {}
    try:
        signature = inspect.signature(function)
        kinds = [one.kind for one in signature.parameters.values()]
    except (TypeError, ValueError):  # of compiled code: the call itself tells
        return called(function, what, arguments)
    needed = [
        one.name
        for one in signature.parameters.values()
        if one.default is one.empty and one.kind not in _OPEN and one.name not in given
    ]
    strange = [name for name in given if name not in signature.parameters]
    if needed or (strange and inspect.Parameter.VAR_KEYWORD not in kinds):
        lacks = f"needs {', '.join(needed)}" if needed else f"takes no {', '.join(strange)}"
        where = f" ({place_of(function)})" if place_of(function) else ""
        raise UserError(
            f"{what}: {spec.partition(':')[2]}{signature}{where} {lacks}: "
            f"{_arguments_of(option, needed)}"
        )
    return called(function, what, arguments)


_OPEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _arguments_of(option: str, needed: Sequence[str]) -> str:
    """Say how the arguments of a net's callable are given."""
    shown = needed or ["KEY"]
    if option.startswith("model."):
        side = option.partition(".")[2]
        words = ", ".join(f"{name}: VALUE" for name in shown)
        return f"set model.{side}_args: {{{words}}} in the config (model.args: of both nets)"
    if option in ("--torch", "--paddle"):
        return f"give {option}-args {' '.join(f'{name}=VALUE' for name in shown)}"
    if option == SOURCE:
        return f"give --args {' '.join(f'{name}=VALUE' for name in shown)}"
    return "name a function that calls it with them, or a config (model.paddle_args)"


def _frameworks(made: Any) -> set[str]:
    return {kind.__module__.split(".")[0] for kind in type(made).__mro__} & {"torch", "paddle"}


def _no_net(spec: str, option: str, made: Any, expected: str) -> UserError:
    """Return the error of a callable that returned no net."""
    found = f"{type(made).__module__}.{type(made).__qualname__}"
    step = ""
    if made is None:
        found, step = "None", ": does it return the net?"
    elif isinstance(made, type):
        found = f"the class {made.__qualname__} itself"
        step = f": call it there, or name it, {made.__module__}:{made.__qualname__}"
    elif _frameworks(made) and hasattr(made, "forward"):
        step = f": that is a net of {_frameworks(made).pop()}; are the two sides exchanged?"
    return UserError(f"{option} {spec}: returned {found}, expected a {expected}{step}")


def called(function: Callable[..., Any], what: str, arguments: Mapping[str, Any] | None) -> Any:
    """Call a user's function; what it raises is a UserError."""
    with users_errors(what, function):
        return function(**(arguments or {}))


def criterion(
    spec: str, option: str, base: type, arguments: Mapping[str, Any] | None = None
) -> Any:
    """Return a loss: a function with `arguments`, of a class of `base` an instance."""
    found = load_callable(spec, option)
    if isinstance(found, type) and issubclass(found, base):
        return called(found, f"{option} {spec}", arguments)
    if isinstance(found, type):
        raise UserError(
            f"{option} {spec}: is a class, but no {base.__module__}.{base.__qualname__}: give a "
            "function of (outputs, label), or an object that is called so"
        )
    return functools.partial(found, **arguments) if arguments else found
