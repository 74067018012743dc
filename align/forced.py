"""One forced alignment: record the reference, run the port on it, compare everything."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from align.draws import Key
from align.floors import Moves
from align.forcing import NotAlone
from align.judge import DIFFERS, EQUAL, UNCHECKED, Allowance, Comparison, compare
from align.pairing import Pairing
from align.running_variance import biased, in_words
from align.tensors import Tensor, tensors_of
from align.trace import Call, Place, Trace
from align.trees import is_plain, leaves, map_leaves

# Arrays, or trees of them where a loss takes several outputs.
Inputs = Sequence[Any] | Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """Arguments of the nets as arrays, and the label of the losses where there is one."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    label: np.ndarray | None = None

    @property
    def whole(self) -> "Batch":
        """The same as arguments of `Whole`: net and loss in one."""
        return Batch((self.args, dict(self.kwargs), self.label), {})

    @property
    def shapes(self) -> dict[str, list[int]]:
        """Return {position or keyword: shape}."""
        named = {**{str(i): array for i, array in enumerate(self.args)}, **self.kwargs}
        if self.label is not None:
            named["label"] = self.label
        return {
            name if len(arrays) == 1 else f"{name}.{index}": list(array.shape)
            for name, tree in named.items()
            for arrays in [leaves(tree)]
            for index, array in enumerate(arrays)
            if not is_plain(array)
        }


def as_batch(inputs: Inputs, dtype: str, labelled: bool = False) -> Batch:
    """Read `inputs`: a sequence is positional, a mapping keywords; a label stands last.

    Floating arrays are cast to `dtype`; the label, None, numbers and text stay what they are.
    """

    def cast_one(value: Any) -> Any:
        if is_plain(value):
            return value
        array = np.asarray(value)
        return array.astype(dtype) if array.dtype.kind == "f" else array

    def cast(tree: Any) -> Any:
        return map_leaves(tree, cast_one)

    if isinstance(inputs, np.ndarray):
        inputs = (inputs,)
    if isinstance(inputs, Mapping):
        names = list(inputs)
        label = np.asarray(inputs[names.pop()]) if labelled else None
        return Batch((), {name: cast(inputs[name]) for name in names}, label)
    arrays = list(inputs)
    label = np.asarray(arrays.pop()) if labelled else None
    return Batch(tuple(cast(array) for array in arrays), {}, label)


@dataclass
class Forced:
    """What one forced alignment found. `judged` is `pairing` without layers of uneven calls."""

    trace: Trace
    pairing: Pairing
    judged: Pairing
    moves: Any  # `align.floors.Moves`, or those of a stored trace
    comparisons: list[Comparison] = field(default_factory=list)
    complete: dict[str, Comparison] = field(default_factory=dict)  # parameters judged on the way
    notes: list[str] = field(default_factory=list)

    @property
    def values(self) -> list[Comparison]:
        """The comparisons of the forward pass."""
        return [call for call in self.comparisons if not _is_gradient(call)]

    @property
    def gradients(self) -> list[Comparison]:
        """The comparisons of the backward pass."""
        return [call for call in self.comparisons if _is_gradient(call)]


def _is_gradient(call: Comparison) -> bool:
    return call.where.startswith("grad")


def paired(torch_net: Any, paddle_net: Any, rules: Any = None) -> Pairing:
    """Return the pairing of two live nets by path; `rules` rename the reference's paths first.

    `rules` is what `convert.rules.load_rules` takes: the file that the conversion uses.
    """
    from align.own_pairing import pair_nets

    return pair_nets(torch_net, paddle_net, rules)


@contextmanager
def prepared(
    torch_net: Any, paddle_net: Any, pairing: Pairing, *, dtype: str, train: bool
) -> Iterator[set[str]]:
    """Cast both nets and set their mode; everything is put back at the end.

    Yields the reference's normalisations whose constants were rounded to float32, as the port's
    kernels hold them.
    """
    import torch

    from align import prepare_paddle, prepare_torch
    from align.force_paddle import holds_float32_constants, layers_by_path

    layers = layers_by_path(paddle_net)
    rounded = {r for p, r in pairing.partners.items() if holds_float32_constants(layers[p])}
    torch_dtype = getattr(torch, dtype)
    with (
        prepare_torch.prepared(
            torch_net, dtype=torch_dtype, train=train, float32_constants=rounded
        ),
        prepare_paddle.prepared(paddle_net, dtype=dtype, train=train),
    ):
        yield rounded


def rounding_note(rounded: set[str], trace: Trace) -> list[str]:
    """Say which constants were rounded on the reference, of layers that ran."""
    count = len(rounded & {call.path for call in trace.calls})
    if not count:
        return []
    return [
        f"epsilon and momentum of {count} normalisations were rounded to float32 on the reference "
        "too: Paddle's kernels hold them so"
    ]


