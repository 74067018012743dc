"""Judges calls by themselves while the reference runs backward, so that it can let go of them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from align.force.frame import NeedsWholeRun
from align.judge.compare import compare
from align.judge.comparison import DIFFERS, EQUAL, Comparison
from align.pairing.tensors import Tensor
from align.record.trace import Call, Slot
from align.rounding.allowances import TINY
from align.trial.buffers import buffers_of, names_by_layer
from align.trial.findings import Findings
from align.trial.setup import Setup
from common.nets import members

if TYPE_CHECKING:
    from align.force.forced_pass_paddle import ForcedPass
    from align.force.plain_pass_paddle import PlainPass
    from align.pairing.reference_torch import LiveReference

ONE_INPUT: tuple[tuple, dict[str, Any]] = ((Slot(0),), {})


class JudgeWhileBackward:
    """What `align.record.recording_torch.Recording.backward` offers its calls to.

    Rounding is measured only where a tensor is not equal without it: an error of a few units in
    the last place needs no explanation. That saves most runs of the reference.
    """

    def __init__(
        self,
        setup: "Setup[LiveReference]",
        found: Findings,
        forced: "ForcedPass",
        plain: "PlainPass",
    ) -> None:
        self.setup, self.found, self.forced, self.plain = setup, found, forced, plain
        self.reference = setup.sides.reference
        self.theirs = dict(members.named_parameters(self.reference.net, remove_duplicate=False))
        self.ours = setup.sides.port.state_dict()
        self.buffers = names_by_layer(found.trace.buffers if setup.train else ())
        self.weights: dict[str, list[Tensor]] = {}
        for tensor in setup.sides.tensors_in(found.judged):
            self.weights.setdefault(tensor.layer, []).append(tensor)
        self.ports = _one_to_one(found)
        self.once = self._used_once()
        # Parameters whose gradients are judged, with these gradients (None: dropped) and versions.
        self.settled: list[tuple[Any, Any, int]] = []

    def alone(self, call: Call) -> bool:
        """Judge a call of a simple layer; False where the port's layer is not as simple."""
        path = self.plain.plainly_called.get(id(call))
        if path is None or path not in self.found.judged.port_group:
            return False
        if not self.forced.takes_alone(path):
            return False
        if self._without_rounding(path, call, [], ONE_INPUT):
            return True
        self.found.moves.alone(call)
        self.forced.alone(path, call)
        gradients = self.forced.forced.gradients
        for tensor in self.weights.get(path, ()):
            if ("", 0, f"grad:{tensor.reference}") in self.found.moves.rounding:
                into = self._compare_gradient(tensor, gradients)
                if into is not None and into.verdict == EQUAL:
                    self._settle(tensor, into)
        return True

    def together(self, call: Call, within: list[Call]) -> bool:
        """Judge any other call and those inside; False unless all is equal."""
        path, arguments = self.plain.given.get(id(call), ("", None))
        judged = self.found.judged
        matched = all(each.path in judged.reference_group for each in (call, *within))
        if path not in judged.port_group or not matched or arguments is None:
            return False
        if self.forced.has_hooks(path):  # a run of its forward alone leaves them out
            return False
        if self._without_rounding(path, call, within, arguments):
            return True
        moves = self.found.moves
        if not moves.together(call, within):
            return False
        if not self.forced.together(path, call, within, arguments):
            return False
        moves.keep_together(call, within)
        return True

    def end(self) -> None:
        """Check, after the backward pass, that nothing was added to a gradient that was judged.

        Raises:
            NeedsWholeRun: something was: code of the reference uses it without its layer.
        """
        for parameter, gradient, version in self.settled:
            if parameter.grad is not gradient or _version(gradient) != version:
                raise NeedsWholeRun

    def _without_rounding(self, path: str, call: Call, within: list[Call], arguments: Any) -> bool:
        """Judge a call and those inside as if nothing amplified rounding; False unless equal."""
        running = [each for each in (call, *within) if not each.alone]
        if any(each.kernels or each.path not in self.ports for each in running):
            return False
        pairs = [(self.ports[each.path], each.path) for each in running]
        held = [tensor for port, _ in pairs for tensor in self.weights.get(port, ())]
        known = {id(self.ours[tensor.key]) for tensor in held}
        begun = set(self.forced.forced.gradients)
        judged: list[tuple[Tensor, Comparison]] = []

        def equal(gradients: Mapping[int, Any]) -> bool:
            if begun & gradients.keys() or gradients.keys() - known:
                return False  # other code adds to them, or they are another layer's
            for tensor in held:
                lost = self._lost(tensor)
                into = self._compare_gradient(tensor, gradients, lost or 0.0)
                if into is None:
                    continue
                if lost is None or into.verdict != EQUAL:
                    return False
                judged.append((tensor, into))
            return all(into.verdict == EQUAL for into in self._buffers(pairs))

        if not self.forced.together(path, call, within, arguments, equal):
            return False
        for tensor, into in judged:
            self._settle(tensor, into)
        self.found.moves.not_needed(each.path for each in running)
        return True

    def _lost(self, tensor: Tensor) -> float | None:
        """Return what rounding does to a gradient that sums pixels, whatever it comes to.

        None where the parameter is held elsewhere too, or has so few values that they may be
        nothing but rounding.
        """
        parameter = self.theirs.get(str(tensor.reference))
        if parameter is None or id(parameter) not in self.once or parameter.numel() <= TINY:
            return None
        return self.found.moves.lost_in_sums(str(tensor.reference), parameter)

    def _compare_gradient(
        self, tensor: Tensor, gradients: Mapping[int, Any], lost: float = 0.0
    ) -> Comparison | None:
        """Compare a parameter's gradient that one call made; None where nothing flows.

        `lost` is allowed for besides what was measured.
        """
        from align.arrays.arrays_paddle import to_array
        from align.arrays.arrays_torch import to_array as from_torch

        ours = gradients.get(id(self.ours.get(tensor.key)))
        parameter = self.theirs.get(str(tensor.reference))
        gradient = None if parameter is None else parameter.grad
        if ours is None and gradient is None:
            return None
        into = Comparison(tensor.layer, "", f"grad:{tensor.name}", "layer")
        if ours is None or gradient is None or tensor.piece is not None:
            into.verdict = DIFFERS  # so far: other calls may add what is missing
            return into
        allowance = self.found.allow_gradient(str(tensor.reference))
        allowance = replace(allowance, rounding=allowance.rounding + lost)
        expected = tensor.in_layout(from_torch(gradient))
        return compare(expected, to_array(ours), allowance, into)

    def _settle(self, tensor: Tensor, into: Comparison) -> None:
        """Keep what was found of a parameter; drop its gradients."""
        parameter = self.theirs[str(tensor.reference)]
        gradient = parameter.grad
        del self.forced.forced.gradients[id(self.ours[tensor.key])]
        self.found.complete[tensor.key] = into
        if id(parameter) in self.once and not self.setup.keeps_gradients:
            self.found.moves.drops(str(tensor.reference), gradient)
            parameter.grad = gradient = None
        self.settled.append((parameter, gradient, _version(gradient)))

    def _buffers(self, pairs: Iterable[tuple[str, str]]) -> Iterator[Comparison]:
        """Compare what one call left in the buffers of each of `pairs`: (port, reference)."""
        from align.nets.layers_paddle import copied_buffers

        for port, reference in pairs:
            names = self.buffers.get(reference)
            if names:
                after = copied_buffers({port: self.forced.layers[port]})
                pair = port, reference
                for into, _ in buffers_of(self.reference, self.found, pair, names, after):
                    yield into

    def _used_once(self) -> set[int]:
        """Return the reference's parameters, by identity, that one module and one tensor hold."""
        modules = members.modules(self.reference.net)
        holders = Counter(id(p) for module in modules for p in module._parameters.values())
        tensors = Counter(
            id(self.theirs[tensor.reference])
            for held in self.weights.values()
            for tensor in held
            if tensor.reference in self.theirs
        )
        return {key for key, count in tensors.items() if count == holders[key] == 1}


def _one_to_one(found: Findings) -> dict[str, str]:
    """Return {path in the reference: path in the port} where no other layer is in their group."""
    sides = found.judged.reference_group, found.judged.port_group
    theirs, ours = ({group: path for path, group in side.items()} for side in sides)
    counts = [Counter(side.values()) for side in sides]
    return {
        path: ours[group]
        for group, path in theirs.items()
        if all(count[group] == 1 for count in counts)
    }


def _version(gradient: Any) -> int:
    return 0 if gradient is None else int(gradient._version)
