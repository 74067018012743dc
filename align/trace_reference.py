"""A stored trace as the reference that the port's side works with."""
# ruff: noqa: D102 - what methods return stands in `align.reference`

import copy
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from align.draws import Draw
from align.floors import Sums
from align.judge import Allowance
from align.pairing import Pairing
from align.trace import TENSOR, Call, Place, Slot, Trace
from align.trace_arrays import Arrays, read_tensors
from align.trace_files import read_manifest
from align.trace_format import MANIFEST, Floor, StoredCall, StoredDraw, StoredModule, decode, number
from common.errors import UnreadableError

if TYPE_CHECKING:
    from align.replay import Replayed
    from convert.spec import TensorSpec

CONSTANTS_SPREAD = 2.0  # rounding a constant moves a tensor by what was measured, to first order


class StoredReference:
    """The trace in `folder`; see `align.reference.Reference` for what it answers.

    Raises UnreadableError where the folder holds no whole trace of this version.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        self.stored = Arrays(self.folder, self.manifest.shards, self.manifest.complex128)
        self.rounded: set[str] = set()  # modules whose port holds its constants in float32
        try:
            self.trace = self._read_trace()
            self.inputs: tuple[tuple, dict[str, Any]] = decode(self.manifest.inputs, self._leaf)
        except (ValueError, TypeError, KeyError, IndexError) as error:
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
            paths=self.paths,
            buffers={key: self.stored[name] for key, name in manifest.buffers.items()},
            buffers_before={k: self.stored[name] for k, name in manifest.buffers_before.items()},
            gradients={key: self._optional(name) for key, name in manifest.gradients.items()},
            parameters=set(manifest.parameters),
            inplace=manifest.inplace,
            draws=[self._draw(draw) for draw in manifest.draws],
        )

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
        from align.own_pairing import NET, unwrapped

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
        from align.trace_files import checked
        from convert.spec import TensorSpec

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

    def momentum(self, path: str) -> Any:
        """Return the momentum, rounded as the port's layer rounds it."""
        exact = self._module(path).momentum
        if path in self.rounded and isinstance(exact, float):
            return 1.0 - float(np.float32(1.0 - exact))
        return exact

    def replayed(
        self,
        batch: Any,
        judged: set[str],
        uneven: set[str],
        wanted: set[str],
        gradients: bool = False,
    ) -> "Mapping[str, Replayed]":
        """Return the first call of each module in `wanted`, with the calls in it."""
        from align.replay import Replayed

        found: dict[str, Replayed] = {}
        owners: dict[int, Replayed] = {}
        for call in self.trace.calls:
            around = nearest(call.parent, judged)
            above = None if around is None else owners.get(id(around))
            if call.path in uneven and above is not None:
                above.called.append(call.path)
            if call.path not in judged:
                continue
            keep = call.path in wanted and call.path not in found
            if not keep and above is None:
                continue
            own = self._replayed(call)
            if above is not None:
                above.children.append(own)
            if keep:
                found[call.path] = owners[id(call)] = own
        return found

    def _replayed(self, call: Call) -> "Replayed":
        from align.replay import Replayed
        from align.trees import map_leaves

        args, kwargs = map_leaves(
            call.arguments, lambda leaf: call.inputs[leaf.index] if isinstance(leaf, Slot) else leaf
        )
        return Replayed(
            call.path,
            args,
            kwargs,
            list(call.inputs),
            list(call.outputs),
            call.template,
        )

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


def nearest(call: Call | None, judged: set[str]) -> Call | None:
    """Return `call`, or the closest call around it, of a module in `judged`."""
    while call is not None and call.path not in judged:
        call = call.parent
    return call


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value


class StoredMoves:
    """The floors of a stored trace for one pairing: what `align.floors.Moves` is of a live net.

    Between two boundaries that the port matches, the reference may have modules that it does not
    (see `align.trace_floors_torch.floors`): then floors count that were measured with fewer
    modules judged, where they are larger.
    """

    def __init__(self, reference: StoredReference, judged: Pairing) -> None:
        self.reference, self.judged = reference, set(judged.reference_group)
        self.floors: dict[Place, Floor] = {
            (floor.path, floor.call, floor.where): floor for floor in reference.manifest.floors
        }
        self.unit = float(np.finfo(np.float64).eps)
        self.sums = Sums(reference.trace)
        self.calls: dict[str, list[Call]] = {}
        self.unmatched: dict[int, list[Call]] = {}  # id of a call -> calls that are its code
        for call in reference.trace.calls:
            self.calls.setdefault(call.path, []).append(call)
            around = nearest(call.parent, self.judged)
            if call.path not in self.judged and around is not None:
                self.unmatched.setdefault(id(around), []).append(call)

    def allow(self, place: Place) -> Allowance:
        """Return what rounding explains at `place`."""
        path, _, where = place
        kind, _, name = where.partition(":")
        of_tensor = not path and kind in ("grad", "buffer")
        module = name.rpartition(".")[0] if of_tensor else path
        floor = self.floors.get(place)
        rounding = kernels = 0.0
        levels, inexact = self._levels(place, module, of_tensor)
        for level in ("all", "layers", "root")[:levels]:
            measured = None if floor is None else getattr(floor, level)
            if measured is not None:
                rounding = max(rounding, number(measured[0]))
                if level == "all" or inexact:
                    kernels = max(kernels, number(measured[1]))
        if floor is not None and module in self.reference.rounded:
            kernels += CONSTANTS_SPREAD * number(floor.constants)
        return self.sums.allowance(module, rounding, kernels, self.unit)

    def _levels(self, place: Place, module: str, of_tensor: bool) -> tuple[int, bool]:
        """Return how many of the three kinds of floors count at a place.

        And whether the code that made the tensor, with the modules that the port lacks, called an
        inexact kernel: else those of other layers do not reach it.
        """
        if of_tensor:
            calls = self._calls_of(module)
        else:
            calls = [call for call in self.calls.get(module, []) if call.index == place[1]]
            if not place[2].startswith(("output", "grad_input")):  # code around the call made it
                calls = [call.parent for call in calls if call.parent is not None]
        frames = [frame for frame in (nearest(c, self.judged) for c in calls) if frame is not None]
        inside = [call for frame in frames for call in self.unmatched.get(id(frame), [])]
        modules = self.reference.manifest.modules
        layers = any(modules[call.path].is_layer for call in inside)
        inexact = any(call.kernels for call in (*frames, *inside))
        return 3 if layers else 2 if inside else 1, inexact

    def _calls_of(self, module: str) -> list[Call]:
        """Return the calls of a module, or of the nearest around that is called."""
        while module not in self.calls and module:
            module = module.rpartition(".")[0]
        return self.calls.get(module, [])
