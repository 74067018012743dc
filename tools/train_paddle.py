#!/usr/bin/env python
"""Train a net in Paddle."""

from typing import Any

import _checkout  # noqa: F401 - the checkout onto the path

from commands import entry, train


def main() -> int:
    """Read settings, data and weights, then train."""
    options = train.parse("Paddle")
    from common.settings.load import load_settings
    from common.training.feed import open_data
    from paddle_impl.train import build_side, load_arrays

    settings = load_settings(options.config, options.overrides)
    data = open_data(settings)
    side = build_side(settings, options.device)

    def initialise() -> Any:
        if not settings.weights.path:
            return None
        if begun := train.begin(settings, side.net, "paddle"):
            load_arrays(side.net, begun.state, left=begun.account.left_at_initialisation)
            return train.account_of(begun, settings)
        load_arrays(side.net, read_weights(settings, side.net), settings.weights.into)
        return None

    return train.run(options, settings, side, data, initialise)


def read_weights(settings: Any, net: Any) -> Any:
    """Return the starting weights in Paddle's names; those in PyTorch's are converted."""
    from convert import convert_checkpoint, read_checkpoint

    path, key = settings.weights.path, settings.weights.key
    arrays = read_checkpoint(path, key)
    if path.endswith(".pdparams") or any(name.endswith("._mean") for name in arrays):
        return arrays
    return convert_checkpoint(path, model=net, key=key).state


if __name__ == "__main__":
    entry.run(main)
