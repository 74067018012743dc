"""A stored trace as the reference that the port's side works with."""
# ruff: noqa: D102 - what methods return stands in `align.pairing.reference`

import copy
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from align.record.bounds import Bounding, Span, View
from align.record.draws import Draw
from align.record.trace import TENSOR, Call, Slot, Trace
from align.stored.arrays import StoredArrays, read_tensors
from align.stored.files import read_manifest
from align.stored.format import (
    MANIFEST,
    StoredBounding,
    StoredCall,
    StoredDraw,
    StoredModule,
    decode,
    number,
)
from common.errors import UnreadableError

if TYPE_CHECKING:
    from convert.names.spec import TensorSpec


# What a document raises that says what cannot be.
DAMAGE = (*(ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError),)


class StoredReference:
    """The trace in `folder`; see `align.pairing.reference.Reference` for what it answers.

    Raises UnreadableError where the folder holds no whole trace of this version.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        self.stored = StoredArrays(self.folder, self.manifest.shards, self.manifest.complex128)
        self.rounded: set[str] = set()  # modules whose port holds its constants in float32
        try:
            self.trace = self._read_trace()
            self.inputs: tuple[tuple, dict[str, Any]] = _arguments(
                decode(self.manifest.inputs, self._leaf)
            )
        except DAMAGE as error:
            raise UnreadableError(f"{self.folder / MANIFEST}: is damaged: {error}") from None

    def _leaf(self, tag: str, value: Any) -> Any:
        if tag == "array":
            return np.array(self.stored[value])
        raise ValueError(f"no leaf is called {tag[:40]!r}")

    def _read_trace(self) -> Trace:
        manifest = self.manifest
        calls: list[Call] = []
        for stored in manifest.calls:
            call = self._call(stored)
            call.parent = None if stored.parent is None else calls[stored.parent]
            calls.append(call)
        return Trace(
            calls=calls,
            paths={p: every for p, every in self.paths.items() if p not in manifest.as_code},
            buffers={key: self.stored[name] for key, name in manifest.buffers.items()},
            buffers_before={k: self.stored[name] for k, name in manifest.buffers_before.items()},
            gradients={key: self._optional(name) for key, name in manifest.gradients.items()},
            parameters=set(manifest.parameters),
            inplace=manifest.inplace,
            as_code=manifest.as_code,
            packed=manifest.packed,
            draws=[self._draw(draw) for draw in manifest.draws],
            bounds=[self._bounding(bounding) for bounding in manifest.bounds or ()],
        )

    def _bounding(self, stored: StoredBounding) -> Bounding:
        views = [
            View(
                Span(view.size, number(view.low), number(view.high)),
                None,
                self._optional(view.values),
            )
            for view in stored.views
        ]
        return Bounding(stored.function, stored.owner, stored.said, stored.source, views)

    def _draw(self, stored: StoredDraw) -> Draw:
        return Draw(
            function=stored.function,
            kind=stored.kind,
            calls=tuple(stored.calls),
            values=self.stored[stored.values],
            low=number(stored.low),
            high=number(stored.high),
            keep=None if stored.keep is None else number(stored.keep),
        )

    def _call(self, stored: StoredCall) -> Call:
        call = Call(
            path=stored.path,
            index=stored.index,
            numbers=[number(n) if isinstance(n, str) else n for n in stored.numbers],
            template=decode(stored.template, lambda tag, value: TENSOR),
            arguments=decode(stored.arguments, lambda tag, value: Slot(int(value))),
            kernels=set(stored.kernels),
            constant=set(stored.constant),
            casts=stored.casts,
            cast_of=stored.cast_of,
            attention=stored.attention,
        )
        read_tensors(call, stored, self.stored)
        return call

    def _optional(self, name: str | None) -> Any:
        return None if name is None else self.stored[name]

    def inner(self) -> "StoredReference":
        """Return the net alone of a trace with a loss: its tensors by their own names."""
        if not self.is_whole:
            return self
        from align.nets.whole import NET, unwrapped

        own = copy.copy(self)
        specs = [unwrapped(spec, NET) for spec in self.specs() if spec.key.startswith(NET)]
        state = {
            k.removeprefix(NET): name
            for k, name in self.manifest.state.items()
            if k.startswith(NET)
        }
        own.manifest = replace(
            self.manifest, with_loss=False, state=state, specs=[asdict(spec) for spec in specs]
        )
        return own

    # What `Reference` asks for.

    @property
    def paths(self) -> dict[str, list[str]]:
        return {path: module.paths for path, module in self.manifest.modules.items()}

    @property
    def is_whole(self) -> bool:
        return self.manifest.with_loss

    def specs(self) -> "list[TensorSpec]":
        from align.stored.files import checked
        from convert.names.spec import TensorSpec

        found: list[TensorSpec] = checked(
            self.folder / MANIFEST, list[TensorSpec], self.manifest.specs
        )
        return found

    def arrays(self) -> Mapping[str, np.ndarray]:
        return {key: self.stored[name] for key, name in self.manifest.state.items()}

    def identities(self) -> Mapping[str, int]:
        return self.manifest.identities

    def frozen(self) -> Mapping[str, bool]:
        return self.manifest.frozen

    def _module(self, path: str) -> StoredModule:
        return self.manifest.modules[path]

    def class_name(self, path: str) -> str:
        return self._module(path).class_name

    def source(self, path: str) -> str:
        return self._module(path).source

    def code(self, path: str) -> str:
        return self._module(path).code

    def attributes(self, path: str) -> dict[str, Any]:
        return {name: _tuples(value) for name, value in self._module(path).attributes.items()}

    def is_in_mode(self, path: str) -> bool:
        return self._module(path).in_mode

    def settings(self, path: str) -> Mapping[str, Any]:
        return self._module(path).settings

    def tables(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        found: dict[str, dict[str, np.ndarray]] = {}
        for key, stored in self.manifest.buffers_before.items():
            path, _, name = key.rpartition(".")
            if key not in self.manifest.state:
                values = np.array(self.stored[stored])
                if values.dtype.kind == "f":
                    found.setdefault(path, {})[name] = values
        return found

    def momentum(self, path: str) -> Any:
        """Return the momentum, rounded as the port's layer rounds it."""
        exact = self._module(path).momentum
        if path in self.rounded and isinstance(exact, float):
            return 1.0 - float(np.float32(1.0 - exact))
        return exact

    def is_used(self, path: str, judged: set[str]) -> bool | None:
        """Tell whether what a module returns reaches a boundary of a module in `judged`.

        The module is not judged itself. None where that hangs on code of other modules that are
        not judged either and whose inputs were not seen to reach anything.
        """
        calls = self.manifest.calls
        sure = [(n, "output") for n, call in enumerate(calls) if call.path == path]
        unsure: list[tuple[int, str]] = []
        for certain, waiting in ((True, sure), (None, unsure)):
            seen: set[tuple[int, str]] = set()
            while waiting:
                node = waiting.pop()
                if node in seen:
                    continue
                seen.add(node)
                at, side = node
                following = calls[at].feeds if side == "output" else calls[at].enters
                if side == "input" and not following:
                    unsure.append((at, "output"))
                for after in following:
                    if calls[after[0]].path in judged:
                        return certain
                    waiting.append(after)
        return False


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value


def _arguments(found: Any) -> tuple[tuple, dict[str, Any]]:
    """Return what a net was called with; ValueError where it is no arguments and keywords."""
    kinds = (tuple, dict)
    parts = found if isinstance(found, tuple) and len(found) == len(kinds) else (None, None)
    if not all(isinstance(part, kind) for part, kind in zip(parts, kinds, strict=True)):
        raise ValueError("its inputs are no arguments and keywords")
    return found
