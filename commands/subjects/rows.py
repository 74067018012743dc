"""The two nets of a row of the table, with the same weights: what the commands align."""

from collections.abc import Mapping
from typing import Any

from align.pairing.fill import load_state
from common.pairs import get_pair


def seeded_pair(name: str, seed: int, **overrides: Any) -> tuple[Any, Any]:
    """Return (torch net, Paddle net) of row `name` with the same seeded weights, float32."""
    import paddle_impl
    from convert import convert_state
    from torch_ref.seeded import build_seeded

    torch_net = build_seeded(name, seed, **overrides)
    paddle_net = paddle_impl.build_model(name, **overrides)
    arrays = {key: tensor.numpy() for key, tensor in torch_net.state_dict().items()}
    load_state(paddle_net, convert_state(arrays, paddle_net).state)
    return torch_net, paddle_net


def pair_with_weights(
    path: str, name: str | None, overrides: Mapping[str, Any] | None = None, known: bool = True
) -> tuple[Any, Any, str]:
    """Return (torch net, Paddle net, row) that hold the PyTorch checkpoint at `path`.

    Args:
        path: the checkpoint.
        name: the row it must hold; None finds out.
        overrides: options of the row; what the file tells about them counts more.
        known: the file is one of the row as it is published. False: `overrides` say all.

    Raises UnreadableError or ConversionError.
    """
    import paddle_impl
    from convert import convert_checkpoint, read_checkpoint

    opened = read_checkpoint(path)
    torch_net, row, options = reference_with_weights(path, name, overrides, known)
    paddle_net = paddle_impl.build_model(row, **options)
    load_state(paddle_net, convert_checkpoint(path, model=paddle_net).state)
    opened.require_unchanged()  # both nets have the weights of one moment
    return torch_net, paddle_net, row


def reference_with_weights(
    path: str, name: str | None, overrides: Mapping[str, Any] | None = None, known: bool = True
) -> tuple[Any, str, dict[str, Any]]:
    """Return (torch net, row, options of the row) of a checkpoint, see `pair_with_weights`."""
    import torch_ref
    from convert import read_checkpoint
    from convert.conversion import rules_for
    from convert.nets.recognise import recognise
    from convert.verify.run_torch import reference_state

    checkpoint = read_checkpoint(path)
    row, options = name or "", dict(overrides or {})
    if known:
        found = recognise({key: array.shape for key, array in checkpoint.items()}, name)
        row, options = found.row, {**options, **found.options}
    torch_net = torch_ref.build_model(row, **options)
    rules = rules_for(get_pair(row), None)
    torch_net.load_state_dict(reference_state(torch_net, checkpoint, rules), strict=True)
    checkpoint.require_unchanged()
    return torch_net, row, options


def reference_of_row(
    name: str | None, weights: str | None, seed: int
) -> tuple[Any, str, dict[str, Any]]:
    """Return (torch net, row, options of the row), seeded or with a checkpoint; without Paddle."""
    if weights is not None:
        return reference_with_weights(weights, name)
    from torch_ref.seeded import build_seeded

    row = name or "stdc2_seg"
    return build_seeded(row, seed), row, {}
