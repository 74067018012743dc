"""Random numbers as pure functions of (seed, purpose, counters).

Nothing here has a state of its own, so the number of loader workers, the order in which samples
are read and the step at which a run was resumed cannot change what is drawn.

Only `Generator.random()` is used to derive the rest (uniform numbers, choices, permutations):
NumPy reserves the right to change its other distributions between releases (NEP 19).
"""

import zlib

import numpy as np

from common.errors import ConfigError


def generator(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """The generator that belongs to (seed, purpose, counters), always in its first state.

    Purposes keep streams apart: the shuffle of epoch 3 shares no number with sample 3.

    Raises:
        ConfigError: the seed or a counter is negative.
    """
    if seed < 0 or any(counter < 0 for counter in counters):
        raise ConfigError(
            f"random numbers for {purpose!r}: expected a seed and counters of at least 0, "
            f"got seed {seed}, counters {counters}"
        )
    key = (zlib.crc32(purpose.encode()), *counters)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def sample_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator for the augmentation of sample `index` in `epoch`."""
    return generator(seed, "sample", epoch, index)


def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """A permutation of 0..count-1 for `epoch`: int64 [count]."""
    draws = generator(seed, "order", epoch).random(count)
    return np.argsort(draws, kind="stable").astype(np.int64)


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """One number from [low, high)."""
    return low + (high - low) * float(rng.random())


def choice(rng: np.random.Generator, count: int) -> int:
    """One index from 0..count-1."""
    return int(rng.random() * count)