def run_forced(
    torch_net: Any,
    paddle_net: Any,
    batch: Batch,
    pairing: Pairing,
    *,
    dtype: str = "float64",
    train: bool = False,
    backward: bool = False,
    seed: int | None = 0,
) -> Forced:
    """Align two nets that are `prepared`. The reference is as before; the port's running
    statistics are what its own layers made of the reference's inputs.

    `backward` starts from cotangents of N(0, 1), drawn from `seed`, or from ones without a seed.
    """
    from align import arrays_paddle, arrays_torch
    from align.record_torch import Run

    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), arrays_torch.to_tensor)
    run = Run(args, kwargs, backward, seed)
    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), arrays_paddle.to_tensor)
    job = _Job(torch_net, paddle_net, pairing, run, (args, kwargs), dtype, train)
    return either_way(lambda: _align(job, backward), paddle_net)


class OtherWay(Exception):
    """Random code of the port differs if it keeps what is above a rate: it may keep the rest."""


def either_way(align: Callable[[], Forced], paddle_net: Any) -> Forced:
    """Return what `align` does, which may raise OtherWay twice to be called again."""
    from align.prepare_paddle import undone_on

    for _ in range(2):
        with suppress(OtherWay), undone_on(OtherWay, paddle_net):
            return align()
    return align()


def _align(job: "_Job", backward: bool) -> Forced:
    from align.prepare_paddle import undone_on

    # Alone needs fewer arrays at a time, which some ports do not allow; copies are for references
    # that write into what is recorded while they run backward.
    for alone, copies in ((True, False), (False, False))[not backward :]:
        with suppress(NotAlone), undone_on(NotAlone, job.paddle_net):
            return job.align(alone=alone, copies=copies)
    return job.align(alone=False, copies=True)


@dataclass
class _Job:
    """The arguments of `run_forced`, ready for both frameworks."""

    torch_net: Any
    paddle_net: Any
    pairing: Pairing
    run: Any
    arguments: tuple[tuple, dict[str, Any]]
    dtype: str
    train: bool
    below: set[Key] = field(default_factory=set)  # calls that are tried the other way round
    tried: int = 0

    def __post_init__(self) -> None:
        self.paddle_parameters = self.paddle_net.state_dict()
        self.torch_parameters = dict(self.torch_net.named_parameters(remove_duplicate=False))

    def align(self, alone: bool, copies: bool) -> Forced:
        """Record and force. `alone` judges simple layers while the reference's backward runs.

        Raises:
            NotAlone: the recording does not serve: do the same without `alone`, or with `copies`.
            OtherWay: do the same once more.
        """
        from align.force_paddle import PlainPass
        from align.record_torch import recorded

        torch_net = self.torch_net
        with recorded(torch_net, self.run, copies) as recording:
            trace = recording.trace
            trace.below = self.below
            plain = PlainPass(self.paddle_net, trace, self.pairing)
            plain.run(*self.arguments)
            judged = self.pairing.without(set(plain.uneven_groups()))
            moves = Moves(torch_net, trace, self.run, judged, self.dtype)
            found = Forced(trace, self.pairing, judged, moves)
            forced = self._pass(found, plain)
            weights: dict[str, list[Tensor]] = {}
            for tensor in tensors_of(self.paddle_net, judged) if alone else ():
                weights.setdefault(tensor.layer, []).append(tensor)

            def judge_alone(call: Call) -> bool:
                path = plain.plainly_called.get(id(call))
                if path is None or path not in judged.port_group or not forced.takes_alone(path):
                    return False
                moves.alone(call)
                forced.alone(path, call)
                for tensor in weights.get(path, ()):
                    self._compare_complete(tensor, found, forced.forced.gradients)
                return True

            if not recording.backward(judge_alone if alone else None):
                raise NotAlone
        moves.finish()
        self._finish(found, forced)
        return found

    def _pass(self, found: Forced, plain: Any) -> Any:
        """Return the forced pass, which fills `found`; `plain` has run."""
        from align.force_paddle import ForcedPass

        found.notes += self._notes(plain)

        def keep(comparison: Comparison, place: Place) -> None:
            comparison.cumulative = plain.errors.get(place)
            found.comparisons.append(comparison)

        return ForcedPass(
            self.paddle_net,
            found.trace,
            found.judged,
            found.moves.allow,
            keep,
            backward=self.run.backward,
        )

    def _finish(self, found: Forced, forced: Any) -> None:
        """Run the forced pass and compare what it leaves."""
        from align.force_paddle import floating_buffers

        forced.run(*self.arguments)
        self._try_other_way(forced.undecided)
        self._rest(found, forced, floating_buffers(forced.layers))
        if forced.raised:
            kept = [c for c in found.comparisons if not _not_reached(c, forced.called)]
            found.comparisons = kept

    def _try_other_way(self, differing: set[Key]) -> None:
        """Raise OtherWay to run again with another `below`; what differs both ways stays as is."""
        self.tried += 1
        if self.tried == 1 and differing:
            self.below = differing
            raise OtherWay
        if self.tried == 2 and self.below & differing:
            self.below = self.below - differing
            raise OtherWay

    def _compare_complete(self, tensor: Tensor, found: Forced, gradients: dict[int, Any]) -> None:
        """Compare a parameter's gradient that one call made; if it is equal, drop it."""
        from align.arrays_paddle import to_array
        from align.arrays_torch import to_array as from_torch

        place = ("", 0, f"grad:{tensor.reference}")
        ours = self.paddle_parameters.get(tensor.key)
        if (
            place not in found.moves.rounding
            or tensor.piece is not None
            or id(ours) not in gradients
        ):
            return
        gradient = self.torch_parameters[str(tensor.reference)].grad
        into = Comparison(tensor.layer, "", f"grad:{tensor.name}", "layer")
        expected = tensor.in_layout(from_torch(gradient))
        compare(expected, to_array(gradients[id(ours)]), found.moves.allow(place), into)
        if into.verdict == EQUAL:
            del gradients[id(ours)]
            found.complete[tensor.key] = into

    def is_seen(self, found: Forced, path: str) -> bool | None:
        """Tell whether a lost layer's result reaches anything that is judged; None: unknown."""
        from align.disturb_torch import is_seen

        judged = set(found.judged.reference_group)
        return is_seen(self.torch_net, found.trace, self.run, judged, path)

    def _notes(self, plain: Any) -> list[str]:
        notes = _uneven_in_words(plain.uneven_groups(), self.pairing)
        if plain.failure:
            notes.append(f"run as it is, the port fails: {plain.failure}")
        return notes

    def _rest(self, found: Forced, forced: Any, buffers: Mapping[str, np.ndarray]) -> None:
        """Compare what calls do not show: layers that are lost, buffers, parameters' gradients."""
        found.comparisons += [_in_place(path) for path in found.trace.inplace]
        found.comparisons += _unseen(found, lambda path: self.is_seen(found, path))
        if self.train:
            found.comparisons += _compare_buffers(self.torch_net, found, buffers)
        if self.run.backward:
            found.comparisons += _compare_parameter_gradients(
                self.torch_net, self.paddle_net, found, forced.gradients, forced.random
            )


