"""What is exported: the net of a config, filled with the weights of a file."""

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from commands.subjects.named.frameworks import parts_of
from commands.subjects.named.weights import load_weights
from common.errors import UserError
from common.files import sha256_of
from common.places import where_written
from common.settings.data import INSTANCES
from common.settings.run import SEMANTIC, Settings
from common.settings.volumes import VOLUMETRIC
from export.deployment import Deployment
from paddle_impl.models.pspnet import PSPNet
from paddle_impl.train import load_arrays, read_arrays

DEFAULT_HW = (512, 1024)  # pixels


@dataclass(frozen=True)
class Subject:
    """A trained net.

    Attributes:
        settings: the config.
        arrays: its weights by Paddle's names; None: those that `seed` makes.
        sha256: of the file of weights.
        identity: what else decides what it computes: options, and the code of a net of the user's.
        size_step: heights and widths that it takes: (8, 1) means of the form 8k + 1.
    """

    settings: Settings
    arrays: Mapping[str, np.ndarray] | None
    sha256: str | None
    identity: str
    size_step: tuple[int, int]

    def build(self, dtype: str = "float32") -> nn.Layer:
        """Return the net in `dtype`, with its weights, in eval mode."""
        paddle.set_default_dtype(dtype)
        try:
            net = parts_of(self.settings, "paddle").seeded_net(self.settings.seed)
        finally:
            paddle.set_default_dtype("float32")
        if self.arrays is not None:
            load_arrays(net, self.arrays)
        net.eval()
        return net

    def deployment(self, **given: Any) -> Deployment:
        """Return how it is fed and what it returns; `given` replace fields."""
        settings = self.settings
        normalisation: Any = settings.data.normalisation  # of images: others are refused
        classes = settings.classes()
        colors = classes.colors[: len(classes)].tolist()
        fields: dict[str, Any] = {
            "net": settings.name,
            "model": "model.json",
            "params": "model.pdiparams",
            "weights_sha256": self.sha256,
            "size_step": self.size_step,
            "channels": normalisation.channels,
            "pixel_range": normalisation.pixel_range,
            "mean": normalisation.mean,
            "std": normalisation.std,
            "align_corners": settings.evaluate.align_corners,
            "class_names": classes.names,
            "colors": tuple(map(tuple, colors)),
        }
        return Deployment(**fields | given)


def subject_of(settings: Settings, weights: str | Path | None) -> Subject:
    """Return the net of a config with the weights of a file; None: with seeded ones.

    A .pth is converted on the way. Raises UserError, ConversionError where the file does not fit.
    """
    if settings.model.task == INSTANCES:
        raise UserError(
            f"{settings.model.name} is a net of instances: how many objects it finds differs from "
            "image to image, and what chooses them (thresholds, NMS) is no graph of fixed shapes "
            "that an exported file could hold. evaluate and predict run it as layers"
        )
    if settings.model.task == VOLUMETRIC:
        raise UserError(
            f"{settings.model.name} is a net of volumes, which is not exported: paddle2onnx takes "
            "GroupNorm of four dimensions alone, and oneDNN in Paddle Inference no nearest resize "
            "of five. evaluate and predict run it as layers"
        )
    if settings.model.task != SEMANTIC:
        raise UserError(
            f"{settings.model.name} is a net of {settings.model.task} segmentation, which returns "
            "maps of several kinds; what is exported and compared here are nets that return logits "
            "of classes. evaluate and predict run it as layers"
        )
    identity = json.dumps(settings.model.model_dump(mode="json"), sort_keys=True)
    identity += _code_of(settings)
    parts = parts_of(settings, "paddle")
    net = parts.net()
    step = (8, 1) if isinstance(net, PSPNet) and net.align_corners else (1, 0)
    if weights is None:
        return Subject(settings, None, f"seed {settings.seed}", identity, step)
    path = Path(weights)
    if not path.is_file():
        raise UserError(f"{path}: no such file; --weights names a .pdparams or a .pth")
    load_weights(parts, net, path)
    arrays = read_arrays(net)
    return Subject(settings, arrays, sha256_of(path), identity, step)


def _code_of(settings: Settings) -> str:
    """Return the checksum of the user's file that defines the net, "" for a row of the table."""
    own = parts_of(settings, "paddle").own("model")
    if own is None:
        return ""
    source = where_written(inspect.unwrap(own.found))
    return hashlib.sha256(Path(source.file).read_bytes()).hexdigest() if source else ""


def default_size(settings: Settings, step: tuple[int, int]) -> tuple[int, int]:
    """Return height and width to export for where none are given: the crop of the training."""
    height, width = settings.data.crop_hw or DEFAULT_HW
    return _within(height, step), _within(width, step)


def _within(length: int, step: tuple[int, int]) -> int:
    """Return the largest length up to `length` that a net of this step takes."""
    multiple, plus = step
    return max((length - plus) // multiple, 1 if multiple > 1 else 0) * multiple + plus
