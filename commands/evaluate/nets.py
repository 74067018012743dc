"""What answers for the net of a config: its layers in a framework, or an exported file."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commands.subjects.named.frameworks import parts_of
from commands.subjects.named.parts import Parts
from commands.subjects.named.weights import Loaded, load_weights
from common.evaluation.protocol import Inference
from common.settings.run import Settings


@dataclass(frozen=True)
class Asked:
    """A net that answers.

    inference: asked by arrays. runs: what runs it, in words. loaded: what became of its weights.
    """

    inference: Inference
    runs: str
    loaded: Loaded = field(default_factory=Loaded)


def net_of(parts: Parts, weights: Path, device: str = "cpu") -> tuple[Any, Loaded]:
    """Return the net of a config in the framework of `parts`, with all its weights."""
    place_on(parts.framework, device)
    net = parts.net()
    loaded = load_weights(parts, net, weights)
    return (net.to("cuda") if parts.framework == "torch" and device == "gpu" else net), loaded


def eager(parts: Parts, weights: Path, device: str = "cpu") -> Asked:
    """Return the net as it is trained."""
    net, loaded = net_of(parts, weights, device)
    if parts.framework == "torch":
        from torch_ref.train import TorchInference

        return Asked(TorchInference(net), f"torch, {device}", loaded)
    from paddle_impl.train import PaddleInference

    return Asked(PaddleInference(net), f"paddle, {device}", loaded)


def place_on(framework: str, device: str) -> None:
    """Make "cpu" or "gpu" the device, where the framework has one for all. Raises UserError."""
    if framework == "paddle":
        from paddle_impl.train import choose_device
    else:
        from torch_ref.train import choose_device
    choose_device(device)


def asked(settings: Settings, framework: str, weights: Path, device: str, engine: str) -> Asked:
    """Return what answers for a config and its weights."""
    parts = parts_of(settings, framework)
    return eager(parts, weights, device)
