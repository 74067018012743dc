import numpy as np


class Squares:
    def __init__(self, split, count=6):
        self.split, self.count = split, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        rng = np.random.default_rng([index, self.split == "val"])
        label = np.zeros((48, 64), np.uint8)
        label[20:24] = 255  # void: does not count
        image = rng.integers(0, 60, (48, 64, 3), np.uint8)
        for kind in (1, 2):
            top, left = rng.integers(0, 30), rng.integers(0, 40)
            label[top : top + 16, left : left + 16] = kind
            image[top : top + 16, left : left + 16, kind] += 120
        return image, label


def flip(image, label, rng, share=0.5):
    if rng.random() < share:
        image, label = image[:, ::-1], label[:, ::-1]
    return image, label
