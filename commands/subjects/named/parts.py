"""What a config names, made for one framework: rows of our tables, or the user's own callables."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from commands.subjects.named.class_weights import weighed
from commands.subjects.named.config import Own, own_of
from commands.subjects.named.own.rates import Rate, called_rate
from commands.subjects.named.own.samples import OwnAugment, open_samples
from commands.subjects.named.own.scores import (
    CountsOfClasses,
    MetricOfLogits,
    Score,
    ScoreOfClasses,
    WithScore,
)
from common.data.transforms.images import VOID
from common.evaluation.evaluator import Evaluator, build_evaluator
from common.evaluation.protocol import Ask
from common.evaluation.tasks import ask_of
from common.settings.data import OwnData
from common.settings.own import InOptimizer
from common.settings.recipe import ClassWeights
from common.settings.run import Model, Settings
from common.settings.volumes import values_of_labels
from common.training.feed import DataSets, open_data

MakeOptimizer = Callable[[list[Any]], Any]  # parameters -> optimizer


class Parts(ABC):
    """Net, criterion, optimizer, schedule, data and metric of a config, in one framework.

    A subclass is one framework; `settings` say what each part is. What the user's code raises is a
    UserError that begins with the key of the config that names it.
    """

    framework: str

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def row(self) -> Model:
        """The row of the table that the config names, where the net is not the user's own."""
        assert isinstance(self.settings.model, Model)
        return self.settings.model

    def own(self, section: str) -> Own | None:
        """Return what a section of the config names of the user's own, None where it is ours."""
        return own_of(self.settings, section, self.framework)

    @abstractmethod
    def net(self) -> Any:
        """Return the net, with its first weights."""

    @abstractmethod
    def seeded_net(self, seed: int) -> Any:
        """Return the net, with first weights that `seed` decides."""

    @abstractmethod
    def criterion(self) -> Any:
        """Return the criterion: a module, or a function of the user's."""

    @abstractmethod
    def optimizer(self, parameters: list[Any], net: Any, criterion: Any) -> Any:
        """Return an optimizer; one of the user's gets `parameters`, ours look them up."""

    @abstractmethod
    def side(self, device: str) -> Any:
        """Return what the training loop asks of a framework, with a fresh net."""

    @abstractmethod
    def side_of(self, net: Any) -> Any:
        """Return the same of a net that is there."""

    @abstractmethod
    def inference(self, net: Any) -> Any:
        """Return what runs the net in eval mode."""

    @abstractmethod
    def frozen(self, net: Any) -> Any:
        """Freeze what the config says of the net; `thaw` of what is returned undoes it."""

    @abstractmethod
    def average(self) -> Callable[[Any], Any] | None:
        """Return what makes the moving average of a net, None where the config has none."""

    @abstractmethod
    def to_tensor(self, array: np.ndarray) -> Any:
        """Return an array as a tensor of the framework."""

    @abstractmethod
    def to_tensors(self, batch: Any) -> Any:
        """Return a batch as tensors, as a training step gets it."""

    @abstractmethod
    def argmax(self, logits: np.ndarray) -> np.ndarray:
        """Return the classes of logits [N, C, H, W], by the framework's own argmax."""

    @abstractmethod
    def stepped(self, own: Own | None, make: MakeOptimizer, parameters: list[Any]) -> Rate:
        """Return the rates of the scheduler that `own` returns, or that the optimizer holds."""

    @abstractmethod
    def parameters(self, net: Any, criterion: Any) -> list[Any]:
        """Return what an optimizer of the user's gets: of the net, then of the criterion."""

    def rate(self, net: Any, criterion: Any) -> Callable[[int, int], float]:
        """Return the rate of (update, reductions of a plateau so far)."""
        own = self.own("schedule")
        held = isinstance(self.settings.schedule, InOptimizer)
        if own is None and not held:
            return self.settings.learning_rate
        if own is not None and own.key.endswith(".both"):
            of_step = called_rate(own)
        else:

            def make(parameters: list[Any]) -> Any:
                return self.optimizer(parameters, net, criterion)

            of_step = self.stepped(own, make, self.parameters(net, criterion))

        def rate(step: int, reductions: int = 0) -> float:
            return of_step(step)

        return rate

    @property
    def void(self) -> int:
        """The label of pixels that do not count."""
        data = self.settings.data
        return data.ignore_index if isinstance(data, OwnData) else VOID

    @property
    def first_rate(self) -> float:
        """What an optimizer of our own begins at."""
        base = self.settings.schedule.base_lr
        own = self.own("schedule")
        if base is None and own is not None and own.key.endswith(".both"):
            return called_rate(own)(0)
        return base or 0.0

    @property
    def loss_options(self) -> dict[str, Any]:
        """Keyword arguments of a criterion of ours; weights from the data are numbers."""
        loss = self.settings.loss
        if isinstance(loss, ClassWeights) and loss.weights is not None:
            self.settings = weighed(self.settings, self.data())
        return self.settings.loss_options

    def data(self) -> DataSets:
        """Return both splits."""
        augment = self.own("augmentation")
        transform = None if augment is None else OwnAugment(augment)
        own = self.own("data")
        if own is None:
            return open_data(self.settings, transform)
        return open_samples(own, self.settings, transform)

    def predict(self, net: Any, image: np.ndarray) -> np.ndarray:
        """Return what the net predicts for `image` float32 [N, 3, H, W], as the config evaluates.

        Of semantic nets classes, of panoptic ones ids of segments, int64 [N, H, W]; of volumes
        classes or masks, see `AskVolume`.
        """
        return self.ask(self.inference(net), image, self.settings.evaluate)

    @property
    def ask(self) -> Ask:
        """How a net is asked for the prediction of its task."""
        return ask_of(self.settings)

    def metric(self, of_classes: bool = False) -> MetricOfLogits:
        """Return the metric of (logits, label), or of (classes, label)."""
        own, argmax = self.own("metric"), np.asarray if of_classes else self.argmax
        if own is None:
            return CountsOfClasses(values_of_labels(self.settings), self.void, argmax)
        return ScoreOfClasses(self._score(own), argmax)

    def evaluator(self, data: DataSets) -> Evaluator:
        """Return what scores a validation: of the net's task, and the user's metric."""
        ours = build_evaluator(self.settings, data.class_names, data.ignore_index)
        own = self.own("metric")
        return ours if own is None else WithScore(ours, self._score(own))

    def _score(self, own: Own) -> Score:
        return Score(own, np.asarray if own.key.endswith(".both") else self.to_tensor)
