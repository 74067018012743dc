"""One forced alignment: record the reference, run the port on it, compare everything."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from align.arrays.batch import NetBatch
from align.arrays.trees import map_leaves
from align.force.frame import NeedsWholeRun
from align.judge.comparison import Comparison
from align.nets import progress
from align.pairing.by_path import Pairing
from align.pairing.sides import Sides
from align.record.draws import CallKey
from align.record.trace import CallPlace
from align.rounding.floors import Floors
from align.trial.buffers import compare_buffers
from align.trial.findings import Findings
from align.trial.lost_layers import in_place, not_reached, unseen
from align.trial.moved_boundaries import across_moved_boundaries
from align.trial.parameter_gradients import compare_parameter_gradients
from align.trial.setup import Setup
from align.trial.while_backward import JudgeWhileBackward

if TYPE_CHECKING:
    from align.pairing.reference_torch import LiveReference


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
    from align.arrays import arrays_paddle, arrays_torch
    from align.record.recording_torch import ReferenceRun

    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), arrays_torch.to_tensor)
    run = ReferenceRun(args, kwargs, backward, seed)
    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), arrays_paddle.to_tensor)
    setup = Setup(sides, run, (args, kwargs), dtype, train, keeps_gradients)
    return aligned(Trial(setup), lambda job: _align(job, backward))


class MaskTheOtherWay(Exception):
    """Random code of the port differs if it keeps what is above a rate: it may keep the rest."""


_AnyTrial = TypeVar("_AnyTrial", bound="Trial")


def aligned(job: _AnyTrial, align: Callable[[_AnyTrial], Findings]) -> Findings:
    """Return what `align` makes of `job`, or of one that explains more of the same differences."""
    from align.nets.prepare_paddle import remembered

    undo = remembered(job.setup.sides.port)

    def again(groups: set[int]) -> Findings:
        undo()
        return _either_way(job.with_as_glue(groups), align)

    return across_moved_boundaries(_either_way(job, align), again, job.is_seen)


def _either_way(job: _AnyTrial, align: Callable[[_AnyTrial], Findings]) -> Findings:
    """Return what `align` makes of `job`; it may raise MaskTheOtherWay twice to be called again."""
    from align.nets.prepare_paddle import undone_on

    for _ in range(2):
        with suppress(MaskTheOtherWay), undone_on(MaskTheOtherWay, job.setup.sides.port):
            return align(job)
    return align(job)


def _align(job: "Trial", backward: bool) -> Findings:
    from align.nets.prepare_paddle import undone_on

    # Alone needs fewer arrays at a time, which some ports do not allow; copies are for references
    # that write into what is recorded while they run backward.
    for alone, copies in ((True, False), (False, False))[not backward :]:
        with suppress(NeedsWholeRun), undone_on(NeedsWholeRun, job.setup.sides.port):
            return job.align(alone=alone, copies=copies)
    return job.align(alone=False, copies=True)


@dataclass
class Trial:
    """One try to align what is set up, with its own way to take groups and draws."""

    setup: Setup
    as_glue: frozenset[int] = frozenset()  # groups that are judged as code around others
    below: frozenset[CallKey] = frozenset()  # calls that are tried the other way round
    tried: int = 0

    def with_as_glue(self: _AnyTrial, groups: set[int]) -> _AnyTrial:
        """Return the same job, not begun, with these groups of the pairing as glue."""
        return replace(self, as_glue=frozenset(groups), below=frozenset(), tried=0)

    def align(self, alone: bool, copies: bool) -> Findings:
        """Record and force. `alone` judges simple layers while the reference's backward runs.

        Raises:
            NeedsWholeRun: the recording does not serve: the same without `alone`, or with `copies`.
            MaskTheOtherWay: do the same once more.
        """
        from align.force.plain_pass_paddle import plain_pass
        from align.record.recording_torch import recorded

        torch_net = self.setup.sides.reference.net
        progress.begin("recording the reference")
        with recorded(torch_net, self.setup.run, copies) as recording:
            trace = recording.trace
            progress.begin("running the port", len(trace.calls))
            plain = plain_pass(self.setup.sides, trace, self.below, self.setup.arguments)
            judged = self.setup.sides.pairing.without({*plain.uneven_groups(), *self.as_glue})
            progress.begin("measuring rounding")
            moves = Floors(torch_net, trace, self.setup.run, judged, self.setup.dtype)
            found = Findings(trace, plain.port_order, self.setup.sides.pairing, judged, moves)
            forced = self._pass(found, plain)
            early = JudgeWhileBackward(self.setup, found, forced, plain) if alone else None
            offers = () if early is None else (early.alone, early.together)
            progress.begin("judging layers alone")
            with nullcontext() if early is None else forced.ready():
                if not recording.backward(*offers):
                    raise NeedsWholeRun
            if early is not None:
                early.end()
        moves.finish()
        self._finish(found, forced)
        return found

    def _pass(self, found: Findings, plain: Any) -> Any:
        """Return the forced pass, which fills `found`; `plain` has run."""
        from align.force.forced_pass_paddle import ForcedPass

        found.notes += self._notes(plain)

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
            backward=self.setup.run.backward,
        )

    def _finish(self, found: Findings, forced: Any) -> None:
        """Run the forced pass and compare what it leaves."""
        from align.nets.layers_paddle import floating_buffers

        matched = found.judged.reference_group
        calls = sum(call.path in matched for call in found.trace.calls)
        progress.begin("judging the port", calls)
        forced.run(*self.setup.arguments)
        self._try_other_way(forced.undecided)
        self._rest(found, forced, floating_buffers(forced.layers))
        if forced.raised:
            kept = [c for c in found.comparisons if not not_reached(c, forced.called)]
            found.comparisons = kept

    def _try_other_way(self, differing: set[CallKey]) -> None:
        """Raise MaskTheOtherWay to run with another `below`; what differs both ways stays so."""
        self.tried += 1
        if self.tried == 1 and differing:
            self.below = frozenset(differing)
            raise MaskTheOtherWay
        if self.tried == 2 and self.below & differing:
            self.below = self.below - differing
            raise MaskTheOtherWay

    def is_seen(self, found: Findings, path: str) -> bool | None:
        """Tell whether a lost layer's result reaches anything that is judged; None: unknown."""
        from align.rounding.rounding_torch import is_seen

        judged = set(found.judged.reference_group)
        return is_seen(self.setup.sides.reference.net, found.trace, self.setup.run, judged, path)

    def _notes(self, plain: Any) -> list[str]:
        notes = _uneven_in_words(plain.uneven_groups(), self.setup.sides.pairing)
        notes += [moved.words for moved in plain.port_order.order.moved]
        if plain.failure:
            notes.append(f"run as it is, the port fails: {plain.failure}")
        return notes

    def _rest(self, found: Findings, forced: Any, buffers: Mapping[str, np.ndarray]) -> None:
        """Compare what calls do not show: layers that are lost, buffers, parameters' gradients."""
        found.comparisons += [in_place(path) for path in found.trace.inplace]
        found.comparisons += unseen(found, lambda path: self.is_seen(found, path))
        if self.setup.train:
            found.comparisons += compare_buffers(self.setup.sides.reference, found, buffers)
        if self.setup.run.backward:
            found.comparisons += compare_parameter_gradients(
                self.setup.sides,
                found,
                forced.gradients,
                forced.random,
                forced.users,
            )


def _uneven_in_words(uneven: Mapping[int, tuple[int, int]], pairing: Pairing) -> list[str]:
    """Say which matched layers are called another number of times than their partners."""
    return [
        f"{port} is called {uneven[group][1]} times, {pairing.partners[port]} in the reference "
        f"{uneven[group][0]} times: it is judged as a part of the layer around it"
        for port, group in pairing.port_group.items()
        if group in uneven
    ]
