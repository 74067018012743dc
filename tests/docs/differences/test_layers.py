"""Rows of docs/differences.yml: normalisation, layers and their weights, first weights."""

from collections import OrderedDict

import numpy as np
import pytest

from tests.docs.differences.frameworks import (
    PADDLE2,
    PF,
    TF,
    apart,
    apart_relative,
    float64_layers,
    noise,
    paddle,
    pnn,
    pt,
    tnn,
    torch,
    tt,
)


def test_bn_momentum():
    image = noise(2, 3, 8, 8) + 1
    reference = tnn.BatchNorm2d(3, momentum=0.1)
    right, copied = pnn.BatchNorm2D(3, momentum=0.9), pnn.BatchNorm2D(3, momentum=0.1)
    for net, value in ((reference, tt(image)), (right, pt(image)), (copied, pt(image))):
        net(value)
    assert apart(right._mean, reference.running_mean) < 1e-7
    ratio = copied._mean.numpy() / reference.running_mean.numpy()
    assert ratio == pytest.approx([9, 9, 9], rel=1e-5)


def test_bn_running_variance():
    image = noise(2, 3, 4, 4)
    ported, reference = pnn.BatchNorm2D(3, momentum=0.9), tnn.BatchNorm2d(3, momentum=0.1)
    assert apart(ported(pt(image)), reference(tt(image))) < 1e-6
    ratio = (reference.running_var.numpy() - 0.9) / (ported._variance.numpy() - 0.9)
    assert ratio == pytest.approx([32 / 31] * 3, rel=1e-5)


def test_bn_momentum_none():
    tnn.BatchNorm2d(3, momentum=None)(tt(noise(2, 3, 4, 4)))
    with pytest.raises((TypeError, ValueError), match="NoneType"):
        pnn.BatchNorm2D(3, momentum=None)(pt(noise(2, 3, 4, 4)))


def test_bn_single_value():
    image = noise(1, 3, 1, 1)
    with pytest.raises(ValueError, match="more than 1 value"):
        tnn.BatchNorm2d(3)(tt(image))
    assert apart(pnn.BatchNorm2D(3)(pt(image)), image) == 0


def test_bn_statistics_are_parameters():
    ported, reference = pnn.BatchNorm2D(3), tnn.BatchNorm2d(3)
    assert [name for name, _ in ported.named_parameters()] == [
        *("weight", "bias", "_mean", "_variance")
    ]
    assert list(ported.named_buffers()) == []
    assert len(list(reference.parameters())) == 2
    assert [p.stop_gradient for p in ported.parameters()] == [False, False, True, True]


