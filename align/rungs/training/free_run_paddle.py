"""The port trained alone: shown beside the forced steps, not judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from align.arrays.arrays_paddle import is_tensor, to_tensor
from align.arrays.batch import NetBatch
from align.arrays.trees import leaves, map_leaves
from align.force.call_order import PortOrder
from align.force.pass_paddle import Pass, draws_only, run_with_draws
from align.judge.words import Words
from align.pairing.sides import Sides
from align.record.trace import Trace
from align.rungs.training import optimizers_paddle
from align.rungs.training.port_side_paddle import PortSide
from align.rungs.training.step_start import ScheduleFunction
from align.trial.findings import Findings
from common.places import told


@dataclass(frozen=True)
class FreeStep:
    """One step of the free run: the port's loss, and its rate of each parameter by key."""

    loss: float
    rates: Mapping[str, float]


class FreeRun:
    """Steps of the port from the weights that it holds now; it draws what the reference drew.

    `held`: the optimizer's own scheduler is stepped.
    """

    def __init__(
        self,
        sides: Sides,
        port: PortSide,
        schedule: ScheduleFunction | None,
        held: bool,
    ) -> None:
        self.sides, self.port, self.schedule, self.held = sides, port, schedule, held
        self.start = {key: port.values(key) for key in port.held}
        self.draws: list[tuple[Trace, PortOrder]] = []

    def remember(self, found: Findings) -> None:
        """Keep what a forced step drew."""
        self.draws.append((draws_only(found.whole or found.trace), found.port_order))

    def run(self, batches: Sequence[NetBatch], notes: list[Any]) -> list[FreeStep]:
        """Return every step that the port came through; `notes` is told where it fails."""
        self.sides.port.leaves_out_loss = False
        self.port.set_tensors(self.start)
        optimizer = self.port.new_optimizer()
        scheduler = optimizers_paddle.HeldScheduler(optimizer)
        steps: list[FreeStep] = []
        for step, batch in enumerate(batches):
            args = map_leaves(batch.whole.args, to_tensor)
            self.port.forget()
            try:
                trace, order = self.draws[step]
                given = Pass(self.sides, trace, self.sides.pairing, order)
                returned = run_with_draws(given, args)
                (loss,) = filter(is_tensor, leaves(returned))
                if self.schedule is not None:
                    optimizers_paddle.set_rate(optimizer, self.schedule(step))
                loss.backward()
                value = float(loss)
            except Exception as error:  # which a step has found, and said where
                notes.append(Words("free_run_fails", step=step, words=told(error)))
                break
            rate = optimizers_paddle.rate(optimizer)
            rates = {key: rate * self.port.multiplier(key) for key in self.port.rates()}
            optimizer.step()
            optimizer.clear_grad()
            value = float(loss.numpy().reshape(-1)[0])  # some losses are [1]
            if self.held:
                scheduler.step(value)
            steps.append(FreeStep(value, rates))
        return steps