def _not_reached(call: Comparison, called: set[str]) -> bool:
    """Tell whether a layer's tensor differs because the code around raised before calling it."""
    own = call.where.startswith(("grad:", "buffer:"))
    return own and call.verdict == DIFFERS and call.layer not in called


def _in_place(path: str) -> Comparison:
    """Return what cannot be checked: recording works out of place, and that changes the result."""
    into = Comparison(path, f"{path}#0", "output:0", "layer", verdict=UNCHECKED)
    into.cause = f"{path} writes into its input, and other code of the reference reads it after"
    return into


def _compare_buffers(
    torch_net: Any, found: Forced, after: Mapping[str, np.ndarray]
) -> list[Comparison]:
    """Compare what a train-mode pass left in the buffers of matched layers."""
    from align.reference import reference_of
    from align.tensors import join

    net = reference_of(torch_net)
    comparisons = []
    factors: dict[str, float] = {}
    for port, reference in found.judged.partners.items():
        for name in _names_under(found.trace.buffers, reference):
            full = join(reference, name)
            own = join(port, name) in after
            local = name if own else BUFFER_NAMES.get(name, name)
            before = found.trace.buffers_before[full]
            if join(port, local) not in after and np.array_equal(before, found.trace.buffers[full]):
                continue  # a constant, which the port may hold as a number
            into = Comparison(port, f"{reference}#last", f"buffer:{local}", "layer")
            ours = after.get(join(port, local))
            if ours is None:
                into.verdict, into.relative_error = DIFFERS, float("inf")
                into.cause = f"the reference updates {full}, the port has no such buffer"
            else:
                allowance = found.moves.allow(("", 0, f"buffer:{full}"))
                compare(found.trace.buffers[full], ours, allowance, into)
                if into.verdict == DIFFERS and name == "running_var":
                    calls = [call for call in found.trace.calls if call.path == reference]
                    factor = biased(net.momentum(reference), calls, before, ours)
                    if factor is not None:
                        into.verdict, into.floor = EQUAL, into.relative_error
                        into.cause, factors[port] = "averages the biased variance", factor
            comparisons.append(into)
    found.notes += in_words({path.removeprefix("net."): size for path, size in factors.items()})
    return comparisons


