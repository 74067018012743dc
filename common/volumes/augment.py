"""Augmentation of patches: raw [C, D, H, W] and label [D, H, W] or [C, D, H, W] together.

Source of the steps: wolny/pytorch-3dunet@a33e2c7, pytorch3dunet/augment/transforms.py, the class
named at each. There raw and label go through two pipelines whose generators are seeded alike;
here one generator decides for both, so that no number of draws may differ.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from common.randomness import choice, uniform

Pair = tuple[np.ndarray, np.ndarray]
MOST_EVENTS = 32  # of a Poisson distribution of a mean of at most 1: beyond it lies less than 1e-35


@dataclass(frozen=True)
class VolumeAugmentation:
    """What is done to a normalised patch, in this order; what is 0 or empty is not done.

    Args:
        flip: probability of mirroring along each axis (RandomFlip).
        rotate90: quarter turns in the plane of height and width, 0 to 3 alike (RandomRotate90).
        degrees: largest angle of a rotation by whole degrees (RandomRotate), always made.
        planes: the pairs of axes (0 depth, 1 height, 2 width) of which one is the rotation's.
        order: of the splines by which raw voxels are interpolated in rotations; labels are taken
            from the nearest voxel. 0 is the authors' default, for raw voxels too.
        elastic: probability of a smooth deformation (ElasticDeformation), of splines of order 3.
        elastic_alpha, elastic_sigma: how far, and how smoothly, in voxels.
        elastic_depth: whether depth is deformed, too.
        blur: probability of a Gaussian blur (GaussianBlur3D); blur_sigma: its range in voxels.
        gaussian_noise: probability (AdditiveGaussianNoise); gaussian_scale: range of its deviation.
        poisson_noise: probability (AdditivePoissonNoise); poisson_mean: range of its mean.
    """

    flip: float = 0.0
    rotate90: bool = False
    degrees: int = 0
    planes: Sequence[tuple[int, int]] = ((2, 1),)
    order: int = 0
    elastic: float = 0.0
    elastic_alpha: float = 2000.0
    elastic_sigma: float = 50.0
    elastic_depth: bool = True
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    gaussian_noise: float = 0.0
    gaussian_scale: tuple[float, float] = (0.0, 1.0)
    poisson_noise: float = 0.0
    poisson_mean: tuple[float, float] = (0.0, 1.0)

    def __call__(self, raw: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        """Return raw float32 and label in its dtype, of the same shapes."""
        dtype = raw.dtype
        for step in (self._flipped, self._turned, self._rotated, self._deformed):
            raw, label = step(raw, label, rng)
        raw = self._noisy(self._blurred(raw, rng), rng)
        return np.ascontiguousarray(raw, dtype), np.ascontiguousarray(label)

    def _flipped(self, raw: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        if not self.flip:
            return raw, label
        axes = tuple(axis for axis in (-3, -2, -1) if rng.random() < self.flip)
        return np.flip(raw, axes), np.flip(label, axes)

    def _turned(self, raw: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        if not self.rotate90:
            return raw, label
        turns = choice(rng, 4)
        return np.rot90(raw, turns, (-2, -1)), np.rot90(label, turns, (-2, -1))

    def _rotated(self, raw: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        if not self.degrees:
            return raw, label
        plane = self.planes[choice(rng, len(self.planes))]
        angle = choice(rng, 2 * self.degrees) - self.degrees  # randint: the upper end is left out

        def rotate(volume: np.ndarray, order: int) -> np.ndarray:
            found: np.ndarray = ndimage.rotate(
                volume, angle, axes=plane, reshape=False, order=order, mode="reflect"
            )
            return found

        return _each(raw, lambda v: rotate(v, self.order)), _each(label, lambda v: rotate(v, 0))

    def _deformed(self, raw: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        if not self.elastic or rng.random() >= self.elastic:
            return raw, label
        shape = raw.shape[-3:]
        moved = [np.asarray(axis, np.float64) for axis in np.indices(shape)]
        for axis in range(0 if self.elastic_depth else 1, 3):
            noise = ndimage.gaussian_filter(normal(rng, shape), self.elastic_sigma, mode="reflect")
            moved[axis] = moved[axis] + noise * self.elastic_alpha

        def deform(volume: np.ndarray, order: int) -> np.ndarray:
            found: np.ndarray = ndimage.map_coordinates(volume, moved, order=order, mode="reflect")
            return found

        return _each(raw, lambda v: deform(v, 3)), _each(label, lambda v: deform(v, 0))

    def _blurred(self, raw: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if not self.blur or rng.random() >= self.blur:
            return raw
        sigma = uniform(rng, *self.blur_sigma)
        return _each(raw, lambda volume: ndimage.gaussian_filter(volume, sigma, mode="nearest"))

    def _noisy(self, raw: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.gaussian_noise and rng.random() < self.gaussian_noise:
            raw = raw + uniform(rng, *self.gaussian_scale) * normal(rng, raw.shape)
        if self.poisson_noise and rng.random() < self.poisson_noise:
            raw = raw + poisson(rng, uniform(rng, *self.poisson_mean), raw.shape)
        return raw


def _each(volume: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Apply a function of [D, H, W] to a volume, or to each of its channels."""
    if volume.ndim == 3:
        found: np.ndarray = function(volume)
        return found
    return np.stack([function(channel) for channel in volume])


def normal(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """Return numbers of the normal distribution, of `rng.random` alone (Box and Muller): float64.

    See `common.randomness`: what else NumPy draws may change between its releases.
    """
    radius = np.sqrt(-2.0 * np.log1p(-rng.random(shape)))
    return np.asarray(radius * np.cos(2.0 * np.pi * rng.random(shape)))


def poisson(rng: np.random.Generator, mean: float, shape: Sequence[int]) -> np.ndarray:
    """Return numbers of the Poisson distribution of a mean of at most 1, of `rng.random` alone."""
    terms = [math.exp(-mean) * mean**k / math.factorial(k) for k in range(MOST_EVENTS)]
    return np.searchsorted(np.cumsum(terms), rng.random(shape), side="right").astype(np.float64)
