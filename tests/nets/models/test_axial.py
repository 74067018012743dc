"""Axial-ResNet: names, attention by its formula, sizes, tables, equal pairs, wrong ports."""

import json

import numpy as np
import pytest

from tests.paths import MANIFESTS

torch = pytest.importorskip("torch")

import torch_ref
from common.errors import ConfigError, UserError
from common.shapes import relative_places
from torch_ref.models.backbones import axial
from torch_ref.seeded import build_seeded

FILES = {
    "axial26s_csrhddlam": ("axial_r26s", 5_944_936, 416),
    "axial50s_csrhddlam": ("axial_r50s", 11_586_216, 800),
    "axial50m_csrhddlam": ("axial_r50m", 25_179_400, 800),
    "axial50l_csrhddlam": ("axial_r50l", 43_973_480, 800),
}
SMALL = {"image_size": 32, "width": 0.25, "num_classes": 5}


def manifest(file):
    return json.loads((MANIFESTS / f"{file}.json").read_text())["state_dict"]


def image(size=32, count=2, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 3, size, size))


# -------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("file", FILES)
def test_reference_has_the_keys_shapes_and_order_of_the_authors_file(file):
    row, parameters, keys = FILES[file]
    with torch.device("meta"):
        net = torch_ref.build_model(row)
    found = [[k, list(v.shape), str(v.dtype)[6:]] for k, v in net.state_dict().items()]
    assert found == manifest(file)
    assert (sum(p.numel() for p in net.parameters()), len(found)) == (parameters, keys)


@pytest.mark.parametrize("file", FILES)
def test_a_file_says_by_itself_what_it_is(file):
    from convert.nets.recognise import recognise

    found = recognise({key: tuple(shape) for key, shape, _ in manifest(file)})
    assert found.row == FILES[file][0]
    assert found.options == {"num_classes": 1000, "image_size": 224}


def test_a_file_of_another_size_tells_it():
    from convert.nets.recognise import recognise

    with torch.device("meta"):
        net = torch_ref.build_model("axial_r26s", image_size=64)
    shapes = {key: tuple(tensor.shape) for key, tensor in net.state_dict().items()}
    found = recognise(shapes)
    assert (found.row, found.options["image_size"]) == ("axial_r26s", 64)
    assert found.pair.input_of(found.options) == (1, 3, 64, 64)
    table = "layer1.0.hight_block.relative"
    for length in (2**40 - 1, 32, -1):
        assert found.pair.told_by({**shapes, table: (16, length)}) == {}
    assert found.pair.told_by({**shapes, table: (16,)}) == {}


def test_a_conversion_accounts_for_every_tensor_and_keeps_the_indices():
    paddle_impl = pytest.importorskip("paddle_impl")
    from convert import convert_state

    net = build_seeded("axial_r26s", 0, **SMALL)
    arrays = {key: tensor.numpy() for key, tensor in net.state_dict().items()}
    conversion = convert_state(arrays, paddle_impl.build_model("axial_r26s", **SMALL))
    counters = {key for key in arrays if key.endswith("num_batches_tracked")}
    assert len(conversion.state) == len(arrays) - len(counters)
    index = conversion.state["layer2.0.width_block.flatten_index"]
    assert index.dtype == np.int64
    np.testing.assert_array_equal(index, relative_places(8))


def test_what_both_hold_at_rest_is_compared_and_another_index_is_found():
    pytest.importorskip("paddle")
    from align import align_weights
    from commands.subjects.rows import seeded_pair

    reference, port = seeded_pair("axial_r26s", 0, **SMALL)
    assert align_weights(reference, port).exit_code == 0
    index = reference.layer1[0].hight_block.flatten_index
    index.copy_(index.flip(0))
    report = align_weights(reference, port)
    assert report.exit_code == 1
    assert [d.layer for d in report.divergences] == ["layer1.0.hight_block"]


# ---------------------------------------------------------------------------------- attention


def test_attention_is_its_formula():
    """Written out pixel by pixel, from the authors' axialnet.py:52-92."""
    torch.manual_seed(0)
    planes, length = 16, 3
    attention = axial.AxialAttention(planes, length, rows=True).double().eval()
    torch.nn.init.normal_(attention.bn_similarity.weight)
    x = torch.randn(1, planes, 1, length, dtype=torch.float64)
    qkv = attention.bn_qkv(attention.qkv_transform(x[:, :, 0])).detach().numpy()[0]
    table = attention.relative.detach().numpy()
    gains = attention.bn_similarity.weight.detach().numpy() / np.sqrt(1 + 1e-5)
    expected = np.zeros((planes, length))
    for head in range(8):
        q, k, *v = qkv[head * 4 : head * 4 + 4]
        scores = np.zeros((length, length))
        for i in range(length):
            for j in range(length):
                forth, back = table[:, i - j + length - 1], table[:, j - i + length - 1]
                terms = (q[i] * k[j], q[i] * forth[0], k[j] * back[1])
                scores[i, j] = sum(t * gains[n * 8 + head] for n, t in enumerate(terms))
        weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        for c in range(2):
            for i in range(length):
                places = [table[2 + c, i - j + length - 1] for j in range(length)]
                expected[head * 2 + c, i] = weights[i] @ (v[c] + places) / np.sqrt(1 + 1e-5)
    found = attention(x).detach().numpy()[0, :, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_columns_are_rows_of_the_map_turned_over():
    torch.manual_seed(0)
    columns = axial.AxialAttention(16, 4, rows=False).double().eval()
    rows = axial.AxialAttention(16, 4, rows=True).double().eval()
    rows.load_state_dict(columns.state_dict())
    x = torch.randn(2, 16, 4, 4, dtype=torch.float64)
    assert torch.equal(columns(x), rows(x.transpose(2, 3)).transpose(2, 3))


# -------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize("size", [(64, 64), (32, 64), (31, 32)])
def test_another_size_than_the_tables_is_refused_on_both_sides(size):
    paddle = pytest.importorskip("paddle")
    import paddle_impl

    x = np.zeros((1, 3, *size), np.float32)
    reference, port = (room.build_model("axial_r26s", **SMALL) for room in (torch_ref, paddle_impl))
    for net, tensor in ((reference, torch.from_numpy(x)), (port, paddle.to_tensor(x))):
        with pytest.raises(UserError, match=rf"expected 32x32.*got {size[0]}x{size[1]}"):
            net(tensor)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"image_size": 100}, "multiple of 32"),
        ({"image_size": 0}, "multiple of 32"),
        ({"width": 0}, "width is 0"),
        ({"width": float("inf")}, "width is inf"),
    ],
)
def test_sizes_that_no_net_has(options, says):
    with pytest.raises(ConfigError, match=says):
        torch_ref.build_model("axial_r26s", **options)


