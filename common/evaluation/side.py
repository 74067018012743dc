"""What the training loop asks of a framework."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from common.data import Batch
from common.processes.group import ProcessGroup
from common.settings.run import Evaluate

Batches = Sequence[Batch]  # the micro-batches of one iteration


class Predicts(Protocol):
    """Whatever answers for images with what it predicts."""

    def predict(self, image: np.ndarray, options: Evaluate) -> np.ndarray:
        """What the net predicts for `image` float32 [N, 3, H, W] in eval mode, for its evaluator.

        Of a semantic net: classes, int64 [N, H, W].
        """
        ...


class Side(Predicts, Protocol):
    """A net, its criterion and its optimizer in one framework; arrays go in and come out."""

    framework: str  # "torch" or "paddle"
    version: str
    device: str
    weights_suffix: str  # of the framework's own weight files, with its dot
    group: ProcessGroup  # the processes of the training

    def step(self, batches: Batches, lr: float) -> dict[str, float]:
        """One update in train mode; returns the terms of the loss and their sum, "loss".

        Of several processes each has batches of its own; the update and the terms are of all.
        """
        ...

    def seed(self, seed: int) -> None:
        """Seed the framework's own generator (dropout)."""
        ...

    def parameter_count(self) -> int:
        """Number of trainable values of the net."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the next step depends on: weights, buffers, optimizer slots."""
        ...

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Put back what `state` gave; raises UserError if the names or shapes differ."""
        ...

    def save_weights(self, path: Path) -> None:
        """Write the net's weights alone, as the framework's users expect them."""
        ...
