"""What options name of the port's side: a net and a criterion of Paddle."""

from collections.abc import Mapping
from typing import Any

from paddle import nn

from commands.subjects.callables import build, criterion


def build_paddle(spec: str, arguments: Mapping[str, Any] | None = None) -> nn.Layer:
    """Return the net that `--paddle` names."""
    return build(spec, "--paddle", nn.Layer, arguments)


def criterion_paddle(spec: str) -> Any:
    """Return the criterion that `--paddle-loss` names."""
    return criterion(spec, "--paddle-loss", nn.Layer)
