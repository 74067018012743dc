#!/usr/bin/env python
"""Lay logs of trainings over each other, loss, rate and mIoU: within the noise, or where not."""

import _checkout  # noqa: F401 - the checkout onto the path

from commands.curves.command import compare_runs, parse
from commands.entry import run


def main() -> int:
    """Compare; needs neither torch nor Paddle."""
    return compare_runs(parse(__doc__ or ""))


if __name__ == "__main__":
    run(main)
