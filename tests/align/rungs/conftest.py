"""What tests of rungs share: a pair of nets with the same weights, and its input."""

import numpy as np
import pytest


def eighth(count):
    """Return an eighth of a width; channels of an image and classes are none."""
    return count // 8 if count % 8 == 0 else count


def narrowed(own, widths):
    """Return the `__init__` of a layer, whose first arguments are `widths`, an eighth as wide."""

    def narrow(self, *given, **options):
        if "groups" in options:
            options["groups"] = eighth(options["groups"])
        own(self, *map(eighth, given[:widths]), *given[widths:], **options)

    return narrow


@pytest.fixture(scope="module")
def stdc1_pair():
    """STDC1-Seg on both sides with seeded weights, an eighth as wide. Who breaks it mends it.

    What is found hangs on its layers, not on their widths, which are numbers in its code;
    `make prove` and the demo take it as it is.
    """
    torch, paddle = map(pytest.importorskip, ("torch", "paddle"))
    from commands.subjects.rows import seeded_pair

    two = torch.nn.Conv2d, torch.nn.Linear, paddle.nn.Conv2D, paddle.nn.Linear
    one = torch.nn.modules.batchnorm._NormBase, paddle.nn.layer.norm._BatchNormBase
    with pytest.MonkeyPatch.context() as patch:
        for kind in (*two, *one):
            patch.setattr(kind, "__init__", narrowed(kind.__init__, 2 if kind in two else 1))
        return seeded_pair("stdc1_seg", seed=0)


@pytest.fixture(scope="module")
def stdc_input() -> np.ndarray:
    """Two images, for a BatchNorm behind a global pool."""
    return np.random.default_rng(0).standard_normal((2, 3, 32, 64))