def test_bn_state_names():
    assert list(pnn.BatchNorm2D(3).state_dict()) == ["weight", "bias", "_mean", "_variance"]
    assert list(tnn.BatchNorm2d(3).state_dict()) == [
        *("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    ]


def test_norm_epsilon_float32():
    image = noise(4, 4, 8, 8, dtype="float64") * 1e-2
    for name, *sizes in (("BatchNorm2", 4), ("LayerNorm", 8), ("InstanceNorm2", 4)):
        with float64_layers():
            ported = getattr(pnn, name + "D" * name.endswith("2"))(*sizes)(pt(image))
        reference = getattr(tnn, name + "d" * name.endswith("2"))(*sizes).double()
        assert 5e-10 < apart_relative(ported, reference(tt(image))) < 1e-8, name
        reference.eps = float(np.float32(reference.eps))
        assert apart_relative(ported, reference(tt(image))) < 1e-14, name


def gradients(theirs, ours, array):
    """Return the gradients of the sum of cubes of (Paddle's, torch's) result."""
    x, y = tt(array, grad=True), pt(array)
    y.stop_gradient = False
    theirs(x).pow(3).sum().backward()
    ours(y).pow(3).sum().backward()
    return y.grad, x.grad


def test_group_norm_without_weight():
    bare = (
        tnn.GroupNorm(2, 4, affine=False),
        pnn.GroupNorm(2, 4, weight_attr=False, bias_attr=False),
    )
    image = noise(2, 4, 3, 5)
    assert apart_relative(bare[1](pt(image)), bare[0](tt(image))) < 1e-5
    if not PADDLE2:
        assert apart_relative(*gradients(*bare, image)) > 0.1
    whole = tnn.GroupNorm(2, 4), pnn.GroupNorm(2, 4)
    assert apart_relative(*gradients(*whole, image)) < 1e-5


def test_layer_norm_with_a_frozen_weight():
    pair, image = (tnn.LayerNorm(5), pnn.LayerNorm(5)), noise(2, 4, 3, 5)
    weight = noise(5, seed=1)
    pair[0].weight.data.copy_(tt(weight))
    pair[1].weight.set_value(weight)
    assert apart_relative(*gradients(*pair, image)) < 1e-5
    pair[0].bias.requires_grad, pair[1].bias.stop_gradient = False, True
    assert apart_relative(*gradients(*pair, image)) < 1e-5
    pair[0].weight.requires_grad, pair[1].weight.stop_gradient = False, True
    assert apart_relative(pair[1](pt(image)), pair[0](tt(image))) < 1e-5
    assert apart_relative(*gradients(*pair, image)) > 0.1
    x = pt(image, grad=True)
    (PF.layer_norm(x, 5) * pair[1].weight).square().sum().backward()
    y = tt(image, grad=True)
    pair[0](y).square().sum().backward()
    assert apart_relative(x.grad, y.grad) < 1e-5


def test_group_norm_variance():
    few = noise(2, 4, 1, 2, dtype="float64") * 1e-2 + 64
    eps = 2.0**-17  # the same in float32
    lost = {}
    for name, (theirs, ours) in {
        "group": (tnn.GroupNorm(2, 4, eps), pnn.GroupNorm(2, 4, eps)),
        "layer": (tnn.LayerNorm(2, eps), pnn.LayerNorm(2, eps)),
        "instance": (tnn.InstanceNorm2d(4, eps), pnn.InstanceNorm2D(4, eps)),
    }.items():
        ours.to(dtype="float64")
        exact = theirs.double()(tt(few - 64))
        assert apart_relative(theirs(tt(few)), exact) < 1e-11
        lost[name] = apart_relative(ours(pt(few)), exact)
    assert lost["group"] > 1e-9
    assert max(lost["layer"], lost["instance"]) < 1e-11


def test_normalize_epsilon():
    def theirs(x):
        return torch.nn.functional.normalize(x, dim=1, eps=1e-3)

    def ours(x):
        return paddle.nn.functional.normalize(x, axis=1, epsilon=1e-3)

    def written_out(x):
        return x / x.square().sum(1, keepdim=True).sqrt().clip(min=1e-3)

    rows = noise(4, 8, dtype="float64")
    assert apart_relative(ours(pt(rows)), theirs(tt(rows))) < 1e-14
    if not PADDLE2:
        assert apart_relative(*gradients(theirs, ours, rows)) > 1e-4
    assert apart_relative(*gradients(theirs, written_out, rows)) < 1e-12


def test_group_norm_epsilon():
    image = noise(4, 4, 8, 8, dtype="float64") * 1e-2
    with float64_layers():
        ported = pnn.GroupNorm(2, 4)(pt(image))
    reference = tnn.GroupNorm(2, 4).double()
    if PADDLE2:
        assert 5e-10 < apart_relative(ported, reference(tt(image))) < 1e-8
        reference.eps = float(np.float32(reference.eps))
    assert apart_relative(ported, reference(tt(image))) < 1e-14


def test_sync_bn_on_cpu():
    tnn.SyncBatchNorm(3).eval()(tt(noise(2, 3, 4, 4)))
    ported = pnn.SyncBatchNorm(3)
    ported.eval()
    with pytest.raises(RuntimeError, match="sync_batch_norm"):
        ported(pt(noise(2, 3, 4, 4)))


def test_instance_norm_weights():
    assert list(tnn.InstanceNorm2d(3).state_dict()) == []
    assert list(pnn.InstanceNorm2D(3).state_dict()) == ["scale", "bias"]
    assert list(pnn.InstanceNorm2D(3, weight_attr=False, bias_attr=False).state_dict()) == []


def test_layer_norm_weight_is_flat():
    assert list(pnn.LayerNorm([4, 5]).weight.shape) == [20]
    assert list(tnn.LayerNorm([4, 5]).weight.shape) == [4, 5]


def test_linear_weight_is_transposed():
    reference, ported = tnn.Linear(4, 4), pnn.Linear(4, 4)
    values, row = reference.weight.detach().numpy(), noise(2, 4)
    assert list(pnn.Linear(2, 3).weight.shape) == [2, 3]
    assert list(tnn.Linear(2, 3).weight.shape) == [3, 2]
    ported.set_state_dict({"weight": values, "bias": reference.bias.detach().numpy()})
    assert apart(ported(pt(row)), reference(tt(row))) > 0.1
    ported.weight.set_value(np.ascontiguousarray(values.T))
    assert apart(ported(pt(row)), reference(tt(row))) < 1e-6


def test_prelu_weight_name():
    assert list(pnn.PReLU().state_dict()) == ["_weight"]
    assert list(tnn.PReLU().state_dict()) == ["weight"]


def test_attention_weights():
    names = list(pnn.MultiHeadAttention(4, 2).state_dict())
    assert names[:2] == ["q_proj.weight", "q_proj.bias"]
    assert len(names) == 8
    assert list(tnn.MultiheadAttention(4, 2).state_dict())[:2] == ["in_proj_weight", "in_proj_bias"]


def test_attention_result():
    row = noise(1, 3, 4)
    assert isinstance(pnn.MultiHeadAttention(4, 2)(pt(row)), paddle.Tensor)
    reference = tnn.MultiheadAttention(4, 2, batch_first=True)(*[tt(row)] * 3)
    assert isinstance(reference, tuple)


def test_attention_mask():
    """The first of two keys is hidden by each framework's own sign."""
    query, keys = noise(1, 1, 1, 4), noise(1, 2, 1, 4, seed=1)
    mask = np.array([[[[True, False]]]])
    # torch [batch, heads, length, size]; Paddle [batch, length, heads, size]
    if not PADDLE2:
        ported = PF.scaled_dot_product_attention(pt(query), pt(keys), pt(keys), pt(mask))
        assert apart(ported, keys[:, :1]) < 1e-6
    layer, mha = pnn.MultiHeadAttention(4, 1), tnn.MultiheadAttention(4, 1, batch_first=True)
    _, weights = mha(*[tt(noise(1, 2, 4))] * 3, attn_mask=tt([[True, False], [True, False]]))
    assert weights[0, :, 0].tolist() == [0, 0]  # True hides
    both = pt(noise(1, 2, 4))
    shown = layer(both, attn_mask=pt(np.array([[[[True, False], [True, False]]]])))
    values = layer.out_proj(layer.v_proj(both))
    assert apart(shown[0, 0], values[0, 0]) < 1e-5  # True keeps: only the first key counts


def test_lstm_batch_first():
    batch = noise(2, 5, 3)
    assert list(pnn.LSTM(3, 4)(pt(batch))[1][0].shape) == [1, 2, 4]
    assert list(tnn.LSTM(3, 4)(tt(batch))[1][0].shape) == [1, 5, 4]


def test_lstm_keys_are_doubled():
    sizes = {"input_size": 2, "hidden_size": 2, "num_layers": 2}
    ported = pnn.LSTM(**sizes, direction="bidirect").state_dict()
    assert len(ported) == 32
    assert "0.cell_fw.weight_ih" in ported
    assert len(tnn.LSTM(**sizes, bidirectional=True).state_dict()) == 16


def test_lstm_backward_in_eval():
    row = noise(1, 3, 2)
    tnn.LSTM(2, 2).eval()(tt(row))[0].sum().backward()
    ported = pnn.LSTM(2, 2)
    ported.eval()
    with pytest.raises(RuntimeError, match="holds no memory"):
        ported(pt(row))[0].sum().backward()


def test_lstm_to_float64():
    row = noise(1, 3, 2, dtype="float64")
    tnn.LSTM(2, 2).to(torch.float64)(tt(row))
    ported = pnn.LSTM(2, 2)
    with pytest.raises(RuntimeError, match="PreconditionNotMet"):
        ported.to(dtype="float64")
    with float64_layers():
        pnn.LSTM(2, 2)(pt(row))


def test_layer_astype():
    assert pnn.Linear(1, 1).to(dtype="float64").weight.dtype == paddle.float64
    changed = pnn.Linear(1, 1).astype("float64").weight.dtype
    assert changed == (paddle.float64 if PADDLE2 else paddle.float32)


def test_embedding_padding_row():
    ones = np.ones((3, 2), "float32")
    ported = pnn.Embedding(3, 2, padding_idx=0)
    ported.weight.set_value(ones)
    reference = tnn.Embedding.from_pretrained(tt(ones), padding_idx=0)
    assert ported(pt([0])).tolist() == [[0, 0]]
    assert reference(tt([0])).tolist() == [[1, 1]]


def test_layer_arguments():
    tnn.ReLU(inplace=True), tnn.Linear(1, 1, bias=False), tnn.Conv2d(1, 1, 1, bias=False)
    for wrong in (lambda: pnn.ReLU(inplace=True), lambda: pnn.Linear(1, 1, bias=False)):
        with pytest.raises(TypeError):
            wrong()
    assert pnn.Linear(1, 1, bias_attr=False).bias is None
    if PADDLE2:
        with pytest.raises(TypeError):
            pnn.Conv2D(1, 1, 1, bias=False)
    else:
        assert pnn.Conv2D(1, 1, 1, bias=False).bias is None


def test_eval_returns_nothing():
    assert isinstance(tnn.ReLU().eval(), tnn.ReLU)
    assert (pnn.ReLU().eval() is None) == PADDLE2
    assert (pnn.ReLU().train() is None) == PADDLE2


def test_named_sublayers_leave_out_the_root():
    assert [name for name, _ in tnn.Sequential(tnn.ReLU()).named_modules()] == ["", "0"]
    assert [name for name, _ in pnn.Sequential(pnn.ReLU()).named_sublayers()] == ["0"]


def test_sequential_of_names():
    tnn.Sequential(OrderedDict(a=tnn.ReLU()))
    assert [n for n, _ in pnn.Sequential(("a", pnn.ReLU())).named_sublayers()] == ["a"]
    if PADDLE2:
        with pytest.raises(AssertionError):
            pnn.Sequential(OrderedDict(a=pnn.ReLU()))
    else:
        pnn.Sequential(OrderedDict(a=pnn.ReLU()))


def test_buffer_argument():
    tnn.Module().register_buffer("a", tt([1.0]), persistent=False)
    layer = pnn.Layer()
    layer.register_buffer("a", pt([1.0]), persistable=False)
    assert list(layer.state_dict()) == []
    if PADDLE2:
        with pytest.raises(TypeError):
            layer.register_buffer("b", pt([1.0]), persistent=False)


def test_forward_hook_name():
    seen = []
    for layer, name in ((tnn.ReLU(), "register_forward_hook"), (pnn.ReLU(), None)):
        getattr(layer, name or "register_forward_post_hook")(lambda *_: seen.append(1))
        layer(tt([1.0]) if name else pt([1.0]))
    assert seen == [1, 1]
    assert hasattr(pnn.ReLU(), "register_forward_hook") != PADDLE2


def test_conv_needs_a_batch():
    assert list(tnn.Conv2d(3, 1, 1)(tt(noise(3, 4, 4))).shape) == [1, 4, 4]
    with pytest.raises(ValueError, match="4-D or 5-D"):
        pnn.Conv2D(3, 1, 1)(pt(noise(3, 4, 4)))


def test_conv_same_padding_ignores_dilation():
    image, weight = noise(2, 3, 8, 9), noise(2, 3, 3, 3, seed=1)
    ported = PF.conv2d(pt(image), pt(weight), padding="SAME", dilation=2)
    plain = TF.conv2d(tt(image), tt(weight), padding="same")
    dilated = TF.conv2d(tt(image), tt(weight), padding="same", dilation=2)
    assert apart(ported, dilated) > 5
    assert apart(ported, plain) < 1e-5
    given = PF.conv2d(pt(image), pt(weight), padding=2, dilation=2)
    assert apart(given, dilated) < 1e-5


def spread(tensor) -> float:
    return float(np.std(tensor.numpy() if hasattr(tensor, "stop_gradient") else tensor.tolist()))


def test_conv_init():
    ported, reference = pnn.Conv2D(64, 64, 3), tnn.Conv2d(64, 64, 3)
    assert spread(ported.weight) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.03)
    assert spread(reference.weight) == pytest.approx((1 / (9 * 64 * 3)) ** 0.5, rel=0.03)


def test_conv_init_of_groups():
    ported = pnn.Conv2D(64, 64, 3, groups=64)
    reference = tnn.Conv2d(64, 64, 3, groups=64)
    assert spread(ported.weight) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.15)
    assert spread(reference.weight) == pytest.approx((1 / (9 * 3)) ** 0.5, rel=0.15)


