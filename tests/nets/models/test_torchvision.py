"""torchvision's own code against our ports: seeded files, converted without saying what they are.

The strongest evidence there is for these rows: nothing on the reference's side is ours. Needs
torchvision (extra `test`); both nets run in float64.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.nursery import run

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

import paddle_impl
from convert import read_checkpoint
from tests.nets.models import test_detection_operators as operators

SHAPE = (2, 3, 33, 49)
ODD = [(2, 3, 123, 123), (2, 3, 47, 473)]
LONG = pytest.mark.prove
BOTH = (False, True)  # eval mode, then train mode
# DESIGN's table; a resize whose ratio is no power of two is computed in float32 by Paddle.
WHOLE_NET, GRADIENTS, RESIZED = 1e-9, 1e-7, 5e-6


def load_torchvision():
    """Import it. Beside a torch of another build (CPU, CUDA) its compiled operators are missing.

    The import then fails for want of two declarations; no net here uses any of them.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{operator}", schema)
        import torchvision
    except ModuleNotFoundError:
        pytest.skip("torchvision is not installed")
    return torchvision


@pytest.fixture(scope="module")
def models():
    return load_torchvision().models


def seeded(net, seed=0):
    """Weights, biases and statistics that are not trivial; dropout draws nothing."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.2, 0.2),
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.5, 2.0),
            ):
                tensor.data.uniform_(low, high, generator=generator)
        elif isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for name, parameter in net.named_parameters():
        if parameter.ndim > 1:
            fan = parameter[0].numel()
            parameter.data.normal_(0.0, (2 / fan) ** 0.5, generator=generator)
        elif name.endswith("bias"):
            parameter.data.normal_(0.0, 0.1, generator=generator)
    return net


def converted(net, folder):
    """Save as a user would, convert by the command, and build what the account says."""
    path, output = folder / "file.pth", folder / "file.pdparams"
    torch.save(net.state_dict(), path)
    done = run("convert_weights", path, "--output", output, "--no-verify", "--json")
    assert done.returncode == 0, done.stderr
    account = json.loads(Path(f"{output}.account.json").read_text())
    paddle.set_default_dtype("float64")
    try:
        ours = paddle_impl.build_model(account["net"]["row"], **account["net"]["options"])
    finally:
        paddle.set_default_dtype("float32")
    state = {k: np.asarray(a, np.float64) for k, a in read_checkpoint(output).items()}
    missing, unknown = ours.set_state_dict(state)
    assert not missing
    assert not unknown
    for layer in ours.sublayers():
        if isinstance(layer, paddle.nn.Dropout | paddle.nn.Dropout2D):
            layer.p = 0.0
    return ours, account


def outputs_of(result):
    """What a net returns, by name: torchvision's segmentation nets return a dictionary."""
    return dict(result) if isinstance(result, dict) else {"out": result}


def worst(ours, theirs):
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-300))


def compare(theirs, ours, account, shape, train):
    """Largest relative errors: outputs, gradients of the input and of parameters, buffers."""
    theirs.double().train(train)
    (ours.train if train else ours.eval)()
    rng = np.random.default_rng(1)
    image = rng.standard_normal(shape)
    x = torch.from_numpy(image).requires_grad_()
    y = paddle.to_tensor(image, stop_gradient=False)
    reference, port = outputs_of(theirs(x)), outputs_of(ours(y))
    assert list(port) == list(reference)
    found = {"output": 0.0}
    sums = [0.0, 0.0]
    for name, value in reference.items():
        cotangent = rng.standard_normal(tuple(value.shape))
        found["output"] = max(found["output"], worst(port[name].numpy(), value.detach().numpy()))
        sums[0] = sums[0] + (value * torch.from_numpy(cotangent)).sum()
        sums[1] = sums[1] + (port[name] * paddle.to_tensor(cotangent)).sum()
    sums[0].backward()
    sums[1].backward()
    found["grad input"] = worst(y.grad.numpy(), x.grad.numpy())
    sources = {row["key"]: row for row in account["target_tensors"]}
    tensors = theirs.state_dict(keep_vars=True)
    norms, buffers = [], []
    for key, tensor in ours.state_dict().items():
        row = sources[key]
        reference = tensors[row["source"]]
        if reference.requires_grad:
            norms.append((np.linalg.norm(tensor.grad.numpy()), float(reference.grad.norm())))
        else:
            buffers.append(worst(tensor.numpy(), reference.detach().numpy()))
    # A bias in front of BatchNorm has a gradient of rounding alone.
    least = 1e-6 * max(norm for _, norm in norms)
    found["grad norms"] = max(abs(own - norm) / max(norm, least) for own, norm in norms)
    found["buffers"] = max(buffers, default=0.0)
    for net in (theirs, ours):
        for parameter in net.parameters():
            if isinstance(net, torch.nn.Module):
                parameter.grad = None
            else:
                parameter.clear_gradient(False)
    return found


