"""Judges a loss that differentiates the net: the net layer by layer, value and gradients whole.

Such a loss (a gradient penalty) has backward passes of its own, which no recording of layers can
hold. So both sides run freely, in float64, from the same weights, inputs and draws; the allowance
is how far the reference's own run moves by rounding.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from align.arrays.batch import NetBatch
from align.judge.comparison import DIFFERS, EQUAL, NOISE, UNCHECKED, Comparison, not_compared
from align.judge.words import Cause, Words, joined
from align.nets import progress
from align.record.draws import UNKNOWN, Draw
from align.record.trace import Trace
from align.trial.findings import Findings
from align.trial.whole_run.compare import Allow, compare_outcomes
from align.trial.whole_run.free_values import FreeValues
from common.errors import UserError
from common.places import told

if TYPE_CHECKING:
    from align.pairing.reference_torch import LiveReference
    from align.pairing.sides import Sides
    from align.trial.whole_run.port_paddle import PortRun

Result = tuple[Findings, list[Comparison]]  # and what could not be compared at all


def judged_whole(
    sides: "Sides[LiveReference]",
    batch: NetBatch,
    run: Any,
    run_net: Callable[[], Result],
    place: str,
) -> Result:
    """Return what `run_net`, without the loss, finds, and what free runs with the loss show.

    `run` is that of the reference; `place` is where its loss differentiates. The trace that is
    found gets the loss and the gradients of the free run.
    """
    from align.nets.prepare_paddle import remembered
    from align.trial.whole_run.reference_torch import ReferenceRuns

    undo = remembered(sides.port)
    found, unchecked = run_net()
    undo()
    found.comparisons = _of_the_net(found.comparisons)
    found.notes.append(Words("loss_differentiates", place=place))
    progress.begin("running net and loss as a whole")
    runs = ReferenceRuns(sides.reference.net, run)
    try:
        exact, found.whole = runs.observed()
        moves = runs.moves()
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"could not check: the reference with its loss raises {told(error)}"
        ) from error
    _keep(found, exact)
    unknown = _not_replayable(found.whole)
    if unknown is not None:
        return found, [*unchecked, not_compared(Cause("whole_draws", function=unknown.function))]
    try:
        compared = _compared(sides, batch, found, exact, Allow(moves, found))
    except Exception as error:
        cause = Cause("port_whole_raises", words=told(error))
        twice = "have any grad" in str(error)  # Paddle 2.6 goes on without a space
        cause = cause.also(Cause("not_twice")) if twice else cause
        return found, [*unchecked, not_compared(cause)]
    found.comparisons += compared
    return found, unchecked


def _compared(
    sides: "Sides[LiveReference]", batch: NetBatch, found: Findings, exact: FreeValues, allow: Allow
) -> list[Comparison]:
    """Run the port freely and compare; where masks may be meant either way, both ways."""
    from align.trial.whole_run.port_paddle import PortRun

    assert found.whole is not None
    ways = [found.port_order.below]
    first: list[Comparison] = []
    for below in ways:
        port = PortRun(sides, batch, found.whole, below)
        compared = compare_outcomes(sides, exact, port.outcome, allow)
        wrong = any(c.verdict == DIFFERS for c in compared)
        if not wrong or not first:
            first = compared + _of_the_run(exact, port, compared)
        if wrong and port.either and len(ways) == 1:
            ways.append(below ^ port.either)
    _weigh(first, any(c.verdict == DIFFERS for c in found.comparisons))
    return first


def _of_the_run(exact: FreeValues, port: "PortRun", compared: list[Comparison]) -> list[Comparison]:
    """Return what else keeps a free run from being judged: draws, buffers, nothing but noise."""
    more = [
        Comparison("", "", "random", "glue", (), DIFFERS, float("inf"), cause=cause)
        for cause in port.misfits[:1]
    ]
    causes = [Cause("whole_draws", function=name) for name in port.unknown[:1]]
    moved = [*exact.moved, *port.outcome.moved]
    causes += [Cause("whole_buffers", name=name.removeprefix("net.")) for name in moved[:1]]
    gradients = [c for c in compared if c.at.is_gradient and (c.scale or c.verdict == DIFFERS)]
    if all(c.verdict == NOISE for c in gradients):
        causes.append(Cause("whole_noise"))
    return more + [not_compared(cause) for cause in causes]


def _weigh(compared: list[Comparison], net_differs: bool) -> None:
    """Let what follows from another difference say so: it is judged when that is mended."""
    values = [c for c in compared if not c.at.is_gradient and c.verdict == DIFFERS]
    for comparison in compared:
        if comparison.verdict != DIFFERS:
            continue
        if net_differs or (values and comparison.at.is_gradient):
            comparison.verdict, comparison.cause = UNCHECKED, Cause("whole_follows")
        elif comparison.at.is_gradient:
            comparison.cause = joined([comparison.cause, Cause("differentiated_otherwise")])


def _of_the_net(comparisons: list[Comparison]) -> list[Comparison]:
    """Return what was compared without the loss: the root only hands on what the net gives."""
    kept = [c for c in comparisons if c.layer or c.verdict != EQUAL]
    for comparison in kept:
        comparison.layer = comparison.layer or "net"
    return kept


def _keep(found: Findings, exact: FreeValues) -> None:
    """Put what the free run came to where a recording with the loss would have it."""
    values = exact.values
    root = next(call for call in found.trace.calls if call.path == "")
    loss = [array for place, array in values.items() if place.startswith("loss:")]
    root.outputs = [array for array in loss if array is not None]
    gradients = {p.partition(":")[2]: array for p, array in values.items() if p[:5] == "grad:"}
    found.trace.gradients.update(gradients)


def _not_replayable(trace: Trace) -> Draw | None:
    """Return a draw that the port cannot be given in a free run: any but the loss's own."""
    return next((draw for draw in trace.draws if draw.kind == UNKNOWN or _of_net(draw)), None)


def _of_net(draw: Draw) -> bool:
    return any(path == "net" or path.startswith("net.") for path, _ in draw.calls)
