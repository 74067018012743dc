"""Answers the questions of instrumented files, and keeps what it was told."""

import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import torch

from port.record.attribute import Held, Sweeps, attribute, held, is_same
from port.record.describe_torch import described
from port.record.facts import (
    GETATTR,
    LOCATE,
    MODULE_BY_NAME,
    MOST,
    OF_STRINGS,
    Facts,
    FileRecord,
    Holder,
    Place,
    SeenCall,
    merged,
)
from port.record.frames import FrameWalker, holders
from port.record.instrument import Span
from port.record.names_torch import who_is_called
from port.record.pieces_torch import CutTensors


class OwnLook:
    """Entered while the recorder itself looks at values: what of the user's runs then is no answer.

    `__getattribute__` and the like may stand in files with questions, and would be asked for ever.
    """

    now = False

    def __enter__(self) -> None:
        self.now = True

    def __exit__(self, *_: object) -> None:
        self.now = False


class Phase:
    """Whether modules are still imported, or the factory and its net are at work."""

    at_work = False

    def __init__(self) -> None:
        self.writes, self.look, self.sweeps = Writes(), OwnLook(), Sweeps()

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Run a module, which a factory may import as it works: what runs is no work of the net."""
        before, self.at_work = self.at_work, False
        try:
            yield
        finally:
            self.at_work = before


class Writes:
    """Which calls wrote into tensors, or made the layers that did, by the tensor."""

    def __init__(self) -> None:
        self.now = 0
        self.by_tensor: dict[int, dict[Place, int]] = {}  # with the time of the last write
        self.made: dict[int, tuple[Any, Place]] = {}  # layers that write in place
        self.held: dict[Place, set[Holder]] = {}
        self.pieces = CutTensors()

    def begun(self) -> int:
        """Return the time at which a call begins."""
        self.now += 1
        return self.now

    def noted(self, tensor: torch.Tensor, place: Place) -> None:
        """Note that what stands at `place` wrote into a tensor just now."""
        self.by_tensor.setdefault(id(tensor), {})[place] = self.now
        self.pieces.written(tensor)
        if found := holders(tensor):
            self.held.setdefault(place, set()).update(found)

    def after_forward(self, module: Any, args: Any, _: Any) -> None:
        """Note what a layer wrote into: a hook of torch's for all modules."""
        held = self.made.get(id(module))
        if held is not None and args and isinstance(args[0], torch.Tensor):
            self.noted(args[0], held[1])

    def since(self, start: int, tensors: Iterable[torch.Tensor]) -> set[Place]:
        """Return the places that wrote into `tensors` since a call began."""
        found = [self.by_tensor.get(id(tensor), {}) for tensor in tensors]
        return {place for one in found for place, time in one.items() if time >= start}


