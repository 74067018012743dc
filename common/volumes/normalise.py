"""From voxels as they lie to what a net is fed.

Source of the formulas: wolny/pytorch-3dunet, pytorch3dunet/augment/transforms.py, Standardize,
Normalize, PercentileNormalizer, and datasets/utils.py, calculate_stats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.volumes.pictures import stretched

METHODS = ("standardise", "min_max", "percentile", "none")
OVER = ("volume", "patch")
EPSILON = 1e-10  # what a standard deviation or a range is at least


@dataclass(frozen=True)
class VolumeNormalisation:
    """Voxels [C, D, H, W] of any dtype to float32.

    Args:
        method: "standardise" subtracts the mean and divides by the standard deviation; "min_max"
            maps the range to -1..1 and cuts what is beyond; "percentile" maps the percentiles
            `low` and `high` to 0 and 1; "none" leaves the voxels as they are.
        over: what its numbers are taken of: the whole "volume", or each "patch" alone.
        channelwise: numbers of each channel.
        mean, std: of standardise, given instead.
        low, high: of min_max the range, none: that of the voxels; of percentile in percent.
    """

    method: str = "standardise"
    over: str = "volume"
    channelwise: bool = False
    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None

    def __call__(self, volume: np.ndarray) -> np.ndarray:
        """Return voxels [C, D, H, W] normalised by their own numbers: float32."""
        return self.apply(volume, self.numbers(volume))

    def numbers(self, volume: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (what is subtracted, what is divided by), float64, each [C, 1, 1, 1] or [1].

        volume: whole, or a patch, as `over` says.
        """
        channels = [volume[number] for number in range(len(volume))] if self.channelwise else ()
        if not self.channelwise:
            return _as_arrays([self._numbers(volume)], (1,))
        return _as_arrays([self._numbers(each) for each in channels], (-1, 1, 1, 1))

    def apply(self, voxels: np.ndarray, numbers: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return voxels [C, ...] normalised by `numbers`: float32."""
        if self.method == "none":
            return np.ascontiguousarray(voxels, np.float32)
        less, by = numbers
        found = (voxels.astype(np.float64) - less) / by
        if self.method == "min_max":
            found = np.clip(2 * found - 1, -1, 1)
        return np.ascontiguousarray(found, np.float32)

    def _numbers(self, values: np.ndarray) -> tuple[float, float]:
        if self.method == "standardise":
            if self.mean is not None and self.std is not None:
                return self.mean, self.std
            mean = float(values.mean(dtype=np.float64))
            return mean, max(_deviation(values, mean), EPSILON)
        if self.method == "min_max":
            low = float(values.min()) if self.low is None else self.low
            high = float(values.max()) if self.high is None else self.high
            return low, high - low + EPSILON
        if self.method == "percentile":
            shares = (
                1.0 if self.low is None else self.low,
                99.6 if self.high is None else self.high,
            )
            low, high = np.percentile(values, shares).tolist()
            return low, high - low + EPSILON
        return 0.0, 1.0

    def to_rgb(self, images: np.ndarray) -> list[np.ndarray]:
        """Return pictures [h, w, 3], 0..1, of volumes [N, C, D, H, W]: three slices of each."""
        return [stretched(volume) for volume in images]


def _deviation(values: np.ndarray, mean: float) -> float:
    """Return the standard deviation; slice by slice, so that no copy in float64 is made of all."""
    squares = sum(float(((part.astype(np.float64) - mean) ** 2).sum()) for part in values)
    return float(np.sqrt(squares / values.size))


def _as_arrays(
    pairs: Sequence[tuple[float, float]], shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    table: Any = np.array(pairs, np.float64)
    return table[:, 0].reshape(shape), table[:, 1].reshape(shape)