# A layer's buffers by their name in torch; what is not listed has the same name on both sides.
BUFFER_NAMES = {"running_mean": "_mean", "running_var": "_variance"}


def _names_under(buffers: Mapping[str, np.ndarray], path: str) -> list[str]:
    return [name.rpartition(".")[2] for name in buffers if name.rpartition(".")[0] == path]


def _compare_parameter_gradients(
    torch_net: Any,
    paddle_net: Any,
    found: Forced,
    gradients: Mapping[int, Any],
    random: Mapping[int, str],
) -> list[Comparison]:
    """Compare the gradient of every parameter, summed over all calls of its layer."""
    from align.arrays_paddle import to_array
    from align.force_paddle import compare_gradients
    from align.reference import reference_of

    frozen = reference_of(torch_net).frozen()
    parameters = paddle_net.state_dict()
    comparisons = []
    for tensor in tensors_of(paddle_net, _with_gradients(found)):
        if tensor.buffer or tensor.reference is None or tensor.reference not in frozen:
            continue
        parameter = parameters[tensor.key]
        into = Comparison(tensor.layer, "", f"grad:{tensor.name}", "layer")
        if parameter.stop_gradient != frozen[tensor.reference]:
            words = ("frozen", "trained") if parameter.stop_gradient else ("trained", "frozen")
            into.verdict, into.relative_error = DIFFERS, float("inf")
            into.cause = f"{words[0]} in the port, {words[1]} in the reference"
            comparisons.append(into)
            continue
        ours = gradients.get(id(parameter))
        if tensor.key in found.complete:
            if ours is not None:  # and then something else in the port added to it
                raise NotAlone
            comparisons.append(found.complete[tensor.key])
            continue
        expected = tensor.of(found.trace.gradients)
        if expected is None and ours is None:
            continue  # neither side's loss reaches it
        allowance = found.moves.allow(("", 0, f"grad:{tensor.reference}"))
        if id(parameter) in random:
            allowance = Allowance(random=random[id(parameter)])
        array = None if ours is None else to_array(ours)
        comparisons.append(compare_gradients(expected, array, allowance, into))
    return comparisons


def _with_gradients(found: Forced) -> Pairing:
    """Return the judged pairing and the layers whose parameters the reference uses uncalled."""
    groups = found.pairing.reference_group
    called = {groups[call.path] for call in found.trace.calls if call.path in groups}
    uneven = set(groups.values()) - set(found.judged.reference_group.values())
    return found.pairing.without(uneven & called)


def _uneven_in_words(uneven: Mapping[int, tuple[int, int]], pairing: Pairing) -> list[str]:
    """Say which matched layers are called another number of times than their partners."""
    return [
        f"{port} is called {uneven[group][1]} times, {pairing.partners[port]} in the reference "
        f"{uneven[group][0]} times: it is judged as a part of the layer around it"
        for port, group in pairing.port_group.items()
        if group in uneven
    ]


def _unseen(found: Forced, is_seen: Callable[[str], bool | None]) -> list[Comparison]:
    """Return a difference for each layer that the port lost and that nothing else would miss.

    A layer of the reference that is called and not judged (no partner, or another number of
    calls) is judged as a part of the layer around it, where its result reaches anything there.
    Where it does not (an auxiliary head that is not returned), equal outputs prove nothing.
    """
    trace, judged = found.trace, set(found.judged.reference_group)
    called = {call.path for call in trace.calls}
    comparisons = []
    for path in trace.paths:
        above = _nearest(path, judged)
        lost = path in called and path not in judged and _holds_parameters(trace, path)
        if not lost or _nearest(path, called - judged) or above is None:
            continue
        seen = is_seen(path)
        if seen:
            continue
        partners = found.judged.partners.items()
        layer = next((port for port, reference in partners if reference == above), "")
        into = Comparison(layer, f"{path}#0", "calls", "glue", verdict=DIFFERS)
        into.relative_error = float("inf")
        into.cause = f"the reference calls {path} here, the port does not"
        if seen is None:
            into.verdict, into.relative_error = UNCHECKED, 0.0
            into.cause += "; the recording does not say whether its result is used"
        comparisons.append(into)
    return comparisons


def _nearest(path: str, among: set[str]) -> str | None:
    """Return the closest path above `path` that is in `among`."""
    while path:
        path = path.rpartition(".")[0]
        if path in among:
            return path
    return None


def _holds_parameters(trace: Trace, path: str) -> bool:
    return any(name.startswith(f"{path}.") for name in trace.parameters)


def unless_compared(comparisons: Sequence[Comparison], words: str) -> list[Comparison]:
    """Return one comparison that could not be made where there is none; else nothing."""
    if comparisons:
        return []
    nothing = Comparison("", "", "output", "glue", verdict=UNCHECKED)
    nothing.cause = words
    return [nothing]