def test_a_table_is_resized_around_its_middle():
    table = torch.arange(5, dtype=torch.float64).reshape(1, 5) ** 2
    found, index = axial.resize_table(table, 5)
    expected = np.interp(np.arange(9) / 2, np.arange(5), np.arange(5) ** 2)
    np.testing.assert_allclose(found.numpy()[0], expected)
    np.testing.assert_array_equal(index.numpy(), relative_places(5))
    assert torch.equal(axial.resize_table(table, 3)[0], table)


# -------------------------------------------------------------------------------------- pairs


@pytest.mark.parametrize("train", [False, True])
def test_the_pair_is_equal_as_a_whole(train):
    pytest.importorskip("paddle")
    from tests.nets.models.whole_net import whole_net

    found = whole_net("axial_r26s", 0, image().shape, train, **SMALL)
    for what, error in found.items():
        assert error < (1e-9 if what.startswith("output") else 1e-7), (what, error)


def test_the_trunk_is_equal_where_tables_are_resized():
    paddle = pytest.importorskip("paddle")
    from align import align_backward
    from align.pairing.fill import load_state
    from convert import convert_state
    from paddle_impl.models.backbones.axial import AxialNet

    torch.manual_seed(0)
    options = {"image_size": 64, "output_stride": 16, "resizes": True, "width": 0.25}
    reference = axial.AxialNet((1, 1, 1, 1), 0.5, **options)
    for block in reference.modules():
        if isinstance(block, axial.AxialBlock):
            torch.nn.init.uniform_(block.bn2.weight, 0.5, 1.5)
    port = AxialNet((1, 1, 1, 1), 0.5, **options)
    arrays = {key: tensor.numpy() for key, tensor in reference.state_dict().items()}
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 48))
    stages = port(paddle.to_tensor(x.astype(np.float32)))
    assert [tuple(stage.shape[2:]) for stage in stages] == [(8, 12), (4, 6), (2, 3), (2, 3)]
    load_state(port, convert_state(arrays, port).state)
    report = align_backward(reference, port, [x])
    assert report.exit_code == 0, report.verdict


# What a port has otherwise, and the function of ours that stands for it.
FAULTS = {
    "key's places not turned over": (
        "attend",
        lambda right: (
            lambda qkv, places, similarity, output: right(
                qkv, turned_key(places), similarity, output
            )
        ),
    ),
    "scaled as in a transformer": (
        "attend",
        lambda right: (
            lambda qkv, places, similarity, output: right(qkv * 0.5, places, similarity, output)
        ),
    ),
    "distances the other way": (
        "spread",
        lambda right: lambda table, index, length: right(table, index.flip(0), length),
    ),
}


def turned_key(places):
    import paddle

    quarter = places.shape[0] // 4
    q, k, v = paddle.split(places, [quarter, quarter, 2 * quarter])
    return paddle.concat([q, k.transpose([0, 2, 1]), v])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_attention_is_found_at_its_place(monkeypatch, fault):
    pytest.importorskip("paddle")
    from align import align_forward
    from align.pairing.fill import load_state
    from convert import convert_state
    from paddle_impl.models.backbones import axial as port_of

    torch.manual_seed(0)
    name, wrong = FAULTS[fault]
    monkeypatch.setattr(port_of, name, wrong(getattr(port_of, name)))
    reference, port = (room.AxialAttention(16, 4, rows=False) for room in (axial, port_of))
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    report = align_forward(
        reference, port, [np.random.default_rng(0).standard_normal((1, 16, 4, 2))]
    )
    assert report.exit_code == 1
    assert {d.layer for d in report.divergences} == {""}


def test_batch_norm_of_lines_is_torchs():
    """Paddle's own `BatchNorm1D` keeps the biased variance, and epsilon in float32."""
    paddle = pytest.importorskip("paddle")
    from paddle_impl.layers import BatchNorm1D

    x = np.random.default_rng(0).standard_normal((3, 4, 2)) * 1e-2
    reference, port = torch.nn.BatchNorm1d(4).double(), BatchNorm1D(4)
    port.to(dtype="float64")
    theirs, ours = torch.from_numpy(x), paddle.to_tensor(x)
    for train in (True, False):
        for net in (reference, port):
            net.train() if train else net.eval()
        found = port(ours).numpy()
        np.testing.assert_allclose(found, reference(theirs).detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(port._mean.numpy(), reference.running_mean.numpy(), rtol=1e-13)
    np.testing.assert_allclose(port._variance.numpy(), reference.running_var.numpy(), rtol=1e-13)
    with pytest.raises(ValueError, match="expected 4D"):
        port(paddle.to_tensor(x[:, :, 0]))
