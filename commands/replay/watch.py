"""Watches one training step of a net for values that are not finite, in order of time.

Around every call of every layer its inputs and outputs are looked at, and the gradients that
arrive there; between the calls, the lines of the code. A layer without layers inside gets an alias
of its input, so that the gradient seen there is its own and nobody else's.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from align.arrays.trees import leaves, map_leaves
from align.nets.calls import code_of, wrapped_forwards
from commands.replay.lines import Lines, running_line
from commands.replay.sighting import BACKWARD, CRITERION, DATA, FORWARD, LOSS, NET, Bad, Sighting

MOST = 200  # findings that are kept: after the first ones all is NaN


class Tensors(Protocol):
    """What is asked of a framework."""

    def is_tensor(self, value: Any) -> bool:
        """Tell whether it is one of the framework's."""
        ...

    def alias(self, tensor: Any) -> Any:
        """Return a tensor of the same values that is a node of its own in the graph."""
        ...

    def bad(self, tensor: Any) -> Bad | None:
        """Return what of its values is not finite."""
        ...

    def has_gradient(self, tensor: Any) -> bool:
        """Tell whether a gradient will arrive at it."""
        ...

    def hook(self, tensor: Any, function: Callable[[Any], None]) -> Callable[[], None]:
        """Call `function` with its gradient; return what ends that."""
        ...

    def modules(self, root: Any) -> dict[str, Any]:
        """Return {path: module}."""
        ...

    def is_leaf(self, module: Any) -> bool:
        """Tell whether it holds no other and writes into no input."""
        ...

    def parameters(self, root: Any) -> dict[str, Any]:
        """Return {name: parameter}."""
        ...


@dataclass(eq=False)
class WatchedCall:
    """A running call of a layer; `source` is the line that made it."""

    part: str
    path: str
    module: Any
    parent: "WatchedCall | None"
    source: str

    @property
    def kind(self) -> str:
        """The class of the layer."""
        return type(self.module).__name__


