"""One forced alignment: record the reference, run the port on it, compare everything."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

import numpy as np

from align.arrays.batch import NetBatch
from align.arrays.trees import map_leaves
from align.force.frame import NeedsWholeRun
from align.judge.comparison import DIFFERS, NOISE, Comparison, not_compared
from align.judge.words import ROOT, Words
from align.nets import progress
from align.nets.asked import ASSIGNMENT
from align.nets.calls import is_net_with_loss
from align.pairing.by_path import Pairing
from align.pairing.sides import AnyReference, Sides
from align.pairing.tensors import ancestors
from align.record.draws import CallKey
from align.record.trace import BackwardRaises, CallPlace, LossDifferentiates, Trace
from align.rounding.floors import Floors
from align.trial.attempts import ATTEMPTS, Attempt, MaskTheOtherWay, Way, aligned
from align.trial.buffers import compare_buffers
from align.trial.findings import Findings
from align.trial.held_tables import given_notes, hold_tables
from align.trial.lost_layers import in_place, not_reached, unseen
from align.trial.one_sided_casts import compare_casts
from align.trial.parameter_gradients import compare_parameter_gradients
from align.trial.setup import Setup, spectral_norms
from align.trial.unseen_choices import choices_left_out, doubt_unseen_choices
from align.trial.unshown.unreached import compare_bounds
from align.trial.while_backward import JudgeWhileBackward

if TYPE_CHECKING:
    from align.force.plain_pass_paddle import PlainPass
    from align.pairing.reference_torch import LiveReference
    from align.record.recording_torch import ReferenceRun


def run_forced(
    sides: "Sides[LiveReference]",
    batch: NetBatch,
    *,
    dtype: str = "float64",
    train: bool = False,
    backward: bool = False,
    seed: int | None = 0,
    keeps_gradients: bool = True,
) -> Findings:
    """Align two nets that are `prepared`. The reference is as before; the port's running
    statistics are what its own layers made of the reference's inputs.

    `backward` starts from cotangents of N(0, 1), drawn from `seed`, or from ones without a seed.
    Without `keeps_gradients` those of the reference's parameters are dropped once judged.
    """
    from align.arrays import arrays_paddle

    run = _reference_run(sides, batch, backward, seed)
    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), arrays_paddle.to_tensor)
    setup = Setup(sides, (args, kwargs), dtype, train, backward, run, keeps_gradients)
    found = _aligned(LiveTrial(setup), run)
    doubt_unseen_choices(found, sides.reference.net, run)
    return found


def _aligned(trial: "LiveTrial", run: "ReferenceRun") -> Findings:
    """Return what the trial finds; without gradients of inputs where the reference takes none."""
    from align.record.own_backward_torch import inputs_take_no_gradient
    from align.record.recording_torch import as_leaves

    try:
        return aligned(trial)
    except RuntimeError:
        if not run.backward:
            raise
        net = trial.setup.sides.reference.net

        def forward(asks: bool) -> None:
            args, kwargs = as_leaves(net, run, asks)
            net(*args, **kwargs)

        note = inputs_take_no_gradient(net, forward)
        if note is None:
            raise
    run.inputs_flow = False
    found = aligned(trial)
    found.notes.append(note)
    return found


def run_backward(
    sides: "Sides[LiveReference]", batch: NetBatch, **how: Any
) -> tuple[Findings, list[Comparison]]:
    """Align forward and backward; `how` as in `run_forced`.

    Where the reference's own backward pass raises, forward alone, and a comparison that says so.
    Where its loss differentiates the net, the net without it, and both as a whole.
    """
    from align.trial.whole_run.judge import judged_whole

    whole = is_net_with_loss(sides.port) and hasattr(sides.port, "net")
    if whole:
        _leave_out_loss(sides, False)
    try:
        return _backward_or_forward(sides, batch, **how)
    except LossDifferentiates as raised:
        if not whole:
            raise
        _leave_out_loss(sides, True)  # and for all that is asked about these findings
        how |= {"seed": 0}  # the net alone starts from random cotangents
        return judged_whole(
            sides,
            batch,
            _reference_run(sides, batch, True, None),
            lambda: _backward_or_forward(sides, batch, **how),
            raised.place,
        )


def _leave_out_loss(sides: "Sides[LiveReference]", left_out: bool) -> None:
    for net in (sides.reference.net, sides.port):
        net.leaves_out_loss = left_out


def _reference_run(
    sides: "Sides[LiveReference]", batch: NetBatch, backward: bool, seed: int | None
) -> "ReferenceRun":
    from align.arrays.arrays_torch import to_tensor
    from align.record.recording_torch import ReferenceRun

    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), to_tensor)
    label = args[2] if is_net_with_loss(sides.port) else None
    return ReferenceRun(args, kwargs, backward, seed, label)


def _backward_or_forward(
    sides: "Sides[LiveReference]", batch: NetBatch, **how: Any
) -> tuple[Findings, list[Comparison]]:
    try:
        return run_forced(sides, batch, backward=True, **how), []
    except BackwardRaises as raised:
        found = run_forced(sides, batch, **how)
        return found, [not_compared(raised.cause)]


@dataclass(frozen=True)
class Trial(ABC, Generic[AnyReference]):
    """One alignment of what is set up, which `align.trial.attempts.aligned` runs."""

    setup: Setup[AnyReference]

    @property
    @abstractmethod
    def attempts(self) -> Sequence[Attempt]:
        """Return the rows of `ATTEMPTS` that make sense."""

    @abstractmethod
    def align(self, way: Way) -> Findings:
        """Force the port on a recording and compare everything.

        Raises:
            NeedsWholeRun: the recording does not serve: the same with the next attempt.
            MaskTheOtherWay: the same with other calls `below`.
        """

    @abstractmethod
    def is_seen(self, found: Findings, path: str) -> bool | None:
        """Tell whether a lost layer's result reaches anything that is judged; None: unknown."""

    def _plain(self, trace: Trace, way: Way) -> tuple["PlainPass", Pairing]:
        """Return the plain pass, run, and the pairing of what is judged."""
        from align.force.plain_pass_paddle import plain_pass

        sides = self.setup.sides
        held = hold_tables(sides)
        plain = plain_pass(sides, trace, way.below, self.setup.arguments)
        plain.held = held
        apart = {*plain.uneven_groups(), *plain.as_code_groups(), *way.as_glue}
        return plain, sides.pairing.without(apart)

    def _pass(self, found: Findings, plain: Any) -> Any:
        """Return the forced pass, which fills `found`; `plain` has run."""
        from align.force.forced_pass_paddle import ForcedPass

        found.notes += self._notes(plain)
        found.inexact = plain.inexact

        def keep(comparison: Comparison, place: CallPlace) -> None:
            comparison.cumulative = plain.errors.get(place)
            found.comparisons.append(comparison)

        return ForcedPass(
            self.setup.sides,
            found.trace,
            found.judged,
            plain.port_order,
            found.moves.allow,
            keep,
            plain.inexact,
            backward=self.setup.backward,
        )

    def _finish(self, found: Findings, plain: Any, forced: Any, way: Way) -> None:
        """Run the forced pass and compare what it leaves."""
        from align.nets.layers_paddle import copied_buffers

        matched = found.judged.reference_group
        calls = sum(call.path in matched for call in found.trace.calls)
        progress.begin("judging the port", calls)
        forced.run(*self.setup.arguments)
        _try_other_way(way, forced.undecided)
        if is_net_with_loss(self.setup.sides.port):
            found.notes += _tied(found.comparisons)
        found.notes += _choices_tied(found.comparisons)
        found.comparisons += choices_left_out(found)
        self._rest(found, forced, copied_buffers(forced.layers))
        if not plain.failure:
            found.unreached += compare_casts(found, plain.casts)
        if forced.raised:
            kept = [c for c in found.comparisons if not not_reached(c, forced.called)]
            found.comparisons = kept

    def _compare_bounds(self, found: Findings, plain: "PlainPass") -> None:
        """Compare what bounds values beyond what these inputs reach, when all else is."""
        whole = not plain.failure and all(c.verdict != DIFFERS for c in found.comparisons)
        found.unreached += compare_bounds(found.trace, plain.bounds, found.judged, whole=whole)

    def _notes(self, plain: Any) -> list[Words]:
        from align.nets.layers_paddle import synchronized
        from align.nets.prepare_paddle import run_as_written

        notes = _uneven_in_words(plain.uneven_groups(), self.setup.sides.pairing)
        notes += _as_code_in_words(plain, self.setup.sides.pairing)
        notes += plain.held + given_notes(self.setup.sides.given_tables)
        notes += [moved.cause for moved in plain.port_order.order.moved]
        synced = synchronized(self.setup.sides.layers)
        if synced:
            notes.append(Words("sync_batch_norm", count=len(synced), path=synced[0]))
        decorated = run_as_written()
        if decorated:
            layer = type(decorated[0]).__name__
            notes.append(Words("run_as_written", count=len(decorated), layer=layer))
        if plain.failure:
            notes.append(Words("plain_run_fails", words=plain.failure))
        return notes

    def _rest(self, found: Findings, forced: Any, buffers: Mapping[str, np.ndarray]) -> None:
        """Compare what calls do not show: layers that are lost, buffers, parameters' gradients."""
        found.comparisons += [in_place(path) for path in found.trace.inplace]
        found.comparisons += unseen(found, lambda path: self.is_seen(found, path))
        if self.setup.train:
            found.comparisons += compare_buffers(self.setup.sides.reference, found, buffers)
        if self.setup.backward:
            found.comparisons += compare_parameter_gradients(
                self.setup.sides,
                found,
                forced.gradients,
                forced.random,
                forced.users,
            )