def test_bias_init():
    for ported, reference in (
        (pnn.Conv2D(64, 64, 3), tnn.Conv2d(64, 64, 3)),
        (pnn.Linear(64, 64), tnn.Linear(64, 64)),
        (pnn.Conv2DTranspose(64, 64, 3), tnn.ConvTranspose2d(64, 64, 3)),
    ):
        assert float(ported.bias.abs().max()) == 0
        assert spread(reference.bias) > 0.01


def test_linear_init():
    assert spread(pnn.Linear(512, 512).weight) == pytest.approx((2 / 1024) ** 0.5, rel=0.03)
    assert spread(tnn.Linear(512, 512).weight) == pytest.approx((1 / (3 * 512)) ** 0.5, rel=0.03)


def test_conv_transpose_init():
    ported, reference = pnn.Conv2DTranspose(64, 64, 3), tnn.ConvTranspose2d(64, 64, 3)
    assert spread(ported.weight) == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.03)
    assert spread(reference.weight) == pytest.approx((1 / (9 * 64 * 3)) ** 0.5, rel=0.03)


def test_embedding_init():
    assert spread(pnn.Embedding(1000, 64).weight) == pytest.approx((2 / 1064) ** 0.5, rel=0.03)
    assert spread(tnn.Embedding(1000, 64).weight) == pytest.approx(1, rel=0.03)


