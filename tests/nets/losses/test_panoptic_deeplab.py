"""Panoptic-DeepLab's and ViP-DeepLab's losses against their formulas, and aligned."""

import numpy as np
import pytest

from common.errors import ConfigError, UserError
from tests.nets.losses.criteria import both, make_label, pixel_losses_numpy

SHAPE = (2, 9, 13)


def scene(seed=0, none=False):
    """Outputs, and a target whose weights are of the dtypes that authors have; `none`: all 0."""
    rng = np.random.default_rng(seed)
    n, h, w = SHAPE
    outputs = [rng.standard_normal((n, c, h, w)) * 3 for c in (5, 1, 2)]
    target = {
        "semantic": make_label(SHAPE, seed),
        "semantic_weights": rng.choice([1, 3], SHAPE).astype(np.uint8),
        "center": rng.random((n, 1, h, w)).astype(np.float32),
        "center_weights": rng.integers(0, 1 if none else 2, SHAPE).astype(np.float32),
        "offset": (rng.standard_normal((n, 2, h, w)) * 20).astype(np.float32),
        "offset_weights": rng.integers(0, 1 if none else 2, SHAPE).astype(np.uint8),
    }
    return outputs, target


def expected(outputs, target, top_k):
    """segmentation/model/loss/criterion.py:105-112, meta_arch/panoptic_deeplab.py:100-134."""
    semantic, center, offset = outputs
    losses = pixel_losses_numpy(semantic, target["semantic"])[0] * target["semantic_weights"]
    if top_k is None:
        first = losses.sum() / (target["semantic"] != 255).sum()
    else:
        first = np.sort(losses.ravel())[::-1][: int(top_k * losses.size)].mean()
    terms = {"semantic": first}
    for name, error, factor in (
        ("center", (center - target["center"]) ** 2, 200.0),
        ("offset", np.abs(offset - target["offset"]), 0.01),
    ):
        weights = np.broadcast_to(target[f"{name}_weights"][:, None], error.shape)
        total = weights.sum(dtype=float)
        terms[name] = (error * weights).sum() / total * factor if total else 0.0
    return terms


def parts(side, outputs, target, name="panoptic_deeplab", **settings):
    tensors = {key: side.tensor(array) for key, array in target.items()}
    found = side.build(name, **settings).parts([side.tensor(o) for o in outputs], tensors)
    return {key: float(side.array(term)) for key, term in found.items()}


@pytest.mark.parametrize("top_k", [0.2, 1.0, None])
def test_every_term_is_the_authors(side, top_k):
    outputs, target = scene()
    found = parts(side, outputs, target, top_k=top_k)
    assert found == pytest.approx(expected(outputs, target, top_k), rel=1e-12)


def test_golden_numbers(side):
    """Of a scene that is written out: the first term is the mean of two of twelve pixels."""
    outputs = [np.zeros((1, 2, 3, 4)), np.full((1, 1, 3, 4), 0.5), np.full((1, 2, 3, 4), 2.0)]
    outputs[0][0, 1] = np.arange(12.0).reshape(3, 4) - 4
    semantic = np.zeros((1, 3, 4), np.int64)
    semantic[0, 2, 2:] = 255  # the two that would be the hardest
    center, weights = np.zeros((1, 1, 3, 4)), np.zeros((1, 3, 4))
    center[0, 0, 0, 0], weights[0, 0, :3] = 1.0, 1.0
    target = {"semantic": semantic, "center": center, "center_weights": weights}
    target |= {"offset": np.zeros((1, 2, 3, 4)), "offset_weights": weights}
    found = parts(side, outputs, target)
    hardest = [5.006715348489118, 4.01814992791781]  # log(1 + e^5), log(1 + e^4)
    assert found == pytest.approx(
        {"semantic": sum(hardest) / 2, "center": 50.0, "offset": 0.02}, rel=1e-14
    )


def test_the_hardest_are_of_the_whole_batch(side):
    """Not of each image, as deeplab2 has it: here the second is easy."""
    outputs, target = scene()
    outputs[0][1] = 40.0 * (np.arange(5)[:, None, None] == target["semantic"][1] % 5)
    found = parts(side, outputs, target)["semantic"]
    losses = pixel_losses_numpy(outputs[0], target["semantic"])[0] * target["semantic_weights"]
    assert found == pytest.approx(np.sort(losses[0].ravel())[::-1][:46].mean(), rel=1e-12)


def test_nothing_to_learn_from_is_exactly_0(side):
    outputs, target = scene(none=True)
    target["semantic"][:] = 255
    for top_k in (0.2, 1.0, None):
        tensors = [side.tensor(output) for output in outputs]
        named = {key: side.tensor(array) for key, array in target.items()}
        loss = side.build("panoptic_deeplab", top_k=top_k)(tensors, named)
        loss.backward()
        assert float(side.array(loss)) == 0.0
        assert not any(side.array(tensor.grad).any() for tensor in tensors)


