"""The step and training rungs: each step starts from the reference's state and is judged alone."""

from collections.abc import Sequence
from typing import Any

from align.arrays.batch import Inputs, NetBatch, as_batch
from align.causes.blame import blame
from align.judge.comparison import DIFFERS, unless_compared
from align.judge.words import AVERAGE, OPTIMIZER, SCHEDULE
from align.nets import progress
from align.nets.calls import written_at
from align.nets.whole import Criterion, whole_pair
from align.pairing.pair_nets import pair_nets
from align.report.report import Layer, Report
from align.rungs.loss import seen_from_the_net
from align.rungs.training.forced_steps import ForcedSteps
from align.rungs.training.rates import compare_schedules, tell_schedules
from align.rungs.training.step_start import (
    AverageFactory,
    OptimizerFactory,
    ScheduleFunction,
)
from align.trial.setup import prepared, rounding_note
from align.trial.unshown.geometry import unshown_geometry
from common.errors import UserError

MOST_STEPS = 1000  # of two schedules, to find out what one is of the other


def align_step(
    torch_net: Any,
    paddle_net: Any,
    batch: Inputs,
    torch_loss: Criterion,
    paddle_loss: Criterion,
    torch_optimizer: OptimizerFactory,
    paddle_optimizer: OptimizerFactory,
    *,
    torch_average: AverageFactory | None = None,
    paddle_average: AverageFactory | None = None,
    rules: Any = None,
) -> Report:
    """Judge one training step; see `align_training`. Returns a Report of stage "step"."""
    return _align_steps(
        "step",
        (torch_net, paddle_net),
        [batch],
        (torch_loss, paddle_loss),
        (torch_optimizer, paddle_optimizer),
        (None, None),
        (torch_average, paddle_average),
        free_run=False,
        rules=rules,
    )


def align_training(
    torch_net: Any,
    paddle_net: Any,
    batches: Sequence[Inputs],
    torch_loss: Criterion,
    paddle_loss: Criterion,
    torch_optimizer: OptimizerFactory,
    paddle_optimizer: OptimizerFactory,
    torch_schedule: ScheduleFunction | None = None,
    paddle_schedule: ScheduleFunction | None = None,
    *,
    torch_average: AverageFactory | None = None,
    paddle_average: AverageFactory | None = None,
    rules: Any = None,
    iterations: int = 0,
) -> Report:
    """Judge training steps in float64, each from the reference's weights, buffers and slots.

    Free-running, correct ports part ways: rounding grows about tenfold a step in a hard recipe.
    So every step is forced: loss, gradients, learning rate, update, slots and buffers are judged
    alone, and the next step starts on both sides from where the reference came to. The free run
    is shown beside it and not judged.

    Args:
        torch_net, paddle_net: the nets, with the same weights; they run in train mode.
        batches: one step each; a batch ends with its label.
        torch_loss, paddle_loss: called with (outputs, label), return a scalar.
        torch_optimizer, paddle_optimizer: called with the list of parameters (of the net, then
            of the criterion), return an optimizer. Not optimizers: those made before the nets
            are cast to float64 hold slots of another dtype. What an optimizer does otherwise is
            told with the line of its factory, or what the factory's attribute `source` says.
        torch_schedule, paddle_schedule: rate of the optimizer as a function of the step, from 0,
            set before the step; groups keep their multiplier.
        torch_average, paddle_average: called with the net alone, return the moving average of its
            weights (and buffers) that a training keeps beside it: an object with `update()`, which
            takes the net's present tensors in, and `state()`, arrays by the net's names. torch's
            `AveragedModel` is one as well. Both or neither.
        rules: how the reference names what the port names otherwise (`convert.names.rules`).
        iterations: of a whole run, where it is longer than `batches`: the schedules are compared
            over all of it.

    Returns:
        A Report of stage "training". Every divergence carries the first `step` at which it shows;
        `where` is what `align_backward` knows, and weight:name, buffer:name, slot:name after the
        update, or lr (of `layer`, or of "(optimizer)" where all rates are off alike).
        `settings["steps"]` has loss, rate, gradient norm and worst error of each step,
        `settings["free_run"]` the relative error of the loss when nothing is forced, and
        `settings["free_steps"]` its losses and rates.

    Raises:
        ConfigError: `rules` is no rules file. Whatever nets, losses and optimizers raise on these
            batches.
    """
    return _align_steps(
        "training",
        (torch_net, paddle_net),
        batches,
        (torch_loss, paddle_loss),
        (torch_optimizer, paddle_optimizer),
        (torch_schedule, paddle_schedule),
        (torch_average, paddle_average),
        free_run=True,
        rules=rules,
        iterations=iterations,
    )


