"""The samples of a config's volumes: patches to train on, whole volumes to evaluate."""

from common.errors import ConfigError
from common.settings.run import Settings
from common.settings.volumes import VolumeKeys
from common.volumes.dataset import PatchSamples, PatchSource, VolumeSamples
from common.volumes.set import VolumeSet


def volume_samples(
    settings: Settings, trained: VolumeSet, validated: VolumeSet
) -> tuple[PatchSamples, VolumeSamples]:
    """Return the samples of training and validation.

    Raises DataError where a volume does not fit, ConfigError where it has other channels than the
    net takes.
    """
    data = settings.data
    assert isinstance(data, VolumeKeys)
    normalisation = data.normalisation.build()
    if settings.model.kind == "row":
        validated.channels = _channels_of(settings)
    return (
        PatchSamples(
            patches_of(settings, trained), normalisation, data.augmentation.build(), settings.seed
        ),
        VolumeSamples(validated, normalisation),
    )


def patches_of(settings: Settings, volumes: VolumeSet) -> PatchSource:
    """Return the training patches of a set."""
    data = settings.data
    assert isinstance(data, VolumeKeys)
    _require_channels(settings, volumes)
    on_grid = data.sampling == "grid"
    return PatchSource(
        volumes,
        data.patch_shape,
        (data.stride_shape or data.patch_shape) if on_grid else None,
        count=data.patches_per_volume,
        threshold=data.label_threshold,
        slack=data.slack_acceptance,
        seed=settings.seed,
    )


def _require_channels(settings: Settings, volumes: VolumeSet) -> None:
    """Raise ConfigError where the first volume has other channels than a net of the table takes."""
    if settings.model.kind != "row":
        return
    found, takes = volumes.read(0)[0].shape[0], _channels_of(settings)
    if found != takes:
        raise ConfigError(
            f"{volumes.frames[0].image} has {found} channels, and {settings.model.name} takes "
            f"{takes}: set model.options.in_channels={found}"
        )


def _channels_of(settings: Settings) -> int:
    """Return how many channels a net of the table takes."""
    takes: int = settings.model.options.get("in_channels", 1)
    return takes
