"""Faults of data pipelines, metrics and initialisation."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from paddle import nn
from PIL import Image
from torch import nn as tnn

from common.metrics import ConfusionMatrix
from tests.faults.core import Fault, Subject, fault, setting

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
IDS = np.array([3, 1, 0, 2, 255], np.int64)  # what each raw label means


def frames() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give raw frames: image uint8 [H, W, 3], label uint8 [H, W] with ids 0 to 4."""
    rng = np.random.default_rng(9)
    for _ in range(4):
        small = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        image = np.asarray(small.resize((28, 20), Image.Resampling.BILINEAR))
        label = rng.integers(0, 5, (5, 7)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        yield image, label


def batches(
    order: Any = lambda x: x,
    scale: float = 255.0,
    mean: np.ndarray = MEAN,
    std: np.ndarray = STD,
    top: int = 3,
    ids: np.ndarray = IDS,
    flip: Any = lambda image, label: (image[:, ::-1], label[:, ::-1]),
    resize: Any = lambda x: np.asarray(
        Image.fromarray(x).resize((20, 15), Image.Resampling.BILINEAR)
    ),
    resize_label: Any = lambda x: np.asarray(
        Image.fromarray(x).resize((20, 15), Image.Resampling.NEAREST)
    ),
) -> Iterator[Any]:
    """Resize, crop, flip each second frame, normalise, map ids: image [1, 3, h, w], label."""
    for index, (image, label) in enumerate(frames()):
        image, label = resize(image), resize_label(label)
        image, label = image[top : top + 9, 2:14], label[top : top + 9, 2:14]
        if index % 2:
            image, label = flip(image, label)
        image = order(image).astype(np.float32) / np.float32(scale)
        image = ((image - mean) / std).transpose(2, 0, 1)
        yield {"image": image[None], "label": ids[np.minimum(label, 4)][None]}


def data_subject() -> Subject:
    s = Subject(torch_batches=batches, paddle_batches=batches)
    s.stages = ("data",)
    return s


def _pipeline(**pieces: Any) -> Callable[[Subject], None]:
    return setting("paddle_batches", functools.partial(batches, **pieces))


def predictions() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(10)
    found = []
    for _ in range(3):
        prediction, label = rng.integers(0, 4, (2, 8, 8)), rng.integers(0, 4, (2, 8, 8))
        label[:, :2] = 255
        found.append((prediction, label))
    return found


def metric_subject() -> Subject:
    s = Subject(predictions=predictions())
    s.torch_metric = s.paddle_metric = lambda: ConfusionMatrix(5)
    s.stages = ("metric",)
    return s


def _mean_metric(absent: str) -> Any:
    def make() -> Any:
        matrix = ConfusionMatrix(5)

        def read(prediction: Any, label: Any) -> float:
            matrix.update(prediction, label)
            return matrix.mean_iou(absent)

        return read

    return make


def _counted(change: Any) -> Any:
    class Changed(ConfusionMatrix):
        def update(self, prediction: np.ndarray, label: np.ndarray) -> None:
            super().update(*change(prediction, label))

    return setting("paddle_metric", lambda: Changed(5))


def _exchanged(s: Subject) -> None:
    def make() -> Any:
        matrix = ConfusionMatrix(5)

        def read(prediction: Any, label: Any) -> np.ndarray:
            matrix.update(prediction, label)
            return matrix.counts.T

        return read

    s.paddle_metric = make


def mean_subject() -> Subject:
    s = metric_subject()
    s.torch_metric = s.paddle_metric = _mean_metric("skip")
    return s


class TorchFresh(tnn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = tnn.Conv2d(3, 16, 3)
        self.up = tnn.ConvTranspose2d(16, 8, 4)
        self.fc = tnn.Linear(64, 32)
        self.norm = tnn.BatchNorm2d(16)
        tnn.init.kaiming_normal_(self.conv.weight, a=1)
        tnn.init.zeros_(self.conv.bias)
        tnn.init.constant_(self.up.weight, 0.25)
        tnn.init.zeros_(self.up.bias)
        tnn.init.uniform_(self.fc.weight, -0.25, 0.25)
        tnn.init.uniform_(self.fc.bias, -0.25, 0.25)


class Fresh(nn.Layer):
    def __init__(self, **initializers: Any) -> None:
        super().__init__()
        make = nn.initializer
        chosen = {
            "conv.weight": make.Normal(0.0, (1 / 27) ** 0.5),
            "conv.bias": make.Constant(0.0),
            "up.weight": make.Constant(0.25),
            "up.bias": make.Constant(0.0),
            "fc.weight": make.Uniform(-0.25, 0.25),
            "fc.bias": make.Uniform(-0.25, 0.25),
            "norm.weight": make.Constant(1.0),
            **initializers,
        }
        self.conv = nn.Conv2D(3, 16, 3)
        self.up = nn.Conv2DTranspose(16, 8, 4)
        self.fc = nn.Linear(64, 32)
        self.norm = nn.BatchNorm2D(16)
        tensors = dict(self.named_parameters())
        for name, initializer in chosen.items():
            initializer(tensors[name])


def init_subject() -> Subject:
    s = Subject(torch_factory=TorchFresh, paddle_factory=Fresh)
    s.stages = ("init",)
    return s


def _initialised(**initializers: Any) -> Callable[[Subject], None]:
    named = {name.replace("_", ".", 1): value for name, value in initializers.items()}
    return setting("paddle_factory", lambda: Fresh(**named))


data = functools.partial(fault, subject="data", stages="data")
counts = functools.partial(fault, subject="metric", stages="metric", layers="metric")
init = functools.partial(fault, subject="init", stages="init")
IMAGE, LABEL = "image", "label"

FAULTS: tuple[Fault, ...] = (
    data(
        "BGR for RGB", apply=_pipeline(order=lambda x: x[..., ::-1]), layers=IMAGE, cause="channel"
    ),
    data("/255 missing", apply=_pipeline(scale=1.0), layers=IMAGE, cause="255 x"),
    data(
        "mean and deviation of another set",
        layers=IMAGE,
        cause="times|each channel",
        apply=_pipeline(mean=np.float32([0.5] * 3), std=np.float32([0.5] * 3)),
    ),
    data(
        "mean and deviation exchanged",
        apply=_pipeline(mean=STD, std=MEAN),
        layers=IMAGE,
        cause="each channel",
    ),
    data("crop one row too late", apply=_pipeline(top=4), layers=[IMAGE, LABEL], cause="moved by"),
    data(
        "image flipped and the label not",
        layers=LABEL,
        cause="revers|flip",
        apply=_pipeline(flip=lambda image, label: (image[:, ::-1], label)),
    ),
    data(
        "flip forgotten",
        layers=[IMAGE, LABEL],
        cause="revers|flip",
        apply=_pipeline(flip=lambda image, label: (image, label)),
    ),
    data(
        "labels mapped otherwise",
        apply=_pipeline(ids=np.array([3, 0, 1, 2, 255])),
        layers=LABEL,
        cause="1 is 0|0 is 1",
    ),
    data(
        "void taken for class 0",
        apply=_pipeline(ids=np.array([3, 1, 0, 2, 0])),
        layers=LABEL,
        cause="255 is 0",
    ),
    data("another resize library", layers=IMAGE, apply=_pipeline(resize=lambda x: _cv2_resize(x))),
    data(
        "label resized bilinearly",
        layers=LABEL,
        apply=_pipeline(
            resize_label=lambda x: np.asarray(
                Image.fromarray(x).resize((20, 15), Image.Resampling.BILINEAR)
            )
        ),
    ),
    data(
        "label taken from the image",
        layers=LABEL,
        apply=setting(
            "paddle_batches",
            lambda: ({**b, "label": b["image"][:, 0].astype(np.int64)} for b in batches()),
        ),
    ),
    counts(
        "void counted as class 4",
        cause="",
        apply=_counted(lambda p, y: (p, np.where(y == 255, 4, y))),
    ),
    counts("rows and columns exchanged", apply=_exchanged, cause="transposed|axes"),
    counts(
        "one batch is counted twice",
        cause="",
        apply=_counted(lambda p, y: (np.concatenate([p, p]), np.concatenate([y, y]))),
    ),
    fault(
        "mean over absent classes",
        "mean metric",
        setting("paddle_metric", _mean_metric("zero")),
        "metric",
        "metric",
    ),
    fault(
        "absent classes count as right",
        "mean metric",
        setting("paddle_metric", _mean_metric("one")),
        "metric",
        "metric",
    ),
    init(
        "Paddle's own convolution init",
        layers="conv",
        cause="deviation 0.2[67]",
        apply=_initialised(conv_weight=nn.initializer.Normal(0.0, (2 / 27) ** 0.5)),
    ),
    init(
        "a bias that starts at zero",
        layers="fc",
        cause="deviation 0,",
        apply=_initialised(fc_bias=nn.initializer.Constant(0.0)),
    ),
    init(
        "a normal for a uniform",
        layers="fc",
        cause="",
        apply=_initialised(fc_weight=nn.initializer.Normal(0.0, 0.25 / 3**0.5)),
    ),
    init(
        "upsampling that is not bilinear",
        layers="up",
        cause="",
        apply=_initialised(up_weight=nn.initializer.XavierUniform()),
    ),
    init(
        "BatchNorm scale of zero",
        layers="norm",
        cause="mean 0 ",
        apply=_initialised(norm_weight=nn.initializer.Constant(0.0)),
    ),
)


def _cv2_resize(image: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.resize(image, (20, 15), interpolation=cv2.INTER_LINEAR)
