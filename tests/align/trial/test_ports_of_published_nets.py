"""Ways in which strangers' ports are written, met in published nets: right ports are aligned."""

from typing import Any

import numpy as np
import paddle
import pytest
import torch
from paddle import nn as pnn
from paddle.nn import functional as pf
from torch import nn

from align import align_backward, align_forward, align_weights
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from convert.names.rules import Rules

IMAGE = np.random.default_rng(0).standard_normal((2, 3, 12, 12))


def pair(reference: nn.Module, port: pnn.Layer, rules: Any = None) -> tuple[Any, Any, Any]:
    """Return both with the same weights: of trained size, running statistics included."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in reference.state_dict().items():
            if tensor.is_floating_point():
                drawn = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(drawn + 0.5 if "var" in name else drawn - 0.4)
    fill_port(LiveReference(reference), port, rules)
    return reference, port, rules


def reports(reference: nn.Module, port: pnn.Layer, rules: Any) -> list[Any]:
    return [
        align_forward(reference, port, [IMAGE], rules=rules),
        align_forward(reference, port, [IMAGE], train=True, rules=rules),
        align_backward(reference, port, [IMAGE], rules=rules),
    ]


class Fused(pnn.Layer):
    def __init__(self, act: str, **options: Any) -> None:
        super().__init__()
        self.conv = pnn.Conv2D(3, 4, 3, bias_attr=False)
        self.bn = pnn.BatchNorm(4, act=act, **options)
        self.head = pnn.Conv2D(4, 2, 1)

    def forward(self, x: Any) -> Any:
        return self.head(self.bn(self.conv(x)))


class Apart(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: Any) -> Any:
        return self.head(torch.relu(self.bn(self.conv(x))))


def test_an_activation_inside_of_the_ports_batch_norm_is_code_after_it() -> None:
    reference, port, rules = pair(Apart(), Fused("relu"))
    seen: list[str] = []
    port.bn.register_forward_post_hook(lambda layer, x, y: seen.append(str(bool((y >= 0).all()))))
    for report in reports(reference, port, rules):
        assert report.aligned, report.verdict
    assert port.bn._act == "relu"
    assert len(port.bn._forward_post_hooks) == 1
    assert set(seen) == {"True"}  # the user's hook sees what it did before


def test_a_wrong_activation_inside_of_the_ports_batch_norm_is_found() -> None:
    reference, port, _ = pair(Apart(), Fused("sigmoid"))
    report = align_forward(reference, port, [IMAGE])
    assert [d.layer for d in report.divergences] == [""]
    assert "sigmoid of the output of bn, in the reference ReLU" in report.divergences[0].cause


def test_the_old_batch_norm_has_attributes() -> None:
    reference, port, _ = pair(Apart(), Fused("relu", epsilon=1e-3, momentum=0.99))
    found = {d.where for d in align_weights(reference, port).divergences}
    assert found == {"attribute:epsilon", "attribute:momentum"}


class InOne(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        )

    def forward(self, x: Any) -> Any:
        return torch.relu(self.body(x))


class InTwo(pnn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.first = pnn.Sequential(pnn.Conv2D(3, 4, 3), pnn.BatchNorm2D(4))
        self.last = pnn.Sequential(pnn.Conv2D(4, 4, 1), pnn.BatchNorm2D(4))

    def forward(self, x: Any) -> Any:
        return pf.relu(self.last(self.first(x)))


@pytest.mark.parametrize("outright", [False, True])
def test_containers_of_other_layers_are_no_partners(outright: bool) -> None:
    renames = [(r"^body\.2\.", "last.0."), (r"^body\.3\.", "last.1."), (r"^body\.", "first.")]
    if not outright:
        renames[2:] = [(rf"^body\.{n}\.", f"first.{n}.") for n in (0, 1)]
    rules = Rules.model_validate({"renames": [{"match": m, "to": t} for m, t in renames]})
    for report in reports(*pair(InOne(), InTwo(), rules)):
        assert report.aligned, report.verdict
    assert paddle.get_default_dtype() == "float32"


class Sizes(nn.Module):
    """Hands sizes from module to module, as SegFormer's patches do."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = Patches()
        self.back = Back()

    def forward(self, x: Any) -> Any:
        tokens, height, width = self.patches(x)
        return self.back(tokens, height, width)


class Patches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, x: Any) -> Any:
        x = self.proj(x)
        return x.flatten(2).transpose(1, 2), x.shape[2], x.shape[3]


class Back(nn.Module):
    def forward(self, x: Any, height: int, width: int) -> Any:
        return x.transpose(1, 2).reshape(x.shape[0], -1, height, width)


class PaddleSizes(pnn.Layer):
    def __init__(self, wrong: bool = False) -> None:
        super().__init__()
        self.patches = PaddlePatches()
        self.back = PaddleBack()
        self.wrong = wrong

    def forward(self, x: Any) -> Any:
        tokens, height, width = self.patches(x)
        if self.wrong:
            height, width = height * width, width // width
        return self.back(tokens, height, width)


