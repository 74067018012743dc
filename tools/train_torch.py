#!/usr/bin/env python
"""Train a net in PyTorch."""

from typing import Any

import _checkout  # noqa: F401 - the checkout onto the path

from commands import entry, train


def main() -> int:
    """Read settings, data and weights, then train."""
    options = train.parse("PyTorch")
    from common.settings.load import load_settings
    from common.training.feed import open_data
    from torch_ref.train import build_side, load_arrays

    settings = load_settings(options.config, options.overrides)
    data = open_data(settings)
    side = build_side(settings, options.device)

    def initialise() -> Any:
        if not settings.weights.path:
            return None
        if begun := train.begin(settings, side.net, "torch"):
            load_arrays(side.net, begun.state, left=begun.account.left_at_initialisation)
            return train.account_of(begun, settings)
        load_arrays(side.net, read_weights(settings), settings.weights.into)
        return None

    return train.run(options, settings, side, data, initialise)


def read_weights(settings: Any) -> Any:
    """Return the starting weights in the net's names."""
    from common.errors import UserError
    from convert import read_checkpoint

    path = settings.weights.path
    if path.endswith(".pdparams"):
        raise UserError(f"{path}: weights of Paddle; train_torch starts from PyTorch's own")
    return read_checkpoint(path, settings.weights.key)


if __name__ == "__main__":
    entry.run(main)
