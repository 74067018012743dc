"""Whole volumes from patches: halo, overlap, memory of a slab; the evaluator and its pictures."""

import numpy as np
import pytest
from scipy import ndimage

from common.data import Batch
from common.errors import DataError
from common.evaluation.evaluator import build_evaluator
from common.evaluation.tasks import ask_of, paint_of
from common.evaluation.volumetric import VolumeEvaluator
from common.settings.load import load_settings
from common.volumes.normalise import VolumeNormalisation
from common.volumes.sliding import Sliding, decided, probabilities
from tests.paths import CONFIGS

VOLUME = np.random.default_rng(0).standard_normal((2, 13, 11, 14)).astype(np.float32)


class Local:
    """A net whose logits look one voxel far, mirrored at the border of what it sees."""

    def __init__(self):
        self.seen = []

    def outputs(self, image):
        self.seen.append(image.shape)
        return self.logits(image[0])[None]

    @staticmethod
    def logits(volume):
        kernel = np.random.default_rng(1).standard_normal((3, 2, 3, 3, 3))
        return np.stack(
            [
                sum(ndimage.convolve(v, k, mode="mirror") for v, k in zip(volume, row, strict=True))
                for row in kernel
            ]
        )


def whole(sliding):
    return probabilities(Local.logits(VOLUME), sliding.masks)


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("average", [False, True])
def test_with_a_halo_patches_are_the_whole(masks, average):
    sliding = Sliding((5, 4, 6), (3, 2, 4), (1, 1, 1), average, masks)
    net = Local()
    rows, parts = zip(*sliding.slabs(net, VOLUME), strict=True)
    assert rows == (0, 3, 6, 8)
    assert max(part.shape[1] for part in parts) <= 5  # never more than a patch is deep
    np.testing.assert_allclose(np.concatenate(parts, 1), whole(sliding), rtol=1e-5, atol=1e-6)
    assert set(net.seen) == {(1, 2, 7, 6, 8)}
    classes = np.concatenate([part for _, part in sliding.classes(Local(), VOLUME)], int(masks))
    np.testing.assert_array_equal(classes, decided(whole(sliding), masks, 0.5))


def brute(sliding):
    """Return what overwriting, and what averaging gives, patch by patch over a whole array."""
    last, total, times = (np.zeros((3, 13, 11, 14)) for _ in range(3))
    for z in (0, 3, 6, 8):
        for y in (0, 2, 4, 6, 7):
            for x in (0, 4, 8):
                place = (slice(None), slice(z, z + 5), slice(y, y + 4), slice(x, x + 6))
                found = probabilities(Local.logits(VOLUME[place]), sliding.masks)
                last[place] = found
                total[place] += found
                times[place] += 1
    return last, total / times


def test_without_a_halo_the_later_patch_stands_or_the_mean():
    for average in (False, True):
        sliding = Sliding((5, 4, 6), (3, 2, 4), average=average)
        found = np.concatenate([part for _, part in sliding.slabs(Local(), VOLUME)], 1)
        np.testing.assert_allclose(found, brute(sliding)[average], rtol=1e-5, atol=1e-6)


def test_each_patch_is_normalised_with_its_halo():
    sliding = Sliding((5, 4, 6), (5, 4, 6), (1, 1, 1), each_patch=VolumeNormalisation())

    class Look(Local):
        def outputs(self, image):
            assert abs(image.mean()) < 1e-5
            assert abs(image.std() - 1) < 1e-4
            return super().outputs(image)

    assert len(list(sliding.slabs(Look(), 5 * VOLUME + 3))) == 3


def test_progress_and_what_does_not_fit():
    done = []
    sliding = Sliding((13, 11, 7), (13, 11, 7), watch=lambda *told: done.append(told))
    list(sliding.slabs(Local(), VOLUME))
    assert done == [(1, 2), (2, 2)]
    with pytest.raises(DataError, match=r"cells: its depth is 13, .*evaluate.post.patch_shape"):
        list(Sliding((14, 4, 4), (4, 4, 4)).slabs(Local(), VOLUME, "cells"))


def test_probabilities_do_not_overflow():
    logits = np.array([-1000.0, 0.0, 1000.0]).reshape(3, 1, 1, 1)
    assert probabilities(logits, True).ravel().tolist() == [0.0, 0.5, 1.0]
    assert probabilities(logits, False).ravel().tolist() == [0.0, 0.0, 1.0]
    assert decided(np.array([0.5, 0.6]).reshape(2, 1, 1, 1), True, 0.5).ravel().tolist() == [0, 1]


