"""Stands between code and Paddle's operators, whatever function of Paddle it holds."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class PaddleOperator(NamedTuple):
    """A function of Paddle: what holds it, under which attribute, and what it is called here."""

    holder: Any
    attribute: str
    name: str
    function: Any


Call = Callable[[str, Any, tuple[Any, ...], dict[str, Any]], Any]


@contextmanager
def operators_watched(operators: Iterable[PaddleOperator], call: Call) -> Iterator[None]:
    """Let `call` (name, function, args, kwargs) run each operator that code calls.

    Code may hold a function of Paddle anywhere; all of them call Paddle's operators by name. What
    `call` itself calls runs as it is.
    """
    busy = [False]

    def spy(operator: PaddleOperator) -> Any:
        def spied(*args: Any, **kwargs: Any) -> Any:
            if busy[0]:
                return operator.function(*args, **kwargs)
            busy[0] = True
            try:
                return call(operator.name, operator.function, args, kwargs)
            finally:
                busy[0] = False

        return spied

    held = list(operators)
    try:
        for operator in held:
            setattr(operator.holder, operator.attribute, spy(operator))
        yield
    finally:
        for operator in held:
            setattr(operator.holder, operator.attribute, operator.function)