class LiveTrial(Trial["LiveReference"]):
    """The alignment of two live nets."""

    @property
    def attempts(self) -> Sequence[Attempt]:
        """Return all, or without a backward pass those that record and then judge."""
        return ATTEMPTS if self.setup.backward else [a for a in ATTEMPTS if not a.alone]

    def align(self, way: Way) -> Findings:
        """Record the reference, force the port on that, measure rounding and compare."""
        from align.record.recording_torch import recorded

        setup, net = self.setup, self.setup.sides.reference.net
        progress.begin("recording the reference", len(setup.sides.reference.paths))
        with recorded(net, setup.run, way.attempt.copies) as recording:
            trace = recording.trace
            progress.begin("running the port", len(trace.calls))
            plain, judged = self._plain(trace, way)
            progress.begin("measuring rounding")
            moves = Floors(net, trace, setup.run, judged, setup.dtype)
            found = Findings(trace, plain.port_order, setup.sides.pairing, judged, moves)
            found.notes += self._other_iterations(trace) if setup.train else []
            forced = self._pass(found, plain)
            early = JudgeWhileBackward(setup, found, forced, plain) if way.attempt.alone else None
            offers = () if early is None else (early.alone, early.together)
            calls = len(trace.calls) if early is not None else None
            progress.begin("judging layers alone", calls)
            with nullcontext() if early is None else forced.ready():
                if not recording.backward(*offers):
                    raise NeedsWholeRun
            if early is not None:
                early.end()
        progress.begin("measuring rounding")
        moves.finish()
        self._finish(found, plain, forced, way)
        found.chosen = forced.chosen
        self._compare_bounds(found, plain)
        return found

    def _other_iterations(self, trace: Trace) -> list[Words]:
        """Say which spectral norms ran in Paddle's order, and how far torch's own is from that."""
        from align.nets.prepare_torch import power_methods_apart

        norms = spectral_norms(self.setup.sides)
        if not norms:
            return []
        net, before = self.setup.sides.reference.net, trace.buffers_before
        apart = max(power_methods_apart(net, path, before) for path in norms)
        first = next(iter(norms.values())).removeprefix("net.")
        return [Words("spectral_norms", count=len(norms), path=first, apart=apart)]

    def is_seen(self, found: Findings, path: str) -> bool | None:
        """Tell it by running the reference with that result changed."""
        from align.rounding.rounding_torch import is_seen

        judged = set(found.judged.reference_group)
        return is_seen(self.setup.sides.reference.net, found.trace, self.setup.run, judged, path)