class Asker(FrameWalker):
    """Stands as `__t2p__` among the globals of one file."""

    def __init__(self, file: FileRecord, spans: Sequence[Span], phase: Phase) -> None:
        self.file, self.spans, self.phase = file, spans, phase
        self.counts = [0] * len(spans)
        self.texts: dict[int, Any] = {}  # strings that are being run
        self.decorated: dict[int, list[Held]] = {}  # what is being decorated

    def call(self, number: int, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call `function`, and note who it was."""
        if self.phase.look.now or self._is_known(number):
            return function(*args, **kwargs)
        with self.phase.look:
            owner = attribute(function, "__self__")
            tensors = _tensors((owner, *args, *kwargs.values()))
            before = [_version(tensor) for tensor in tensors]
            start = self.phase.writes.begun()
        result = function(*args, **kwargs)
        if function is inspect.stack:
            result = self.own_only(result)
        with self.phase.look:
            written = [
                one for one, old in zip(tensors, before, strict=True) if _version(one) != old
            ]
            aliases = _local_names(sys._getframe(1), written)
            self._note(number, function, args, kwargs, result, written, aliases, start)
        return result

    def _is_known(self, number: int) -> bool:
        """Count a question; tell whether it was asked often enough."""
        self.counts[number] += 1
        return self.counts[number] > MOST

    def seen(self, number: int, value: Any) -> Any:
        """Note what stands here."""
        if self.phase.look.now or self._is_known(number):
            return value
        with self.phase.look:
            span, facts = self.spans[number], described(value)
            known = self.file.values.get(span)
            self.file.values[span] = facts if known is None else merged(known, facts)
        return value

    def by_key(self, number: int, owner: Any, table: Any, key: Any) -> Any:
        """Return `owner.__dict__[key]`; of torch's modules, note what it is."""
        result = table[key]
        if isinstance(owner, ModuleType) and not self.phase.look.now:
            with self.phase.look:
                facts = described(owner)
                now = SeenCall(whose=GETATTR, positional=[facts], asked=key)
                now.result = described(result)
            known = self.file.calls.setdefault(self.spans[number], [])
            if facts.kind == "package" and now not in known and len(known) < MOST:
                known.append(now)
        return result

    def stored(self, number: int, value: Any) -> Any:
        """Note what stands here, and is about to be written into by places."""
        if not self.phase.look.now and isinstance(value, torch.Tensor):
            self.phase.writes.pieces.written(value)
        return self.seen(number, value)

    def text(self, number: int, value: Any) -> Any:
        """Keep the string that `eval` or `exec` is about to run."""
        self.texts[number] = value
        return value

    def gave(self, number: int, value: Any) -> Any:
        """Note what a string gave."""
        string = str(self.texts.pop(number, ""))
        with self.phase.look:
            now = SeenCall(whose=OF_STRINGS, asked=string, result=described(value))
        known = self.file.calls.setdefault(self.spans[number], [])
        if len(known) < MOST and now not in known:
            known.append(now)
        return value

    def written(self, number: int, target: Any, value: Any) -> Any:
        """Note that `target` is written into by an operator such as `+=`; return the operand."""
        if self.phase.look.now:
            return value
        with self.phase.look:
            if isinstance(target, torch.Tensor):
                span = self.spans[number]
                self.file.written.setdefault(span, set()).update(
                    _local_names(sys._getframe(1), [target])
                )
                self.phase.writes.noted(target, (self.file.module, span))
        return value

    def beside(self, number: int, target: Any, value: Any) -> Any:
        """Note what `value` is added to by `+=`; return it."""
        self.seen(number, target)
        return value

    def given(self, number: int) -> Any:
        """Return a decorator below another: it notes what that one is given."""

        def noted(thing: Any) -> Any:
            with self.phase.look:
                self.decorated.setdefault(number, []).append(held(thing))
            return thing

        return noted

    def made(self, number: int) -> Any:
        """Return a decorator above another: it notes whether that one only wrote documentation."""

        def noted(thing: Any) -> Any:
            with self.phase.look:
                before, after = self.decorated[number].pop(), held(thing)
                idle = is_same(before, after)
                if idle and after[1] > before[1] and self.phase.sweeps.one():
                    after = held(thing)
                idle = idle and after[1] <= before[1]  # a registry holds it
            (self.file.idle if idle else self.file.busy).add(self.spans[number])
            return thing

        return noted

    def ran(self, number: int) -> None:
        """Note that a block ran."""
        if self.phase.look.now:
            return
        self.file.ran.add(self.spans[number])
        if self.phase.at_work:
            self.file.at_work.add(self.spans[number])

    def _note(
        self,
        number: int,
        function: Any,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        result: Any,
        written: Sequence[torch.Tensor],
        aliases: set[str],
        start: int,
    ) -> None:
        names, receiver, by_partial, built = who_is_called(function)
        now = SeenCall(
            names,
            by_partial,
            built,
            None if receiver is None else described(receiver),
            [_spread(described(value), value, receiver) for value in args],
            {name: described(value) for name, value in kwargs.items()},
            described(result),
            any(result is tensor for tensor in written),
            aliases,
            through={name: described(value) for name, value in function.keywords.items()}
            if isinstance(function, partial)
            else {},
            whose="" if names else _whose(function),
            asked=_asked(function, args),
            asked_of=_module_name(args[0]) if function is getattr else "",
            writers=self.phase.writes.since(start, written),
        )
        self._note_place(number, names, result, written)
        known = self.file.calls.setdefault(self.spans[number], [])
        for one in known:
            if (one.names, one.partial, one.built) == (names, by_partial, built) and (
                names or one.of_others == now.of_others
            ):
                _merge(one, now)
                now = one
                break
        else:
            known.append(now)
        whole = receiver if receiver is not None else next(iter(args), None)
        self.phase.writes.pieces.cut(now, whole, result)

    def _note_place(
        self, number: int, names: Sequence[str], result: Any, written: Sequence[torch.Tensor]
    ) -> None:
        """Keep the place of a call of torch's that wrote, or that made a layer that will."""
        place = self.file.module, self.spans[number]
        if names and attribute(result, "inplace") is True:
            self.phase.writes.made[id(result)] = result, place
        if names and not names[0].endswith((".__call__", ".forward")):
            for tensor in written:
                self.phase.writes.noted(tensor, place)


def _merge(known: SeenCall, now: SeenCall) -> None:
    """Take what `now` tells into `known`."""
    if len(known.positional) != len(now.positional) or known.keywords.keys() != now.keywords.keys():
        known.ragged = True
    if len(known.positional) > len(now.positional):
        known.positional = known.positional[: len(now.positional)]
    known.positional = [
        merged(one, other) for one, other in zip(known.positional, now.positional, strict=False)
    ]
    known.keywords = {
        name: merged(known.keywords.get(name, Facts()), now.keywords.get(name, Facts()))
        for name in {**now.keywords, **known.keywords}
    }
    if known.receiver is not None and now.receiver is not None:
        known.receiver = merged(known.receiver, now.receiver)
    known.result = merged(known.result, now.result)
    known.through = {
        name: merged(*(one.through.get(name, Facts()) for one in (known, now)))
        for name in {**known.through, **now.through}
    }
    known.aliases |= now.aliases
    known.writers |= now.writers
    known.returns_written = known.returns_written or now.returns_written


def _spread(facts: Facts, value: Any, receiver: Any) -> Facts:
    """Return what is known of an argument; uneven: it has not the shape of whose method it is."""
    both = isinstance(value, torch.Tensor) and isinstance(receiver, torch.Tensor)
    return replace(facts, uneven=True) if both and value.shape != receiver.shape else facts


def _tensors(values: Iterable[Any]) -> list[torch.Tensor]:
    return [value for value in values if isinstance(value, torch.Tensor)]


def _local_names(frame: Any, tensors: Sequence[Any]) -> set[str]:
    """Return under which local names a caller holds one of `tensors`."""
    if not tensors:
        return set()
    values = frame.f_locals.items()
    return {name for name, value in values if any(value is tensor for tensor in tensors)}


def _version(tensor: torch.Tensor) -> int:
    try:
        return tensor._version
    except RuntimeError:  # of inference mode
        return 0


def _asked(function: Any, args: Sequence[Any]) -> str:
    """Return the string by which a function was to find a thing."""
    if function is getattr:
        return str(args[1])
    return str(args[0]) if args and _whose(function) in (MODULE_BY_NAME, LOCATE) else ""


def _module_name(value: Any) -> str:
    return value.__name__ if isinstance(value, ModuleType) else ""


def _whose(function: Any) -> str:
    if function == importlib.import_module:  # a watch may stand in its place
        return MODULE_BY_NAME
    kind = function if attribute(function, "__qualname__") else type(function)
    return f"{attribute(kind, '__module__', '')}:{attribute(kind, '__qualname__', '')}"
