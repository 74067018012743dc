"""Judges a port against a stored trace, where only Paddle is installed."""

import os
from collections.abc import Sequence
from typing import Any

from align.arrays.batch import NetBatch
from align.judge.words import Words
from align.nets.asked import ASSIGNMENT, offers_assignment
from align.nets.whole import refuse_one_sided
from align.pairing.pair_nets import pair_nets
from align.pairing.sides import Sides
from align.report.report import Report
from align.rungs.backward import backward_report
from align.rungs.forward import forward_report
from align.stored.floors import StoredFloors
from align.stored.reference import StoredReference
from align.trial.attempts import ATTEMPTS, Attempt, Way, aligned
from align.trial.findings import Findings
from align.trial.held_tables import one_sided_tables
from align.trial.setup import spectral_norms
from align.trial.trial import Trial
from align.trial.unshown.zero_weights import behind_zero_weights
from common.errors import UserError


def force_trace(
    paddle_net: Any,
    folder: str | os.PathLike[str] | StoredReference,
    *,
    loss: Any = None,
    rules: Any = None,
    fill: bool = True,
    keep: bool = False,
) -> Report:
    """Judge every layer of `paddle_net`, and the code between, against a stored trace.

    Args:
        paddle_net: the port, any `paddle.nn.Layer` on the CPU.
        folder: what `record_trace` wrote, or that as it was read.
        loss: of a trace that was recorded with one: called with (outputs, label).
        rules: how the reference names what the port names otherwise (`convert.names.rules`).
        fill: give the port the recorded weights first; it keeps them. False: it has them.
        keep: store the port's tensors and the report in the folder, for `judge_trace`.

    Returns:
        The Report of `align_forward`, or of `align_backward` for a trace with gradients. But for
        the weights of `fill` the port is as before. A layer that the port lost, of which the
        trace does not tell whether its result is used, could not be checked.

    Raises:
        UnreadableError: the folder holds no whole trace. ConversionError: the weights do not fit.
        UserError: a loss is missing or too much. Whatever the port itself raises.
    """
    reference = folder if isinstance(folder, StoredReference) else StoredReference(folder)
    manifest = reference.manifest
    if manifest.with_loss != (loss is not None):
        needs = "was recorded with a loss: give the port's" if manifest.with_loss else "has no loss"
        raise UserError(f"{reference.folder}: {needs}")
    if fill:
        from align.pairing.fill import fill_port

        fill_port(reference.inner(), paddle_net, rules)
    if not keep:
        return _judged(reference, paddle_net, loss, rules)
    from align.stored.port import keeping

    with keeping(reference.folder) as kept:
        report = _judged(reference, paddle_net, loss, rules)
        kept.finish(report)
    return report


def _judged(reference: StoredReference, paddle_net: Any, loss: Any, rules: Any) -> Report:
    from align.arrays.arrays_paddle import to_tensor
    from align.arrays.trees import map_leaves
    from align.causes.explain import explain
    from align.causes.replayed import replayed_from
    from align.nets.casts.follow_paddle import PaddleTables
    from align.nets.prepare_paddle import activations_apart, prepared
    from align.trial.setup import Setup, float32_constants, plain_norms

    manifest = reference.manifest
    if loss is not None:
        from align.nets.whole_paddle import NetWithLoss

        refuse_one_sided(ASSIGNMENT in reference.paths, offers_assignment(loss))
        paddle_net = NetWithLoss(paddle_net, loss)
    sides = pair_nets(reference, paddle_net, rules)
    _refuse_spectral_norms(sides, manifest.train)
    reference.rounded = float32_constants(sides)
    batch = NetBatch(*reference.inputs)
    arguments = map_leaves((batch.args, dict(batch.kwargs)), to_tensor)
    plain = plain_norms(sides)
    sides.given_tables = one_sided_tables(sides)[0]  # the reference ran without a port
    tables = PaddleTables(sides.given_tables) if sides.given_tables else None
    with (
        sides.changed(),
        prepared(paddle_net, dtype="float64", train=manifest.train, tables=tables),
        activations_apart(plain),
    ):
        setup = Setup(sides, arguments, "float64", manifest.train, manifest.backward)
        found = aligned(StoredTrial(setup))
        explain(found.comparisons, sides, found, replayed_from(reference.trace.calls))
        found.unreached += behind_zero_weights(sides, found)
    settings = {"train": manifest.train, "inputs": manifest.settings.get("inputs", {})}
    constants = _constants_note(reference)
    both = (sides, found, constants)
    if manifest.backward:
        report = Report("backward", settings=settings)
        backward_report(report, *both, with_loss=manifest.with_loss)
    else:
        report = Report("forward", settings={**settings, "dtype": "float64"})
        forward_report(report, *both)
    report.settings["recorded"] = {**manifest.settings, "environment": manifest.environment}
    return report


def _refuse_spectral_norms(sides: Sides[StoredReference], train: bool) -> None:
    """Raise UserError where a recording in train mode iterated otherwise than Paddle does."""
    norms = spectral_norms(sides)
    if not (train and norms):
        return
    path, port = next(iter(norms.items()))
    raise UserError(
        f"could not check: the reference's spectral norm at {path} (torch.nn.utils."
        f"parametrizations.spectral_norm) iterates from v to u, the port's at {port or '(root)'} "
        "from u to v, and a recording in train mode holds what torch's iterations gave: record "
        "the reference in eval mode, or align the two live nets, where torch iterates as "
        "Paddle does"
    )


def _constants_note(reference: StoredReference) -> list[Words]:
    """Say of which layers' floors the rounding of constants is a part."""
    count = len(reference.rounded & {call.path for call in reference.trace.calls})
    return [Words("constants_allowed", count=count)] if count else []


class StoredTrial(Trial[StoredReference]):
    """The alignment of a port with a recording."""

    @property
    def attempts(self) -> Sequence[Attempt]:
        """Return the one that judges after the recording, which is made."""
        return [attempt for attempt in ATTEMPTS if not (attempt.alone or attempt.copies)]

    def align(self, way: Way) -> Findings:
        """Force the port on the stored calls."""
        reference = self.setup.sides.reference
        plain, judged = self._plain(reference.trace, way)
        moves = StoredFloors(reference, judged)
        pairing = self.setup.sides.pairing
        found = Findings(reference.trace, plain.port_order, pairing, judged, moves)
        self._finish(found, plain, self._pass(found, plain), way)
        if reference.manifest.bounds is None:
            found.notes.append(Words("bounds_not_recorded"))
        else:
            self._compare_bounds(found, plain)
        return found

    def is_seen(self, found: Findings, path: str) -> bool | None:
        """Tell what the recording says of it."""
        return self.setup.sides.reference.is_used(path, set(found.judged.reference_group))
