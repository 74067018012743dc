"""The rungs of a config's recipe: its data, loss, metric, optimizer and schedule on both sides."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from align.judge.words import Words
from align.report.report import Report
from align.rungs.backward import align_backward
from align.rungs.data import align_data
from align.rungs.forward import align_forward
from align.rungs.init import align_init
from align.rungs.loss import align_loss
from align.rungs.metric.rung import align_metric
from align.rungs.training.rung import align_step, align_training
from align.rungs.weights import align_weights
from commands.subjects.inputs import seeded_input
from commands.subjects.named.config import read_config
from commands.subjects.named.frameworks import both_parts
from commands.subjects.named.own.rates import Rate
from commands.subjects.named.pair import NetPair, pair_of
from commands.subjects.named.parts import MakeOptimizer, Parts
from commands.subjects.named.with_source import WithSource, point_at
from common.data.batch import Batch, as_given
from common.errors import UserError
from common.evaluation.volumetric import as_of_classes
from common.instances.teach import objects_by_image, sizes_of_images
from common.panoptic.makers import semantic_logits
from common.settings.data import INSTANCES
from common.settings.own import InOptimizer, OwnMetric, OwnSchedule
from common.settings.panoptic import LABEL
from common.settings.run import SEMANTIC
from common.settings.volumes import VOLUME, values_of_labels
from common.training.net_side import main_logits

BATCHES, FEW_BATCHES = 5, 2  # that the data rung compares
OBJECTS, OBJECTS_HAVE = "objects", {"boxes", "size"}  # a target, and what it alone has


class Recipe:
    """What a config says, for both frameworks.

    Args:
        config, overrides: as the training commands take them.
        fast: fewer batches of data.

    The data rung runs on the config's own batches, the others on crops and batches of
    `reproduce.input_shape`, in float64. Raises ConfigError and DataError.
    """

    def __init__(self, config: Path, overrides: tuple[str, ...] = (), fast: bool = False) -> None:
        self.config, self.fast = config, fast
        self.settings = read_config(config, overrides)
        self.small = self.settings.resized(self.settings.reproduce.input_shape)

    @cached_property
    def parts(self) -> tuple[Parts, Parts]:
        """What the config names, in torch and in Paddle; crops and batches are small."""
        return both_parts(self.small)

    @cached_property
    def whole_parts(self) -> tuple[Parts, Parts]:
        """The same, of the config's own sizes."""
        return both_parts(self.settings)

    @cached_property
    def pair(self) -> NetPair:
        """The two nets."""
        return pair_of(self.settings, self.parts)

    def align_weights(self, torch_net: Any, paddle_net: Any) -> Report:
        """The weights that both nets hold."""
        return align_weights(torch_net, paddle_net, rules=self.pair.rules)

    def align_forward(self, torch_net: Any, paddle_net: Any, train: bool) -> Report:
        """The forward pass of a seeded input of `reproduce.input_shape`."""
        given = self.inputs(train)
        return align_forward(torch_net, paddle_net, given, train=train, rules=self.pair.rules)

    def align_backward(self, torch_net: Any, paddle_net: Any) -> Report:
        """The backward pass of the same input, from random cotangents of the outputs."""
        return align_backward(torch_net, paddle_net, self.inputs(True), rules=self.pair.rules)

    def align_data(self) -> Report:
        """The reference's batches, read between the steps, against the port's, read ahead."""
        plain = self.settings.target.name in (LABEL, VOLUME)
        names = ("image", "label" if plain else "target")
        return align_data(*self.loaders(), self.data_batches, names)

    def loaders(self) -> tuple[Iterator[Any], Iterator[Any]]:
        """Return both sides' batches, from the first on."""
        theirs, ours = self.whole_parts
        ahead = self.settings.data.workers if theirs.own("data") else 2
        return (
            (theirs.to_tensors(batch) for batch in _batches(theirs, workers=0)),
            (ours.to_tensors(batch) for batch in _batches(ours, workers=ahead)),
        )

    @property
    def data_batches(self) -> int:
        """Batches that the data rung compares."""
        return FEW_BATCHES if self.fast else BATCHES

    def align_init(self) -> Report:
        """Distributions of freshly built nets."""
        theirs, ours = self.parts
        given = self.settings.reproduce.seeds
        seeds = given if given > 1 else None  # by the size of the net
        return align_init(theirs.net, ours.net, seeds=seeds, rules=self.pair.rules)

    def align_loss(self, torch_net: Any) -> Report:
        """The criterion on the reference's outputs in train mode."""
        from commands.subjects.run_torch import outputs_in_train_mode

        *inputs, target = as_taught(next(self.small_batches()))
        report = align_loss(*self._losses(), [outputs_in_train_mode(torch_net, *inputs), target])
        void = self.parts[1].void
        own_label = self.parts[1].own("loss") and isinstance(target, np.ndarray)
        if own_label and not (target == void).any():
            report.notes.append(Words("labels_without_void", void=void))
        return report

    def align_metric(self, torch_net: Any) -> Report:
        """Exact counts of both sides' argmax of the reference's logits, and of made ones.

        `settings["scores"]` has what they come to: pixel accuracy, and mIoU of what occurs.
        """
        from commands.subjects.run_torch import outputs_in_train_mode

        if not self.counts_classes:
            raise UserError(
                "could not check: a net of instances has no class of every pixel to count; its AP "
                "is one code for both sides, pycocotools', and evaluate.py says it of either net"
            )
        batches = list(islice(self.small_batches(), 2))
        outputs = [outputs_in_train_mode(torch_net, batch.image) for batch in batches]
        pairs = [
            self._scored(found, batch.semantic)
            for found, batch in zip(outputs, batches, strict=True)
        ]
        void = self._void_of_metric(batches)
        theirs, ours = (side.metric() for side in self.parts)
        report = align_metric(
            theirs,
            ours,
            pairs,
            num_classes=values_of_labels(self.settings),
            ignore_index=void,
            anew=(self.parts[0].metric, self.parts[1].metric),
        )
        if void is None:
            report.notes.append(Words("metric_no_void"))
        sides = (("reference", theirs), ("port", ours))
        report.settings["scores"] = {side: metric.scores() for side, metric in sides}
        return point_at(report, [side.own("metric") for side in self.parts])

    @property
    def is_exported(self) -> bool:
        """Whether such nets are exported: those that return logits of classes of an image."""
        return self.settings.model.task == SEMANTIC

    @property
    def counts_classes(self) -> bool:
        """Whether the net has a class for every pixel, which the metric rung counts."""
        return self.settings.model.task != INSTANCES

    def _scored(self, outputs: Any, label: np.ndarray) -> tuple[Any, Any]:
        """Return the logits of classes among what a net returns, at the label's size, and that."""
        from commands.subjects.run_torch import resized

        taught = self.settings.target.name
        if taught == VOLUME:
            return as_of_classes(main_logits(outputs), label)
        found = main_logits(outputs) if taught == LABEL else semantic_logits(taught, outputs)
        return resized(found, label.shape[1:]), label

    def _void_of_metric(self, batches: list[Any]) -> int | None:
        """Return the label that does not count, None where the config says that none has it.

        Raises UserError where a label of `batches` has it all the same.
        """
        metric, void = self.settings.metric, self.parts[1].void
        if not isinstance(metric, OwnMetric) or metric.void:
            return void
        for number, batch in enumerate(batches):
            if count := int((batch.semantic == void).sum()):
                raise UserError(
                    f"metric.void is false, but {count} pixels of batch {number} are "
                    f"{void}, which does not count (data.ignore_index; crops of smaller images are "
                    "filled with it): take metric.void out of the config"
                )
        return None

    def align_step(self, torch_net: Any, paddle_net: Any) -> Report:
        """One forced training step."""
        batch, losses = as_taught(next(self.small_batches())), self._losses()
        makers = self._optimizers(torch_net, paddle_net, losses)
        options: dict[str, Any] = {"rules": self.pair.rules, **self._averages()}
        with self._frozen(torch_net, paddle_net):
            return align_step(torch_net, paddle_net, batch, *losses, *makers, **options)

    def align_training(self, torch_net: Any, paddle_net: Any, steps: int | None = None) -> Report:
        """`steps` forced training steps (default: `reproduce.training_steps`)."""
        count = steps or self.settings.reproduce.training_steps
        batches = [as_taught(batch) for batch in islice(self.small_batches(), count)]
        return self._align_steps(torch_net, paddle_net, batches)

    def align_rounds(self, torch_net: Any, paddle_net: Any, rounds: int) -> Report:
        """`rounds` forced training steps on one batch, as the guide's step 8 has it."""
        batch = as_taught(next(self.small_batches()))
        return self._align_steps(torch_net, paddle_net, [batch] * rounds)

    def _align_steps(self, torch_net: Any, paddle_net: Any, batches: list[Any]) -> Report:
        losses = self._losses()
        makers = self._optimizers(torch_net, paddle_net, losses)
        rates = self._schedules(torch_net, paddle_net, losses)
        options: dict[str, Any] = {"rules": self.pair.rules, "iterations": self._iterations}
        options |= self._averages()
        with self._frozen(torch_net, paddle_net):
            return align_training(
                torch_net, paddle_net, batches, *losses, *makers, *rates, **options
            )

    @contextmanager
    def _frozen(self, torch_net: Any, paddle_net: Any) -> Iterator[None]:
        """Let both nets be as the training freezes them; other rungs see all of them."""
        nets = torch_net, paddle_net
        for net in nets:  # a layer in eval mode inside of a net in train mode stays so
            if self.settings.freeze.statistics and not net.training:
                net.train()
        frozen = [part.frozen(net) for part, net in zip(self.parts, nets, strict=True)]
        try:
            yield
        finally:
            for each in frozen:
                each.thaw()

    @property
    def _iterations(self) -> int:
        """Steps over which two schedules of the user's own are compared; of others there is one."""
        schedule = self.settings.schedule
        two = isinstance(schedule, OwnSchedule) and not schedule.both
        return self.settings.train.iterations if two else 0

    def small_batches(self) -> Iterator[Any]:
        """Yield the batches that the rungs run on: crops of `reproduce.input_shape`."""
        return _batches(self.parts[0], workers=0)

    @property
    def takes_objects(self) -> bool:
        """Tell whether the net takes its targets, and returns its losses, in train mode."""
        return self.settings.target.name == OBJECTS

    def inputs(self, train: bool = False) -> list[Any]:
        """Return a seeded input of `reproduce.input_shape`.

        A net whose losses are its own gets a batch of the data in train mode, with its objects.
        """
        if train and self.takes_objects:
            *inputs, _ = as_taught(next(self.small_batches()))
            return inputs
        shape = tuple(self.settings.reproduce.input_shape)
        return [seeded_input(shape, self.settings.seed)]

    def _losses(self) -> tuple[Any, Any]:
        theirs, ours = self.parts
        return theirs.criterion(), ours.criterion()

    def _optimizers(
        self, torch_net: Any, paddle_net: Any, losses: tuple[Any, Any]
    ) -> tuple[MakeOptimizer, MakeOptimizer]:
        theirs, ours = self.parts
        return (
            self._written(lambda p: theirs.optimizer(p, torch_net, losses[0]), "optimizer", theirs),
            self._written(lambda p: ours.optimizer(p, paddle_net, losses[1]), "optimizer", ours),
        )

    def _averages(self) -> dict[str, WithSource]:
        """Return what makes both moving averages, as the rungs take it; nothing without them."""
        return {
            f"{part.framework}_average": WithSource(make, None, self.config, "train.ema")
            for part in self.parts
            if (make := part.average())
        }

    def _written(self, function: Callable[..., Any], section: str, parts: Parts) -> WithSource:
        return WithSource(function, parts.own(section), self.config, section)

    def _schedules(
        self, torch_net: Any, paddle_net: Any, losses: tuple[Any, Any]
    ) -> tuple[Rate | None, Rate | None]:
        """Return the rates of each side by step; None where the optimizers hold schedulers."""
        if isinstance(self.settings.schedule, InOptimizer):
            return None, None
        pairs = zip(self.parts, (torch_net, paddle_net), losses, strict=True)
        theirs, ours = (
            self._written(part.rate(net, loss), "schedule", part) for part, net, loss in pairs
        )
        return theirs, ours


def as_taught(batch: Batch) -> tuple[Any, ...]:
    """Return image and target as a step gets them: without lists, in which images differ.

    Of a net whose losses are its own the images and objects that it is called with, and labels.
    """
    target = as_given(batch.target, lambda array: array)
    if isinstance(target, dict) and set(target) >= OBJECTS_HAVE:
        sizes = sizes_of_images(target)
        images = [x[:, :h, :w] for x, (h, w) in zip(batch.image, sizes, strict=True)]
        return images, objects_by_image(target), target["labels"]
    return batch.image, target


def _batches(parts: Parts, workers: int) -> Iterator[Any]:
    from common.training.feed import training_batches

    data = parts.settings.data.model_copy(update={"workers": workers})
    settings = parts.settings.model_copy(update={"data": data})
    for group in training_batches(parts.data().train, settings):
        yield from group
