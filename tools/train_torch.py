#!/usr/bin/env python
"""Train a net in PyTorch."""

import _checkout  # noqa: F401 - the checkout onto the path

from commands import entry, train


def main() -> int:
    """Read settings, data and weights, then train."""
    return train.train_torch(train.parse("PyTorch"))


if __name__ == "__main__":
    entry.run(main, apart=True)