class PaddlePatches(pnn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.proj = pnn.Conv2D(3, 4, 3, stride=2)

    def forward(self, x: Any) -> Any:
        x = self.proj(x)
        shape = paddle.shape(x)
        return x.flatten(2).transpose([0, 2, 1]), shape[2], shape[3]


class PaddleBack(pnn.Layer):
    def forward(self, x: Any, height: Any, width: Any) -> Any:
        return x.transpose([0, 2, 1]).reshape([x.shape[0], 4, height, width])


def test_sizes_as_tensors_stand_for_numbers() -> None:
    for report in reports(*pair(Sizes(), PaddleSizes())):
        assert report.aligned, report.verdict


def test_a_wrong_size_as_a_tensor_is_found() -> None:
    reference, port, _ = pair(Sizes(), PaddleSizes(wrong=True))
    found = {(d.layer, d.where) for d in align_forward(reference, port, [IMAGE]).divergences}
    assert ("", "input:number") in found


class OwnPool(nn.MaxPool2d):
    """A class of the user's own, whose name does not say for how many dimensions it is."""


class PadsItself(nn.Conv2d):
    def forward(self, x: Any) -> Any:
        return super().forward(nn.functional.pad(x, (0, 1, 0, 1)))


@pytest.mark.parametrize(
    ("reference", "port", "wrong"),
    [
        (nn.Conv2d(3, 4, 3, padding=1), pnn.Conv2D(3, 4, 3, padding="same"), set()),
        (nn.Conv2d(3, 4, 3, padding="same"), pnn.Conv2D(3, 4, 3, padding=1), set()),
        (nn.Conv2d(3, 4, 1), pnn.Conv2D(3, 4, 1, padding="SAME"), set()),
        (nn.Conv2d(3, 4, 3), pnn.Conv2D(3, 4, 3, padding="VALID"), set()),
        (nn.Conv2d(3, 4, 3), pnn.Conv2D(3, 4, 3, padding="same"), {"padding"}),
        (
            nn.Conv2d(3, 4, 3, padding=2, dilation=2),
            pnn.Conv2D(3, 4, 3, padding="same", dilation=2),
            {"padding", "dilation"},  # Paddle's "same" is without dilation
        ),
        (PadsItself(3, 4, 3, stride=2), pnn.Conv2D(3, 4, 3, stride=2, padding="same"), set()),
        (OwnPool(2), pnn.MaxPool2D(2), set()),
        (OwnPool(2), pnn.MaxPool2D(3), {"kernel_size", "stride"}),
    ],
)
def test_attributes_in_whatever_words(reference: Any, port: Any, wrong: set[str]) -> None:
    pair(reference, port)
    found = {d.where.removeprefix("attribute:") for d in align_weights(reference, port).divergences}
    assert found == wrong
    assert align_forward(reference, port, [IMAGE]).aligned == (not wrong)


class Keeps(nn.Module):
    """Makes a mask when it first runs, and keeps it and its input for later."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, 4, 1)
        self.mask: Any = None

    def forward(self, x: Any) -> Any:
        if self.mask is None:
            self.mask = torch.ones(x.shape[-2:], dtype=x.dtype) * 0.5
        self.seen = x
        return self.proj(x) * self.mask


class PaddleKeeps(pnn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.proj = pnn.Conv2D(3, 4, 1)
        self.mask: Any = None

    def forward(self, x: Any) -> Any:
        if self.mask is None:
            self.mask = paddle.ones(x.shape[-2:], dtype=x.dtype) * 0.5
        self.seen = x
        return self.proj(x) * self.mask


def test_what_code_keeps_while_it_is_judged_is_forgotten() -> None:
    reference, port, rules = pair(Keeps(), PaddleKeeps())
    for report in reports(reference, port, rules):
        assert report.aligned, report.verdict
    for net in (reference, port):
        assert net.mask is None
        assert not hasattr(net, "seen")
    assert port(paddle.to_tensor(IMAGE.astype("float32"))).dtype == paddle.float32


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, 4, 1)
        self.inner = MaskedInner()

    def forward(self, x: Any) -> Any:
        return self.inner(self.proj(x), x[:, :1] * 0.1)


class MaskedInner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.soft = nn.Softmax(dim=1)

    def forward(self, x: Any, mask: Any = None) -> Any:
        return self.soft(x * self.scale if mask is None else x * self.scale + mask)


class PaddleMasked(pnn.Layer):
    def __init__(self, needs: bool) -> None:
        super().__init__()
        self.proj = pnn.Conv2D(3, 4, 1)
        self.inner = PaddleMaskedInner(needs)

    def forward(self, x: Any) -> Any:
        return self.inner(self.proj(x))


class PaddleMaskedInner(pnn.Layer):
    def __init__(self, needs: bool) -> None:
        super().__init__()
        self.scale = self.create_parameter([4, 1, 1])
        self.soft = pnn.Softmax(axis=1)
        self.needs = needs

    def forward(self, x: Any, mask: Any = None) -> Any:
        if self.needs:
            return self.soft(x * self.scale + mask)
        return self.soft(x * self.scale if mask is None else x * self.scale + mask)


@pytest.mark.parametrize("needs", [False, True])
def test_a_forgotten_argument_is_the_callers_fault_alone(needs: bool) -> None:
    for report in reports(*pair(Masked(), PaddleMasked(needs))):
        assert {d.layer for d in report.divergences} == {""}, report.verdict
