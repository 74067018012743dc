"""The STDC pair: the authors' names, their outputs in both modes, equal gradients and buffers."""

import json

import numpy as np
import pytest

from tests.paths import MANIFESTS

torch = pytest.importorskip("torch")

import torch_ref
from common.errors import UserError
from torch_ref.seeded import build_seeded

FILES = {
    "stdc1_cls_official": ("stdc1_cls", {}),
    "stdc2_cls_official": ("stdc2_cls", {}),
    "stdc1_seg_official": ("stdc1_seg", {}),
    "stdc2_seg_official": ("stdc2_seg", {}),
    "stdc1_seg_official_plainbn": ("stdc1_seg", {"head_norm": "bn"}),
    "stdc2_seg_official_plainbn": ("stdc2_seg", {"head_norm": "bn"}),
}


@pytest.mark.parametrize("file", FILES)
def test_reference_has_the_keys_shapes_and_order_of_the_authors_file(file):
    name, options = FILES[file]
    with torch.device("meta"):
        net = torch_ref.build_model(name, **options)
    manifest = json.loads((MANIFESTS / f"{file}.json").read_text())
    state = net.state_dict()
    assert [[k, list(v.shape), str(v.dtype)[6:]] for k, v in state.items()] == manifest[
        "state_dict"
    ]


def test_reference_loads_a_file_without_version_strictly():
    """Old files carry no metadata: a BatchNorm would then expect a counter."""
    net = torch_ref.build_model("stdc1_seg")
    plain = {key: value.clone() for key, value in net.state_dict().items()}
    net.load_state_dict(plain, strict=True)


@pytest.mark.parametrize(
    ("flags", "channels"),
    [
        ((False, False, False), []),
        ((False, False, True), [(8, 12)]),
        ((False, True, True), [(16, 24), (8, 12)]),
        ((True, True, True), [(32, 48), (16, 24), (8, 12)]),
    ],
)
def test_outputs_of_the_combinations_that_the_authors_support(flags, channels):
    options = {f"use_boundary_{s}": flag for s, flag in zip((2, 4, 8), flags, strict=True)}
    net = torch_ref.build_model("stdc1_seg", num_classes=5, **options).eval()
    with torch.no_grad():
        outputs = net(torch.zeros(1, 3, 64, 96))
    assert [tuple(out.shape) for out in outputs[:3]] == [(1, 5, 64, 96)] * 3
    assert [tuple(out.shape) for out in outputs[3:]] == [(1, 1, *size) for size in channels]


def test_other_combinations_are_refused():
    with pytest.raises(UserError, match="use_boundary_2"):
        torch_ref.build_model("stdc1_seg", use_boundary_2=True, use_boundary_8=True)


def test_unknown_option_and_row_are_refused():
    with pytest.raises(UserError, match=r"no option 'classes'.*num_classes"):
        torch_ref.build_model("stdc1_seg", classes=19)
    with pytest.raises(UserError, match="stdc1_seg"):
        torch_ref.build_model("stdc3_seg")
    with pytest.raises(UserError, match="inplace_abn"):
        torch_ref.build_model("stdc1_seg", head_norm="syncbn")


def test_heads_that_are_not_returned_run_in_train_mode_only():
    net = build_seeded("stdc1_seg", 0)
    statistics = net.conv_out_sp16.conv.bn.running_mean
    before = statistics.clone()
    x = torch.randn(2, 3, 64, 96)
    net.eval()(x)
    assert torch.equal(statistics, before)
    net.train()(x)
    assert not torch.equal(statistics, before)


def test_inplace_abn_scales_by_the_absolute_weight():
    norm = torch_ref.layers.InPlaceABN(2).double().eval()
    norm.weight.data = torch.tensor([-0.5, 0.5], dtype=torch.float64)
    out = norm(torch.ones(1, 2, 1, 1, dtype=torch.float64)).flatten()
    expected = (0.5 + 1e-5) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(out.detach().numpy(), [expected, expected], rtol=1e-14)


def whole_net(train):
    """Run STDC1-Seg in float64 on both sides with the authors' own epsilon."""
    paddle = pytest.importorskip("paddle")
    import paddle_impl
    from align.pairing.fill import load_state
    from convert import convert_state

    reference = build_seeded("stdc1_seg", 3).double().train(train)
    paddle.set_default_dtype("float64")
    try:
        port = paddle_impl.build_model("stdc1_seg")
    finally:
        paddle.set_default_dtype("float32")
    arrays = {key: tensor.numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state({k: v.copy() for k, v in arrays.items()}, port).state)
    port.train() if train else port.eval()
    x = np.random.default_rng(3).standard_normal((2, 3, 64, 96))
    theirs_x = torch.from_numpy(x).requires_grad_()
    ours_x = paddle.to_tensor(x, stop_gradient=False)
    theirs, ours = reference(theirs_x), port(ours_x)
    rng = np.random.default_rng(4)
    cotangents = [rng.standard_normal(out.shape) for out in theirs]
    sum((o * torch.from_numpy(c)).sum() for o, c in zip(theirs, cotangents, strict=True)).backward()
    sum((o * paddle.to_tensor(c)).sum() for o, c in zip(ours, cotangents, strict=True)).backward()
    return reference, port, (theirs_x, theirs), (ours_x, ours)


def distance(theirs, ours):
    theirs = theirs.detach().numpy()
    return float(np.abs(theirs - ours.numpy()).max() / (np.abs(theirs).max() or 1.0))


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
def test_whole_net_is_equal_within_the_table(train):
    from convert import convert_state

    reference, port, (theirs_x, theirs), (ours_x, ours) = whole_net(train)
    errors = [distance(a, b) for a, b in zip(theirs, ours, strict=True)]
    assert max(errors[:3]) < 5e-6  # after a bilinear resize
    assert errors[3] < 1e-9  # the detail head is not resized
    assert distance(theirs_x.grad, ours_x.grad) < 5e-6
    gradients = dict(reference.named_parameters())
    compared = 0
    for name, parameter in port.named_parameters():
        if parameter.grad is None or parameter.stop_gradient:
            continue
        theirs_grad = gradients[name].grad
        assert distance(theirs_grad, parameter.grad) < 5e-6, name
        compared += 1
    assert compared > 100
    arrays = {k: v.numpy() for k, v in reference.state_dict().items()}
    for key, expected in convert_state(arrays, port).state.items():
        if key.endswith(("_mean", "_variance")):
            got = port.state_dict()[key].numpy()
            # Means may cancel: relative to the spread of the values they are means of.
            scale = np.abs(expected).max()
            assert np.abs(expected - got).max() / scale < 1e-9, key