SEGMENTATION = [
    pytest.param("fcn_resnet50", "fcn_tv_r50", 21, [SHAPE], BOTH, marks=LONG),
    pytest.param("deeplabv3_resnet50", "deeplabv3_tv_r50", 21, [SHAPE], BOTH, marks=LONG),
    pytest.param("deeplabv3_resnet101", "deeplabv3_tv_r101", 19, [SHAPE], BOTH, marks=LONG),
    pytest.param("fcn_resnet50", "fcn_tv_r50", 150, ODD, BOTH, marks=LONG),
    pytest.param("deeplabv3_resnet50", "deeplabv3_tv_r50", 2, ODD, BOTH, marks=LONG),
]


@pytest.mark.parametrize(("name", "row", "classes", "shapes", "modes"), SEGMENTATION)
def test_segmentation_nets_of_torchvision(models, tmp_path, name, row, classes, shapes, modes):
    build = getattr(models.segmentation, name)
    theirs = seeded(build(weights=None, weights_backbone=None, num_classes=classes, aux_loss=True))
    ours, account = converted(theirs, tmp_path)
    assert account["net"]["row"] == row
    assert account["net"]["options"]["num_classes"] == classes
    for shape in shapes:
        for train in modes:
            found = compare(theirs, ours, account, shape, train)
            assert all(value < RESIZED for value in found.values()), (shape, train, found)
            assert found["buffers"] < WHOLE_NET  # no resize in front of a BatchNorm


CLASSIFIERS = [
    pytest.param("resnet50", {}, marks=LONG),  # FCN's body above
    pytest.param("resnet101", {}, marks=LONG),
    pytest.param("vgg16", {}, marks=LONG),
    pytest.param("vgg16_bn", {}, marks=LONG),
]


@pytest.mark.parametrize(("row", "options"), CLASSIFIERS)
def test_classifiers_of_torchvision(models, tmp_path, row, options):
    theirs = seeded(getattr(models, row)(weights=None, num_classes=19, **options))
    ours, account = converted(theirs, tmp_path)
    assert account["net"]["row"] == row
    for train in (False, True):
        found = compare(theirs, ours, account, (2, 3, 64, 96), train)
        assert found.pop("output") < WHOLE_NET
        assert found.pop("buffers") < WHOLE_NET
        assert all(value < GRADIENTS for value in found.values()), (train, found)


def stand_in(monkeypatch):
    """Give torchvision its missing operators, as formulas that know nothing of ours."""
    from torchvision import extension, ops
    from torchvision.models.detection import rpn
    from torchvision.ops import poolers

    if extension._has_ops():
        return

    def suppress(boxes, scores, groups, threshold):
        apart = boxes + groups[:, None] * (boxes.max() + 1 if len(boxes) else 0)
        kept = operators.nms(apart.detach().numpy(), scores.detach().numpy(), threshold)
        return torch.tensor(kept, dtype=torch.int64)

    def pool(x, rois, output_size, spatial_scale, sampling_ratio):
        found = [
            operators.roi_align(
                x[int(i)].numpy(), b, *output_size[:1], spatial_scale, sampling_ratio, False
            )
            for i, *b in rois.tolist()
        ]
        return torch.tensor(np.array(found).reshape([-1, x.shape[1], *output_size]))

    monkeypatch.setattr(ops.boxes, "batched_nms", suppress)
    monkeypatch.setattr(poolers, "roi_align", pool)
    assert rpn.box_ops is ops.boxes


@LONG
def test_mask_rcnn_of_torchvision(models, tmp_path, monkeypatch):
    from align.pairing.fill import load_state
    from convert import convert_checkpoint
    from torch_ref.seeded import build_seeded

    stand_in(monkeypatch)
    row, sizes = "mask_rcnn_r50_fpn", (8, 16, 24, 32, 48)
    options = {"num_classes": 5, "min_size": 64, "max_size": 128, "box_score_thresh": 0.4}
    options |= {"rpn_pre_nms_top_n_test": 60, "rpn_post_nms_top_n_test": 30}
    anchors = models.detection.anchor_utils.AnchorGenerator(
        tuple((size,) for size in sizes), ((0.5, 1.0, 2.0),) * 5
    )
    theirs = models.detection.maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, rpn_anchor_generator=anchors, **options
    )
    own = {**options, "norm": "batch", "anchor_sizes": sizes}
    reference = build_seeded(row, 0, **own)
    theirs.load_state_dict(reference.state_dict())
    torch.save(theirs.state_dict(), tmp_path / "file.pth")
    port = paddle_impl.build_model(row, **own)
    load_state(port, convert_checkpoint(tmp_path / "file.pth").state)
    port.to(dtype="float64")
    for net in (theirs.double(), reference.double(), port):
        net.eval()
    rng = np.random.default_rng(0)
    images = [rng.random((3, *size)) for size in ((64, 96), (80, 50), (130, 101))]
    with torch.no_grad():
        right = theirs([torch.from_numpy(x) for x in images])
        ours = [reference([torch.from_numpy(x) for x in images])]
    ours.append(port([paddle.to_tensor(x) for x in images]))
    assert min(len(one["boxes"]) for one in right) > 2
    for found in ours:
        for one, other in zip(found, right, strict=True):
            assert list(one) == list(other)
            for key, value in other.items():
                np.testing.assert_allclose(one[key].numpy(), value.numpy(), atol=1e-8)
