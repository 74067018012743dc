#!/usr/bin/env python
"""Measure how fast a net runs: eager, exported, in ONNX Runtime, and its reference in PyTorch."""

import _checkout  # noqa: F401 - the checkout onto the path

from commands import entry
from commands.deploy import benchmark


def main() -> int:
    """Measure every way, print one table."""
    return benchmark.run(benchmark.parse())


if __name__ == "__main__":
    entry.run(main, apart=True)
