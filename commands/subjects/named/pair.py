"""The two nets of a config, with the same weights: a row of the table, or the user's own."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align.pairing.fill import load_state
from commands.subjects.misfits import NextStep, misfits_advised, of_config
from commands.subjects.named.config import latest_config
from commands.subjects.named.parts import Parts
from common.settings.own import OwnModel
from common.settings.run import Settings

if TYPE_CHECKING:
    from convert import Conversion

_Nets = tuple[Any, Any, str]  # torch net, Paddle net, name


class NetPair(ABC):
    """What a config calls `model`, on both sides.

    Attributes:
        name: what reports call it.
        rules: a rules file of nets of the user's own; rows bring theirs.
    """

    name: str
    rules: str | None = None

    @abstractmethod
    def nets(self, weights: str | None, seed: int) -> _Nets:
        """Return both nets with the same weights: of a checkpoint of PyTorch, or from `seed`."""

    @abstractmethod
    def checkpoint(self, path: Path, seed: int) -> Path:
        """Return the config's checkpoint of the reference, or one of seeded weights at `path`."""

    @abstractmethod
    def convert(self, checkpoint: Path, output: Path) -> "Conversion":
        """Convert a checkpoint of the reference into the port's file; see `convert_checkpoint`."""

    @abstractmethod
    def with_converted(self, checkpoint: Path, state: dict[str, Any]) -> tuple[Any, Any]:
        """Return the reference with `checkpoint`, and the port with what was made of it."""

    def notes(self, torch_net: Any, paddle_net: Any) -> list[str]:
        """Return what reports say of the two."""
        return []


class RowPair(NetPair):
    """A row of the table."""

    def __init__(self, settings: Settings, parts: tuple[Parts, Parts]) -> None:
        self.model, self.name = parts[0].row, settings.model.name

    def nets(self, weights: str | None, seed: int) -> _Nets:
        """Return both nets."""
        from commands.subjects.rows import pair_with_weights, seeded_pair

        if weights:
            return pair_with_weights(weights, self.name, self.model.overrides)
        return *seeded_pair(self.name, seed, **self.model.overrides), self.name

    def checkpoint(self, path: Path, seed: int) -> Path:
        """Write seeded weights as the authors' files are."""
        from commands.subjects.run_torch import write_seeded_checkpoint

        write_seeded_checkpoint(path, self.name, seed, **self.model.overrides)
        return path

    def convert(self, checkpoint: Path, output: Path) -> "Conversion":
        """Convert and verify, where the row is as wide as its authors' files."""
        import paddle_impl
        from convert import convert_checkpoint

        model = self.model
        if model.narrow:  # no row has such a checkpoint; the rungs of alignment verify it
            net = paddle_impl.build_model(model.name, **model.overrides)
            return convert_checkpoint(str(checkpoint), output, net)
        classes = model.net_classes
        return convert_checkpoint(
            str(checkpoint), output, model.name, verify=True, num_classes=classes
        )

    def with_converted(self, checkpoint: Path, state: dict[str, Any]) -> tuple[Any, Any]:
        """Return both nets."""
        from commands.subjects.rows import pair_with_weights

        model = self.model
        torch_net, paddle_net, _ = pair_with_weights(
            str(checkpoint), model.name, model.overrides, known=not model.narrow
        )
        load_state(paddle_net, state)
        return torch_net, paddle_net


class OwnPair(NetPair):
    """Nets of the user's own; their checkpoint is `weights.path`, where it is set."""

    def __init__(self, settings: Settings, parts: tuple[Parts, Parts]) -> None:
        assert isinstance(settings.model, OwnModel)
        self.settings, self.parts = settings, parts
        self.name, self.rules = settings.model.name, settings.model.rules
        self.what = f"model.torch {settings.model.torch}"

    def nets(self, weights: str | None, seed: int) -> _Nets:
        """Return both nets; without a checkpoint with the reference's first weights."""
        from commands.subjects.own import filled_pair

        given, key = weights or self.settings.weights.path, self.settings.weights.key
        theirs, ours = (part.seeded_net(seed) for part in self.parts)
        with misfits_advised(self.next_step()):
            filled_pair(theirs, ours, given, self.rules, self.what, key)
        return theirs, ours, self.name

    def checkpoint(self, path: Path, seed: int) -> Path:
        """Return `weights.path`, or write the reference's first weights."""
        from commands.subjects.run_torch import write_checkpoint

        if given := self.settings.weights.path:
            return Path(given)
        write_checkpoint(path, self.parts[0].seeded_net(seed))
        return path

    def convert(self, checkpoint: Path, output: Path) -> "Conversion":
        """Convert into the port. How matrices lie, both nets say, where torch is installed."""
        from convert import convert_checkpoint

        port = self.parts[1].net()
        key = self.settings.weights.key if str(checkpoint) == self.settings.weights.path else None
        rules = self.rules_for(port)
        with misfits_advised(self.next_step()):
            return convert_checkpoint(str(checkpoint), output, port, rules, key=key)

    def next_step(self) -> NextStep:
        """Return what is typed where weights do not fit."""
        return of_config(latest_config(), self.name, self.rules)

    def rules_for(self, port: Any) -> Any:
        """Return the rules with how matrices lie, which the two nets say where torch is there."""
        from importlib.util import find_spec

        from convert.names.rules import load_rules

        reference = self.settings.model.torch  # type: ignore[union-attr]  # an own net's section
        if find_spec("torch") is None or not reference:
            return self.rules
        from align.pairing.layouts.settle import settled
        from align.pairing.reference_torch import LiveReference

        read = None if self.rules is None else load_rules(self.rules)
        return settled(LiveReference(self.parts[0].net()), port, read).rules

    def with_converted(self, checkpoint: Path, state: dict[str, Any]) -> tuple[Any, Any]:
        """Return both nets."""
        from commands.subjects.own import fill_reference

        theirs, ours = (part.seeded_net(self.settings.seed) for part in self.parts)
        key = self.settings.weights.key if str(checkpoint) == self.settings.weights.path else None
        fill_reference(theirs, str(checkpoint), self.what, key)
        load_state(ours, state, self.rules)
        return theirs, ours

    def notes(self, torch_net: Any, paddle_net: Any) -> list[str]:
        """Say which layers have no partner, and how matrices were taken."""
        from align.pairing.reference_torch import LiveReference
        from commands.subjects.own import without_partner

        return without_partner(LiveReference(torch_net), paddle_net, self.rules)


def pair_of(settings: Settings, parts: tuple[Parts, Parts]) -> NetPair:
    """Return the nets of a config; `parts` are those of torch and of Paddle."""
    return (OwnPair if isinstance(settings.model, OwnModel) else RowPair)(settings, parts)
