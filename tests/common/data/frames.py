"""What tests of transforms share: images of noise, and numbers that are drawn as told."""

import numpy as np
from PIL import Image


class Fixed:
    """Stands in for a generator: hands out the given numbers, and no more than those."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def random(self):
        return self.numbers.pop(0)


def frame(width, height, seed=0):
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    label = Image.fromarray(rng.integers(0, 19, (height, width), dtype=np.uint8))
    return image, label
