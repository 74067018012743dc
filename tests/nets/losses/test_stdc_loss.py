"""STDC-Seg's whole loss on both sides."""

import numpy as np
import pytest

from common.errors import UserError
from tests.nets.losses.criteria import (
    CLASSES,
    assert_twins,
    evaluate,
    make_blocks,
    make_logits,
    ohem_numpy,
)


def stdc_case(heads, seed=10):
    label = make_blocks((2, 33, 65), seed, classes=CLASSES)
    rng = np.random.default_rng(seed + 1)
    outputs = [make_logits(label, sharpness, seed) for sharpness in (3.0, 1.0, 0.0)]
    for size in [(9, 17), (17, 33), (33, 65)][:heads]:
        outputs.append(rng.standard_normal((2, 1, *size)))
    return outputs, label


@pytest.mark.parametrize("heads", [0, 1, 2, 3])
def test_stdc_loss_is_the_sum_of_its_named_parts(side, heads):
    outputs, label = stdc_case(heads)
    criterion = side.build("stdc", ohem={"min_kept": 200})
    tensors = tuple(side.tensor(array) for array in outputs)
    parts = criterion.parts(tensors, side.tensor(label))
    details = [(), ("sp8",), ("sp4", "sp8"), ("sp2", "sp4", "sp8")][heads]
    expected = ["ohem_out", "ohem_out16", "ohem_out32"]
    expected += [f"{kind}_{name}" for name in details for kind in ("bce", "dice")]
    assert list(parts) == expected
    for name, logits in zip(expected, outputs[:3], strict=False):
        wanted = ohem_numpy(logits, label, 0.7, 200)[0]
        assert float(side.array(parts[name])) == pytest.approx(wanted, rel=1e-12)
    (value,), _ = evaluate(side, criterion, outputs, label)
    assert value == pytest.approx(sum(float(side.array(p)) for p in parts.values()), rel=1e-13)


def test_stdc_loss_takes_what_the_net_returns(side):
    net, criterion = side.room.build_model("stdc1_seg"), side.build("stdc", dtype="float32")
    images = np.random.default_rng(14).standard_normal((2, 3, 64, 96)).astype(np.float32)
    label = side.tensor(make_blocks((2, 64, 96), seed=15))
    parts = criterion.parts(net(side.tensor(images)), label)
    assert list(parts) == ["ohem_out", "ohem_out16", "ohem_out32", "bce_sp8", "dice_sp8"]
    criterion.total(parts).backward()
    assert np.isfinite([side.array(part) for part in parts.values()]).all()
    assert side.array(net.conv_out.conv_out.weight.grad).any()
    assert not side.array(criterion.detail.fuse_kernel.grad).any()


def test_stdc_loss_hands_settings_on(side):
    criterion = side.build("stdc", ohem={"threshold": 0.5}, detail={"decaying_fuse_kernel": False})
    assert criterion.ohem.threshold == 0.5
    assert list(criterion.parameters()) == []
    assert [n for n, _ in side.build("stdc").named_parameters()] == ["detail.fuse_kernel"]


@pytest.mark.parametrize("heads", [0, 3])
def test_twins_stdc(heads):
    assert_twins("stdc", *stdc_case(heads), 1e-12, ohem={"min_kept": 200})


@pytest.mark.parametrize("count", [1, 2, 7])
def test_stdc_loss_refuses_another_number_of_outputs(side, count):
    outputs = tuple(side.tensor(np.zeros((2, 5, 6, 8))) for _ in range(count))
    with pytest.raises(UserError, match=f"got {count}"):
        side.build("stdc")(outputs, side.tensor(np.zeros((2, 6, 8), np.int64)))
    with pytest.raises(UserError, match=r"got .*Tensor"):
        side.build("stdc")(outputs[0], side.tensor(np.zeros((2, 6, 8), np.int64)))
