"""Data that are callables of the user's: every item is asked for once, as the training asks."""

import hashlib

import numpy as np

from commands.subjects.named.config import Own, own_of, own_section
from commands.subjects.named.own.samples import OwnAugment, OwnSamples, open_samples
from common.data.classes import Classes
from common.data.survey import EMPTY, MISLABELLED, UNREADABLE, Look, problem_of
from common.data.transforms.images import VOID
from common.errors import DataError
from common.settings.run import Settings


class UsersSplit:
    """A split of the user's data set, whose items are looked at as the frames of a split of ours.

    Attributes:
        samples: the data set, as a training draws from it.
        classes: how many there are; the label holds 0..classes-1, and `void` where nothing counts.
    """

    def __init__(self, samples: OwnSamples, classes: int, void: int) -> None:
        self.samples, self.classes, self.void = samples, classes, void

    def __len__(self) -> int:
        return len(self.samples)

    def look(self, split: str, index: int) -> Look:
        """Ask for an item, and tell what it holds; whatever is wrong is told, never raised."""
        look = Look(split, index, f"{split}, item {index}")
        try:
            image, label = self.samples.item(0, index)
        except Exception as error:  # of a user's code anything may come
            return problem_of(look, error)
        size = (label.shape[0], label.shape[1])
        look = look._replace(size=size, digest=hashlib.sha256(image.tobytes()).hexdigest())
        if not np.isfinite(image).all():
            said = f"{look.image}: its image holds NaN or infinite values"
            return look._replace(problem=UNREADABLE, said=said)
        return self._counted(look, label)

    def _counted(self, look: Look, label: np.ndarray) -> Look:
        """Return `look` with the pixels of each class, or with the values that are none."""
        values, pixels = np.unique(label, return_counts=True)
        held = dict(zip(values.tolist(), pixels.tolist(), strict=True))
        void = {VOID: held.pop(self.void)} if self.void in held else {}
        if strange := {value: count for value, count in held.items() if value >= self.classes}:
            shown = ", ".join(f"{value} in {count} pixels" for value, count in strange.items())
            said = (
                f"{look.image}: expected 0..{self.classes - 1} and {self.void} (does not count) in "
                f"its label, got {shown}; data.ignore_index names the value that does not count, "
                "model.num_classes how many classes there are"
            )
            return look._replace(problem=MISLABELLED, said=said, strange=strange)
        look = look._replace(counts=held | void)
        if held:
            return look
        return look._replace(problem=EMPTY, said=f"{look.image}: no pixel of it has a class")

    def sample(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a training sample to look at: picture [H, W, 3], 0..1, and label, void 255.

        An image that is ready for the net is stretched from its least to its largest value.
        """
        image, label = self.samples.sample(0, index)
        if self.samples.item(0, index)[0].dtype == np.uint8:
            picture = self.samples.normalisation.to_rgb(image[None])[0]
        else:
            least, most = float(image.min()), float(image.max())
            picture = (image.transpose(1, 2, 0) - least) / max(most - least, 1e-12)
        return picture, np.where(label == self.void, VOID, label)


def users_splits(settings: Settings) -> tuple[dict[str, UsersSplit], Classes]:
    """Return both splits of data of the user's own, and their classes.

    Where each framework has a callable of its own Paddle's is asked. Raises UserError as a
    training does: of the callable, of what is no data set, of other classes than the net's.
    """
    framework = framework_of(settings, "data")
    own = own_of(settings, "data", framework)
    assert own is not None
    augment = own_augmentation(settings)
    found = open_samples(own, settings, None if augment is None else OwnAugment(augment))
    count, void = len(found.class_names), found.ignore_index
    splits = (settings.data.train_split, settings.data.val_split)
    held: dict[str, UsersSplit] = {}
    for split, samples in zip(splits, (found.train, found.val), strict=True):
        if not isinstance(samples, OwnSamples):
            raise DataError(f"{own}: is no data set of the user's")
        held.setdefault(split, UsersSplit(samples, count, void))
    return held, Classes(found.class_names, found.colors)


def own_augmentation(settings: Settings) -> Own | None:
    """Return the augmentation that is a callable of the user's, None where it is one of ours."""
    return own_of(settings, "augmentation", framework_of(settings, "augmentation"))


def framework_of(settings: Settings, section: str) -> str:
    """Return whose callable is asked: Paddle's, where that or one for both is named."""
    given = own_section(settings, section)
    named = given is None or given.paddle or getattr(given, "both", None)
    return "paddle" if named else "torch"
