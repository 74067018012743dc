"""A saved step on either framework: the nets with its weights, watched while it runs."""

import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from commands.replay.sighting import (
    DATA,
    NET,
    UPDATE,
    WEIGHTS,
    Sighting,
    bad_image,
    bad_weight,
)
from commands.replay.watch import Tensors, Watch
from commands.subjects.named.frameworks import parts_of
from common.errors import UserError
from common.settings.own import FRAMEWORKS
from common.settings.run import Settings
from common.training.faults.not_finite import NotFinite
from common.training.faults.saved_step import SavedStep
from common.training.feed import Seeded
from common.training.loop import step_seed


def _settings_of(step: SavedStep) -> Settings:
    try:
        return Settings.model_validate(step.settings)
    except (ValidationError, RecursionError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        what = (
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else "nested too deeply"
        )
        raise UserError(
            f"the settings of the step are none that this version reads: {what[:300]}; replay it "
            "with the version that wrote it"
        ) from None


@dataclass
class ReplayedSide:
    """What a step came to on one framework.

    first: the first value that is not finite, None where all are. first_nan: the first NaN, where
    `first` is an infinite value, which may be meant. losses: of the step, where it came to them.
    """

    framework: str
    version: str
    device: str
    first: Sighting | None
    first_nan: Sighting | None
    losses: dict[str, float]


class StepReplay:
    """A saved step, to be run on both frameworks.

    device: "cpu" or "gpu" of the framework of the run; the other one computes on the CPU. A net
    that was compiled runs as it is written: inside of a compiled one nobody sees layers and lines.
    Raises UserError where its settings name what is not there any more.
    """

    def __init__(self, step: SavedStep, device: str = "cpu") -> None:
        self.step, self.device = step, device
        settings = _settings_of(step)
        as_written = settings.train.model_copy(update={"compile": False})
        self.settings = settings.model_copy(update={"train": as_written})
        self.parts = {name: parts_of(self.settings, name) for name in FRAMEWORKS if find_spec(name)}
        if step.framework not in self.parts:
            raise UserError(
                f"the step is of a run in {step.framework}, which is not installed here"
            )
        self.side = self.parts[step.framework].side(device)
        try:
            self.side.load_state(step.state)
        except (UserError, LookupError, ValueError, TypeError, RuntimeError) as error:
            raise UserError(f"the saved step does not fit its net or optimizer: {error}") from None

    @property
    def other(self) -> str:
        """The framework that the run was not in."""
        return next(name for name in FRAMEWORKS if name != self.step.framework)

    def own_side(self) -> ReplayedSide:
        """Run the step as the run did."""
        return self._run(self.step.framework, self.side)

    def other_side(self) -> ReplayedSide:
        """Run it on the other framework, from the same weights, converted.

        Raises UserError where that is not installed, or the config names no net of it.
        """
        if self.other not in self.parts:
            raise UserError(f"{self.other} is not installed here")
        side = self.parts[self.other].side("cpu")
        into = _into_paddle if self.other == "paddle" else _into_torch
        self.side.load_state(self.step.state)  # a step that was finite has moved it
        into(self.side.net, side, self._rules())
        own = {
            key.removeprefix("criterion."): array
            for key, array in self.step.state.items()
            if key.startswith("criterion.")
        }
        if own:
            side.load_arrays(side.criterion, own)
        self.partners = self._partners(side)
        return self._run(self.other, side)

    def partner(self, port_layer: str) -> str:
        """Return the reference's name of a layer of the port; its own where none is known."""
        return getattr(self, "partners", {}).get(port_layer, port_layer)

    def _partners(self, other: Any) -> dict[str, str]:
        from align.pairing.pair_nets import pair_nets
        from align.pairing.reference_torch import LiveReference

        nets = {self.step.framework: self.side.net, self.other: other.net}
        found = pair_nets(LiveReference(nets["torch"]), nets["paddle"], self._rules())
        return dict(found.pairing.partners)

    def _rules(self) -> Any:
        return getattr(self.settings.model, "rules", None)

    def _run(self, framework: str, side: Any) -> ReplayedSide:
        tensors = tensors_of(framework)
        watch = Watch(tensors, side.net, side.criterion)
        before, losses = self._at_rest(tensors, side), dict[str, float]()
        if before is None:
            more = range(1, len(self.step.batches))
            drawn = (step_seed(self.settings.seed, self.step.iteration, number) for number in more)
            batches = Seeded(self.step.batches, side.seed, [self.step.seed, *drawn])
            with watch.watching():
                try:
                    losses = side.step(batches, self.step.lr)
                except NotFinite as found:
                    losses = found.losses
        found_all = [before] if before else watch.findings or self._after(side)
        nan = next((f for f in found_all if f.bad.nan), None)
        first = found_all[0] if found_all else None
        told = (framework, side.version, side.device)
        return ReplayedSide(*told, first, None if nan is first else nan, losses)

    def _at_rest(self, tensors: Tensors, side: Any) -> Sighting | None:
        """What is not finite before anything ran: pixels, or weights."""
        if found := bad_image([batch.image for batch in self.step.batches]):
            number, bad = found
            names = self.step.images[number] if number < len(self.step.images) else []
            name = names[bad.index[0]] if bad.index[0] < len(names) else ""
            return Sighting(DATA, NET, "", "", f"image {name}".strip(), bad, "", number)
        weights = side.read_arrays(side.net)
        held = [name for name in tensors.parameters(side.net) if name in weights]
        return _of_weight(WEIGHTS, {name: weights[name] for name in held})

    def _after(self, side: Any) -> list[Sighting]:
        """What the update made of the weights, where everything before it was finite."""
        found = _of_weight(UPDATE, side.read_arrays(side.net))
        return [found] if found else []


def tensors_of(framework: str) -> Tensors:
    """Return what watching asks of "torch" or "paddle"."""
    if framework == "torch":
        from commands.replay.tensors_torch import TorchTensors

        return TorchTensors()
    from commands.replay.tensors_paddle import PaddleTensors

    return PaddleTensors()


def _of_weight(phase: str, arrays: dict[str, np.ndarray]) -> Sighting | None:
    found = bad_weight(arrays)
    if found is None:
        return None
    layer, _, name = found[0].rpartition(".")
    return Sighting(phase, NET, layer, "", f"weight:{name}", found[1], "", 0)


def _into_paddle(torch_net: Any, side: Any, rules: Any) -> None:
    from align.pairing.fill import fill_port
    from align.pairing.reference_torch import LiveReference

    fill_port(LiveReference(torch_net), side.net, rules)


def _into_torch(paddle_net: Any, side: Any, rules: Any) -> None:
    """The way back of a conversion goes from file to file."""
    from convert.formats.pdparams import write_pdparams
    from convert.reverse import reverse_checkpoint
    from paddle_impl.train import read_arrays

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.pdparams"
        write_pdparams(read_arrays(paddle_net), path)
        made = reverse_checkpoint(path, model=paddle_net, rules=rules)
        state = {key: np.array(array) for key, array in made.state.items()}
    left = [name for name in side.net.state_dict() if name not in state]
    side.load_arrays(side.net, state, left=left)


def opened(folders: list[str]) -> None:
    """Let modules of the user's own be found where the run found them, and here."""
    import sys

    for place in (str(Path.cwd()), *folders):
        if place not in sys.path and Path(place).is_dir():
            sys.path.append(place)
