"""What an engine is: a model that is ready to run, whoever computes it."""

from abc import ABC, abstractmethod

import numpy as np

from common.errors import UserError
from export.deployment import Deployment


class Engine(ABC):
    """A model that is ready to run.

    Attributes:
        name: "paddle" or "onnxruntime".
        deployment: what `deploy.yaml` says; None where a model stands alone.
    """

    name: str

    def __init__(self, deployment: Deployment | None, input_shape: list[int]) -> None:
        self.deployment = deployment
        self.input_shape = input_shape  # [N, 3, H, W], -1 where free

    def run(self, images: np.ndarray) -> np.ndarray:
        """Return logits or probabilities float32 [N, C, H, W], or classes int64 [N, H, W].

        images: float32 [N, 3, H, W], normalised as `deployment` says. N may be any: a model of a
        fixed batch runs several times. Raises UserError for a size that the model does not take.
        """
        images = np.ascontiguousarray(images, np.float32)
        self._check(images)
        batch = self.input_shape[0]
        if batch in (-1, len(images)):
            return self._run(images)
        parts = [self._part(images[at : at + batch]) for at in range(0, len(images), batch)]
        return np.concatenate(parts)

    def _part(self, images: np.ndarray) -> np.ndarray:
        missing = self.input_shape[0] - len(images)
        if not missing:
            return self._run(images)
        filled = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
        return self._run(filled)[: len(images)]

    def _check(self, images: np.ndarray) -> None:
        given, taken = list(images.shape), self.input_shape
        fits = len(given) == 4 and all(
            wanted in (-1, got) for wanted, got in zip(taken[1:], given[1:], strict=True)
        )
        if not fits:
            shown = ", ".join("any" if size == -1 else str(size) for size in taken)
            raise UserError(
                f"this model takes images of shape [{shown}], got {given}: resize or cut them, or "
                "export the net for that size (tools/export.py --size HEIGHT WIDTH)"
            )

    @abstractmethod
    def _run(self, images: np.ndarray) -> np.ndarray:
        """Run images that fit."""
