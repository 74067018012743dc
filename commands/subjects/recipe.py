"""The rungs of a config's recipe: its data, loss, metric, optimizer and schedule on both sides."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from align.report.report import Report
from align.rungs.backward import align_backward
from align.rungs.data import align_data
from align.rungs.forward import align_forward
from align.rungs.init import align_init
from align.rungs.loss import align_loss
from align.rungs.metric import align_metric
from align.rungs.training.rung import align_step, align_training
from align.rungs.weights import align_weights
from commands.subjects.inputs import seeded_input
from common.settings.load import load_settings
from common.settings.run import Settings

BATCHES, FEW_BATCHES = 5, 2  # that the data rung compares


class Recipe:
    """What a config says, for both frameworks.

    Args:
        config, overrides: as the training commands take them.
        fast: fewer batches of data.

    The data rung runs on the config's own batches, the others on crops and batches of
    `reproduce.input_shape`, in float64. Raises ConfigError and DataError.
    """

    def __init__(self, config: Path, overrides: tuple[str, ...] = (), fast: bool = False) -> None:
        self.fast = fast
        self.settings = load_settings(config, overrides)
        self.small = self.settings.resized(self.settings.reproduce.input_shape)

    def align_weights(self, torch_net: Any, paddle_net: Any) -> Report:
        """The weights that both nets hold."""
        return align_weights(torch_net, paddle_net)

    def align_forward(self, torch_net: Any, paddle_net: Any, train: bool) -> Report:
        """The forward pass of a seeded input of `reproduce.input_shape`."""
        return align_forward(torch_net, paddle_net, self._inputs(), train=train)

    def align_backward(self, torch_net: Any, paddle_net: Any) -> Report:
        """The backward pass of the same input, from random cotangents of the outputs."""
        return align_backward(torch_net, paddle_net, self._inputs())

    def align_data(self) -> Report:
        """The reference's batches, read between the steps, against the port's, read ahead."""
        return align_data(*self.loaders(), self.data_batches)

    def loaders(self) -> tuple[Iterator[Any], Iterator[Any]]:
        """Return both sides' batches, from the first on."""
        from paddle_impl.train import to_tensors as to_paddle
        from torch_ref.train import to_tensors as to_torch

        theirs = (to_torch(batch) for batch in _batches(self.settings, workers=0))
        ours = (to_paddle(batch) for batch in _batches(self.settings, workers=2))
        return theirs, ours

    @property
    def data_batches(self) -> int:
        """Batches that the data rung compares."""
        return FEW_BATCHES if self.fast else BATCHES

    def align_init(self) -> Report:
        """Distributions of freshly built nets."""
        import paddle_impl
        import torch_ref

        model, seeds = self.settings.model, max(2, self.settings.reproduce.seeds)
        return align_init(
            lambda: torch_ref.build_model(model.name, **model.overrides),
            lambda: paddle_impl.build_model(model.name, **model.overrides),
            seeds=seeds,
        )

    def align_loss(self, torch_net: Any) -> Report:
        """The criterion on the reference's outputs in train mode."""
        from commands.subjects.run_torch import outputs_in_train_mode

        batch = next(_batches(self.small, workers=0))
        outputs = outputs_in_train_mode(torch_net, batch.image)
        return align_loss(*self._losses(), [outputs, batch.label])

    def align_metric(self, torch_net: Any) -> Report:
        """Exact counts of both sides' argmax of the reference's logits.

        `settings["scores"]` has what they come to: pixel accuracy, and mIoU of what occurs.
        """
        from commands.subjects.run_paddle import CountsOfPaddle
        from commands.subjects.run_torch import CountsOfTorch, outputs_in_train_mode, resized

        batches = list(islice(_batches(self.small, workers=0), 2))
        pairs = [
            (resized(_main(outputs_in_train_mode(torch_net, b.image)), b.label.shape[1:]), b.label)
            for b in batches
        ]
        classes = self.settings.model.num_classes
        theirs, ours = CountsOfTorch(classes), CountsOfPaddle(classes)
        report = align_metric(theirs, ours, pairs)
        report.settings["scores"] = {
            side: {"pixel_accuracy": counts.pixel_accuracy(), "mIoU": counts.mean_iou("skip")}
            for side, counts in (("reference", theirs), ("port", ours))
        }
        return report

    def align_step(self, torch_net: Any, paddle_net: Any) -> Report:
        """One forced training step."""
        batch = next(_batches(self.small, workers=0))
        losses = self._losses()
        theirs, ours = self._optimizers(torch_net, paddle_net, losses)
        return align_step(torch_net, paddle_net, tuple(batch), *losses, theirs, ours)

    def align_training(self, torch_net: Any, paddle_net: Any, steps: int | None = None) -> Report:
        """`steps` forced training steps (default: `reproduce.training_steps`)."""
        count = steps or self.settings.reproduce.training_steps
        batches = [tuple(batch) for batch in islice(_batches(self.small, workers=0), count)]
        return self._align_steps(torch_net, paddle_net, batches)

    def align_rounds(self, torch_net: Any, paddle_net: Any, rounds: int) -> Report:
        """`rounds` forced training steps on one batch, as the guide's step 8 has it."""
        batch = tuple(next(_batches(self.small, workers=0)))
        return self._align_steps(torch_net, paddle_net, [batch] * rounds)

    def _align_steps(self, torch_net: Any, paddle_net: Any, batches: list[Any]) -> Report:
        losses = self._losses()
        theirs, ours = self._optimizers(torch_net, paddle_net, losses)
        rate = self.small.learning_rate
        return align_training(torch_net, paddle_net, batches, *losses, theirs, ours, rate, rate)

    def small_batches(self) -> Iterator[Any]:
        """Yield the batches that the rungs run on: crops of `reproduce.input_shape`."""
        return _batches(self.small, workers=0)

    def _inputs(self) -> list[np.ndarray]:
        shape = tuple(self.settings.reproduce.input_shape)
        return [seeded_input(shape, self.settings.seed)]

    def _losses(self) -> tuple[Any, Any]:
        from paddle_impl import losses as paddle_losses
        from torch_ref import losses as torch_losses

        name, options = self.small.loss.name, self.small.loss_options
        return torch_losses.LOSSES[name](**options), paddle_losses.LOSSES[name](**options)

    def _optimizers(
        self, torch_net: Any, paddle_net: Any, losses: tuple[Any, Any]
    ) -> tuple[Any, Any]:
        from paddle_impl.optim import build_optimizer as paddle_optimizer
        from torch_ref.optim import build_optimizer as torch_optimizer

        settings = self.small.optimizer
        name, options = settings.name, settings.options
        base_lr = self.small.schedule.base_lr
        return (
            lambda _: torch_optimizer(name, torch_net, losses[0], base_lr=base_lr, **options),
            lambda _: paddle_optimizer(name, paddle_net, losses[1], base_lr=base_lr, **options),
        )


def _batches(settings: Settings, workers: int) -> Iterator[Any]:
    from common.training.feed import open_data, training_batches

    data = settings.data.model_copy(update={"workers": workers})
    settings = settings.model_copy(update={"data": data})
    for group in training_batches(open_data(settings).train, settings):
        yield from group


def _main(outputs: Any) -> np.ndarray:
    """Return the main logits of what a net returns."""
    from align.arrays.trees import leaves

    logits: np.ndarray = outputs["out"] if isinstance(outputs, dict) else leaves(outputs)[0]
    return logits
