"""Forced training steps: each starts on both sides from the reference's state."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from align.arrays.batch import NetBatch
from align.causes.explain import explain
from align.judge.comparison import DIFFERS, EQUAL, Comparison
from align.judge.words import Words
from align.pairing.sides import Sides
from align.report.report import Report
from align.rungs.training.averages import ForcedAverages
from align.rungs.training.clipping import EPSILON, factors, norm_of
from align.rungs.training.rates import Schedules, compare_rates
from align.rungs.training.step_start import (
    AverageFactory,
    OptimizerFactory,
    ScheduleFunction,
    StepStart,
)
from align.rungs.training.updates.compare_update import UpdateComparison
from align.trial.findings import Findings
from align.trial.trial import run_backward
from common.errors import UserError

if TYPE_CHECKING:
    from align.pairing.reference_torch import LiveReference


class ForcedSteps:
    """Both nets, `prepared`, with their optimizers, step after step.

    `optimizers`, `schedules` and `averages` are the reference's and the port's, without averages
    None. Comparisons, notes and a row for each step go into `report`. `free`: the port's weights
    are kept for a free run.
    """

    def __init__(
        self,
        sides: "Sides[LiveReference]",
        optimizers: tuple[OptimizerFactory, OptimizerFactory],
        schedules: tuple[ScheduleFunction | None, ScheduleFunction | None],
        averages: tuple[AverageFactory, AverageFactory] | None,
        report: Report,
        free: bool,
    ) -> None:
        from align.rungs.training.free_run_paddle import FreeRun
        from align.rungs.training.port_side_paddle import PortSide
        from align.rungs.training.reference_side_torch import ReferenceSide

        self.sides, self.report = sides, report
        tensors = [tensor for tensor in sides.tensors if tensor.reference is not None]
        self.reference = ReferenceSide(sides.reference.net, tensors, optimizers[0])
        self.port = PortSide(sides.port, tensors, optimizers[1])
        self.schedules = Schedules(self.reference, self.port, *schedules)
        made = (self.reference, self.port)
        self.averages = ForcedAverages(*made, averages) if averages else None
        report.notes += self.schedules.notes
        if self.port.plain:
            name = type(self.port.optimizer).__name__
            report.notes.append(Words("plain_optimizer", name=name))
        held = self.schedules.both
        self.free = FreeRun(sides, self.port, schedules[1], held) if free else None
        self.found: Findings | None = None
        self.start: StepStart | None = None
        self.losses: list[float] = []
        self.rates: list[dict[str, float]] = []  # of the reference, by key
        self.explained: set[str] = set()
        self.known: dict[str, float] = {}  # see UpdateComparison
        self.parted: set[tuple[str, str]] = set()  # functions that were found to differ

    def run(self, step: int, batch: NetBatch) -> bool:
        """Judge one step and leave the reference, and so the next step's start, after it.

        Returns False where the reference's own backward pass raises: there is no step to follow.
        """
        self.reference.seed(step)
        earlier, start = self.start, self.reference.start()
        self.port.begin_at(start)
        comparisons, found, unchecked = self._compare_run(batch)
        if unchecked:
            self._keep(step, comparisons + unchecked)
            return False
        self.reference.adopt(found.trace)
        start.gradients = self.reference.gradients(found.trace)
        self.schedules.set(step, self.losses)
        rates, wrong = compare_rates(self.reference, self.port, self.schedules, step)
        rate = self.reference.rate
        self.rates.append(self.reference.rates())
        theirs = self.reference.update(self.port.float32_settings(), start.gradients)
        ours = self.port.update(start.gradients, factors(start.gradients, theirs))
        self._note_clipping()
        used = theirs, ours
        updates = UpdateComparison(self.reference, self.port, step, start, earlier, used)
        comparisons += [*rates, *updates.compare(skipped=wrong)]
        self._note_known(updates.known)
        if self.averages is not None:
            comparisons += self.averages.judge(updates.after, step)
        self._keep(step, comparisons)
        self.start = start
        self._log(step, rate, comparisons, start)
        return True

    def _keep(self, step: int, comparisons: list[Comparison]) -> None:
        for comparison in comparisons:
            comparison.step = step
        self.report.calls += comparisons

    @property
    def kinds(self) -> tuple[str, str]:
        """The names of the classes of both optimizers."""
        return self.reference.optimizer_class.__name__, type(self.port.optimizer).__name__

    def unshown_settings(self) -> list[Comparison]:
        """Return the settings of the optimizers that differ where every update is equal."""
        from align.rungs.training.updates.unshown_torch import unshown_settings

        updates = [call for call in self.report.calls if call.kind == "update"]
        stock = self.reference.stock and self.port.stock
        if not stock or any(call.verdict == DIFFERS for call in updates):
            return []
        groups = [dict(group) for group in self.reference.optimizer.param_groups]
        optimizers = self.reference.optimizer_class, self.port.kind
        return [
            Comparison(
                *("(optimizer)", "", f"setting:{name}", "update"),
                verdict=DIFFERS,
                relative_error=float("inf"),
                cause=cause,
            )
            for name, cause in unshown_settings(*optimizers, groups, self.port.settings())
        ]

    def note_average(self) -> None:
        """Say over how many updates averages were compared: a warm-up hides what comes later."""
        if self.averages is not None and self.averages.share is not None:
            said = {"count": self.averages.updates, "share": self.averages.share}
            self.report.notes.append(Words("average_compared", **said))

    def free_run(self, batches: Sequence[NetBatch]) -> None:
        """Train the port alone from the start, and lay it beside the reference in the report.

        `settings["free_run"]` gets the relative error of each loss, `settings["free_steps"]` a row
        a step: the loss of both sides, and the mean rate of each of the reference's groups.
        """
        assert self.free is not None
        groups = self.reference.groups()
        errors: list[float] = []
        rows: list[dict[str, Any]] = []
        for step, found in enumerate(self.free.run(batches, self.report.notes)):
            expected = self.losses[step]
            errors.append(abs(found.loss - expected) / (abs(expected) or 1.0))
            rows.append(
                {
                    "step": step,
                    "reference_loss": expected,
                    "port_loss": found.loss,
                    "reference_rates": _means(groups, self.rates[step]),
                    "port_rates": _means(groups, found.rates),
                }
            )
        self.report.settings |= {"free_run": errors, "free_steps": rows}

    def _note_clipping(self) -> None:
        """Say once that the port's clipping was given torch's epsilon, if it was."""
        for norm, factor in self.port.clipped_as_torch()[:1]:
            note = Words("clip_epsilon", norm=norm, factor=factor, share=EPSILON / norm)
            self.report.notes += [] if note in self.report.notes else [note]

    def _note_known(self, shares: dict[str, float]) -> None:
        """Say once how far updates are off by what is known of Paddle's optimizer."""
        before = self._known_words()
        for key, share in shares.items():
            self.known[key] = max(share, self.known.get(key, 0.0))
        if shares:
            self.report.notes[:] = [n for n in self.report.notes if n not in before]
            self.report.notes += self._known_words()

    def _known_words(self) -> list[Words]:
        shares = [share for share in self.known.values() if math.isfinite(share)]
        return [Words("known_adamax", count=len(shares), share=max(shares))] if shares else []

    def _compare_run(self, batch: NetBatch) -> tuple[list[Comparison], Findings, list[Comparison]]:
        """Judge loss, gradients and buffers of one step; what could not be stands apart."""
        found, unchecked = run_backward(self.sides, batch.whole, train=True, seed=None)
        comparisons = list(found.comparisons)
        replayed = self.reference.replayed(batch.whole)
        explain(comparisons, self.sides, found, replayed, self.explained)
        parted = [c for c in found.unreached if (c.layer, c.where) not in self.parted]
        self.parted.update((c.layer, c.where) for c in parted)
        comparisons += parted
        told = {note.kind for note in self.report.notes if isinstance(note, Words)}
        told &= {"spectral_norms"}  # whose number is another at every step
        self.report.notes += [
            note for note in found.notes if note not in self.report.notes and note.kind not in told
        ]
        root = next(call for call in found.trace.calls if call.path == "")
        if [array.size for array in root.outputs] != [1]:
            shapes = ", ".join(str(list(array.shape)) for array in root.outputs)
            raise UserError(
                "could not check: the reference's loss (--torch-loss, torch_loss) returns tensors "
                f"of {shapes}; a training step needs one scalar"
            )
        self.losses.append(root.outputs[0].item())
        if self.free is not None:
            self.free.remember(found)
        self.found = found
        return comparisons, found, unchecked

    def _log(self, step: int, rate: float, comparisons: list[Comparison], start: StepStart) -> None:
        # What is equal but for a known difference, which is predicted, shows no error of the port.
        judged = [
            c for c in comparisons if c.verdict == DIFFERS or (c.verdict == EQUAL and not c.cause)
        ]
        self.report.settings.setdefault("steps", []).append(
            {
                "step": step,
                "loss": self.losses[-1],
                "lr": rate,
                "gradient_norm": norm_of(start.gradients),
                "worst": max((c.relative_error for c in judged), default=None),
                "differ": sum(c.verdict == DIFFERS for c in comparisons),
            }
        )


def _means(groups: Sequence[Sequence[str]], rates: Mapping[str, float]) -> list[float]:
    """Return the mean rate of each group of keys; a rate that is missing makes it NaN."""
    return [math.fsum(rates.get(key, math.nan) for key in keys) / len(keys) for keys in groups]