class Watch:
    """Collects `findings` of one step, the first one first.

    tensors: of the framework. net, criterion: modules, or a criterion that is a function.
    """

    def __init__(self, tensors: Tensors, net: Any, criterion: Any) -> None:
        self.tensors, self.net, self.criterion = tensors, net, criterion
        self.findings: list[Sighting] = []
        self.stack: list[WatchedCall] = []
        self.batch = -1
        self.backward = False  # of the present micro-batch has begun
        self.taken: dict[int, tuple[weakref.ref, WatchedCall]] = {}  # by containers, as inputs
        self.first_key = 0  # the tensor of the first finding, where that is a gradient
        self.ends: list[Callable[[], None]] = []
        self.lines = Lines(tensors.is_tensor, self._made)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what runs in the block."""
        parts = {NET: self.tensors.modules(self.net)}
        known = {id(module) for module in parts[NET].values()}
        own = self.tensors.modules(self.criterion).items()
        parts[CRITERION] = {path: module for path, module in own if id(module) not in known}
        with ExitStack() as entered:
            for part, modules in parts.items():
                entered.enter_context(wrapped_forwards(modules, self._wrapper(part)))
            self._hook_parameters()
            entered.callback(self._end)
            entered.enter_context(self.lines.followed())
            yield

    def _end(self) -> None:
        for end in self.ends:
            end()

    def _hook_parameters(self) -> None:
        for part, root in ((NET, self.net), (CRITERION, self.criterion)):
            modules = self.tensors.modules(root)
            for name, parameter in self.tensors.parameters(root).items():
                path, _, own = name.rpartition(".")
                module = modules.get(path)
                call = WatchedCall(part, path, module, None, code_of(module) if module else "")
                if self.tensors.has_gradient(parameter):
                    self._hook(parameter, call, f"grad:{own}")

    def _wrapper(self, part: str) -> Callable[[str, Any, Callable[..., Any]], Callable[..., Any]]:
        def wrap(path: str, module: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
            def watched(*args: Any, **kwargs: Any) -> Any:
                if part == NET and not path:
                    self.batch, self.backward = self.batch + 1, False
                parent = self.stack[-1] if self.stack else None
                source = running_line() or code_of(module)
                call = WatchedCall(part, path, module, parent, source)
                args, kwargs = self._enter(call, (args, kwargs))
                self.stack.append(call)
                try:
                    outputs = forward(*args, **kwargs)
                finally:
                    self.stack.pop()
                self._leave(call, outputs)
                return outputs

            return watched

        return wrap

    def _enter(self, call: WatchedCall, given: Any) -> Any:
        """Look at the inputs of a call; return them as it gets them."""
        leaf, number = self.tensors.is_leaf(call.module), -1

        def take(value: Any) -> Any:
            nonlocal number
            if not self.tensors.is_tensor(value):
                return value
            number += 1
            self._look_at_input(call, value, number)
            if not self.tensors.has_gradient(value):
                return value
            if leaf:
                value = self.tensors.alias(value)
            else:
                self.taken[id(value)] = (weakref.ref(value), call)
            self._hook(value, call, f"grad_input:{number}")
            return value

        return map_leaves(given, take)

    def _look_at_input(self, call: WatchedCall, tensor: Any, number: int) -> None:
        """A tensor that no layer and no line made as it is was made on the way to the call."""
        bad = None if self.findings else self.tensors.bad(tensor)
        if bad is None:
            return
        by, where = call.parent, f"input:{number} of {call.path or call.part}"
        if by is None and call.part == NET:
            self._found(DATA, call, f"input:{number}", bad, call.source)
        else:
            self._found(self._phase(by or call), by or call, where, bad, call.source)

    def _leave(self, call: WatchedCall, outputs: Any) -> None:
        """Look at the outputs of a call."""
        tensors = [leaf for leaf in leaves(outputs) if self.tensors.is_tensor(leaf)]
        for number, tensor in enumerate(tensors):
            if bad := self.tensors.bad(tensor):
                self._found(self._phase(call), call, f"output:{number}", bad, call.source)
            if self.tensors.has_gradient(tensor):
                self._hook_output(tensor, call, number)

    def _hook_output(self, tensor: Any, call: WatchedCall, number: int) -> None:
        """The gradient that arrives at an output is made by the code that takes it on."""
        held, key = weakref.ref(tensor), id(tensor)

        def seen(gradient: Any) -> None:
            self.backward = True
            reference, _ = self.taken.get(key, (None, call))
            if reference is not None and reference() is not None and reference() is held():
                return  # a container's own code took it: its hook says so
            bad = self.tensors.bad(gradient)
            if bad and call.parent is not None:
                where = f"grad_output:{number} of {call.path or call.part}"
                self._found(BACKWARD, call.parent, where, bad, call.parent.source)
            elif bad:
                self._found(BACKWARD, self._criterion_itself(), f"grad_input:{number}", bad, "")

        self.ends.append(self.tensors.hook(tensor, seen))

    def _criterion_itself(self) -> WatchedCall:
        return WatchedCall(CRITERION, "", self.criterion, None, code_of_criterion(self.criterion))

    def _hook(self, tensor: Any, call: WatchedCall, where: str) -> None:
        """The gradient that `call` hands on: of containers that take a tensor the innermost's."""
        key = id(tensor)

        def seen(gradient: Any) -> None:
            self.backward = True
            bad = self.tensors.bad(gradient)
            if bad is None:
                return
            if len(self.findings) == 1 and self.first_key == key:
                self.findings.clear()
            self.first_key = self.first_key if self.findings else key
            self._found(BACKWARD, call, where, bad, call.source)

        self.ends.append(self.tensors.hook(tensor, seen))

    def _made(self, name: str, tensor: Any, place: str, backward: bool) -> None:
        """A line of code made a tensor; statistics and masks, without a gradient, are no matter.

        What comes of them in a tensor that has one is seen there.
        """
        counts = backward or self.tensors.has_gradient(tensor)
        bad = self.tensors.bad(tensor) if counts else None
        if bad is None:
            return
        where = f"variable {name}" if name else "what it returns"
        call = self.stack[-1] if self.stack else self._criterion_itself()
        phase = BACKWARD if backward or self.backward else self._phase(call)
        self._found(phase, call, where, bad, place)

    def _phase(self, call: WatchedCall) -> str:
        return FORWARD if call.part == NET else LOSS

    def _found(self, phase: str, call: WatchedCall, where: str, bad: Bad, source: str) -> None:
        if len(self.findings) < MOST:
            place = (phase, call.part, call.path, call.kind, where)
            self.findings.append(Sighting(*place, bad, source or call.source, max(self.batch, 0)))


def code_of_criterion(criterion: Any) -> str:
    """Return "file:line" of a criterion's code, "" where that is not known."""
    from common.places import place_of

    code = getattr(criterion, "loss", criterion)  # a function, in the wrapper of a config's
    return place_of(getattr(code, "forward", code)) or place_of(type(code))