def counted(form):
    rng = np.random.default_rng(0)
    shape = (2, 3, 4, 5, 6) if form == "masks" else (2, 4, 5, 6)
    most = 2 if form == "masks" else 3
    label, found = rng.integers(0, most, shape), rng.integers(0, most, shape).astype(np.uint8)
    label[:, ..., 0] = 255
    return Batch(np.zeros((2, 1, 4, 5, 6), np.float32), label), found


@pytest.mark.parametrize("form", ["classes", "masks"])
def test_scores_against_their_definitions(form):
    batch, found = counted(form)
    masks = form == "masks"
    evaluator = VolumeEvaluator(("a", "b", "c"), masks=masks)
    evaluator.update(batch, found)
    scores, keep = evaluator.compute(), batch.label != 255
    for number, name in enumerate("abc"):
        p, t = (
            (v[:, number] == 1 if masks else v == number) & (keep[:, number] if masks else keep)
            for v in (found, batch.label)
        )
        assert scores["iou"][name] == (p & t).sum() / (p | t).sum()
        assert scores["dice_by_class"][name] == 2 * (p & t).sum() / (p.sum() + t.sum())
    assert scores["mean_iou"] == pytest.approx(np.mean(list(scores["iou"].values())))
    dice = list(scores["dice_by_class"].values())
    assert scores["dice"] == pytest.approx(np.mean(dice if masks else dice[1:]))
    assert scores["pixel_accuracy"] == pytest.approx((found == batch.label)[keep].mean())


def test_the_authors_mean_iou():
    """wolny/pytorch-3dunet at a33e2c7, metrics.py, MeanIoU, said [1/3 and 1] on these."""
    label = np.array([[[[0, 1, 1, 2]]], [[[0, 0, 0, 0]]]])
    found = np.array([[[[0, 1, 2, 2]]], [[[0, 0, 0, 0]]]])
    evaluator = VolumeEvaluator(("a", "b", "c"))
    evaluator.update(Batch(np.zeros((2, 1, 1, 1, 4)), label), found)
    assert evaluator.volumes == pytest.approx([0.5, 1.0])  # no class at all is right


def test_processes_add_up_and_what_does_not_fit_is_told():
    parts = []
    whole_set = VolumeEvaluator(("a", "b", "c"))
    for _ in range(2):
        one = VolumeEvaluator(("a", "b", "c"))
        one.update(*counted("classes"))
        whole_set.update(*counted("classes"))
        parts.append(one.counted())
    joined = VolumeEvaluator(("a", "b", "c"))
    joined.take(parts)
    assert joined.compute() == whole_set.compute()
    batch, found = counted("classes")
    with pytest.raises(DataError, match=r"prediction must be 0..2, got 0 to 9"):
        joined.update(batch, found + np.uint8(7) * (found == 2))
    with pytest.raises(DataError, match="has shape"):
        joined.update(batch, found[:, 1:])


def test_absent_classes():
    batch = Batch(np.zeros((1, 1, 1, 1, 2)), np.zeros((1, 1, 1, 2), np.int64))
    for absent, expected in (("skip", 1.0), ("zero", 0.5), ("one", 1.0)):
        evaluator = VolumeEvaluator(("a", "b"), absent=absent)
        evaluator.update(batch, batch.target)
        assert evaluator.compute()["mean_iou"] == expected


def test_a_config_says_how_its_net_is_asked():
    settings = load_settings(CONFIGS / "unet3d_toy.yml", ["data.patch_shape=[5,4,4]"])
    ask = ask_of(settings)
    assert ask.sliding.halo == settings.evaluate.post.halo_shape
    assert ask.sliding.each_patch.over == "patch"
    plain = load_settings(
        CONFIGS / "unet3d_toy.yml",
        ["data.normalisation.over=volume", "evaluate.post.halo_shape=[1,1,1]",
         "evaluate.post.patch_shape=[5,4,6]", "evaluate.post.overlap=average",
         "data.augmentation.rotate90=false"],
    )  # fmt: skip
    found = ask_of(plain)(Local(), VOLUME[None], plain.evaluate)
    np.testing.assert_array_equal(found[0], Local.logits(VOLUME).argmax(0))
    evaluator = build_evaluator(plain, ("background", "nucleus", "membrane"), 255)
    evaluator.update(Batch(VOLUME[None], found.astype(np.int64)), found)
    assert evaluator.compute()["mean_iou"] == 1
    colors = plain.classes().colors
    truths, guesses = paint_of(plain, colors)(found.astype(np.int64), found)
    np.testing.assert_array_equal(truths[0], guesses[0])
    shown = plain.data.normalisation.build().to_rgb(VOLUME[None])[0]
    assert shown.shape == truths[0].shape == (13, 14 + 14 + 11 + 2 * 2, 3)
