"""MaX-DeepLab-S: names, the exchange of pixels and memory by its formula, sizes, equal pairs."""

import json

import numpy as np
import pytest

from tests.paths import MANIFESTS

torch = pytest.importorskip("torch")

import torch_ref
from common.errors import ConfigError, UserError
from torch_ref.models.panoptic import max_deeplab

FILES = {
    "max_deeplab_s_conradry_640": ({}, 61_782_860),
    "max_deeplab_s_conradry_224": (
        {"image_size": 224, "num_classes": 202, "num_masks": 30},
        61_730_248,
    ),
}
DEFAULTS = {"image_size": 640, "num_classes": 80, "num_masks": 50}
SMALL = {
    "image_size": 32,
    "num_classes": 5,
    "num_masks": 6,
    "width": 1 / 16,
    "layers": (1, 1, 1, 1),
}


def manifest(file):
    return json.loads((MANIFESTS / f"{file}.json").read_text())["state_dict"]


def image(seed=0):
    return np.random.default_rng(seed).standard_normal((2, 3, 32, 32))


@pytest.mark.parametrize("file", FILES)
def test_reference_has_the_keys_shapes_and_order_of_the_authors_file(file):
    options, parameters = FILES[file]
    with torch.device("meta"):
        net = torch_ref.build_model("max_deeplab_s", **options)
    found = [[k, list(v.shape), str(v.dtype)[6:]] for k, v in net.state_dict().items()]
    assert found == manifest(file)
    assert (sum(p.numel() for p in net.parameters()), len(found)) == (parameters, 958)


@pytest.mark.parametrize("file", FILES)
def test_a_file_says_by_itself_what_it_is(file):
    from convert.nets.recognise import recognise

    found = recognise({key: tuple(shape) for key, shape, _ in manifest(file)})
    assert (found.row, found.options) == ("max_deeplab_s", {**DEFAULTS, **FILES[file][0]})
    size = found.options["image_size"]
    assert found.pair.input_of(found.options) == (1, 3, size, size)


def test_a_conversion_accounts_for_every_tensor():
    paddle_impl = pytest.importorskip("paddle_impl")
    from convert import convert_state

    net = torch_ref.build_model("max_deeplab_s", **SMALL)
    arrays = {key: tensor.numpy() for key, tensor in net.state_dict().items()}
    conversion = convert_state(arrays, paddle_impl.build_model("max_deeplab_s", **SMALL))
    counters = [key for key in arrays if key.endswith("num_batches_tracked")]
    assert len(conversion.state) == len(arrays) - len(counters)


def test_a_file_of_paddle_says_by_itself_what_it_is():
    pytest.importorskip("paddle")
    from convert.nets.describe_paddle import describe_row
    from convert.nets.recognise_port import recognise_port

    options = {"image_size": 32, "num_classes": 3, "num_masks": 2}
    shapes = {spec.key: spec.shape for spec in describe_row("max_deeplab_s", options)}
    assert recognise_port(shapes, "max_deeplab_s")[0].options == options


def test_pixels_and_memory_read_each_other_by_the_formula():
    """Written out slot by slot, from the authors' blocks.py:331-353."""
    rng = np.random.default_rng(0)
    depth, slots, size = 4, 3, (2, 2)
    pixels = rng.standard_normal((1, 8 * 2 * depth, *size))
    memory = rng.standard_normal((slots, 1, 8 * 2 * depth))
    found = max_deeplab.read_each_other(torch.from_numpy(pixels), torch.from_numpy(memory))
    half = depth // 2
    flat = pixels.reshape(8, 2 * depth, 4)
    for head in range(8):
        p, m = flat[head].T, memory[:, 0].reshape(slots, 8, 2 * depth)[:, head]
        part = slice(head * depth, (head + 1) * depth)
        for place in range(4):
            weights = softmax(m[:, half:depth] @ p[place, :half])
            expected = weights @ m[:, depth:]
            got = found[0].numpy()[0].reshape(8 * depth, 4)[part, place]
            np.testing.assert_allclose(got, expected, rtol=1e-12)
        both = np.concatenate([p, m])
        for slot in range(slots):
            expected = softmax(both[:, half:depth] @ m[slot, :half]) @ both[:, depth:]
            np.testing.assert_allclose(found[1].numpy()[slot, 0, part], expected, rtol=1e-12)


def softmax(scores):
    return np.exp(scores) / np.exp(scores).sum()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"image_size": 100}, "multiple of 16"),
        ({"image_size": 0}, "multiple of 16"),
        ({"width": 0}, "width is 0"),
        ({"heads": "own"}, "heads='own'"),
    ],
)
def test_sizes_that_no_net_has(options, says):
    with pytest.raises(ConfigError, match=says):
        torch_ref.build_model("max_deeplab_s", **options)


def test_another_size_is_refused_on_both_sides():
    paddle = pytest.importorskip("paddle")
    import paddle_impl

    x = np.zeros((1, 3, 48, 32), np.float32)
    for room, tensor in ((torch_ref, torch.from_numpy(x)), (paddle_impl, paddle.to_tensor(x))):
        with pytest.raises(UserError, match=r"expected 32x32.*got 48x32"):
            room.build_model("max_deeplab_s", **SMALL)(tensor)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("heads", "outputs"), [("simplified", 3), ("paper", 4)])