def _try_other_way(way: Way, differing: set[CallKey]) -> None:
    """Raise MaskTheOtherWay to run with other calls `below`; what differs both ways stays so."""
    if not way.turned and differing:
        raise MaskTheOtherWay(frozenset(differing))
    if way.turned == 1 and way.below & differing:
        raise MaskTheOtherWay(way.below - differing)


def _tied(comparisons: Sequence[Comparison]) -> list[Words]:
    """Say that the sides' own assignments differ within rounding, if they do."""
    own = (c for c in comparisons if c.layer == ASSIGNMENT and c.at.kind == "output")
    return [Words("assignment_tied")] if any(c.verdict == NOISE for c in own) else []


def _choices_tied(comparisons: Sequence[Comparison]) -> list[Words]:
    """Say that discrete steps chose otherwise by ties within rounding, if they did."""
    tied = [c for c in comparisons if c.at.kind == "choice" and c.verdict == NOISE]
    return [Words("choices_tied", count=len(tied), path=tied[0].layer or ROOT)] if tied else []


def _uneven_in_words(uneven: Mapping[int, tuple[int, int]], pairing: Pairing) -> list[Words]:
    """Say which matched layers are called another number of times than their partners."""
    said: list[Words] = []
    alone: set[str] = set()  # containers that are told: what they hold is not
    for port, group in pairing.port_group.items():
        if group not in uneven:
            continue
        (theirs, ours), names = uneven[group], {"path": port, "partner": pairing.partners[port]}
        if theirs and ours:
            said.append(Words("uneven_calls", **names, port=ours, reference=theirs))
        elif alone.isdisjoint(ancestors(port)):
            alone.add(port)
            said.append(Words("never_called" if theirs else "called_by_port", **names))
    return said


def _as_code_in_words(plain: "PlainPass", pairing: Pairing) -> list[Words]:
    """Say which layers are judged as code, and why."""
    groups, packed = plain.as_code_groups(), set(plain.trace.packed)
    paths = [port for port, group in pairing.port_group.items() if group in groups]
    return [
        Words(
            "takes_packed" if pairing.partners[path] in packed else "writes_into_input",
            path=path.removeprefix("net."),
        )
        for path in paths
    ]
