"""Answers the questions of instrumented files, and keeps what it was told."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from port.record.describe_torch import described
from port.record.facts import MOST, Facts, FileRecord, SeenCall, merged
from port.record.instrument import Span
from port.record.names_torch import who_is_called


class Phase:
    """Whether modules are still imported, or the factory and its net are at work."""

    at_work = False

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Run a module, which a factory may import as it works: what runs is no work of the net."""
        before, self.at_work = self.at_work, False
        try:
            yield
        finally:
            self.at_work = before


class Asker:
    """Stands as `__t2p__` among the globals of one file."""

    def __init__(self, file: FileRecord, spans: Sequence[Span], phase: Phase) -> None:
        self.file, self.spans, self.phase = file, spans, phase
        self.counts = [0] * len(spans)

    def call(self, number: int, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call `function`, and note who it was."""
        self.counts[number] += 1
        if self.counts[number] > MOST:
            return function(*args, **kwargs)
        owner = getattr(function, "__self__", None)
        tensors = _tensors((owner, *args, *kwargs.values()))
        before = [_version(tensor) for tensor in tensors]
        result = function(*args, **kwargs)
        written = [
            tensor for tensor, old in zip(tensors, before, strict=True) if _version(tensor) != old
        ]
        aliases = _local_names(sys._getframe(1), written)
        self._note(number, function, args, kwargs, result, written, aliases)
        return result

    def seen(self, number: int, value: Any) -> Any:
        """Note what stands here."""
        self.counts[number] += 1
        if self.counts[number] <= MOST:
            span, facts = self.spans[number], described(value)
            known = self.file.values.get(span)
            self.file.values[span] = facts if known is None else merged(known, facts)
        return value

    def written(self, number: int, target: Any, value: Any) -> Any:
        """Note that `target` is written into by an operator such as `+=`; return the operand."""
        if isinstance(target, torch.Tensor):
            names = _local_names(sys._getframe(1), [target])
            self.file.written.setdefault(self.spans[number], set()).update(names)
        return value

    def ran(self, number: int) -> None:
        """Note that a block ran."""
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
    ) -> None:
        names, receiver, by_partial, built = who_is_called(function)
        now = SeenCall(
            names,
            by_partial,
            built,
            None if receiver is None else described(receiver),
            [described(value) for value in args],
            {name: described(value) for name, value in kwargs.items()},
            described(result),
            any(result is tensor for tensor in written),
            aliases,
            through=set(function.keywords) if isinstance(function, partial) else set(),
            whose="" if names else _whose(function),
        )
        known = self.file.calls.setdefault(self.spans[number], [])
        for one in known:
            if (one.names, one.partial, one.built) == (names, by_partial, built) and (
                names or one.whose == now.whose
            ):
                _merge(one, now)
                return
        known.append(now)


def _merge(known: SeenCall, now: SeenCall) -> None:
    """Take what `now` tells into `known`."""
    if len(known.positional) != len(now.positional) or known.keywords.keys() != now.keywords.keys():
        known.ragged = True
    if len(known.positional) > len(now.positional):
        known.positional = known.positional[: len(now.positional)]
    known.positional = [
        merged(one, other) for one, other in zip(known.positional, now.positional, strict=False)
    ]
    both = known.keywords.keys() & now.keywords.keys()
    known.keywords = {
        name: merged(facts, now.keywords[name]) if name in both else Facts()
        for name, facts in {**now.keywords, **known.keywords}.items()
    }
    if known.receiver is not None and now.receiver is not None:
        known.receiver = merged(known.receiver, now.receiver)
    known.result = merged(known.result, now.result)
    known.through |= now.through
    known.aliases |= now.aliases
    known.returns_written = known.returns_written or now.returns_written


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


def _whose(function: Any) -> str:
    kind = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(kind, '__module__', '')}:{getattr(kind, '__qualname__', '')}"