def test_float32_counts_do_not_overflow_and_weights_may_be_absent(side):
    outputs, target = scene()
    single = [output.astype(np.float32) for output in outputs]
    del target["semantic_weights"]
    ones = target | {"semantic_weights": np.ones(SHAPE)}
    assert parts(side, single, target) == pytest.approx(expected(outputs, ones, 0.2), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"center": None}, "center is missing"),
        ({"offset_weights": None}, "offset_weights is missing"),
        ({"offset": np.zeros((2, 9, 13))}, r"offset has the shape \[2, 9, 13\]"),
        ({"center_weights": np.zeros((2, 2, 9, 13))}, "center_weights has the shape"),
        ({"semantic_weights": np.zeros((2, 1, 9, 12))}, "semantic_weights has the shape"),
        ({"semantic": np.zeros((2, 8, 13), np.int64)}, "differ in height"),
    ],
)
def test_targets_that_do_not_fit_are_refused(side, change, told):
    outputs, target = scene()
    target = {key: value for key, value in (target | change).items() if value is not None}
    with pytest.raises(UserError, match=told):
        parts(side, outputs, target)


def test_other_outputs_and_settings_are_refused(side):
    outputs, target = scene()
    with pytest.raises(UserError, match=r"\[semantic, center, offset\], got 2"):
        parts(side, outputs[:2], target)
    criterion = side.build("panoptic_deeplab")
    with pytest.raises(UserError, match="arrays by name, got"):
        criterion([side.tensor(o) for o in outputs], side.tensor(target["semantic"]))
    tiny = {key: array[..., :1, :1] for key, array in target.items()}
    with pytest.raises(UserError, match="of 2 pixels is none"):
        parts(side, [output[..., :1, :1] for output in outputs], tiny)
    for option, value in (("top_k", 0), ("top_k", 1.5), ("center_weight", -1.0)):
        with pytest.raises(ConfigError, match=f"{option} is {value}; set"):
            side.build("panoptic_deeplab", **{option: value})


# ----------------------------------------------------------------------------- ViP, and depth


def depths(seed=0):
    """True depths, 0 where unknown, none in the last image; and what was predicted."""
    rng = np.random.default_rng(seed)
    gt = np.where(rng.random(SHAPE) < 0.3, 0.0, rng.uniform(1, 80, SHAPE))
    gt[1] = 0.0
    return gt, rng.uniform(1, 80, (2, 1, 9, 13))


def test_depth_is_the_authors_formula_of_each_image(side):
    """model/loss/base_loss.py:601-610, 650-660 of deeplab2."""
    gt, pred = depths()
    found = {}
    tensor = side.tensor(pred)
    for name, term in side.build("depth").parts(tensor, side.tensor(gt)).items():
        found[name] = float(side.array(term))
    true, given = gt[0][gt[0] > 0], pred[0, 0][gt[0] > 0]
    error = np.log(true) - np.log(given)
    relative = np.sqrt((((true - given) / true) ** 2).mean())
    wanted = {"scale_invariant": error.var() / 2, "relative": relative / 2}
    assert found == pytest.approx(wanted, rel=1e-12)
    loss = side.build("depth")(tensor, side.tensor(gt))
    loss.backward()
    gradient = side.array(tensor.grad)
    assert np.isfinite(gradient).all()
    assert not gradient[1].any()
    assert gradient[0, 0][gt[0] > 0].all()
    with pytest.raises(UserError, match="depth has the shape"):
        side.build("depth")(tensor, side.tensor(gt[:, :8]))


def test_vip_adds_two_terms(side):
    outputs, target = scene()
    gt, pred = depths()
    moved = outputs[2] + 1.0
    target |= {"next_offset": outputs[2], "next_offset_weights": np.ones(SHAPE), "depth": gt}
    found = parts(side, [*outputs, moved, pred], target, name="vip_deeplab")
    own = expected(outputs, target, 0.2)
    depth = float(side.array(side.build("depth")(side.tensor(pred), side.tensor(gt))))
    assert found == pytest.approx(own | {"next_offset": 0.01, "depth": depth * 0.1}, rel=1e-12)


# ------------------------------------------------------------------------------------- aligned


@pytest.mark.parametrize(
    ("other", "settings"),
    [
        ({}, {}),
        ({}, {"top_k": 1.0}),
        ({}, {"top_k": None}),
        ({"top_k": 0.3}, {}),
        ({"top_k": 1.0}, {"top_k": None}),
        ({"ignore_index": 3}, {}),
        ({"center_weight": 100.0}, {}),
        ({"offset_weight": 0.02}, {}),
    ],
)
def test_the_loss_rung_tells_ports_apart(other, settings):
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    from align import align_loss

    theirs, ours = both()
    criteria = (
        theirs.build("panoptic_deeplab", **settings),
        ours.build("panoptic_deeplab", **{**settings, **other}),
    )
    outputs, target = scene()
    report = align_loss(*criteria, [outputs, target])
    assert report.exit_code == (1 if other else 0), report.verdict
    if not other:
        assert max(call.relative_error for call in report.calls) < 1e-12
        assert {"grad_input:0", "grad_input:1", "grad_input:2"} <= {c.where for c in report.calls}