def test_attention_init():
    ported, reference = pnn.MultiHeadAttention(64, 2), tnn.MultiheadAttention(64, 2)
    assert spread(ported.q_proj.weight) == pytest.approx((2 / 128) ** 0.5, rel=0.05)
    assert spread(reference.in_proj_weight) == pytest.approx((2 / 256) ** 0.5, rel=0.05)


def test_kaiming_fan_out():
    if PADDLE2:
        with pytest.raises(TypeError):
            pnn.initializer.KaimingNormal(mode="fan_out")
    else:
        pnn.initializer.KaimingNormal(mode="fan_out")


def test_truncated_normal_bounds():
    attribute = paddle.ParamAttr(initializer=pnn.initializer.TruncatedNormal(0.0, 0.02))
    ported = pnn.Linear(400, 500, weight_attr=attribute).weight
    reference = tnn.init.trunc_normal_(torch.empty(400, 500), std=0.02)
    assert float(reference.abs().max()) > 0.06
    assert spread(reference) == pytest.approx(0.02, rel=0.02)
    assert spread(ported) == pytest.approx(0.0176 if PADDLE2 else 0.02, rel=0.02)
    assert (float(ported.abs().max()) <= 0.04001) == PADDLE2


def test_seeds():
    paddle.seed(0), torch.manual_seed(0)
    assert apart(paddle.randn([4]), torch.randn(4)) > 0.1