def _align_steps(
    stage: str,
    nets: tuple[Any, Any],
    batches: Sequence[Inputs],
    losses: tuple[Criterion, Criterion],
    optimizers: tuple[OptimizerFactory, OptimizerFactory],
    schedules: tuple[ScheduleFunction | None, ScheduleFunction | None],
    averages: tuple[AverageFactory | None, AverageFactory | None],
    free_run: bool,
    rules: Any,
    iterations: int = 0,
) -> Report:
    from align.nets.prepare_paddle import state_kept
    from align.pairing.reference_torch import LiveReference

    both = _both(averages)
    torch_whole, paddle_whole = whole_pair(*nets, *losses)
    sides = pair_nets(LiveReference(torch_whole), paddle_whole, rules)
    report = Report(stage)
    read = [as_batch(batch, "float64", labelled=True) for batch in batches]
    report.settings["inputs"] = [batch.shapes for batch in read[:1]]
    with prepared(sides, dtype="float64", train=True) as rounded:
        with state_kept(paddle_whole):
            steps = ForcedSteps(sides, optimizers, schedules, both, report, free_run)
            whole = _run_steps(steps, read)
            report.calls += steps.unshown_settings() if whole else []
            steps.note_average()
        report.notes += rounding_note(rounded, steps.found.trace) if steps.found else []
        if free_run and whole:
            progress.begin("running the port freely")
            steps.free_run(read)
    report.calls += unshown_geometry(sides, steps.found, report.calls) if steps.found else []
    report.calls += unless_compared(report.calls, "no_training_batch")
    theirs, ours = schedules
    tell_schedules(report.calls, steps.schedules, max(len(read), min(iterations, MOST_STEPS)))
    found_already = any(c.at.kind == "lr" and c.verdict == DIFFERS for c in report.calls)
    if theirs and ours and iterations > len(read) and not found_already:
        report.calls.append(compare_schedules(theirs, ours, len(read), iterations))
    recipe = {OPTIMIZER: _layer(optimizers, steps.kinds)}
    if theirs and ours:
        recipe[SCHEDULE] = _layer((theirs, ours), ("", ""))
    if both:
        recipe[AVERAGE] = _layer(both, ("", ""))
    return blame(report, sides, seen_from_the_net, recipe)


def _both(
    averages: tuple[AverageFactory | None, AverageFactory | None],
) -> tuple[AverageFactory, AverageFactory] | None:
    """Return both factories, None where there is none. Raises UserError where one is alone."""
    theirs, ours = averages
    if theirs is not None and ours is not None:
        return theirs, ours
    if theirs is None and ours is None:
        return None
    given, missing = ("torch", "paddle") if ours is None else ("paddle", "torch")
    raise UserError(
        f"could not check: {given}_average is given and {missing}_average is not; give both, or "
        "neither"
    )


def _layer(made_by: tuple[Any, Any], kinds: tuple[str, str]) -> Layer:
    """Return what is known of an optimizer or a schedule: classes, and lines of what made it."""
    theirs, ours = (written_at(function) or None for function in made_by)
    return Layer("", *kinds, torch_source=theirs, paddle_source=ours)


def _run_steps(steps: ForcedSteps, batches: Sequence[NetBatch]) -> bool:
    """Judge a step a batch; return whether all could be made."""
    for step, batch in enumerate(batches):
        with progress.within("step", step + 1, len(batches)):
            if not steps.run(step, batch):
                return False
    return True
