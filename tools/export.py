#!/usr/bin/env python
"""Export a trained net for Paddle Inference and ONNX Runtime, and prove that it is equal."""

import _checkout  # noqa: F401 - the checkout onto the path

from commands import entry
from commands.deploy import export


def main() -> int:
    """Export, verify, say how it ended."""
    return export.run(export.parse())


if __name__ == "__main__":
    entry.run(main, apart=True)
