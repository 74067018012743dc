#!/usr/bin/env python
"""Score predictions in files of panopticapi: PQ, SQ and RQ by class, of things, stuff and all."""

import _checkout  # noqa: F401 - the checkout onto the path

from commands.entry import run
from commands.evaluate.panoptic_files import parse, score


def main() -> int:
    """Parse, score, tell; needs neither torch nor Paddle."""
    return score(parse(__doc__ or ""))


if __name__ == "__main__":
    run(main)
