"""Training samples of volumes to look at: three slices of a patch of each volume."""

from collections.abc import Callable

import numpy as np

from commands.check_data.pictures import Drawn, Shown
from common.settings.run import Settings
from common.settings.volumes import VolumeKeys
from common.volumes.dataset import PatchSamples
from common.volumes.pictures import as_classes, label_slices, stretched
from common.volumes.samples import patches_of
from common.volumes.set import VolumeSet


def drawer_of_volumes(settings: Settings, source: VolumeSet) -> Callable[[int], Drawn]:
    """Return what gives (name, file, function that draws a training sample) of a volume."""

    def sample(index: int) -> Shown:
        data = settings.data
        assert isinstance(data, VolumeKeys)
        patches = patches_of(settings, source.only(index))
        augment = data.augmentation.build()
        samples = PatchSamples(patches, data.normalisation.build(), augment, settings.seed)
        image, label = samples.sample(0, len(samples) // 2)
        assert isinstance(label, np.ndarray)
        classes = as_classes(label) if label.ndim == 4 else label
        return Shown(stretched(image), label_slices(classes))

    frames = source.frames
    return lambda i: (frames[i].name, str(frames[i].image), lambda: sample(i))
