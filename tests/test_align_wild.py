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
from align.own import fill_port
from convert.rules import Rules

IMAGE = np.random.default_rng(0).standard_normal((2, 3, 12, 12))


def pair(reference: nn.Module, port: pnn.Layer, rules: Any = None) -> tuple[Any, Any, Any]:
    """Return both with the same weights: of trained size, running statistics included."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in reference.state_dict().items():
            if tensor.is_floating_point():
                drawn = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(drawn + 0.5 if "var" in name else drawn - 0.4)
    fill_port(reference, port, rules)
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
