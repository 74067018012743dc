"""What predicts: the net of a config with its weights, or an exported folder alone."""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from commands.predict.objects import ObjectPainter
from commands.predict.painters import ClassPainter, Painter, SegmentPainter
from common.data.transforms.images import Transform
from common.errors import UserError
from common.evaluation.protocol import Ask, Inference, predict
from common.evaluation.resizing import resize
from common.evaluation.sliding import scaled_size
from common.settings.data import INSTANCES
from common.settings.run import SEMANTIC, Evaluate, Settings

MOST_PIXELS = 2048 * 1024  # that a net sees at once; a larger photo is seen by windows
MOST_WHOLE = 4096 * 2160  # that a net sees whose prediction no windows can make
WINDOW_HW = (512, 1024)  # by which a large photo is seen, or the crop where that is larger
LEAST = 33  # pixels a side: a smaller photo is enlarged, so that no map in a net vanishes


@dataclass
class PhotoNet:
    """A net that predicts photos of any size.

    Attributes:
        inference: asked by arrays.
        evaluate: the protocol.
        normalise: photo [H, W, 3] RGB, 0..255 -> float32 [3, H, W].
        names: of the classes. painter: what is written of a prediction.
        told: of its weights, in one line.
        transforms: what is done to a photo first.
        window_hw: of the windows by which a large photo is seen; None: it is seen whole.
        fixed_hw: the one size that an exported net takes.
        ask: how the net is asked, by its task.
        most_pixels: of an image that the net sees whole; None: any.
    """

    inference: Inference
    evaluate: Evaluate
    normalise: Callable[[np.ndarray], np.ndarray]
    names: Sequence[str]
    painter: Painter
    told: str
    transforms: Sequence[Transform] = ()
    window_hw: tuple[int, int] | None = None
    fixed_hw: tuple[int, int] | None = None
    ask: Ask = predict
    most_pixels: int | None = None

    @property
    def opening(self) -> float:
        """Seconds that making the net ready has taken since photos came."""
        return float(getattr(self.inference, "opening", 0.0))

    def prediction(self, photo: Image.Image, at_net: bool = False) -> np.ndarray:
        """Return what the net predicts of a photo of mode RGB: int64 [H, W], at its own size.

        Of semantic nets classes, of panoptic ones ids of segments.
        at_net: at the size at which the net sees it. Raises UserError where it predicts more
        classes than there are.
        """
        image = self._prepared(photo)
        found = self._at_net(image) if at_net else self._at_own_size(image)
        if (largest := self.painter.largest(found)) >= len(self.names):
            raise UserError(
                f"the net predicts class {largest}, and there are {len(self.names)} "
                "classes; set model.num_classes to what it was trained with"
            )
        if at_net or photo.size == image.size:
            return found
        small = found.min() >= 0 and found.max() < 256
        ids = Image.fromarray(found.astype(np.uint8 if small else np.int32))
        return np.asarray(ids.resize(photo.size, Image.Resampling.NEAREST)).astype(np.int64)

    def protocol(self, size_hw: tuple[int, int], evaluate: Evaluate) -> Evaluate:
        """Return how an image of this size is seen: by windows where it is large."""
        seen = max(evaluate.all_scales) ** 2 * size_hw[0] * size_hw[1]
        if self.window_hw is None or evaluate.window_hw or seen <= MOST_PIXELS:
            return evaluate
        return evaluate.model_copy(update={"window_hw": self.window_hw})

    def seen_hw(self, image: Image.Image) -> tuple[int, int]:
        """Return the size at which the net sees an image."""
        own = (image.height, image.width)
        return self.fixed_hw or scaled_size(own, self.evaluate.all_scales[0])

    def _prepared(self, photo: Image.Image) -> Image.Image:
        least = (max(photo.width, LEAST), max(photo.height, LEAST))
        image = photo if photo.size == least else photo.resize(least, Image.Resampling.BILINEAR)
        label, rng = Image.new("L", image.size), np.random.default_rng(0)
        for transform in self.transforms:
            image, label = transform(image, label, rng)
        return image

    def _at_own_size(self, image: Image.Image) -> np.ndarray:
        if self.most_pixels and image.width * image.height > self.most_pixels:
            raise UserError(
                f"a photo of {image.width} x {image.height} pixels, which a panoptic net would see "
                f"whole, and at most {self.most_pixels} are seen: data.val_short_side=1024 lets "
                "it see photos smaller; the prediction has the photo's size again"
            )
        options = self.protocol((image.height, image.width), self.evaluate)
        (found,) = self.ask(self.inference, self.normalise(np.asarray(image))[None], options)
        return found if found.ndim == 2 else found[0]  # of segments, and classes beside them

    def _at_net(self, image: Image.Image) -> np.ndarray:
        """Resize first: normalising is linear, and the smaller image is the cheaper one."""
        if self.evaluate.window_hw or len(self.evaluate.all_scales) > 1:
            raise UserError("--ids-at net goes with one scale and without windows")
        seen, corners = self.seen_hw(image), self.evaluate.align_corners
        pixels = np.asarray(image, np.float32)
        if corners:
            planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))[None]
            small = resize(planes, seen, corners)[0].transpose(1, 2, 0)
        else:
            small = cv2.resize(pixels, seen[::-1], interpolation=cv2.INTER_LINEAR)
        as_seen = self.evaluate.model_copy(update={"scale": 1.0, "scales": None})
        given = self.normalise(small)[None]
        found: np.ndarray = predict(self.inference, given, self.protocol(seen, as_seen))
        return found[0]