def test_the_pair_is_equal_as_a_whole(heads, outputs, train):
    pytest.importorskip("paddle")
    from tests.nets.models.whole_net import whole_net

    found = whole_net("max_deeplab_s", 0, image().shape, train, **SMALL, heads=heads)
    assert sum(what.startswith("output") for what in found) == outputs
    for what, error in found.items():
        assert error < (1e-9 if what.startswith("output") else 1e-7), (what, error)


def test_the_papers_heads():
    """Features of unit length at a quarter of the image; slots begin with no object at 0.9."""
    torch.manual_seed(0)
    net = torch_ref.build_model("max_deeplab_s", **SMALL, heads="paper").double()
    maps = net(torch.from_numpy(image()))
    assert {name: tuple(array.shape) for name, array in maps.items()} == {
        "feature": (2, 8, 8, 8),
        "mask": (2, 6, 8, 8),
        "class": (2, 6, 6),
        "semantic": (2, 5, 8, 8),
    }
    assert torch.allclose(maps["feature"].square().sum(1), torch.ones(2, 8, 8).double())
    assert (maps["class"].softmax(-1)[..., -1] - 0.9).abs().max() < 0.01
    assert net.decoder.fg_bn.weight.tolist() == pytest.approx([0.1])
    assert float(maps["mask"].detach().std()) == pytest.approx(0.1, rel=0.01)


def target_of(style):
    """Three segments of blocks, twice."""
    from common.panoptic.max_deeplab.targets import max_deeplab_targets

    rng = np.random.default_rng(0)
    ids = rng.integers(0, 4, (4, 4)).repeat(8, 0).repeat(8, 1).astype(np.uint32)
    segments = [{"id": k, "category_id": k, "iscrowd": 0, "area": 64} for k in (1, 2, 3)]
    made = max_deeplab_targets(ids, segments, (1, 3), style=style, max_objects=4)
    return {name: np.stack([array] * 2) for name, array in made.items()}


@pytest.mark.parametrize("style", ["simplified", "paper"])
def test_the_loss_takes_what_the_net_returns(style):
    from torch_ref.losses import LOSSES

    target = {name: torch.from_numpy(array) for name, array in target_of(style).items()}
    net = torch_ref.build_model("max_deeplab_s", **SMALL, heads=style)
    loss = LOSSES["max_deeplab"](style=style, things=(1, 3))(
        net(torch.from_numpy(image()).float()), target
    )
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.prove
@pytest.mark.parametrize("style", ["simplified", "paper"])
def test_training_is_aligned(style):
    paddle = pytest.importorskip("paddle")
    from align import align_training
    from commands.subjects.rows import seeded_pair
    from paddle_impl.losses import LOSSES as PORTS
    from torch_ref.losses import LOSSES

    pair = seeded_pair("max_deeplab_s", 0, **SMALL, heads=style)
    criteria = [losses["max_deeplab"](style=style, things=(1, 3)) for losses in (LOSSES, PORTS)]
    report = align_training(
        *pair,
        [[image(), target_of(style)]],
        *criteria,
        lambda parameters: torch.optim.SGD(parameters, lr=0.01),
        lambda parameters: paddle.optimizer.SGD(0.01, parameters=parameters),
    )
    assert report.exit_code == 0, report.verdict


@pytest.mark.prove
def test_the_pair_is_aligned():
    pytest.importorskip("paddle")
    from align import align_backward, align_weights
    from commands.subjects.rows import seeded_pair

    pair = seeded_pair("max_deeplab_s", 0, **SMALL)
    assert align_weights(*pair).exit_code == 0
    report = align_backward(*pair, [image()])
    assert report.exit_code == 0, report.verdict


def test_a_memory_that_reads_pixels_alone_is_found_at_its_place(monkeypatch):
    paddle = pytest.importorskip("paddle")
    from align import align_forward
    from align.pairing.fill import load_state
    from convert import convert_state
    from paddle_impl.models.panoptic import max_deeplab as port_of

    def pixels_alone(pixels, memory):
        read = right(pixels, memory)
        return read[0], right(pixels, memory[:1])[1].expand([memory.shape[0], -1, -1])

    right = port_of.read_each_other
    monkeypatch.setattr(port_of, "read_each_other", pixels_alone)
    torch.manual_seed(0)
    reference, port = (room.DualPathXF(16, 16, 8, 2) for room in (max_deeplab, port_of))
    for layer in reference.modules():
        if isinstance(layer, max_deeplab.AxialMultiHeadAttention):
            layer.init_weight()
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((1, 16, 2, 2)), rng.standard_normal((3, 1, 8))]
    report = align_forward(reference, port, inputs)
    assert report.exit_code == 1
    # What it hands to the projection behind it differs: the code between, not a layer.
    assert {d.layer for d in report.divergences} == {""}
    assert paddle.get_default_dtype() == "float32"
