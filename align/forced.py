"""One forced alignment: record the reference, run the port on it, compare everything."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from align import running
from align.batch import Batch
from align.beyond_calls import (
    compare_buffers,
    compare_parameter_gradients,
    in_place,
    not_reached,
    unseen,
)
from align.boundaries import across_moved_boundaries
from align.draws import Key
from align.early import Early
from align.floors import Moves
from align.forcing import NotAlone
from align.found import Forced
from align.judge import Comparison
from align.pairing import Pairing
from align.trace import Place, Trace
from align.trees import map_leaves


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
    from align.layers_paddle import holds_float32_constants, layers_by_path

    layers = layers_by_path(paddle_net)
    rounded = {r for p, r in pairing.partners.items() if holds_float32_constants(layers[p])}
    plain = [layers[path] for path in plain_norms(torch_net, pairing)]
    torch_dtype = getattr(torch, dtype)
    with (
        prepare_torch.prepared(
            torch_net, dtype=torch_dtype, train=train, float32_constants=rounded
        ),
        prepare_paddle.prepared(paddle_net, dtype=dtype, train=train),
        prepare_paddle.activations_apart(plain),
    ):
        yield rounded


def plain_norms(torch_net: Any, pairing: Pairing) -> list[str]:
    """Return the port's layers whose partners normalise and do nothing else."""
    from align.reference import reference_of

    net, names = reference_of(torch_net), {f"BatchNorm{n}d" for n in (1, 2, 3)} | {"SyncBatchNorm"}
    return [port for port, path in pairing.partners.items() if net.class_name(path) in names]


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
    keeps_gradients: bool = True,
) -> Forced:
    """Align two nets that are `prepared`. The reference is as before; the port's running
    statistics are what its own layers made of the reference's inputs.

    `backward` starts from cotangents of N(0, 1), drawn from `seed`, or from ones without a seed.
    Without `keeps_gradients` those of the reference's parameters are dropped once judged.
    """
    from align import arrays_paddle, arrays_torch
    from align.record_torch import Run

    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), arrays_torch.to_tensor)
    run = Run(args, kwargs, backward, seed)
    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), arrays_paddle.to_tensor)
    job = Job(torch_net, paddle_net, pairing, run, (args, kwargs), dtype, train, keeps_gradients)
    return aligned(job, lambda job: _align(job, backward))


class OtherWay(Exception):
    """Random code of the port differs if it keeps what is above a rate: it may keep the rest."""


_AnyJob = TypeVar("_AnyJob", bound="Job")


def aligned(job: _AnyJob, align: Callable[[_AnyJob], Forced]) -> Forced:
    """Return what `align` makes of `job`, or of one that explains more of the same differences."""
    from align.prepare_paddle import remembered

    undo = remembered(job.paddle_net)

    def again(groups: set[int]) -> Forced:
        undo()
        return _either_way(job.with_as_glue(groups), align)

    return across_moved_boundaries(_either_way(job, align), again, job.is_seen)


def _either_way(job: _AnyJob, align: Callable[[_AnyJob], Forced]) -> Forced:
    """Return what `align` makes of `job`; it may raise OtherWay twice to be called again."""
    from align.prepare_paddle import undone_on

    for _ in range(2):
        with suppress(OtherWay), undone_on(OtherWay, job.paddle_net):
            return align(job)
    return align(job)


def _align(job: "Job", backward: bool) -> Forced:
    from align.prepare_paddle import undone_on

    # Alone needs fewer arrays at a time, which some ports do not allow; copies are for references
    # that write into what is recorded while they run backward.
    for alone, copies in ((True, False), (False, False))[not backward :]:
        with suppress(NotAlone), undone_on(NotAlone, job.paddle_net):
            return job.align(alone=alone, copies=copies)
    return job.align(alone=False, copies=True)


@dataclass
class Job:
    """The arguments of `run_forced`, ready for both frameworks."""

    torch_net: Any
    paddle_net: Any
    pairing: Pairing
    run: Any
    arguments: tuple[tuple, dict[str, Any]]
    dtype: str
    train: bool
    keeps_gradients: bool = True
    as_glue: frozenset[int] = frozenset()  # groups that are judged as code around others
    below: set[Key] = field(default_factory=set)  # calls that are tried the other way round
    tried: int = 0

    def with_as_glue(self: _AnyJob, groups: set[int]) -> _AnyJob:
        """Return the same job, not begun, with these groups of the pairing as glue."""
        return replace(self, as_glue=frozenset(groups), below=set(), tried=0)

    def align(self, alone: bool, copies: bool) -> Forced:
        """Record and force. `alone` judges simple layers while the reference's backward runs.

        Raises:
            NotAlone: the recording does not serve: do the same without `alone`, or with `copies`.
            OtherWay: do the same once more.
        """
        from align.plain_paddle import plain_pass
        from align.record_torch import recorded

        torch_net = self.torch_net
        running.begin("recording the reference")
        with recorded(torch_net, self.run, copies) as recording:
            trace = recording.trace
            trace.below = self.below
            running.begin("running the port", len(trace.calls))
            plain = plain_pass(self.paddle_net, trace, self.pairing, self.arguments)
            judged = self.pairing.without({*plain.uneven_groups(), *self.as_glue})
            running.begin("measuring rounding")
            moves = Moves(torch_net, trace, self.run, judged, self.dtype)
            found = Forced(trace, self.pairing, judged, moves)
            forced = self._pass(found, plain)
            early = Early(self, found, forced, plain) if alone else None
            offers = () if early is None else (early.alone, early.together)
            running.begin("judging layers alone")
            with nullcontext() if early is None else forced.ready():
                if not recording.backward(*offers):
                    raise NotAlone
            if early is not None:
                early.end()
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
        from align.layers_paddle import floating_buffers

        matched = found.judged.reference_group
        calls = sum(call.path in matched for call in found.trace.calls)
        running.begin("judging the port", calls)
        forced.run(*self.arguments)
        self._try_other_way(forced.undecided)
        self._rest(found, forced, floating_buffers(forced.layers))
        if forced.raised:
            kept = [c for c in found.comparisons if not not_reached(c, forced.called)]
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

    def is_seen(self, found: Forced, path: str) -> bool | None:
        """Tell whether a lost layer's result reaches anything that is judged; None: unknown."""
        from align.disturb_torch import is_seen

        judged = set(found.judged.reference_group)
        return is_seen(self.torch_net, found.trace, self.run, judged, path)

    def _notes(self, plain: Any) -> list[str]:
        notes = _uneven_in_words(plain.uneven_groups(), self.pairing)
        if plain.trace.order is not None:
            notes += [moved.words for moved in plain.trace.order.moved]
        if plain.failure:
            notes.append(f"run as it is, the port fails: {plain.failure}")
        return notes

    def _rest(self, found: Forced, forced: Any, buffers: Mapping[str, np.ndarray]) -> None:
        """Compare what calls do not show: layers that are lost, buffers, parameters' gradients."""
        found.comparisons += [in_place(path) for path in found.trace.inplace]
        found.comparisons += unseen(found, lambda path: self.is_seen(found, path))
        if self.train:
            found.comparisons += compare_buffers(self.torch_net, found, buffers)
        if self.run.backward:
            found.comparisons += compare_parameter_gradients(
                self.torch_net,
                self.paddle_net,
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