class ObjectsNet(PhotoNet):
    """A net that finds objects in photos of any size."""

    def prediction(self, photo: Image.Image, at_net: bool = False) -> Any:
        """Return the `PhotoObjects` of a photo of mode RGB, at its own size.

        Raises UserError where there are more classes than the config names.
        """
        image, rng = np.asarray(photo), np.random.default_rng(0)
        objects: dict[str, Any] = {"boxes": np.zeros((0, 4)), "masks": ()}
        for transform in self.transforms:
            image, objects = transform(image, objects, rng)
        (found,) = self.ask(self.inference, self.normalise(image)[None], self.evaluate)
        largest = int(max(found.labels, default=0))
        if largest >= len(self.names):
            raise UserError(
                f"the net predicts class {largest}, and there are {len(self.names)} "
                "classes; set model.num_classes to what it was trained with"
            )
        return found.at(image.shape[:2], (photo.height, photo.width))


def of_config(
    options: argparse.Namespace, given: Sequence[str], tell: Callable[[str], None]
) -> PhotoNet:
    """Return the net of a config; `given` are its overrides. Raises UserError.

    tell: is given what takes seconds, and what is not as one might think.
    """
    from commands.evaluate.nets import Running, asked
    from commands.subjects.named.config import read_config
    from commands.subjects.named.frameworks import parts_of

    settings = read_config(options.config, given)
    parts = parts_of(settings, options.framework)
    running = Running(options.device, options.engine or "auto", options.threads, tell)
    net = asked(parts, options.weights, running)
    crop = settings.data.crop_hw or WINDOW_HW
    semantic = settings.model.task == SEMANTIC
    if not semantic and options.ids_at == "net":
        raise UserError(
            "--ids-at net: a panoptic net's ids are brought to the photo's size; leave it out"
        )
    kind = ObjectsNet if settings.model.task == INSTANCES else PhotoNet
    return kind(
        net.inference,
        settings.evaluate,
        settings.data.normalisation.build(),
        settings.classes().names,
        painter_of(settings),
        net.loaded.told or str(options.weights),
        settings.data.validation_transforms(),
        window_hw=max(crop, WINDOW_HW, key=math.prod) if semantic else None,
        ask=parts.ask,
        most_pixels=None if semantic else MOST_WHOLE,
    )


def painter_of(settings: Settings) -> Painter:
    """Return what is written of predictions of the config's net."""
    classes, data = settings.classes(), settings.data
    if settings.model.task == INSTANCES:
        return ObjectPainter(classes.names, classes.colors, data.categories)
    if settings.model.task == SEMANTIC:
        return ClassPainter(classes.names, classes.colors)
    divisor = settings.evaluate.post.options["label_divisor"]
    own = (data.things, divisor, data.categories)
    return SegmentPainter(classes.names, classes.colors, *own)


def of_export(options: argparse.Namespace, given: Sequence[str]) -> PhotoNet:
    """Return an exported net; neither the nets nor the training are loaded. Raises UserError."""
    from commands.evaluate.engine_net import OfFolder
    from commands.evaluate.options import evaluate_of
    from export.engines import open_engine

    engine = open_engine(options.model, options.engine or "auto", options.threads)
    about = engine.deployment
    if about is None or not about.class_names:
        raise UserError(f"{options.model}: no deploy.yaml with classes: how is the net fed?")
    evaluate = evaluate_of(given, Evaluate(align_corners=about.align_corners))
    _, _, height, width = engine.input_shape
    fixed = (height, width) if height > 0 and width > 0 else None
    if fixed and evaluate.window_hw not in (None, fixed):
        raise UserError(
            f"{options.model}: takes images of {width}x{height} alone: --window {width}x{height}"
        )
    if fixed and evaluate.all_scales != (1.0,) and not evaluate.window_hw:
        raise UserError(
            f"{options.model}: takes images of {width}x{height} alone, to which every photo is "
            f"resized: a scale goes with --window {width}x{height}"
        )
    return PhotoNet(
        OfFolder(engine),
        evaluate,
        about.normalise,
        about.class_names,
        ClassPainter(about.class_names, about.palette()),
        str(options.model),
        window_hw=None if fixed else WINDOW_HW,
        fixed_hw=fixed,
    )
